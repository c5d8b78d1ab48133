//! What the agent says: from its lines to what they mean for the session.

use std::path::Path;

use clsess_claude::command::flag_mode;
use clsess_claude::turn::{Happening, Outcome};
use clsess_claude::version::Version;
use clsess_claude::{BadLine, input};
use clsess_proto::{Driver, ErrorCode, EventKind, Failure, TurnId};
use serde_json::Value;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::ear::Told;
use super::launch::{DEFAULT_MODE, transcript};
use super::life::{Event, Life};
use super::now_ms;
use super::queue::unrepresentable;
use super::report::Ended;
use super::task::{Retrying, Session};
use super::{launch, limits};
use crate::codex::tracker::Stopped;
use crate::driver::body::Body;
use crate::journal::Record;

/// The longest JSON of a tool's input in an event; a longer one is replaced by a
/// note of its size.
const MAX_EVENT_JSON: usize = 64 * 1024;

/// How long what belongs together may be apart: hooks are processes. Measured: ±20 ms (facts 11).
pub(super) const LATE: Duration = Duration::from_secs(2);

/// How long the first hook of an interface may take from when that shows that it takes prompts. Measured:
/// 50 ms before or after it.
pub(super) const FIRST_HOOK: Duration = Duration::from_secs(15);

impl Session {
    /// Accounts for the lines that have come.
    pub(super) fn lines(&mut self) {
        // What a hook tells has passed on the wire before.
        self.drain_wire();
        let (mut happenings, mut answers) = (Vec::new(), Vec::new());
        if let Some(Body::Tui(body)) = &self.body {
            self.tracker.is_alone(body.is_alone());
            self.tracker.is_retyped(body.is_retyped());
            self.tracker.more_comes(body.has_hooks_on_their_way());
        }
        if let Some(Body::Codex(body)) = &self.body {
            self.tracker.is_alone(body.is_alone());
        }
        while let Some(line) = self.body.as_mut().and_then(|body| body.line()) {
            match self.tracker.line(line, &mut happenings) {
                Ok(answer) => answers.extend(answer),
                Err(BadLine::Empty) => {}
                Err(bad) => {
                    // Why may quote the line, and that an answer.
                    tracing::warn!(session = %self.record.name, "a bad line of the agent");
                    tracing::debug!(%bad);
                    for running in self.running.iter_mut().chain(&mut self.steered) {
                        running.damaged = true;
                    }
                }
            }
            self.is_prompted();
            for happening in happenings.drain(..) {
                self.happened(happening);
            }
        }
        // Now that what they tell is accounted for.
        for told in answers {
            self.tell_hook(told);
        }
        if let Some(Body::Codex(body)) = &mut self.body {
            body.watches(self.tracker.failed_in());
        }
        if self.life == Life::Starting && self.tracker.runs_no_hooks() {
            let by = Instant::now() + FIRST_HOOK;
            self.start_deadline = Some(self.start_deadline.map_or(by, |at| at.min(by)));
        }
        self.late = match self.tracker.is_due() {
            true => self.late.or(Some(Instant::now() + LATE)),
            false => None,
        };
        self.keep_within_bounds();
    }

    /// What the marks of a program say of its line, before anything is done about it.
    pub(super) fn is_prompted(&mut self) {
        if let (Some(Body::Marks(body)), Some(prompts)) = (&mut self.body, self.tracker.prompts()) {
            body.is_prompted(prompts);
        }
        if let Some(wire) = self.tracker.not_run() {
            self.comes_later(wire);
        }
    }

    /// What should have come of the interface, or of a program, by now has not.
    pub(super) fn is_late(&mut self) {
        if let Some(Body::Marks(body)) = &mut self.body {
            if self.tracker.is_unsure() {
                body.interrupt();
            }
            return;
        }
        if self.tracker.types_again()
            && let Some((wire, prompt)) = self.with_interface()
            && let Some(Body::Codex(body)) = &mut self.body
        {
            body.type_in(wire, &prompt);
        }
        let mut happenings = Vec::new();
        self.tracker.overdue(&mut happenings);
        for happening in happenings {
            self.happened(happening);
        }
    }

