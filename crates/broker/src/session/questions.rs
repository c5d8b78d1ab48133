//! Questions of the agent, decided by the policy of the turn that asks.

use clsess_claude::input;
use clsess_claude::turn::{Question, QuestionKind};
use clsess_proto::{Denial, ErrorCode, EventKind, Failure, OnQuestion, TurnId};

use super::hearing::event_json;
use super::task::Session;

/// Denials of one turn that are kept for its report; the rest is only events.
const MAX_DENIALS: usize = 256;

/// What the agent is told when nobody can answer.
const NOBODY: &str = "Nobody is there to answer: this prompt came from a program that runs unattended. \
     Go on without it, and say in your answer what you could not do.";

impl Session {
    /// Decides a question at once.
    pub(super) fn question(&mut self, question: &Question) {
        let line = &question.line;
        let turn = question.asked.map(TurnId);
        let running = self.running.as_mut().filter(|r| Some(r.turn) == turn);
        // What nobody asked for has nobody who could want to fail.
        let policy = running.as_ref().map_or(OnQuestion::Deny, |r| r.on_question);
        let input = event_json(line.input.get());
        if let Some(running) = running
            && running.denials.len() < MAX_DENIALS
        {
            running.denials.push(Denial {
                tool: line.tool.clone(),
                input: input.clone(),
            });
        }
        self.tell(
            turn,
            EventKind::Question {
                tool: line.tool.clone(),
                input: input.clone(),
            },
        );
        let fails = policy == OnQuestion::Fail;
        if fails {
            self.stops_at_question(failure(question));
        }
        self.write(input::deny(&line.request_id, NOBODY, fails));
        self.tell(
            turn,
            EventKind::Denied {
                tool: line.tool.clone(),
                input,
            },
        );
        self.tell(
            turn,
            EventKind::QuestionResolved {
                tool: line.tool.clone(),
                how: "denied".to_owned(),
            },
        );
    }

    /// The agent needs no answer any more; ours is on its way or not wanted.
    pub(super) fn question_gone(&self, request_id: &str) {
        tracing::debug!(session = %self.record.name, request_id, "a question is gone");
    }
}

fn failure(question: &Question) -> Failure {
    let tool = &question.line.tool;
    let what = match question.kind {
        QuestionKind::Permission => format!("the agent asks for permission to use {tool}"),
        QuestionKind::Question => "the agent asks a question".to_owned(),
        QuestionKind::Plan => "the agent asks for approval of its plan".to_owned(),
    };
    Failure::new(ErrorCode::Question, what).hint(
        "allow it beforehand: --permission-mode, or permissions.allow in the agent's settings",
    )
}
