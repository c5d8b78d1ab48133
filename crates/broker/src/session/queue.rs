//! The queue: prompts that wait, and turns that are known.

use std::sync::Arc;

use clsess_claude::input;
use clsess_claude::tui::prompt::representable;
use clsess_claude::turn::MAX_UUIDS;
use clsess_proto::{
    Driver, ErrorCode, EventKind, Failure, OnBusy, Outcome, QueuedTurn, Send, TurnId, check_prompt,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::ending::EndWhy;
use super::life::Life;
use super::notes::instant;
use super::report::Ended;
use super::task::Session;
use super::turns::{INTERRUPT_GRACE, INTERRUPTED, Queued, Running, Stop};
use super::{Watched, now_ms};
use crate::codex;
use crate::driver::body::Body;
use crate::journal::{Record, Terms};
use crate::marks::prompt::{Why, carried};

/// Turns that may wait in one session; more are refused with
/// [`ErrorCode::TooMany`]. Their prompts wait on disk, not in memory.
const MAX_QUEUE: usize = 10_000;

/// Turns that a list of the queue shows.
const MAX_LISTED: usize = 1000;

impl Session {
    /// Takes up what the broker before this one left open: what waited waits again, what the
    /// agent was given is with it.
    ///
    /// `held`: the machine has died meanwhile, or all of the session with its broker. What nobody
    /// waits for does not run then before somebody says so.
    pub(super) fn take_up_open_turns(&mut self, held: bool) {
        for open in self.journal.open_turns() {
            let mut queued = match self.journal.queued(open.turn) {
                Some(Record::Queued {
                    at, terms, prompt, ..
                }) => Queued::new(open.turn, at, terms, &prompt),
                // Its prompt is lost, which is said when it is its turn.
                _ => Queued::new(open.turn, 0, Terms::default(), ""),
            };
            queued.held = held;
            match open.started {
                None if queued.terms.first => self.push_front(queued),
                None => self.push_back(queued),
                Some(at) if self.running.is_none() => {
                    self.running = Some(Running::taken_up(queued, at));
                }
                Some(at) => self.steered.push(Running::taken_up(queued, at)),
            }
        }
    }

    /// Journals a prompt and puts it in the queue, or finds the turn of that id.
    pub(super) fn send(&mut self, request: Send) -> Result<Watched, Failure> {
        if self.journal.outcome(request.turn).is_some() {
            let mut watched = self.known(&request)?;
            if !self.may_run_again(request.turn) {
                if request.wait {
                    self.somebody_waits(request.turn);
                } else {
                    watched.nobody_waits();
                    // Who asked before may not have heard that it is on disk, or that it is not.
                    let caught_up = self.journal.catch_up();
                    caught_up.map_err(|error| self.journal_failed(&error))?;
                    watched.durable = Some(self.shared.disk.sync(self.journal.file()));
                }
                return Ok(watched);
            }
        }
        // What is refused now must not run later.
        if let Some(why @ (EndWhy::Stop | EndWhy::Kill)) = self.ending {
            return Err(why.failure());
        }
        check_prompt(&request.prompt)?;
        self.can_carry(&request.prompt, self.own_driver())?;
        if request.on_busy == OnBusy::Fail && self.is_busy() {
            let name = &self.record.name;
            return Err(
                Failure::new(ErrorCode::Busy, format!("{name} is busy")).hint(format!(
                    "clsess wait {name}; --on-busy queue waits by itself"
                )),
            );
        }
        if self.queue.len() >= MAX_QUEUE {
            let message = format!("{MAX_QUEUE} turns wait already in {}", self.record.name);
            return Err(Failure::new(ErrorCode::TooMany, message));
        }
        let turn = request.turn;
        let at = now_ms();
        let interrupts = request.on_busy == OnBusy::Interrupt;
        let terms = Terms {
            timeout_ms: request.timeout_ms,
            on_question: request.on_question,
            on_limit: request.on_limit,
            deadline_at: (request.deadline_ms > 0).then(|| at.saturating_add(request.deadline_ms)),
            first: interrupts,
            on_crash: request.on_crash,
            ..Terms::default()
        };
        let mut queued = Queued::new(turn, at, terms, &request.prompt);
        queued.seen = self.feed.position();
        // What is typed into an interface is put into its turn at a moment of its own choice, and
        // nobody is told when: it waits for its own turn there.
        let steers = matches!(self.driver(), Driver::Stream | Driver::Oneshot);
        queued.steers = request.on_busy == OnBusy::Steer && steers;
        self.journal
            .write(&Record::Queued {
                turn,
                at,
                prompt: request.prompt,
                terms,
            })
            .map_err(|error| self.nothing_sent(&error))?;
        self.disk_takes();
        let durable = self.shared.disk.sync(self.journal.file());
        let waiting = if interrupts {
            0
        } else {
            self.queue.len() as u64
        };
        let ahead = waiting + u64::from(self.running.is_some());
        self.tell(Some(turn), EventKind::Queued { ahead });
        let mut watched = Watched {
            durable: Some(durable),
            ..queued.watched()
        };
        if !request.wait {
            watched.nobody_waits();
        }
        if interrupts {
            self.push_front(queued);
            let stop = Stop::interrupted("another prompt has interrupted the turn");
            self.stop_turn(stop);
        } else {
            self.push_back(queued);
        }
        self.steer_next();
        if self.stalled {
            self.stalls();
        }
        self.fail_those_that_do_not_wait();
        self.want();
        Ok(watched)
    }

    /// Whether a prompt would have to wait for others. An agent that only finishes the turn
    /// that has just been answered is not busy.
    fn is_busy(&self) -> bool {
        let by_itself =
            self.life == Life::Settling && (self.background > 0 || self.unasked.is_some());
        self.running.is_some() || !self.queue.is_empty() || by_itself
    }

    pub(super) fn push_back(&mut self, queued: Queued) {
        self.due_with(&queued);
        self.queue.push_back(queued);
    }

    pub(super) fn push_front(&mut self, queued: Queued) {
        self.due_with(&queued);
        self.queue.push_front(queued);
    }

    fn due_with(&mut self, queued: &Queued) {
        let due = self.queue_due.into_iter().chain(queued.terms.deadline());
        self.queue_due = due.min();
    }

    /// Gives up the turns that have waited for too long.
    pub(super) fn queue_deadlines(&mut self, now: Instant) {
        if self.queue_due.is_none_or(|at| at > now) {
            return;
        }
        self.queue_due = None;
        for queued in std::mem::take(&mut self.queue) {
            if queued.terms.overdue() {
                let message = match queued.terms.deaths {
                    0 => "the turn was given up before it began",
                    _ => "the turn was given up before another agent could finish it",
                };
                let failure = Failure::new(ErrorCode::TimedOut, message)
                    .hint("give it longer with --deadline");
                self.finish_queued(&queued, Ended::without(Outcome::TimedOut, failure));
            } else {
                self.push_back(queued);
            }
        }
    }

    /// Whether the body can carry a prompt as it is.
    fn can_carry(&self, prompt: &str, driver: Driver) -> Result<(), Failure> {
        match driver {
            Driver::Stream | Driver::Oneshot => Ok(()),
            Driver::Tui => representable(prompt)
                .map(drop)
                .map_err(|why| unrepresentable(driver, &why.to_string())),
            Driver::Marks => carried(prompt).map(drop).map_err(not_typed),
            Driver::Codex => codex::prompt::carried(prompt)
                .map(drop)
                .map_err(|why| unrepresentable(driver, &why.to_string())),
        }
    }

    /// Whether a program takes a prompt as it is, as it reads now.
    fn can_type(&mut self, prompt: &str) -> Result<(), Failure> {
        match &mut self.body {
            Some(Body::Marks(body)) => body.typed(prompt).map(drop).map_err(not_typed),
            _ => Ok(()),
        }
    }

    /// Whether a prompt can be given now: to a program only where its line is free.
    fn takes_prompt(&mut self) -> bool {
        let takes = match &mut self.body {
            Some(Body::Marks(body)) => body.takes_prompt(),
            Some(Body::Codex(body)) => return body.is_free(),
            _ => return true,
        };
        if takes {
            // What people did before it is not heard again together with it.
            self.account(true);
        }
        takes
    }

    /// Somebody has done something at a program's terminal: what waits for its line may run now.
    pub(super) fn line_may_be_free(&mut self) {
        let waits = self.life == Life::Idle && !self.queue.is_empty();
        if waits && matches!(self.body, Some(Body::Marks(_) | Body::Codex(_))) {
            self.next_turn();
        }
    }

    /// Puts the next prompt that wants it into the running turn: one at a time, since the
    /// agent would make one prompt of two that it has not taken up yet.
    pub(super) fn steer_next(&mut self) {
        let Some(running) = &self.running else { return };
        let into = running.turn();
        let free = running.stopping.is_none() && self.life == Life::Working;
        // Those that were taken up are kept by the tracker until the end of the turn.
        let room = self.tracker.open() + 1 < MAX_UUIDS;
        if !free || !room || !running.begun || self.steered.iter().any(|steered| !steered.begun) {
            return;
        }
        let Some(at) = self.queue.iter().position(|queued| queued.steers) else {
            return;
        };
        if let Some(queued) = self.started(at) {
            self.steer(queued, into);
        }
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
        let mut watched = self.watch(request.turn)?;
        if watched.end.borrow().is_some() {
            // Who asks again has asked an earlier broker, and not heard all from that one.
            watched.seen = self.feed.begun(request.turn);
        }
        Ok(watched)
    }

    /// The turn that `selector` means.
    pub(super) fn result(&mut self, selector: &str) -> Result<Watched, Failure> {
        let turn = self.journal.select(selector)?;
        let watched = self.watch(turn)?;
        self.somebody_waits(turn);
        Ok(watched)
    }

    /// A turn that waits for want of somebody who waits for it may run: it was held, or its agent
    /// could not be started.
    fn somebody_waits(&mut self, turn: TurnId) {
        if let Some(queued) = self.queue.iter_mut().find(|queued| queued.turn == turn) {
            queued.held = false;
            self.want();
        }
    }

    pub(super) fn watch(&self, turn: TurnId) -> Result<Watched, Failure> {
        let with_agent = self.running.iter().chain(&self.steered);
        let mut open = with_agent.map(|r| &r.asked).chain(&self.queue);
        if let Some(asked) = open.find(|asked| asked.turn == turn) {
            return Ok(asked.watched());
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
            seen: self.feed.position(),
            end: watch::Sender::new(Some(Arc::new(report))).subscribe(),
            durable: None,
        })
    }

    /// Takes a queued turn back, or interrupts a running one.
    pub(super) fn cancel(&mut self, turn: TurnId) -> Result<Watched, Failure> {
        let watched = self.watch(turn)?;
        if self.take_back(turn) {
            return Ok(watched);
        }
        let steered = self.steered.iter().find(|steered| steered.turn() == turn);
        if let Some(begun) = steered.map(|steered| steered.begun) {
            let stop = match begun {
                true => Stop::interrupted("it was left; what its prompt was put into goes on"),
                false => Stop::taken_back(),
            };
            self.stop_steered(turn, stop);
        } else if self.running.as_ref().is_some_and(|r| r.turn() == turn) {
            self.stop_turn(Stop::interrupted(INTERRUPTED));
        }
        Ok(watched)
    }

    /// Takes a turn out of the queue, if it is there.
    fn take_back(&mut self, turn: TurnId) -> bool {
        let at = self.queue.iter().position(|queued| queued.turn == turn);
        let Some(queued) = at.and_then(|at| self.queue.remove(at)) else {
            return false;
        };
        let stop = match queued.terms.deaths {
            0 => Stop::taken_back(),
            _ => Stop::interrupted("the turn was taken back; an agent that died had begun it"),
        };
        self.finish_queued(&queued, stop.into());
        true
    }

    /// Takes waiting turns back: one, or all. Where that was asked for before, those that came
    /// later are left alone, and those that are gone since are told with the others.
    pub(super) fn unqueue(
        &mut self,
        selector: Option<&str>,
        first_asked: Option<u64>,
    ) -> Result<Vec<TurnId>, Failure> {
        let before = first_asked.map_or_else(Vec::new, |at| self.journal.taken_back_since(at));
        let Some(selector) = selector else {
            let meant = |queued: &&Queued| first_asked.is_none_or(|at| queued.at <= at);
            let waiting = self.queue.iter().filter(meant);
            let waiting: Vec<TurnId> = waiting.map(|queued| queued.turn).collect();
            let taken = waiting.into_iter().filter(|turn| self.take_back(*turn));
            return Ok(before.into_iter().chain(taken).collect());
        };
        let none = |message| Failure::new(ErrorCode::NoSuchTurn, message);
        // Counted from the end of the queue, not of the history.
        let back = selector
            .strip_prefix('-')
            .and_then(|back| back.parse().ok());
        let turn = match back {
            Some(back) => {
                let waiting = self.queue.iter().rev().nth(usize::wrapping_sub(back, 1));
                let none = || none(format!("there is no {selector} in the queue"));
                waiting.map(|queued| queued.turn).ok_or_else(none)?
            }
            None => self.journal.select(selector)?,
        };
        if self.take_back(turn) || before.contains(&turn) {
            return Ok(vec![turn]);
        }
        let name = &self.record.name;
        let failure = none(format!("{selector} does not wait in the queue of {name}"));
        let runs = self.running.as_ref().is_some_and(|r| r.turn() == turn);
        Err(if runs {
            failure.hint(format!("it runs; to end it: clsess interrupt {name}"))
        } else {
            failure
        })
    }

    /// The turns that wait.
    pub(super) fn waiting(&self) -> Vec<QueuedTurn> {
        let shown = |queued: &Queued| QueuedTurn {
            turn: queued.turn,
            at: queued.at,
            prompt: queued.begins.clone(),
            waiting: match queued.held {
                true => Some("held".to_owned()),
                false if self.waits_for_own_body(queued) => Some("attached".to_owned()),
                false if self.is_held(queued) => Some("the provider's limit".to_owned()),
                false if self.waits_for_line() => {
                    Some("the line that somebody has begun".to_owned())
                }
                false if self.life == Life::Waiting => Some("room for its agent".to_owned()),
                false => None,
            },
        };
        self.queue.iter().take(MAX_LISTED).map(shown).collect()
    }

    /// Ends what runs: the asked turn, or what the agent does by itself. The turn to wait for.
    /// Where that was asked for before, a turn that began later is not meant.
    pub(super) fn interrupt(&mut self, first_asked: Option<u64>) -> Option<Watched> {
        if let Some(at) = first_asked
            && let Some(turn) = self.journal.interrupted_since(at)
        {
            return self.watch(turn).ok();
        }
        if let (Some(at), Some(running)) = (first_asked, &self.running)
            && running.started > instant(at)
        {
            return None;
        }
        let Some(running) = &self.running else {
            if self.life == Life::Settling {
                self.unasked_until = Some(Instant::now() + INTERRUPT_GRACE);
                self.write(&input::interrupt("clsess-interrupt-unasked"));
            }
            return None;
        };
        let watched = running.asked.watched();
        self.stop_turn(Stop::interrupted(INTERRUPTED));
        Some(watched)
    }

    /// Whether a prompt waits for the end of the interface, which would make another one of it.
    /// Those behind it wait with it.
    fn waits_for_own_body(&self, queued: &Queued) -> bool {
        let prompt = (self.driver() != self.own_driver()).then(|| self.prompt(queued));
        // One that cannot be read fails when it is given.
        let prompt = prompt.and_then(Result::ok);
        prompt.is_some_and(|prompt| self.can_carry(&prompt, self.driver()).is_err())
    }

    /// Whether prompts wait for a person who types at a program's terminal.
    fn waits_for_line(&self) -> bool {
        let free = match &self.body {
            Some(Body::Marks(body)) => body.is_free(),
            Some(Body::Codex(body)) => body.is_free(),
            _ => true,
        };
        self.life == Life::Idle && !free
    }

    /// Gives the idle agent the next prompt that no limit holds back.
    pub(super) fn next_turn(&mut self) {
        if self.gives_way_to_another() {
            return;
        }
        while let Some(at) = self.queue.iter().position(|queued| !self.is_held(queued)) {
            let waits = self.waits_for_own_body(&self.queue[at]);
            if waits || !self.has_it_alone() || !self.takes_prompt() {
                return;
            }
            if let Some(queued) = self.started(at) {
                self.begin(queued);
                return;
            }
            if self.disk_refuses {
                // What is left in the queue waits for it.
                return;
            }
        }
        if self.running.is_none() && self.life == Life::Idle && !self.feed.is_read() {
            self.feed.rest();
        }
    }

    /// Takes a turn out of the queue, puts its prompt in the way of the agent, and writes down that
    /// it is about to have it. What cannot be read has failed; what cannot be written down stays in
    /// the queue, unless somebody waits for it.
    fn started(&mut self, at: usize) -> Option<Queued> {
        let mut queued = self.queue.remove(at)?;
        let left = self.left_in_place(&mut queued);
        let prompt = left.and_then(|()| self.prompt(&queued));
        let prompt = prompt.and_then(|prompt| self.can_type(&prompt).map(|()| prompt));
        let prompt = match prompt {
            Ok(prompt) => prompt,
            Err(failure) => {
                self.finish_queued(&queued, Ended::failed(failure));
                return None;
            }
        };
        let typed = !matches!(self.driver(), Driver::Stream | Driver::Oneshot);
        queued.trimmed = typed && prompt.ends_with('\n');
        let wire = queued.terms.wire(queued.turn);
        let started = Record::Started {
            turn: queued.turn,
            at: now_ms(),
        };
        // A prompt that may run must never look as if it had not: no record, no run.
        let put = self.put_prompt(wire, &prompt);
        if let Err(error) = put.and_then(|()| self.journal.write(&started)) {
            self.take_prompt_back();
            let failure = self.nothing_sent(&error);
            self.queue.insert(at, queued);
            self.fail_queue(&failure);
            return None;
        }
        self.disk_takes();
        drop(self.shared.disk.sync(self.journal.file()));
        Some(queued)
    }

    fn nothing_sent(&mut self, error: &std::io::Error) -> Failure {
        let failure = self.journal_failed(error);
        let message = format!("{}, so nothing was sent", failure.message);
        Failure { message, ..failure }
    }

    /// What an earlier agent has left of this turn is in the conversation where this one was not
    /// started to cut it off: the agent would take the uuid for one that it has run.
    fn left_in_place(&mut self, queued: &mut Queued) -> Result<(), Failure> {
        if queued.terms.left.is_none() || queued.terms.left == self.cut_off {
            return Ok(());
        }
        queued.terms.left = None;
        queued.terms.attempt += 1;
        self.queued_on(queued)
    }

    /// The prompt of a turn, from the journal.
    pub(super) fn prompt(&self, queued: &Queued) -> Result<String, Failure> {
        self.journal
            .prompt(queued.turn)
            .ok_or_else(|| Failure::new(ErrorCode::JournalFailed, "the prompt cannot be read back"))
    }
}

/// The interface would make something else of a prompt.
pub(super) fn unrepresentable(driver: Driver, why: &str) -> Failure {
    let message = format!("the agent's interface cannot carry this prompt unchanged: {why}");
    Failure::new(ErrorCode::Unrepresentable, message).hint(match driver {
        Driver::Codex => "put it into a file, and send a prompt that names that",
        _ => "a session with --driver stream carries every prompt",
    })
}

/// A program would not get a prompt as it is.
fn not_typed(why: Why) -> Failure {
    let message = format!("this prompt cannot be typed into the program: {why}");
    Failure::new(ErrorCode::Unrepresentable, message)
        .hint("put it into a file, and send what makes the program read that")
}