    /// What a hook is told. A prompt that it stops was not sent.
    fn tell_hook(&mut self, told: Told) {
        match &mut self.body {
            Some(Body::Tui(body)) => {
                match told.answer {
                    Some(answer) => body.answer(told.hook, answer.into_bytes()),
                    None => body.holds(told.hook),
                }
                if let Some((wire, _)) = told.stopped {
                    body.is_stopped(wire);
                }
            }
            Some(Body::Codex(body)) => {
                body.answer(told.hook, told.answer.unwrap_or_default().into_bytes());
                if told.stopped.is_some() {
                    body.is_taken();
                }
            }
            _ => {}
        }
        match told.stopped {
            Some((wire, Stopped::Altered)) => self.not_sent(wire, true),
            Some((wire, Stopped::TakenBack)) => self.not_sent(wire, false),
            Some((wire, Stopped::Early)) if self.is_stopping(wire) => self.not_sent(wire, false),
            Some((wire, Stopped::Early)) => self.comes_later(wire),
            None => {}
        }
    }

    fn is_stopping(&self, wire: Uuid) -> bool {
        let running = self.running.as_ref().filter(|it| it.wire == wire);
        running.is_some_and(|it| it.stopping.is_some())
    }

    /// A prompt that was typed into the interface was not sent: its turn is over.
    pub(super) fn not_sent(&mut self, wire: Uuid, altered: bool) {
        self.tracker.does_not_type(wire);
        let Some(running) = self.running.take_if(|it| it.wire == wire) else {
            return;
        };
        let ended = match &running.stopping {
            Some((stop, _)) if !altered => stop.clone().into(),
            _ => Ended::failed(unrepresentable(
                self.driver(),
                "it came out otherwise, and nothing was sent",
            )),
        };
        self.finish_running(&running, ended);
        self.step(Event::TurnEnded);
    }

    /// Somebody at the screen was first: a prompt that was typed waits again, for the end of that.
    fn comes_later(&mut self, wire: Uuid) {
        let Some(running) = self.running.take_if(|it| it.wire == wire) else {
            return;
        };
        self.waits_again(running.queued_again());
        self.step(Event::TurnEnded);
    }

