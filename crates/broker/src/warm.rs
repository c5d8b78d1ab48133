//! Who is warm: every session that has an agent, or starts one, has a seat, and each brings its own
//! bound of how many may be taken when it takes one (`max_warm`).
//!
//! A session that finds no room waits for it. The one that has rested for longest is asked to leave
//! then; it leaves when it begins to fall asleep, and the other one starts beside that. Nobody is
//! made to: one that got something to do meanwhile stays, and the next one is asked.
//!
//! The table is pure. Whoever changes it also settles what follows from the change and wakes those
//! that it concerns, under one lock and without waiting, so that no change is ever missed and the
//! count is exact at any time.

mod table;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use table::Table;

/// The seats of all sessions.
#[derive(Debug, Default)]
pub struct Warm {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    table: Table,
    /// How each session is woken.
    bells: HashMap<Uuid, Arc<Notify>>,
}

impl Inner {
    /// Tells those for whom something has changed to look.
    fn settle(&mut self) {
        for id in self.table.settle() {
            if let Some(bell) = self.bells.get(&id) {
                bell.notify_one();
            }
        }
    }
}

impl Warm {
    /// The seat of a session, which it has not taken yet.
    #[must_use]
    pub fn seat(self: &Arc<Self>, id: Uuid) -> Seat {
        let changed = Arc::new(Notify::new());
        self.inner().bells.insert(id, Arc::clone(&changed));
        Seat {
            warm: Arc::clone(self),
            id,
            changed,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change leaves it whole, so a poisoned one is still right.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's seat. Dropped, it is free: a session that ends in whatever way is not counted.
#[derive(Debug)]
pub struct Seat {
    warm: Arc<Warm>,
    id: Uuid,
    changed: Arc<Notify>,
}

impl Seat {
    /// Takes the seat where there is room, else waits for it behind those that wait already.
    /// Whether it is taken. `max_warm`: absent or 0 is any number.
    #[must_use]
    pub fn take(&self, max_warm: Option<u32>) -> bool {
        let bound = max_warm.filter(|bound| *bound > 0);
        let bound = bound.map_or(usize::MAX, |bound| bound as usize);
        let mut inner = self.warm.inner();
        inner.table.want(self.id, bound);
        inner.settle();
        inner.table.is_warm(self.id)
    }

    /// It was taken already, by a session that an earlier broker has left warm; last used at this
    /// time.
    pub fn found(&self, used: u64, may_sleep: bool) {
        let mut inner = self.warm.inner();
        inner.table.found(self.id, used, may_sleep);
        inner.settle();
    }

    /// Whether the session may be asked to leave. When it changes is when it was used last.
    pub fn rests(&self, may_sleep: bool) {
        let mut inner = self.warm.inner();
        if inner.table.rests(self.id, may_sleep) {
            inner.settle();
        }
    }

    /// Frees it, or waits for it no longer.
    pub fn leave(&self) {
        let mut inner = self.warm.inner();
        if inner.table.leave(self.id) {
            inner.settle();
        }
    }

    /// Whether it is taken.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.warm.inner().table.is_warm(self.id)
    }

    /// Whether the session is asked to leave.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.warm.inner().table.is_asked(self.id)
    }

    /// Waits until one of both may have changed. Can be dropped and called again.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
        self.warm.inner().bells.remove(&self.id);
    }
}
