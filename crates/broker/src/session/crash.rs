//! What becomes of turns when their agent dies, and how soon another one is started.

use clsess_claude::record::{CutOff, Fate};
use clsess_claude::turn::{Outcome as Told, TurnEnd};
use clsess_proto::{Driver, ErrorCode, EventKind, Failure, OnCrash, Outcome};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::launch;
use super::life::Event;
use super::report::{Ended, judge};
use super::task::Session;
use super::turns::{Queued, Running};
use crate::journal::Record;

/// How long after the agent's death another one is started, if something waits: at once the first
/// time, later and later when they die one after the other. Beyond that whoever waits is told.
const WAITS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(20),
];

/// How often a turn is taken up again in which the agent dies: it may be the turn that kills it.
const MAX_DEATHS: u32 = 3;

/// What is done about a turn whose agent has died.
enum Next {
    /// It has ended all the same.
    Ended(Ended),
    /// It is given to the next agent; what is in the conversation of it is cut off.
    Again(Option<CutOff>),
    /// Nobody knows.
    Unknown,
}

impl Session {
    /// The agent died with its turns.
    pub(super) fn lose_turn(&mut self) {
        let steered = std::mem::take(&mut self.steered);
        let lost: Vec<Running> = self.running.take().into_iter().chain(steered).collect();
        // The first one goes to the front last.
        for mut running in lost.into_iter().rev() {
            match self.after_death(&mut running) {
                Next::Ended(ended) => self.finish_running(&running, ended),
                Next::Again(cut) => {
                    // Who waits for it may have asked for it again before the agent was gone.
                    let line = self.journal.line(running.turn()).unwrap_or(running.wire);
                    let held = self.holds_lost && running.asked.end.receiver_count() == 0;
                    self.waits_again(Queued {
                        held,
                        ..again(running, cut, line)
                    });
                }
                Next::Unknown => {
                    let ended = self.unknown();
                    self.finish_running(&running, ended);
                }
            }
        }
    }

    fn after_death(&self, running: &mut Running) -> Next {
        let delivered = !self.undelivered.contains(&running.wire);
        let fate = match delivered {
            true => self.fate(running),
            false => Some(Fate::Absent),
        };
        // An empty answer is none to the client: it asks the model once more.
        let is_empty = |end: &TurnEnd| end.outcome == Told::Completed && end.answer.is_empty();
        let fate = match fate {
            Some(Fate::Ended(mut end)) if !is_empty(&end) => {
                // Its transcript has all of it: that is as good as having heard it.
                (end.known_already, running.damaged) = (false, false);
                return Next::Ended(judge(running, end));
            }
            fate => fate,
        };
        if let Some((stop, _)) = running.stopping.take() {
            return Next::Ended(stop.into());
        }
        // One that had to be ended for what it did would do it again.
        if running.asked.terms.deaths >= MAX_DEATHS || (self.misbehaved && delivered) {
            return Next::Unknown;
        }
        // A call is told, and written into the transcript, before anybody is asked whether it may
        // be: those that are still asked about have not started.
        let started = running.calls > running.asking;
        let rerun = running.asked.terms.on_crash == OnCrash::Rerun;
        match fate {
            Some(Fate::Absent) if rerun || !started => Next::Again(None),
            Some(Fate::CutOff(cut)) if !cut.part => {
                let unheard = cut.tools && running.calls == 0;
                match rerun || !(started || unheard) {
                    true => Next::Again(Some(cut)),
                    false => Next::Unknown,
                }
            }
            _ => Next::Unknown,
        }
    }

    /// What the transcript tells of a turn; `None` where there is none to be read.
    fn fate(&self, running: &Running) -> Option<Fate> {
        let home = self.agent_home.as_ref()?;
        let line = self.journal.line(running.turn()).unwrap_or(running.wire);
        launch::fate(home, &self.record, line)
    }

    /// Puts a turn back in front of the queue, and writes that down with its terms as they are
    /// now; whether it waits.
    pub(super) fn waits_again(&mut self, queued: Queued) -> bool {
        match self.queued_on(&queued) {
            Ok(()) => {
                self.push_front(queued);
                true
            }
            Err(failure) => {
                self.finish_queued(&queued, Ended::failed(failure));
                false
            }
        }
    }

    /// Writes down that a turn waits, and on what terms.
    ///
    /// # Errors
    /// When its prompt cannot be read. What the disk does not take is no error: the turn waits
    /// all the same, only the next broker would not know on what terms.
    pub(super) fn queued_on(&mut self, queued: &Queued) -> Result<(), Failure> {
        let record = Record::Queued {
            turn: queued.turn,
            at: queued.at,
            prompt: self.prompt(queued)?,
            terms: queued.terms,
        };
        if let Err(error) = self.journal.write(&record) {
            self.journal_failed(&error);
        }
        Ok(())
    }

    fn unknown(&self) -> Ended {
        let why = self.died.clone();
        let why = why.unwrap_or_else(|| "the agent died".to_owned());
        let hint = match self.own_driver() {
            Driver::Codex => {
                "how far it came is not known; the next send takes its conversation up again"
            }
            Driver::Marks => "how far it came is not known; the next send begins the program anew",
            _ => "what it did is in its conversation; the next send takes it up again",
        };
        let failure = Failure::new(ErrorCode::AgentDied, why).hint(hint);
        Ended::without(Outcome::Unknown, failure)
    }

    /// Starts another agent if something waits: not at once when they die one after the other.
    pub(super) fn wake_after_death(&mut self) {
        self.deaths += 1;
        if !self.has_work() {
            return;
        }
        let died = usize::try_from(self.deaths).unwrap_or(usize::MAX);
        match WAITS.get(died - 1) {
            Some(wait) if wait.is_zero() => self.step(Event::Wanted),
            Some(wait) => self.wakes_at = Some(Instant::now() + *wait),
            None => {
                let often = self.deaths;
                let message = match &self.last_error {
                    Some(last) => format!("{} for the {often}th time in a row", last.message),
                    None => format!("the agent died {often} times in a row"),
                };
                let failure = Failure::new(ErrorCode::AgentDied, message).hint(format!(
                    "clsess show {}; clsess broker logs",
                    self.record.name
                ));
                self.tell(
                    None,
                    EventKind::Error {
                        error: failure.clone(),
                    },
                );
                self.last_error = Some(failure);
                self.deaths = 0;
                self.step(Event::GaveUp);
            }
        }
    }

    /// Something waits that an agent is needed for: it is started, unless one has just died and
    /// its time has not come.
    pub(super) fn want(&mut self) {
        if self.wakes_at.is_none() {
            self.step(Event::Wanted);
        }
    }

    /// The time has come to start another agent.
    pub(super) fn wake_deadline(&mut self, now: Instant) {
        if self.wakes_at.take_if(|at| *at <= now).is_some() && self.has_work() {
            self.step(Event::Wanted);
        }
    }

    /// Whether something waits that may run.
    pub(super) fn has_work(&self) -> bool {
        self.queue.iter().any(|queued| !queued.held)
    }
}

/// As it waits for the next agent. `line`: by which the transcript knows what is left of it.
fn again(running: Running, cut: Option<CutOff>, line: Uuid) -> Queued {
    let mut queued = running.queued_again();
    let terms = &mut queued.terms;
    terms.deaths += 1;
    terms.left = cut.map(|_| line);
    // Of the first turn of all the agent keeps nothing: its transcript is put away.
    if cut.is_some_and(|cut| cut.parent.is_some() && cut.answered || cut.followed) {
        terms.attempt += 1;
    }
    queued
}
