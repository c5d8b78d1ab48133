//! Questions of the agent: decided at once by the policy of the turn that asks, or kept open
//! until somebody answers. The first answer wins; who comes later is told so.

use std::collections::VecDeque;

use clsess_claude::command::flag_mode;
use clsess_claude::input;
use clsess_claude::question::{Kept, answered, kept, words};
use clsess_claude::stream::Json;
use clsess_claude::turn::{Question as Asked, QuestionKind as Kind};
use clsess_proto::{
    Denial, ErrorCode, EventKind, Failure, HookEvent, OnQuestion, Question, QuestionKind,
    Resolution, TurnId,
};
use serde::Serialize;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::ending::EndWhy;
use super::hearing::event_json;
use super::life::Life;
use super::now_ms;
use super::task::Session;
use super::turns::Running;

/// Denials of one turn that are kept for its report; the rest is only events.
const MAX_DENIALS: usize = 256;
/// Questions that are open at a time; more are denied.
const MAX_OPEN: usize = 64;
/// Decided questions that are remembered, for those who answer too late.
const MAX_DECIDED: usize = 64;
/// Arguments of the agent, with what was allowed for the session; more is allowed until its body ends.
const MAX_ARGUMENTS: usize = 256;
/// Characters of the question's id that may stand for it.
const SHORTEST: usize = 4;
/// How long a question waits while nobody waits for its turn, when the session does not say.
const UNWATCHED: Duration = Duration::from_secs(30 * 60);

/// What the agent is told when nobody can answer.
const NOBODY: &str = "Nobody is there to answer: this prompt came from a program that runs unattended. \
     Go on without it, and say in your answer what you could not do.";
/// What the agent is told when somebody says no without a word.
const NO: &str = "The user does not want this. Go on without it, or ask what they want instead.";

/// A question that waits for an answer.
pub(super) struct Open {
    pub(super) told: Question,
    pub(super) kind: Kind,
    pub(super) input: Json,
    pub(super) suggestions: Option<Json>,
    /// When it is denied if nobody waits for its turn.
    pub(super) due: Option<Instant>,
}

/// The questions of one agent.
#[derive(Default)]
pub(super) struct Questions {
    pub(super) open: Vec<Open>,
    /// The last ones that were decided, the newest last.
    pub(super) decided: VecDeque<(String, Resolution)>,
    /// What somebody has said to the last ones, by [`Decision::mark`], so that who says it once
    /// more is not told that somebody else was first.
    pub(super) said: VecDeque<(String, Uuid)>,
    /// The tool call that asks for a plan's approval: its id, and its input with the plan.
    pub(super) plan: Option<(String, Json)>,
}

/// What somebody says to a question.
#[derive(Clone, Debug, Serialize)]
pub enum Decision {
    /// Yes; with the rules that the agent suggests.
    Approve {
        /// Whether the rules too.
        always: bool,
    },
    /// No.
    Deny {
        /// What the agent is told.
        message: Option<String>,
    },
    /// Answers, one for each question that is asked at once.
    Answer(Vec<String>),
}

impl Decision {
    /// The same for the same decision, in every broker.
    fn mark(&self) -> Uuid {
        // Maps with names as keys: it cannot fail.
        let text = serde_json::to_vec(self).unwrap_or_default();
        Uuid::new_v5(&Uuid::NAMESPACE_OID, &text)
    }
}

impl Session {
    /// A question comes.
    pub(super) fn question(&mut self, question: &Asked) {
        let line = &question.line;
        if self.was_decided(&line.request_id) {
            return;
        }
        let asking = question.asked.and_then(|wire| self.with_agent(wire));
        let asking = asking.map(|running| (running.turn(), running.asked.terms.on_question));
        let asked = asking.is_some();
        let policy = match asking {
            Some((_, policy)) => policy,
            // Somebody is there, and may have asked for it.
            None if self.attached() > 0 => OnQuestion::Wait,
            None => self.policy(question),
        };
        let turn = asking.map(|(turn, _)| turn);
        let turn = turn.or(self.unasked.as_ref().map(|unasked| unasked.turn));
        let open = self.opened(question, turn);
        let (id, tool) = (open.told.id.clone(), open.told.tool.clone());
        self.tell(turn, asked_event(&open.told));
        let room = self.questions.open.len() < MAX_OPEN;
        self.questions.open.push(open);
        match policy {
            OnQuestion::Wait if room => {
                self.people_decide();
                self.hook_of_question(&id);
            }
            // What nobody asked for has nobody who could want to fail.
            OnQuestion::Fail if asked => {
                self.stops_at_question(failure(question.kind, &tool));
                self.deny(&id, NOBODY, true);
                // A background agent's question ends that agent only.
                self.write(&input::interrupt(&format!("clsess-interrupt-{id}")));
            }
            _ => self.deny(&id, NOBODY, false),
        }
        tracing::debug!(session = %self.record.name, id = %line.request_id, ?policy, "a question");
    }

