//! Which prompts the client's input box carries to the model as they are.
//!
//! The client changes some texts, and takes some for commands (measured: `tests/tui/FACTS.md` 1.2,
//! 1.3). What is known to be changed is refused here, before anything is typed, and so is what would
//! act without the hook of the prompt, which is the gate. What is not known shows there
//! ([`super::Verdict::Altered`]).

use std::fmt;

/// Why a prompt cannot be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing but white space.
    Empty,
    /// Its first word is a command of the client, or looks like one and is not sent then.
    Command,
    /// A word that ends the client.
    End,
    /// A carriage return without a newline, which becomes one.
    CarriageReturn,
    /// Another control character, which is dropped or becomes a newline.
    Control(char),
    /// A character that is not seen, and is dropped.
    Dropped(char),
    /// Blanks at its end, which are cut.
    TrailingBlank,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Command => f.write_str("it begins as a command does"),
            Self::End => f.write_str("it is a word that ends the agent"),
            Self::CarriageReturn => f.write_str("it holds a carriage return alone"),
            Self::Control(c) | Self::Dropped(c) => write!(f, "it holds U+{:04X}", u32::from(*c)),
            Self::TrailingBlank => f.write_str("it ends with blanks"),
        }
    }
}

impl std::error::Error for Why {}

/// The prompt as it is to be typed: without the newlines at its end, which the client cuts, and
/// which people do not mean.
///
/// # Errors
/// What of it the client would change, or take for something else.
pub fn representable(prompt: &str) -> Result<&str, Why> {
    let prompt = prompt.trim_end_matches('\n');
    let trimmed = prompt.trim();
    if trimmed.is_empty() {
        return Err(Why::Empty);
    }
    if is_command(trimmed) {
        return Err(Why::Command);
    }
    if ENDS.contains(&trimmed) {
        return Err(Why::End);
    }
    if let Some(why) = prompt.chars().find_map(not_carried) {
        return Err(why);
    }
    if prompt.replace("\r\n", "\n").contains('\r') {
        return Err(Why::CarriageReturn);
    }
    match prompt.ends_with(char::is_whitespace) {
        true => Err(Why::TrailingBlank),
        false => Ok(prompt),
    }
}

/// Characters that are pasted at most: a longer text is folded, and comes to the model with words of the
/// client's around it (measured: from 800, and from a number of lines that goes down to 2 in a low
/// terminal).
const MAX_PASTE: usize = 500;

/// What the name of an image ends with. The client looks for it, on the clipboard too.
const IMAGES: [&str; 5] = [".png", ".jpg", ".jpeg", ".gif", ".webp"];

/// Whether a paste carries a prompt unchanged, of those that can be typed at all, and the box takes Enter
/// behind it for itself by no menu. Not these: lines are folded, a tab becomes blanks, what is not
/// composed is composed (which nothing below U+0300 is), some first characters mean something, and
/// the name of an image may become that image.
pub(super) fn is_plain(prompt: &str) -> bool {
    let plain = |c: char| c < '\u{300}' && !c.is_control() && c != '@';
    let lower = prompt.to_ascii_lowercase();
    prompt.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !takes_enter(prompt)
        && prompt.chars().all(plain)
        && prompt.chars().count() <= MAX_PASTE
        && !IMAGES.iter().any(|image| lower.contains(image))
}

/// Whether Enter behind a prompt, at its end, does something else: a backslash makes a newline of it, and
/// behind a mention of a file or the name of an emoji it chooses one of a menu.
pub(super) fn takes_enter(prompt: &str) -> bool {
    let last = prompt.rsplit(char::is_whitespace).next();
    last.is_some_and(|last| last.ends_with('\\') || last.contains('@') || last.starts_with(':'))
}

/// What ends the client, alone in the box.
const ENDS: &[&str] = &["exit", "quit", ":q", ":q!", ":wq", ":wq!", ":quit"];

/// A slash, and then only what a command's name is made of.
fn is_command(prompt: &str) -> bool {
    let word = prompt.split_whitespace().next();
    let name = word.and_then(|word| word.strip_prefix('/'));
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
    name.is_some_and(|name| name.chars().all(of_a_name))
}

fn not_carried(c: char) -> Option<Why> {
    match c {
        '\n' | '\t' | '\r' => None,
        // the soft hyphen, invisible spaces and marks of direction, marks of music, tags
        '\u{ad}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}' => Some(Why::Dropped(c)),
        '\u{2028}' | '\u{2029}' => Some(Why::Control(c)),
        c if c.is_control() => Some(Why::Control(c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_paste_carries() {
        let (longest, longer) = ("é".repeat(499), "x".repeat(501));
        for plain in [
            "a",
            "1. a",
            "a $b `c` \\ \"d\" ~\u{2ff}",
            &format!("a{longest}"),
        ] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in [
            "",
            " a",
            "!ls",
            "/a b",
            "?",
            "#a",
            "É",
            "a\tb",
            "a\r\nb",
            "a\nb",
            "a@b",
            "a\\",
            "a :sm",
            "a\u{301}",
            "a\u{9b}",
            "a /tmp/a.png",
            "1.JPeG",
            &longer,
        ] {
            assert!(!is_plain(other), "{other}");
        }
    }

    #[test]
    fn what_can_be_typed() {
        for (prompt, expected) in [
            ("hello", Ok("hello")),
            ("hello\n\n", Ok("hello")),
            ("\n a\nb", Ok("\n a\nb")),
            ("#x", Ok("#x")),
            ("@x & ?", Ok("@x & ?")),
            ("a/b !c", Ok("a/b !c")),
            ("!ls", Ok("!ls")),
            ("a\tb\r\nc", Ok("a\tb\r\nc")),
            (
                "e\u{301} 👩\u{200d}💻 \u{a0}x",
                Ok("e\u{301} 👩\u{200d}💻 \u{a0}x"),
            ),
            ("C:\\", Ok("C:\\")),
            ("/etc/hosts is what", Ok("/etc/hosts is what")),
            ("//comment", Ok("//comment")),
            ("/a.b c", Ok("/a.b c")),
            ("Exit", Ok("Exit")),
            ("exit\nx", Ok("exit\nx")),
            ("", Err(Why::Empty)),
            (" \n\t", Err(Why::Empty)),
            ("/clear", Err(Why::Command)),
            (" /clear now", Err(Why::Command)),
            ("\t/foo:bar-1_x\nmore", Err(Why::Command)),
            ("/ x", Err(Why::Command)),
            (" exit ", Err(Why::End)),
            (":q!", Err(Why::End)),
            ("a\rb", Err(Why::CarriageReturn)),
            ("a\x1b[201~", Err(Why::Control('\x1b'))),
            ("a\u{9b}b", Err(Why::Control('\u{9b}'))),
            ("a\u{2028}b", Err(Why::Control('\u{2028}'))),
            ("a\u{200b}b", Err(Why::Dropped('\u{200b}'))),
            ("a\u{200f}b", Err(Why::Dropped('\u{200f}'))),
            ("a ", Err(Why::TrailingBlank)),
            ("a \n", Err(Why::TrailingBlank)),
            ("a\u{a0}", Err(Why::TrailingBlank)),
        ] {
            assert_eq!(representable(prompt), expected, "{prompt:?}");
        }
    }
}
