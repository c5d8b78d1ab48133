//! What server and control share. One thread, so cells instead of locks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, oneshot};

use crate::log::Log;
use crate::rules::Rules;

/// A handle to the state.
pub type Shared = Rc<State>;

/// The state.
#[derive(Debug)]
pub struct State {
    /// Differs between servers.
    pub boot: u64,
    /// The scripted answers.
    pub rules: RefCell<Rules>,
    /// The requests.
    pub log: RefCell<Log>,
    holds: RefCell<HashMap<String, Vec<oneshot::Sender<()>>>>,
    connections: RefCell<usize>,
    changed: Notify,
}

impl State {
    /// An empty state.
    pub fn new() -> Shared {
        Rc::new(Self {
            boot: u64::try_from(since_epoch().as_millis()).unwrap_or(0),
            rules: RefCell::default(),
            log: RefCell::default(),
            holds: RefCell::default(),
            connections: RefCell::default(),
            changed: Notify::new(),
        })
    }

    /// Wakes those who wait for a request, a hold or an outcome.
    pub fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until `check` gives something, or gives up.
    pub async fn wait<T>(&self, limit: Duration, check: impl Fn() -> Option<T>) -> Option<T> {
        let found = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if let Some(found) = check() {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, found).await.ok()
    }

    /// Notes that the answer to a request begins.
    pub fn begin(&self, index: u64) {
        self.log.borrow_mut().begin(index, now_ms());
    }

    /// Notes how a request ended.
    pub fn finish(&self, index: u64, outcome: &str) {
        self.log.borrow_mut().finish(index, outcome, now_ms());
        self.notify();
    }

    /// A stream arrives at a hold; it goes on when the receiver resolves.
    pub fn arrive(&self, name: &str) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.holds
            .borrow_mut()
            .entry(name.to_owned())
            .or_default()
            .push(sender);
        self.notify();
        receiver
    }

    /// Lets all streams at this hold go on; gives their number.
    pub fn release(&self, name: &str) -> usize {
        let waiting = self.holds.borrow_mut().remove(name).unwrap_or_default();
        waiting
            .into_iter()
            .filter_map(|sender| sender.send(()).ok())
            .count()
    }

    /// The number of streams at this hold.
    pub fn waiting(&self, name: &str) -> usize {
        let holds = self.holds.borrow();
        let at = holds.get(name).map(Vec::as_slice).unwrap_or_default();
        at.iter().filter(|sender| !sender.is_closed()).count()
    }

    /// The names of the holds at which a stream waits.
    pub fn held(&self) -> Vec<String> {
        let names: Vec<_> = self.holds.borrow().keys().cloned().collect();
        names
            .into_iter()
            .filter(|name| self.waiting(name) > 0)
            .collect()
    }

    /// Counts a connection for as long as the guard lives.
    pub fn connection(self: &Rc<Self>) -> ConnectionGuard {
        *self.connections.borrow_mut() += 1;
        ConnectionGuard(Rc::clone(self))
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }
}

/// An open connection.
#[derive(Debug)]
pub struct ConnectionGuard(Shared);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        *self.0.connections.borrow_mut() -= 1;
        self.0.notify();
    }
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Unix time in milliseconds.
pub fn now_ms() -> f64 {
    since_epoch().as_secs_f64() * 1000.0
}
