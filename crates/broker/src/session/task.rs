//! The session's task: one loop that owns the body, the queue and the journal.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use clsess_claude::input::{self, Initialize};
use clsess_claude::record::Home;
use clsess_claude::turn::{ErrorKind, Outcome, TurnEnd};
use clsess_holder::protocol::Exit;
use clsess_proto::{
    DetachReason, Driver, ErrorCode, EventKind, Failure, HookEvent, OnQuestion, State,
};
use clsess_tap::Seen;
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, sleep_until};
use uuid::Uuid;

use super::conversation::Refused;
use super::ear::Ear;
use super::ending::{END_SLACK, EndWaiter, EndWhy};
use super::hearing::FIRST_HOOK;
use super::launch::{self, Launched};
use super::life::{self, Action, Event, Life};
use super::limits::Limit;
use super::notes::Accounted;
use super::questions::Questions;
use super::report::Ended;
use super::swap::{Coming, Lobby, of_lobby};
use super::timers::Timers;
use super::turns::{Doubt, Queued, Running, Unasked};
use super::wire::{Wired, of_wire};
use super::writers::Writers;
use super::{Answer, COMMANDS, Command, Handle, Row, now_ms, view};
use crate::broker::Shared;
use crate::disk::Promise;
use crate::driver::body::Body;
use crate::driver::orphans::{self, Process};
use crate::driver::stream::{BodyEvent, Found};
use crate::feed::Feed;
use crate::journal::Journal;
use crate::screen::Face;
use crate::store::{self, Env, SessionRecord};
use crate::warm::Seat;

/// How long an agent may take to be ready when nobody waits with a time of their
/// own: the wake-up by a queued turn.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a busy agent may give no byte before it is called stalled, when the session
/// does not say.
const STALL_AFTER: Duration = Duration::from_secs(5 * 60);

/// How long an agent may live on that has closed one of its pipes. Measured: one that ends
/// does so within 40 ms.
const LEAVING: Duration = Duration::from_secs(2);

/// Those that may wait for one start; more are refused. It may wait for room for a long time.
const MAX_START_WAITERS: usize = 1000;

/// What an agent that is ended because it hangs gets before SIGKILL.
const HUNG_GRACE_MS: u32 = 2000;

/// What a session is begun from.
#[derive(Debug)]
pub struct Seed {
    /// As it is kept.
    pub record: SessionRecord,
    /// Its directory under the state directory.
    pub dir: PathBuf,
    /// Its turns.
    pub journal: Journal,
    /// The environment for the first start; absent: the kept one.
    pub env: Option<Env>,
    /// Whether it is taken up from an earlier broker.
    pub taken_up: bool,
    /// Its agent, where that broker's lives and is held.
    pub found: Option<Found>,
    /// Its agent, where that broker's may live and nobody holds it.
    pub left: Option<Process>,
    /// What waits is held back until somebody says that it may run.
    pub held: bool,
}

/// Everything that can wake the task.
enum Wake {
    Command(Option<Command>),
    Launched(Box<Result<Launched, Refused>>),
    Body(BodyEvent),
    /// Something passes between the agent and its provider.
    Wire(Seen),
    /// The agent is gone that nobody held.
    LeftAgentGone,
    /// There is room, or another session needs some.
    Seat,
    /// Of those in the lobby.
    Lobby(Face),
    Deadline,
}

pub(super) type Launching =
    Pin<Box<dyn Future<Output = Result<Launched, Refused>> + std::marker::Send>>;

/// A request to the provider that is tried again.
pub(super) struct Retrying {
    /// In words.
    pub(super) why: String,
    /// It was refused for a limit.
    pub(super) limit: bool,
    /// The try is under way: something should be heard of it.
    pub(super) begun: bool,
}

/// An agent that nobody holds any more, and its end.
pub(super) struct Left {
    process: Process,
    gone: Pin<Box<dyn Future<Output = ()> + std::marker::Send>>,
}