    pub(super) fn happened(&mut self, happening: Happening) {
        self.heard_in_lobby(&happening);
        self.happens(happening);
        self.asked_in_lobby();
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            // One that comes when the start was given up comes too late.
            Happening::Ready(_) if self.start_failure.is_some() => {}
            Happening::Ready(_) if self.gives_way() => {}
            Happening::Ready(ready) => {
                self.logged_out = ready.not_logged_in;
                self.accounted.ready = true;
                self.note();
                let first = self.life == Life::Starting;
                self.asks_no_more();
                self.step(Event::Ready);
                if let Some(Body::Tui(body)) = &mut self.body
                    && first
                {
                    body.warm_up();
                }
            }
            Happening::InitFailed { text } if self.life == Life::Starting => {
                let message = format!("the agent refuses to start: {}", text.trim());
                self.abort_start(Failure::new(ErrorCode::AgentStartFailed, message));
            }
            Happening::Version(version) => self.version_told(version),
            Happening::Accepted { uuid, prompt_id } => {
                if let Some(Body::Tui(body)) = &mut self.body {
                    body.is_taken(uuid);
                }
                if let Some(Body::Codex(body)) = &mut self.body {
                    body.is_taken();
                }
                let Some(turn) = self.with_agent(uuid).map(|running| running.turn()) else {
                    return;
                };
                let at = now_ms();
                if let Err(error) = self.journal.write(&Record::Accepted {
                    turn,
                    at,
                    called: false,
                    line: prompt_id,
                }) {
                    // The turn's end says the same, and more.
                    self.journal_failed(&error);
                }
                self.tell(Some(turn), EventKind::Accepted {});
            }
            Happening::Conversation { id } => {
                // The last words of a body that is being replaced mean nothing.
                if self.record.agent_session_id != id && self.life != Life::Ending {
                    self.record.agent_session_id = id;
                    // What somebody begins anew at the screen has no turn yet.
                    self.record.began &= self.driver() != Driver::Tui;
                    self.save_record();
                }
            }
            Happening::PermissionMode { mode } => {
                if self.life != Life::Ending {
                    self.has_mode(&mode);
                }
            }
            Happening::Model { model } => {
                self.record.settings.model = Some(model);
                self.save_record();
            }
            Happening::Begun { uuid } => self.begun(uuid),
            Happening::TurnStarted { asked: None } => self.unasked_began(),
            Happening::TurnEnded { asked, end } => {
                self.retrying = None;
                self.tool = None;
                if let Some(Body::Tui(body)) = &mut self.body {
                    body.turn_is_over();
                }
                if let (Driver::Tui, Some(line)) = (self.driver(), end.prompt_id) {
                    self.line_of_interface = Some(line);
                }
                // Only a result tells it.
                if end.agent_session_id.is_some()
                    && (end.outcome == Outcome::Completed || self.is_written())
                {
                    self.conversation_began();
                }
                self.turn_ended(asked, end);
            }
            Happening::Idle => {
                if let Some(doubt) = &mut self.doubt {
                    doubt.idle = true;
                }
                self.unasked_until = None;
                self.step(Event::Idle);
            }
            Happening::Running => self.step(Event::Busy),
            Happening::BackgroundTasks { count } => self.background = count,
            Happening::Question(question) => self.question(&question),
            Happening::QuestionGone { request_id } => {
                // One that was answered at the screen still has its hook.
                if let (Some(Body::Tui(body)), Ok(hook)) = (&mut self.body, request_id.parse()) {
                    body.let_go(hook);
                }
                self.question_gone(&request_id);
            }
            Happening::UnknownRequest { request_id, .. } => {
                self.write(&input::refuse(&request_id, "not supported by clsess"));
            }
            Happening::Response(_) => {}
            other => self.progress(other),
        }
    }

    /// Somebody may have chosen another permission mode at the screen: the next body has it, too.
    pub(super) fn has_mode(&mut self, mode: &str) {
        let settings = &mut self.record.settings;
        let known = settings.permission_mode.as_deref().unwrap_or(DEFAULT_MODE);
        if flag_mode(known) != flag_mode(mode) {
            settings.permission_mode = Some(flag_mode(mode).to_owned());
            self.save_record();
        }
    }

    /// The client's own word for its version is the one that counts.
    fn version_told(&mut self, version: String) {
        let needed = launch::needed(self.driver());
        let exact = version
            .parse()
            .is_ok_and(|version: Version| version >= needed);
        if !exact && self.life == Life::Starting {
            let program = "claude";
            self.abort_start(launch::too_old(&version, program, needed));
        }
        self.agent_version = Some(version);
    }

    /// Whether the agent has written anything of the conversation down, which it does with the first
    /// prompt, but not of one that is interrupted at once.
    fn is_written(&self) -> bool {
        let cwd = Path::new(&self.record.cwd);
        let found = |home| transcript(home, cwd, self.record.agent_session_id).is_some();
        self.agent_home.as_ref().is_none_or(found)
    }

    /// A turn has ended: the agent has a conversation to lose. What it says before that it may
    /// not have written down yet.
    fn conversation_began(&mut self) {
        // The last words of a body that is being replaced are not of the new conversation.
        if !self.record.began && self.life != Life::Ending {
            self.record.began = true;
            self.save_record();
        }
    }

    /// What a turn says and does on its way, for those who watch.
    pub(super) fn progress(&mut self, happening: Happening) {
        self.heed(&happening);
        let running = self.running.as_mut();
        let (asked, kind) = match happening {
            Happening::MessageStart { asked, again } => {
                if let Some(running) = running
                    && asked == Some(running.wire)
                    && !again
                {
                    running.message_open = true;
                }
                return;
            }
            // An empty piece says nothing: the turn's texts do not count its message.
            Happening::Text { delta, .. } if delta.is_empty() => return,
            Happening::Text { asked, delta } => {
                let mut message = 0;
                if let Some(running) = running
                    && asked == Some(running.wire)
                {
                    running.first_text.get_or_insert_with(Instant::now);
                    running.streamed = true;
                    message = running.message();
                }
                (
                    asked,
                    EventKind::Text {
                        message,
                        text: delta,
                    },
                )
            }
            Happening::Said { asked, text } => {
                // A block that was streamed has been told; one that was not, has not.
                let Some(running) = running.filter(|r| asked == Some(r.wire)) else {
                    return;
                };
                if std::mem::take(&mut running.streamed) || text.is_empty() {
                    return;
                }
                let message = running.message();
                (asked, EventKind::Text { message, text })
            }
            Happening::Thinking { asked, delta } => (asked, EventKind::Thinking { text: delta }),
            Happening::Tool {
                asked,
                subagent: false,
                name,
                input,
                ..
            } => (
                asked,
                EventKind::Tool {
                    name,
                    input: event_json(input.get()),
                },
            ),
            Happening::ToolResult {
                asked,
                subagent: false,
                is_error,
                ..
            } => (asked, EventKind::ToolResult { is_error }),
            Happening::Retry(retry) => (
                running.map(|r| r.wire),
                EventKind::Retry {
                    attempt: retry.attempt,
                    max: retry.max,
                    delay_ms: retry.delay_ms,
                    status: retry.status,
                    error: retry.error.unwrap_or_default(),
                },
            ),
            Happening::RateLimit(limit) => {
                let info = limits::info(limit.status, limit.resets_at, limit.kind);
                (running.map(|r| r.wire), EventKind::RateLimit { info })
            }
            // A subagent's tools, whole blocks after their deltas, the beginning of a run.
            _ => return,
        };
        let turn = match asked {
            Some(wire) => match self.with_agent(wire) {
                Some(running) => Some(running.turn()),
                // An earlier broker has told of it, and of its end.
                None => return,
            },
            None => self.unasked.as_ref().map(|unasked| unasked.turn),
        };
        self.tell(turn, kind);
    }

    /// What a happening says of the session as a whole.
    fn heed(&mut self, happening: &Happening) {
        match happening {
            Happening::Retry(retry) => {
                let error = retry.error.as_deref().unwrap_or("no connection");
                // The wire tells of a try when it is under way, and not of how many.
                let begun = retry.max == 0;
                let of = match begun {
                    true => String::new(),
                    false => format!(" of {}", retry.max),
                };
                self.retrying = Some(Retrying {
                    why: format!("{error}: try {}{of}", retry.attempt),
                    limit: retry.status == Some(429),
                    begun,
                });
            }
            Happening::RateLimit(limit) => self.limit_told(limit),
            Happening::Tool {
                asked,
                subagent,
                id,
                name,
                input,
            } => {
                if name == "ExitPlanMode" {
                    self.questions.plan = Some((id.clone(), input.clone()));
                }
                self.timers.called(id, name, input.get());
                if !subagent {
                    self.tool = Some(name.clone());
                }
                if let Some(running) = asked.and_then(|wire| self.with_agent(wire)) {
                    running.calls += 1;
                    let turn = running.turn();
                    self.called(turn);
                }
            }
            Happening::ToolResult {
                subagent,
                id,
                is_error,
                ..
            } => {
                self.timers.done(id, *is_error);
                if !subagent {
                    self.tool = None;
                }
            }
            Happening::MessageStart { .. } => self.retrying = None,
            _ => {}
        }
    }

    /// Keeps that a tool was called in a turn, once: what is done about the turn after a death of
    /// everything hangs on it, and the agent writes its transcript a little later.
    fn called(&mut self, turn: TurnId) {
        if self.journal.called(turn) {
            return;
        }
        let record = Record::Accepted {
            turn,
            at: now_ms(),
            called: true,
            line: None,
        };
        match self.journal.write(&record) {
            Ok(()) => drop(self.shared.disk.sync(self.journal.file())),
            Err(error) => drop(self.journal_failed(&error)),
        }
    }

    /// Writes a line for the agent, if there is one.
    pub(super) fn write(&mut self, line: &[u8]) {
        if let Some(body) = &mut self.body {
            body.put(line, None);
            body.send();
        }
    }
}

/// A tool's input for an event, bounded.
pub(super) fn event_json(text: &str) -> Value {
    if text.len() > MAX_EVENT_JSON {
        return Value::String(format!("({} bytes)", text.len()));
    }
    serde_json::from_str(text).unwrap_or(Value::Null)
}
