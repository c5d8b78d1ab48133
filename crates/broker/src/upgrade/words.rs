//! What the old broker and the new one say to each other, over the socket that is the new one's
//! descriptor 0: a line of JSON each. They are of different versions: fields are only added, with a
//! default, and words that are not known are skipped.
//!
//! | who | word | and then |
//! |---|---|---|
//! | old | `trial` | the new one reads what is on disk, and writes nothing |
//! | new | `ready` | it waits. One that is not fit exits, with the reason on stderr |
//! | old | `go`, with lock, listener and stderr | the old one serves nobody any more |
//! | new | `serving` | the old one exits |
//!
//! The end of the socket is the end of the other one.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clsess_holder::descriptors::{recv_with_fds, send_with_fds};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::listen::Own;

/// The longest line: the ids of [`crate::registry::MAX_SESSIONS`] sessions are a small part of it.
/// A longer one is no word of ours.
pub(super) const MAX_LINE: usize = 1024 * 1024;

/// One of the lines.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub(super) enum Word {
    /// Prove yourself.
    Trial(Trial),
    /// I have.
    Ready {
        /// My version.
        version: String,
    },
    /// Take over.
    Go(Go),
    /// I have.
    Serving {},
    /// One of another version.
    #[serde(other)]
    Unknown,
}

/// What the new broker has to understand.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Trial {
    /// The old one's version.
    pub(super) version: String,
    /// [`crate::place::Place::state`].
    pub(super) state: PathBuf,
    /// [`crate::place::Place::socket`].
    pub(super) socket: PathBuf,
    /// The old one's sessions: what it could not take up, another need not understand.
    pub(super) sessions: Vec<Uuid>,
}

/// What the new broker is to go on with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Go {
    /// How much is logged.
    pub verbose: u8,
    /// Whether it is also logged to stderr.
    pub to_stderr: bool,
    /// The limit of open files that agents get.
    pub agent_nofile: Option<u64>,
    /// Which socket file is the broker's own.
    pub own: Own,
    /// [`crate::lock::Record::begun`] so far: an upgrade is no death.
    pub begun: Vec<u64>,
}

/// One end, read and written by a thread that waits.
#[derive(Debug)]
pub(super) struct Words {
    socket: UnixStream,
    received: Vec<u8>,
    /// What has come and is not yet taken.
    pub(super) descriptors: VecDeque<OwnedFd>,
}

impl Words {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        Ok(Self {
            socket,
            received: Vec::new(),
            descriptors: VecDeque::new(),
        })
    }

    /// Says it; `fds` go along. The other one has room for it, or reads.
    pub(super) fn say(&mut self, word: &Word, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let line = line(word)?;
        let mut sent = send_with_fds(&self.socket, &line, fds)?;
        while sent < line.len() {
            sent += send_with_fds(&self.socket, &line[sent..], &[])?;
        }
        Ok(())
    }

    /// The next word that is known; an error at the end of the socket, and after `within`.
    pub(super) fn hear(&mut self, within: Duration) -> io::Result<Word> {
        let until = Instant::now() + within;
        loop {
            while let Some(line) = take_line(&mut self.received)? {
                match word(&line)? {
                    Word::Unknown => {}
                    word => return Ok(word),
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.socket.set_read_timeout(Some(left))?;
            let mut bytes = [0; 4096];
            let (n, descriptors) = match recv_with_fds(&self.socket, &mut bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                received => received?,
            };
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&bytes[..n]);
            self.descriptors.extend(descriptors);
        }
    }
}

/// A word as it is said.
pub(super) fn line(word: &Word) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    Ok(line)
}

/// The first line of what was received, without its end.
pub(super) fn take_line(received: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    match received.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let mut line: Vec<u8> = received.drain(..=end).collect();
            line.pop();
            Ok(Some(line))
        }
        None if received.len() > MAX_LINE => Err(io::Error::other("it says too much")),
        None => Ok(None),
    }
}

/// What a line says.
pub(super) fn word(line: &[u8]) -> io::Result<Word> {
    serde_json::from_slice(line).map_err(|_| io::Error::other("it does not speak as a broker does"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a broker of this version says; one of a later version has to understand it.
    const GO: &str = r#"{"word":"go","verbose":1,"to_stderr":false,"agent_nofile":1024,"own":{"file":[1,2],"inherited":true},"begun":[3]}"#;
    const TRIAL: &str = r#"{"word":"trial","version":"0.1.0","state":"/s/default","socket":"/r/default.sock","sessions":["5b1f4d0b-23cb-42ec-9e2a-1fab493fd419"]}"#;

    #[test]
    fn the_words_are_as_they_were() {
        for said in [
            GO,
            TRIAL,
            r#"{"word":"ready","version":"9.9.9"}"#,
            r#"{"word":"serving"}"#,
        ] {
            let again = line(&word(said.as_bytes()).unwrap()).unwrap();
            assert_eq!(String::from_utf8(again).unwrap(), format!("{said}\n"));
        }
    }

    #[test]
    fn what_a_later_version_says_besides_is_skipped() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Words::new(ours).unwrap(), theirs);
        let said =
            "{\"word\":\"later\",\"a\":[1]}\n{\"word\":\"ready\",\"version\":\"9.9.9\",\"b\":2}\n";
        io::Write::write_all(&mut theirs, said.as_bytes()).unwrap();
        let heard = ours.hear(Duration::from_secs(60)).unwrap();
        assert!(matches!(heard, Word::Ready { version } if version == "9.9.9"));
        drop(theirs);
        let end = ours.hear(Duration::from_secs(60)).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn who_says_nothing_is_not_waited_for() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut ours = Words::new(ours).unwrap();
        let late = ours.hear(Duration::from_millis(1)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
