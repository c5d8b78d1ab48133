//! How a turn ended: judged, journalled, told.

use std::sync::Arc;

use clsess_claude::turn::{ErrorKind, Outcome as Told, TurnEnd};
use clsess_proto::{
    Denial, ErrorCode, EventKind, Failure, HookEvent, Outcome, TurnId, TurnReport, Usage,
};
use serde_json::Value;
use tokio::time::Instant;

use super::hearing::event_json;
use super::life::Life;
use super::now_ms;
use super::task::Session;
use super::turns::{End, INTERRUPTED, Queued, Running, Stop, Unasked, ms};
use crate::disk;
use crate::hooks::Happened;
use crate::journal::Record;

/// How a turn ended, before it is told.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) failure: Option<Failure>,
    pub(super) end: Box<TurnEnd>,
}

impl Ended {
    /// It never came to a result.
    pub(super) fn without(outcome: Outcome, failure: Failure) -> Self {
        Self {
            outcome,
            failure: Some(failure),
            end: Box::default(),
        }
    }

    /// It never reached the agent.
    pub(super) fn failed(failure: Failure) -> Self {
        Self::without(Outcome::Failed, failure)
    }
}

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        Self::without(stop.outcome, stop.failure)
    }
}

impl Session {
    pub(super) fn finish_running(&mut self, running: &Running, ended: Ended) {
        let report = self.ran(running, ended);
        self.finish(&running.asked.end, report);
    }

    /// A turn that was put into another one has ended with it, or before it.
    pub(super) fn finish_steered(&mut self, steered: &Running, ended: Ended, into: Option<TurnId>) {
        let report = TurnReport {
            steered_into: into.filter(|_| steered.begun),
            // What it cost is counted once, with the other one.
            usage: None,
            cost_usd: None,
            ..self.ran(steered, ended)
        };
        self.finish(&steered.asked.end, report);
    }

    /// The report of a turn that was with the agent.
    fn ran(&self, running: &Running, ended: Ended) -> TurnReport {
        let since = |at: Instant| ms(at - running.started);
        TurnReport {
            duration_ms: Some(since(Instant::now())),
            ttft_ms: running.first_text.map(since),
            queued_ms: Some(running.queued_ms),
            prompt_trimmed: running.asked.trimmed,
            agent_deaths: running.asked.terms.deaths,
            context_lost: running.asked.context_lost.clone(),
            ..self.report(running.turn(), ended, running.denials.clone())
        }
    }

    /// A turn that nobody asked for has ended.
    pub(super) fn finish_unasked(&mut self, unasked: Unasked, end: Box<TurnEnd>) {
        let (outcome, failure) = match end.outcome {
            Told::Completed => (Outcome::Completed, None),
            Told::Interrupted => (Outcome::Interrupted, None),
            Told::Failed => (Outcome::Failed, Some(agent_failure(&end))),
        };
        let origin = end.origin.clone().unwrap_or_else(|| "agent".to_owned());
        let ended = Ended {
            outcome,
            failure,
            end,
        };
        let report = TurnReport {
            duration_ms: Some(ms(unasked.started.elapsed())),
            origin: Some(origin),
            ..self.report(unasked.turn, ended, unasked.denials)
        };
        let (turn, outcome) = (report.turn, report.outcome);
        // An earlier broker may have heard it, and written it down.
        if self.journal.outcome(turn).is_none() {
            self.write_end(report);
        }
        self.tell(Some(turn), EventKind::Result { outcome });
    }

    pub(super) fn finish_queued(&mut self, queued: &Queued, ended: Ended) {
        let report = TurnReport {
            queued_ms: Some(ms(queued.since.elapsed())),
            agent_deaths: queued.terms.deaths,
            ..self.report(queued.turn, ended, Vec::new())
        };
        self.finish(&queued.end, report);
    }

    pub(super) fn report(
        &self,
        turn: TurnId,
        ended: Ended,
        mut denials: Vec<Denial>,
    ) -> TurnReport {
        let Ended {
            outcome,
            failure,
            end,
        } = ended;
        for denial in &end.permission_denials {
            let denial = Denial {
                tool: denial.tool.clone(),
                input: denial
                    .input
                    .as_ref()
                    .map_or(Value::Null, |i| event_json(i.get())),
            };
            if !denials.contains(&denial) {
                denials.push(denial);
            }
        }
        let completed = outcome == Outcome::Completed;
        let more_than_answer = end.texts.len() > 1 || end.texts.first() != Some(&end.answer);
        TurnReport {
            session: self.record.name.clone(),
            turn,
            outcome,
            prompt_trimmed: false,
            texts: more_than_answer.then_some(end.texts),
            answer: (completed || !end.answer.is_empty()).then_some(end.answer),
            error: failure,
            is_error: end.is_error,
            exit_status: end.exit_status,
            stop_reason: end.stop_reason,
            usage: end
                .usage
                .and_then(|usage| serde_json::from_str::<Usage>(usage.get()).ok()),
            cost_usd: end.cost_usd,
            duration_ms: None,
            ttft_ms: None,
            queued_ms: None,
            model: end.model,
            agent_session_id: end.agent_session_id,
            permission_denials: denials,
            steered_into: None,
            origin: None,
            agent_deaths: 0,
            context_lost: None,
            wire_differs: end.wire_differs,
        }
    }

