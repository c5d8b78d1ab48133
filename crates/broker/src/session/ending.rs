//! Ending a body, for whatever reason, and what comes after it.

use clsess_proto::{ErrorCode, Failure, Killed};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::life::{Event, Life};
use super::sleep;
use super::task::Session;
use super::turns::ms;
use super::{Answer, now_ms};
use crate::disk;
use crate::store::Env;

/// How long an agent that is started again may take to end, in milliseconds.
pub(super) const DEFAULT_GRACE_MS: u64 = 10_000;

/// What a body gets beyond its grace before its holder is given up. The holder
/// itself gives up 5 s past the grace (its protocol).
pub(super) const END_SLACK: Duration = Duration::from_secs(8);

/// Why the body is being ended. What is stronger wins when there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EndWhy {
    /// Nobody needs it for now: turns and queue stay.
    Sleep,
    /// Another kind of body takes its place.
    Swap,
    Restart,
    Stop,
    Kill,
}

impl EndWhy {
    /// What those hear whose turn or start it ends.
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Sleep | Self::Swap => sleep::put_to_sleep(),
            Self::Restart => Failure::new(ErrorCode::Restarted, "the session was restarted"),
            Self::Kill => Failure::new(ErrorCode::Killed, "the session was killed"),
            Self::Stop => Failure::new(ErrorCode::BrokerStopping, "the broker was stopped"),
        }
    }
}

/// Who waits for the end.
pub(super) enum EndWaiter {
    Restart(Answer<()>),
    Stop(Answer<()>),
    Kill(Answer<Killed>),
}

impl Session {
    /// Ends the body for a reason; the waiter hears when it is done.
    pub(super) fn end(&mut self, why: EndWhy, grace_ms: u64, waiter: EndWaiter) {
        let grace_ms = to_u32(grace_ms);
        let first = self.ending.is_none();
        self.ending = self.ending.max(Some(why));
        self.end_waiters.push(waiter);
        self.end_turns(why);
        self.questions_gone();
        // A second one can only make it come sooner.
        if first || grace_ms < self.end_grace_ms {
            self.end_in(grace_ms);
            if let Some(body) = &mut self.body
                && self.life == Life::Ending
            {
                body.end(grace_ms, false);
            }
        }
        self.step(Event::End);
    }

    /// Bounds the end of the body.
    pub(super) fn end_in(&mut self, grace_ms: u32) {
        self.end_grace_ms = grace_ms;
        let bound = Duration::from_millis(grace_ms.into()) + END_SLACK;
        self.end_deadline = Some(Instant::now() + bound);
    }

    /// The body does not end as its holder should see to: goes on without either.
    pub(super) fn end_overdue(&mut self) {
        self.end_deadline = None;
        tracing::error!(session = %self.record.name, "the holder does not end the agent");
        match &mut self.body {
            Some(body) => {
                self.end_deadline = Some(Instant::now() + END_SLACK);
                body.abandon();
            }
            None => {
                // Dropped, it ends what it has begun.
                self.launching = None;
                self.step(Event::Ended);
            }
        }
    }

    pub(super) fn end_body(&mut self) {
        let grace = self.end_grace_ms;
        match &mut self.body {
            Some(body) => body.end(grace, false),
            // Still being started: ended as soon as it is there.
            None if self.launching.is_some() => {}
            None if self.left.is_some() => self.end_left(),
            None => self.step(Event::Ended),
        }
    }

