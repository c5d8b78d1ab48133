//! How a prompt is typed into the client, and which prompts cannot be.
//!
//! The client changes some texts, and takes some for commands (facts 3.4, 13). What is known to be
//! changed is refused here, before anything is typed; what is not known shows in the hook of the
//! prompt, which is the gate ([`super::Verdict::Altered`]). Two things are left to it: whether the
//! text is in Unicode's form C, and what later versions do.

use std::fmt;

/// Characters of one paste, as the client counts them (in UTF-16): one of over 800 is wrapped into
/// `<pasted_content>`; with up to 700 texts of 100 kB came out exact (facts 3.4).
pub const MAX_PASTE: usize = 500;
/// Newlines of one paste: one of four lines is wrapped.
pub const MAX_PASTED_NEWLINES: usize = 2;
/// Submits what was typed; a piece of its own, behind [`keys`].
pub const SUBMIT: &[u8] = b"\r";
/// Ends the running turn (facts 3.5), and the dialog that is on the screen.
pub const INTERRUPT: &[u8] = b"\x1b";

/// Why a prompt cannot be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing but white space.
    Empty,
    /// It begins with `/`: a command of the client, or none and then it is not sent.
    Command,
    /// It begins with `!`: the shell would run it.
    Shell,
    /// A tab, which becomes four spaces.
    Tab,
    /// A carriage return, which becomes a newline.
    CarriageReturn,
    /// Another control character, which is dropped.
    Control(char),
    /// A character that is dropped.
    Dropped(char),
    /// Blanks at its end, which are cut.
    TrailingBlank,
    /// A backslash at its end, which makes Enter a newline.
    TrailingBackslash,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Command => f.write_str("it begins with /, as a command does"),
            Self::Shell => f.write_str("it begins with !, as a shell command does"),
            Self::Tab => f.write_str("it holds a tab"),
            Self::CarriageReturn => f.write_str("it holds a carriage return"),
            Self::Control(c) | Self::Dropped(c) => write!(f, "it holds U+{:04X}", u32::from(*c)),
            Self::TrailingBlank => f.write_str("it ends with blanks"),
            Self::TrailingBackslash => f.write_str("it ends with a backslash"),
        }
    }
}

impl std::error::Error for Why {}

/// The prompt as it is to be typed: without the newlines at its end, which the client cuts, and
/// which people do not mean. Where that is shorter than the prompt, the sender is to be told.
///
/// # Errors
/// What of it the client would change, or take for something else. White space before a `/` does
/// not help (facts 3.4); of other beginnings with white space little is known, so none of those
/// is typed before a `!` either.
pub fn representable(prompt: &str) -> Result<&str, Why> {
    let prompt = prompt.trim_end_matches('\n');
    let begins = prompt.trim_start().chars().next();
    match begins {
        None => return Err(Why::Empty),
        Some('/') => return Err(Why::Command),
        Some('!') => return Err(Why::Shell),
        Some(_) => {}
    }
    if let Some(why) = prompt.chars().find_map(not_carried) {
        return Err(why);
    }
    match prompt.chars().next_back() {
        Some('\\') => Err(Why::TrailingBackslash),
        Some(last) if last.is_whitespace() => Err(Why::TrailingBlank),
        _ => Ok(prompt),
    }
}

fn not_carried(c: char) -> Option<Why> {
    match c {
        '\n' => None,
        '\t' => Some(Why::Tab),
        '\r' => Some(Why::CarriageReturn),
        '\u{200b}' => Some(Why::Dropped(c)),
        c if c.is_control() => Some(Why::Control(c)),
        _ => None,
    }
}

/// The bytes that put a text into the empty input box: bracketed pastes, each so small that the
/// client takes it as if it were typed. [`SUBMIT`] comes after them.
#[must_use]
pub fn keys(prompt: &str) -> Vec<u8> {
    let pastes = pastes(prompt);
    let mut keys = Vec::with_capacity(prompt.len() + pastes.len() * 12);
    for paste in pastes {
        keys.extend_from_slice(b"\x1b[200~");
        keys.extend_from_slice(paste.as_bytes());
        keys.extend_from_slice(b"\x1b[201~");
    }
    keys
}

fn pastes(prompt: &str) -> Vec<&str> {
    let mut pastes = Vec::new();
    let (mut begins, mut characters, mut newlines) = (0, 0, 0);
    for (at, c) in prompt.char_indices() {
        let newline = usize::from(c == '\n');
        if characters + c.len_utf16() > MAX_PASTE || newlines + newline > MAX_PASTED_NEWLINES {
            pastes.push(&prompt[begins..at]);
            (begins, characters, newlines) = (at, 0, 0);
        }
        characters += c.len_utf16();
        newlines += newline;
    }
    if begins < prompt.len() {
        pastes.push(&prompt[begins..]);
    }
    pastes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_typed() {
        for (prompt, expected) in [
            ("hello", Ok("hello")),
            ("hello\n\n", Ok("hello")),
            ("\n a\nb", Ok("\n a\nb")),
            ("#x", Ok("#x")),
            ("@x & ?", Ok("@x & ?")),
            ("a/b !c", Ok("a/b !c")),
            ("é 👩\u{200d}💻 \u{a0}x", Ok("é 👩\u{200d}💻 \u{a0}x")),
            ("C:\\x", Ok("C:\\x")),
            ("", Err(Why::Empty)),
            (" \n\t", Err(Why::Empty)),
            ("/clear", Err(Why::Command)),
            (" /clear", Err(Why::Command)),
            ("/etc/hosts is what", Err(Why::Command)),
            ("!ls", Err(Why::Shell)),
            ("\n!ls", Err(Why::Shell)),
            ("a\tb", Err(Why::Tab)),
            ("a\r\nb", Err(Why::CarriageReturn)),
            ("a\x1b[201~", Err(Why::Control('\x1b'))),
            ("a\u{9b}b", Err(Why::Control('\u{9b}'))),
            ("a\u{200b}b", Err(Why::Dropped('\u{200b}'))),
            ("a ", Err(Why::TrailingBlank)),
            ("a \n", Err(Why::TrailingBlank)),
            ("a\u{a0}", Err(Why::TrailingBlank)),
            ("a\\", Err(Why::TrailingBackslash)),
            ("a\\\n", Err(Why::TrailingBackslash)),
        ] {
            assert_eq!(representable(prompt), expected, "{prompt:?}");
        }
    }

    #[test]
    fn many_small_pastes() {
        assert_eq!(keys("a\nb"), b"\x1b[200~a\nb\x1b[201~");
        assert_eq!(pastes("1\n2\n3\n4\n5\n"), ["1\n2\n3", "\n4\n5", "\n"]);
        // two units each, as the client counts
        let emoji = "😀".repeat(MAX_PASTE);
        assert_eq!(pastes(&emoji).len(), 2);
        let long = "x".repeat(MAX_PASTE * 3 + 1);
        let lengths: Vec<_> = pastes(&long).iter().map(|paste| paste.len()).collect();
        assert_eq!(lengths, [500, 500, 500, 1]);
        assert_eq!(keys(""), b"");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pastes_are_small_and_the_whole_text(prompt in "(\n|[a-c]|é|😀){0,1500}") {
            let pastes = pastes(&prompt);
            for paste in &pastes {
                prop_assert!(!paste.is_empty());
                prop_assert!(paste.encode_utf16().count() <= MAX_PASTE);
                prop_assert!(paste.matches('\n').count() <= MAX_PASTED_NEWLINES);
            }
            prop_assert_eq!(pastes.concat(), prompt);
        }
    }
}
