//! The turn accounting: which line belongs to which turn, when a turn is over, and its answer.
//!
//! What the recordings say (2.1.328):
//! - A run of the agent begins with `system/init` and ends with one `result`; both name the user
//!   lines they answer. A run that names none is nobody's: a background agent reported.
//! - A user line is over at `command_lifecycle` `completed`, or `cancelled` when its turn failed
//!   or was interrupted. It comes after the `result`, but for a line that was steered into a
//!   running turn before it.
//! - `idle` comes last, after the runs that nobody asked for. A uuid that had been run before
//!   gets `completed` without a `result`, or in the process that ran it nothing but `idle`.
//! - A resumed client that goes on with a turn that had died does so under a uuid of its own, and
//!   may say `completed` of ours before the `result` that names it.

mod end;
mod facts;
mod happening;
mod run;

use std::collections::VecDeque;

use uuid::Uuid;

pub use end::{AgentError, ErrorKind, Outcome, TurnEnd};
pub(crate) use end::{ends_with, outcome};
pub use facts::Facts;
pub use happening::{Happening, Question, QuestionKind, Ready};
use happening::{ready, version_row};
pub(crate) use run::Run;

use crate::input::{INITIALIZE, STATUS};
use crate::stream::{
    AssistantLine, Block, Event, EventLine, InitLine, Lifecycle, Line, QuestionLine, ResponseLine,
    ResultLine, State, UserLine,
};
use crate::version::{RECORDED, Version};

/// Bytes of an answer. Beyond it the answer is cut and the turn has failed.
pub const MAX_ANSWER: usize = 16 << 20;
/// Bytes of all texts of a turn. Beyond it the rest is left out (the answer is not).
pub const MAX_TEXTS: usize = 32 << 20;
/// Denials of a turn. Beyond it the rest is left out.
pub const MAX_DENIALS: usize = 256;
/// Turns asked and not yet ended, and user lines of one run. Beyond it `begin` refuses.
pub const MAX_UUIDS: usize = 64;
/// Questions that wait. Beyond it the oldest one's end is not told.
pub const MAX_QUESTIONS: usize = 256;
/// Agents of the agent that are known by the turn that began them; the oldest go.
pub const MAX_AGENTS: usize = 256;

/// The turn accounting of one client process.
#[derive(Debug, Default)]
pub struct Tracker {
    /// Asked and not ended, in the order of `begin`.
    asked: Vec<Asked>,
    run: Option<Run>,
    /// The last turns that have ended in this process; at most [`MAX_UUIDS`], the oldest go.
    done: VecDeque<Uuid>,
    /// The agents of the agent, and the turn of ours that began each.
    agents: VecDeque<(String, Option<Uuid>)>,
    /// Request id and tool call id of the questions that wait.
    questions: Vec<(String, Option<String>)>,
    /// Something runs, as far as the client tells.
    busy: bool,
    /// It prints `session_state_changed`.
    tells_state: bool,
    /// It prints `command_lifecycle`, or names the user lines a run answers.
    tells_uuids: bool,
    /// `Idle` is due after the ends that still wait (clients that do not tell their state).
    idle_due: bool,
    session: Option<Uuid>,
    version: Option<String>,
    total_cost: Option<f64>,
}

/// A turn that was asked for and is not over.
#[derive(Debug)]
struct Asked {
    uuid: Uuid,
    accepted: bool,
    /// Completed or cancelled came before the result (a steered line).
    over: Option<Lifecycle>,
    /// The result came, and waits for the client to say that the line is over.
    end: Option<Box<TurnEnd>>,
}

impl Tracker {
    /// For a client process just started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A user line with this uuid is about to be written. False when too many are open: the line
    /// must not be written.
    #[must_use]
    pub fn begin(&mut self, uuid: Uuid) -> bool {
        if self.asked.iter().any(|asked| asked.uuid == uuid) {
            return true;
        }
        if self.asked.len() >= MAX_UUIDS {
            return false;
        }
        self.asked.push(Asked {
            uuid,
            accepted: false,
            over: None,
            end: None,
        });
        true
    }

    /// The turns begun and not ended.
    pub fn open(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.asked.iter().map(|asked| asked.uuid)
    }