    /// Nothing is left of the body: does what it was ended for.
    pub(super) fn after_end(&mut self) {
        self.body = None;
        self.wired = None;
        self.end_deadline = None;
        let why = self.ending.take();
        if let Some(why @ (EndWhy::Kill | EndWhy::Stop)) = why {
            self.end_queue(why);
            for waiter in self.start_waiters.drain(..) {
                let _ = waiter.send(Err(why.failure()));
            }
            self.is_not_embodied(&why.failure());
        }
        match why {
            Some(EndWhy::Kill) => self.forget(),
            Some(EndWhy::Stop) => {
                self.last_ends();
                for waiter in self.end_waiters.drain(..) {
                    waiter.stopped();
                }
                self.step(Event::Forgotten);
            }
            Some(EndWhy::Restart) => {
                for waiter in self.end_waiters.drain(..) {
                    if let EndWaiter::Restart(reply) = waiter {
                        self.start_waiters.push(reply);
                    }
                }
                self.step(Event::Wanted);
            }
            Some(EndWhy::Sleep) => self.fell_asleep(),
            Some(EndWhy::Swap) => self.swapped(),
            None => {}
        }
    }

    /// The last chance to write ends that the disk has not taken. Their senders have them; the
    /// next broker finds turns that began and did not end, and looks for them in the transcript.
    fn last_ends(&mut self) {
        let turns = self.journal.unwritten();
        match self.journal.catch_up() {
            Ok(()) if turns > 0 => drop(self.shared.disk.sync(self.journal.file())),
            Ok(()) => {}
            Err(error) => {
                tracing::error!(session = %self.record.name, turns, %error, "ends are lost");
            }
        }
    }

    /// Forgets the session: its turns stay readable by its id.
    pub(super) fn forget(&mut self) {
        let mut killed = self.record.killed();
        self.shared.registry.remove(self.record.id);
        // Nothing is to be read of a session that never had a turn.
        let keep = !self.journal.is_empty();
        let record = keep.then(|| self.record.to_bytes().ok()).flatten();
        if let Err(error) = self.shared.bury(&self.dir, self.record.id, record) {
            tracing::error!(session = %self.record.name, %error, "cannot move the session away");
            let message = format!(
                "{} is ended, but cannot be forgotten, and is there again with the next broker: {error}",
                self.record.name
            );
            let failure = Failure::new(ErrorCode::JournalFailed, message);
            killed.error = Some(failure.hint(disk::hint(&error)));
        }
        for waiter in self.end_waiters.drain(..) {
            waiter.killed(&killed);
        }
        self.step(Event::Forgotten);
    }

    /// Whether the agent was started at this moment or later.
    pub(super) fn agent_is_newer(&self, at_ms: u64) -> bool {
        let age = self.body.as_ref().and_then(|body| body.agent().age());
        let age = age.filter(|_| self.life != Life::Ending);
        age.is_some_and(|age| now_ms().saturating_sub(ms(age)) >= at_ms)
    }

    pub(super) fn restart(
        &mut self,
        fresh: bool,
        env: Option<Env>,
        timeout_ms: u64,
        reply: Answer<()>,
    ) {
        if fresh {
            self.record.agent_session_id = Uuid::new_v4();
            self.record.began = false;
            self.record.damage = None;
        }
        if let Some(env) = env {
            self.keep_env(env);
        }
        self.save_record();
        self.deaths = 0;
        self.wakes_at = None;
        self.want_start_in(timeout_ms);
        self.end(EndWhy::Restart, DEFAULT_GRACE_MS, EndWaiter::Restart(reply));
    }
}

impl EndWaiter {
    pub(super) fn killed(self, killed: &Killed) {
        let failure = || EndWhy::Kill.failure();
        match self {
            Self::Kill(reply) => drop(reply.send(Ok(killed.clone()))),
            Self::Stop(reply) => drop(reply.send(Ok(()))),
            Self::Restart(reply) => drop(reply.send(Err(failure()))),
        }
    }

    pub(super) fn stopped(self) {
        let failure = || EndWhy::Stop.failure();
        match self {
            Self::Kill(reply) => drop(reply.send(Err(failure()))),
            Self::Stop(reply) => drop(reply.send(Ok(()))),
            Self::Restart(reply) => drop(reply.send(Err(failure()))),
        }
    }
}

fn to_u32(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}
