//! The lines that the client prints in stream-json mode, as far as the broker uses them.
//!
//! Key order is arbitrary and fields come and go between versions (facts 1.2), so every field is
//! optional, unknown ones are ignored, and a known one of an odd type counts as missing. Text
//! deltas come by the thousand each second: a line is scanned, not built into a tree.

mod read;

use std::fmt;

use uuid::Uuid;

pub use crate::json::Json;
pub use read::parse;
pub(crate) use read::{block, blocks};

/// One line of the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A run of the agent is over.
    Result(Box<ResultLine>),
    /// One finished content block (or, without streaming, a whole message).
    Assistant(Box<AssistantLine>),
    /// What goes to the model in the user's place: tool results, notes of the client.
    User(UserLine),
    /// A piece of a message as it comes.
    Event(EventLine),
    /// `system/init`: printed at the beginning of every run, not once.
    Init(InitLine),
    /// `system/session_state_changed`.
    State(State),
    /// `system/status`: which user lines the coming request answers.
    Status {
        /// `user_message_uuids`.
        uuids: Vec<Uuid>,
    },
    /// `system/api_retry`.
    Retry(RetryLine),
    /// `system/background_tasks_changed`.
    BackgroundTasks {
        /// How many run now.
        count: usize,
    },
    /// `system/task_started`: an agent or command of the agent begins.
    TaskStarted {
        /// Its id, the `agent_id` of what an agent says and asks.
        id: String,
    },
    /// `command_lifecycle`: what became of a user line.
    Lifecycle {
        /// The user line's uuid, or one of the client's own making.
        uuid: Uuid,
        /// What became of it.
        state: Lifecycle,
    },
    /// `control_request` of the kind `can_use_tool`: the agent waits for an answer.
    Question(Box<QuestionLine>),
    /// A `control_request` of another kind.
    OtherRequest {
        /// To answer with.
        request_id: String,
        /// Its kind.
        subtype: String,
    },
    /// `control_cancel_request`: a question needs no answer any more.
    Cancel {
        /// The question's.
        request_id: String,
    },
    /// `control_response`: the answer to a request of ours.
    Response(Box<ResponseLine>),
    /// `conversation_reset`: `/clear` began another conversation.
    Reset {
        /// The transcript's id from now on is in the next `result`; this one is the
        /// conversation's (facts 1.1).
        conversation: Option<Uuid>,
    },
    /// `rate_limit_event`.
    RateLimit(RateLimit),
    /// Any other kind.
    Other,
}

/// Why a line could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// Empty or blank.
    Empty,
    /// Valid or not, it is no object.
    NotAnObject,
    /// Not JSON (or a key came twice).
    Json(String),
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty line"),
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::Json(why) => write!(f, "not JSON: {why}"),
        }
    }
}

impl std::error::Error for BadLine {}

/// `type: "result"`. `is_error` is the truth, `subtype` is "success" for API errors too (1.6).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultLine {
    /// For messages only.
    pub subtype: Option<String>,
    /// Whether the run failed.
    pub is_error: bool,
    /// The LAST text block only; missing after an interrupt.
    pub text: Option<String>,
    /// Reasons, when `text` is missing.
    pub errors: Vec<String>,
    /// Of the last message; missing after an interrupt, a local command, a lost connection.
    pub stop_reason: Option<String>,
    /// `completed`, `api_error`, `aborted_streaming`, `aborted_tools`, `max_turns`, …
    pub terminal_reason: Option<String>,
    /// HTTP status of an API error.
    pub api_status: Option<u16>,
    /// `overloaded_error`, …
    pub api_error_type: Option<String>,
    /// `max_output_tokens`, …
    pub api_error: Option<String>,
    /// Tokens of this run.
    pub usage: Option<Json>,
    /// Of the whole conversation so far, over resumes too: not of this run.
    pub total_cost_usd: Option<f64>,
    /// Of this run and of background agents since the last one.
    pub cost_usd: Option<f64>,
    /// Milliseconds.
    pub duration_ms: Option<u64>,
    /// Milliseconds to the first token.
    pub ttft_ms: Option<u64>,
    /// Messages of the model, and more when tools ran.
    pub num_turns: Option<u64>,
    /// The transcript's id; changes with `/clear`.
    pub session_id: Option<Uuid>,
    /// Tools that were not allowed.
    pub denials: Vec<Denial>,
    /// The user lines that this run answered; empty for a run that nobody asked for.
    pub uuids: Vec<Uuid>,
    /// A slash command of the client answered, not the model.
    pub local_command: bool,
    /// `origin.kind`, e.g. `task-notification`; missing for what was asked.
    pub origin: Option<String>,
}