    /// Accounts for one line.
    pub fn line(&mut self, line: Line, out: &mut Vec<Happening>) {
        match line {
            Line::Event(event) => self.event(event, out),
            Line::Assistant(line) => self.assistant(*line, out),
            Line::User(line) => self.user(line, out),
            Line::Result(line) => self.result(*line, out),
            Line::Init(line) => self.init(line, out),
            Line::State(state) => self.state(state, out),
            Line::Status { uuids } => self.claim(&uuids, out),
            Line::Lifecycle { uuid, state } => self.lifecycle(uuid, state, out),
            Line::Question(line) => self.question(*line, out),
            Line::Cancel { request_id } => self.gone(|question| question.0 == request_id, out),
            Line::Response(line) => self.response(*line, out),
            Line::OtherRequest {
                request_id,
                subtype,
            } => out.push(Happening::UnknownRequest {
                request_id,
                subtype,
            }),
            Line::Retry(line) => out.push(Happening::Retry(line)),
            Line::RateLimit(line) => out.push(Happening::RateLimit(line)),
            Line::TaskStarted { id } => self.task_started(id),
            Line::BackgroundTasks { count } => out.push(Happening::BackgroundTasks { count }),
            // the id of the transcript is another one, and comes with the next init
            Line::Reset { .. } | Line::Other => {}
        }
    }

    /// The turn of ours that the run answers.
    fn ours(&self) -> Option<Uuid> {
        let run = self.run.as_ref()?;
        run.uuids
            .iter()
            .copied()
            .find(|uuid| self.asked.iter().any(|asked| asked.uuid == *uuid))
    }

    fn accept(&mut self, uuid: Uuid, out: &mut Vec<Happening>) {
        if let Some(asked) = self
            .asked
            .iter_mut()
            .find(|asked| asked.uuid == uuid && !asked.accepted)
        {
            asked.accepted = true;
            out.push(Happening::Accepted {
                uuid,
                prompt_id: None,
            });
        }
    }

    /// The run answers these lines.
    fn claim(&mut self, uuids: &[Uuid], out: &mut Vec<Happening>) {
        if uuids.is_empty() {
            return;
        }
        self.tells_uuids = true;
        let before = self.ours();
        let run = self.run.get_or_insert_default();
        uuids.iter().for_each(|uuid| run.claim(*uuid));
        let asked = self.ours();
        if let Some(run) = &mut self.run
            && before.is_none()
            && asked.is_some()
            && run.announced_unasked
        {
            let end = run.split();
            out.push(Happening::TurnEnded {
                asked: None,
                end: Box::new(end),
            });
            out.push(Happening::TurnStarted { asked });
        }
        uuids.iter().for_each(|uuid| self.accept(*uuid, out));
    }

    /// The run, told of if it was not. A client that never names user lines answers the first.
    fn running(&mut self, out: &mut Vec<Happening>) -> &mut Run {
        if !self.tells_uuids
            && self.run.as_ref().is_none_or(|run| run.uuids.is_empty())
            && let Some(first) = self.asked.first().map(|asked| asked.uuid)
        {
            self.run.get_or_insert_default().claim(first);
            self.accept(first, out);
        }
        let asked = self.ours();
        let run = self.run.get_or_insert_default();
        if !run.announced {
            run.announced = true;
            run.announced_unasked = asked.is_none();
            out.push(Happening::TurnStarted { asked });
        }
        run
    }

    fn init(&mut self, line: InitLine, out: &mut Vec<Happening>) {
        self.busy = true;
        if let Some(version) = line.version {
            self.version(version, out);
        }
        if let Some(id) = line.session_id {
            self.conversation(id, out);
        }
        self.claim(&line.uuids, out);
        self.running(out);
    }

    fn version(&mut self, version: String, out: &mut Vec<Happening>) {
        if self.version.as_ref() != Some(&version) {
            // It is known to name user lines: what names none is nobody's, the first run too.
            self.tells_uuids |= version
                .parse()
                .is_ok_and(|version: Version| version >= RECORDED);
            self.version = Some(version.clone());
            out.push(Happening::Version(version));
        }
    }

    fn conversation(&mut self, id: Uuid, out: &mut Vec<Happening>) {
        if self.session != Some(id) {
            self.session = Some(id);
            out.push(Happening::Conversation { id });
        }
    }

    fn event(&mut self, line: EventLine, out: &mut Vec<Happening>) {
        if line.subagent {
            return;
        }
        match line.event {
            Event::Text(delta) => {
                self.running(out).piece(&delta);
                out.push(Happening::Text {
                    asked: self.ours(),
                    delta,
                });
            }
            Event::Thinking(delta) => {
                self.running(out);
                let asked = self.ours();
                out.push(Happening::Thinking { asked, delta });
            }
            Event::MessageStart => {
                let again = self.running(out).message_start();
                out.push(Happening::MessageStart {
                    asked: self.ours(),
                    again,
                });
            }
            Event::BlockStop => self.running(out).block_stop(),
            Event::MessageStop { abandoned } => self.running(out).message_stop(abandoned),
            Event::Other => {}
        }
    }

