//! What has been told of a turn, so that a broker that tells all of it once more, since the one
//! before it died, is heard from where that one stopped. Events are known by what they say: their
//! numbers are others. It prints nothing itself.

use clsess_proto::EventKind;

/// Pieces of a turn that are remembered: 2 MiB. A piece is all text of a message up to the next
/// event of another kind, so this is some ten thousand tool calls. What comes behind them is told
/// twice when a broker dies.
const MAX_TOLD: usize = 65_536;

/// A piece that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The agent has the prompt.
    Accepted,
    /// Text of the message of this number, or thinking, and so many bytes of it.
    Said {
        message: Option<u32>,
        bytes: usize,
        hash: Hash,
    },
    /// A question, which the next broker does not tell if it is decided by then.
    Question(Hash),
    /// Any other event.
    Other(Hash),
    /// Something was left out.
    Gap,
}

/// What is heard.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// Something new.
    New(EventKind),
    /// It was told before.
    Known,
    /// From here on it is not certain what was told before: this may have been, and others may be
    /// missing.
    Unclear(EventKind),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Telling {
    /// Since the agent has last accepted the prompt.
    told: Vec<Told>,
    /// Something that was told is not in there.
    forgot: bool,
    /// How far another broker has come that tells it once more.
    again: Option<Again>,
}

#[derive(Debug, Default)]
struct Again {
    /// It has come to where `told` begins.
    begun: bool,
    /// Pieces that it has told.
    pieces: usize,
    /// What it has told of the next one, where that is text.
    bytes: usize,
    hash: Hash,
}

impl Telling {
    /// Another broker tells it from the beginning.
    pub fn again(&mut self) {
        self.again = (self.forgot || !self.told.is_empty()).then(|| Again {
            begun: self.told.first() != Some(&Told::Accepted),
            ..Again::default()
        });
    }

    /// The next event of the turn.
    pub fn hear(&mut self, kind: EventKind) -> Heard {
        use EventKind as E;
        match kind {
            // Only the broker tells them to which they happen.
            E::Queued { .. }
            | E::Steered { .. }
            | E::QuestionResolved { .. }
            | E::Denied { .. }
            | E::Error { .. }
            | E::State { .. }
            | E::Renamed { .. }
            | E::Unasked {}
            | E::Result { .. }
            | E::Unknown => Heard::New(kind),
            // All begins anew.
            E::Restart { .. } => {
                *self = Self::default();
                Heard::New(kind)
            }
            E::Gap { .. } if self.again.is_some() => self.unclear(kind),
            E::Accepted {} => self.accepted(kind),
            _ => self.compared(kind),
        }
    }

    fn accepted(&mut self, kind: EventKind) -> Heard {
        match &mut self.again {
            Some(again) if !again.begun => {
                (again.begun, again.pieces) = (true, 1);
                Heard::Known
            }
            // Once more, since a limit has refused it or its agent has died.
            _ => {
                *self = Self::default();
                self.told.push(Told::Accepted);
                Heard::New(kind)
            }
        }
    }

    fn compared(&mut self, kind: EventKind) -> Heard {
        let Some(again) = &mut self.again else {
            self.remember(&kind);
            return Heard::New(kind);
        };
        if !again.begun {
            return Heard::Known;
        }
        let piece = Told::of(&kind);
        loop {
            let rest = &self.told[again.pieces.min(self.told.len())..];
            match (rest, piece) {
                ([], _) if self.forgot => return self.unclear(kind),
                ([], _) => {
                    self.again = None;
                    self.remember(&kind);
                    return Heard::New(kind);
                }
                ([next, ..], piece) if *next == piece && !piece.is_said() => {
                    again.pieces += 1;
                    return Heard::Known;
                }
                ([next, ..], piece) if next.goes_on_with(&piece) => return self.said(kind),
                ([Told::Question(_), ..], _) if again.bytes == 0 => again.pieces += 1,
                ([Told::Gap], _) => again.pieces += 1,
                ([Told::Gap, next, ..], piece) if *next == piece || next.goes_on_with(&piece) => {
                    again.pieces += 1;
                }
                // It is one of those that were left out.
                ([Told::Gap, ..], _) => return Heard::Known,
                _ => return self.unclear(kind),
            }
        }
    }

