//! What goes to the agent.
//!
//! A line is written into a file of the holder's and moved from there into the agent's pipe by
//! the kernel (`sendfile`), which keeps the file's offset: after the broker's death it says to
//! the byte what the agent has been given, and the next broker goes on from there.
//!
//! `sendfile` puts the file's own pages into the pipe. So nothing that was moved is ever written
//! again, and it is given back only when the agent has read it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use clsess_claude::input::{Written, written};
use nix::errno::Errno;
use nix::sys::sendfile::sendfile;
use rustix::io::ioctl_fionread;
use uuid::Uuid;

use super::memory::{data_begins, give_back, offset};

/// Bytes that one call moves at most: what a pipe holds.
const MOVED_AT_ONCE: usize = 64 * 1024;

/// A line that the agent has perhaps not read yet.
#[derive(Debug)]
struct Line {
    /// Where it begins in the file.
    begin: u64,
    /// Where it ends.
    end: u64,
    /// The uuid of the prompt that it is.
    prompt: Option<Uuid>,
}

/// The lines on their way to the agent. They are bounded by their one writer: a prompt and a
/// few control lines.
#[derive(Debug)]
pub struct Outbox {
    file: File,
    /// Bytes in the file: the next line goes there.
    end: u64,
    /// Up to here the agent may be given them.
    allowed: u64,
    /// Up to here it has been: the file's own offset.
    moved: u64,
    lines: VecDeque<Line>,
}

impl Outbox {
    /// Takes up what an earlier broker has left, if there was one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn take_up(file: OwnedFd) -> io::Result<Self> {
        let file = File::from(file);
        let end = file.metadata()?.len();
        let moved = offset(&file)?;
        Ok(Self {
            lines: lines(&file, end)?,
            file,
            end,
            allowed: moved,
            moved,
        })
    }

    /// Whether nothing was ever written for this agent.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.end == 0
    }

    /// Whether all of it has been given to the agent.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.moved == self.end
    }

    /// Writes a line, which [`Outbox::allow`] lets go.
    ///
    /// # Errors
    /// When there is no memory for it; nothing of it is left then.
    pub fn put(&mut self, line: &[u8], prompt: Option<Uuid>) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(line, self.end) {
            self.file.set_len(self.end)?;
            return Err(error);
        }
        let begin = self.end;
        self.end += line.len() as u64;
        self.lines.push_back(Line {
            begin,
            end: self.end,
            prompt,
        });
        Ok(())
    }

    /// Everything that was put may go.
    pub fn allow(&mut self) {
        self.allowed = self.end;
    }

    /// The last line, if the agent has not had one byte of it: a broker that died may have put it
    /// without having meant it yet.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn last_unmoved(&self) -> io::Result<Option<Vec<u8>>> {
        let last = self.lines.back().filter(|line| line.begin >= self.moved);
        last.map(|line| read(&self.file, line.begin, line.end))
            .transpose()
    }

    /// Takes the last line back, of which nothing has moved.
    ///
    /// # Errors
    /// When the file cannot be cut.
    pub fn take_back(&mut self) -> io::Result<()> {
        if let Some(line) = self.lines.pop_back_if(|line| line.begin >= self.moved) {
            self.file.set_len(line.begin)?;
            self.end = line.begin;
            self.allowed = self.allowed.min(self.end);
        }
        Ok(())
    }

    /// Whether something is to be moved.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.moved < self.allowed
    }

    /// Moves what the pipe takes; how much. The pipe must not block.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it is full; [`io::ErrorKind::BrokenPipe`] when nobody
    /// reads.
    pub fn send(&mut self, pipe: &impl AsFd) -> io::Result<u64> {
        let left = usize::try_from(self.allowed - self.moved).unwrap_or(usize::MAX);
        let count = left.min(MOVED_AT_ONCE);
        let moved = retried(|| sendfile(pipe, &self.file, None, count))? as u64;
        if moved == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.moved += moved;
        Ok(moved)
    }

    /// Gives the memory back of what the agent has read.
    pub fn tidy(&mut self, pipe: Option<&impl AsFd>) {
        let read = self.read_by_agent(pipe);
        self.lines.retain(|line| line.end > read);
        // With a page that is in the pipe still, its beginning would be gone, too.
        if read == self.moved {
            give_back(&self.file, read);
        }
    }

    /// The prompts of which the agent has not read the whole line: it cannot have taken them up.
    #[must_use]
    pub fn undelivered(&self, pipe: Option<&impl AsFd>) -> Vec<Uuid> {
        let read = self.read_by_agent(pipe);
        let unread = self.lines.iter().filter(|line| line.end > read);
        unread.filter_map(|line| line.prompt).collect()
    }

    /// Up to where the agent has read. Without the pipe all that was moved counts.
    fn read_by_agent(&self, pipe: Option<&impl AsFd>) -> u64 {
        let unread = pipe.and_then(|pipe| ioctl_fionread(pipe).ok()).unwrap_or(0);
        self.moved.saturating_sub(unread)
    }
}

fn retried<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return Ok(done?),
        }
    }
}

fn prompt(line: &[u8]) -> Option<Uuid> {
    match written(line) {
        Written::Prompt(uuid) => Some(uuid),
        Written::Answer(_) | Written::Other => None,
    }
}

/// The lines in the file. What was given back reads as zeros.
fn lines(file: &File, end: u64) -> io::Result<VecDeque<Line>> {
    let mut begin = data_begins(file, end)?;
    let bytes = read(file, begin, end)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    begin += zeros as u64;
    let lines = bytes[zeros..].split_inclusive(|byte| *byte == b'\n');
    let lines = lines.map(|line| {
        let end = begin + line.len() as u64;
        let prompt = prompt(line);
        let line = Line { begin, end, prompt };
        begin = end;
        line
    });
    Ok(lines.collect())
}

