//! Errors as they cross the socket: a code for programs, a message and a hint for
//! people.

use serde::{Deserialize, Serialize};

/// What went wrong, for programs. Codes are never renamed and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is not well formed, or an option's value is not allowed.
    BadRequest,
    /// The broker does not know this request.
    UnknownRequest,
    /// The prompt is empty or nothing but white space.
    PromptEmpty,
    /// The prompt has a NUL, or, as the command reads it, is not UTF-8.
    PromptInvalid,
    /// The agent's interface would make another prompt of it.
    Unrepresentable,
    /// The prompt is longer than [`crate::MAX_PROMPT`].
    PromptTooLong,
    /// The key belongs to another prompt.
    KeyConflict,
    /// The name of a session is not `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    BadName,
    /// The config file cannot be used.
    BadConfig,
    /// There is no session of this name or id.
    NoSuchSession,
    /// There is no such turn.
    NoSuchTurn,
    /// A session of this name exists.
    SessionExists,
    /// There is no such open question.
    NoSuchQuestion,
    /// Somebody else answered the question first, or the agent took it back.
    QuestionAnswered,
    /// The answer is none to this question.
    BadAnswer,
    /// The session is busy, and the caller wanted to fail then.
    Busy,
    /// The agent asks something, and the caller wanted to fail then.
    Question,
    /// The provider limits the rate.
    RateLimited,
    /// The provider is overloaded.
    Overloaded,
    /// The agent is not logged in.
    NotLoggedIn,
    /// The agent died, and what became of the turn is not known.
    AgentDied,
    /// Somebody else ended the turn: an interrupt.
    Interrupted,
    /// Somebody else took the turn back before it ran.
    Cancelled,
    /// Somebody else killed the session.
    Killed,
    /// Somebody else restarted the session.
    Restarted,
    /// No broker can be reached, and none could be started.
    BrokerUnreachable,
    /// The broker is stopping.
    BrokerStopping,
    /// The two sides do not speak the same protocol.
    Incompatible,
    /// The turn took longer than its timeout.
    TimedOut,
    /// The caller runs inside a session's agent, which may not do this.
    NotAllowed,
    /// The directory is not trusted.
    UntrustedDirectory,
    /// The session has no terminal, or none that this can be done with; or the client has none.
    NoTerminal,
    /// The session runs a program, of which this cannot be asked.
    NotAnAgent,
    /// There is no such directory, or it cannot be entered.
    BadDirectory,
    /// A file or directory of clsess itself is not as it must be (owner, mode, kind).
    UnsafePath,
    /// The agent's program was not found.
    AgentNotFound,
    /// The agent's version cannot carry prompts exactly.
    AgentTooOld,
    /// The agent did not start.
    AgentStartFailed,
    /// The agent was not ready in time.
    StartTimeout,
    /// A variable that was not kept is needed to start the agent again.
    EnvironmentForgotten,
    /// The agent no longer has this conversation.
    ConversationMissing,
    /// Part of what the agent keeps of this conversation is gone or cannot be read.
    ConversationDamaged,
    /// Another process has this conversation open.
    ConversationInUse,
    /// The journal cannot be written.
    JournalFailed,
    /// The answer is longer than [`crate::MAX_ANSWER`].
    AnswerTooLong,
    /// What the agent printed of the answer could not be read whole, or contradicts
    /// itself: it may be the answer, and it is not proven.
    AnswerDamaged,
    /// The agent reported an error for this turn.
    AgentError,
    /// The program is not fit to be the broker, or the broker cannot be replaced now; it goes on
    /// as it was.
    UpgradeFailed,
    /// A bound of the broker is reached (sessions, queue, connections).
    TooMany,
    /// A fault in clsess itself.
    Internal,
    /// A code that this build does not know.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The command's exit code for it (the table in `cli.md` and `clsess(1)`).
    #[must_use]
    pub fn exit(self) -> u8 {
        use ErrorCode as E;
        match self {
            E::BadRequest
            | E::PromptEmpty
            | E::PromptInvalid
            | E::Unrepresentable
            | E::PromptTooLong => 2,
            E::KeyConflict | E::BadName | E::BadConfig | E::BadAnswer => 2,
            E::NoSuchSession | E::NoSuchTurn | E::NoSuchQuestion | E::QuestionAnswered => 3,
            E::SessionExists => 4,
            E::Busy => 5,
            E::Question => 6,
            E::RateLimited | E::Overloaded => 7,
            E::NotLoggedIn => 8,
            E::AgentDied => 9,
            E::Interrupted | E::Cancelled | E::Killed | E::Restarted => 10,
            E::BrokerUnreachable | E::BrokerStopping | E::Incompatible | E::UnknownRequest => 11,
            E::TimedOut => 124,
            E::NoTerminal | E::NotAnAgent => 2,
            E::NotAllowed
            | E::UntrustedDirectory
            | E::BadDirectory
            | E::UnsafePath
            | E::AgentNotFound => 1,
            E::AgentTooOld | E::AgentStartFailed | E::StartTimeout => 1,
            E::EnvironmentForgotten | E::JournalFailed => 1,
            E::ConversationMissing | E::ConversationDamaged | E::ConversationInUse => 1,
            E::AnswerTooLong
            | E::AnswerDamaged
            | E::AgentError
            | E::UpgradeFailed
            | E::TooMany
            | E::Internal
            | E::Unknown => 1,
        }
    }
}

/// A failure: what it is, what happened, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub code: ErrorCode,
    /// One line for people, without a full stop.
    pub message: String,
    /// What to do next: where there is one, the command to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