/// A tool call that was not allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    /// The tool's name.
    pub tool: String,
    /// Its input.
    pub input: Option<Json>,
}

/// `type: "assistant"`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssistantLine {
    /// The message's id: lines of one message share it.
    pub message_id: Option<String>,
    /// `<synthetic>` when the client itself wrote it.
    pub model: Option<String>,
    /// The content.
    pub blocks: Vec<Block>,
    /// Of a subagent: never the conversation's own.
    pub subagent: bool,
    /// Written by the client about an API error; not the model's words.
    pub api_error: bool,
    /// `rate_limit`, `authentication_failed`, … beside `api_error`.
    pub error: Option<String>,
    /// Cut by an interrupt.
    pub aborted: bool,
}

/// A content block of the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Words.
    Text(String),
    /// Thoughts.
    Thinking,
    /// A tool call.
    Tool {
        /// `toolu_…`
        id: String,
        /// The tool's name.
        name: String,
        /// Its input.
        input: Json,
    },
    /// The result of a tool: the server ran it, or a transcript tells of it.
    Result,
    /// Anything else.
    Other,
}

/// `type: "user"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserLine {
    /// Of a subagent.
    pub subagent: bool,
    /// Written by the client to make the model go on.
    pub synthetic: bool,
    /// Results of tools.
    pub results: Vec<ToolResult>,
}

/// What came of a tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// The call's id.
    pub id: String,
    /// Whether it failed, was denied or interrupted.
    pub is_error: bool,
}

/// `type: "stream_event"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine {
    /// Of a subagent.
    pub subagent: bool,
    /// What came.
    pub event: Event,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message (or another attempt at it) begins.
    MessageStart,
    /// Words.
    Text(String),
    /// Thoughts.
    Thinking(String),
    /// A content block is over. Its `assistant` line came before, unless it is a text of
    /// nothing but white space: then there is none (measured).
    BlockStop,
    /// The message is over.
    MessageStop {
        /// Its connection was lost, or it was interrupted: blocks that had not ended will
        /// not come (`abandoned_blocks`).
        abandoned: bool,
    },
    /// Anything else.
    Other,
}

/// `system/init`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitLine {
    /// The transcript's id.
    pub session_id: Option<Uuid>,
    /// The model that will be asked.
    pub model: Option<String>,
    /// The mode as the client names it (`default` is the flag's `manual`).
    pub permission_mode: Option<String>,
    /// The client's version.
    pub version: Option<String>,
    /// The user lines that this run answers; empty for a run that nobody asked for.
    pub uuids: Vec<Uuid>,
}

/// `session_state_changed` (facts 1.2; only with `CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS=1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Something runs.
    Running,
    /// It waits for an answer.
    RequiresAction,
    /// The true end: background reports that were due have been given.
    Idle,
    /// A state of a version we do not know.
    Other,
}

/// `command_lifecycle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Read.
    Queued,
    /// On its way to the model.
    Started,
    /// Done.
    Completed,
    /// Done too: every turn that fails or is interrupted ends with this.
    Cancelled,
    /// A state of a version we do not know.
    Other,
}

/// `system/api_retry`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryLine {
    /// From 1.
    pub attempt: u32,
    /// `CLAUDE_CODE_MAX_RETRIES`.
    pub max: u32,
    /// Milliseconds until it tries again.
    pub delay_ms: u64,
    /// HTTP status; missing for a broken connection.
    pub status: Option<u16>,
    /// `rate_limit`, `overloaded`, `server_error`, `authentication_failed`, `unknown`.
    pub error: Option<String>,
}

/// `can_use_tool` (facts 1.4).
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionLine {
    /// To answer with.
    pub request_id: String,
    /// The tool's name.
    pub tool: String,
    /// Its input: `updatedInput` of an allow, unless it is to be changed.
    pub input: Json,
    /// What the client would show beside the tool's name.
    pub description: Option<String>,
    /// Rules that would stop it from asking again; an array.
    pub suggestions: Option<Json>,
    /// The tool call's id.
    pub tool_use_id: Option<String>,
    /// The subagent that asks; missing for the conversation itself.
    pub agent_id: Option<String>,
}

/// `control_response`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResponseLine {
    /// The request's.
    pub request_id: String,
    /// Why it was refused; `None` when it was not.
    pub error: Option<String>,
    /// The answer.
    pub response: Option<Json>,
}

/// `rate_limit_event` (never seen with an API key; from the client's strings).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// `allowed`, `allowed_warning`, `rejected`.
    pub status: Option<String>,
    /// Seconds since 1970.
    pub resets_at: Option<u64>,
    /// `five_hour`, `seven_day`, …
    pub kind: Option<String>,
}
