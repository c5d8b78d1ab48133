//! The turn accounting of the interface: hooks, OSC 7501 and the registry in, the same happenings
//! out as of a stream-json child ([`crate::turn`]).
//!
//! What the measurements say (2.1.328, facts 3, 4, 10 to 13):
//! - The hook of a prompt shows what will be on the wire, before it is sent: our prompt is known
//!   by its text, and what is not exactly that is stopped there.
//! - All hooks of a turn carry its `prompt_id`; those of a prompt that is typed while a turn runs
//!   carry the running turn's. Hooks may overtake each other by some milliseconds.
//! - `Stop` is the end, and says the last message's text. The last piece of that message comes
//!   before it or after it. After an interrupt there is no `Stop`, only `idle`.
//! - 7501 is a level: of turns that last for milliseconds it may say nothing.
//!
//! An end that no hook told of is in the transcript, and the happening says so: a hook that is
//! lost makes a turn slower, never wrong. How long to wait for what is on its way is the caller's
//! to say: [`Tracker::is_due`], [`Tracker::overdue`].

mod asking;
mod facts;
mod gate;
mod state;

use std::collections::VecDeque;

use uuid::Uuid;

use super::hooks::{Call, Hook};
use super::run::{How, Rest, Run};
use crate::turn::Happening;
use crate::wire::Fact;

use asking::Asking;
pub use facts::Facts;
use gate::Waiting;
pub use gate::{Reply, Verdict};
use state::Level;

/// Turns that are remembered after their end, so that what comes late is not taken for another's.
const MAX_ENDED: usize = 16;

/// The turn accounting of one interface.
#[derive(Debug, Default)]
pub struct Tracker {
    /// The prompt that was typed, until its hook comes.
    waiting: Option<Waiting>,
    run: Option<Run>,
    /// Nobody else has typed since the prompt was.
    alone: bool,
    /// The last prompt of ours, and whether it may come twice.
    last: String,
    retyped: bool,
    /// Hooks are on their way: what they tell may belong before the end.
    more_comes: bool,
    /// The `prompt_id`s of the last turns that have ended; the oldest go.
    ended: VecDeque<String>,
    asking: Asking,
    level: Level,
    /// It tells its state by OSC 7501.
    tells_status: bool,
    /// A turn has ended, and the client has not said since that it is at rest.
    idle_due: bool,
    ready: bool,
    /// It shows that it takes prompts.
    shows_ready: bool,
    /// A hook has come: they are run. Without them a prompt would go out that nobody hears of.
    runs_hooks: bool,
    /// Other hooks may make the model go on after `Stop`: it is the end only when the client is
    /// at rest too, some 20 ms later.
    stop_is_not_all: bool,
    /// Skills were used, which may have hooks of their own.
    has_skills: bool,
    /// A whole turn has ended of which not one word was told: this client has no such hook.
    mute: bool,
    background: usize,
    session: Option<Uuid>,
    version: Option<String>,
    /// The permission mode that was told last.
    mode: Option<String>,
}

impl Tracker {
    /// For an interface just started. `other_stop_hooks`: as [`Self::has_other_stop_hooks`].
    #[must_use]
    pub fn new(other_stop_hooks: bool) -> Self {
        Self {
            stop_is_not_all: other_stop_hooks,
            ..Self::default()
        }
    }

    /// Whether there are hooks for `Stop` that are not ours, and may make the model go on: each end
    /// is then told when the client is at rest. One of a skill may come with it, too.
    pub fn has_other_stop_hooks(&mut self, other_stop_hooks: bool) {
        self.stop_is_not_all = other_stop_hooks || self.has_skills;
    }

    /// A prompt is about to be typed. False while another one is, or a turn runs: it must not be.
    #[must_use]
    pub fn begin(&mut self, uuid: Uuid, prompt: &str) -> bool {
        if self.run.is_some() || self.waiting.is_some() {
            return self.open().any(|open| open == uuid);
        }
        self.waiting = Some(Waiting::new(uuid, prompt));
        true
    }

    /// Whether the last prompt of ours may have been entered twice: the second one is stopped.
    pub fn is_retyped(&mut self, retyped: bool) {
        self.retyped = retyped;
    }

    /// Whether hooks are on their way that have not told anything yet. They are processes, and
    /// overtake each other: the end of a turn waits for them.
    pub fn more_comes(&mut self, more: bool) {
        self.more_comes = more;
    }

    /// Whether nobody else has typed since the prompt that waits was: what comes then is that one.
    /// Otherwise it is known by its words.
    pub fn is_alone(&mut self, alone: bool) {
        self.alone = alone;
    }

