//! How a turn ended.

use uuid::Uuid;

use crate::stream::{Denial, Json, ResultLine};

/// The end of a turn, and its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TurnEnd {
    /// How it ended.
    pub outcome: Outcome,
    /// All text of the main conversation after the turn's last tool result, its blocks joined by
    /// nothing. Whatever was said so far when the turn did not complete.
    pub answer: String,
    /// All texts of the turn, one for each message that said something.
    pub texts: Vec<String>,
    /// As the client said.
    pub is_error: bool,
    /// Why it failed; `None` for an interrupt.
    pub error: Option<AgentError>,
    /// `end_turn`, `max_tokens`, `pause_turn`, …
    pub stop_reason: Option<String>,
    /// `completed`, `api_error`, `aborted_streaming`, `aborted_tools`, `max_turns`, …
    pub terminal_reason: Option<String>,
    /// Tokens, as the client said; of this turn.
    pub usage: Option<Json>,
    /// Of this turn, and of background agents since the turn before.
    pub cost_usd: Option<f64>,
    /// Milliseconds.
    pub duration_ms: Option<u64>,
    /// Milliseconds to the first token.
    pub ttft_ms: Option<u64>,
    /// The model that answered.
    pub model: Option<String>,
    /// The transcript's id; `--resume` takes it.
    pub agent_session_id: Option<Uuid>,
    /// Tools that were not allowed. At most [`super::MAX_DENIALS`], the first ones.
    pub permission_denials: Vec<Denial>,
    /// Messages of the model, and more when tools ran.
    pub num_turns: Option<u64>,
    /// The client had run this uuid before and did nothing now: the answer is in the transcript
    /// (`record::answer_of`), not here. In the interface: nobody heard how the turn ended; the
    /// transcript has it under `prompt_id`.
    pub known_already: bool,
    /// The answer was too long; it is cut, and the outcome is a failure.
    pub truncated: bool,
    /// The client's own `result` is not how this answer ends. Both can be looked at; it never
    /// was so in a recording.
    pub cross_check_failed: bool,
    /// In the interface: the last message is as the end's hook says it, since another one was told
    /// while it came.
    pub corrected: bool,
    /// In the interface: of several messages one may have broken off, and was said again; or the
    /// turn's beginning was told to somebody else. Only the transcript tells, as soon as
    /// [`Self::is_told_by`] it.
    pub doubtful: bool,
    /// In the interface: the last block of text, trimmed, as the end's hook says it.
    pub last_words: Option<String>,
    /// In the interface: how often the turn was made to go on when it had ended, by a hook of `Stop`.
    pub continued: u32,
    /// In the interface: a hook of `Stop` may still make the model go on, and this client says in no
    /// way whether it is at work.
    pub may_go_on: bool,
    /// In the interface's transcript: the client has written that the turn is over.
    pub over: bool,
    /// In the interface: what passed on the wire is not what its hooks say. Theirs is the answer.
    pub wire_differs: bool,
    /// In the interface: the `promptId` of the turn's lines in the transcript.
    pub prompt_id: Option<Uuid>,
    /// A slash command of the client answered, not the model.
    pub local_command: bool,
    /// Of a program in the agent's place: its command's exit status. Claude Code has none.
    pub exit_status: Option<i32>,
    /// Who asked, when we did not: `task-notification`, …
    pub origin: Option<String>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The answer is whole.
    Completed,
    /// It is not; `error` says why.
    #[default]
    Failed,
    /// By us, or by an answer "deny, and interrupt".
    Interrupted,
}

/// What the agent reports as the reason of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentError {
    /// What to do about it.
    pub kind: ErrorKind,
    /// HTTP status.
    pub status: Option<u16>,
    /// In the client's words.
    pub text: String,
}

/// What an error means for the one who sent the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 429.
    RateLimited,
    /// 529.
    Overloaded,
    /// No login, or a bad one: 401, 403.
    NotLoggedIn,
    /// No credit.
    Billing,
    /// The conversation is too long for the model.
    PromptTooLong,
    /// The model was cut again and again.
    MaxOutputTokens,
    /// `--max-turns`.
    MaxTurns,
    /// The model may not answer.
    Refused,
    /// No such model.
    Model,
    /// Another 4xx.
    BadRequest,
    /// 5xx.
    Server,
    /// The connection was lost.
    Connection,
    /// The connection was lost for good in the middle of the answer. The client calls this a
    /// success (`is_error:false`, no `stop_reason`): the answer is only its beginning.
    Incomplete,
    /// A hook took the prompt: the model never saw it.
    Blocked,
    /// The answer is longer than [`super::MAX_ANSWER`].
    AnswerTooLong,
    /// The client went idle without a result.
    NoResult,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// The name for events and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::NotLoggedIn => "not_logged_in",
            Self::Billing => "billing",
            Self::PromptTooLong => "prompt_too_long",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::MaxTurns => "max_turns",
            Self::Refused => "refused",
            Self::Model => "model",
            Self::BadRequest => "bad_request",
            Self::Server => "server",
            Self::Connection => "connection",
            Self::Incomplete => "incomplete_answer",
            Self::Blocked => "blocked_by_hook",
            Self::AnswerTooLong => "answer_too_long",
            Self::NoResult => "no_result",
            Self::Other => "other",
        }
    }
}

