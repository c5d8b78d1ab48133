//! What a session leaves with its agent's holder for the broker after this one, and how that one
//! takes it up.
//!
//! **The rule**: what is done about an agent is written down before the agent can hear of it. A
//! line is put into the outbox, then the notes and the journal are written, then it is sent. So a
//! line in the outbox that nothing was written about was not meant yet, and is taken back; and
//! what was written about is in the outbox, or gone to the agent.
//!
//! What the agent has said since the last time that nothing was open is heard once more by the
//! next broker, by the same code. Nothing else has to be kept of a running turn: its texts, its
//! tools and its questions come again.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use clsess_claude::input::{self, Written, written};
use clsess_claude::record::Home;
use clsess_holder::protocol::Successor;
use clsess_proto::{Driver, OnQuestion, Resolution, TurnId};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::ear::{Ear, Known};
use super::hearing::LATE;
use super::launch::{self, may_go_on};
use super::life::Life;
use super::limits::Limit;
use super::now_ms;
use super::task::Session;
use super::timers::Timers;
use super::turns::{Running, Stop};
use crate::driver::body::Body;
use crate::driver::codex::CodexBody;
use crate::driver::marks::MarksBody;
use crate::driver::stream::{Found, StreamBody};
use crate::driver::tui::TuiBody;

/// What is known for certain up to a line of the agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Accounted {
    /// Everything that the agent had said before this place in its inbox.
    position: u64,
    /// It had said that it is ready.
    pub(super) ready: bool,
    /// It was idle.
    idle: bool,
    /// The length of its transcript then.
    pub(super) transcript: Option<u64>,
    #[serde(flatten)]
    known: Known,
    /// The prompts that it was given since.
    given: Vec<Uuid>,
    /// Its questions that were decided since; of very many the last ones.
    decided: VecDeque<String>,
    /// What it said of an open turn before `position` was too much to be kept.
    lost: bool,
}

/// Bytes of an open turn that are kept to be heard again, in memory. Of a turn that says more a
/// later broker takes the answer from the agent's transcript.
const MAX_KEPT: u64 = 64 * 1024 * 1024;

/// Decided questions that are noted. One that is heard again without having been noted is over
/// as soon as its tool's result is heard.
const MAX_DECIDED: usize = 256;

/// The notes. A field that is missing was not known to the broker that wrote them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Notes {
    accounted: Accounted,
    stopping: Vec<(TurnId, Stop)>,
    answered: VecDeque<(String, Resolution)>,
    said: VecDeque<(String, Uuid)>,
    policies: VecDeque<(Uuid, OnQuestion)>,
    version: Option<String>,
    model: Option<String>,
    background: usize,
    timers: Timers,
    logged_out: bool,
    limit: Option<Limit>,
    /// Whether the agent has had a prompt that is accounted for.
    used: bool,
    /// When they were written, in milliseconds of Unix time: about when the session was used last.
    at: u64,
}

/// Finds the agent that an earlier broker has left in a session's directory.
///
/// # Errors
/// When there is one whose holder does not do what it should.
pub async fn find(dir: &Path, driver: Driver, successor: &Successor) -> io::Result<Option<Found>> {
    let position = |notes: &[u8]| {
        let notes = serde_json::from_slice::<Notes>(notes);
        notes.map_or(0, |notes| notes.accounted.position)
    };
    let found = match driver {
        Driver::Stream | Driver::Oneshot => StreamBody::find(dir, successor, position).await,
        Driver::Tui => TuiBody::find(dir, successor, launch::HISTORY, position).await,
        Driver::Marks => MarksBody::find(dir, successor, launch::ROWS, position).await,
        Driver::Codex => CodexBody::find(dir, successor, launch::HISTORY, position).await,
    };
    if found.is_err() {
        // As if it had died: the agent finishes its turn, and ends.
        launch::kill_holder(dir);
    }
    found
}

impl Session {
    /// Writes down how things stand, if there is an agent.
    pub(super) fn note(&mut self) {
        if let Err(error) = self.noted() {
            tracing::error!(session = %self.record.name, %error, "nothing can be noted with the holder");
        }
    }

