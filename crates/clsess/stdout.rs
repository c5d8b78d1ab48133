//! stdout that can be waited for together with signals.
//!
//! A write to a pipe that nobody reads blocks, and a blocked command cannot be
//! interrupted. So what could block is written by a thread of tokio's; what
//! cannot, which is nearly always, is written at once and starts no thread.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{JoinHandle, spawn_blocking};

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
    /// What the thread writes. It goes on when nobody waits for it.
    thread: Option<JoinHandle<io::Result<()>>>,
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
        Self { kind, thread: None }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader is gone, and others of the system.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written().await?;
        let written = self.write_what_goes(bytes)?;
        if written < bytes.len() {
            let rest = bytes[written..].to_vec();
            self.thread = Some(spawn_blocking(move || write_all(io::stdout(), &rest)));
        }
        self.written().await
    }

    /// Ends when nobody reads the pipe any more, which a write tells only when there is something to
    /// write. Of anything else than a pipe it never ends.
    pub fn reader_gone(&self) -> impl Future<Output = ()> + use<> {
        let is_pipe = self.kind == Kind::Pipe;
        async move {
            if is_pipe
                && let Ok(pipe) = watched(Interest::ERROR)
                && pipe.ready(Interest::ERROR).await.is_ok()
            {
                return;
            }
            std::future::pending().await
        }
    }

    /// Waits for the thread.
    async fn written(&mut self) -> io::Result<()> {
        let Some(thread) = &mut self.thread else {
            return Ok(());
        };
        let done = thread.await;
        self.thread = None;
        done.unwrap_or_else(|e| Err(io::Error::other(e)))
    }

    /// Writes what cannot block; how much that was.
    fn write_what_goes(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            let piece = match self.kind {
                Kind::File => rest,
                Kind::Pipe if takes(io::stdout(), PollTimeout::ZERO)? => {
                    &rest[..rest.len().min(PIPE_TAKES)]
                }
                Kind::Pipe | Kind::Other => break,
            };
            match nix::unistd::write(io::stdout(), piece) {
                Ok(n) => written += n,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(written)
    }
}

/// stdout, watched by the runtime.
fn watched(interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for the sake of types whose descriptor can change: this one's cannot"
    )]
    AsyncFd::with_interest(stdout, interest)
}

/// Writes all of it and blocks meanwhile, also where the descriptor itself does
/// not: whoever shares it may have made it so.
///
/// # Errors
/// `BrokenPipe` when the reader is gone, and others of the system.
pub fn write_all(to: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(&to, rest) {
            Ok(n) => rest = &rest[n..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                takes(&to, PollTimeout::NONE)?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Whether it takes more within this time: of a pipe, [`PIPE_TAKES`] bytes.
///
/// # Errors
/// Of the system.
pub fn takes(fd: impl AsFd, within: PollTimeout) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut fds, within) {
        // An error or a hang-up is told by the write.
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::fcntl::OFlag;

    use super::*;

    #[test]
    fn a_pipe_that_does_not_block_gets_all() {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let bytes = vec![b'x'; 1 << 20];
        let expected = bytes.len();
        let thread = std::thread::spawn(move || {
            let mut read = Vec::new();
            std::fs::File::from(reader).read_to_end(&mut read).unwrap();
            read.len()
        });
        write_all(&writer, &bytes).unwrap();
        drop(writer);
        assert_eq!(thread.join().unwrap(), expected);
    }

    #[test]
    fn a_reader_that_is_gone_is_told() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        let error = write_all(&writer, b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
