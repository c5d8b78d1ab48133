//! What is said about terminals: programs that have one, and clients that look at it.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use uuid::Uuid;

/// See [`crate::Request::Attach`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    /// Name or id of the session.
    pub session: String,
    /// What this viewer is called in later requests, chosen by the client.
    #[serde(with = "uuid::serde::hyphenated")]
    pub viewer: Uuid,
    /// What is typed is not for the program, and the size is not for its terminal.
    #[serde(default)]
    pub read_only: bool,
    /// The other viewers are detached.
    #[serde(default)]
    pub exclusive: bool,
    /// Also when work in the background ends by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anyway: bool,
    /// The keys that detach, as `C-\` or `C-b d`; absent: `C-\`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detach_keys: Option<String>,
    /// Rows of the history that the terminal gets first, for its own scrollback, behind what it
    /// shows now; 0 of a client that attaches again: it has them.
    #[serde(default)]
    pub recall: u32,
    /// The modes that the terminal is to have again in the end; absent: those that it has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modes: Option<TerminalModes>,
}

/// The modes of a terminal: the fields of `struct termios` of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalModes {
    /// `c_iflag`.
    pub input: u32,
    /// `c_oflag`.
    pub output: u32,
    /// `c_cflag`.
    pub control: u32,
    /// `c_lflag`.
    pub local: u32,
    /// `c_cc`.
    pub characters: ByteBuf,
}

/// Why a viewer is one no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// Why.
    pub reason: DetachReason,
    /// How the program exited, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
}

impl Detached {
    /// For this reason.
    #[must_use]
    pub fn because(reason: DetachReason) -> Self {
        Self { reason, exit: None }
    }
}

/// See [`Detached::reason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetachReason {
    /// The keys were pressed.
    Keys,
    /// Its client has asked for it.
    Asked,
    /// Another client attached and wanted to be the only one.
    Replaced,
    /// The program has exited.
    Exited,
    /// The program is being started again.
    Restarted,
    /// The session is being killed.
    Killed,
    /// The broker is stopping.
    Stopped,
    /// The terminal is gone, or something that this build does not know.
    #[default]
    #[serde(other)]
    Gone,
}

/// How a program exited: with a status, or by a signal. Neither is known when the machine died, or
/// the program's holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// The signal's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u32>,
}

impl ExitStatus {
    /// As a shell tells it: the status, 128 and the signal, or 255 where nothing is known.
    #[must_use]
    pub fn shell(self) -> u8 {
        let code = self.code.or(self.signal.map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("how it ended is not known"),
        }
    }
}

/// A program that a session runs in a terminal, in place of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The program, looked up in the caller's PATH, and its arguments.
    pub args: Vec<ByteBuf>,
    /// Rows of its terminal while nobody is attached.
    pub rows: u16,
    /// Columns of it.
    pub cols: u16,
    /// Rows of history that are kept; absent: 10 000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrollback: Option<u32>,
}
