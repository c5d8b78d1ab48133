//! How a prompt is typed into Codex's box.

use std::fmt;

/// Bytes of a prompt at most: 1 MB was measured to arrive, in 3.4 s.
const MAX_PROMPT: usize = 1024 * 1024;
/// Clears the box up to the start of a line (`C-u`).
const CLEARS: &[u8] = b"\x15";
/// How often it is pressed where somebody else has typed: each line needs it twice.
const LINES: usize = 64;

/// What presses Esc: only while a turn runs.
pub const ESCAPE: &[u8] = b"\x1b";

/// Why a prompt cannot be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A control character, which Codex leaves out.
    Control(char),
    /// White space at one of its ends, which Codex cuts.
    Ends,
    /// Longer than was measured to arrive.
    TooLong,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(c) => write!(f, "it holds U+{:04X}", u32::from(*c)),
            Self::Ends => f.write_str("Codex cuts the white space at its ends"),
            Self::TooLong => write!(f, "it is longer than {MAX_PROMPT} bytes"),
        }
    }
}

/// The prompt as Codex will take it: without the newlines at its end.
///
/// # Errors
/// What would not arrive as it is.
pub fn carried(prompt: &str) -> Result<&str, Why> {
    let prompt = prompt.trim_end_matches('\n');
    let lost = |c: &char| c.is_control() && !matches!(c, '\n' | '\t');
    if let Some(c) = prompt.chars().find(lost) {
        return Err(Why::Control(c));
    }
    if prompt.trim() != prompt {
        return Err(Why::Ends);
    }
    match prompt.len() > MAX_PROMPT {
        true => Err(Why::TooLong),
        false => Ok(prompt),
    }
}

/// The keys that empty the box, paste the prompt and enter it. The blanks around it are taken off, and
/// with them it is nothing but a prompt: no command, no file, no skill to be completed. `touched`:
/// somebody else may have left several lines in the box.
#[must_use]
pub fn typed(prompt: &str, touched: bool) -> Vec<u8> {
    let clears = CLEARS.repeat(if touched { LINES } else { 1 });
    [
        &clears,
        b"\x1b[200~ ".as_slice(),
        prompt.as_bytes(),
        b" \x1b[201~\r",
    ]
    .concat()
}
