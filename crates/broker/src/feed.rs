//! What happened in a session, kept for a while for those who watch.
//!
//! The session writes and never waits. Each reader has its own place in it; one
//! that falls behind what is kept is told how much it missed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clsess_proto::{Event, EventKind, TurnId};
use tokio::sync::watch;

/// Events that are kept; the oldest goes first. Enough for a reader that is away
/// for a second of the fastest answer.
const MAX_EVENTS: usize = 8192;
/// Bytes of text in the kept events; the oldest goes first.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Events that one read takes at most, so that a reader's copy stays small.
const BATCH: usize = 256;

/// The events of one session.
#[derive(Debug)]
pub struct Feed {
    ring: Mutex<Ring>,
    latest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    last_seq: u64,
}

/// What a reader gets.
#[derive(Debug, Default)]
pub struct Batch {
    /// Events between the reader's place and the first kept one.
    pub missed: u64,
    /// In order.
    pub events: Vec<Event>,
    /// The reader's new place.
    pub seen: u64,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            ring: Mutex::default(),
            latest: watch::Sender::new(0),
        }
    }
}

impl Feed {
    /// Adds an event and wakes the readers.
    pub fn push(&self, session: &str, turn: Option<TurnId>, kind: EventKind) {
        let size = weight(&kind);
        let mut ring = self.ring();
        ring.last_seq += 1;
        let seq = ring.last_seq;
        let event = Event {
            seq,
            session: session.to_owned(),
            turn,
            kind,
        };
        ring.events.push_back((event, size));
        ring.bytes += size;
        while ring.events.len() > MAX_EVENTS || ring.bytes > MAX_BYTES {
            match ring.events.pop_front() {
                Some((_, size)) => ring.bytes -= size,
                None => break,
            }
        }
        drop(ring);
        self.latest.send_replace(seq);
    }

    /// The number of the last event.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.ring().last_seq
    }

    /// A watch on the number of the last event.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The next events behind `seen`.
    #[must_use]
    pub fn after(&self, seen: u64) -> Batch {
        let ring = self.ring();
        let first = ring
            .events
            .front()
            .map_or(ring.last_seq + 1, |(e, _)| e.seq);
        let missed = first.saturating_sub(seen + 1);
        let skip = usize::try_from((seen + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let events: Vec<Event> = ring
            .events
            .iter()
            .skip(skip)
            .take(BATCH)
            .map(|(event, _)| event.clone())
            .collect();
        let seen = events.last().map_or(seen + missed, |event| event.seq);
        Batch {
            missed,
            events,
            seen,
        }
    }

    /// Whether anybody waits for events.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.latest.receiver_count() > 0
    }

    /// Forgets the kept events: nobody can be behind in a session at rest.
    pub fn clear(&self) {
        let mut ring = self.ring();
        ring.events = VecDeque::new();
        ring.bytes = 0;
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
            EventKind::Tool { input, .. }
            | EventKind::Question { input, .. }
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

    fn text(feed: &Feed, text: &str) {
        let kind = EventKind::Text {
            message: 0,
            text: text.to_owned(),
        };
        feed.push("work", None, kind);
    }

    #[test]
    fn readers_get_each_event_once_in_order() {
        let feed = Feed::default();
        text(&feed, "a");
        text(&feed, "b");
        let batch = feed.after(0);
        assert_eq!((batch.missed, batch.seen, batch.events.len()), (0, 2, 2));
        text(&feed, "c");
        let batch = feed.after(batch.seen);
        assert_eq!((batch.missed, batch.seen, batch.events.len()), (0, 3, 1));
        assert!(feed.after(3).events.is_empty());
    }

    #[test]
    fn a_reader_that_fell_behind_learns_how_far() {
        let feed = Feed::default();
        for _ in 0..MAX_EVENTS + 10 {
            text(&feed, "x");
        }
        let batch = feed.after(4);
        assert_eq!(batch.missed, 6);
        assert_eq!(batch.events.first().map(|e| e.seq), Some(11));
        assert_eq!(batch.events.len(), BATCH);
    }

    #[test]
    fn large_events_push_out_others_by_their_bytes() {
        let feed = Feed::default();
        text(&feed, "small");
        text(&feed, &"x".repeat(MAX_BYTES - 1024));
        text(&feed, &"y".repeat(2048));
        assert_eq!(feed.after(0).missed, 2);
    }

    #[test]
    fn a_cleared_feed_counts_on() {
        let feed = Feed::default();
        text(&feed, "a");
        feed.clear();
        text(&feed, "b");
        let batch = feed.after(1);
        assert_eq!((batch.missed, batch.seen), (0, 2));
    }
}
