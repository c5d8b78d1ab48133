//! Bodies of sessions: the processes that speak for them.

pub mod body;
mod callers;
pub mod codex;
mod held;
mod inbox;
mod lines;
pub mod marks;
mod memory;
mod moved;
mod notes;
pub mod orphans;
mod outbox;
pub mod said;
pub mod stream;
pub mod terminal;
pub mod tui;

pub use held::{SOCKET as HOLDER, StartError};

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The descriptor, watched by the runtime.
///
/// # Errors
/// When it cannot be watched.
pub fn reactor(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for the sake of types whose descriptor can change: this one's cannot"
    )]
    AsyncFd::with_interest(fd, interest)
}
