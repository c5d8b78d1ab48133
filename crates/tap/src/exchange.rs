//! One exchange, as it is told: nothing here ever waits for who looks on.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use tokio::sync::mpsc::{OwnedPermit, Sender};
use tokio_util::sync::CancellationToken;

use crate::seen::{How, Seen, Side, without_secrets};

/// A request and its answer.
pub(crate) struct Exchange {
    number: u64,
    seen: Sender<Seen>,
    /// Cancelled when the pass ends.
    ended: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Room for the last word, kept from the beginning; `None` when it was said, or there was none.
    last: Option<OwnedPermit<Seen>>,
    /// Who broke it off, where that is known before the end.
    blame: Option<(Side, String)>,
}

impl Exchange {
    /// Begins to tell. Without room for its last word it is not told at all.
    pub(crate) fn begin(number: u64, seen: &Sender<Seen>, ended: &CancellationToken) -> Self {
        let last = seen.clone().try_reserve_owned().ok();
        Self {
            number,
            seen: seen.clone(),
            ended: ended.clone(),
            state: Mutex::new(State { last, blame: None }),
        }
    }

    pub(crate) fn request(&self, method: &Method, path_and_query: &str, headers: &HeaderMap) {
        self.tell(|exchange| Seen::Request {
            exchange,
            method: method.clone(),
            path_and_query: path_and_query.to_owned(),
            headers: without_secrets(headers),
        });
    }

    pub(crate) fn request_body(&self, bytes: &Bytes) {
        self.tell(|exchange| Seen::RequestBody {
            exchange,
            bytes: bytes.clone(),
        });
    }

    pub(crate) fn request_end(&self) {
        self.tell(|exchange| Seen::RequestEnd { exchange });
    }

    pub(crate) fn answer(&self, status: StatusCode, headers: &HeaderMap) {
        self.tell(|exchange| Seen::Answer {
            exchange,
            status: status.as_u16(),
            headers: without_secrets(headers),
        });
    }

    pub(crate) fn answer_body(&self, bytes: &Bytes) {
        self.tell(|exchange| Seen::AnswerBody {
            exchange,
            bytes: bytes.clone(),
        });
    }

    /// Remembers who broke it off; the first to be named is it.
    pub(crate) fn blame(&self, by: Side, why: &str) {
        self.state()
            .blame
            .get_or_insert_with(|| (by, why.to_owned()));
    }

    /// Says the last word, unless it was said.
    pub(crate) fn end(&self, how: How) {
        if let Some(permit) = self.state().last.take() {
            let exchange = self.number;
            permit.send(Seen::End { exchange, how });
        }
    }

    /// Ends what broke off; `by` is to blame if nobody was before.
    pub(crate) fn cut(&self, by: Side, why: &str) {
        let (by, why) = if self.ended.is_cancelled() {
            (Side::Tap, "the pass ended".to_owned())
        } else {
            let blamed = self.state().blame.take();
            blamed.unwrap_or_else(|| (by, why.to_owned()))
        };
        self.end(How::Cut { by, why });
    }

    fn tell(&self, what: impl FnOnce(u64) -> Seen) {
        let mut state = self.state();
        if state.last.is_none() {
            return;
        }
        if self.seen.try_send(what(self.number)).is_err()
            && let Some(permit) = state.last.take()
        {
            let exchange = self.number;
            permit.send(Seen::Missed { exchange });
        }
    }

    /// A panic in another holder leaves nothing half done here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends an exchange that nobody ended: hyper drops what it was doing when its client is gone.
pub(crate) struct Ending(pub(crate) std::sync::Arc<Exchange>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.cut(Side::Client, "the client went away");
    }
}
