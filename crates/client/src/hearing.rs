//! What is heard of one's turn: nothing of others, and nothing twice.

use clsess_proto::{Event, EventKind, TurnId};

use crate::telling::{Heard, Telling};

/// See the module.
#[derive(Debug, Default)]
pub struct Hearing {
    /// The turn, as soon as it is known.
    turn: Option<TurnId>,
    last_seq: u64,
    telling: Telling,
}

/// Something that was not heard before.
#[derive(Debug)]
pub struct News {
    /// It.
    pub event: Event,
    /// Something may be missing before it, and it may have been heard before after all.
    pub unclear: bool,
}

impl Hearing {
    /// It is this turn.
    pub fn of(&mut self, turn: TurnId) {
        self.turn = Some(turn);
    }

    /// The number of the last event.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The turn is told from its beginning again; `same`: by the broker that told
    /// it so far, whose events have the same numbers.
    pub fn told_again(&mut self, same: bool) {
        if same {
            return;
        }
        self.last_seq = 0;
        self.telling.again();
    }

    /// The event, or what of it is news.
    pub fn hear(&mut self, mut event: Event) -> Option<News> {
        if event.seq <= self.last_seq {
            // Told before the connection was lost.
            return None;
        }
        self.last_seq = event.seq;
        if !self.belongs(&event) {
            return None;
        }
        let unclear;
        (event.kind, unclear) = match self.telling.hear(event.kind) {
            Heard::New(kind) => (kind, false),
            Heard::Unclear(kind) => (kind, true),
            Heard::Known => return None,
        };
        Some(News { event, unclear })
    }

    /// Whether an event is of this turn, or of the session as a whole. What the
    /// agent does unasked is never part of an asked turn.
    fn belongs(&mut self, event: &Event) -> bool {
        match event.turn {
            Some(turn) => *self.turn.get_or_insert(turn) == turn,
            None => matches!(
                event.kind,
                EventKind::Gap { .. }
                    | EventKind::Restart { .. }
                    | EventKind::RateLimit { .. }
                    | EventKind::Error { .. }
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_of_this_turn_is_not_heard() {
        let mut hearing = Hearing::default();
        let mut seq = 0;
        let mut heard = |hearing: &mut Hearing, turn, kind| {
            seq += 1;
            let session = "work".to_owned();
            let event = Event {
                seq,
                session,
                turn,
                kind,
            };
            hearing.hear(event).is_some()
        };
        let text = || EventKind::Text {
            message: 0,
            text: "x".into(),
        };
        let limit = EventKind::RateLimit { info: json!({}) };
        let (own, other) = (TurnId::random(), TurnId::random());
        assert!(!heard(&mut hearing, None, text()), "it is nobody's");
        assert!(heard(&mut hearing, None, limit));
        assert!(heard(&mut hearing, Some(own), text()));
        assert_eq!(hearing.turn, Some(own));
        assert!(!heard(&mut hearing, Some(other), text()));
        assert!(heard(&mut hearing, Some(own), text()));
    }
}
