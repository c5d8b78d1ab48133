//! What comes from the agent.
//!
//! The kernel moves it (`splice`) from the agent's pipe into a file of the holder's, whose offset
//! says to the byte what has come; there it is read, and stays until the session says that it has
//! accounted for it. So a later broker hears everything since then once more.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};

use super::lines::Lines;
use super::memory::{give_back, offset};

/// Bytes that one call moves at most.
const MOVED_AT_ONCE: usize = 256 * 1024;
/// Bytes that are read from the file at once.
const READ: usize = 64 * 1024;

/// The lines that have come.
#[derive(Debug)]
pub struct Inbox {
    file: File,
    /// Bytes that have come: the file's own offset.
    come: u64,
    /// Up to here they are in `lines`.
    read: u64,
    lines: Lines,
    buffer: Box<[u8]>,
}

impl Inbox {
    /// Takes up what an earlier broker has left, if there was one, from the line that begins at
    /// `from`.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn take_up(file: OwnedFd, from: u64) -> io::Result<Self> {
        let file = File::from(file);
        let come = offset(&file)?;
        Ok(Self {
            file,
            come,
            read: from.min(come),
            lines: Lines::default(),
            buffer: vec![0; READ].into_boxed_slice(),
        })
    }

    /// Moves what the pipe holds; how much, 0 at its end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it is empty, and when there is no memory.
    pub fn receive(&mut self, pipe: &impl AsFd) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        loop {
            match splice(pipe, None, &self.file, None, MOVED_AT_ONCE, flags) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(moved) => {
                    self.come += moved as u64;
                    return Ok(moved);
                }
            }
        }
    }

    /// Whether there are bytes that were not looked at.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.read < self.come
    }

    /// Reads the next piece of what has come.
    ///
    /// # Errors
    /// Of the file.
    pub fn read(&mut self) -> io::Result<()> {
        let left = usize::try_from(self.come - self.read).unwrap_or(usize::MAX);
        let piece = &mut self.buffer[..left.min(READ)];
        self.file.read_exact_at(piece, self.read)?;
        self.read += piece.len() as u64;
        self.lines.feed(piece);
        Ok(())
    }

    /// Nothing more of it is read.
    pub fn give_up(&mut self) {
        self.read = self.come;
        self.lines = Lines::default();
    }

    /// The next whole line.
    pub fn line(&mut self) -> Option<&[u8]> {
        self.lines.next()
    }

    /// Whether a line has become too long.
    #[must_use]
    pub fn too_long(&self) -> bool {
        self.lines.too_long()
    }

    /// Where the line begins that comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.read - self.lines.pending() as u64
    }

    /// Gives back everything before the line that comes next.
    pub fn release(&self) {
        give_back(&self.file, self.position());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::{Write, pipe};
    use std::os::unix::fs::MetadataExt;

    fn lines(inbox: &mut Inbox) -> Vec<String> {
        let mut found = Vec::new();
        while inbox.has_more() {
            inbox.read().unwrap();
            while let Some(line) = inbox.line() {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        found
    }

    #[test]
    fn a_later_broker_hears_again_what_was_not_released() {
        let file = memfd_create("inbox", MFdFlags::MFD_CLOEXEC).unwrap();
        let (read, mut write) = pipe().unwrap();
        let mut inbox = Inbox::take_up(file.try_clone().unwrap(), 0).unwrap();
        let long = "l".repeat(10_000);
        writeln!(write, "one\n{long}\nthree\nhal").unwrap();
        inbox.receive(&read).unwrap();
        assert_eq!(lines(&mut inbox), ["one", &long, "three", "hal"]);
        inbox.release();
        let position = inbox.position();
        write.write_all(b"four\nfi").unwrap();
        inbox.receive(&read).unwrap();
        assert_eq!(lines(&mut inbox), ["four"]);
        assert_eq!(inbox.position(), position + 5);
        drop(inbox);

        write.write_all(b"ve\n").unwrap();
        let mut inbox = Inbox::take_up(file.try_clone().unwrap(), position).unwrap();
        assert_eq!(lines(&mut inbox), ["four"]);
        inbox.receive(&read).unwrap();
        assert_eq!(lines(&mut inbox), ["five"]);
        inbox.release();
        let held = File::from(file).metadata().unwrap().blocks() * 512;
        assert!(held <= 4096, "{held}");
        drop(write);
        assert_eq!(inbox.receive(&read).unwrap(), 0);
    }
}
