//! What passes between the agent and its provider, where that is read: words before the hooks have them,
//! limits, and how long the provider takes.

use std::future::pending;

use clsess_claude::stream::RateLimit;
use clsess_claude::turn::Happening;
use clsess_claude::wire::{Fact, Limits, Request, Wire};
use clsess_proto::{Driver, TapDetail};
use clsess_tap::{HeaderMap, How, Seen};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::task::Session;
use crate::taps::Tapped;

/// The wire of one agent.
pub(super) struct Wired {
    tapped: Tapped,
    wire: Wire,
    /// When the last request of the main conversation was whole.
    asked: Option<Instant>,
    /// How long its answer took to begin.
    first_byte: Option<Duration>,
    limits: Option<Limits>,
    /// The subscription's limit that was told last.
    limit: Option<RateLimit>,
}

/// What passes next; for ever where nothing can.
pub(super) async fn of_wire(wired: Option<&mut Wired>) -> Seen {
    match wired {
        Some(wired) => match wired.tapped.seen.recv().await {
            Some(seen) => seen,
            None => pending().await,
        },
        None => pending().await,
    }
}

impl Wired {
    pub(super) fn new(tapped: Tapped) -> Self {
        Self {
            tapped,
            wire: Wire::default(),
            asked: None,
            first_byte: None,
            limits: None,
            limit: None,
        }
    }

    /// As `show` tells it.
    pub(super) fn detail(&self) -> TapDetail {
        let limits = self.limits.iter().flat_map(Limits::iter);
        TapDetail {
            way: self.tapped.way,
            ttfb_ms: self
                .first_byte
                .map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
            limits: limits
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            unread: self.wire.unread(),
        }
    }

    /// Takes what passes, of the agent with this conversation; whether it is a sign that it is at work.
    fn take(&mut self, seen: Seen, conversation: Uuid, out: &mut Vec<Fact>) -> bool {
        let wire = &mut self.wire;
        let number = seen.exchange();
        // By the request before its end, and behind its beginning.
        let was_at_work = wire.is_for_message(number);
        match seen {
            Seen::Request {
                exchange,
                method,
                path_and_query,
                headers,
            } => {
                let headers = texts(&headers);
                let request = Request::new(method.as_str(), &path_and_query, headers);
                wire.request(exchange, &request, &conversation.to_string());
            }
            Seen::RequestBody { exchange, bytes } => wire.request_body(exchange, &bytes),
            Seen::RequestEnd { exchange } => wire.request_end(exchange, out),
            Seen::Answer {
                exchange,
                status,
                headers,
            } => {
                wire.answer(exchange, status, texts(&headers), out);
            }
            Seen::AnswerBody { exchange, bytes } => wire.answer_body(exchange, &bytes, out),
            Seen::End { exchange, how } => wire.end(exchange, how == How::Complete, out),
            Seen::Missed { exchange } => wire.missed(exchange),
        }
        was_at_work || wire.is_for_message(number)
    }
}

/// Headers that are text.
fn texts(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let headers = headers.iter();
    headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
}

impl Session {
    /// An agent of an earlier broker goes on with the tap that it knows, or is started anew when it can be.
    pub(super) fn takes_up_wire(&mut self) {
        match self.shared.taps.taken_up(&self.dir) {
            Ok(tapped) => self.wired = tapped.map(Wired::new),
            Err(failure) => {
                tracing::warn!(session = %self.record.name, %failure, "the wire is lost");
                self.wire_lost = true;
            }
        }
    }

    /// Something passes.
    pub(super) fn passes(&mut self, seen: Seen) {
        let Some(wired) = &mut self.wired else { return };
        let mut facts = Vec::new();
        if wired.take(seen, self.record.agent_session_id, &mut facts) {
            self.heard = Instant::now();
            self.stalled = false;
        }
        let mut happenings = Vec::new();
        for fact in facts {
            match &fact {
                Fact::Asked { .. } => wired.asked = Some(Instant::now()),
                Fact::Begun { .. } => wired.first_byte = wired.asked.take().map(|at| at.elapsed()),
                Fact::Limits(limits) => {
                    let told = limits.subscription();
                    // A stream tells it by itself.
                    if told != wired.limit && self.embodied == Driver::Tui {
                        happenings.extend(told.clone().map(Happening::RateLimit));
                    }
                    wired.limit = told;
                    wired.limits = Some(limits.clone());
                }
                _ => {}
            }
            self.tracker.wire(&fact, &mut happenings);
        }
        for happening in happenings {
            self.happened(happening);
        }
    }

    /// Everything that has passed so far.
    pub(super) fn drain_wire(&mut self) {
        while let Some(seen) = self
            .wired
            .as_mut()
            .and_then(|it| it.tapped.seen.try_recv().ok())
        {
            self.passes(seen);
        }
    }
}
