//! Keys by their names, as a terminal sends them.

use clsess_proto::{ErrorCode, Failure};
use clsess_vt::Terminal;

/// Keys of one request at most.
const MOST: usize = 1000;

/// The bytes of these keys, as the terminal sends them in the modes that the program has set. The
/// names are tmux's; one character is itself.
///
/// # Errors
/// [`ErrorCode::BadRequest`] names the one that is none.
pub fn encoded(keys: &[String], terminal: &Terminal) -> Result<Vec<u8>, Failure> {
    if keys.len() > MOST {
        let message = format!("{} keys; {MOST} are taken at once", keys.len());
        return Err(Failure::new(ErrorCode::BadRequest, message));
    }
    let mut bytes = Vec::new();
    for name in keys {
        let key = key(name, terminal.application_cursor());
        bytes.extend(key.ok_or_else(|| {
            Failure::new(ErrorCode::BadRequest, format!("there is no key {name}"))
                .hint("as in tmux: Enter, Escape, Tab, Up, F1, C-c, M-x; text: clsess type")
        })?);
    }
    Ok(bytes)
}

/// Modifiers as xterm counts them.
#[derive(Clone, Copy, Default)]
struct Held {
    shift: bool,
    meta: bool,
    control: bool,
}

impl Held {
    fn number(self) -> u8 {
        1 + u8::from(self.shift) + 2 * u8::from(self.meta) + 4 * u8::from(self.control)
    }
}

fn key(name: &str, application: bool) -> Option<Vec<u8>> {
    let (mut held, mut rest) = (Held::default(), name);
    loop {
        let (modifier, behind) = match rest.split_at_checked(2) {
            Some((modifier, behind)) if !behind.is_empty() => (modifier, behind),
            _ => break,
        };
        match modifier {
            "C-" => held.control = true,
            "M-" => held.meta = true,
            "S-" => held.shift = true,
            _ => break,
        }
        rest = behind;
    }
    named(rest, held, application).or_else(|| character(rest, held))
}

/// A key that has a name.
fn named(name: &str, held: Held, application: bool) -> Option<Vec<u8>> {
    let simple: &[u8] = match name {
        "Enter" => b"\r",
        "Tab" if held.shift => b"\x1b[Z",
        "Tab" => b"\t",
        "BTab" => b"\x1b[Z",
        "Escape" => b"\x1b",
        "Space" if held.control => b"\0",
        "Space" => b" ",
        "BSpace" => b"\x7f",
        _ => return special(name, held.number(), application),
    };
    Some(with_meta(simple, held))
}

fn with_meta(bytes: &[u8], held: Held) -> Vec<u8> {
    let escape: &[u8] = if held.meta { b"\x1b" } else { b"" };
    [escape, bytes].concat()
}

/// Keys that are sent as sequences. `modifiers`: 1 is none.
fn special(name: &str, modifiers: u8, application: bool) -> Option<Vec<u8>> {
    let letter = |letter: char| match (modifiers, application) {
        (1, true) => format!("\x1bO{letter}"),
        (1, false) => format!("\x1b[{letter}"),
        _ => format!("\x1b[1;{modifiers}{letter}"),
    };
    let number = |number: u8| match modifiers {
        1 => format!("\x1b[{number}~"),
        _ => format!("\x1b[{number};{modifiers}~"),
    };
    let function = |letter: char| match modifiers {
        1 => format!("\x1bO{letter}"),
        _ => format!("\x1b[1;{modifiers}{letter}"),
    };
    let sequence = match name {
        "Up" => letter('A'),
        "Down" => letter('B'),
        "Right" => letter('C'),
        "Left" => letter('D'),
        "Home" => letter('H'),
        "End" => letter('F'),
        "IC" | "Insert" => number(2),
        "DC" | "Delete" => number(3),
        "PPage" | "PageUp" | "PgUp" => number(5),
        "NPage" | "PageDown" | "PgDn" => number(6),
        "F1" => function('P'),
        "F2" => function('Q'),
        "F3" => function('R'),
        "F4" => function('S'),
        "F5" => number(15),
        "F6" => number(17),
        "F7" => number(18),
        "F8" => number(19),
        "F9" => number(20),
        "F10" => number(21),
        "F11" => number(23),
        "F12" => number(24),
        _ => return None,
    };
    Some(sequence.into_bytes())
}

/// A single character.
fn character(text: &str, held: Held) -> Option<Vec<u8>> {
    let mut characters = text.chars();
    let (character, None) = (characters.next()?, characters.next()) else {
        return None;
    };
    if !held.control {
        return Some(with_meta(text.as_bytes(), held));
    }
    let byte = match character {
        '?' => 0x7f,
        '@'..='_' | 'a'..='z' => u8::try_from(character).ok()?.to_ascii_uppercase() & 0x1f,
        _ => return None,
    };
    Some(with_meta(&[byte], held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clsess_vt::Size;

    fn sent(keys: &[&str], program: &str) -> Result<Vec<u8>, Failure> {
        let mut terminal = Terminal::new(Size { rows: 4, cols: 10 }, 0);
        let _ = terminal.feed(program.as_bytes());
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        encoded(&keys, &terminal)
    }

    #[test]
    fn keys_are_sent_as_the_program_expects_them() {
        for (key, plain) in [
            ("Enter", "\r"),
            ("x", "x"),
            ("ä", "ä"),
            ("C-c", "\x03"),
            ("C-\\", "\x1c"),
            ("M-x", "\x1bx"),
            ("C-M-a", "\x1b\x01"),
            ("Up", "\x1b[A"),
            ("S-Up", "\x1b[1;2A"),
            ("C-Right", "\x1b[1;5C"),
            ("F1", "\x1bOP"),
            ("C-F5", "\x1b[15;5~"),
            ("PgUp", "\x1b[5~"),
            ("-", "-"),
            ("C--", ""),
        ] {
            let sent = sent(&[key], "");
            match plain {
                "" => assert!(sent.is_err(), "{key}"),
                _ => assert_eq!(sent.unwrap(), plain.as_bytes(), "{key}"),
            }
        }
        assert_eq!(sent(&["Up", "Home"], "\x1b[?1h").unwrap(), b"\x1bOA\x1bOH");
        assert!(sent(&["Entr"], "").unwrap_err().message.contains("Entr"));
    }
}