    /// One that no hook waits for comes.
    pub(super) fn asked_by_itself(&mut self, open: Open) {
        self.tell(None, asked_event(&open.told));
        let id = open.told.id.clone();
        self.questions.open.push(open);
        self.hook_of_question(&id);
    }

    /// Runs the user's command for a question that waits for people.
    fn hook_of_question(&self, id: &str) {
        let open = self.questions.open.iter().find(|open| open.told.id == id);
        let Some(open) = open else { return };
        let told = &open.told;
        let mut facts = vec![
            ("QUESTION", told.id.clone()),
            ("MESSAGE", told.text.clone()),
        ];
        facts.extend(told.turn.map(|turn| ("TURN", turn.to_string())));
        let told = serde_json::to_value(told).unwrap_or_default();
        self.run_hook(HookEvent::Question, facts, ("question", told));
    }

    /// The policy for a question that belongs to no turn with the agent: that of the turn which
    /// began the agent that asks, or else of the last one.
    fn policy(&self, question: &Asked) -> OnQuestion {
        let mut policies = self.policies.iter().rev();
        let of_last = policies.clone().next();
        let own = policies.find(|(wire, _)| Some(*wire) == question.asked);
        own.or(of_last)
            .map_or(OnQuestion::default(), |(_, policy)| *policy)
    }

    /// How long a question waits while nobody waits for its turn; zero: for ever.
    fn unwatched(&self) -> Duration {
        let unwatched = self.record.settings.question_timeout_ms;
        unwatched.map_or(UNWATCHED, Duration::from_millis)
    }

    fn opened(&self, question: &Asked, turn: Option<TurnId>) -> Open {
        let line = &question.line;
        let call = line.tool_use_id.as_ref();
        let plan = self
            .questions
            .plan
            .as_ref()
            .filter(|(id, _)| Some(id) == call);
        let words = words(question.kind, line, plan.map(|(_, input)| input));
        let unwatched = self.unwatched();
        Open {
            told: Question {
                id: line.request_id.clone(),
                session: self.record.name.clone(),
                turn,
                kind: match question.kind {
                    Kind::Permission => QuestionKind::Permission,
                    Kind::Question => QuestionKind::Question,
                    Kind::Plan => QuestionKind::Plan,
                },
                tool: line.tool.clone(),
                input: event_json(line.input.get()),
                text: words.text,
                options: words.options,
                asked_at: now_ms(),
            },
            kind: question.kind,
            input: line.input.clone(),
            suggestions: line.suggestions.clone(),
            due: (!unwatched.is_zero()).then(|| Instant::now() + unwatched),
        }
    }

    /// Stops the clock of the turns that wait for people, and starts it again.
    fn people_decide(&mut self) {
        let open = &self.questions.open;
        for running in self.running.iter_mut().chain(&mut self.steered) {
            let asks = |open: &Open| open.told.turn == Some(running.turn());
            running.waits_for_people(open.iter().any(asks));
        }
    }

    /// Takes a question off the open ones and tells how it was decided.
    fn decided(&mut self, id: &str, how: Resolution) -> Option<Open> {
        let at = self
            .questions
            .open
            .iter()
            .position(|open| open.told.id == id)?;
        let open = self.questions.open.remove(at);
        self.decides(id);
        self.questions.decided.push_back((id.to_owned(), how));
        if self.questions.decided.len() > MAX_DECIDED {
            self.questions.decided.pop_front();
        }
        // The agent has to say something only from now on.
        self.heard = Instant::now();
        let tool = open.told.tool.clone();
        if how == Resolution::Denied {
            self.denied(&open.told);
        }
        let id = id.to_owned();
        self.tell(
            open.told.turn,
            EventKind::QuestionResolved { id, tool, how },
        );
        self.people_decide();
        Some(open)
    }

