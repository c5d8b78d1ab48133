//! Sleep: a session at rest gives its body up and keeps its conversation. The next prompt wakes it,
//! where there is room: a body needs a seat (see [`crate::warm`]).

use clsess_proto::{ErrorCode, Failure};
use tokio::time::{Duration, Instant};

use super::ending::EndWhy;
use super::launch;
use super::life::{Event, Life};
use super::task::Session;
use crate::driver::body::Body;

/// How long an agent that falls asleep may take to end, in milliseconds, before it is told to by a
/// signal. Measured: 40 to 70 ms after its input is closed.
const GRACE_MS: u32 = 10_000;

impl Session {
    /// Whether nobody would miss the agent: it has nothing to do, nothing waits for it, it asks
    /// nothing, nothing of it runs in the background, it has set no timer, and nobody is attached.
    ///
    /// Turns that are held back until somebody says so do not keep it: that may take days. Those
    /// that wait for the end of a limit do.
    pub(super) fn may_sleep(&self) -> bool {
        // What a program knows is in its process alone.
        !self.own_driver().is_program()
            && self.life == Life::Idle
            && !self.has_work()
            && self.unasked.is_none()
            && self.questions.open.is_empty()
            && self.background == 0
            && !self.has_timer()
            && self.row.borrow().row.attached == 0
    }

    /// Keeps since when it may sleep, and the seat only for as long as it is needed.
    pub(super) fn rests(&mut self) {
        let may_sleep = self.may_sleep();
        if may_sleep {
            self.rests_since.get_or_insert_with(Instant::now);
        } else {
            self.rests_since = None;
        }
        match self.life {
            Life::Asleep | Life::Failed | Life::Gone => self.seat.leave(),
            Life::Waiting if !self.is_wanted() => {
                self.seat.leave();
                (self.waits_since, self.start_deadline) = (None, None);
                self.step(Event::Unwanted);
            }
            _ => self.seat.rests(may_sleep),
        }
    }

    /// Somebody has used it without giving it anything to do.
    pub(super) fn used(&mut self) {
        self.rests_since = None;
        self.seat.rests(false);
    }

    /// Takes a seat. A restart has kept its own.
    pub(super) fn seek_room(&mut self) {
        if self.seat.take(self.record.settings.max_warm) {
            self.step(Event::Room);
        } else {
            self.waits_since.get_or_insert_with(Instant::now);
        }
    }

    /// The time that it has waited for room is none of the agent's.
    pub(super) fn has_room(&mut self) {
        if let Some(since) = self.waits_since.take()
            && let Some(deadline) = &mut self.start_deadline
        {
            *deadline += since.elapsed();
        }
    }

    /// It has got a seat, or another session needs its own.
    pub(super) fn seat_changed(&mut self) {
        if self.life == Life::Waiting && self.seat.is_taken() {
            self.step(Event::Room);
        } else if self.seat.is_wanted() && self.may_sleep() {
            self.fall_asleep();
        }
    }

    /// When it has rested for long enough. The clock of [`Instant`] stands still while the machine
    /// sleeps: an agent that was warm when the lid was closed is warm when it is opened.
    pub(super) fn sleep_due(&self) -> Option<Instant> {
        let after = self.record.settings.idle_sleep_ms.filter(|ms| *ms > 0)?;
        let since = self.rests_since.filter(|_| self.may_sleep())?;
        since.checked_add(Duration::from_millis(after))
    }

    /// Ends the body, and nothing else. What is asked of the session meanwhile waits, and wakes it.
    pub(super) fn fall_asleep(&mut self) {
        if let Some(body) = &self.body {
            // A broker that dies now is followed by one that does not take it for an accident.
            launch::remember_sleep(&self.dir, body);
        }
        // Who waits for it need not wait for the end.
        self.seat.leave();
        self.ending = Some(EndWhy::Sleep);
        self.end_in(GRACE_MS);
        self.step(Event::End);
    }

    /// An earlier broker has told the agent to end that was found.
    pub(super) fn falls_asleep_still(&mut self) {
        let closed = self.body.as_ref().is_some_and(Body::is_closed);
        let slept = self.life != Life::Starting && launch::slept(&self.dir);
        if self.running.is_some() || !(closed || slept) {
            return;
        }
        match self.is_used_up() {
            // Another child comes in its place, as it would have.
            true => self.swap(),
            false => self.fall_asleep(),
        }
    }

    /// It sleeps: what has come meanwhile wakes it.
    pub(super) fn fell_asleep(&mut self) {
        if self.is_wanted() {
            self.step(Event::Wanted);
        } else if !self.feed.is_read() {
            self.feed.rest();
        }
    }

    /// Whether anybody waits for the agent: a turn, or somebody who wants it to be ready.
    pub(super) fn is_wanted(&self) -> bool {
        let starts = self.start_waiters.iter().any(|waiter| !waiter.is_closed());
        self.has_work() || starts || !self.coming.is_empty() || self.lobby.is_some()
    }
}

/// What is said of work that a sleep has cut off. Only what the agent began in the very moment can
/// be.
pub(super) fn put_to_sleep() -> Failure {
    Failure::new(ErrorCode::Interrupted, "the session was put to sleep")
}