    fn noted(&mut self) -> io::Result<()> {
        let with_agent = self.running.iter().chain(&self.steered);
        let stopping = with_agent.filter_map(|running| {
            let (stop, _) = running.stopping.as_ref()?;
            Some((running.turn(), stop.clone()))
        });
        let notes = Notes {
            accounted: self.accounted.clone(),
            stopping: stopping.collect(),
            answered: self.questions.decided.clone(),
            said: self.questions.said.clone(),
            policies: self.policies.clone(),
            version: self.agent_version.clone(),
            model: self.model.clone(),
            background: self.background,
            timers: self.timers.clone(),
            logged_out: self.logged_out,
            limit: self.limit.clone(),
            used: self.used,
            at: now_ms(),
        };
        match &mut self.body {
            Some(body) => body.note(&serde_json::to_vec(&notes)?),
            None => Ok(()),
        }
    }

    /// Nothing is open: what was said so far does not have to be heard again.
    pub(super) fn account(&mut self, idle: bool) {
        let with_agent = self.running.is_some() || !self.steered.is_empty();
        let open = with_agent || self.unasked.is_some() || !self.questions.open.is_empty();
        let Some(body) = &self.body else { return };
        let before = &self.accounted;
        let nothing_new = before.position == body.position() && before.given.is_empty();
        if nothing_new && before.idle == idle {
            return;
        }
        let Some(known) = self.tracker.facts().filter(|_| !open) else {
            return;
        };
        let transcript = idle.then(|| self.transcript_length()).flatten();
        self.accounted = Accounted {
            transcript,
            position: body.position(),
            ready: self.accounted.ready,
            idle,
            known,
            given: Vec::new(),
            decided: VecDeque::new(),
            lost: false,
        };
        self.note();
        if let Some(body) = &mut self.body {
            body.release();
        }
    }

    /// Gives up what is too much to be heard again.
    pub(super) fn keep_within_bounds(&mut self) {
        let position = self.body.as_ref().map_or(0, Body::position);
        if position - self.accounted.position.min(position) < MAX_KEPT {
            return;
        }
        tracing::warn!(session = %self.record.name, "a turn says more than is kept of it");
        self.accounted.position = position;
        self.accounted.idle = self.life == Life::Idle;
        self.accounted.lost = true;
        self.note();
        if let Some(body) = &mut self.body {
            body.release();
        }
    }

    /// Puts a prompt in the way of the agent; it is sent when that has been journalled.
    ///
    /// # Errors
    /// When it cannot be noted: a later broker would give it again. It is to be taken back.
    pub(super) fn put_prompt(&mut self, wire: Uuid, prompt: &str) -> io::Result<()> {
        let Some(body) = &mut self.body else {
            return Ok(());
        };
        body.put(&input::user(wire, prompt), Some(wire));
        if let Body::Tui(body) = body {
            body.is_quiet(self.background == 0);
        }
        self.tracker.types(
            wire,
            prompt,
            may_go_on(&self.record, self.agent_home.as_ref()),
        );
        self.accounted.given.push(wire);
        self.noted()
    }

    /// Takes it back.
    pub(super) fn take_prompt_back(&mut self) {
        if let Some(body) = &mut self.body {
            body.take_back();
            if let Some(wire) = self.accounted.given.pop() {
                self.tracker.does_not_type(wire);
            }
            self.note();
        }
    }

    /// A question is decided, though the agent does not know it yet.
    pub(super) fn decides(&mut self, question: &str) {
        let decided = &mut self.accounted.decided;
        if decided.len() == MAX_DECIDED {
            decided.pop_front();
        }
        decided.push_back(question.to_owned());
    }

    /// Whether an earlier broker has decided a question, which is heard once more.
    pub(super) fn was_decided(&mut self, question: &str) -> bool {
        let at = self.decided_before.iter().position(|id| id == question);
        at.and_then(|at| self.decided_before.remove(at)).is_some()
    }

    /// Writes a line for the agent, if there is one, and how things stand now before it.
    pub(super) fn write_noted(&mut self, line: &[u8]) {
        if let Some(body) = &mut self.body {
            body.put(line, None);
        }
        self.note();
        self.send_all();
    }

    /// Lets the agent have what was put.
    pub(super) fn send_all(&mut self) {
        if let Some(body) = &mut self.body {
            body.send();
        }
    }

