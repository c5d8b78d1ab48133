//! Bytes that the kernel has moved into a file of the holder's.
//!
//! The file's own offset says to the byte what has come, whenever a broker dies; what a broker has
//! not said to be done with stays, and is read once more by the next one.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};

use super::memory::{give_back, offset};

/// Bytes that one call moves at most.
const MOVED_AT_ONCE: usize = 256 * 1024;
/// Bytes that are read from the file at once, at most.
pub const READ: usize = 256 * 1024;

thread_local! {
    /// Where a piece is while it is heard: one for all sessions, which are all in one thread.
    static PIECE: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// The file, and how far it was read.
#[derive(Debug)]
pub struct Moved {
    file: File,
    /// Bytes that have come: the file's own offset.
    come: u64,
    /// Up to here they were read.
    read: u64,
    /// Up to here an earlier broker has read them.
    heard: u64,
}

impl Moved {
    /// Takes up what an earlier broker has left, if there was one, from the byte `from`.
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
            heard: come,
        })
    }

    /// Moves what the pipe holds; how much, 0 at its end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it is empty, and when there is no memory.
    pub fn receive(&mut self, pipe: &impl AsFd) -> io::Result<usize> {
        let moved = move_bytes(pipe, &self.file)?;
        self.come += moved as u64;
        Ok(moved)
    }

    /// So many bytes have been written to the file, at its offset, by ourselves.
    pub fn has_come(&mut self, bytes: usize) {
        self.come += bytes as u64;
    }

    /// Whether there are bytes that were not read.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.read < self.come
    }

    /// How many those are.
    #[must_use]
    pub fn unread(&self) -> usize {
        usize::try_from(self.come - self.read).unwrap_or(usize::MAX)
    }

    /// Whether what was read last was read by an earlier broker, too.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.read <= self.heard
    }

    /// Reads the next of them, `most` and [`READ`] at most, and lets `hear` have them: they are all
    /// repeated, or none of them is. What it gives.
    ///
    /// # Errors
    /// Of the file.
    pub fn read<T>(&mut self, most: usize, hear: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let mut n = self.unread().min(most).min(READ);
        if self.read < self.heard {
            n = n.min(usize::try_from(self.heard - self.read).unwrap_or(n));
        }
        PIECE.with_borrow_mut(|piece| {
            let piece = &mut piece[..n];
            self.file.read_exact_at(piece, self.read)?;
            self.read += n as u64;
            Ok(hear(piece))
        })
    }

    /// Lets `hear` have what was read before, from this position on, in pieces of [`READ`] at most.
    ///
    /// # Errors
    /// Of the file.
    pub fn again(&self, from: u64, mut hear: impl FnMut(&[u8])) -> io::Result<()> {
        let mut at = from;
        while at < self.read {
            let left = usize::try_from(self.read - at).unwrap_or(READ);
            PIECE.with_borrow_mut(|piece| {
                let piece = &mut piece[..left.min(READ)];
                self.file.read_exact_at(piece, at)?;
                at += piece.len() as u64;
                hear(piece);
                io::Result::Ok(())
            })?;
        }
        Ok(())
    }

    /// Nothing more of it is read.
    pub fn give_up(&mut self) {
        self.read = self.come;
    }

    /// Up to where it was read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.read
    }

    /// Gives back everything before this position.
    pub fn release(&self, position: u64) {
        give_back(&self.file, position);
    }
}

/// Moves bytes between a pipe and something else; how many, 0 at the end.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when there are none, and those of both ends.
pub fn move_bytes(from: &impl AsFd, to: &impl AsFd) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
    loop {
        match splice(from, None, to, None, MOVED_AT_ONCE, flags) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(moved) => return Ok(moved),
        }
    }
}
