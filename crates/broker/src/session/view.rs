//! The session as others see it.

use std::time::{Duration, UNIX_EPOCH};

use clsess_proto::{ErrorCode, EventKind, Failure, LogEntry, SessionDetail, State, TurnId};

use super::Row;
use super::ending::EndWhy;
use super::life::Life;
use super::limits::Limit;
use super::task::Session;
use super::wire::Wired;
use crate::disk::Promise;
use crate::journal::Journal;

/// Bytes of the journal that one answer of the log reads; who wants more asks again.
const LOG_BYTES: u64 = 1024 * 1024;

impl Session {
    /// Adds to what happened.
    pub(super) fn tell(&self, turn: Option<TurnId>, kind: EventKind) {
        self.feed.push(&self.record.name, turn, kind);
    }

    pub(super) fn state(&self) -> State {
        match self.life {
            Life::Asleep if self.wakes_at.is_some() => State::Restarting,
            Life::Asleep if self.queue.iter().any(|queued| queued.held) => State::Held,
            Life::Asleep => State::Asleep,
            Life::Starting if !self.questions.open.is_empty() => State::Question,
            // Its next child is begun without anybody waiting for it.
            Life::Waiting | Life::Starting if self.starts_ahead() => State::Idle,
            Life::Waiting | Life::Starting => State::Starting,
            Life::Idle if self.limits().is_some() => State::RateLimited,
            Life::Idle if self.logged_out => State::LoginNeeded,
            Life::Idle => State::Idle,
            Life::Working | Life::Settling => self.busy_state(),
            Life::Ending if self.ending == Some(EndWhy::Restart) => State::Restarting,
            Life::Ending if self.ending == Some(EndWhy::Swap) => match self.starts_ahead() {
                true => State::Idle,
                false => State::Starting,
            },
            Life::Ending if self.ending == Some(EndWhy::Sleep) => match self.is_wanted() {
                true => State::Restarting,
                // The agent is still there, if not for long.
                false => State::Idle,
            },
            Life::Ending => State::Ending,
            Life::Gone => State::Gone,
            Life::Failed => State::Failed,
        }
    }

    fn busy_state(&self) -> State {
        if !self.questions.open.is_empty() {
            State::Question
        } else if self.stalled {
            State::Stalled
        } else if self.retrying.as_ref().is_some_and(|it| it.limit) {
            State::RateLimited
        } else {
            State::Working
        }
    }

    /// The limit that keeps something from running, or would.
    fn limits(&self) -> Option<&Limit> {
        let limit = self.limit.as_ref().filter(|limit| limit.holds())?;
        let held = self.queue.iter().any(|queued| self.is_held(queued));
        (limit.told || held).then_some(limit)
    }

    pub(super) fn state_detail(&self, state: State) -> Option<String> {
        match state {
            State::Held => Some(format!(
                "to run what waits: clsess queue {} run",
                self.record.name
            )),
            State::Restarting if self.wakes_at.is_some() => {
                self.last_error.as_ref().map(|f| f.message.clone())
            }
            State::Starting if self.life == Life::Waiting => Some(format!(
                "waits until a warm session may sleep (max_warm = {})",
                self.record.settings.max_warm.unwrap_or_default()
            )),
            State::Failed => self.last_error.as_ref().map(|f| f.message.clone()),
            State::LoginNeeded => Some("the agent is not logged in".to_owned()),
            State::Question => Some(match self.questions.open.as_slice() {
                [one] => one.told.text.lines().next().unwrap_or_default().to_owned(),
                several => format!("{} questions", several.len()),
            }),
            State::Stalled => Some(match &self.tool {
                Some(tool) => format!("no byte for a while; {tool} runs"),
                None => "no byte for a while".to_owned(),
            }),
            State::RateLimited => match (self.limits(), &self.retrying) {
                (Some(limit), _) => Some(format!("until {}", until(limit.until_ms))),
                (None, Some(retrying)) => Some(retrying.why.clone()),
                (None, None) => None,
            },
            State::Working if self.retrying.is_some() => {
                self.retrying.as_ref().map(|it| it.why.clone())
            }
            State::Idle if self.ending == Some(EndWhy::Sleep) => Some("falls asleep".to_owned()),
            State::Idle if matches!(self.life, Life::Ending | Life::Waiting | Life::Starting) => {
                Some("its next child is not there yet".to_owned())
            }
            State::Idle if self.disk_refuses && !self.queue.is_empty() => {
                Some("the journal cannot be written".to_owned())
            }
            State::Idle | State::Working if self.background > 0 => {
                let plural = if self.background == 1 { "" } else { "s" };
                Some(format!("{} background task{plural}", self.background))
            }
            State::Idle if self.has_timer() => Some("the agent has set itself a timer".to_owned()),
            _ => None,
        }
    }

