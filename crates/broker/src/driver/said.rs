//! What an agent says that does not speak in lines: its hooks, and its reports to the terminal.
//!
//! Each is a line of a file in the session's directory before anything is done about it. So a later
//! broker hears everything once more that this one has not accounted for, by the same code, as it
//! does of a stream's inbox.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::inbox::Inbox;
use super::stream::BodyEvent;

/// The file in a session's directory.
const FILE: &str = "said";

/// See the module.
#[derive(Debug)]
pub struct Said {
    inbox: Inbox,
    /// For what comes.
    file: File,
}

impl Said {
    /// Of a new agent: nothing yet.
    ///
    /// # Errors
    /// Of the disk.
    pub fn begin(dir: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path(dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Self::take_up(dir, 0)
    }

    /// Of one that an earlier broker has heard up to the byte `from`.
    ///
    /// # Errors
    /// Of the disk.
    pub fn take_up(dir: &Path, from: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(path(dir))?;
        let end = file.seek(SeekFrom::End(0))?;
        // What was accounted for may have been given back to the disk.
        if end > from && !ends_with_newline(&mut file, end)? {
            // Its broker died over it, and whoever said it says it again.
            file.write_all(b"\n")?;
        }
        let inbox = Inbox::take_up(file.try_clone()?.into(), from)?;
        Ok(Self { inbox, file })
    }

    /// A hook says this, as whoever brings it calls it.
    ///
    /// # Errors
    /// When it is no JSON, and of the disk: nothing is heard then.
    pub fn hook(&mut self, id: Uuid, input: &[u8]) -> io::Result<()> {
        serde_json::from_slice::<serde::de::IgnoredAny>(input)?;
        let mut line = format!("{{\"id\":\"{id}\",\"hook\":").into_bytes();
        // Outside of its strings a line end is white space, and inside there is none.
        let one_line = |byte: &u8| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                *byte
            }
        };
        line.extend(input.iter().map(one_line));
        line.extend_from_slice(b"}\n");
        self.append(&line)
    }

    /// The terminal was told this, up to this place in all that it was, if that matters.
    ///
    /// # Errors
    /// Of the disk: it is not heard then.
    pub fn report(&mut self, report: &[u8], at: Option<u64>) -> io::Result<()> {
        let report = String::from_utf8_lossy(report);
        let mut line = match at {
            Some(at) => serde_json::to_vec(&serde_json::json!({ "report": report, "at": at }))?,
            None => serde_json::to_vec(&serde_json::json!({ "report": report }))?,
        };
        line.push(b'\n');
        self.append(&line)
    }

    /// The agent's entry in its registry is this.
    ///
    /// # Errors
    /// When it is no JSON, and of the disk: it is not heard then.
    pub fn registry(&mut self, entry: &[u8]) -> io::Result<()> {
        let entry: &serde_json::value::RawValue = serde_json::from_slice(entry)?;
        let mut line = serde_json::to_vec(&serde_json::json!({ "registry": entry }))?;
        line.push(b'\n');
        self.append(&line)
    }

    /// The agent's input box is on its screen.
    ///
    /// # Errors
    /// Of the disk: it is not heard then.
    pub fn input_box(&mut self) -> io::Result<()> {
        self.append(b"{\"input_box\":true}\n")
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let before = self.file.stream_position()?;
        if let Err(error) = self.file.write_all(line) {
            self.file.set_len(before)?;
            self.file.seek(SeekFrom::Start(before))?;
            return Err(error);
        }
        self.inbox.has_come(line.len());
        Ok(())
    }

    /// Reads on in what was said, if there is more: what is to be told of that.
    pub fn reads(&mut self) -> Option<BodyEvent> {
        if !self.inbox.has_more() {
            return None;
        }
        Some(match self.inbox.read() {
            Ok(()) => BodyEvent::Lines,
            Err(_) => {
                self.inbox.give_up();
                BodyEvent::Unreadable("what it said cannot be read back")
            }
        })
    }

    /// As those of [`Inbox`].
    pub fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// The same, to be looked at.
    #[must_use]
    pub fn heard(&self) -> &Inbox {
        &self.inbox
    }
}

/// Of an agent that is gone nothing is heard again.
pub fn forget(dir: &Path) {
    if let Err(error) = std::fs::remove_file(path(dir))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "cannot forget what the agent has said");
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

fn ends_with_newline(file: &mut File, end: u64) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::Start(end - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::super::inbox::tests::lines;
    use super::*;

    #[test]
    fn a_later_broker_hears_what_was_not_accounted_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut said = Said::begin(dir.path()).unwrap();
        let id = Uuid::from_u128(1);
        said.hook(id, b"{\"a\":\n\"b\\n\"}").unwrap();
        assert!(said.hook(id, b"{\"a\":").is_err());
        let hook = format!("{{\"id\":\"{id}\",\"hook\":{{\"a\": \"b\\n\"}}}}");
        assert_eq!(lines(said.inbox()), [hook]);
        let position = said.heard().position();
        said.report(b"state=idle", None).unwrap();
        let report = "{\"report\":\"state=idle\"}";
        assert_eq!(lines(said.inbox()), [report]);
        drop(said);

        let mut torn = OpenOptions::new()
            .append(true)
            .open(path(dir.path()))
            .unwrap();
        torn.write_all(b"{\"id\"").unwrap();
        let mut said = Said::take_up(dir.path(), position).unwrap();
        said.report(b"state=done", None).unwrap();
        let again = "{\"report\":\"state=done\"}";
        assert_eq!(lines(said.inbox()), [report, "{\"id\"", again]);
        said.inbox().release();
        let position = said.heard().position();
        drop(said);
        let mut said = Said::take_up(dir.path(), position).unwrap();
        assert!(lines(said.inbox()).is_empty());
        assert!(lines(Said::begin(dir.path()).unwrap().inbox()).is_empty());
    }
}