    fn assistant(&mut self, line: AssistantLine, out: &mut Vec<Happening>) {
        if !line.subagent {
            self.running(out);
        }
        let asked = self.ours();
        if let (Some(run), false) = (&mut self.run, line.subagent) {
            match line.api_error {
                true => run.api_error(&line),
                false => line.blocks.iter().for_each(|block| run.block(&line, block)),
            }
        }
        for block in line.blocks {
            match block {
                Block::Text(text) if !line.subagent && !line.api_error => {
                    out.push(Happening::Said { asked, text })
                }
                Block::Tool { id, name, input } => {
                    out.push(Happening::Tool {
                        asked,
                        subagent: line.subagent,
                        id,
                        name,
                        input,
                    });
                }
                _ => {}
            }
        }
    }

    fn user(&mut self, line: UserLine, out: &mut Vec<Happening>) {
        if let (Some(run), false) = (&mut self.run, line.subagent) {
            if line.synthetic {
                run.goes_on();
            }
            if !line.results.is_empty() {
                run.tool_result();
            }
        }
        let asked = self.ours();
        for result in line.results {
            self.gone(|question| question.1.as_ref() == Some(&result.id), out);
            out.push(Happening::ToolResult {
                asked,
                subagent: line.subagent,
                id: result.id,
                is_error: result.is_error,
            });
        }
    }

    fn task_started(&mut self, id: String) {
        if self.agents.len() >= MAX_AGENTS {
            self.agents.pop_front();
        }
        self.agents.push_back((id, self.ours()));
    }

    /// The turn that a question belongs to: of an agent of the agent, that which began it.
    fn asking(&self, line: &QuestionLine) -> Option<Uuid> {
        let agent = line.agent_id.as_ref();
        let known = self.agents.iter().find(|(id, _)| Some(id) == agent);
        known.map_or_else(|| self.ours(), |(_, turn)| *turn)
    }

    fn question(&mut self, line: QuestionLine, out: &mut Vec<Happening>) {
        if self.questions.len() >= MAX_QUESTIONS {
            self.questions.remove(0);
        }
        self.questions
            .push((line.request_id.clone(), line.tool_use_id.clone()));
        let kind = match line.tool.as_str() {
            "AskUserQuestion" => QuestionKind::Question,
            "ExitPlanMode" => QuestionKind::Plan,
            _ => QuestionKind::Permission,
        };
        let asked = self.asking(&line);
        out.push(Happening::Question(Box::new(Question {
            kind,
            line,
            asked,
        })));
    }

    fn gone(
        &mut self,
        is_gone: impl Fn(&(String, Option<String>)) -> bool,
        out: &mut Vec<Happening>,
    ) {
        let gone = self.questions.extract_if(.., |question| is_gone(question));
        out.extend(gone.map(|(request_id, _)| Happening::QuestionGone { request_id }));
    }

    fn response(&mut self, line: ResponseLine, out: &mut Vec<Happening>) {
        match (line.request_id.as_str(), line.error) {
            (INITIALIZE, Some(text)) => out.push(Happening::InitFailed { text }),
            (INITIALIZE, None) => {
                let ready = ready(line.response.as_ref());
                let version = ready.version.clone();
                out.push(Happening::Ready(Box::new(ready)));
                version
                    .into_iter()
                    .for_each(|version| self.version(version, out));
            }
            (STATUS, None) => {
                let version = line.response.as_ref().and_then(version_row);
                version
                    .into_iter()
                    .for_each(|version| self.version(version, out));
            }
            (_, error) => out.push(Happening::Response(Box::new(ResponseLine {
                error,
                ..line
            }))),
        }
    }

    fn state(&mut self, state: State, out: &mut Vec<Happening>) {
        self.tells_state = true;
        match state {
            State::Idle => self.idle(out),
            State::Running => {
                self.busy = true;
                out.push(Happening::Running);
            }
            State::RequiresAction | State::Other => self.busy = true,
        }
    }

    fn idle(&mut self, out: &mut Vec<Happening>) {
        let busy = std::mem::take(&mut self.busy);
        let run = self.run.take();
        for asked in std::mem::take(&mut self.asked) {
            let lost = run
                .as_ref()
                .is_some_and(|run| run.uuids.contains(&asked.uuid));
            match &asked.end {
                Some(_) => self.finish(asked, out),
                None if lost => self.finish(asked.without_result(), out),
                // idle and nothing before it: this process had run the line, and absorbed it
                None if asked.over.is_some() || !busy && self.done.contains(&asked.uuid) => {
                    self.finish(asked.known(), out);
                }
                None => self.asked.push(asked),
            }
        }
        if let Some(run) = run
            && run.announced_unasked
        {
            let end =
                TurnEnd::without_result(Outcome::Failed, Some(ErrorKind::NoResult), NO_RESULT);
            out.push(Happening::TurnEnded {
                asked: None,
                end: Box::new(end),
            });
        }
        self.gone(|_| true, out);
        self.idle_due = false;
        out.push(Happening::Idle);
    }

