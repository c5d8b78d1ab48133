//! Everything the command prints: tables and JSON on stdout, errors and progress
//! on stderr.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use clsess_proto::{ErrorCode, Failure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{Global, When};
use crate::stdout::write_all;

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
        complain(failure, self.color);
    }

    /// A line for people on stderr, unless they want none.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            say(&format!("clsess: {text}\n"));
        }
    }
}

fn complain(failure: &Failure, color: bool) {
    let (red, off) = if color {
        ("\x1b[31m", "\x1b[0m")
    } else {
        ("", "")
    };
    let mut text = format!("{red}clsess:{off} {}\n", plain(&failure.message));
    if let Some(hint) = &failure.hint {
        let _ = writeln!(text, "hint: {}", plain(hint));
    }
    say(&text);
}

/// Words of an agent or a provider in a line for people: whatever else they hold,
/// it is one line, and nothing that a terminal obeys.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Writes to stderr; that nobody reads it is no error.
pub fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes to stdout.
pub fn print(text: &str) {
    if let Err(error) = write_all(io::stdout(), text.as_bytes()) {
        cannot_print(&error);
    }
}

/// The same of bytes that need not be text.
pub fn print_bytes(bytes: &[u8]) {
    if let Err(error) = write_all(io::stdout(), bytes) {
        cannot_print(&error);
    }
}

/// The exit code of a program whose reader is gone: 128 and SIGPIPE.
const BROKEN_PIPE: i32 = 141;

/// Ends the command, whose stdout takes nothing. A reader that is gone ends it as
/// it ends any other in a pipe.
pub fn cannot_print(error: &io::Error) -> ! {
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(BROKEN_PIPE);
    }
    let message = format!("cannot write to stdout: {error}");
    let failure = Failure::new(ErrorCode::Internal, message);
    complain(&failure, false);
    std::process::exit(i32::from(failure.code.exit()));
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
            text.push_str(&plain(cell));
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
    match value {
        Value::String(text) => brief_text(text),
        value => brief_text(&value.to_string()),
    }
}

/// The name of an outcome, a state and the like, as it is in JSON.
#[must_use]
pub fn name_of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// The beginning of a text, on a line, for people.
#[must_use]
pub fn brief_text(text: &str) -> String {
    let mut short: String = plain(text).chars().take(BRIEF).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people_holds_nothing_that_a_terminal_obeys() {
        assert_eq!(plain("a\x1b]0;x\x07b\r\nc\u{9b}d é"), "a ]0;x b  c d é");
        assert_eq!(brief(&json!({"k": "a\x1b[2J"})), r#"{"k":"a\u001b[2J"}"#);
        assert_eq!(brief(&json!("\x1b[2J")), " [2J");
        assert_eq!(brief(&json!("x".repeat(161))).chars().count(), 161);
    }
}