impl TurnEnd {
    /// One that came to no result; `text` says why.
    #[must_use]
    pub fn without_result(outcome: Outcome, error: Option<ErrorKind>, why: &str) -> Self {
        let error = error.map(|kind| AgentError {
            kind,
            status: None,
            text: why.to_owned(),
        });
        Self {
            outcome,
            error,
            ..Self::default()
        }
    }

    /// Whether this account of the turn, from its transcript, tells all of it. The client writes some
    /// 50 ms after it has told the end, and each time that a hook makes the model go on the turn
    /// looks as if it had ended there.
    #[must_use]
    pub fn is_told_by(&self, transcript: &Self) -> bool {
        let last = self.last_words.as_deref().unwrap_or_default();
        if self.may_go_on {
            // what came behind `Stop` was told to nobody
            return transcript.over;
        }
        transcript.continued >= self.continued && ends_with(&transcript.answer, last)
    }

    pub(crate) fn fail(&mut self, kind: ErrorKind, why: &str) {
        self.outcome = Outcome::Failed;
        self.error = Some(AgentError {
            kind,
            status: None,
            text: why.to_owned(),
        });
    }
}

/// The outcome that a `result` tells. `error` is that of the client's own last message.
pub(crate) fn outcome(result: &ResultLine, error: Option<&str>) -> (Outcome, Option<AgentError>) {
    let terminal = result.terminal_reason.as_deref().unwrap_or_default();
    if !result.is_error && terminal != "turn_setup_failed" {
        return (Outcome::Completed, None);
    }
    if terminal.starts_with("aborted") {
        return (Outcome::Interrupted, None);
    }
    let text = match &result.text {
        Some(text) if !text.is_empty() => text.clone(),
        _ => result.errors.join("; "),
    };
    let kind = kind(result, terminal, error.unwrap_or_default());
    (
        Outcome::Failed,
        Some(AgentError {
            kind,
            status: result.api_status,
            text,
        }),
    )
}

/// Names first, then the status: 529 is named `server_error`, no login has no status, and a
/// lack of credit is a 400 (recorded: retry_529, not_logged_in, credit).
fn kind(result: &ResultLine, terminal: &str, error: &str) -> ErrorKind {
    if result.api_error_type.as_deref() == Some("overloaded_error")
        || result.api_status == Some(529)
    {
        return ErrorKind::Overloaded;
    }
    match (terminal, result.subtype.as_deref()) {
        ("max_turns", _) | (_, Some("error_max_turns")) => return ErrorKind::MaxTurns,
        ("prompt_too_long", _) => return ErrorKind::PromptTooLong,
        // a transcript does not keep the terminal reason
        _ if result
            .text
            .as_deref()
            .is_some_and(|text| text.starts_with("Prompt is too long")) =>
        {
            return ErrorKind::PromptTooLong;
        }
        _ => {}
    }
    if result.stop_reason.as_deref() == Some("refusal") {
        return ErrorKind::Refused;
    }
    match (error, result.api_error.as_deref(), result.api_status) {
        (_, Some("connection_failed"), _) => ErrorKind::Connection,
        ("rate_limit", ..) | (.., Some(429)) => ErrorKind::RateLimited,
        ("authentication_failed", ..) | (.., Some(401 | 403)) => ErrorKind::NotLoggedIn,
        ("billing_error", ..) | (.., Some(402)) => ErrorKind::Billing,
        ("max_output_tokens", ..) => ErrorKind::MaxOutputTokens,
        ("model_not_found", ..) => ErrorKind::Model,
        ("server_error", ..) | (.., Some(500..=599)) => ErrorKind::Server,
        ("invalid_request", ..) | (.., Some(400..=499)) => ErrorKind::BadRequest,
        _ => ErrorKind::Other,
    }
}

/// Whether a text ends in these words: `Stop` tells its last block of text, trimmed (measured).
pub(crate) fn ends_with(told: &str, said: &str) -> bool {
    let words = |text| str::chars(text).rev().filter(|c| !c.is_whitespace());
    let mut told = words(told);
    words(said).all(|c| told.next() == Some(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_yet_is_told_from_what_is() {
        let heard = |last: &str, continued| TurnEnd {
            last_words: Some(last.to_owned()),
            continued,
            ..TurnEnd::default()
        };
        let written = |answer: &str, continued| TurnEnd {
            answer: answer.to_owned(),
            continued,
            ..TurnEnd::default()
        };
        for (heard, written, all) in [
            (heard("two", 0), written("one two\n", 0), true),
            (heard("two", 1), written("one two", 1), true),
            (heard("two", 1), written("one", 0), false),
            (heard("so", 1), written("so", 0), false),
            (heard("so", 1), written("soso", 1), true),
            // whoever has not heard the beginning may know of less
            (heard("so", 1), written("sososo", 2), true),
            (heard("", 0), written(" ", 0), true),
            (heard("", 1), written("one", 0), false),
        ] {
            assert_eq!(heard.is_told_by(&written), all, "{heard:?} {written:?}");
        }
    }
}