/// The session as its task holds it.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) record: SessionRecord,
    pub(super) dir: PathBuf,
    /// For the next start only; afterwards the kept one is read.
    pub(super) env: Option<Env>,
    pub(super) journal: Journal,
    pub(super) feed: Arc<Feed>,
    pub(super) row: watch::Sender<Row>,
    pub(super) life: Life,
    pub(super) active_at: u64,
    pub(super) queue: VecDeque<Queued>,
    /// No turn that waits has to be given up before this.
    pub(super) queue_due: Option<Instant>,
    pub(super) running: Option<Running>,
    /// Those that were put into the running one, oldest first.
    pub(super) steered: Vec<Running>,
    /// What the agent does without having been asked to.
    pub(super) unasked: Option<Unasked>,
    /// What becomes of questions, in the last turns, by the uuid of their lines: agents that they
    /// began may ask later.
    pub(super) policies: VecDeque<(Uuid, OnQuestion)>,
    pub(super) questions: Questions,
    /// The provider's limit that was reached last.
    pub(super) limit: Option<Limit>,
    /// The agent said that it is not logged in.
    pub(super) logged_out: bool,
    /// The request to the provider that the agent tries again.
    pub(super) retrying: Option<Retrying>,
    /// The tool that runs.
    pub(super) tool: Option<String>,
    /// When the agent last gave a byte.
    pub(super) heard: Instant,
    /// Whether that is too long ago.
    pub(super) stalled: bool,
    pub(super) body: Option<Body>,
    /// What passes between it and its provider, where that is read.
    pub(super) wired: Option<Wired>,
    /// That can no longer be: it has to be started anew.
    pub(super) wire_lost: bool,
    /// What that is, or the next one is to be.
    pub(super) embodied: Driver,
    /// Whether it was given a prompt.
    pub(super) used: bool,
    /// The last turn that has ended in it, as its transcript knows it.
    pub(super) line_of_interface: Option<Uuid>,
    /// Until when those may come again who were attached under an earlier broker.
    pub(super) comes_again: Option<Instant>,
    /// Those that wait for the interface.
    pub(super) coming: Vec<Coming>,
    /// Those that wait for the end of a turn.
    pub(super) lobby: Option<Lobby>,
    /// The agent that runs a turn to its end though nobody hears it.
    pub(super) left: Option<Left>,
    pub(super) tracker: Ear,
    /// Until when what is on its way from the interface is waited for.
    pub(super) late: Option<Instant>,
    /// The end of the running turn, while it is looked for.
    pub(super) doubt: Option<Doubt>,
    /// What need not be heard again by a later broker.
    pub(super) accounted: Accounted,
    /// Questions that an earlier broker has decided, and that are still to be heard again.
    pub(super) decided_before: VecDeque<String>,
    pub(super) launching: Option<Launching>,
    pub(super) start_deadline: Option<Instant>,
    /// Why the start has failed, when the body is still there to be ended.
    pub(super) start_failure: Option<Failure>,
    pub(super) start_waiters: Vec<Answer<()>>,
    pub(super) ending: Option<EndWhy>,
    pub(super) end_waiters: Vec<EndWaiter>,
    /// How long the agent may take to end.
    pub(super) end_grace_ms: u32,
    /// When its screen is looked at for what it asks.
    pub(super) dialog_due: Option<Instant>,
    /// When the holder has had long enough to end it.
    pub(super) end_deadline: Option<Instant>,
    /// The agent has exited; what it leaves behind is still being ended.
    pub(super) exited: bool,
    /// Until when what nobody asked for may take to end that was told to.
    pub(super) unasked_until: Option<Instant>,
    /// Until when an agent that has closed a pipe may take to exit.
    pub(super) leaves_by: Option<Instant>,
    /// Why the body is being ended without anybody having asked for it.
    pub(super) body_failure: Option<String>,
    /// Whether that is so of the one that is gone.
    pub(super) misbehaved: bool,
    /// The prompts of which the last agent had not one byte when it died.
    pub(super) undelivered: Vec<Uuid>,
    /// Whether the disk did not take the last line of the journal.
    pub(super) disk_refuses: bool,
    /// When it is tried again.
    pub(super) disk_due: Option<Instant>,
    /// Why the agent has to be started again, until it is.
    pub(super) died: Option<String>,
    /// How often agents have died without having finished a turn in between.
    pub(super) deaths: u32,
    /// When the next one is started.
    pub(super) wakes_at: Option<Instant>,
    /// Whether a turn that is lost with the agent that nobody holds is held back.
    pub(super) holds_lost: bool,
    /// What the conversation had lost with which the agent was started, until a turn is told.
    pub(super) context_lost: Option<String>,
    /// Who else may have the conversation open.
    pub(super) writers: Writers,
    /// The line that the agent was started to cut off from its conversation.
    pub(super) cut_off: Option<Uuid>,
    pub(super) agent_version: Option<String>,
    /// Where the agent keeps its things, once one was started.
    pub(super) agent_home: Option<Home>,
    pub(super) model: Option<String>,
    pub(super) last_error: Option<Failure>,
    /// Whether somebody said that work goes on in the background.
    pub(super) background: usize,
    /// What the agent has set itself.
    pub(super) timers: Timers,
    /// Since when it may be put to sleep.
    pub(super) rests_since: Option<Instant>,
    /// Its place among those that have a body.
    pub(super) seat: Seat,
    /// Since when it waits for that.
    pub(super) waits_since: Option<Instant>,
}

