//! Timers that the agent has set itself: they would end with its process, so they keep it awake.

use std::collections::VecDeque;

use clsess_claude::timers::{Call, JOB_EXPIRES, call};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};

use super::life::Life;
use super::notes::instant;
use super::now_ms;
use super::task::Session;

/// Calls without a result that are kept; the oldest go first, and then count for nothing.
const MAX_CALLS: usize = 64;

/// What is known of them. A timer's time is the clock's, in milliseconds of Unix time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Timers {
    /// Calls that have no result yet.
    #[serde(skip)]
    calls: VecDeque<(String, Call)>,
    /// When the last wake-up has come.
    wakeup_at: u64,
    jobs: u32,
    /// When the last job expires.
    jobs_expire_at: u64,
}

impl Timers {
    /// The agent calls a tool.
    pub(super) fn called(&mut self, id: &str, tool: &str, input: &str) {
        let Some(call) = call(tool, input) else {
            return;
        };
        if self.calls.len() == MAX_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back((id.to_owned(), call));
    }

    /// The call has its result.
    pub(super) fn done(&mut self, id: &str, is_error: bool) {
        let at = self.calls.iter().position(|(called, _)| called == id);
        let Some((_, call)) = at.and_then(|at| self.calls.remove(at)) else {
            return;
        };
        match call {
            _ if is_error => {}
            Call::Wakeup(after) => self.wakeup_at = self.wakeup_at.max(later(after)),
            Call::Job => {
                self.jobs += 1;
                self.jobs_expire_at = later(JOB_EXPIRES);
            }
            Call::JobDeleted => self.jobs = self.jobs.saturating_sub(1),
        }
    }

    /// Until when one may be set.
    fn until(&self) -> u64 {
        let jobs = match self.jobs {
            0 => 0,
            _ => self.jobs_expire_at,
        };
        self.wakeup_at.max(jobs)
    }
}

fn later(after: Duration) -> u64 {
    now_ms() + u64::try_from(after.as_millis()).unwrap_or(u64::MAX / 2)
}

impl Session {
    /// Whether the agent has set itself a timer.
    pub(super) fn has_timer(&self) -> bool {
        self.timers.until() > now_ms()
    }

    /// When it has none any more.
    pub(super) fn timers_due(&self) -> Option<Instant> {
        (self.life == Life::Idle && self.has_timer()).then(|| instant(self.timers.until()))
    }
}
