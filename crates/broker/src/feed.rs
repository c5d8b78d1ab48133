//! What happened in a session, kept for a while for those who watch.
//!
//! The session writes and never waits. Each reader has its own place in it; one
//! that falls behind what is kept is told how much it missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clsess_proto::{Event, EventKind, TurnId};
use tokio::sync::watch;

/// Events that are kept; the oldest goes first. Enough for a reader that is away
/// for a second of the fastest answer.
const MAX_EVENTS: usize = 8192;
/// Bytes of text in the kept events; the oldest goes first.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of events that a session at rest keeps for those who come back.
const REST_BYTES: usize = 64 * 1024;
/// Events that one read takes at most, so that a reader's copy stays small.
const BATCH: usize = 256;

/// Numbers the events of all sessions of a broker.
#[derive(Debug)]
pub struct Sequence {
    /// The number before the first one.
    base: u64,
    last: watch::Sender<u64>,
}

impl Sequence {
    /// Begins at a thousand times the milliseconds of Unix time: a later broker's
    /// numbers are larger than all of an earlier one's, unless that told a million
    /// events each second all its life or the clock was set back.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        let base = now_ms * 1000;
        Self {
            base,
            last: watch::Sender::new(base),
        }
    }

    /// A watch on the number of the last event of all sessions.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// The number of the last event of all sessions.
    #[must_use]
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }
}

/// The events of one session.
#[derive(Debug)]
pub struct Feed {
    sequence: Arc<Sequence>,
    ring: Mutex<Ring>,
    /// How many there were.
    latest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    /// Events that there were, the forgotten ones too. A reader's position is the
    /// number of those that are behind it.
    pushed: u64,
    /// The number of the last forgotten one, or of one before all of them.
    forgotten: u64,
}

impl Ring {
    fn forget_beyond(&mut self, events: usize, bytes: usize) {
        while self.events.len() > events || self.bytes > bytes {
            match self.events.pop_front() {
                Some((event, size)) => {
                    self.bytes -= size;
                    self.forgotten = event.seq;
                }
                None => break,
            }
        }
    }

    /// The position of the first kept event.
    fn first(&self) -> u64 {
        self.pushed - self.events.len() as u64
    }
}

/// What a reader gets.
#[derive(Debug, Default)]
pub struct Batch {
    /// Events between the reader's position and the first kept one.
    pub missed: u64,
    /// The number of the last of those.
    pub missed_seq: u64,
    /// In order.
    pub events: Vec<Event>,
    /// The reader's new position.
    pub position: u64,
}

impl Feed {
    /// For a session that is new, or `taken_up` from an earlier broker, whose events
    /// are forgotten.
    #[must_use]
    pub fn new(sequence: Arc<Sequence>, taken_up: bool) -> Self {
        let forgotten = if taken_up { sequence.base } else { 0 };
        Self {
            sequence,
            ring: Mutex::new(Ring {
                forgotten,
                ..Ring::default()
            }),
            latest: watch::Sender::new(0),
        }
    }

    /// Adds an event and wakes the readers.
    pub fn push(&self, session: &str, turn: Option<TurnId>, kind: EventKind) {
        let size = weight(&kind);
        let seq = self.sequence.last() + 1;
        let mut ring = self.ring();
        let event = Event {
            seq,
            session: session.to_owned(),
            turn,
            kind,
        };
        ring.events.push_back((event, size));
        ring.bytes += size;
        ring.pushed += 1;
        ring.forget_beyond(MAX_EVENTS, MAX_BYTES);
        let pushed = ring.pushed;
        drop(ring);
        self.latest.send_replace(pushed);
        self.sequence.last.send_replace(seq);
    }