    fn lifecycle(&mut self, uuid: Uuid, state: Lifecycle, out: &mut Vec<Happening>) {
        self.tells_uuids = true;
        let Some(at) = self.asked.iter().position(|asked| asked.uuid == uuid) else {
            return;
        };
        match state {
            Lifecycle::Queued => {
                self.busy = true;
                self.accept(uuid, out);
            }
            Lifecycle::Started => {
                self.busy = true;
                self.claim(&[uuid], out);
                out.push(Happening::Begun { uuid });
            }
            Lifecycle::Completed | Lifecycle::Cancelled => {
                let run = self.run.as_ref();
                let runs = run.is_some_and(|run| run.uuids.contains(&uuid));
                let absorbed = state == Lifecycle::Completed && self.busy;
                if self.asked[at].end.is_none() && (runs || absorbed) {
                    // its result is still to come: it was steered into the running turn, or a
                    // turn whose client had died goes on, and names it later
                    self.asked[at].over = Some(state);
                    return;
                }
                let asked = self.asked.remove(at);
                let asked = match (&asked.end, state) {
                    (Some(_), _) => asked,
                    (None, Lifecycle::Cancelled) => asked.taken_back(),
                    (None, _) => asked.known(),
                };
                self.finish(asked, out);
                self.idle_if_due(out);
            }
            Lifecycle::Other => {}
        }
    }

    fn result(&mut self, line: ResultLine, out: &mut Vec<Happening>) {
        if self.run.is_none() && line.is_error && line.uuids.is_empty() && line.num_turns == Some(0)
        {
            // unknown --resume id and the like: printed before anything was asked
            let text = if line.errors.is_empty() {
                line.text.unwrap_or_default()
            } else {
                line.errors.join("; ")
            };
            out.push(Happening::InitFailed { text });
            return;
        }
        self.claim(&line.uuids, out);
        self.running(out);
        if let Some(id) = line.session_id {
            self.conversation(id, out);
        }
        let cost = self.cost(&line);
        let Some(mut run) = self.run.take() else {
            return;
        };
        let uuids = std::mem::take(&mut run.uuids);
        let unasked = run.announced_unasked;
        let end = Box::new(run.end(line, cost));
        let mut told = false;
        for uuid in uuids {
            let Some(at) = self.asked.iter().position(|asked| asked.uuid == uuid) else {
                continue;
            };
            told = true;
            self.asked[at].end = Some(end.clone());
            if self.asked[at].over.is_some() || !self.tells_uuids {
                let asked = self.asked.remove(at);
                self.finish(asked, out);
            }
        }
        if unasked || !told {
            out.push(Happening::TurnEnded { asked: None, end });
        }
        self.idle_due = !self.tells_state;
        self.idle_if_due(out);
    }

    /// What this run cost. The client's total runs on, over resumes too.
    fn cost(&mut self, line: &ResultLine) -> Option<f64> {
        let before = std::mem::replace(&mut self.total_cost, line.total_cost_usd);
        line.cost_usd
            .or_else(|| Some((line.total_cost_usd? - before.unwrap_or(0.0)).max(0.0)))
    }

    fn idle_if_due(&mut self, out: &mut Vec<Happening>) {
        if self.idle_due && self.asked.iter().all(|asked| asked.end.is_none()) {
            self.idle_due = false;
            self.busy = false;
            out.push(Happening::Idle);
        }
    }

    /// The client is gone: what it had given a result for is over, though it never said so.
    pub fn gone_with_results(&mut self, out: &mut Vec<Happening>) {
        let over = self.asked.extract_if(.., |asked| asked.end.is_some());
        for asked in over.collect::<Vec<_>>() {
            self.finish(asked, out);
        }
    }

    fn finish(&mut self, asked: Asked, out: &mut Vec<Happening>) {
        self.done.push_back(asked.uuid);
        if self.done.len() > MAX_UUIDS {
            self.done.pop_front();
        }
        if !asked.accepted {
            out.push(Happening::Accepted {
                uuid: asked.uuid,
                prompt_id: None,
            });
        }
        let end = asked.end.unwrap_or_default();
        out.push(Happening::TurnEnded {
            asked: Some(asked.uuid),
            end,
        });
    }
}

const NO_RESULT: &str = "the client went idle without a result";

impl Asked {
    fn known(mut self) -> Self {
        let end = TurnEnd {
            known_already: true,
            ..TurnEnd::without_result(Outcome::Completed, None, "")
        };
        self.end = Some(Box::new(end));
        self
    }

    fn taken_back(mut self) -> Self {
        self.end = Some(Box::new(TurnEnd::without_result(
            Outcome::Interrupted,
            None,
            "",
        )));
        self
    }

    fn without_result(mut self) -> Self {
        let end = TurnEnd::without_result(Outcome::Failed, Some(ErrorKind::NoResult), NO_RESULT);
        self.end = Some(Box::new(end));
        self
    }
}
