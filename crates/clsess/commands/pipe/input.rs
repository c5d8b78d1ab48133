//! stdin, a line at a time.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::bytes::Bytes;

/// The longest line without its newline, in bytes; a longer one is an error, and skipped to its
/// newline. It has room for the longest prompt, unless most of that has to be escaped.
pub const MAX_LINE: usize = 16 * 1024 * 1024;

/// Bytes of lines that are read and not told yet; beyond that stdin is not read any more.
const MAX_WAITING: usize = 4 * MAX_LINE;

/// What a line takes of it at least, and when its session has the prompt: so some 770 wait at most.
const LEAST: usize = 64 * 1024;

/// Bytes that one read takes at most.
const READ: usize = 64 * 1024;

/// A line that is longer than [`MAX_LINE`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// The lines of stdin.
pub struct Input {
    pieces: mpsc::Receiver<Bytes>,
    /// What of the last piece is not looked at yet.
    piece: Bytes,
    line: Vec<u8>,
    /// The rest of a line that is too long.
    skips: bool,
}

impl Input {
    /// Begins to read, in a thread of its own: what is not taken is not read on.
    #[must_use]
    pub fn of_stdin() -> Self {
        let (to, pieces) = mpsc::channel(1);
        // It ends with the process: nothing can end a read.
        std::thread::spawn(move || {
            while let Some(piece) = read() {
                if to.blocking_send(piece).is_err() {
                    return;
                }
            }
        });
        Self::of(pieces)
    }

    fn of(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self {
            pieces,
            piece: Bytes::new(),
            line: Vec::new(),
            skips: false,
        }
    }

    /// The next line, the last one also without its newline; none at the end. Can be dropped and
    /// called again.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, TooLong>> {
        loop {
            if let Some(line) = self.within() {
                return Some(line);
            }
            match self.pieces.recv().await {
                Some(piece) => self.piece = piece,
                None if self.line.is_empty() => return None,
                None => return Some(Ok(std::mem::take(&mut self.line))),
            }
        }
    }

    /// The line that ends in this piece, or is too long by it.
    fn within(&mut self) -> Option<Result<Vec<u8>, TooLong>> {
        while !self.piece.is_empty() {
            let end = self.piece.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(self.piece.len(), |end| end + 1);
            let part = self.piece.split_to(length);
            if self.skips {
                self.skips = end.is_none();
                continue;
            }
            self.line.extend_from_slice(&part[..end.unwrap_or(length)]);
            if self.line.len() > MAX_LINE {
                self.line = Vec::new();
                self.skips = end.is_none();
                return Some(Err(TooLong));
            }
            if end.is_some() {
                return Some(Ok(std::mem::take(&mut self.line)));
            }
        }
        None
    }
}

/// The lines that are read and not told yet.
pub struct Waiting(Arc<Semaphore>);

/// What one of them takes of the room for them.
pub struct Room(OwnedSemaphorePermit);

impl Default for Waiting {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WAITING)))
    }
}

impl Waiting {
    /// The next line, with room for it. Can be dropped and called again.
    pub async fn next(&self, input: &mut Input) -> Option<(Result<Vec<u8>, TooLong>, Room)> {
        // How long it is is not known before.
        let longest = Arc::clone(&self.0).acquire_many_owned(MAX_LINE as u32);
        let mut room = Room(longest.await.ok()?);
        let line = input.next().await?;
        room.keep(line.as_ref().map_or(0, Vec::len));
        Some((line, room))
    }
}

impl Room {
    /// Its prompt is not here any more.
    pub fn shrink(&mut self) {
        self.keep(0);
    }

    fn keep(&mut self, bytes: usize) {
        let more = self.0.num_permits().saturating_sub(bytes.max(LEAST));
        drop(self.0.split(more));
    }
}

/// What comes next; waits for it, also where whoever shares the descriptor has made it one that
/// does not block. None at the end.
fn read() -> Option<Bytes> {
    let mut bytes = vec![0; READ];
    loop {
        match nix::unistd::read(io::stdin(), &mut bytes) {
            Ok(0) => return None,
            Ok(length) => {
                bytes.truncate(length);
                return Some(bytes.into());
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let stdin = io::stdin();
                let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
            // A terminal that is gone, and the like: nothing more can come.
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of these pieces; one that is too long has no length.
    fn lines(pieces: &[&[u8]]) -> Vec<Option<usize>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let (to, from) = mpsc::channel(pieces.len() + 1);
            for piece in pieces {
                to.send(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            drop(to);
            let mut input = Input::of(from);
            let mut lines = Vec::new();
            while let Some(line) = input.next().await {
                lines.push(line.ok().map(|line| line.len()));
            }
            lines
        })
    }

    #[test]
    fn lines_are_whole_whatever_pieces_they_come_in() {
        assert_eq!(lines(&[]), []);
        assert_eq!(lines(&[b"ab\nc", b"d", b"\n\nef"]), [2, 2, 0, 2].map(Some));
        assert_eq!(lines(&[b"ab\n", b"\n"]), [2, 0].map(Some));
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_to_its_end() {
        let (most, more) = (vec![b'x'; MAX_LINE], vec![b'x'; MAX_LINE + 1]);
        assert_eq!(lines(&[&most, b"\na\n"]), [Some(MAX_LINE), Some(1)]);
        assert_eq!(lines(&[&most, b"x", &most, b"x\na\n"]), [None, Some(1)]);
        assert_eq!(lines(&[&more, b"\na\n"]), [None, Some(1)]);
        let at_once = [&more[..], b"\na\n"].concat();
        assert_eq!(lines(&[&at_once]), [None, Some(1)]);
        // The end comes in the middle of it.
        assert_eq!(lines(&[&more, &more]), [None]);
    }
}
