//! What crosses the clsess socket, and nothing else.
//!
//! A connection carries [`frame`]s: a length and one MessagePack map. The first
//! frame each way is a [`Hello`]; then the client sends [`Request`]s, and the
//! broker answers each with any number of [`Event`]s and exactly one [`Reply`]
//! or [`Failure`] under the request's id. `PROTOCOL.md` is the same for people
//! who write a client in another language.
//!
//! Everything here is data: no runtime, no paths, no command line.

mod error;
mod event;
pub mod frame;
mod hello;
mod id;
mod reply;
mod request;
mod screen;

pub use error::{ErrorCode, Failure};
pub use event::{Event, EventKind, Resolution};
pub use hello::{CAPABILITIES, Hello, PROTOCOL, ToBroker, ToClient, VERSION, compatible, newer};
pub use id::TurnId;
pub use reply::{
    BrokerStatus, Denial, Killed, LogEntry, Outcome, Question, QuestionKind, QueuedTurn, Reply,
    SessionDetail, SessionRow, State, TapDetail, TurnReport, Usage,
};
pub use request::{
    Driver, HookEvent, Hooks, New, OnBusy, OnCrash, OnLimit, OnQuestion, Request, Send, Settings,
    Tap, Until, check_prompt, valid_name,
};
pub use screen::{Attach, DetachReason, Detached, ExitStatus, Program, TerminalModes};

/// Longest prompt, in bytes of UTF-8. Longer ones are refused with
/// [`ErrorCode::PromptTooLong`], never cut. It is the limit that Claude Code
/// itself sets for a prompt on its standard input.
pub const MAX_PROMPT: usize = 10 * 1024 * 1024;

/// Longest answer, in bytes. A turn whose answer grows beyond it fails with
/// [`ErrorCode::AnswerTooLong`]; nothing is cut silently.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;