    /// Journals the end of a turn and tells everybody.
    pub(super) fn finish(&mut self, end: &End, report: TurnReport) {
        let (turn, outcome) = (report.turn, report.outcome);
        self.write_end(report.clone());
        self.hook_of(&report);
        self.last_error.clone_from(&report.error);
        self.tell(Some(turn), EventKind::Result { outcome });
        end.send_replace(Some(Arc::new(report)));
    }

    /// Runs the user's command for the end of a turn that somebody asked for.
    fn hook_of(&self, report: &TurnReport) {
        let event = match report.outcome {
            Outcome::Completed => HookEvent::Done,
            Outcome::Failed | Outcome::TimedOut | Outcome::Unknown => HookEvent::Failed,
            // Somebody wanted it.
            _ => return,
        };
        let error = report.error.as_ref().map(|error| error.message.clone());
        let mut facts = vec![("TURN", report.turn.to_string())];
        facts.extend(error.map(|error| ("MESSAGE", error)));
        let told = serde_json::to_value(report).unwrap_or_default();
        self.run_hook(event, facts, ("turn", told));
    }

    /// Runs the user's command for this.
    pub(super) fn run_hook(
        &self,
        event: HookEvent,
        facts: Vec<(&'static str, String)>,
        told: (&'static str, Value),
    ) {
        let happened = Happened {
            event,
            record: &self.record,
            dir: &self.dir,
            facts,
            told,
        };
        self.shared.hooks.run(&happened, &self.shared.place.socket);
    }

    fn write_end(&mut self, report: TurnReport) {
        let record = Record::Ended {
            at: now_ms(),
            report: Box::new(report),
        };
        if let Err(error) = self.journal.write_end(record) {
            // The answer is there all the same; it is written when the disk takes it.
            self.journal_failed(&error);
        } else {
            drop(self.shared.disk.sync(self.journal.file()));
        }
        if let Err(error) = self.journal.trim() {
            tracing::warn!(session = %self.record.name, %error, "old turns cannot be forgotten");
        }
    }

    /// Says that the journal cannot be written: in the log and the events once, until it can. It
    /// is tried again by itself.
    pub(super) fn journal_failed(&mut self, error: &std::io::Error) -> Failure {
        let failure = Failure::new(
            ErrorCode::JournalFailed,
            format!("the journal cannot be written: {error}"),
        )
        .hint(disk::hint(error));
        self.disk_due
            .get_or_insert_with(|| Instant::now() + disk::AGAIN);
        if !std::mem::replace(&mut self.disk_refuses, true) {
            tracing::error!(session = %self.record.name, %error, "the journal cannot be written");
            let error = failure.clone();
            self.tell(None, EventKind::Error { error });
        }
        failure
    }

    /// The journal has taken a line.
    pub(super) fn disk_takes(&mut self) {
        if std::mem::take(&mut self.disk_refuses) {
            tracing::info!(session = %self.record.name, "the journal can be written again");
        }
    }

    /// Tries again to write what the disk has refused, and goes on.
    pub(super) fn disk_again(&mut self) {
        let unwritten = self.journal.unwritten();
        if let Err(error) = self.journal.catch_up() {
            self.journal_failed(&error);
            return;
        }
        if unwritten > 0 {
            self.disk_takes();
            drop(self.shared.disk.sync(self.journal.file()));
        }
        if self.life == Life::Idle {
            self.next_turn();
        }
    }
}

/// What the end of a turn means for its sender.
pub(super) fn judge(running: &Running, end: Box<TurnEnd>) -> Ended {
    let (outcome, failure) = match (end.outcome, &running.stopping) {
        (Told::Completed, _) if end.known_already => (
            Outcome::Unknown,
            Some(Failure::new(
                ErrorCode::AgentDied,
                "the agent had run this prompt before; its answer is in its conversation",
            )),
        ),
        (Told::Completed, _) if running.damaged || end.cross_check_failed => (
            Outcome::Failed,
            Some(
                Failure::new(
                    ErrorCode::AnswerDamaged,
                    "what the agent printed could not be read whole, so the answer is not proven",
                )
                .hint("clsess result -o json shows what was read; the agent's transcript has the rest"),
            ),
        ),
        // Also when it was done before it could be stopped.
        (Told::Completed, _) => (Outcome::Completed, None),
        (_, Some((stop, _))) => (stop.outcome, Some(stop.failure.clone())),
        (Told::Interrupted, None) => (
            Outcome::Interrupted,
            Some(Failure::new(ErrorCode::Interrupted, INTERRUPTED)),
        ),
        (Told::Failed, None) => (Outcome::Failed, Some(agent_failure(&end))),
    };
    Ended {
        outcome,
        failure,
        end,
    }
}

/// The agent's own error, by our names.
fn agent_failure(end: &TurnEnd) -> Failure {
    let Some(error) = &end.error else {
        return Failure::new(ErrorCode::AgentError, "the agent reported an error");
    };
    let text = error.text.trim();
    let message = if text.is_empty() {
        "the agent reported an error".to_owned()
    } else {
        text.to_owned()
    };
    match error.kind {
        ErrorKind::RateLimited => Failure::new(ErrorCode::RateLimited, message),
        ErrorKind::Overloaded => Failure::new(ErrorCode::Overloaded, message),
        ErrorKind::NotLoggedIn => Failure::new(ErrorCode::NotLoggedIn, message)
            .hint("log the agent in (run: claude, then /login), then: clsess restart NAME"),
        ErrorKind::AnswerTooLong => Failure::new(ErrorCode::AnswerTooLong, message),
        _ => Failure::new(ErrorCode::AgentError, message),
    }
}
