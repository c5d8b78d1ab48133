//! What the broker answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_json::Value;
use uuid::Uuid;

use crate::{Detached, ExitStatus, Failure, Tap, TurnId};

/// The good answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// A session that was made, found, or started again.
    Session {
        /// Its row.
        session: SessionRow,
        /// Whether it was made by this request.
        created: bool,
    },
    /// The prompt is safely in the journal (`wait: false`).
    Accepted {
        /// The turn.
        turn: TurnId,
    },
    /// A turn that has ended, well or not.
    Turn(Box<TurnReport>),
    /// All sessions, by name.
    Sessions {
        /// The rows.
        sessions: Vec<SessionRow>,
    },
    /// One session.
    Detail(Box<SessionDetail>),
    /// What became of each session that was to be killed.
    Killed {
        /// In the order asked for.
        sessions: Vec<Killed>,
    },
    /// What was interrupted.
    Interrupted {
        /// The turn; absent: nothing ran that anybody had asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        turn: Option<TurnId>,
    },
    /// It is so.
    Waited {
        /// Of these sessions.
        sessions: Vec<SessionRow>,
    },
    /// The turns that wait, the next one first.
    Queue {
        /// They.
        turns: Vec<QueuedTurn>,
    },
    /// Turns that were taken back.
    Removed {
        /// They.
        turns: Vec<TurnId>,
    },
    /// Turns of the history.
    Log {
        /// They, oldest first.
        turns: Vec<LogEntry>,
        /// Whether there are more behind them.
        more: bool,
    },
    /// Open questions, oldest first.
    Questions {
        /// They.
        questions: Vec<Question>,
    },
    /// A question that was answered by this request.
    Answered {
        /// It.
        question: Box<Question>,
    },
    /// A viewer is one no longer, and its terminal is as it was.
    Detached(Detached),
    /// What is on the screen: lines, each with a newline at its end.
    Captured {
        /// They.
        screen: ByteBuf,
    },
    /// What the agent is told.
    Hooked {
        /// As it is.
        output: ByteBuf,
    },
    /// What is to stand in the agent's input box.
    Edited {
        /// It; absent: a person has opened the editor, and it is theirs.
        text: Option<ByteBuf>,
    },
    /// The broker itself.
    Status(BrokerStatus),
    /// Nothing more to say.
    Done {},
    /// An answer that this build does not know.
    #[serde(other)]
    Unknown,
}

/// How a turn stands, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Waits.
    Queued,
    /// Is with the agent.
    Running,
    /// Ended well: the answer is the answer.
    Completed,
    /// The agent, or its provider, reported an error.
    Failed,
    /// Was ended by somebody while it ran.
    Interrupted,
    /// Was taken back before it ran.
    Cancelled,
    /// Took longer than its timeout.
    TimedOut,
    /// The agent died, or the broker did: what became of it is not known.
    #[serde(other)]
    Unknown,
}

impl Outcome {
    /// Whether it can still change.
    #[must_use]
    pub fn open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// Everything about one turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnReport {
    /// The session's name.
    pub session: String,
    /// The turn.
    pub turn: TurnId,
    /// How it ended.
    pub outcome: Outcome,
    /// All text of the main conversation after the turn's last tool result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// All texts of the turn, one for each message; only where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<Vec<String>>,
    /// What went wrong, when the outcome is not `completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Whether the agent called its result an error.
    pub is_error: bool,
    /// Of a program with turns: the exit status that it has told of the command. The answer is whole,
    /// whatever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// Why the model stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// Tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What this turn cost, in US dollars, as the agent counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// From the start of the turn to its end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// From the start of the turn to the first text, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<u64>,
    /// How long it waited in the queue, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_ms: Option<u64>,
    /// The model that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The agent's own id of the conversation.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "uuid::serde::hyphenated::option"
    )]
    pub agent_session_id: Option<Uuid>,
    /// What the agent wanted to do and was not allowed to.
    #[serde(default)]
    pub permission_denials: Vec<Denial>,
    /// The turn that this one's prompt was put into: they have one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steered_into: Option<TurnId>,
    /// Of a turn that nobody asked for: what began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Whether the newlines at the end of its prompt were cut, which the agent's interface does not
    /// carry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prompt_trimmed: bool,
    /// How often the agent has died in it, and another one has taken it up.
    #[serde(default, skip_serializing_if = "is_none")]
    pub agent_deaths: u32,
    /// What the agent's conversation had lost when this turn began in what was left of it, or in a
    /// new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_lost: Option<String>,
    /// Whether what passed on the wire is not what the agent's hooks say; theirs is the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wire_differs: bool,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

/// Tokens of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Read, not from the cache.
    #[serde(default)]
    pub input_tokens: u64,
    /// Written.
    #[serde(default)]
    pub output_tokens: u64,
    /// Put into the cache.
    #[serde(default)]
    pub cache_creation_input_tokens: u64,
    /// Read from the cache.
    #[serde(default)]
    pub cache_read_input_tokens: u64,
}

