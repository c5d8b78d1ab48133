//! stdout that can be waited for together with signals.
//!
//! A write to a pipe that nobody reads blocks, and a blocked command cannot be
//! interrupted. So what could block is written by tokio's thread for it; what
//! cannot, which is nearly always, is written at once and starts no thread.

use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use tokio::io::AsyncWriteExt;

/// Bytes that a writable pipe takes without blocking (`PIPE_BUF`, pipe(7)).
const PIPE_TAKES: usize = 4096;

/// How stdout behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Never blocks.
    File,
    /// Says when it takes [`PIPE_TAKES`] bytes.
    Pipe,
    /// A terminal, a socket: may block at any byte.
    Other,
}

/// This process's stdout.
pub struct Stdout {
    kind: Kind,
    thread: tokio::io::Stdout,
}

impl Stdout {
    /// Looks what stdout is.
    #[must_use]
    pub fn new() -> Self {
        let mode = fstat(io::stdout()).map_or(0, |stat| stat.st_mode);
        let kind = match SFlag::from_bits_truncate(mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFIFO => Kind::Pipe,
            _ => Kind::Other,
        };
        Self {
            kind,
            thread: tokio::io::stdout(),
        }
    }

    /// Writes all of it. Dropping the future between two writes loses the rest.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader is gone, and others of the system.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.write_what_goes(bytes)?;
        if written < bytes.len() {
            self.thread.write_all(&bytes[written..]).await?;
            self.thread.flush().await?;
        }
        Ok(())
    }

    /// Writes what cannot block; how much that was.
    fn write_what_goes(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            let piece = match self.kind {
                Kind::File => rest,
                Kind::Pipe if takes_more()? => &rest[..rest.len().min(PIPE_TAKES)],
                Kind::Pipe | Kind::Other => break,
            };
            match nix::unistd::write(io::stdout(), piece) {
                Ok(n) => written += n,
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(written)
    }
}

fn takes_more() -> io::Result<bool> {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut fds, PollTimeout::ZERO) {
        // An error or a hang-up is told by the write.
        Ok(ready) => Ok(ready > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