/// Begins a session's task. It sleeps until somebody wants something, or begins at
/// once when turns are queued.
#[must_use]
pub fn spawn(shared: Arc<Shared>, seed: Seed) -> Handle {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let feed = Feed::new(Arc::clone(&shared.sequence), seed.taken_up);
    let feed = Arc::new(feed);
    let now = now_ms();
    let id = seed.record.id;
    let seat = shared.warm.seat(id);
    let driver = seed.record.settings.driver.unwrap_or_default();
    let embodied = seed.record.embodied.unwrap_or(driver);
    let mut session = Session {
        shared,
        row: watch::Sender::new(Row::first(&seed.record, driver.name(), State::Asleep, now)),
        record: seed.record,
        dir: seed.dir,
        env: seed.env,
        journal: seed.journal,
        feed: Arc::clone(&feed),
        life: Life::Asleep,
        active_at: now,
        queue: VecDeque::new(),
        queue_due: None,
        running: None,
        steered: Vec::new(),
        unasked: None,
        policies: VecDeque::new(),
        questions: Questions::default(),
        limit: None,
        logged_out: false,
        retrying: None,
        tool: None,
        heard: Instant::now(),
        stalled: false,
        body: None,
        wired: None,
        wire_lost: false,
        embodied,
        used: false,
        line_of_interface: None,
        comes_again: None,
        coming: Vec::new(),
        lobby: None,
        left: None,
        tracker: Ear::new(embodied),
        late: None,
        doubt: None,
        accounted: Accounted::default(),
        decided_before: VecDeque::new(),
        launching: None,
        start_deadline: None,
        start_failure: None,
        start_waiters: Vec::new(),
        ending: None,
        end_waiters: Vec::new(),
        end_grace_ms: 0,
        dialog_due: None,
        end_deadline: None,
        exited: false,
        unasked_until: None,
        leaves_by: None,
        body_failure: None,
        misbehaved: false,
        undelivered: Vec::new(),
        disk_refuses: false,
        disk_due: None,
        died: None,
        deaths: 0,
        wakes_at: None,
        holds_lost: false,
        context_lost: None,
        writers: Writers::default(),
        cut_off: None,
        agent_version: None,
        agent_home: None,
        model: None,
        last_error: None,
        background: 0,
        timers: Timers::default(),
        rests_since: None,
        seat,
        waits_since: None,
    };
    let handle = Handle {
        id,
        commands,
        row: session.row.subscribe(),
        feed,
    };
    session.take_up_open_turns(seed.held);
    match seed.found {
        Some(found) => session.take_up(found),
        None => session.take_up_without_agent(seed.left, seed.held),
    }
    session.publish();
    tokio::spawn(session.run(inbox));
    handle
}

