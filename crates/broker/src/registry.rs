//! The sessions by name.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clsess_proto::{ErrorCode, Event, EventKind, Failure};
use uuid::Uuid;

use crate::session::Handle;

/// Sessions of one broker at most; `new` refuses more.
pub const MAX_SESSIONS: usize = 1000;
/// Killed sessions whose last events are kept: 64 KiB each.
const MAX_GONE: usize = 32;

/// Name to handle. The lock is never held across an await.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: Mutex<BTreeMap<String, Handle>>,
    gone: Mutex<Gone>,
    /// How often a session was put in or taken out.
    changes: AtomicU64,
    /// How many there are on disk that could not be taken up.
    left_alone: AtomicU64,
}

/// Sessions that were taken out, for those who read their events.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    /// The last ones, oldest first.
    pub last: VecDeque<Handle>,
    /// The gap that those before them have left.
    pub gap: Option<Event>,
}

impl Registry {
    /// The session of this name, or of this id.
    ///
    /// # Errors
    /// [`ErrorCode::NoSuchSession`].
    pub fn find(&self, name_or_id: &str) -> Result<Handle, Failure> {
        let sessions = self.sessions();
        let by_id = || {
            let id = Uuid::parse_str(name_or_id).ok()?;
            sessions.values().find(|handle| handle.id == id)
        };
        match sessions.get(name_or_id).or_else(by_id) {
            Some(handle) => Ok(handle.clone()),
            None => Err(self.not_found(name_or_id)),
        }
    }

    /// One on disk could not be taken up. It has no name here.
    pub fn left_alone(&self) {
        self.left_alone.fetch_add(1, Ordering::Relaxed);
    }

    /// It may be one of those that could not be taken up: whoever makes another one of this name
    /// should know.
    fn not_found(&self, name: &str) -> Failure {
        match self.left_alone.load(Ordering::Relaxed) {
            0 => no_such_session(name),
            count => {
                let plural = if count == 1 { "" } else { "s" };
                no_such_session(name).hint(format!(
                    "{count} session{plural} on disk could not be taken up: clsess broker logs"
                ))
            }
        }
    }

    /// Those of these names or ids.
    ///
    /// # Errors
    /// [`ErrorCode::NoSuchSession`] for the first that is none.
    pub fn find_all(&self, names: &[String]) -> Result<Vec<Handle>, Failure> {
        names.iter().map(|name| self.find(name)).collect()
    }

    /// The session of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<Handle> {
        self.sessions().get(name).cloned()
    }

    /// The session of this id.
    #[must_use]
    pub fn by_id(&self, id: Uuid) -> Option<Handle> {
        let sessions = self.sessions();
        sessions.values().find(|handle| handle.id == id).cloned()
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Handle> {
        self.sessions().values().cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sessions().len()
    }

    /// Adds a session.
    pub fn insert(&self, name: String, handle: Handle) {
        self.sessions().insert(name, handle);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a session was added or taken out: whoever follows them all looks again when
    /// that is another number.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Takes a session out, whatever its name is by now.
    pub fn remove(&self, id: Uuid) {
        let mut sessions = self.sessions();
        let gone = sessions.extract_if(.., |_, handle| handle.id == id);
        let gone: Vec<Handle> = gone.map(|(_, handle)| handle).collect();
        drop(sessions);
        gone.iter().for_each(|handle| handle.feed.rest());
        let mut all = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        all.last.extend(gone);
        while all.last.len() > MAX_GONE {
            let forgotten = all.last.pop_front().map(|handle| Event {
                seq: handle.feed.last_seq(),
                session: handle.row.borrow().row.name.clone(),
                turn: None,
                kind: EventKind::Gap { missed: None },
            });
            let gaps = all.gap.take().into_iter().chain(forgotten);
            all.gap = gaps.max_by_key(|gap| gap.seq);
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// The sessions that were taken out last.
    #[must_use]
    pub fn gone(&self) -> Gone {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.clone()
    }

    /// Gives a session another name.
    ///
    /// # Errors
    /// [`ErrorCode::SessionExists`] when another one has it; [`ErrorCode::NoSuchSession`].
    pub fn rename(&self, id: Uuid, name: &str) -> Result<(), Failure> {
        let mut sessions = self.sessions();
        if sessions.get(name).is_some_and(|handle| handle.id != id) {
            let message = format!("there is a session {name} already");
            return Err(Failure::new(ErrorCode::SessionExists, message));
        }
        let old = sessions.iter().find(|(_, handle)| handle.id == id);
        let old = old.map(|(old, _)| old.clone());
        let handle = old.and_then(|old| sessions.remove(&old));
        let handle = handle.ok_or_else(|| no_such_session(&id.to_string()))?;
        sessions.insert(name.to_owned(), handle);
        Ok(())
    }

    /// `wanted`, or with the first free number behind it.
    #[must_use]
    pub fn free_name(&self, wanted: &str) -> String {
        let sessions = self.sessions();
        let numbered = (2u32..).map(|n| format!("{wanted}-{n}"));
        std::iter::once(wanted.to_owned())
            .chain(numbered)
            .find(|name| !sessions.contains_key(name))
            .unwrap_or_else(|| wanted.to_owned())
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<String, Handle>> {
        // A map is whole after every change, so a poisoned one is still right.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There is no such session.
#[must_use]
pub fn no_such_session(name: &str) -> Failure {
    let failure = Failure::new(
        ErrorCode::NoSuchSession,
        format!("there is no session {name}"),
    );
    match Uuid::parse_str(name) {
        Ok(_) => failure.hint("clsess ls"),
        Err(_) => failure.hint(format!("clsess ls; to make it: clsess new {name}")),
    }
}