    /// A place in what the agent says: the same for every broker that hears it.
    pub(super) fn place(&self) -> Option<String> {
        let body = self.body.as_ref()?;
        let agent = body.agent();
        let (pid, start_time, position) = (agent.pid, agent.start_time, body.position());
        Some(format!("{pid} {start_time} {position}"))
    }

    /// Goes on with the agent that an earlier broker has left. The turns that it had been given
    /// are known by the journal.
    pub(super) fn take_up(&mut self, found: Found) {
        let Found { body, notes } = found;
        tracing::info!(session = %self.record.name, pid = body.agent().pid, "agent found");
        let notes = notes.map_or(Ok(Notes::default()), |notes| serde_json::from_slice(&notes));
        let notes = notes.unwrap_or_else(|error| {
            tracing::error!(session = %self.record.name, %error, "the notes cannot be read");
            Notes::default()
        });
        self.accounted = notes.accounted;
        self.questions.decided = notes.answered;
        self.questions.said = notes.said;
        self.decided_before.clone_from(&self.accounted.decided);
        self.policies = notes.policies;
        self.agent_version = notes.version;
        self.model = notes.model;
        self.background = notes.background;
        self.timers = notes.timers;
        self.logged_out = notes.logged_out;
        self.limit = notes.limit.filter(Limit::holds);
        self.used = notes.used || !self.accounted.given.is_empty() || self.running.is_some();
        self.agent_home = self.kept_home();
        self.tracker = Ear::taken_up(self.driver(), self.accounted.known.clone());
        if launch::remembered(&self.dir) != Some(body.agent()) {
            launch::remember(&self.dir, body.agent(), body.holder());
        }
        self.body = Some(body);
        self.takes_up_wire();
        self.is_of_version(false);
        self.may_come_again();
        self.keep_given();
        self.take_back_unmeant();
        for wire in &self.accounted.given {
            // As many as a broker has given it fit.
            self.tracker.begin(*wire);
        }
        if self.accounted.lost {
            if let Some(running) = &self.running {
                let line = self.journal.line(running.turn());
                self.tracker.goes_on(running.wire, line);
            }
        } else if let Some((wire, prompt)) = self.with_interface() {
            self.tracker.types(wire, &prompt, true);
        }
        for (turn, stop) in notes.stopping {
            self.stops(turn, stop);
        }
        if self.accounted.lost {
            for running in self.running.iter_mut().chain(&mut self.steered) {
                // A tool may have run in it.
                (running.unheard, running.calls) = (true, 1);
            }
        }
        self.life = self.life_found();
        if self.life == Life::Starting {
            self.greet();
            self.may_ask_at_start();
        }
        self.send_all();
        self.seat.found(notes.at, self.may_sleep());
        self.falls_asleep_still();
    }

    /// The prompt that the broker before this one was getting into the interface, or had got there,
    /// or has heard the end of since the agent was at rest.
    pub(super) fn with_interface(&self) -> Option<(Uuid, String)> {
        let Some(Body::Tui(_) | Body::Codex(_)) = self.body else {
            return None;
        };
        let wire = *self.accounted.given.last()?;
        let running = self.running.as_ref().filter(|it| it.wire == wire);
        let prompt = match running {
            Some(running) => self.prompt(&running.asked).ok()?,
            None => self.journal.prompt(TurnId(wire))?,
        };
        Some((wire, prompt))
    }

    /// Where its agent keeps its things; a program has no such place.
    pub(super) fn kept_home(&self) -> Option<Home> {
        match self.driver().is_program() {
            true => None,
            false => launch::home(&self.record, &self.dir),
        }
    }

