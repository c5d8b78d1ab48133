//! What broker and holder say to each other. **Frozen**: a holder lives as long as its session, so brokers of later
//! versions must go on speaking this. New kinds get new numbers, new fields go to the end of a kind, and no number
//! and no field is ever given another meaning.
//!
//! # Bytes
//!
//! A frame is `u32 length`, then as many bytes: `u8 kind` and the kind's fields. The length does not count itself and
//! is at most [`MAX_FRAME`]. Numbers are big-endian. `bytes` is `u32 length` and the bytes; `list` is `u32 count` and
//! the items. Bytes after the known fields are ignored.
//!
//! | kind | request | fields |
//! |------|---------|--------|
//! | 1 | Start | `bytes program` (absolute), `list of bytes args` (the first is argument 0; none: the program), `list of (bytes name, bytes value) env` (complete: nothing is inherited), `bytes cwd` (absolute), `u8 stdio` (0: three pipes, 1: a terminal, 2: pipes, and a terminal for 1), `u32 umask`, `u16 rows`, `u16 cols`, `u16 width`, `u16 height` (the terminal's size, in cells and pixels; absent in version 2) |
//! | 2 | Lend | |
//! | 3 | End | `u32 grace_ms`, `u8 flags` (bit 0 `now`: SIGTERM at once) |
//! | 4 | Successor | `list of bytes args` (the first is the absolute path of the program), `list of (bytes name, bytes value) env` (complete) |
//!
//! | kind | reply | fields |
//! |------|-------|--------|
//! | 128 | Hello | `u8 version` (3), `u32 pid` (the holder's; absent in version 1): the first frame on every connection, unasked |
//! | 129 | Started | `u32 pid`, `u64 start_time` (field 22 of `/proc/PID/stat`) |
//! | 130 | Failed | `u32 errno`, `bytes step` (`stdio`, `cwd`, `program`, `arguments`, `environment`, `spawn`), `bytes message` |
//! | 131 | Lent | `bytes ends`: a byte for each descriptor that comes with the frame, in their order: the number it has in the agent (0, 1, 2), or that of a descriptor of the holder's own (128 outbox, 129 inbox, 130 notes, 131 the terminal, 132 and 133 the ends of a pipe for reading and writing) |
//! | 132 | Exited | `u8 kind` (0 exited, 1 signalled, 2 unknown), `u32 value` (exit status, signal number, 0): unasked |
//! | 133 | Ended | `u8 kind`, `u32 value` as in Exited, `u8 flags` (bit 0 `left`: some process could not be ended) |
//! | 134 | Refused | `u8 reason` (0 unknown kind, 1 malformed, 2 too long, 3 not now), `u8 kind` (of what is refused; 0 when it has none) |
//!
//! # The conversation
//!
//! Requests are answered in their order. Start is answered by Started or Failed, and after Failed can be tried again.
//! Lend is answered by Lent, as often as it is asked, from Started to Ended. End is answered by Ended, after which the
//! holder exits; a second End can only make the end come sooner. Successor is not answered. Exited comes as soon as
//! the agent itself has been reaped, asked to end or not; Ended follows when everything that descends from it is gone.
//! So Ended comes without End, too, but never before Lend (on this connection) or End has been asked: an agent that
//! exits has said why, and its broker is to have the time to take it. Behind Ended the broker may read a reset instead
//! of the end of the stream, if it was still asking.
//!
//! # One broker after the other
//!
//! A broker that goes is followed by another one, which connects to the same socket and is told behind Hello, unasked,
//! what it has to know: Started where there is an agent, and Exited where that has exited. Then it asks Lend, and goes
//! on where the one before it stopped. There is one broker at a time: a connection replaces the one before it. Without
//! one the agent goes on, an end that was asked for is carried out, and what the agent has said is kept until a broker
//! has been lent it. A holder that has no agent ends with its broker.
//!
//! A while after a broker has gone ([`crate::run`] says how long) and if no other has come, the program that it named
//! by Successor is started, once, and not as a descendant of the holder.
//!
//! # The files
//!
//! Three files in memory belong to the agent's life and not to the broker's: **outbox** and **inbox**, through which a
//! broker moves what goes to the agent and comes from it, so that their file offsets, which the kernel keeps, say after
//! its death how far it had come; and **notes**, in which it writes what it would not like to forget. The holder never
//! looks into them.
//!
//! # A terminal
//!
//! An agent that is started with stdio 1 is the leader of a session of its own with a terminal, which is its 0, 1 and
//! 2. Lent are then the master of that, the inbox, the notes, and a pipe: what the terminal says cannot be moved into
//! a file by one call, and what a broker has moved into the pipe when it dies, the next one finds there.
//!
//! With stdio 2 only the agent's 1 is a terminal, which changes no byte. Lent are what goes with stdio 0, where 1 is the
//! master, and the pipe.
//!
//! # Ending
//!
//! End closes the agent's input, or hangs the terminal up (SIGHUP), sends SIGTERM after half of the grace but 2 s at
//! most (at once with `now`), and SIGKILL when the grace is over. What the agent leaves behind gets SIGTERM and 0.5 s later SIGKILL, layer by layer;
//! after 5 s the rest is given up, and `left` says so.
//!
//! A refused frame changes nothing: the connection and the agent go on. A frame that is too long is read and dropped.
//! A broker skips replies of kinds that it does not know; with none of those come descriptors.
//!
//! # Descriptors
//!
//! Those of Lent travel with its bytes as `SCM_RIGHTS` (see [`crate::descriptors`]). A read can return the bytes of
//! several frames, but the kernel ends it behind the frame that has descriptors: the receiver keeps them in a queue
//! and takes for each Lent as many as it has `ends`. The holder keeps its own copies, of the same open descriptions:
//! `O_NONBLOCK`, once set by a broker, is set for the next one also. End closes the holder's copy of the agent's
//! stdin first, and from then on Lent comes without it; the agent sees the end of its input when the broker has
//! closed its own copy as well.

