//! How a prompt is typed into a line editor.

use std::fmt;

/// The longest line that a terminal takes which reads lines and not keys: the kernel cuts what is
/// longer, without a word.
const MAX_LINE: usize = 4095;

/// Why a prompt cannot be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A control character, which the terminal or the line editor would act on.
    Control(char),
    /// Several lines, or a tab, for a program that does not read pastes: each would act at once.
    NotPasted,
    /// Longer than a line of the terminal may be, for a program that reads lines.
    TooLong,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(c) => write!(f, "it holds U+{:04X}", u32::from(*c)),
            Self::NotPasted => {
                f.write_str("it has several lines or a tab, and the program does not read pastes")
            }
            Self::TooLong => write!(
                f,
                "it is longer than the terminal's line of {MAX_LINE} bytes"
            ),
        }
    }
}

/// The prompt as it is to be typed: without the newlines at its end, since Enter is pressed behind it.
///
/// # Errors
/// What no terminal carries.
pub fn carried(prompt: &str) -> Result<&str, Why> {
    let prompt = prompt.trim_end_matches('\n');
    let acts = |c: &char| c.is_control() && !matches!(c, '\n' | '\t');
    match prompt.chars().find(acts) {
        Some(c) => Err(Why::Control(c)),
        None => Ok(prompt),
    }
}

/// The bytes that type it, and Enter. `pastes`: the program reads pastes; `lines`: it reads lines, not
/// keys.
///
/// # Errors
/// Why the program would not get it as it is.
pub fn typed(prompt: &str, pastes: bool, lines: bool) -> Result<Vec<u8>, Why> {
    let prompt = carried(prompt)?;
    if lines && prompt.len() > MAX_LINE {
        return Err(Why::TooLong);
    }
    if pastes {
        return Ok([b"\x1b[200~", prompt.as_bytes(), b"\x1b[201~\r"].concat());
    }
    match prompt.contains(['\n', '\t']) {
        true => Err(Why::NotPasted),
        false => Ok([prompt.as_bytes(), b"\r"].concat()),
    }
}
