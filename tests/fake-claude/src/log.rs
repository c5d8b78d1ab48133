//! What happened, for those who wait for it: a line of JSON each, written before anything else is
//! done. And what was read, as it was read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Value, json};

/// The two files beside the script.
#[derive(Debug)]
pub struct Log {
    events: File,
    input: File,
}

impl Log {
    /// Opens both; they are appended to.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let append = |name: &str| {
            let mut options = OpenOptions::new();
            options.append(true).create(true).open(dir.join(name))
        };
        Ok(Self {
            events: append("events.ndjson")?,
            input: append("input.ndjson")?,
        })
    }

    /// An event with its fields.
    pub fn tell(&self, event: &str, fields: Value) {
        let mut line = json!({"event": event, "pid": std::process::id()});
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
            line.extend(fields);
        }
        // One write a line: several processes may share the file.
        let done = (&self.events).write_all(format!("{line}\n").as_bytes());
        if let Err(error) = done {
            eprintln!("fake-claude: the log of events: {error}");
        }
    }

    /// A line of the input with its end, if it had one.
    pub fn input(&self, line: &[u8]) {
        if let Err(error) = (&self.input).write_all(line) {
            eprintln!("fake-claude: the log of the input: {error}");
        }
    }
}
