//! The keys that detach a viewer, found in what its terminal sends.
//!
//! A terminal sends a key as one byte, or, where the program has asked for it, as a sequence (the
//! kitty keyboard protocol, xterm's modifyOtherKeys). What is pasted is no key.

use clsess_proto::{ErrorCode, Failure};

/// Keys that may have to be pressed one after the other.
const MOST: usize = 2;
/// Bytes of a sequence that may be a key; a longer one is passed on.
const LONGEST: usize = 64;
/// The modifiers of the kitty protocol that are no modifiers: caps lock and num lock.
const LOCKS: u32 = 64 | 128;
/// Control, as both protocols count it.
const CONTROL: u32 = 4;

/// A key: its character, and whether it is pressed with Control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    character: u32,
    control: bool,
}

impl Key {
    /// The byte that a terminal sends for it by itself.
    fn byte(self) -> Option<u8> {
        let character = u8::try_from(self.character).ok()?;
        match self.control {
            true => Some(character.to_ascii_uppercase() & 0x1f),
            false => Some(character),
        }
    }
}

/// The keys that detach, in the order in which they are pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<Key>);

impl DetachKeys {
    /// Reads them as people write them: `C-\`, or `C-b d`. The first is one with Control, so that
    /// text can be typed.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] for anything else.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let keys: Option<Vec<Key>> = text.split_ascii_whitespace().map(key).collect();
        match keys {
            Some(keys) if (1..=MOST).contains(&keys.len()) && keys[0].control => Ok(Self(keys)),
            _ => Err(Failure::new(
                ErrorCode::BadRequest,
                format!("{text:?} are no keys to detach with"),
            )
            .hint("one key with Control, as in tmux: C-\\ or C-q; or two: C-b d")),
        }
    }
}

fn key(text: &str) -> Option<Key> {
    let (text, control) = match text.strip_prefix("C-").or_else(|| text.strip_prefix('^')) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let mut characters = text.chars();
    let (character, None) = (characters.next()?, characters.next()) else {
        return None;
    };
    let fits = match control {
        true => matches!(character, '@'..='_' | 'a'..='z'),
        false => character.is_ascii_graphic(),
    };
    let character = u32::from(character.to_ascii_lowercase());
    fits.then_some(Key { character, control })
}

/// Where in a sequence the bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Nowhere,
    /// Behind ESC.
    Escape,
    /// Behind ESC and `[`.
    Sequence,
}

/// What one terminal sends.
#[derive(Debug)]
pub struct Keys {
    detach: DetachKeys,
    /// So many of those were pressed.
    pressed: usize,
    /// What was sent for them, and is passed on when the next one is another.
    swallowed: Vec<u8>,
    /// The sequence that is under way.
    sequence: Vec<u8>,
    at: At,
    /// How much of the sequence was passed on already.
    passed: usize,
    pasting: bool,
}

impl Keys {
    /// Looks for these.
    #[must_use]
    pub fn new(detach: DetachKeys) -> Self {
        Self {
            detach,
            pressed: 0,
            swallowed: Vec::new(),
            sequence: Vec::new(),
            at: At::Nowhere,
            passed: 0,
            pasting: false,
        }
    }

    /// Looks through what was sent. Gives what the program gets, and whether the keys were pressed:
    /// what follows them then is nobody's. `encoded`: keys come as sequences, so an unfinished one
    /// waits for its end; see [`Keys::holds`].
    pub fn feed(&mut self, bytes: &[u8], encoded: bool) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.byte(*byte, &mut passed) {
                return (passed, true);
            }
        }
        if !encoded {
            passed.extend(self.release());
        }
        (passed, false)
    }

    /// Whether something waits for the end of its sequence. When that does not come soon,
    /// [`Keys::release`] gives it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.sequence.len() > self.passed
    }

    /// What has waited; the sequence may still go on.
    pub fn release(&mut self) -> Vec<u8> {
        let waited = self.sequence[self.passed..].to_vec();
        self.passed = self.sequence.len();
        waited
    }

    fn byte(&mut self, byte: u8, passed: &mut Vec<u8>) -> bool {
        match (self.at, byte) {
            (_, 0x1b) => {
                passed.extend(self.release());
                self.begin(At::Escape, byte);
                false
            }
            (At::Nowhere, _) => {
                let key = |key: &Key| key.byte() == Some(byte);
                self.pressed(key, &[byte], passed)
            }
            (At::Escape, b'[') => {
                self.at = At::Sequence;
                self.sequence.push(byte);
                false
            }
            (At::Sequence, 0x20..=0x3f) if self.sequence.len() < LONGEST => {
                self.sequence.push(byte);
                false
            }
            // Its end, or that of what is none.
            _ => {
                self.sequence.push(byte);
                self.ended(passed)
            }
        }
    }

    fn begin(&mut self, at: At, byte: u8) {
        self.at = at;
        self.sequence.clear();
        self.sequence.push(byte);
        self.passed = 0;
    }

    /// A sequence has ended.
    fn ended(&mut self, passed: &mut Vec<u8>) -> bool {
        let sequence = std::mem::take(&mut self.sequence);
        let rest = sequence[std::mem::take(&mut self.passed)..].to_vec();
        self.at = At::Nowhere;
        match sequence.as_slice() {
            b"\x1b[200~" => self.pasting = true,
            b"\x1b[201~" => self.pasting = false,
            _ => {}
        }
        let sent = sent_as_sequence(&sequence);
        self.pressed(|key| sent == Some(*key), &rest, passed)
    }

    /// A key was sent as these bytes; whether it was the last of those that detach.
    fn pressed(&mut self, is: impl Fn(&Key) -> bool, sent: &[u8], passed: &mut Vec<u8>) -> bool {
        if !self.pasting && is(&self.detach.0[self.pressed]) {
            self.pressed += 1;
            if self.pressed == self.detach.0.len() {
                self.pressed = 0;
                self.swallowed.clear();
                return true;
            }
            self.swallowed.extend_from_slice(sent);
            return false;
        }
        // Another key: those before it were meant for the program.
        self.pressed = 0;
        passed.append(&mut self.swallowed);
        passed.extend_from_slice(sent);
        false
    }
}

