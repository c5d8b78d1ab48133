//! What a broker writes down for the next one, in a file of the holder's.
//!
//! It lives as long as the agent that it is about. A broker can be killed in the middle of
//! writing: so there are two places, written in turns, and a note whose end does not say the same
//! as its beginning is no note.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// Bytes of one of the two places, for what is written of an agent without a terminal. A note that
/// does not fit is refused.
pub const PLACE: u64 = 64 * 1024;
/// The number of the note, before and behind it, and its length.
const FRAME: usize = 12;

/// The notes of one agent.
#[derive(Debug)]
pub struct Notes {
    file: File,
    /// Bytes of one of the two places.
    place: u64,
    /// Notes that there were.
    number: u64,
}

impl Notes {
    /// Takes up the file, and the last note in it. `place`: the bytes of one of the two places,
    /// always the same for one file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn take_up(file: OwnedFd, place: u64) -> io::Result<(Self, Option<Vec<u8>>)> {
        let file = File::from(file);
        let places = [read(&file, 0, place)?, read(&file, place, place)?];
        let last = places.into_iter().flatten().max_by_key(|note| note.0);
        let (number, bytes) = last.map_or((0, None), |(number, bytes)| (number, Some(bytes)));
        let notes = Self {
            file,
            place,
            number,
        };
        Ok((notes, bytes))
    }

    /// The longest note, in bytes.
    #[must_use]
    pub fn longest(&self) -> usize {
        usize::try_from(self.place).unwrap_or(usize::MAX) - 2 * FRAME
    }

    /// Replaces the last note.
    ///
    /// # Errors
    /// When it is too long, or there is no memory; the one before it holds then.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.longest() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let number = self.number + 1;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let around = number.to_be_bytes();
        let note = [&around[..], &length.to_be_bytes(), bytes, &around].concat();
        self.file.write_all_at(&note, number % 2 * self.place)?;
        self.number = number;
        Ok(())
    }
}

fn read(file: &File, begins: u64, place: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let there = file.metadata()?.len().saturating_sub(begins).min(place);
    let mut bytes = vec![0; usize::try_from(there).unwrap_or(0)];
    file.read_exact_at(&mut bytes, begins)?;
    Ok(note(&bytes))
}

fn note(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (bytes, rest) = rest.split_at_checked(length)?;
    let whole = rest.first_chunk::<8>() == Some(number);
    let number = u64::from_be_bytes(*number);
    (whole && number > 0).then(|| (number, bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    #[test]
    fn the_last_whole_note_is_read() {
        let file = memfd_create("notes", MFdFlags::MFD_CLOEXEC).unwrap();
        let take_up = || Notes::take_up(file.try_clone().unwrap(), PLACE).unwrap();
        let (mut notes, before) = take_up();
        assert_eq!(before, None);
        for text in ["first", "second", "a third one that is longer"] {
            notes.write(text.as_bytes()).unwrap();
            assert_eq!(take_up().1.as_deref(), Some(text.as_bytes()));
        }
        let longest = notes.longest();
        notes.write(&vec![b'x'; longest]).unwrap();
        assert!(notes.write(&vec![b'x'; longest + 1]).is_err());
        assert_eq!(take_up().1.map(|note| note.len()), Some(longest));

        // Killed in the middle of the fifth: at each byte the fourth is there.
        notes.write(b"the fourth").unwrap();
        let mut note = Vec::new();
        note.extend_from_slice(&6_u64.to_be_bytes());
        note.extend_from_slice(&3_u32.to_be_bytes());
        note.extend_from_slice(b"six");
        note.extend_from_slice(&6_u64.to_be_bytes());
        let raw = File::from(file.try_clone().unwrap());
        for cut in 0..note.len() {
            raw.write_all_at(&note[..cut], 0).unwrap();
            let (taken_up, last) = take_up();
            let whole = last.as_deref() == Some(b"six") && cut == note.len();
            assert!(last.as_deref() == Some(b"the fourth") || whole, "{cut}");
            assert_eq!(taken_up.number, 5);
        }
        raw.write_all_at(&note, 0).unwrap();
        assert_eq!(take_up().1.as_deref(), Some(&b"six"[..]));
    }
}