impl Session {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        self.hear_what_was_said().await;
        self.is_prompted();
        if let Some(Body::Marks(body)) = &mut self.body
            && self.tracker.is_untouched()
        {
            body.is_untouched();
        }
        self.types_again();
        if self.has_work() {
            self.step(Event::Wanted);
        }
        while self.life != Life::Gone {
            match self.wait(&mut inbox).await {
                Wake::Command(Some(command)) => self.command(command),
                // The broker drops its handles only when it ends.
                Wake::Command(None) => break,
                Wake::Launched(outcome) => self.launched(*outcome),
                Wake::Body(event) => self.body_event(&event),
                Wake::Wire(seen) => self.passes(seen),
                Wake::LeftAgentGone => {
                    self.left = None;
                    self.gone(Exit::Unknown, false);
                    self.holds_lost = false;
                }
                Wake::Seat => self.seat_changed(),
                Wake::Lobby(face) => self.in_lobby(face),
                Wake::Deadline => self.deadlines(Instant::now()),
            }
            self.swap_if_due();
            self.publish();
        }
    }

    /// What the agent has said to an earlier broker: whether it is busy is in it.
    async fn hear_what_was_said(&mut self) {
        while let Some(body) = self.body.as_mut().filter(|body| body.has_more()) {
            let event = body.next().await;
            self.body_event(&event);
        }
        self.publish();
    }

    async fn wait(&mut self, inbox: &mut mpsc::Receiver<Command>) -> Wake {
        let deadline = self.next_deadline();
        tokio::select! {
            command = inbox.recv() => Wake::Command(command),
            outcome = launched(self.launching.as_mut()) => {
                self.launching = None;
                Wake::Launched(Box::new(outcome))
            }
            event = from_body(self.body.as_mut()) => Wake::Body(event),
            seen = of_wire(self.wired.as_mut()) => Wake::Wire(seen),
            face = of_lobby(self.lobby.as_mut()) => Wake::Lobby(face),
            () = left_gone(self.left.as_mut()) => Wake::LeftAgentGone,
            // First what is asked of it: that may keep it awake.
            () = self.seat.changed(), if inbox.is_empty() => Wake::Seat,
            () = until(deadline) => Wake::Deadline,
        }
    }

    /// The table's answer to an event, and everything that follows from it.
    pub(super) fn step(&mut self, event: Event) {
        let (next, actions) = life::on(self.life, event);
        tracing::debug!(session = %self.record.name, ?event, from = ?self.life, to = ?next);
        self.life = next;
        if next != Life::Idle {
            // However short it was.
            self.rests_since = None;
        }
        for action in actions {
            self.act(*action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::SeekRoom => self.seek_room(),
            Action::Launch => self.launch(),
            Action::TellReady => {
                self.start_deadline = None;
                for waiter in self.start_waiters.drain(..) {
                    let _ = waiter.send(Ok(()));
                }
            }
            Action::TellFailed => self.tell_failed(),
            Action::Next => {
                self.account(true);
                self.next_turn();
            }
            Action::LoseTurn => self.lose_turn(),
            Action::EndBody => self.end_body(),
            Action::AfterEnd => self.after_end(),
            Action::WakeIfWanted => self.wake_after_death(),
        }
    }

    // ---- the body ----

    pub(super) fn launch(&mut self) {
        self.embodied = self.wanted_body();
        self.used = false;
        self.tracker = Ear::new(self.driver());
        self.accounted = Accounted::default();
        self.decided_before.clear();
        self.background = 0;
        self.timers = Timers::default();
        self.exited = false;
        self.start_failure = None;
        self.undelivered.clear();
        if let Some(reason) = self.died.take() {
            self.tell(None, EventKind::Restart { reason });
        }
        self.has_room();
        self.start_deadline
            .get_or_insert_with(|| Instant::now() + START_TIMEOUT);
        self.wakes_at = None;
        let embodied = Some(self.embodied).filter(|it| *it != self.own_driver());
        if self.record.embodied != embodied {
            self.record.embodied = embodied;
            self.save_record();
        }
        let next = self.queue.iter().find(|queued| !self.is_held(queued));
        self.cut_off = next.and_then(|next| next.terms.left);
        let plan = launch::Plan {
            cut_off: self.cut_off,
            last: self.last_answered(),
            driver: self.embodied,
            window: self.first_window(),
            record: self.record.clone(),
            dir: self.dir.clone(),
            env: self.env.take(),
            socket: self.shared.place.socket.clone(),
        };
        let shared = Arc::clone(&self.shared);
        self.launching = Some(Box::pin(async move { launch::launch(&shared, plan).await }));
    }

    fn launched(&mut self, outcome: Result<Launched, Refused>) {
        match outcome {
            Ok(launched) => {
                tracing::info!(
                    session = %self.record.name,
                    pid = launched.body.agent().pid,
                    version = launched.version.as_deref(),
                    "agent started"
                );
                self.agent_version = launched.version;
                self.agent_home = launched.home;
                self.goes_on(launched.conversation, launched.announced);
                self.body = Some(launched.body);
                self.wired = launched.tapped.map(Wired::new);
                self.wire_lost = false;
                self.is_of_version(true);
                self.may_ask_at_start();
                self.is_embodied();
                self.greet();
                if self.ending.is_some() {
                    self.end_body();
                }
            }
            Err(Refused { failure, damage }) => {
                if let Some(damage) = damage {
                    self.lacks(*damage);
                }
                self.fail_start(failure);
                let ended = self.life == Life::Ending;
                self.step(if ended {
                    Event::Ended
                } else {
                    Event::StartFailed
                });
            }
        }
    }

    /// Gives a start up: what there is of the body is ended.
    pub(super) fn abort_start(&mut self, failure: Failure) {
        if self.body.is_some() {
            self.start_failure = Some(failure);
            self.kill_body();
        } else {
            self.fail_start(failure);
            self.step(Event::StartFailed);
        }
    }

    /// Keeps why there is no agent, for those who are told next.
    fn fail_start(&mut self, failure: Failure) {
        tracing::warn!(session = %self.record.name, code = ?failure.code, "not started");
        // It may quote what the agent said.
        tracing::debug!(session = %self.record.name, "{failure}");
        let error = failure.clone();
        self.tell(None, EventKind::Error { error });
        self.hook_of_failure(HookEvent::Failed, &failure);
        self.last_error = Some(failure);
    }

    fn hook_of_failure(&self, event: HookEvent, failure: &Failure) {
        let facts = vec![("MESSAGE", failure.message.clone())];
        let told = serde_json::to_value(failure).unwrap_or_default();
        self.run_hook(event, facts, ("error", told));
    }

    fn tell_failed(&mut self) {
        self.start_deadline = None;
        let failure = self.last_error.clone().unwrap_or_else(|| {
            Failure::new(
                ErrorCode::AgentStartFailed,
                "the agent could not be started",
            )
        });
        for waiter in self.start_waiters.drain(..) {
            let _ = waiter.send(Err(failure.clone()));
        }
        self.is_not_embodied(&failure);
        if self.driver() != self.own_driver() {
            // The session's own body can be had all the same.
            self.embodied = self.own_driver();
            if self.has_work() {
                self.step(Event::Wanted);
            }
            return;
        }
        self.fail_queue(&failure);
    }

    /// Who waits for a turn in the queue is told why it does not run. What nobody waits for waits
    /// for a better time.
    pub(super) fn fail_queue(&mut self, failure: &Failure) {
        for queued in std::mem::take(&mut self.queue) {
            if queued.end.receiver_count() == 0 {
                self.queue.push_back(queued);
            } else {
                self.finish_queued(&queued, Ended::failed(failure.clone()));
            }
        }
    }

    fn body_event(&mut self, event: &BodyEvent) {
        self.active_at = now_ms();
        match event {
            BodyEvent::Lines => {
                self.heard = Instant::now();
                self.stalled = false;
                self.lines();
            }
            // One that has exited, or is being ended, is seen to by its holder.
            BodyEvent::PipeClosed if self.exited || self.life == Life::Ending => {}
            BodyEvent::PipeClosed => {
                self.leaves_by = Some(Instant::now() + LEAVING);
                self.step(Event::Leaving);
            }
            BodyEvent::Exited => {
                self.exited = true;
                self.leaves_by = None;
                self.step(Event::Leaving);
            }
            BodyEvent::Unreadable(why) => {
                self.body_failure = Some((*why).to_owned());
                self.kill_body();
            }
            BodyEvent::Gone { exit, left } => self.gone(*exit, *left),
            BodyEvent::NotSent { prompt, altered } => {
                self.not_sent(*prompt, *altered);
                self.step(Event::Idle);
            }
            BodyEvent::Looked => {}
        }
        self.line_may_be_free();
    }

    /// What its body is.
    pub(super) fn driver(&self) -> Driver {
        self.embodied
    }

    fn gone(&mut self, exit: Exit, left: bool) {
        // Whole lines that came last are not lost, nor is a result that was not
        // followed by all that should follow it.
        self.lines();
        let mut happenings = Vec::new();
        self.tracker.gone_with_results(&mut happenings);
        for happening in happenings {
            self.happened(happening);
        }
        for running in self.running.iter_mut().chain(&mut self.steered) {
            let open = self.questions.open.iter();
            let own = open.filter(|open| open.told.turn == Some(running.turn()));
            running.asking = own.count();
        }
        self.dialog_due = None;
        self.doubt = None;
        self.questions_gone();
        self.leaves_by = None;
        self.end_deadline = None;
        self.unasked_until = None;
        self.stalled = false;
        self.retrying = None;
        self.tool = None;
        self.background = 0;
        if let Some(unasked) = self.unasked.take() {
            let why = self.ending.map(|why| why.failure().message);
            self.finish_unasked(unasked, lost_unasked(why.as_deref()));
        }
        let body = self.body.take();
        self.drain_wire();
        self.wired = None;
        if let Some(body) = &body {
            self.undelivered = body.undelivered();
        }
        launch::forget(&self.dir);
        if let Some(Body::Tui(body)) = &body
            && self.life == Life::Ending
            && matches!(exit, Exit::Exited(_))
        {
            self.takes_mode_over(body.last_mode());
        }
        let said = body.map(|body| self.last_words(body)).unwrap_or_default();
        let killed = exit == Exit::Signalled(9) && self.start_waiters.is_empty();
        self.misbehaved = self.body_failure.is_some();
        let how = self.body_failure.take().unwrap_or_else(|| describe(exit));
        tracing::info!(session = %self.record.name, %how, left, "agent gone");
        match self.life {
            Life::Ending => {
                self.ended_otherwise(exit, &said);
                self.step(Event::Ended);
            }
            // Somebody has killed it, the machine for want of memory perhaps: another one may live.
            Life::Starting if killed && self.start_failure.is_none() && self.has_work() => {
                let reason = format!("the agent did not start, {}", with_words(how, &said));
                self.last_error = Some(Failure::new(ErrorCode::AgentStartFailed, reason.clone()));
                self.died = Some(reason);
                self.step(Event::Died);
            }
            Life::Starting => {
                let failure = self.start_failure.take().unwrap_or_else(|| {
                    let message = format!("the agent did not start, {}", with_words(how, &said));
                    Failure::new(ErrorCode::AgentStartFailed, message)
                });
                self.fail_start(failure);
                self.step(Event::StartFailed);
            }
            _ => {
                let reason = || format!("the agent died, {}", with_words(how, &said));
                let reason = self.died.get_or_insert_with(reason).clone();
                let error = Failure::new(ErrorCode::AgentDied, reason);
                self.hook_of_failure(HookEvent::Exited, &error);
                self.last_error = Some(error);
                self.step(Event::Died);
            }
        }
    }

    /// The child of one turn should end by itself, with 0, or 1 where the turn has failed.
    fn ended_otherwise(&mut self, exit: Exit, said: &str) {
        let own = self.embodied == Driver::Oneshot && self.ending == Some(EndWhy::Swap);
        if !own || !self.used || matches!(exit, Exit::Exited(0 | 1)) {
            return;
        }
        let how = with_words(describe(exit), said);
        let message = format!("behind its turn the agent ended otherwise than it should: {how}");
        let error = Failure::new(ErrorCode::AgentDied, message);
        self.last_error = Some(error.clone());
        self.tell(None, EventKind::Error { error });
    }

    /// What a body said last, that is gone. Who looks at it is told, which may take a moment.
    fn last_words(&self, mut body: Body) -> String {
        let said = body.last_words();
        if body.shown().is_some() {
            let why = match self.ending {
                Some(EndWhy::Kill) => DetachReason::Killed,
                Some(EndWhy::Stop) => DetachReason::Stopped,
                Some(EndWhy::Restart | EndWhy::Swap) => DetachReason::Restarted,
                Some(EndWhy::Sleep) | None => DetachReason::Exited,
            };
            tokio::spawn(async move {
                if let Some(shown) = body.shown() {
                    shown.last_looks(why).await;
                }
            });
        }
        said
    }

    /// Ends a body that does not do what it is told.
    pub(super) fn kill_body(&mut self) {
        if let Some(body) = &mut self.body {
            body.end(HUNG_GRACE_MS, true);
            let bound = Duration::from_millis(HUNG_GRACE_MS.into()) + END_SLACK;
            self.end_deadline
                .get_or_insert_with(|| Instant::now() + bound);
        }
        self.end_left();
    }

    /// Ends the agent that nobody holds. That it is gone comes by itself.
    pub(super) fn end_left(&self) {
        if let Some(left) = &self.left {
            tokio::spawn(orphans::end(left.process));
        }
    }

    /// No agent was found: a turn that one was given is lost, once the last that may have run it
    /// has ended.
    fn take_up_without_agent(&mut self, left: Option<Process>, held: bool) {
        if self.running.is_none() {
            return;
        }
        for running in self.running.iter_mut().chain(&mut self.steered) {
            running.calls = usize::from(self.journal.called(running.turn()));
        }
        self.life = Life::Working;
        self.died = Some("the agent died, and its holder and broker with it".to_owned());
        self.agent_home = self.kept_home();
        let process = left.unwrap_or_default();
        let gone = Box::pin(orphans::gone(process));
        self.left = Some(Left { process, gone });
        self.holds_lost = held;
        self.seat.found(0, false);
    }

    /// Says hello to an agent that was never spoken to.
    pub(super) fn greet(&mut self) {
        self.start_deadline
            .get_or_insert_with(|| Instant::now() + START_TIMEOUT);
        if self.body.as_ref().is_some_and(Body::is_new) {
            let settings = &self.record.settings;
            let greeting = input::initialize(&Initialize {
                system_prompt: settings.system_prompt.clone(),
                append_system_prompt: settings.append_system_prompt.clone(),
            });
            self.write(&greeting);
        }
    }

    // ---- commands ----

    fn command(&mut self, command: Command) {
        self.active_at = now_ms();
        match command {
            Command::Send { request, reply } => {
                let watched = self.send(*request);
                let _ = reply.send(watched);
            }
            Command::Result { selector, reply } => {
                let _ = reply.send(self.result(&selector));
            }
            Command::Knows { turn, reply } => {
                let _ = reply.send(Ok(self.journal.outcome(turn).is_some()));
            }
            Command::Cancel { turn, reply } => {
                let watched = self.cancel(turn);
                let _ = reply.send(watched);
            }
            Command::Interrupt { first_asked, reply } => {
                let _ = reply.send(Ok(self.interrupt(first_asked)));
            }
            Command::Queue { reply } => {
                let _ = reply.send(Ok(self.waiting()));
            }
            Command::QueueRemove {
                selector,
                first_asked,
                reply,
            } => {
                let _ = reply.send(self.unqueue(selector.as_deref(), first_asked));
            }
            Command::QueueRun { reply } => {
                self.run_queue();
                let _ = reply.send(Ok(()));
            }
            Command::Log {
                selector,
                after,
                last,
                reply,
            } => {
                let _ = reply.send(view::log(&self.journal, selector.as_deref(), after, last));
            }
            Command::Rename { name, reply } => {
                let _ = reply.send(self.rename(name));
            }
            Command::Questions { reply } => {
                let _ = reply.send(Ok(self.open_questions()));
            }
            Command::Decide {
                question,
                decision,
                first_asked,
                reply,
            } => {
                let again = first_asked.is_some();
                let _ = reply.send(self.decide(question.as_deref(), decision, again));
            }
            Command::Wake { timeout_ms, reply } => {
                self.await_start(timeout_ms, reply);
                // Who wants it to be ready wants it to stay so for a while.
                self.used();
                self.step(Event::Wanted);
            }
            // It is under way or done, and a turn that has begun since is not ended.
            Command::Restart {
                first_asked: Some(at),
                fresh: false,
                env: None,
                timeout_ms,
                reply,
            } if self.agent_is_newer(at) => {
                self.await_start(timeout_ms, reply);
                self.step(Event::Wanted);
            }
            Command::Restart {
                fresh,
                env,
                timeout_ms,
                reply,
                ..
            } => self.restart(fresh, env, timeout_ms, reply),
            Command::Kill { grace_ms, reply } => {
                self.end(EndWhy::Kill, grace_ms, EndWaiter::Kill(reply));
            }
            Command::Stop { grace_ms, reply } => {
                self.end(EndWhy::Stop, grace_ms, EndWaiter::Stop(reply));
            }
            Command::Detail { reply } => {
                let _ = reply.send(Ok(self.detail()));
            }
            Command::Attach {
                attach,
                terminal,
                left,
            } => self.attach(attach, terminal, left),
            other => self.terminal_command(other),
        }
    }

    /// What is about the terminal of its agent, where that has one.
    fn terminal_command(&mut self, command: Command) {
        let body = match &mut self.body {
            Some(Body::Tui(body)) => body,
            Some(Body::Marks(_) | Body::Codex(_)) => return self.terminal_of_program(command),
            _ => return command.refuse(|| self.without_terminal()),
        };
        match command {
            Command::Hook {
                id,
                input,
                process,
                reply,
            } => body.hook(id, &input, process, reply),
            Command::Edit {
                text,
                editor,
                reply,
            } => drop(reply.send(Ok(body.edit(&text, editor)))),
            other => {
                if matches!(other, Command::Type { .. } | Command::Keys { .. }) {
                    body.is_touched();
                }
                let message = format!("the agent of {} is gone", self.record.name);
                let gone = Failure::new(ErrorCode::NoTerminal, message);
                body.shown().command(other, gone);
            }
        }
    }

    /// The same of a program.
    fn terminal_of_program(&mut self, command: Command) {
        let message = format!("the program of {} is gone", self.record.name);
        let gone = Failure::new(ErrorCode::NoTerminal, message);
        match (&mut self.body, command) {
            (
                Some(Body::Codex(body)),
                Command::Hook {
                    id, input, reply, ..
                },
            ) => body.hook(id, &input, reply),
            (_, command @ (Command::Hook { .. } | Command::Edit { .. })) => command.refuse(|| gone),
            (Some(Body::Marks(body)), command) => body.command(command, gone),
            (Some(Body::Codex(body)), command) => body.command(command, gone),
            (_, command) => command.refuse(|| gone),
        }
        self.line_may_be_free();
    }

    fn without_terminal(&self) -> Failure {
        let name = &self.record.name;
        let message = format!("the agent of {name} has no terminal");
        Failure::new(ErrorCode::NoTerminal, message)
            .hint(format!("what it says: clsess log -f {name}"))
    }

    fn await_start(&mut self, timeout_ms: u64, reply: Answer<()>) {
        self.start_waiters.retain(|waiter| !waiter.is_closed());
        if self.waits_for_people_at_start() {
            let _ = reply.send(Ok(()));
            return;
        }
        if self.start_waiters.len() >= MAX_START_WAITERS {
            let message = "too many wait already for this session to be ready";
            let _ = reply.send(Err(Failure::new(ErrorCode::TooMany, message)));
            return;
        }
        self.want_start_in(timeout_ms);
        self.start_waiters.push(reply);
    }

    /// Bounds the start that is under way, or the next one. Who is more patient
    /// decides; who is less waits less long by themselves.
    pub(super) fn want_start_in(&mut self, timeout_ms: u64) {
        if timeout_ms > 0 {
            // Waiting for room does not count, and is added when it ends.
            let from = self.waits_since.unwrap_or_else(Instant::now);
            let deadline = from + Duration::from_millis(timeout_ms);
            self.start_deadline = self.start_deadline.max(Some(deadline));
        }
    }

    /// Keeps an environment for this start and, on disk, for later ones.
    pub(super) fn keep_env(&mut self, env: Env) {
        let (kept, forgotten) = store::split_forgotten(&env, &self.record.settings.env_forget);
        self.record.forgotten = forgotten;
        let bytes = store::env_to_bytes(&kept);
        drop(self.shared.disk.replace(store::env_path(&self.dir), bytes));
        self.env = Some(env);
    }

    /// Writes the record, beside the work. What the disk refuses it gets again.
    pub(super) fn save_record(&mut self) {
        if let Err(error) = self.saved_record() {
            tracing::error!(%error, "cannot write a session's record");
        }
    }

    pub(super) fn saved_record(&self) -> std::io::Result<Promise> {
        let bytes = self.record.to_bytes()?;
        Ok(self.shared.disk.replace(self.dir.join(store::FILE), bytes))
    }

    // ---- time ----

    fn next_deadline(&self) -> Option<Instant> {
        let starting = (self.life == Life::Starting)
            .then_some(self.start_deadline)
            .flatten();
        let due = [
            starting,
            self.turns_due(),
            self.end_deadline,
            self.queue_due,
            self.question_due(),
            self.limit_due(),
            self.disk_due,
            self.late,
            self.stall_due(),
            self.leaves_by,
            self.unasked_until,
            self.wakes_at,
            self.sleep_due(),
            self.writers.due,
            self.timers_due(),
            self.dialog_due,
            self.comes_again,
            self.doubt.as_ref().map(|doubt| doubt.due),
        ];
        due.into_iter().flatten().min()
    }

    /// The agent has been silent for too long. It is only called so, unless it keeps others
    /// waiting for nothing: after a turn, with nothing of its own to do.
    pub(super) fn stalls(&mut self) {
        self.stalled = true;
        let at_work = self.running.is_some() || self.unasked.is_some() || self.background > 0;
        if self.life == Life::Settling && !at_work && !self.exited && !self.queue.is_empty() {
            self.body_failure = Some("it did not say that it was ready again".to_owned());
            self.kill_body();
        }
    }

    /// When the agent will have been silent for too long. One that waits for people, or
    /// for its next try, has said so.
    fn stall_due(&self) -> Option<Instant> {
        let busy = matches!(self.life, Life::Working | Life::Settling);
        let later = self.retrying.as_ref().is_some_and(|it| !it.begun);
        let waits = !self.questions.open.is_empty() || later;
        let after = self.record.settings.stall_after_ms;
        let after = after.map_or(STALL_AFTER, Duration::from_millis);
        let silent = busy && !waits && !self.stalled && !after.is_zero();
        silent.then(|| self.heard + after)
    }

    fn deadlines(&mut self, now: Instant) {
        let overdue = self.start_deadline.is_some_and(|at| at <= now);
        if self.life == Life::Starting && overdue && self.waits_for_people_at_start() {
            // Whoever looks at one that is of no use to us leaves it some time.
            self.start_deadline = self.tracker.runs_no_hooks().then(|| now + FIRST_HOOK);
        } else if self.life == Life::Starting && overdue {
            self.start_deadline = None;
            self.launching = None;
            let failure = match self.driver() {
                Driver::Marks => no_prompt(&self.record),
                Driver::Codex => not_ready(self.body.as_mut()),
                _ if self.tracker.runs_no_hooks() => no_hooks(),
                _ => start_timeout(),
            };
            self.abort_start(failure);
        }
        if self.end_deadline.is_some_and(|at| at <= now) {
            self.end_overdue();
        }
        self.turn_deadlines(now);
        self.queue_deadlines(now);
        self.question_deadlines(now);
        if self.stall_due().is_some_and(|at| at <= now) {
            self.stalls();
        }
        if self.unasked_until.take_if(|at| *at <= now).is_some() {
            self.body_failure = Some("it ignored an interrupt".to_owned());
            self.kill_body();
        }
        if self.leaves_by.take_if(|at| *at <= now).is_some() {
            self.body_failure = Some("it closed a pipe and lived on".to_owned());
            self.kill_body();
        }
        if self.late.take_if(|at| *at <= now).is_some() {
            self.is_late();
        }
        self.limit_deadline(now);
        if self.sleep_due().is_some_and(|at| at <= now) {
            self.fall_asleep();
        }
        self.wake_deadline(now);
        self.look_for_dialog(now);
        self.doubt_deadline(now);
        if self.disk_due.take_if(|at| *at <= now).is_some() {
            self.disk_again();
        }
        self.writers_deadline(now);
    }
}

