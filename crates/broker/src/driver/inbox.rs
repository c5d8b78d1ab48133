//! What comes from the agent.
//!
//! The kernel moves it ([`Moved`]); there it stays until the session says that it has accounted for
//! it. So a later broker hears everything since then once more.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::lines::Lines;
use super::moved::Moved;

/// Bytes that are taken into lines at once.
const READ: usize = 64 * 1024;

/// The lines that have come.
#[derive(Debug)]
pub struct Inbox {
    moved: Moved,
    lines: Lines,
}

impl Inbox {
    /// Takes up what an earlier broker has left, if there was one, from the line that begins at
    /// `from`.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn take_up(file: OwnedFd, from: u64) -> io::Result<Self> {
        Ok(Self {
            moved: Moved::take_up(file, from)?,
            lines: Lines::default(),
        })
    }

    /// As [`Moved::receive`].
    ///
    /// # Errors
    /// As there.
    pub fn receive(&mut self, pipe: &impl AsFd) -> io::Result<usize> {
        self.moved.receive(pipe)
    }

    /// As [`Moved::has_come`].
    pub fn has_come(&mut self, bytes: usize) {
        self.moved.has_come(bytes);
    }

    /// Whether there are bytes that were not looked at.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.moved.has_more()
    }

    /// Reads the next piece of what has come.
    ///
    /// # Errors
    /// Of the file.
    pub fn read(&mut self) -> io::Result<()> {
        self.moved.read(READ, |piece| self.lines.feed(piece))
    }

    /// Nothing more of it is read.
    pub fn give_up(&mut self) {
        self.moved.give_up();
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
        self.moved.position() - self.lines.pending() as u64
    }

    /// Gives back everything before the line that comes next.
    pub fn release(&self) {
        self.moved.release(self.position());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::fs::File;
    use std::io::{Write, pipe};
    use std::os::unix::fs::MetadataExt;

    /// All that has come.
    pub fn lines(inbox: &mut Inbox) -> Vec<String> {
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