/// A tool that was not allowed to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Denial {
    /// The tool's name.
    pub tool: String,
    /// What it would have been given.
    pub input: Value,
}

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The agent is being started.
    Starting,
    /// The agent is ready, and nothing runs.
    Idle,
    /// A turn runs, or work that the agent began by itself.
    Working,
    /// The agent waits for an answer.
    Question,
    /// The provider takes no more for a while; the detail says until when.
    RateLimited,
    /// The agent is ready, but not logged in.
    LoginNeeded,
    /// The agent is busy, and has not given a byte for a while.
    Stalled,
    /// The agent is being started again.
    Restarting,
    /// There is no agent; the next `send` starts it.
    Asleep,
    /// There is no agent, and what waits runs when somebody says so: the machine has died.
    Held,
    /// The program has exited; `restart` starts it again.
    Exited,
    /// The agent could not be started; the next `send` tries again.
    Failed,
    /// The session is being ended.
    Ending,
    /// The session is no more: the last that is told of it.
    Gone,
    /// A state that this build does not know.
    #[serde(other)]
    Unknown,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its name.
    pub name: String,
    /// Its id, which a new name does not change.
    #[serde(with = "uuid::serde::hyphenated")]
    pub id: Uuid,
    /// What it does.
    pub state: State,
    /// Since when, in milliseconds of Unix time.
    pub since: u64,
    /// More about the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Its body: `stream`, or `program`.
    pub driver: String,
    /// Turns that wait.
    pub queue: u64,
    /// Turns that have ended.
    pub turns: u64,
    /// Clients that are attached.
    pub attached: u64,
    /// Agents and commands that run in the background of the agent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub background: u64,
    /// Seconds since something happened in it.
    pub idle_s: u64,
    /// Its directory.
    pub cwd: String,
}

/// Everything about a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionDetail {
    /// As in a list.
    #[serde(flatten)]
    pub row: SessionRow,
    /// The agent's own id of the conversation; absent: it runs a program.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "uuid::serde::hyphenated::option"
    )]
    pub agent_session_id: Option<Uuid>,
    /// The program and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The title that the program has given its terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Rows and columns of the terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<(u16, u16)>,
    /// How the program exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// The agent's process, or the program's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The holder's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder_pid: Option<u32>,
    /// The agent's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The model that answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens of all turns since the session was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What all its turns cost, in US dollars, as the agent counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// What passes between the agent and its provider; absent: it is not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap: Option<TapDetail>,
    /// What the agent asks, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Failure>,
}

/// What the wire has told of an agent's provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapDetail {
    /// How it is read.
    pub way: Tap,
    /// From the end of the last request of the main conversation to the first byte of its answer, in
    /// milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttfb_ms: Option<u64>,
    /// Limits and when they reset, as the provider wrote them last: its `anthropic-ratelimit-` headers by
    /// the rest of their names, and `retry-after`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, String>,
    /// Pieces that passed and could not be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A turn that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueuedTurn {
    /// Its id.
    pub turn: TurnId,
    /// When it was sent, in milliseconds of Unix time.
    pub at: u64,
    /// The beginning of its prompt.
    pub prompt: String,
    /// Why it waits, when it does not only wait for those before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

/// A turn of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its id.
    pub turn: TurnId,
    /// When it was sent, or began by itself, in milliseconds of Unix time.
    pub at: u64,
    /// The prompt; absent for a turn that nobody asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// As in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How it stands, or ended.
    pub outcome: Outcome,
    /// As in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// As in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// As in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// As in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steered_into: Option<TurnId>,
    /// As in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// An open question of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// To answer with.
    pub id: String,
    /// The session's name.
    pub session: String,
    /// The turn that asks; absent: none that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// What it is about.
    pub kind: QuestionKind,
    /// The tool.
    pub tool: String,
    /// What the tool would be given; cut to a note when it is very long.
    pub input: Value,
    /// The question in words.
    pub text: String,
    /// The answers that it offers; any other text is one too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// When it was asked, in milliseconds of Unix time.
    pub asked_at: u64,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// Whether a tool may be used.
    Permission,
    /// Something that the agent wants to know.
    Question,
    /// Whether its plan is approved.
    Plan,
    /// What its interface asks before it begins: answered at its screen only.
    Dialog,
    /// Something that this build does not know.
    #[serde(other)]
    Unknown,
}

/// What became of a session that was to be killed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Killed {
    /// As it was asked for.
    pub session: String,
    /// Its id, by which `result` still reads its turns.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "uuid::serde::hyphenated::option"
    )]
    pub id: Option<Uuid>,
    /// The agent's conversation, which can be taken up again; absent when nothing
    /// was ever said in it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "uuid::serde::hyphenated::option"
    )]
    pub agent_session_id: Option<Uuid>,
    /// The directory it lives in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// The broker itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrokerStatus {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Where it listens.
    pub socket: String,
    /// Where it keeps everything.
    pub state_dir: String,
    /// How many sessions it has.
    pub sessions: u64,
}
