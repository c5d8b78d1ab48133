//! The queue: prompts that wait, and turns that are known.

use std::sync::Arc;

use clsess_proto::{ErrorCode, EventKind, Failure, Outcome, Send, TurnId, check_prompt};
use tokio::sync::watch;

use super::ending::EndWhy;
use super::life::{Event, Life};
use super::report::Ended;
use super::task::Session;
use super::turns::Queued;
use super::{Watched, now_ms};
use crate::journal::Record;

/// Turns that may wait in one session; more are refused with
/// [`ErrorCode::TooMany`]. Their prompts wait on disk, not in memory.
const MAX_QUEUE: usize = 10_000;

impl Session {
    /// Takes up what the broker before this one left open: what waited waits again,
    /// what ran is lost.
    pub(super) fn take_up_open_turns(&mut self) {
        for open in self.journal.open_turns() {
            let queued = Queued::new(open.turn, self.feed.last_seq());
            if !open.started {
                self.queue.push_back(queued);
                continue;
            }
            let failure = Failure::new(
                ErrorCode::AgentDied,
                "the broker ended while this turn ran; what became of it is not known",
            );
            self.finish_queued(&queued, Ended::without(Outcome::Unknown, failure));
        }
    }

    /// Journals a prompt and puts it in the queue, or finds the turn of that id.
    pub(super) fn send(&mut self, request: Send) -> Result<Watched, Failure> {
        if self.journal.outcome(request.turn).is_some() {
            let watched = self.known(&request)?;
            if !self.may_run_again(request.turn) {
                return Ok(watched);
            }
        }
        // What is refused now must not run later.
        if let Some(why @ (EndWhy::Stop | EndWhy::Kill)) = self.ending {
            return Err(why.failure());
        }
        check_prompt(&request.prompt)?;
        if self.queue.len() >= MAX_QUEUE {
            let message = format!("{MAX_QUEUE} turns wait already in {}", self.record.name);
            return Err(Failure::new(ErrorCode::TooMany, message));
        }
        let turn = request.turn;
        let seen = self.feed.last_seq();
        self.journal
            .write(&Record::Queued {
                turn,
                at: now_ms(),
                prompt: request.prompt,
                timeout_ms: request.timeout_ms,
                on_question: request.on_question,
            })
            .map_err(|e| {
                let failure = self.journal_failed(&e);
                let message = format!("{}, so nothing was sent", failure.message);
                Failure { message, ..failure }
            })?;
        let durable = self.shared.disk.sync(self.journal.file());
        let ahead = self.queue.len() as u64 + u64::from(self.running.is_some());
        self.tell(Some(turn), EventKind::Queued { ahead });
        let queued = Queued::new(turn, seen);
        let watched = Watched {
            durable: Some(durable),
            ..queued.watched()
        };
        self.queue.push_back(queued);
        self.step(Event::Wanted);
        Ok(watched)
    }

    /// Whether a turn that has ended never reached the agent, for a reason that may
    /// be gone: then its id is as good as new.
    fn may_run_again(&self, turn: TurnId) -> bool {
        let outcome = self.journal.outcome(turn);
        matches!(outcome, Some(Outcome::Failed | Outcome::Cancelled)) && !self.journal.started(turn)
    }

    /// A turn id that was seen before: the same request again, and nothing else.
    pub(super) fn known(&self, request: &Send) -> Result<Watched, Failure> {
        let same = self.journal.prompt(request.turn).as_ref() == Some(&request.prompt);
        if !same {
            return Err(Failure::new(
                ErrorCode::KeyConflict,
                "this key, or turn id, was used for another prompt",
            )
            .hint(format!(
                "clsess result {} {}",
                self.record.name, request.turn
            )));
        }
        self.watch(request.turn)
    }

    /// The turn that `selector` means.
    pub(super) fn result(&mut self, selector: &str) -> Result<Watched, Failure> {
        let turn = self
            .journal
            .select(selector)
            .map_err(|message| Failure::new(ErrorCode::NoSuchTurn, message))?;
        let watched = self.watch(turn)?;
        // A start that failed left it waiting for somebody who looks.
        if self.life == Life::Failed && !self.queue.is_empty() {
            self.step(Event::Wanted);
        }
        Ok(watched)
    }

    pub(super) fn watch(&self, turn: TurnId) -> Result<Watched, Failure> {
        if let Some(running) = self.running.as_ref().filter(|r| r.turn == turn) {
            return Ok(running.watched());
        }
        if let Some(queued) = self.queue.iter().find(|q| q.turn == turn) {
            return Ok(queued.watched());
        }
        if self.journal.outcome(turn).is_none() {
            let message = format!("{} has no turn {turn}", self.record.name);
            return Err(Failure::new(ErrorCode::NoSuchTurn, message));
        }
        let report = self.journal.report(turn).ok_or_else(|| {
            Failure::new(
                ErrorCode::JournalFailed,
                "the journal of this turn is damaged",
            )
        })?;
        Ok(Watched {
            turn,
            // Nobody looks for the events of a turn that is over.
            seen: self.feed.last_seq(),
            end: watch::Sender::new(Some(Arc::new(report))).subscribe(),
            durable: None,
        })
    }

    /// Takes a queued turn back, or interrupts a running one.
    pub(super) fn cancel(&mut self, turn: TurnId) -> Result<Watched, Failure> {
        let watched = self.watch(turn)?;
        if let Some(at) = self.queue.iter().position(|queued| queued.turn == turn) {
            if let Some(queued) = self.queue.remove(at) {
                let failure = Failure::new(ErrorCode::Cancelled, "the turn was taken back");
                self.finish_queued(&queued, Ended::without(Outcome::Cancelled, failure));
            }
        } else if self.running.as_ref().is_some_and(|r| r.turn == turn) {
            self.stop_turn(
                Outcome::Interrupted,
                Failure::new(ErrorCode::Interrupted, "the turn was interrupted"),
            );
        }
        Ok(watched)
    }

    /// Gives the idle agent the next prompt.
    pub(super) fn next_turn(&mut self) {
        while let Some(queued) = self.queue.pop_front() {
            let Some(Record::Queued {
                prompt,
                timeout_ms,
                on_question,
                ..
            }) = self.journal.queued(queued.turn)
            else {
                let failure =
                    Failure::new(ErrorCode::JournalFailed, "the prompt cannot be read back");
                self.finish_queued(&queued, Ended::failed(failure));
                continue;
            };
            let started = Record::Started {
                turn: queued.turn,
                at: now_ms(),
            };
            // A prompt that may run must never look as if it had not: no record, no run.
            if let Err(error) = self.journal.write(&started) {
                let failure = self.journal_failed(&error);
                self.finish_queued(&queued, Ended::failed(failure));
                continue;
            }
            self.begin(queued, &prompt, timeout_ms, on_question);
            return;
        }
        if self.running.is_none() {
            self.feed_rests();
        }
    }

    /// A session at rest keeps no events that nobody reads.
    pub(super) fn feed_rests(&self) {
        if self.life == Life::Idle && !self.feed.is_read() {
            self.feed.clear();
        }
    }
}
