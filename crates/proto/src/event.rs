//! What happens in a session, as it is told to clients.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Failure, Outcome, TurnId};

/// One thing that happened. As JSON it is a line of `send -o stream-json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts the session's events from 1; it starts again with the broker.
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
        /// The tool that it asks about.
        tool: String,
        /// What the tool would be given.
        input: Value,
    },
    /// A question is decided.
    QuestionResolved {
        /// The tool.
        tool: String,
        /// `denied`, or `withdrawn` when the agent took it back.
        how: String,
    },
    /// A permission was denied by this turn's policy.
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
        /// How many there are.
        max: u32,
        /// Milliseconds until then.
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
    /// Events were left out, because they were not taken fast enough.
    Gap {
        /// How many.
        missed: u64,
    },
    /// An event that this build does not know.
    #[serde(other)]
    Unknown,
}