    /// A piece of text that was told as far as it had come.
    fn said(&mut self, mut kind: EventKind) -> Heard {
        let Some(again) = &mut self.again else {
            return Heard::New(kind);
        };
        let (Some(Told::Said { bytes, hash, .. }), Some(text)) =
            (self.told.get(again.pieces), text_of(&mut kind))
        else {
            return self.unclear(kind);
        };
        let (known, new) = text
            .as_bytes()
            .split_at(text.len().min(bytes - again.bytes));
        again.hash = again.hash.with(known);
        again.bytes += known.len();
        let whole = again.bytes == *bytes;
        let last = again.pieces + 1 == self.told.len();
        // Of the agent's own lines the same is told by every broker.
        let differs = whole && again.hash != *hash;
        if differs || (!new.is_empty() && (!last || !text.is_char_boundary(known.len()))) {
            return self.unclear(kind);
        }
        if whole {
            (again.bytes, again.hash) = (0, Hash::default());
            again.pieces += 1;
        }
        if new.is_empty() {
            return Heard::Known;
        }
        text.drain(..text.len() - new.len());
        if self.forgot {
            return self.unclear(kind);
        }
        self.again = None;
        self.remember(&kind);
        Heard::New(kind)
    }

    fn unclear(&mut self, kind: EventKind) -> Heard {
        *self = Self {
            forgot: true,
            ..Self::default()
        };
        Heard::Unclear(kind)
    }

    fn remember(&mut self, kind: &EventKind) {
        let piece = Told::of(kind);
        if let Some(last) = self.told.last_mut()
            && last.goes_on_with(&piece)
            && let (Told::Said { bytes, hash, .. }, Some(text)) = (last, said_in(kind))
        {
            *bytes += text.len();
            *hash = hash.with(text.as_bytes());
        } else if self.told.len() < MAX_TOLD && !self.forgot {
            self.told.push(piece);
        } else {
            self.forgot = true;
        }
    }
}

impl Told {
    fn of(kind: &EventKind) -> Self {
        let hash = || {
            // What is printed are plain structs: they can always be written.
            Hash::default().with(&serde_json::to_vec(kind).unwrap_or_default())
        };
        let said = |message, text: &str| Self::Said {
            message,
            bytes: text.len(),
            hash: Hash::default().with(text.as_bytes()),
        };
        match kind {
            EventKind::Text { message, text } => said(Some(*message), text),
            EventKind::Thinking { text } => said(None, text),
            EventKind::Question { .. } => Self::Question(hash()),
            EventKind::Gap { .. } => Self::Gap,
            _ => Self::Other(hash()),
        }
    }

    fn is_said(&self) -> bool {
        matches!(self, Self::Said { .. })
    }

    /// Whether the other one is text of the same message.
    fn goes_on_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Said { message, .. }, Self::Said { message: of, .. }) => message == of,
            _ => false,
        }
    }
}

fn said_in(kind: &EventKind) -> Option<&str> {
    match kind {
        EventKind::Text { text, .. } | EventKind::Thinking { text } => Some(text),
        _ => None,
    }
}

fn text_of(kind: &mut EventKind) -> Option<&mut String> {
    match kind {
        EventKind::Text { text, .. } | EventKind::Thinking { text } => Some(text),
        _ => None,
    }
}

/// FNV-1a of 64 bits: the same whatever pieces the bytes come in, which those of the standard
/// library do not promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn with(self, bytes: &[u8]) -> Self {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Self(bytes.iter().fold(self.0, step))
    }
}

