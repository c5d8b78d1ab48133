//! What happens in a session, as it is told to clients.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Failure, Outcome, QuestionKind, State, TurnId};

/// One thing that happened. As JSON it is a line of `send -o stream-json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows with every event of a broker, over all of its sessions, and is larger in
    /// each later broker (it begins at a thousand times the milliseconds of Unix time).
    pub seq: u64,
    /// The session's name.
    pub session: String,
    /// The turn it belongs to; absent: the session as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. `event` names it. Text is provisional until the turn has ended:
/// the agent may begin an answer again after a broken connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The turn is in the journal and waits for its turn.
    Queued {
        /// Turns in front of it.
        ahead: u64,
    },
    /// The agent has acknowledged exactly this turn.
    Accepted {},
    /// A piece of text.
    Text {
        /// Counts the messages of the turn from 0. A number that comes again after
        /// `retry` begins that message anew.
        message: u32,
        /// The piece.
        text: String,
    },
    /// A piece of the model's thinking.
    Thinking {
        /// The piece.
        text: String,
    },
    /// The agent uses a tool.
    Tool {
        /// The tool's name.
        name: String,
        /// What it is given; cut to a note when it is very long.
        input: Value,
    },
    /// A tool has ended.
    ToolResult {
        /// Whether the agent calls it an error.
        is_error: bool,
    },
    /// The agent asks something.
    Question {
        /// To answer with.
        id: String,
        /// What it is about.
        kind: QuestionKind,
        /// The tool that it asks about.
        tool: String,
        /// What the tool would be given; cut to a note when it is very long.
        input: Value,
        /// The question in words.
        text: String,
        /// The answers that it offers; any other text is one too.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
    },
    /// A question is decided.
    QuestionResolved {
        /// The question's.
        id: String,
        /// The tool.
        tool: String,
        /// How.
        how: Resolution,
    },
    /// A tool was denied to the agent: by somebody, or by the turn's policy.
    Denied {
        /// The tool.
        tool: String,
        /// What it would have been given.
        input: Value,
    },
    /// A request to the provider is tried again. Text that comes now may repeat.
    Retry {
        /// Which try.
        attempt: u32,
        /// How many there are; 0 where that is not known, as by the wire alone.
        max: u32,
        /// Milliseconds until then; 0 for one that is under way.
        delay_ms: u64,
        /// The HTTP status, where there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// The provider's word for it.
        error: String,
    },
    /// The provider tells about its limits.
    RateLimit {
        /// As the agent gives it.
        info: Value,
    },
    /// The session's state has changed, as `ls` shows it.
    State {
        /// The new one.
        state: State,
        /// More about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The session has another name now.
    Renamed {
        /// The new one.
        name: String,
    },
    /// The agent begins a turn that nobody asked for: a background task reports.
    Unasked {},
    /// The prompt of this turn was put into another one, which runs.
    Steered {
        /// The other one.
        into: TurnId,
    },
    /// The session's agent is started again.
    Restart {
        /// Why.
        reason: String,
    },
    /// The turn has ended.
    Result {
        /// How.
        outcome: Outcome,
    },
    /// Something went wrong outside of a turn's end.
    Error {
        /// What.
        error: Failure,
    },
    /// Events were left out, because they were not taken fast enough or are not kept
    /// any more. `seq` is that of the last of them; where that is not known, the one
    /// that was asked for.
    Gap {
        /// How many; absent where that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missed: Option<u64>,
    },
    /// An event that this build does not know.
    #[serde(other)]
    Unknown,
}

impl EventKind {
    /// Its `event`, as in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Accepted {} => "accepted",
            Self::Text { .. } => "text",
            Self::Thinking { .. } => "thinking",
            Self::Tool { .. } => "tool",
            Self::ToolResult { .. } => "tool_result",
            Self::Question { .. } => "question",
            Self::QuestionResolved { .. } => "question_resolved",
            Self::Denied { .. } => "denied",
            Self::Retry { .. } => "retry",
            Self::RateLimit { .. } => "rate_limit",
            Self::State { .. } => "state",
            Self::Renamed { .. } => "renamed",
            Self::Unasked {} => "unasked",
            Self::Steered { .. } => "steered",
            Self::Restart { .. } => "restart",
            Self::Result { .. } => "result",
            Self::Error { .. } => "error",
            Self::Gap { .. } => "gap",
            Self::Unknown => "unknown",
        }
    }
}

/// How a question was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Somebody said yes.
    Approved,
    /// Somebody said no, or the turn's policy did.
    Denied,
    /// Somebody answered it.
    Answered,
    /// The agent took it back: its turn was ended.
    Withdrawn,
    /// In a way that this build does not know.
    #[serde(other)]
    Unknown,
}

impl std::fmt::Display for Resolution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Answered => "answered",
            Self::Withdrawn => "withdrawn",
            Self::Unknown => "resolved",
        })
    }
}
