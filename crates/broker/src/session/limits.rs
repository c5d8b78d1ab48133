//! The provider's limits: what is known of them, and the turns that wait for their end.

use clsess_claude::stream::RateLimit;
use clsess_proto::{ErrorCode, EventKind, OnLimit, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::life::{Event, Life};
use super::notes::instant;
use super::now_ms;
use super::report::Ended;
use super::task::Session;
use super::turns::{Queued, Running};

/// Between two tries where the provider does not say when its limit resets: twice as long
/// each time.
const FIRST_TRY: Duration = Duration::from_secs(30);
/// The longest time between two tries, in steps of doubling.
const MOST_DOUBLINGS: u32 = 3;
/// The longest time that a provider's word is taken for. A clock that is wrong must not hold
/// a turn for ever; a subscription's longest limit is that of a week.
const LONGEST: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// A limit that was reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Limit {
    /// When it is worth trying again, in milliseconds of Unix time.
    pub(super) until_ms: u64,
    /// Whether the provider said so.
    pub(super) told: bool,
    /// How often it was reached in a row.
    tries: u32,
    /// What waited for its end has been told of it.
    over: bool,
}

/// What an event says of a limit: what is not known is left out.
pub(super) fn info(status: Option<String>, resets_at: Option<u64>, kind: Option<String>) -> Value {
    let fields = [
        ("status", status.map(Value::from)),
        ("resets_at", resets_at.map(Value::from)),
        ("kind", kind.map(Value::from)),
    ];
    let known = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(known.collect())
}

impl Limit {
    fn over_in(wait: Duration, told: bool, tries: u32) -> Self {
        let wait = wait.min(LONGEST);
        Self {
            until_ms: now_ms() + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            told,
            tries,
            over: false,
        }
    }

    /// Whether it is not over yet. It is over when what waited for it is told so, for everybody
    /// at the same moment.
    pub(super) fn holds(&self) -> bool {
        !self.over
    }
}

impl Session {
    /// The agent tells of its subscription's limit.
    pub(super) fn limit_told(&mut self, limit: &RateLimit) {
        let resets = limit
            .resets_at
            .filter(|_| limit.status.as_deref() == Some("rejected"));
        match resets {
            Some(seconds) => {
                let wait = seconds.saturating_mul(1000).saturating_sub(now_ms());
                self.limit = Some(Limit::over_in(Duration::from_millis(wait), true, 0));
            }
            None if limit.status.as_deref() == Some("allowed") => {
                self.limit = None;
                if self.life == Life::Idle {
                    self.next_turn();
                }
            }
            None => {}
        }
    }

    /// What a turn's end says of limits.
    pub(super) fn heed_limits(&mut self, ended: &Ended) {
        match ended.failure.as_ref().map(|failure| failure.code) {
            Some(ErrorCode::RateLimited | ErrorCode::Overloaded) => {
                if self
                    .limit
                    .as_ref()
                    .is_some_and(|limit| limit.told && limit.holds())
                {
                    return;
                }
                let tries = self.limit.as_ref().map_or(0, |limit| limit.tries);
                let wait = FIRST_TRY * 2_u32.pow(tries.min(MOST_DOUBLINGS));
                self.limit = Some(Limit::over_in(wait, false, tries + 1));
            }
            Some(ErrorCode::NotLoggedIn) => self.logged_out = true,
            None if ended.outcome == Outcome::Completed => {
                self.limit = None;
                self.logged_out = false;
            }
            _ => {}
        }
    }

    /// Whether a turn that a limit has refused is to wait for its end. One in which
    /// something was said or done is not: to run it again would repeat it.
    pub(super) fn is_to_wait_for_limit(&self, running: &Running, ended: &Ended) -> bool {
        let code = ended.failure.as_ref().map(|failure| failure.code);
        running.asked.terms.on_limit == OnLimit::Wait
            && matches!(code, Some(ErrorCode::RateLimited | ErrorCode::Overloaded))
            && running.stopping.is_none()
            && running.calls == 0
            && running.messages == 0
    }

    /// Puts it back in front of the queue. The agent does not run a uuid twice, so its line
    /// gets another one the next time.
    pub(super) fn wait_for_limit(&mut self, running: Running) {
        let mut queued = running.queued_again();
        queued.terms.attempt += 1;
        let turn = queued.turn;
        if !self.waits_again(queued) {
            return;
        }
        let until = self.limit.as_ref().map(|limit| limit.until_ms / 1000);
        let info = info(Some("waiting".to_owned()), until, None);
        self.tell(Some(turn), EventKind::RateLimit { info });
    }

    /// Whether a turn waits for the end of a limit, or for somebody to say that it may run.
    pub(super) fn is_held(&self, queued: &Queued) -> bool {
        let limited = self.limit.as_ref().is_some_and(Limit::holds);
        queued.held || (limited && queued.terms.on_limit == OnLimit::Wait)
    }

    /// When the limit is over.
    pub(super) fn limit_due(&self) -> Option<Instant> {
        let limit = self.limit.as_ref().filter(|limit| limit.holds());
        limit.map(|limit| instant(limit.until_ms))
    }

    /// Runs what waited for the end of a limit.
    pub(super) fn limit_deadline(&mut self, now: Instant) {
        if self.limit_due().is_none_or(|at| at > now) {
            return;
        }
        if let Some(limit) = &mut self.limit {
            limit.over = true;
        }
        if self.life == Life::Idle {
            self.next_turn();
        }
    }

    /// Lets the turns run that were held back.
    pub(super) fn run_queue(&mut self) {
        self.limit = None;
        self.queue.iter_mut().for_each(|queued| queued.held = false);
        if !self.queue.is_empty() {
            self.step(Event::Wanted);
        }
    }
}