    /// The number of the last event that was not forgotten before it could be read.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        let ring = self.ring();
        ring.events
            .back()
            .map_or(ring.forgotten, |(event, _)| event.seq)
    }

    /// The position behind the last event.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.ring().pushed
    }

    /// The position behind the event number `seq`, and whether events behind it are
    /// forgotten already.
    #[must_use]
    pub fn since(&self, seq: u64) -> (u64, bool) {
        let ring = self.ring();
        let behind = ring.events.partition_point(|(event, _)| event.seq <= seq);
        (ring.first() + behind as u64, seq < ring.forgotten)
    }

    /// The position in front of the first kept event of a turn. Where others of it may be forgotten, one
    /// from which they count as missed; where there is none, that behind the last event.
    #[must_use]
    pub fn begun(&self, turn: TurnId) -> u64 {
        let ring = self.ring();
        let first = ring.first();
        let of_it = |(event, _): &(Event, usize)| event.turn == Some(turn);
        match ring.events.iter().position(of_it) {
            Some(0) if first > 0 => 0,
            Some(at) => first + at as u64,
            None => ring.pushed,
        }
    }

    /// A watch on the position behind the last event.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The next events behind a position.
    #[must_use]
    pub fn after(&self, position: u64) -> Batch {
        let ring = self.ring();
        let first = ring.first();
        let missed = first.saturating_sub(position);
        let skip = usize::try_from(position.saturating_sub(first)).unwrap_or(usize::MAX);
        let events: Vec<Event> = ring
            .events
            .iter()
            .skip(skip)
            .take(BATCH)
            .map(|(event, _)| event.clone())
            .collect();
        Batch {
            missed,
            missed_seq: ring.forgotten,
            position: position + missed + events.len() as u64,
            events,
        }
    }

    /// Whether anybody waits for the events of just this session.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.latest.receiver_count() > 0
    }

    /// A session at rest keeps only the last few of them.
    pub fn rest(&self) {
        let mut ring = self.ring();
        ring.forget_beyond(MAX_EVENTS, REST_BYTES);
        ring.events.shrink_to_fit();
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Every change leaves the ring whole, so a poisoned one is still right.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About how many bytes an event holds.
fn weight(kind: &EventKind) -> usize {
    const FIXED: usize = 256;
    FIXED
        + match kind {
            EventKind::Text { text, .. } | EventKind::Thinking { text } => text.len(),
            EventKind::Question {
                input,
                text,
                options,
                ..
            } => {
                let options: usize = options.iter().map(|option| 32 + option.len()).sum();
                json_size(input) + text.len() + options
            }
            EventKind::Restart { reason } => reason.len(),
            EventKind::State { detail, .. } => detail.as_ref().map_or(0, String::len),
            EventKind::Error { error } => error.message.len(),
            EventKind::Tool { input, .. }
            | EventKind::Denied { input, .. }
            | EventKind::RateLimit { info: input } => json_size(input),
            _ => 0,
        }
}

fn json_size(value: &serde_json::Value) -> usize {
    use serde_json::Value as V;
    match value {
        V::String(text) => text.len(),
        V::Array(items) => items.iter().map(|v| 32 + json_size(v)).sum(),
        V::Object(map) => map.iter().map(|(k, v)| 64 + k.len() + json_size(v)).sum(),
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> Feed {
        Feed::new(Arc::new(Sequence::new(0)), false)
    }

    fn text(feed: &Feed, text: &str) {
        let kind = EventKind::Text {
            message: 0,
            text: text.to_owned(),
        };
        feed.push("work", None, kind);
    }

    #[test]
    fn readers_get_each_event_once_in_order() {
        let feed = feed();
        text(&feed, "a");
        text(&feed, "b");
        let batch = feed.after(0);
        assert_eq!(
            (batch.missed, batch.position, batch.events.len()),
            (0, 2, 2)
        );
        text(&feed, "c");
        let batch = feed.after(batch.position);
        assert_eq!(
            (batch.missed, batch.position, batch.events.len()),
            (0, 3, 1)
        );
        assert!(feed.after(3).events.is_empty());
    }

    #[test]
    fn the_events_of_all_sessions_are_numbered_in_one_row() {
        let sequence = Arc::new(Sequence::new(5));
        let one = Feed::new(Arc::clone(&sequence), false);
        let other = Feed::new(Arc::clone(&sequence), true);
        for _ in 0..2 {
            text(&one, "1");
            text(&other, "2");
        }
        let numbers = |feed: &Feed| {
            feed.after(0)
                .events
                .iter()
                .map(|e| e.seq)
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(&one), [5001, 5003]);
        assert_eq!(numbers(&other), [5002, 5004]);
        assert_eq!(sequence.last(), 5004);
        assert_eq!(one.since(5001), (1, false));
        assert_eq!(one.since(5002), (1, false));
        assert_eq!(one.since(9999), (2, false));
        assert_eq!(one.since(0), (0, false), "it is new: nothing was before");
        assert_eq!(other.since(5000), (0, false));
        assert_eq!(other.since(4999), (0, true), "an earlier broker's are gone");
    }

    #[test]
    fn a_turn_is_read_again_from_its_first_event() {
        let feed = feed();
        let turns = [1, 2, 3].map(|id| TurnId(uuid::Uuid::from_u128(id)));
        text(&feed, "x");
        feed.push("work", Some(turns[0]), EventKind::Accepted {});
        text(&feed, "y");
        feed.push("work", Some(turns[1]), EventKind::Accepted {});
        assert_eq!(turns.map(|turn| feed.begun(turn)), [1, 3, 4]);
        for _ in 0..MAX_EVENTS - 1 {
            text(&feed, "z");
        }
        // Of the first nothing is left. Of the second there may have been more.
        assert_eq!(turns.map(|turn| feed.begun(turn)), [4 + 8191, 0, 4 + 8191]);
        assert_eq!(feed.after(0).missed, 3);
    }

    #[test]
    fn a_reader_that_fell_behind_learns_how_far() {
        let feed = feed();
        for _ in 0..MAX_EVENTS + 10 {
            text(&feed, "x");
        }
        let batch = feed.after(4);
        assert_eq!((batch.missed, batch.missed_seq), (6, 10));
        assert_eq!(batch.events.first().map(|e| e.seq), Some(11));
        assert_eq!(batch.events.len(), BATCH);
        assert_eq!(feed.since(10), (10, false));
        assert_eq!(feed.since(9), (10, true));
    }

    #[test]
    fn large_events_push_out_others_by_their_bytes() {
        let feed = feed();
        text(&feed, "small");
        text(&feed, &"x".repeat(MAX_BYTES - 1024));
        text(&feed, &"y".repeat(2048));
        assert_eq!(feed.after(0).missed, 2);
    }

    #[test]
    fn a_feed_at_rest_keeps_what_is_small() {
        let feed = feed();
        text(&feed, &"x".repeat(REST_BYTES));
        text(&feed, "b");
        feed.rest();
        let batch = feed.after(0);
        assert_eq!((batch.missed, batch.position), (1, 2));
    }
}