#[cfg(test)]
mod tests {
    use clsess_proto::{QuestionKind, Resolution};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn text(message: u32, text: &str) -> EventKind {
        let text = text.to_owned();
        EventKind::Text { message, text }
    }

    fn tool(name: &str) -> EventKind {
        EventKind::Tool {
            name: name.to_owned(),
            input: json!({}),
        }
    }

    fn retry(attempt: u32) -> EventKind {
        EventKind::Retry {
            attempt,
            max: 2,
            delay_ms: 1,
            status: None,
            error: "e".to_owned(),
        }
    }

    fn question(id: &str) -> EventKind {
        EventKind::Question {
            id: id.to_owned(),
            kind: QuestionKind::Permission,
            tool: "Bash".to_owned(),
            input: json!({}),
            text: String::new(),
            options: Vec::new(),
        }
    }

    fn resolved(id: &str) -> EventKind {
        EventKind::QuestionResolved {
            id: id.to_owned(),
            tool: "Bash".to_owned(),
            how: Resolution::Approved,
        }
    }

    const ACCEPTED: EventKind = EventKind::Accepted {};
    const GAP: EventKind = EventKind::Gap { missed: Some(1) };

    /// What is printed of all this, and how often it was unclear.
    fn printed(tellings: &[&[EventKind]]) -> (Vec<EventKind>, usize) {
        let mut telling = Telling::default();
        let (mut printed, mut unclear) = (Vec::new(), 0);
        for (number, events) in tellings.iter().enumerate() {
            if number > 0 {
                telling.again();
            }
            for event in *events {
                match telling.hear(event.clone()) {
                    Heard::Known => {}
                    Heard::New(event) => printed.push(event),
                    Heard::Unclear(event) => {
                        unclear += 1;
                        printed.push(event);
                    }
                }
            }
        }
        (joined(printed), unclear)
    }

    /// The same with the pieces of each text in one.
    fn joined(events: Vec<EventKind>) -> Vec<EventKind> {
        let mut all: Vec<EventKind> = Vec::new();
        for mut event in events {
            match all.last_mut() {
                Some(last) if Told::of(last).goes_on_with(&Told::of(&event)) => {
                    let more = std::mem::take(text_of(&mut event).unwrap());
                    text_of(last).unwrap().push_str(&more);
                }
                _ => all.push(event),
            }
        }
        all
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let once = |tellings: &[&[EventKind]], expected: &[EventKind]| {
            assert_eq!(printed(tellings), (expected.to_vec(), 0), "{tellings:?}");
        };
        let queued = EventKind::Queued { ahead: 0 };
        once(
            &[std::slice::from_ref(&queued), &[ACCEPTED, text(0, "a")]],
            &[queued.clone(), ACCEPTED, text(0, "a")],
        );
        once(
            &[
                &[queued.clone(), ACCEPTED, text(0, "é")],
                &[ACCEPTED, text(0, "éa"), text(1, "b")],
            ],
            &[queued, ACCEPTED, text(0, "éa"), text(1, "b")],
        );
        // One word after the other is the same word.
        let words = [ACCEPTED, text(0, " "), tool("a"), text(1, " "), tool("a")];
        for at in 0..=words.len() {
            once(&[&words[..at], &words], &words);
            once(&[&words[..at], &words[..at.min(2)], &words], &words);
        }
        // The message begins again.
        let anew = [ACCEPTED, text(0, "ab"), retry(1), text(0, "a"), retry(2)];
        for at in 0..=anew.len() {
            once(&[&anew[..at], &anew], &anew);
        }
        // What an agent that died has said is not told again by those who only know the next.
        let restart = EventKind::Restart {
            reason: "it died".to_owned(),
        };
        let second = [ACCEPTED, text(0, "a"), text(1, "b")];
        let died = [ACCEPTED, text(0, "x"), restart, ACCEPTED, text(0, "a")];
        once(&[&died, &second], &[&died[..], &[text(1, "b")]].concat());
    }