    /// The prompt that was typed and whose hook did not come yet.
    #[must_use]
    pub fn typed(&self) -> Option<Uuid> {
        self.waiting.as_ref().map(|waiting| waiting.uuid)
    }

    /// The prompt that was typed will not be sent: its hook never came, and the box is empty.
    pub fn withdraw(&mut self, uuid: Uuid) {
        self.waiting.take_if(|waiting| waiting.uuid == uuid);
    }

    /// A turn that was accepted already goes on: another broker heard its beginning. Its end will
    /// be looked for in the transcript.
    pub fn take_up(&mut self, uuid: Uuid, prompt_id: Option<String>) {
        (self.ready, self.runs_hooks) = (true, true);
        let mut run = Run::new(Some(uuid), prompt_id);
        run.taken_up = true;
        self.run = Some(run);
    }

    /// We have told the running turn to end ([`super::typing::ESCAPE`]).
    pub fn interrupted(&mut self) {
        if let Some(run) = &mut self.run {
            run.stopping = true;
        }
    }

    /// The turns begun and not ended.
    pub fn open(&self) -> impl Iterator<Item = Uuid> + '_ {
        let running = self.run.as_ref().and_then(|run| run.asked);
        self.typed().into_iter().chain(running)
    }

    /// Accounts for a hook. `id` is its own, by which it is answered: the `request_id` of a
    /// question.
    pub fn hook(&mut self, id: &str, call: Call, out: &mut Vec<Happening>) -> Reply {
        self.runs_hooks = true;
        if self.shows_ready && self.is_ready(out) && self.level == Level::Busy {
            out.push(Happening::Running);
        }
        if let Some(mode) = &call.permission_mode
            && call.agent.is_none()
            && self.mode.as_ref() != Some(mode)
        {
            self.mode = Some(mode.clone());
            let mode = mode.clone();
            out.push(Happening::PermissionMode { mode });
        }
        match call.hook {
            Hook::Prompt { .. } => return Reply::Prompt(self.prompt(call, out)),
            Hook::Permission { .. } => {
                self.permission(id, call, out);
                return Reply::Held;
            }
            Hook::SessionStart { .. } => self.conversation(call.session, out),
            Hook::Tool { ref name, .. } => {
                if name == "Skill" {
                    (self.has_skills, self.stop_is_not_all) = (true, true);
                }
                self.tool(call, out);
            }
            Hook::ToolDone { .. } | Hook::ToolsDone { .. } => self.tool(call, out),
            Hook::SubagentStart { agent } => {
                let asked = self.asked();
                self.asking.agent_began(agent, asked);
            }
            Hook::SubagentStop { agent } => self.asking.gone_of(Some(&agent), out),
            // of a subagent, which the main conversation does not show
            _ if call.agent.is_some() => {}
            Hook::Display {
                message,
                index,
                last,
                delta,
                ..
            } => {
                self.mute = false;
                if let Some(run) = self.of_turn(call.prompt_id, out) {
                    run.display(message, index, (delta, last), out);
                    self.end_if_complete(out);
                }
            }
            Hook::Stop {
                last_message,
                background,
                again,
            } => {
                if self.background != background {
                    self.background = background;
                    out.push(Happening::BackgroundTasks { count: background });
                }
                if let Some(run) = self.of_turn(call.prompt_id, out) {
                    run.stop(last_message.unwrap_or_default(), again);
                    self.asking.gone_of(None, out);
                    self.end_if_complete(out);
                }
            }
            Hook::StopFailure {
                error,
                last_message,
            } => {
                if self.of_turn(call.prompt_id, out).is_some() {
                    self.finish(&How::Failed(error, last_message.unwrap_or_default()), out);
                }
            }
            // The others were nobody's choice.
            Hook::ModelSwitch {
                model,
                source: Some(source),
            } if matches!(&*source, "command" | "picker") => out.push(Happening::Model { model }),
            Hook::ModelSwitch { .. }
            | Hook::SessionEnd { .. }
            | Hook::Notification { .. }
            | Hook::Other(_) => {}
        }
        self.end_if_complete(out);
        Reply::Nothing
    }

    /// Accounts for what passes on the wire, where that is read. What is not of the running turn means
    /// nothing: residue of an earlier one never gets into the next.
    pub fn wire(&mut self, fact: &Fact, out: &mut Vec<Happening>) {
        if let Some(run) = &mut self.run {
            run.wired.fact(run.asked, fact, out);
        }
    }

    /// The connection of a held hook is over: it was answered by us, or the client gave it up.
    pub fn released(&mut self, id: &str, out: &mut Vec<Happening>) {
        self.asking.gone(|held| held.id == id, out);
    }

    /// Something is on its way that takes milliseconds: when it has not come within the caller's
    /// bound, [`Self::overdue`].
    #[must_use]
    pub fn is_due(&self) -> bool {
        match &self.run {
            Some(run) if run.stopped.is_some() => {
                !self.stop_is_not_all || self.level != Level::Busy
            }
            Some(run) => run.rested.is_some() || run.stopping && self.level == Level::Unknown,
            None => self.idle_due && matches!(self.level, Level::Rest | Level::Unknown),
        }
    }

    /// It did not come: what is known decides.
    pub fn overdue(&mut self, out: &mut Vec<Happening>) {
        if self.is_due() && self.run.is_some() {
            self.finish_as_it_is(out);
        }
        if self.is_due() {
            self.idle(out);
        }
    }

    /// The client is gone: a turn that has told its end is over.
    pub fn gone_with_results(&mut self, out: &mut Vec<Happening>) {
        if self.run.as_ref().is_some_and(|run| run.stopped.is_some()) {
            self.finish(&How::Stopped, out);
        }
        self.asking.gone(|_| true, out);
    }

    /// The running turn's, if it is ours.
    fn asked(&self) -> Option<Uuid> {
        self.run.as_ref().and_then(|run| run.asked)
    }

    /// The turn that a hook of the conversation belongs to: the running one, or one that begins
    /// with it and that nobody asked for. `None` for what comes late.
    fn of_turn(&mut self, id: Option<String>, out: &mut Vec<Happening>) -> Option<&mut Run> {
        let ended = id.as_ref().is_some_and(|id| self.ended.contains(id));
        let own = self.run.as_ref().map(|run| &run.prompt_id);
        match (own, id) {
            (Some(Some(own)), Some(id)) if *own != id => {
                if ended {
                    return None;
                }
                // the turn before is over, and nobody said how: interrupted, with a prompt queued
                self.finish_as_it_is(out);
                self.start(None, Some(id), out);
            }
            (Some(None), _) if ended => return None,
            (Some(None), id) => {
                if let Some(run) = &mut self.run {
                    run.prompt_id = id;
                }
            }
            (Some(_), _) => {}
            // until it has been at rest, the turn that has ended is the one that may be late
            (None, _) if ended && (self.idle_due || self.level != Level::Busy) => return None,
            (None, id) => self.start(None, id, out),
        }
        self.run.as_mut()
    }

    fn start(&mut self, asked: Option<Uuid>, id: Option<String>, out: &mut Vec<Happening>) {
        if let Some(uuid) = asked {
            let prompt_id = id.as_ref().and_then(|id| id.parse().ok());
            out.push(Happening::Accepted { uuid, prompt_id });
            out.push(Happening::Begun { uuid });
        } else {
            out.push(Happening::Running);
        }
        self.idle_due = false;
        self.run = Some(Run::new(asked, id));
        out.push(Happening::TurnStarted { asked });
    }

    fn end_if_complete(&mut self, out: &mut Vec<Happening>) {
        let complete = self.run.as_ref().is_some_and(|run| {
            let all = run.is_complete() || self.mute && run.stopped.is_some();
            all && !self.more_comes && (run.rested.is_some() || !self.stop_is_not_all)
        });
        if complete {
            self.finish(&How::Stopped, out);
        }
    }

    /// Ends the turn by what is known of it.
    fn finish_as_it_is(&mut self, out: &mut Vec<Happening>) {
        let Some(run) = &self.run else { return };
        let how = match &run.rested {
            _ if run.stopped.is_some() => How::Stopped,
            Some(Rest::Failed(text)) => How::Failed(None, text.clone()),
            // by us, or by somebody at the screen
            Some(Rest::Idle) => How::Interrupted,
            None if run.stopping => How::Interrupted,
            _ => How::Elsewhere,
        };
        self.finish(&how, out);
    }

    fn finish(&mut self, how: &How, out: &mut Vec<Happening>) {
        let Some(run) = self.run.take() else { return };
        self.mute |= run.is_mute();
        self.ended.extend(run.prompt_id.clone());
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
        let (asked, rested) = (run.asked, run.rested.is_some());
        let mut end = Box::new(run.end(how));
        end.agent_session_id = self.session;
        let silent = self.stop_is_not_all && !rested && self.level == Level::Unknown;
        end.may_go_on = silent && matches!(how, How::Stopped);
        end.doubtful |= end.may_go_on;
        self.asking.gone_of(None, out);
        out.push(Happening::TurnEnded { asked, end });
        self.idle_due = true;
        if rested {
            self.idle(out);
        }
    }

    fn conversation(&mut self, id: Option<Uuid>, out: &mut Vec<Happening>) {
        if let Some(id) = id
            && self.session != Some(id)
        {
            self.session = Some(id);
            out.push(Happening::Conversation { id });
        }
    }
}