use std::fmt;

pub use crate::codec::{decode_reply, decode_request, encode_reply, encode_request, take_frame};

/// The version in Hello. Version 1 had neither pid nor files nor successors, and ended with its broker; version 2 had
/// no terminals.
pub const VERSION: u8 = 3;
/// The longest frame, its length not counted: an environment and arguments travel in Start, and Linux itself takes
/// no more than 6 MiB of them.
pub const MAX_FRAME: usize = 8 << 20;
/// The [`Start::stdio`] of three pipes.
pub const PIPES: u8 = 0;
/// The [`Start::stdio`] of a terminal.
pub const TERMINAL: u8 = 1;
/// The [`Start::stdio`] of pipes, and a terminal for the agent's output.
pub const TERMINAL_OUTPUT: u8 = 2;

/// The number of the outbox in [`Reply::Lent`]: what is on its way to the agent.
pub const OUTBOX: u8 = 128;
/// The number of the inbox: what has come from the agent and is not yet done with.
pub const INBOX: u8 = 129;
/// The number of the notes.
pub const NOTES: u8 = 130;
/// The number of the terminal's master.
pub const MASTER: u8 = 131;
/// The number of the end for reading of the pipe between terminal and inbox.
pub const PIPE_READ: u8 = 132;
/// The number of its end for writing.
pub const PIPE_WRITE: u8 = 133;

/// The kinds, as the table has them.
pub(crate) mod kind {
    pub(crate) const START: u8 = 1;
    pub(crate) const LEND: u8 = 2;
    pub(crate) const END: u8 = 3;
    pub(crate) const SUCCESSOR: u8 = 4;
    pub(crate) const HELLO: u8 = 128;
    pub(crate) const STARTED: u8 = 129;
    pub(crate) const FAILED: u8 = 130;
    pub(crate) const LENT: u8 = 131;
    pub(crate) const EXITED: u8 = 132;
    pub(crate) const ENDED: u8 = 133;
    pub(crate) const REFUSED: u8 = 134;
}