    #[test]
    fn a_question_that_is_decided_is_not_heard_again() {
        let first = [
            ACCEPTED,
            tool("a"),
            question("1"),
            resolved("1"),
            text(0, "b"),
        ];
        let again = [ACCEPTED, tool("a"), text(0, "b"), question("2")];
        let expected = [&first[..], &[question("2")]].concat();
        assert_eq!(printed(&[&first, &again]), (expected, 0));
        // One that is open is.
        let open = &first[..3];
        let again = [
            ACCEPTED,
            tool("a"),
            question("1"),
            resolved("1"),
            text(0, "b"),
        ];
        assert_eq!(printed(&[open, &again]), (first.to_vec(), 0));
    }

    #[test]
    fn a_gap_ends_what_is_certain() {
        let (a, b) = (
            [ACCEPTED, text(0, "a"), tool("t")],
            [ACCEPTED, GAP, tool("t")],
        );
        let expected = vec![ACCEPTED, text(0, "a"), tool("t"), GAP, tool("t")];
        assert_eq!(printed(&[&a, &b]), (expected, 1));
        // What was left out before is not told late.
        let all = [ACCEPTED, text(0, "a"), tool("t"), text(1, "b")];
        let expected = vec![ACCEPTED, GAP, tool("t"), text(1, "b")];
        assert_eq!(printed(&[&b, &all]), (expected, 0));
    }

    #[test]
    fn another_tale_is_unclear() {
        let a = [ACCEPTED, text(0, "abc")];
        for other in [text(0, "xyz"), tool("t"), text(1, "abc")] {
            let (_, unclear) = printed(&[&a, &[ACCEPTED, other]]);
            assert_eq!(unclear, 1);
        }
        let mut telling = Telling::default();
        let many = |telling: &mut Telling| {
            telling.hear(ACCEPTED);
            for number in 0..MAX_TOLD {
                telling.hear(tool(&number.to_string()));
            }
        };
        many(&mut telling);
        assert_eq!(telling.told.len(), MAX_TOLD);
        telling.again();
        assert_eq!(telling.hear(ACCEPTED), Heard::Known);
        assert_eq!(telling.hear(tool("0")), Heard::Known);
    }

    fn event() -> impl Strategy<Value = EventKind> {
        prop_oneof![
            6 => (0..2u32, "[ab☃]{1,3}").prop_map(|(message, it)| text(message, &it)),
            2 => "[ab]{1,2}".prop_map(|text| EventKind::Thinking { text }),
            2 => "[ab]".prop_map(|name| tool(&name)),
            1 => Just(EventKind::ToolResult { is_error: false }),
            1 => (1..3u32).prop_map(retry),
        ]
    }

    /// The same, each text a character at a time.
    fn in_pieces(events: &[EventKind]) -> Vec<EventKind> {
        let pieces = |event: &EventKind| match event {
            EventKind::Text { message, text: it } => {
                it.chars().map(|c| text(*message, &c.to_string())).collect()
            }
            other => vec![other.clone()],
        };
        events.iter().flat_map(pieces).collect()
    }

    proptest! {
        #[test]
        fn any_beginnings_and_the_whole_are_the_whole(
            events in proptest::collection::vec(event(), 0..30),
            ends in proptest::collection::vec(any::<proptest::sample::Index>(), 1..4),
            pieces: bool,
        ) {
            let whole = [vec![ACCEPTED], events].concat();
            let other = if pieces { in_pieces(&whole) } else { joined(whole.clone()) };
            let mut tellings: Vec<&[EventKind]> = Vec::new();
            for (number, end) in ends.iter().enumerate() {
                let of = if number % 2 == 0 { &whole } else { &other };
                tellings.push(&of[..end.index(of.len() + 1)]);
            }
            tellings.push(&other);
            prop_assert_eq!(printed(&tellings), (joined(whole), 0));
        }
    }
}