fn read(file: &File, begin: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(end - begin).unwrap_or(0)];
    file.read_exact_at(&mut bytes, begin)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clsess_claude::input::user;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::{PipeReader, PipeWriter, Read, pipe};

    fn memory() -> OwnedFd {
        memfd_create("outbox", MFdFlags::MFD_CLOEXEC).unwrap()
    }

    /// A pipe whose writing end does not block.
    fn agent() -> (PipeReader, PipeWriter) {
        let (read, write) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&write, true).unwrap();
        (read, write)
    }

    fn send_all(outbox: &mut Outbox, pipe: &PipeWriter) {
        while outbox.waits() && outbox.send(pipe).is_ok() {}
    }

    fn prompts(count: usize, length: usize) -> Vec<(Uuid, Vec<u8>)> {
        let prompt = |_| {
            let uuid = Uuid::new_v4();
            (uuid, user(uuid, &"x".repeat(length)))
        };
        (0..count).map(prompt).collect()
    }

    #[test]
    fn a_later_broker_goes_on_at_the_byte() {
        let file = memory();
        let (mut read, write) = agent();
        let lines = prompts(3, 40_000);
        let mut outbox = Outbox::take_up(file.try_clone().unwrap()).unwrap();
        assert!(outbox.is_new());
        for (uuid, line) in &lines {
            outbox.put(line, Some(*uuid)).unwrap();
        }
        outbox.allow();
        send_all(&mut outbox, &write);
        assert!(
            !outbox.is_moved(),
            "the pipe is full in the middle of a line"
        );
        drop(outbox);

        let mut outbox = Outbox::take_up(file.try_clone().unwrap()).unwrap();
        assert!(!outbox.is_new());
        outbox.allow();
        let expected: Vec<u8> = lines.iter().flat_map(|(_, line)| line.clone()).collect();
        let mut got = vec![0; expected.len()];
        let mut done = 0;
        while done < got.len() {
            send_all(&mut outbox, &write);
            done += read.read(&mut got[done..]).unwrap();
        }
        assert!(got == expected);
        assert!(outbox.is_moved());
    }

    #[test]
    fn what_was_put_and_not_meant_is_taken_back() {
        let file = memory();
        let (mut read, write) = agent();
        let lines = prompts(2, 10);
        let mut outbox = Outbox::take_up(file.try_clone().unwrap()).unwrap();
        outbox.put(&lines[0].1, None).unwrap();
        outbox.allow();
        outbox.put(&lines[1].1, None).unwrap();
        send_all(&mut outbox, &write);
        assert_eq!(outbox.last_unmoved().unwrap().as_ref(), Some(&lines[1].1));
        outbox.take_back().unwrap();
        assert_eq!(
            outbox.last_unmoved().unwrap(),
            None,
            "the other one has gone"
        );
        outbox.take_back().unwrap();
        outbox.put(&lines[1].1, None).unwrap();
        outbox.allow();
        send_all(&mut outbox, &write);
        drop(write);
        let mut got = Vec::new();
        read.read_to_end(&mut got).unwrap();
        assert!(got == [lines[0].1.as_slice(), &lines[1].1].concat());
    }

    #[test]
    fn a_prompt_of_which_a_byte_is_unread_was_not_delivered() {
        let (mut read, write) = agent();
        let lines = prompts(2, 10);
        let mut outbox = Outbox::take_up(memory()).unwrap();
        for (uuid, line) in &lines {
            outbox.put(line, Some(*uuid)).unwrap();
        }
        assert_eq!(outbox.undelivered(Some(&write)), [lines[0].0, lines[1].0]);
        outbox.allow();
        send_all(&mut outbox, &write);
        let mut some = vec![0; lines[0].1.len() - 1];
        read.read_exact(&mut some).unwrap();
        assert_eq!(outbox.undelivered(Some(&write)), [lines[0].0, lines[1].0]);
        read.read_exact(&mut [0]).unwrap();
        assert_eq!(outbox.undelivered(Some(&write)), [lines[1].0]);
        // Nobody can tell without the pipe: it may have been read.
        assert!(outbox.undelivered(None::<&PipeWriter>).is_empty());
    }

    #[test]
    fn what_is_read_is_given_back_and_the_rest_is_known_again() {
        let file = memory();
        let (mut read, write) = agent();
        let lines = prompts(3, 5000);
        let mut outbox = Outbox::take_up(file.try_clone().unwrap()).unwrap();
        for (uuid, line) in &lines[..2] {
            outbox.put(line, Some(*uuid)).unwrap();
        }
        outbox.allow();
        send_all(&mut outbox, &write);
        outbox.tidy(Some(&write));
        let mut got = vec![0; lines[0].1.len() + lines[1].1.len()];
        read.read_exact(&mut got).unwrap();
        assert!(got == [lines[0].1.as_slice(), &lines[1].1].concat());
        outbox.tidy(Some(&write));
        assert!(outbox.undelivered(Some(&write)).is_empty());
        outbox.put(&lines[2].1, Some(lines[2].0)).unwrap();
        drop(outbox);
        let outbox = Outbox::take_up(file).unwrap();
        assert_eq!(outbox.undelivered(Some(&write)), [lines[2].0]);
        assert_eq!(outbox.last_unmoved().unwrap().as_ref(), Some(&lines[2].1));
    }
}
