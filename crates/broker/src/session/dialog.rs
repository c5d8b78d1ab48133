//! What the agent's interface asks at its start: whether the directory is trusted, whether a key may
//! be used, by which login. It is told as a question, and answered by nobody but a person at the
//! screen: nothing is typed before the interface is ready.

use clsess_claude::stream::Json;
use clsess_claude::tui::dialog::{dialog, takes_prompts};
use clsess_claude::turn::QuestionKind as Kind;
use clsess_proto::{Driver, ErrorCode, Failure, OnQuestion, Question, QuestionKind};
use serde_json::Value;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::life::Life;
use super::now_ms;
use super::questions::Open;
use super::report::Ended;
use super::task::Session;
use crate::driver::body::Body;

/// How long an interface may take to be ready before its screen is looked at. Measured: 0.35 to 0.6 s,
/// and dialogs after 0.25 s.
const LOOK: Duration = Duration::from_secs(2);

impl Session {
    /// The interface has been started, or found on its way to its first prompt.
    pub(super) fn may_ask_at_start(&mut self) {
        if let Some(Body::Tui(_)) = self.body {
            self.dialog_due = Some(Instant::now() + LOOK);
        }
    }

    /// It is ready, or gone.
    pub(super) fn asks_no_more(&mut self) {
        self.dialog_due = None;
        if let Some(id) = self.dialog().map(|open| open.told.id.clone()) {
            self.question_gone(&id);
        }
    }

    fn dialog(&self) -> Option<&Open> {
        let mut open = self.questions.open.iter();
        open.find(|open| open.told.kind == QuestionKind::Dialog)
    }

    /// Whether its start is in the hands of people: it asks, or somebody is at its screen.
    pub(super) fn waits_for_people_at_start(&mut self) -> bool {
        let starts = self.life == Life::Starting;
        starts && (self.dialog().is_some() || self.attached() > 0)
    }

    /// Looks at its screen, and again later: one dialog may follow another.
    pub(super) fn look_for_dialog(&mut self, now: Instant) {
        if self.dialog_due.take_if(|at| *at <= now).is_none() || self.life != Life::Starting {
            return;
        }
        self.dialog_due = Some(now + LOOK);
        let Some(Body::Tui(body)) = &mut self.body else {
            return;
        };
        let screen = body.shown().text();
        let found = dialog(&screen);
        if found.is_none() && takes_prompts(&screen) {
            body.shows_input_box();
        }
        let known = self.dialog().map(|open| open.told.text.as_str());
        if known == found.as_ref().map(|found| found.text.as_str()) {
            return;
        }
        if let Some(id) = self.dialog().map(|open| open.told.id.clone()) {
            self.question_gone(&id);
        }
        let Some(found) = found else { return };
        // It takes as long as people take.
        self.start_deadline = None;
        self.asked_by_itself(Open::by_itself(Question {
            id: Uuid::new_v4().to_string(),
            session: self.record.name.clone(),
            turn: None,
            kind: QuestionKind::Dialog,
            tool: String::new(),
            input: Value::Null,
            text: found.text,
            options: found.choices,
            asked_at: now_ms(),
        }));
        // It is as far as it comes by itself.
        for waiter in self.start_waiters.drain(..) {
            let _ = waiter.send(Ok(()));
        }
        self.fail_those_that_do_not_wait();
    }

    /// Those whose senders do not want to wait for people are told.
    pub(super) fn fail_those_that_do_not_wait(&mut self) {
        let Some(failure) = self.dialog_failure() else {
            return;
        };
        for queued in std::mem::take(&mut self.queue) {
            if queued.terms.on_question == OnQuestion::Wait || queued.held {
                self.queue.push_back(queued);
            } else {
                self.finish_queued(&queued, Ended::failed(failure.clone()));
            }
        }
    }

    /// Why no prompt runs.
    fn dialog_failure(&self) -> Option<Failure> {
        if self.own_driver() != Driver::Tui {
            // It has another body as soon as nobody is attached.
            return None;
        }
        let text = &self.dialog()?.told.text;
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        let message = format!(
            "the agent asks before it begins: {}",
            line.unwrap_or_default()
        );
        let hint = format!(
            "answer it at its screen: clsess attach {}",
            self.record.name
        );
        Some(Failure::new(ErrorCode::Question, message).hint(hint))
    }
}

impl Open {
    /// One that no hook waits for.
    fn by_itself(told: Question) -> Self {
        Self {
            told,
            kind: Kind::Question,
            input: Json::empty(),
            suggestions: None,
            due: None,
        }
    }
}
