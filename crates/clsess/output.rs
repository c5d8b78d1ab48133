//! Everything the command prints: tables and JSON on stdout, errors and progress
//! on stderr.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use clsess_proto::Failure;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{Global, When};

/// The longest input of a tool in a line for people, in characters.
const BRIEF: usize = 160;

/// How things are said.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Errors also go to stdout, as JSON.
    pub json: bool,
    /// Only errors are said.
    pub quiet: bool,
    /// Whether stderr takes colours.
    color: bool,
}

impl Output {
    /// As the options say.
    #[must_use]
    pub fn new(global: &Global, json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            json,
            quiet: global.quiet,
            color: match global.color {
                When::Always => true,
                When::Never => false,
                When::Auto => !plain && io::stderr().is_terminal(),
            },
        }
    }

    /// Says what went wrong; the exit code.
    #[must_use]
    pub fn fail(&self, failure: &Failure) -> u8 {
        if self.json {
            print(&format!("{}\n", json!({ "error": failure })));
        }
        self.complain(failure);
        failure.code.exit()
    }

    /// Says what went wrong on stderr only.
    pub fn complain(&self, failure: &Failure) {
        let (red, plain) = if self.color {
            ("\x1b[31m", "\x1b[0m")
        } else {
            ("", "")
        };
        // One message is one line: an agent's words may hold more.
        let message = failure.message.replace('\n', " ");
        let mut text = format!("{red}clsess:{plain} {message}\n");
        if let Some(hint) = &failure.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        say(&text);
    }

    /// A line for people on stderr, unless they want none.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            say(&format!("clsess: {text}\n"));
        }
    }
}

/// Writes to stderr; that nobody reads it is no error.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes to stdout. A reader that is gone ends the command as it ends any other
/// in a pipe.
pub fn print(text: &str) {
    if write_stdout(text.as_bytes()).is_err() {
        std::process::exit(BROKEN_PIPE);
    }
}

/// The exit code of a program whose reader is gone: 128 and SIGPIPE.
pub const BROKEN_PIPE: i32 = 141;

fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints a value as JSON, on one line.
pub fn print_json<T: Serialize>(value: &T) {
    print(&json_line(value));
}

/// A value as a line of JSON.
#[must_use]
pub fn json_line<T: Serialize>(value: &T) -> String {
    // What is printed are plain structs: they can always be written.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// A table with aligned columns; the last one is left as wide as it is.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < columns {
                let gap = widths[column] - cell.chars().count() + 2;
                text.extend(std::iter::repeat_n(' ', gap));
            }
        }
        text.push('\n');
    }
    text
}

/// A JSON value in a few words for people.
#[must_use]
pub fn brief(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let mut short: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(BRIEF)
        .collect();
    if text.chars().nth(BRIEF).is_some() {
        short.push('…');
    }
    short
}

/// Seconds as people read them.
#[must_use]
pub fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