    /// Keeps a denial for the report of its turn.
    fn denied(&mut self, question: &Question) {
        let denial = Denial {
            tool: question.tool.clone(),
            input: question.input.clone(),
        };
        self.tell(
            question.turn,
            EventKind::Denied {
                tool: denial.tool.clone(),
                input: denial.input.clone(),
            },
        );
        let mut running = self.running.iter_mut().chain(&mut self.steered);
        let running = running.find(|running| Some(running.turn()) == question.turn);
        let unasked = self.unasked.as_mut();
        let unasked = unasked.filter(|unasked| Some(unasked.turn) == question.turn);
        let denials = running
            .map(|r| &mut r.denials)
            .or(unasked.map(|u| &mut u.denials));
        if let Some(denials) = denials
            && denials.len() < MAX_DENIALS
        {
            denials.push(denial);
        }
    }

    fn deny(&mut self, id: &str, message: &str, interrupt: bool) {
        if self.decided(id, Resolution::Denied).is_some() {
            self.write_noted(&input::deny(id, message, interrupt));
        }
    }

    /// The agent needs no answer any more; ours is on its way or not wanted.
    pub(super) fn question_gone(&mut self, request_id: &str) {
        self.decided(request_id, Resolution::Withdrawn);
    }

    /// No question outlives its agent.
    pub(super) fn questions_gone(&mut self) {
        while let Some(open) = self.questions.open.first() {
            let id = open.told.id.clone();
            self.decided(&id, Resolution::Withdrawn);
        }
        self.questions.plan = None;
    }

    /// The open questions.
    pub(super) fn open_questions(&self) -> Vec<Question> {
        let open = self.questions.open.iter();
        open.map(|open| open.told.clone()).collect()
    }

    /// Somebody answers. With `again` they may have done so before, and nothing is to be done
    /// if that is what was answered.
    pub(super) fn decide(
        &mut self,
        question: Option<&str>,
        decision: Decision,
        again: bool,
    ) -> Result<Option<Question>, Failure> {
        let mark = decision.mark();
        if let Some(question) = question.filter(|_| again)
            && self.questions.said.contains(&(question.to_owned(), mark))
        {
            return Ok(None);
        }
        let open = self.open_question(question)?;
        if open.told.kind == QuestionKind::Dialog {
            let message = "this is asked at the agent's own screen, and answered there";
            let hint = format!("clsess attach {}", self.record.name);
            return Err(Failure::new(ErrorCode::BadAnswer, message).hint(hint));
        }
        let (id, told) = (open.told.id.clone(), open.told.clone());
        let always = matches!(decision, Decision::Approve { always: true });
        let rules = open.suggestions.clone().filter(|_| always);
        let (how, line) = answer_line(open, decision, &self.record.name)?;
        let said = &mut self.questions.said;
        if said.len() == MAX_DECIDED {
            said.pop_front();
        }
        said.push_back((id.clone(), mark));
        self.decided(&id, how);
        self.write_noted(&line);
        if let Some(rules) = rules {
            self.keep(&kept(&rules));
        }
        Ok(Some(told))
    }

    /// What somebody has allowed for the session holds in its next bodies, too.
    fn keep(&mut self, kept: &Kept) {
        let settings = &mut self.record.settings;
        let before = settings.clone();
        if let Some(mode) = &kept.mode {
            settings.permission_mode = Some(flag_mode(mode).to_owned());
        }
        for argument in &kept.arguments {
            if !settings.agent_args.contains(argument) && settings.agent_args.len() < MAX_ARGUMENTS
            {
                settings.agent_args.push(argument.clone());
            }
        }
        if *settings != before {
            self.save_record();
        }
    }

