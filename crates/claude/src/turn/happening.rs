//! What lines mean for the session.

use serde::Deserialize;
use uuid::Uuid;

use super::TurnEnd;
use crate::json::{self, Raw};
use crate::stream::{Json, QuestionLine, RateLimit, ResponseLine, RetryLine};

/// What a line means for the session.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// `initialize` was answered: lines can be written.
    Ready(Box<Ready>),
    /// The client will not come up (and ends itself): unknown `--resume` id, ….
    InitFailed {
        /// In the client's words.
        text: String,
    },
    /// The client's version; told when it becomes known.
    Version(String),
    /// The agent has our line.
    Accepted {
        /// Ours.
        uuid: Uuid,
        /// In the interface: the `promptId` by which the transcript knows it.
        prompt_id: Option<Uuid>,
    },
    /// A run takes our line up. A line that was written while another one ran is part of
    /// that run if this comes before its end, and a run of its own else (recorded:
    /// steered, merged).
    Begun {
        /// Ours.
        uuid: Uuid,
    },
    /// A run begins.
    TurnStarted {
        /// `None`: nobody asked for it.
        asked: Option<Uuid>,
    },
    /// A message of the model begins.
    MessageStart {
        /// Whose turn.
        asked: Option<Uuid>,
        /// The attempt before lost its connection; its text is said anew.
        again: bool,
    },
    /// Words as they come; provisional, `Said` is not.
    Text {
        /// Whose turn.
        asked: Option<Uuid>,
        /// What came.
        delta: String,
    },
    /// A whole text block, after its deltas; without any where the client did not stream.
    Said {
        /// Whose turn.
        asked: Option<Uuid>,
        /// All of it.
        text: String,
    },
    /// Thoughts come.
    Thinking {
        /// Whose turn.
        asked: Option<Uuid>,
        /// What came.
        delta: String,
    },
    /// A tool is called; it may have begun, even before the message ends.
    Tool {
        /// Whose turn.
        asked: Option<Uuid>,
        /// By a subagent.
        subagent: bool,
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
        /// Its input.
        input: Json,
    },
    /// A tool's result.
    ToolResult {
        /// Whose turn.
        asked: Option<Uuid>,
        /// To a subagent.
        subagent: bool,
        /// The call's id.
        id: String,
        /// Failed, denied or interrupted.
        is_error: bool,
    },
    /// The agent waits for an answer.
    Question(Box<Question>),
    /// It does not any more: answered, by us too, or interrupted. A question of a background
    /// agent outlives the turn that started the agent.
    QuestionGone {
        /// The question's.
        request_id: String,
    },
    /// A request of the client that we do not know: answer with `input::refuse`.
    UnknownRequest {
        /// To answer with.
        request_id: String,
        /// Its kind.
        subtype: String,
    },
    /// The answer to a request of ours other than `initialize`.
    Response(Box<ResponseLine>),
    /// The API failed; the client tries again.
    Retry(RetryLine),
    /// The subscription's limit.
    RateLimit(RateLimit),
    /// Background agents and commands that run.
    BackgroundTasks {
        /// How many.
        count: usize,
    },
    /// The transcript's id, when it becomes known and when it changes (`/clear`).
    Conversation {
        /// What `--resume` takes from now on.
        id: Uuid,
    },
    /// The permission mode, when it becomes known and when it changes; only the interface tells it,
    /// where people change it.
    PermissionMode {
        /// As the client names it: `default` is the flag's `manual`.
        mode: String,
    },
    /// Somebody has chosen another model at the screen.
    Model {
        /// As the flag takes it.
        model: String,
    },
    /// A turn is over.
    TurnEnded {
        /// `None`: nobody asked for it.
        asked: Option<Uuid>,
        /// How.
        end: Box<TurnEnd>,
    },
    /// Nothing runs and nothing is due: the next line may be written.
    Idle,
    /// Something runs.
    Running,
}

/// The answer to `initialize`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The client's own.
    pub pid: Option<u64>,
    /// `2.1.328`.
    pub version: Option<String>,
    /// Neither token nor API key: turns will fail.
    pub not_logged_in: bool,
    /// `default` is the flag's `manual`.
    pub permission_mode: Option<String>,
}

/// What the agent wants to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// What it is about.
    pub kind: QuestionKind,
    /// The line.
    pub line: QuestionLine,
    /// Whose turn. It may have ended: a background agent goes on after the turn that began it.
    pub asked: Option<Uuid>,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionKind {
    /// May a tool run?
    Permission,
    /// `AskUserQuestion`.
    Question,
    /// `ExitPlanMode`.
    Plan,
}

/// Reads the answer to `initialize`.
pub(super) fn ready(response: Option<&Json>) -> Ready {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        pid: Raw<'a>,
        #[serde(borrow)]
        claude_code_version: Raw<'a>,
        #[serde(borrow)]
        account: Raw<'a>,
        #[serde(borrow)]
        current_permission_mode: Raw<'a>,
    }
    #[derive(Deserialize)]
    struct Account<'a> {
        #[serde(borrow, rename = "tokenSource")]
        token: Raw<'a>,
        #[serde(borrow, rename = "apiKeySource")]
        key: Raw<'a>,
        #[serde(borrow, rename = "apiProvider")]
        provider: Raw<'a>,
    }
    let Some(fields) =
        response.and_then(|response| json::object::<Fields<'_>>(Some(response.raw())))
    else {
        return Ready::default();
    };
    let none = |raw| json::text(raw).is_none_or(|source| source == "none");
    // other providers have their own logins, which it does not tell of
    let first_party = |raw| json::text(raw).is_none_or(|provider| provider == "firstParty");
    Ready {
        pid: json::count(fields.pid),
        version: json::text(fields.claude_code_version),
        not_logged_in: json::object::<Account<'_>>(fields.account).is_some_and(|account| {
            none(account.token) && none(account.key) && first_party(account.provider)
        }),
        permission_mode: json::text(fields.current_permission_mode),
    }
}

/// The "Version" row of the answer to `get_status`.
pub(super) fn version_row(response: &Json) -> Option<String> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        sections: Raw<'a>,
    }
    #[derive(Deserialize)]
    struct Section<'a> {
        #[serde(borrow)]
        rows: Raw<'a>,
    }
    #[derive(Deserialize)]
    struct Row<'a> {
        #[serde(borrow)]
        label: Raw<'a>,
        #[serde(borrow)]
        value: Raw<'a>,
    }
    let fields: Fields<'_> = json::object(Some(response.raw()))?;
    json::array(fields.sections)
        .into_iter()
        .filter_map(|section| json::object::<Section<'_>>(Some(section)))
        .flat_map(|section| json::array(section.rows))
        .filter_map(|row| json::object::<Row<'_>>(Some(row)))
        .find(|row| json::text(row.label).as_deref() == Some("Version"))
        .and_then(|row| json::text(row.value))
}
