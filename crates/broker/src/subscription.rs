//! `events`: what happens in several sessions, in one row.
//!
//! Each session's feed is read at the subscriber's own pace; one that is too slow is told how
//! much it missed, and nobody waits for it.

use std::collections::BTreeMap;

use clsess_proto::{Event, EventKind, Failure};
use uuid::Uuid;

use crate::broker::Shared;
use crate::feed::Batch;
use crate::session::Handle;

/// A reader of several feeds.
pub struct Subscription {
    /// Only these; empty: all, those of later too.
    only: Vec<Uuid>,
    /// The registry's changes that are looked at.
    looked: Option<u64>,
    /// Everything up to this number is told.
    seen: u64,
    /// A session's events that were asked for are forgotten, as it is itself: to be told once.
    lost: Option<Event>,
    feeds: BTreeMap<Uuid, Reader>,
}

struct Reader {
    handle: Handle,
    position: u64,
    /// Events that were asked for are forgotten already: to be told once.
    lost: Option<u64>,
}

impl Subscription {
    /// To the sessions of these names or ids, from now on or since an event.
    ///
    /// # Errors
    /// [`clsess_proto::ErrorCode::NoSuchSession`].
    pub fn new(shared: &Shared, names: &[String], since: Option<u64>) -> Result<Self, Failure> {
        let named = shared.registry.find_all(names)?;
        let mut subscription = Self {
            only: named.iter().map(|handle| handle.id).collect(),
            seen: since.unwrap_or_else(|| shared.sequence.last()),
            looked: None,
            lost: None,
            feeds: BTreeMap::new(),
        };
        if names.is_empty() {
            let gap = shared.registry.gone().gap;
            subscription.lost = gap.filter(|lost| lost.seq > subscription.seen);
        }
        named
            .into_iter()
            .for_each(|handle| subscription.add(handle));
        subscription.look(shared);
        Ok(subscription)
    }

    fn add(&mut self, handle: Handle) {
        let (position, lost) = handle.feed.since(self.seen);
        let reader = Reader {
            position,
            lost: lost.then_some(self.seen),
            handle,
        };
        self.feeds.insert(reader.handle.id, reader);
    }

    /// Takes up new sessions, and those that have come and gone meanwhile.
    fn look(&mut self, shared: &Shared) {
        let changes = shared.registry.changes();
        if !self.only.is_empty() || self.looked == Some(changes) {
            return;
        }
        self.looked = Some(changes);
        for handle in shared.registry.all() {
            if !self.feeds.contains_key(&handle.id) {
                self.add(handle);
            }
        }
        for handle in shared.registry.gone().last {
            let unread = handle.feed.last_seq() > self.seen;
            if unread && !self.feeds.contains_key(&handle.id) {
                self.add(handle);
            }
        }
    }

    /// Lets go of sessions that are gone and read to their end. False when nothing can come
    /// any more.
    pub fn goes_on(&mut self) -> bool {
        self.feeds.retain(|_, reader| {
            let unread = reader.handle.feed.position() > reader.position;
            !reader.handle.commands.is_closed() || unread
        });
        self.only.is_empty() || !self.feeds.is_empty()
    }

    /// What has happened since the last time, in order; empty when that is nothing.
    pub fn next(&mut self, shared: &Shared) -> Vec<Event> {
        self.look(shared);
        let batches: Vec<(Uuid, Batch)> = self
            .feeds
            .iter()
            .map(|(id, reader)| (*id, reader.handle.feed.after(reader.position)))
            .collect();
        // A feed that has more than one batch may have more before what others have.
        let horizon = batches
            .iter()
            .filter(|(id, batch)| self.has_more(id, batch))
            .filter_map(|(_, batch)| batch.events.last())
            .map(|event| event.seq)
            .min()
            .unwrap_or(u64::MAX);
        let mut events = Vec::new();
        for (id, batch) in batches {
            if let Some(reader) = self.feeds.get_mut(&id) {
                reader.take(batch, horizon, &mut events);
            }
        }
        events.sort_by_key(|event| event.seq);
        // The number of a gap says where it is, and those of others may come before it.
        self.seen = events
            .iter()
            .map(|event| event.seq)
            .fold(self.seen, u64::max);
        events.splice(..0, self.lost.take());
        events
    }

    fn has_more(&self, id: &Uuid, batch: &Batch) -> bool {
        let reader = self.feeds.get(id);
        reader.is_some_and(|reader| reader.handle.feed.position() > batch.position)
    }
}

impl Reader {
    fn take(&mut self, batch: Batch, horizon: u64, events: &mut Vec<Event>) {
        let gap = |seq: u64, missed: Option<u64>| Event {
            seq,
            session: self.handle.row.borrow().row.name.clone(),
            turn: None,
            kind: EventKind::Gap { missed },
        };
        if let Some(seq) = self.lost.take() {
            events.push(gap(seq, None));
        }
        if batch.missed > 0 {
            if batch.missed_seq > horizon {
                // Others have earlier ones; the next batch tells it again.
                return;
            }
            events.push(gap(batch.missed_seq, Some(batch.missed)));
            self.position += batch.missed;
        }
        for event in batch.events {
            if event.seq > horizon {
                break;
            }
            self.position += 1;
            events.push(event);
        }
    }
}
