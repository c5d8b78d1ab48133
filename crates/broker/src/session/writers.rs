//! Others that write to the conversation: while one has it open no prompt is given, and what one has
//! written is read before the next is.
//!
//! A warm agent does not see what another client writes, and would fork the conversation (facts 1.5).
//! Nothing is locked: who opens it at the very moment a prompt is given is seen at the next one.

use std::io::{Read, Seek, SeekFrom};

use clsess_claude::condition::has_others;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use super::ending::{DEFAULT_GRACE_MS, EndWaiter, EndWhy};
use super::launch::transcript;
use super::life::Life;
use super::task::Session;
use crate::clients::{self, Seen};
use crate::driver::body::Body;

/// After which it is looked again for turns that nobody waits for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Bytes that were written meanwhile and are looked at; more are taken for somebody else's.
const MAX_WRITTEN: u64 = 16 * 1024 * 1024;

/// What is known of others on the conversation.
#[derive(Default)]
pub(super) struct Writers {
    seen: Seen,
    /// When it is looked again.
    pub(super) due: Option<Instant>,
    /// The agent was started again since others had written, and has not had a turn since: once is
    /// enough.
    started_again: bool,
}

impl Writers {
    /// A turn begins.
    pub(super) fn turn_begins(&mut self) {
        self.started_again = false;
        self.due = None;
    }
}

impl Session {
    /// Whether the agent, which is ready, is ended again: another client has the conversation open,
    /// and had it first. Of two that were started at once, neither saw the other before.
    pub(super) fn gives_way(&mut self) -> bool {
        let (Some(home), Some(body)) = (&self.agent_home, &self.body) else {
            return false;
        };
        let own = body.agent();
        let other = clients::other(home, self.record.agent_session_id, own);
        let age = |process: crate::driver::orphans::Process| (process.start_time, process.pid);
        match other.filter(|other| age(other.process) < age(own)) {
            Some(other) if self.life == Life::Starting => {
                self.abort_start(other.failure);
                true
            }
            _ => false,
        }
    }

    /// Whether the idle agent may be given a prompt. Otherwise those who wait are told that somebody
    /// else has its conversation open; or it is started again, to read what somebody else has
    /// written.
    pub(super) fn has_it_alone(&mut self) -> bool {
        let (Some(home), Some(body)) = (&self.agent_home, &self.body) else {
            return true;
        };
        let id = self.record.agent_session_id;
        if let Some(other) = self.writers.seen.other(home, id, body.agent()) {
            tracing::info!(session = %self.record.name, pid = other.process.pid, "second writer");
            self.writers.due = Some(Instant::now() + LOOK_AGAIN);
            self.fail_queue(&other.failure);
            return false;
        }
        if self.wire_lost {
            self.wire_lost = false;
            self.is_begun_again("its way to its provider is lost");
            return false;
        }
        if self.others_wrote() && !self.writers.started_again {
            self.writers.started_again = true;
            self.is_begun_again("another client has written to the conversation");
            return false;
        }
        true
    }

    /// The idle agent is started again.
    fn is_begun_again(&mut self, reason: &str) {
        tracing::info!(session = %self.record.name, "{reason}: the agent is started again");
        self.died = Some(reason.to_owned());
        // Nobody waits for it.
        let (reply, _) = oneshot::channel();
        self.end(EndWhy::Restart, DEFAULT_GRACE_MS, EndWaiter::Restart(reply));
    }

    /// The length of the transcript. `None` where there is none, or it cannot be told.
    pub(super) fn transcript_length(&self) -> Option<u64> {
        let home = self.agent_home.as_ref()?;
        let path = transcript(home, self.record.cwd.as_ref(), self.record.agent_session_id)?;
        path.metadata().ok().map(|meta| meta.len())
    }

    /// Whether others have written to the transcript since the agent was idle.
    fn others_wrote(&mut self) -> bool {
        let Some(known) = self.accounted.transcript else {
            return false;
        };
        // An interface has lines of its own, which are not known from another's.
        if matches!(self.body, Some(Body::Tui(_))) {
            return false;
        }
        let Some(length) = self.transcript_length().filter(|length| *length != known) else {
            return false;
        };
        let Some(written) = self.written_since(known, length) else {
            return true;
        };
        let own = |id| self.policies.iter().any(|(wire, _)| *wire == id);
        let others = has_others(&written, own);
        if !others {
            self.accounted.transcript = Some(length);
        }
        others
    }

    /// What was written since; `None` if that cannot be told, since it is shorter, or very much.
    fn written_since(&self, known: u64, length: u64) -> Option<Vec<u8>> {
        let more = length
            .checked_sub(known)
            .filter(|more| *more <= MAX_WRITTEN)?;
        let home = self.agent_home.as_ref()?;
        let path = transcript(home, self.record.cwd.as_ref(), self.record.agent_session_id)?;
        let mut file = std::fs::File::open(path).ok()?;
        file.seek(SeekFrom::Start(known)).ok()?;
        let mut written = Vec::new();
        file.take(more).read_to_end(&mut written).ok()?;
        Some(written)
    }

    /// The time has come to look again.
    pub(super) fn writers_deadline(&mut self, now: Instant) {
        if self.writers.due.take_if(|at| *at <= now).is_some() && self.life == Life::Idle {
            self.next_turn();
        }
    }
}
