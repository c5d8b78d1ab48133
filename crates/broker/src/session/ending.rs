//! Ending a body, for whatever reason, and what comes after it.

use clsess_proto::{ErrorCode, Failure, Killed};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::Answer;
use super::life::{Event, Life};
use super::task::Session;
use crate::store::Env;

/// How long an agent that is started again may take to end, in milliseconds.
const DEFAULT_GRACE_MS: u64 = 10_000;

/// Why the body is being ended. What is stronger wins when there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EndWhy {
    Restart,
    Stop,
    Kill,
}

/// Who waits for the end.
pub(super) enum EndWaiter {
    Restart(Answer<()>),
    Stop(Answer<()>),
    Kill(Answer<Killed>),
}

impl Session {
    pub(super) fn end(&mut self, why: EndWhy, grace_ms: u64, waiter: EndWaiter) {
        self.ending = self.ending.max(Some(why));
        self.end_waiters.push(waiter);
        self.end_turns(why);
        if let Some(body) = &mut self.body
            && self.life == Life::Ending
        {
            // It is being ended already: this can only make it come sooner.
            body.end(to_u32(grace_ms), false);
        }
        self.end_grace_ms = to_u32(grace_ms);
        self.step(Event::End);
    }

    pub(super) fn end_body(&mut self) {
        let grace = self.end_grace_ms;
        match &mut self.body {
            Some(body) => body.end(grace, false),
            // Still being started: ended as soon as it is there.
            None if self.launching.is_some() => {}
            None => self.step(Event::Ended),
        }
    }

    /// Nothing is left of the body: does what it was ended for.
    pub(super) fn after_end(&mut self) {
        self.body = None;
        self.start_deadline = None;
        match self.ending.take() {
            Some(EndWhy::Kill) => self.forget(),
            Some(EndWhy::Stop) => {
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
            None => {}
        }
    }

    /// Forgets the session: its turns stay readable by its id.
    pub(super) fn forget(&mut self) {
        let began = self.record.began;
        let killed = Killed {
            session: self.record.name.clone(),
            agent_session_id: began.then_some(self.record.agent_session_id),
            cwd: began.then(|| self.record.cwd.clone()),
            error: None,
        };
        self.shared
            .registry
            .remove(&self.record.name, self.record.id);
        if let Err(error) = self.shared.bury(&self.dir, self.record.id) {
            tracing::error!(session = %self.record.name, %error, "cannot move the session away");
        }
        for waiter in self.end_waiters.drain(..) {
            waiter.killed(&killed);
        }
        self.step(Event::Forgotten);
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
        }
        if let Some(env) = env {
            self.keep_env(env);
        }
        self.save_record();
        if timeout_ms > 0 {
            self.start_deadline = Some(Instant::now() + Duration::from_millis(timeout_ms));
        }
        self.end(EndWhy::Restart, DEFAULT_GRACE_MS, EndWaiter::Restart(reply));
    }
}

impl EndWaiter {
    pub(super) fn killed(self, killed: &Killed) {
        let failure = || Failure::new(ErrorCode::Killed, "the session was killed meanwhile");
        match self {
            Self::Kill(reply) => drop(reply.send(Ok(killed.clone()))),
            Self::Stop(reply) => drop(reply.send(Ok(()))),
            Self::Restart(reply) => drop(reply.send(Err(failure()))),
        }
    }

    pub(super) fn stopped(self) {
        let failure = || Failure::new(ErrorCode::BrokerStopping, "the broker is stopping");
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