    /// Makes what has changed known: to those who list, and to those who watch.
    pub(super) fn publish(&mut self) {
        self.rests();
        let state = self.state();
        let detail = self.state_detail(state);
        let attached = self.attached() as u64;
        let driver = self.driver().name();
        Row::publish(&self.row, &self.feed, |known| {
            let row = &mut known.row;
            row.name.clone_from(&self.record.name);
            (row.state, row.detail) = (state, detail);
            row.queue = self.queue.len() as u64;
            row.turns = self.journal.totals().turns;
            row.background = self.background as u64;
            row.attached = attached;
            driver.clone_into(&mut row.driver);
            known.active_at = self.active_at;
            known.agent_session_id = self.record.agent_session_id;
            known.holder = self.body.as_ref().map(|body| body.holder().pid);
            known.waits_for_room = self.life == Life::Waiting;
            known.unwritten = self.journal.unwritten() > 0;
        });
    }

    /// It has another name from now on.
    pub(super) fn rename(&mut self, name: String) -> Result<Promise, Failure> {
        self.tell(None, EventKind::Renamed { name: name.clone() });
        self.record.name = name;
        let saved = self.saved_record();
        saved.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))
    }

    pub(super) fn detail(&mut self) -> SessionDetail {
        self.publish();
        let totals = self.journal.totals();
        let any = totals.turns > 0;
        SessionDetail {
            row: self.row.borrow().told(),
            agent_session_id: Some(self.record.agent_session_id),
            command: self.record.settings.command.clone(),
            title: None,
            size: None,
            exit: None,
            pid: self.body.as_ref().map(|body| body.agent().pid),
            holder_pid: self.body.as_ref().map(|body| body.holder().pid),
            agent_version: self.agent_version.clone(),
            model: self.model.clone(),
            usage: any.then_some(totals.usage),
            cost_usd: any.then_some(totals.cost_usd),
            tap: self.wired.as_ref().map(Wired::detail),
            questions: self.open_questions(),
            last_error: self
                .last_error
                .clone()
                .or_else(|| self.lost())
                .or_else(|| self.damage()),
        }
    }

    /// What is wrong with the journal, for as long as it is.
    fn damage(&self) -> Option<Failure> {
        let lines = self.journal.damaged();
        let plural = if lines == 1 { "" } else { "s" };
        let message =
            format!("{lines} damaged line{plural} in the journal: what they said is lost");
        (lines > 0).then(|| {
            let file = self.dir.join(crate::journal::FILE);
            let failure = Failure::new(ErrorCode::JournalFailed, message);
            failure.hint(format!("they are still in {}", file.display()))
        })
    }
}

/// A time as people in any zone read it.
fn until(ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(ms);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Turns of a journal: as in the request of that name.
///
/// # Errors
/// [`ErrorCode::NoSuchTurn`].
pub fn log(
    journal: &Journal,
    selector: Option<&str>,
    after: Option<TurnId>,
    last: Option<u64>,
) -> Result<(Vec<LogEntry>, bool), Failure> {
    let Some(selector) = selector else {
        return Ok(journal.log(after, last, LOG_BYTES));
    };
    let turn = journal.select(selector)?;
    Ok((journal.logged(turn).into_iter().collect(), false))
}