    /// What was not heard to be taken is looked for, and typed again if it is not there. Of a program
    /// it is given some time first.
    pub(super) fn types_again(&mut self) {
        if let (Some(Body::Marks(_)), Some(running)) = (&self.body, &self.running)
            && !running.begun
        {
            self.late = Some(Instant::now() + LATE);
        }
        let Some((wire, prompt)) = self.with_interface() else {
            return;
        };
        if self.tracker.is_typed(wire) && self.running.is_none() {
            // It was over for the broker before this one.
            self.tracker.does_not_type(wire);
        } else if self.tracker.is_typed(wire) {
            match &mut self.body {
                Some(Body::Tui(body)) => body.type_again(wire, &prompt),
                Some(Body::Codex(body)) => {
                    // Its hook comes again by itself, if there was one.
                    body.awaits(wire);
                    self.tracker.is_unsure();
                    let stopping = self
                        .running
                        .as_ref()
                        .is_some_and(|it| it.stopping.is_some());
                    if stopping {
                        self.tracker.interrupted();
                    }
                    self.late = Some(Instant::now() + LATE);
                }
                _ => {}
            }
        }
    }

    /// What the journal says was given was given to this agent, or to one before it.
    fn keep_given(&mut self) {
        let given = &self.accounted.given;
        let is_given = |running: &Running| given.contains(&running.wire);
        let with_agent = self
            .running
            .take()
            .into_iter()
            .chain(self.steered.drain(..));
        let (given, others): (Vec<_>, Vec<_>) = with_agent.partition(is_given);
        let mut given = given.into_iter();
        self.running = given.next();
        self.steered.extend(given);
        for running in others.into_iter().rev() {
            self.push_front(running.queued_again());
        }
    }

    /// Takes the last line back that the broker before this one had put and not written about.
    fn take_back_unmeant(&mut self) {
        let last = self.body.as_ref().and_then(Body::last_unsent);
        let Some(last) = last else { return };
        let meant = match written(&last) {
            Written::Prompt(wire) => self.with_agent(wire).is_some(),
            Written::Answer(id) => self.accounted.decided.contains(&id),
            Written::Other => true,
        };
        if meant {
            return;
        }
        if let Some(body) = &mut self.body {
            body.take_back();
        }
        if let Written::Prompt(wire) = written(&last) {
            self.accounted.given.retain(|given| *given != wire);
        }
    }

    fn life_found(&self) -> Life {
        if !self.accounted.ready {
            Life::Starting
        } else if self.running.is_some() {
            Life::Working
        } else if self.accounted.idle && self.accounted.given.is_empty() {
            // What it has said since, as it does at rest, is heard before it is given anything
            // (`Session::hear_what_was_said`).
            Life::Idle
        } else {
            // What it says next tells.
            Life::Settling
        }
    }
}

/// A point in time that a later broker can read: how far it is from now, by the clock.
pub(super) fn instant(at_ms: u64) -> Instant {
    let now = now_ms();
    let (ahead, ago) = (at_ms.saturating_sub(now), now.saturating_sub(at_ms));
    let instant = Instant::now() + Duration::from_millis(ahead);
    // Never before the machine's own beginning.
    instant
        .checked_sub(Duration::from_millis(ago))
        .unwrap_or_else(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clsess_proto::{ErrorCode, Failure, Outcome};

    #[test]
    fn notes_are_read_as_they_were_written() {
        let stop = Stop {
            outcome: Outcome::TimedOut,
            failure: Failure::new(ErrorCode::TimedOut, "late").hint("wait"),
        };
        let notes = Notes {
            accounted: Accounted {
                transcript: Some(u64::MAX),
                position: 7,
                ready: true,
                idle: true,
                known: Known::default(),
                given: vec![Uuid::from_u128(1)],
                decided: VecDeque::from(["q".to_owned()]),
                lost: true,
            },
            stopping: vec![(TurnId(Uuid::from_u128(2)), stop)],
            answered: VecDeque::from([("q".to_owned(), Resolution::Denied)]),
            at: 5,
            timers: Timers::default(),
            said: VecDeque::from([("q".to_owned(), Uuid::from_u128(4))]),
            policies: VecDeque::from([(Uuid::from_u128(3), OnQuestion::Wait)]),
            version: Some("2.1.328".to_owned()),
            model: None,
            background: 4,
            logged_out: true,
            used: false,
            limit: None,
        };
        let written = serde_json::to_value(&notes).unwrap();
        let read: Notes = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
        // Of a broker that knew less.
        let less: Notes = serde_json::from_str("{\"accounted\":{\"position\":7}}").unwrap();
        assert_eq!((less.accounted.position, less.accounted.ready), (7, false));
    }
}