/// The end of something unasked whose agent is gone, and why.
fn lost_unasked(why: Option<&str>) -> Box<TurnEnd> {
    let kind = Some(ErrorKind::NoResult);
    let text = why.unwrap_or("the agent died meanwhile");
    Box::new(TurnEnd::without_result(Outcome::Failed, kind, text))
}

/// The agent was not ready in time.
#[must_use]
pub fn start_timeout() -> Failure {
    Failure::new(ErrorCode::StartTimeout, "the agent was not ready in time")
        .hint("give it longer with --start-timeout or start_timeout in the config")
}

/// The interface runs no hooks, so nobody would hear what becomes of a prompt.
fn no_hooks() -> Failure {
    let message = "the agent's interface runs no hooks, and tells nothing without them";
    Failure::new(ErrorCode::AgentStartFailed, message).hint(
        "they are off by CLAUDE_CODE_SIMPLE, --bare or a policy (disableAllHooks, \
         allowManagedHooksOnly); --driver stream needs none",
    )
}

/// The program has shown no prompt in time.
fn no_prompt(record: &SessionRecord) -> Failure {
    let program = record.settings.command.first();
    let program = program.map_or("the program", String::as_str);
    let message = format!("{program} has marked no prompt (OSC 133) in time");
    Failure::new(ErrorCode::StartTimeout, message)
        .hint("how a program is made to mark its prompts: man clsess-config, PROGRAMS WITH TURNS")
}