/// The key that a whole sequence stands for: `CSI code ; modifiers u`, or `CSI 27 ; modifiers ; code
/// ~`. Not one that is let go.
fn sent_as_sequence(sequence: &[u8]) -> Option<Key> {
    let body = std::str::from_utf8(sequence.strip_prefix(b"\x1b[")?).ok()?;
    let (fields, kitty) = match body.strip_suffix('u') {
        Some(fields) => (fields, true),
        None => (body.strip_prefix("27;")?.strip_suffix('~')?, false),
    };
    let mut fields = fields.split(';');
    let (first, second) = (fields.next()?, fields.next().unwrap_or("1"));
    let (code, modifiers) = if kitty {
        (first, second)
    } else {
        (second, first)
    };
    let mut modifiers = modifiers.split(':');
    let pressed = modifiers.next()?.parse::<u32>().ok()?.checked_sub(1)? & !LOCKS;
    if modifiers.next() == Some("3") || ![0, CONTROL].contains(&pressed) {
        return None;
    }
    let character = code.split(':').next()?.parse().ok()?;
    Some(Key {
        character,
        control: pressed == CONTROL,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(detach: &str) -> Keys {
        Keys::new(DetachKeys::read(detach).unwrap())
    }

    #[test]
    fn a_key_with_control_detaches_however_it_is_sent() {
        for sent in [
            "\x1c",
            "\x1b[92;5u",
            "\x1b[92:124;5u",
            "\x1b[92;5:1u",
            "\x1b[92;69;28u",
            "\x1b[27;5;92~",
        ] {
            let (passed, detached) = keys("C-\\").feed(sent.as_bytes(), true);
            assert!(detached && passed.is_empty(), "{sent:?}");
            // Wherever it is cut.
            for cut in 1..sent.len() {
                let mut keys = keys("C-\\");
                let (first, second) = sent.as_bytes().split_at(cut);
                assert_eq!(keys.feed(first, true), (Vec::new(), false), "{sent:?}");
                assert!(keys.holds());
                assert_eq!(keys.feed(second, true), (Vec::new(), true), "{sent:?}");
            }
        }
    }

    #[test]
    fn everything_else_is_passed_on() {
        for sent in [
            &b"abc"[..],
            b"\x1b",
            b"\x1b[A",
            b"\x1bO",
            b"\x1b\x1b[A",
            b"\x1b[92;5:3u",
            b"\x1b[92;6u",
            b"\x1b[93;5u",
            b"\x1b[27;5;93~",
            b"\xff\x00\x1b[\x00",
            b"\x1b[200~a\x1cb\x1b[201~",
        ] {
            let mut keys = keys("C-\\");
            assert_eq!(keys.feed(sent, false), (sent.to_vec(), false));
            // By single bytes, with waiting.
            let mut keys = self::keys("C-\\");
            let mut passed = Vec::new();
            for byte in sent {
                passed.extend(keys.feed(&[*byte], true).0);
            }
            passed.extend(keys.release());
            assert_eq!(passed, sent);
        }
        let long = format!("\x1b[{}u", "1;".repeat(100));
        let mut keys = keys("C-\\");
        assert_eq!(keys.feed(long.as_bytes(), false).0, long.as_bytes());
    }

    #[test]
    fn what_is_held_goes_on_when_it_has_waited() {
        let mut keys = keys("C-\\");
        assert_eq!(keys.feed(b"x\x1b", true), (b"x".to_vec(), false));
        assert_eq!(keys.release(), b"\x1b");
        assert!(!keys.holds());
        // Its end comes late: it is the program's, and would still detach.
        assert_eq!(keys.feed(b"[A", true), (b"[A".to_vec(), false));
    }

    #[test]
    fn two_keys_detach_in_their_order_only() {
        let mut keys = keys("C-b d");
        assert_eq!(keys.feed(b"d\x02x", false), (b"d\x02x".to_vec(), false));
        assert_eq!(keys.feed(b"\x02", false), (Vec::new(), false));
        assert_eq!(keys.feed(b"d left", false), (Vec::new(), true));
    }

    #[test]
    fn keys_are_read_as_people_write_them() {
        for good in ["C-\\", "^]", "C-q", "C-B d", "C-a C-d"] {
            DetachKeys::read(good).unwrap();
        }
        for bad in ["", "q", "C-", "C-ä", "C-a b c", "d C-b", "C-aa"] {
            DetachKeys::read(bad).unwrap_err();
        }
    }
}