    /// The open question that is meant.
    fn open_question(&self, wanted: Option<&str>) -> Result<&Open, Failure> {
        let name = &self.record.name;
        let open = &self.questions.open;
        let none = |message| Failure::new(ErrorCode::NoSuchQuestion, message);
        let Some(wanted) = wanted else {
            return match open.as_slice() {
                [one] => Ok(one),
                [] if self.life == Life::Ending && self.ending != Some(EndWhy::Swap) => {
                    Err(none(format!("{name} is being ended, and asks nothing")))
                }
                [] => Err(match self.questions.decided.back() {
                    Some((_, how)) => {
                        none(format!("{name} asks nothing; the last question was {how}"))
                    }
                    None => none(format!("{name} asks nothing")),
                }),
                several => Err(Failure::new(
                    ErrorCode::BadRequest,
                    format!("{name} asks {} questions: say which one", several.len()),
                )
                .hint(format!("clsess questions {name}"))),
            };
        };
        let short = wanted.len() < SHORTEST;
        let is = |id: &str| id == wanted || (!short && id.starts_with(wanted));
        let mut found = open.iter().filter(|open| is(&open.told.id));
        match (found.next(), found.next()) {
            (Some(open), None) => return Ok(open),
            (Some(_), Some(_)) => {
                let message = format!("several questions begin with {wanted}");
                return Err(Failure::new(ErrorCode::BadRequest, message));
            }
            (None, _) => {}
        }
        match self.questions.decided.iter().rev().find(|(id, _)| is(id)) {
            Some((_, how)) => Err(Failure::new(
                ErrorCode::QuestionAnswered,
                format!("too late: this question was {how} already"),
            )),
            None => Err(none(format!("{name} has no question {wanted}"))
                .hint(format!("clsess questions {name}"))),
        }
    }

    /// When the next question is to be denied because nobody looks.
    pub(super) fn question_due(&self) -> Option<Instant> {
        self.questions.open.iter().filter_map(|open| open.due).min()
    }

    /// Denies what nobody looks at; what somebody does gets the same time again.
    pub(super) fn question_deadlines(&mut self, now: Instant) {
        let again = now + self.unwatched();
        let mut ignored = Vec::new();
        let watched: Vec<TurnId> = self
            .running
            .iter()
            .chain(&self.steered)
            .filter(|running| running.asked.end.receiver_count() > 0)
            .map(Running::turn)
            .collect();
        for open in &mut self.questions.open {
            if open.due.is_none_or(|at| at > now) {
                continue;
            }
            if open.told.turn.is_some_and(|turn| watched.contains(&turn)) {
                open.due = Some(again);
            } else {
                ignored.push(open.told.id.clone());
            }
        }
        for id in ignored {
            self.deny(&id, NOBODY, false);
        }
    }
}

/// What is written for a decision, and what it is called.
fn answer_line(
    open: &Open,
    decision: Decision,
    name: &str,
) -> Result<(Resolution, Vec<u8>), Failure> {
    let id = &open.told.id;
    let bad =
        |message: &str, hint: String| Err(Failure::new(ErrorCode::BadAnswer, message).hint(hint));
    match (decision, open.kind) {
        (Decision::Deny { message }, _) => {
            let message = message.as_deref().unwrap_or(NO);
            Ok((Resolution::Denied, input::deny(id, message, false)))
        }
        (Decision::Approve { .. }, Kind::Question) => bad(
            "this is a question, not a permission: it wants an answer",
            format!("clsess answer {name} TEXT"),
        ),
        (Decision::Approve { always: true }, _) if open.suggestions.is_none() => bad(
            "the agent suggests no rule for this, so it cannot be approved for always",
            format!("clsess approve {name}"),
        ),
        (Decision::Approve { always }, _) => {
            let rules = open.suggestions.as_ref().filter(|_| always);
            Ok((Resolution::Approved, input::allow(id, &open.input, rules)))
        }
        (Decision::Answer(texts), Kind::Question) => match answered(&open.input, &texts) {
            Ok(input) => Ok((Resolution::Answered, input::allow(id, &input, None))),
            Err(why) => bad(&why, format!("clsess questions {name}")),
        },
        (Decision::Answer(_), _) => bad(
            "this is no question with an answer, but something to approve or deny",
            format!("clsess approve {name}; clsess deny {name} -m TEXT"),
        ),
    }
}

fn asked_event(question: &Question) -> EventKind {
    EventKind::Question {
        id: question.id.clone(),
        kind: question.kind,
        tool: question.tool.clone(),
        input: question.input.clone(),
        text: question.text.clone(),
        options: question.options.clone(),
    }
}

fn failure(kind: Kind, tool: &str) -> Failure {
    let what = match kind {
        Kind::Permission => format!("the agent asks for permission to use {tool}"),
        Kind::Question => "the agent asks a question".to_owned(),
        Kind::Plan => "the agent asks for approval of its plan".to_owned(),
    };
    Failure::new(ErrorCode::Question, what).hint(
        "allow it beforehand (--permission-mode, or permissions.allow in the agent's settings), or answer it: --on-question wait",
    )
}