/// Codex does not wait for a prompt in time: a dialog perhaps.
fn not_ready(body: Option<&mut Body>) -> Failure {
    let seen = body.map(Body::last_words).unwrap_or_default();
    let message = with_words("codex was not ready in time".to_owned(), &seen);
    Failure::new(ErrorCode::StartTimeout, message)
        .hint("what its config needs: man clsess-config, CODEX")
}

/// How it ended, and what it said on stderr.
fn with_words(how: String, said: &str) -> String {
    if said.is_empty() {
        how
    } else {
        format!("{how}: {said}")
    }
}

fn describe(exit: Exit) -> String {
    match exit {
        Exit::Exited(status) => format!("exit {status}"),
        Exit::Signalled(signal) => format!("signal {signal}"),
        Exit::Unknown => "its holder is gone".to_owned(),
    }
}

async fn launched(launching: Option<&mut Launching>) -> Result<Launched, Refused> {
    match launching {
        Some(launching) => launching.await,
        None => pending().await,
    }
}

async fn left_gone(left: Option<&mut Left>) {
    match left {
        Some(left) => left.gone.as_mut().await,
        None => pending().await,
    }
}

async fn from_body(body: Option<&mut Body>) -> BodyEvent {
    match body {
        Some(body) => body.next().await,
        None => pending().await,
    }
}

/// Waits for a deadline; for ever without one.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