/// What the broker asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Start the agent.
    Start(Start),
    /// Send copies of the broker's ends of the agent's pipes.
    Lend,
    /// End the agent and all that descends from it.
    End {
        /// What the agent gets in total before SIGKILL.
        grace_ms: u32,
        /// Whether SIGTERM comes at once, and not after a part of the grace.
        now: bool,
    },
    /// What to start when this broker has gone.
    Successor(Successor),
}

/// A program that brings another broker, whose exit nobody waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Successor {
    /// The absolute path of the program, and its arguments.
    pub args: Vec<Vec<u8>>,
    /// Its complete environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The agent as it is to be started.
#[derive(Clone, PartialEq, Eq)]
pub struct Start {
    /// The absolute path of the executable.
    pub program: Vec<u8>,
    /// The arguments; the first is argument 0, and an empty list means the program's path.
    pub args: Vec<Vec<u8>>,
    /// The complete environment, names and values, in the order the agent gets it.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The absolute path of the directory to start it in.
    pub cwd: Vec<u8>,
    /// [`PIPES`], [`TERMINAL`] or [`TERMINAL_OUTPUT`].
    pub stdio: u8,
    /// The permissions that files it makes are not to have, as its user's shell has them; the holder's own is 077.
    pub umask: u32,
    /// The size of the terminal, where there is one.
    pub window: Window,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// In cells.
    pub rows: u16,
    /// In cells.
    pub cols: u16,
    /// In pixels; 0: not known.
    pub width: u16,
    /// In pixels; 0: not known.
    pub height: u16,
}

/// Arguments and environment can hold secrets, and what has a Debug is logged some day: only counts are shown.
impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("program", &self.program.escape_ascii().to_string())
            .field("args", &self.args.len())
            .field("env", &self.env.len())
            .field("cwd", &self.cwd.escape_ascii().to_string())
            .field("stdio", &self.stdio)
            .field("umask", &format_args!("{:03o}", self.umask))
            .field("window", &self.window)
            .finish()
    }
}

/// What the holder answers, or says unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The first frame on every connection.
    Hello {
        /// [`VERSION`].
        version: u8,
        /// The holder's process; 0 where it does not tell (version 1).
        pid: u32,
    },
    /// The agent runs.
    Started {
        /// Its process id, and its process group.
        pid: u32,
        /// When it was started, in clock ticks since boot: with the pid it names the process for ever.
        start_time: u64,
    },
    /// The agent could not be started; nothing was left behind.
    Failed(Failed),
    /// With this frame come the descriptors of the agent's pipes, and of the holder's files.
    Lent {
        /// For each descriptor the number that its other end has in the agent, or that of the file.
        ends: Vec<u8>,
    },
    /// The agent itself has exited.
    Exited(Exit),
    /// The agent and all that descends from it is gone, and so is the holder.
    Ended {
        /// How the agent exited.
        exit: Exit,
        /// Whether processes are left that could not be ended in time.
        left: bool,
    },
    /// A frame was not understood, or came at the wrong time; nothing has changed.
    Refused(Refused),
}

/// Why the agent could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The error's number on this machine.
    pub errno: u32,
    /// What was wrong: `stdio`, `cwd`, `program`, `arguments`, `environment` or `spawn`.
    pub step: String,
    /// For people.
    pub message: String,
}

/// How the agent exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Exited(u32),
    /// By this signal.
    Signalled(u32),
    /// It never ran, or could not be ended.
    Unknown,
}

/// A frame that is refused; also the error of decoding one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// The kind of the frame, 0 when it has none.
    pub kind: u8,
}

/// Why a frame is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A kind of a later version.
    Unknown,
    /// Shorter than its fields.
    Malformed,
    /// Longer than [`MAX_FRAME`].
    TooLong,
    /// Start with an agent already there, or Lend without one.
    NotNow,
    /// A reason of a later version.
    Other(u8),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a frame of kind {} was refused: {:?}",
            self.kind, self.reason
        )
    }
}

impl std::error::Error for Refused {}

/// A frame whose length is beyond [`MAX_FRAME`]: this many bytes follow its four bytes of length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong(pub usize);
