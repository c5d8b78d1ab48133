//! The session as others see it.

use clsess_proto::{EventKind, SessionDetail, SessionRow, State, TurnId};

use super::Row;
use super::ending::EndWhy;
use super::life::Life;
use super::task::Session;
use crate::driver::stream::StreamBody;

impl Session {
    /// Adds to what happened.
    pub(super) fn tell(&self, turn: Option<TurnId>, kind: EventKind) {
        self.feed.push(&self.record.name, turn, kind);
    }

    pub(super) fn state(&self) -> State {
        match self.life {
            Life::Asleep => State::Asleep,
            Life::Starting => State::Starting,
            Life::Idle => State::Idle,
            Life::Working | Life::Settling => State::Working,
            Life::Ending if self.ending == Some(EndWhy::Restart) => State::Restarting,
            Life::Ending | Life::Gone => State::Ending,
            Life::Failed => State::Failed,
        }
    }

    pub(super) fn state_detail(&self) -> Option<String> {
        match self.life {
            Life::Failed => self.last_error.as_ref().map(|f| f.message.clone()),
            Life::Settling if self.background > 0 => {
                Some(format!("{} background tasks", self.background))
            }
            _ => None,
        }
    }

    pub(super) fn publish(&self) {
        let row = Row {
            row: SessionRow {
                state: self.state(),
                since: self.since,
                detail: self.state_detail(),
                queue: self.queue.len() as u64,
                turns: self.journal.totals().turns,
                ..self.row.borrow().row.clone()
            },
            active_at: self.active_at,
            agent_session_id: self.record.agent_session_id,
        };
        self.row.send_if_modified(|old| {
            let changed = *old != row;
            *old = row;
            changed
        });
    }

    pub(super) fn detail(&self) -> SessionDetail {
        self.publish();
        let totals = self.journal.totals();
        let any = totals.turns > 0;
        SessionDetail {
            row: self.row.borrow().told(),
            agent_session_id: self.record.agent_session_id,
            pid: self.body.as_ref().map(StreamBody::pid),
            holder_pid: self.body.as_ref().and_then(StreamBody::holder_pid),
            agent_version: self.agent_version.clone(),
            model: self.model.clone(),
            usage: any.then_some(totals.usage),
            cost_usd: any.then_some(totals.cost_usd),
            last_error: self.last_error.clone(),
        }
    }
}
