//! A session that runs a program in a terminal: a shell, a REPL, another agent.
//!
//! Nobody knows what such a program does, so it has no turns and no queue. It is there or it has
//! exited, and who looks at it or types is as with any terminal.

use std::future::{Future, pending};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use clsess_holder::protocol::{Exit, Successor, Window};
use clsess_proto::{
    DetachReason, Detached, ErrorCode, EventKind, ExitStatus, Failure, HookEvent, Program,
    SessionDetail, State,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant};

use super::ending::{DEFAULT_GRACE_MS, END_SLACK, EndWaiter, EndWhy};
use super::task::until;
use super::{Answer, COMMANDS, Command, Handle, Row, launch, now_ms};
use crate::broker::Shared;
use crate::disk;
use crate::driver::terminal::{FoundTerminal, TerminalBody, TerminalEvent};
use crate::feed::Feed;
use crate::hooks::Happened;
use crate::shown::{Shown, ShownEvent};
use crate::store::{self, Env, SessionRecord};
pub(super) use start::with_turns;
use start::{Plan, start};

mod start;

/// What the driver of such a session is called.
pub const DRIVER: &str = "program";

/// Rows of history that are kept when the session does not say.
const SCROLLBACK: u32 = 10_000;
/// What a session of a program is begun from.
#[derive(Debug)]
pub struct ProgramSeed {
    /// As it is kept.
    pub record: SessionRecord,
    /// Its program.
    pub program: Program,
    /// Its directory under the state directory.
    pub dir: PathBuf,
    /// The environment for the first start; absent: the kept one.
    pub env: Option<Env>,
    /// Its program, where an earlier broker's lives.
    pub found: Option<FoundTerminal>,
    /// Whether it is taken up from an earlier broker.
    pub taken_up: bool,
}

/// Everything that can wake the task.
enum Wake {
    Command(Option<Command>),
    Launched(Box<Result<TerminalBody, Failure>>),
    Shown(ShownEvent),
    Deadline,
}

type Launching = Pin<Box<dyn Future<Output = Result<TerminalBody, Failure>> + Send>>;

/// The session as its task holds it.
struct ProgramSession {
    shared: Arc<Shared>,
    record: SessionRecord,
    program: Program,
    dir: PathBuf,
    env: Option<Env>,
    feed: Arc<Feed>,
    row: watch::Sender<Row>,
    active_at: u64,
    shown: Shown,
    launching: Option<Launching>,
    start_deadline: Option<Instant>,
    start_waiters: Vec<Answer<()>>,
    /// Why the program is being ended.
    ending: Option<EndWhy>,
    end_waiters: Vec<EndWaiter>,
    /// When the holder has had long enough to end it.
    end_deadline: Option<Instant>,
    last_error: Option<Failure>,
    /// The session is no more.
    gone: bool,
    /// Who waits for that, with the session kept for the next broker.
    stopped: Vec<EndWaiter>,
}

/// Begins the task of a session that runs a program.
#[must_use]
pub fn spawn(shared: Arc<Shared>, seed: ProgramSeed) -> Handle {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let feed = Arc::new(Feed::new(Arc::clone(&shared.sequence), seed.taken_up));
    let now = now_ms();
    let window = Window {
        rows: seed.program.rows,
        cols: seed.program.cols,
        ..Window::default()
    };
    let scrollback = seed.program.scrollback.unwrap_or(SCROLLBACK);
    let mut session = ProgramSession {
        row: watch::Sender::new(Row::first(&seed.record, DRIVER, State::Exited, now)),
        shown: Shown::new(window, scrollback as usize),
        shared,
        record: seed.record,
        program: seed.program,
        dir: seed.dir,
        env: seed.env,
        feed: Arc::clone(&feed),
        active_at: now,
        launching: None,
        start_deadline: None,
        start_waiters: Vec::new(),
        ending: None,
        end_waiters: Vec::new(),
        end_deadline: None,
        last_error: None,
        gone: false,
        stopped: Vec::new(),
    };
    if let Some(found) = seed.found {
        session.take_up(found);
    } else if seed.taken_up && session.record.exit.is_none() {
        // It was there, and is not any more: nobody has seen how it ended.
        session.record.exit = Some(ExitStatus::default());
        session.save_record();
    }
    let handle = Handle {
        id: session.record.id,
        commands,
        row: session.row.subscribe(),
        feed,
    };
    session.publish();
    tokio::spawn(session.run(inbox));
    handle
}

/// Finds the program that an earlier broker has left.
///
/// # Errors
/// When there is one whose holder does not do what it should: it is killed, and the program is to be
/// ended.
pub async fn find(dir: &Path, successor: &Successor) -> std::io::Result<Option<FoundTerminal>> {
    let found = TerminalBody::find(dir, successor).await;
    if found.is_err() {
        launch::kill_holder(dir);
    }
    found
}

impl ProgramSession {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while !self.gone {
            match self.wait(&mut inbox).await {
                Wake::Command(Some(command)) => self.command(command),
                // The broker drops its handles only when it ends.
                Wake::Command(None) => break,
                Wake::Launched(launched) => self.launched(*launched),
                Wake::Shown(event) => self.seen(event),
                Wake::Deadline => self.deadlines(Instant::now()),
            }
            self.publish();
        }
        let why = match self.stopped.is_empty() {
            true => DetachReason::Killed,
            false => DetachReason::Stopped,
        };
        self.shown.last_looks(why).await;
        self.stopped.into_iter().for_each(EndWaiter::stopped);
    }

    async fn wait(&mut self, inbox: &mut mpsc::Receiver<Command>) -> Wake {
        let deadlines = [self.end_deadline, self.start_deadline];
        let deadline = deadlines.into_iter().flatten().min();
        tokio::select! {
            command = inbox.recv() => Wake::Command(command),
            launched = of_launch(self.launching.as_mut()) => {
                self.launching = None;
                Wake::Launched(Box::new(launched))
            }
            event = self.shown.next() => Wake::Shown(event),
            () = until(deadline) => Wake::Deadline,
        }
    }

    // ---- the program ----

    /// Takes up what an earlier broker has left.
    fn take_up(&mut self, found: FoundTerminal) {
        let _ = self.shown.take_up(found);
        let window = self.shown.window();
        (self.program.rows, self.program.cols) = (window.rows, window.cols);
    }

    fn launch(&mut self) {
        if self.shown.body().is_some() || self.launching.is_some() {
            return;
        }
        if self.record.exit.take().is_some() {
            self.save_record();
        }
        self.last_error = None;
        let plan = Plan {
            record: self.record.clone(),
            program: self.program.clone(),
            window: self.shown.window(),
            dir: self.dir.clone(),
            env: self.env.take(),
        };
        let shared = Arc::clone(&self.shared);
        self.launching = Some(Box::pin(async move { start(&shared, plan).await }));
    }

    fn launched(&mut self, launched: Result<TerminalBody, Failure>) {
        self.start_deadline = None;
        match launched {
            Ok(body) => {
                tracing::info!(session = %self.record.name, pid = body.program().pid, "program started");
                launch::remember(&self.dir, body.program(), body.holder());
                self.shown.runs(body);
                for waiter in self.start_waiters.drain(..) {
                    let _ = waiter.send(Ok(()));
                }
                if self.ending.is_some() {
                    self.end_body(DEFAULT_GRACE_MS);
                }
            }
            Err(failure) => self.not_started(failure),
        }
    }

    fn not_started(&mut self, failure: Failure) {
        let error = failure.clone();
        self.feed
            .push(&self.record.name, None, EventKind::Error { error });
        for waiter in self.start_waiters.drain(..) {
            let _ = waiter.send(Err(failure.clone()));
        }
        self.last_error = Some(failure);
        if self.ending.is_some() {
            self.after_end();
        }
    }

    fn seen(&mut self, event: ShownEvent) {
        match event {
            ShownEvent::Output => {
                self.active_at = now_ms();
                if let Err(error) = self.shown.output(|_| b"", |_| {}) {
                    self.unreadable(&error.to_string());
                }
            }
            ShownEvent::Typed(_) => self.active_at = now_ms(),
            ShownEvent::Resized(window) => {
                (self.program.rows, self.program.cols) = (window.rows, window.cols);
                self.save_record();
            }
            ShownEvent::Body(event) => self.body_event(event),
            ShownEvent::Nothing => {}
        }
    }

    fn body_event(&mut self, event: TerminalEvent) {
        match event {
            // Whoever types more is read again.
            TerminalEvent::Output | TerminalEvent::TakesMore => {}
            TerminalEvent::Unreadable(why) => self.unreadable(&why),
            // What it has said last is still to be read.
            TerminalEvent::Exited(exit) => self.record.exit = Some(status(exit)),
            TerminalEvent::Gone { exit, left } => self.program_gone(exit, left),
        }
    }

    fn unreadable(&mut self, why: &str) {
        let message = format!("what the program says cannot be read: {why}");
        self.last_error = Some(Failure::new(ErrorCode::Internal, message));
        self.ending = self.ending.max(Some(EndWhy::Sleep));
        self.end_body(DEFAULT_GRACE_MS);
    }

    fn program_gone(&mut self, exit: Exit, left: bool) {
        let status = status(exit);
        tracing::info!(session = %self.record.name, %status, left, "program gone");
        self.shown.is_over();
        self.record.exit = Some(status);
        launch::forget(&self.dir);
        // Of a session that is killed nothing is kept.
        if self.ending != Some(EndWhy::Kill) {
            self.save_record();
        }
        if self.ending.is_none() {
            self.hook_of_exit(status);
        }
        let why = match self.ending {
            Some(EndWhy::Kill) => DetachReason::Killed,
            Some(EndWhy::Stop) => DetachReason::Stopped,
            Some(EndWhy::Restart) => DetachReason::Restarted,
            Some(EndWhy::Sleep | EndWhy::Swap) | None => DetachReason::Exited,
        };
        let exit = Some(status);
        self.shown.detach(None, Detached { reason: why, exit });
        self.after_end();
    }

    /// Runs the user's command for it.
    fn hook_of_exit(&self, status: ExitStatus) {
        let happened = Happened {
            event: HookEvent::Exited,
            record: &self.record,
            dir: &self.dir,
            facts: vec![("MESSAGE", status.to_string())],
            told: ("exit", serde_json::to_value(status).unwrap_or_default()),
        };
        self.shared.hooks.run(&happened, &self.shared.place.socket);
    }

    // ---- its end ----

    fn end(&mut self, why: EndWhy, grace_ms: u64, waiter: EndWaiter) {
        self.ending = self.ending.max(Some(why));
        self.end_waiters.push(waiter);
        if self.launching.is_none() {
            self.end_body(grace_ms);
        }
    }

    fn end_body(&mut self, grace_ms: u64) {
        let Some(body) = self.shown.body_mut() else {
            return self.after_end();
        };
        body.end(u32::try_from(grace_ms).unwrap_or(u32::MAX), false);
        let by = Instant::now() + Duration::from_millis(grace_ms) + END_SLACK;
        self.end_deadline = Some(by);
    }

    fn after_end(&mut self) {
        self.end_deadline = None;
        let why = self.ending.take();
        let waiters = std::mem::take(&mut self.end_waiters);
        match why {
            Some(EndWhy::Kill) => self.forget(waiters),
            Some(EndWhy::Stop) => {
                self.gone = true;
                self.stopped = waiters;
            }
            Some(EndWhy::Restart) => {
                for waiter in waiters {
                    if let EndWaiter::Restart(reply) = waiter {
                        self.start_waiters.push(reply);
                    }
                }
                self.begin_again();
            }
            Some(EndWhy::Sleep | EndWhy::Swap) | None => {}
        }
    }

    /// Begins the program anew, on an empty screen.
    fn begin_again(&mut self) {
        self.shown.begin_anew();
        self.launch();
    }

    fn forget(&mut self, waiters: Vec<EndWaiter>) {
        let mut killed = self.record.killed();
        self.shared.registry.remove(self.record.id);
        if let Err(error) = self.shared.bury(&self.dir, self.record.id, None) {
            let message = format!("{} cannot be forgotten: {error}", self.record.name);
            let failure = Failure::new(ErrorCode::JournalFailed, message);
            killed.error = Some(failure.hint(disk::hint(&error)));
        }
        for waiter in waiters {
            waiter.killed(&killed);
        }
        self.gone = true;
    }

    fn deadlines(&mut self, now: Instant) {
        if self.start_deadline.take_if(|at| *at <= now).is_some() {
            // Dropped, it ends what it has begun.
            self.launching = None;
            self.not_started(super::start_timeout());
        }
        if self.end_deadline.take_if(|at| *at <= now).is_some()
            && let Some(body) = self.shown.body_mut()
        {
            tracing::error!(session = %self.record.name, "the holder does not end the program");
            self.end_deadline = Some(now + END_SLACK);
            body.abandon();
        }
    }

    // ---- who looks at it ----

    fn attach(
        &mut self,
        attach: &clsess_proto::Attach,
        terminal: OwnedFd,
        left: oneshot::Sender<Result<Detached, Failure>>,
    ) {
        if self.shown.body().is_none() && self.launching.is_none() {
            let exit = self.record.exit;
            let reason = DetachReason::Exited;
            let _ = left.send(match &self.last_error {
                Some(failure) => Err(failure.clone()),
                None => Ok(Detached { reason, exit }),
            });
            return;
        }
        self.shown.attach(attach, terminal, left);
    }

    /// Why nothing can be typed.
    fn not_running(&self) -> Failure {
        if self.launching.is_none() {
            return self.last_error.clone().unwrap_or_else(|| self.has_exited());
        }
        let message = format!("the program of {} is still being started", self.record.name);
        Failure::new(ErrorCode::NoTerminal, message)
    }

    fn has_exited(&self) -> Failure {
        let name = &self.record.name;
        Failure::new(
            ErrorCode::NoTerminal,
            format!("the program of {name} has exited"),
        )
        .hint(format!("clsess restart {name}"))
    }

    // ---- what is asked ----

    fn command(&mut self, command: Command) {
        match command {
            Command::Attach {
                attach,
                terminal,
                left,
            } => self.attach(&attach, terminal, left),
            command @ (Command::Resized { .. }
            | Command::Detach { .. }
            | Command::Capture { .. }
            | Command::Type { .. }
            | Command::Keys { .. }) => {
                let gone = match self.shown.body() {
                    Some(_) => self.has_exited(),
                    None => self.not_running(),
                };
                self.shown.command(command, gone);
            }
            Command::Wake { timeout_ms, reply } => self.wake(timeout_ms, reply),
            Command::Restart {
                first_asked,
                env,
                timeout_ms,
                reply,
                ..
            } => self.restart(first_asked, env, timeout_ms, reply),
            Command::Kill { grace_ms, reply } => {
                self.end(EndWhy::Kill, grace_ms, EndWaiter::Kill(reply));
            }
            Command::Stop { grace_ms, reply } => {
                self.end(EndWhy::Stop, grace_ms, EndWaiter::Stop(reply));
            }
            Command::Rename { name, reply } => drop(reply.send(self.rename(name))),
            Command::Detail { reply } => drop(reply.send(Ok(self.detail()))),
            other => other.refuse(|| {
                let name = &self.record.name;
                Failure::new(
                    ErrorCode::NotAnAgent,
                    format!("{name} runs a program, which takes no prompts"),
                )
                .hint(format!("clsess attach {name}, or clsess type {name} TEXT"))
            }),
        }
    }

    fn wake(&mut self, timeout_ms: u64, reply: Answer<()>) {
        if self.shown.body().is_some() {
            let _ = reply.send(Ok(()));
            return;
        }
        if self.record.exit.is_some() {
            let _ = reply.send(Err(self.has_exited()));
            return;
        }
        self.start_waiters.push(reply);
        self.start_within(timeout_ms);
        self.launch();
    }

    fn start_within(&mut self, timeout_ms: u64) {
        if timeout_ms > 0 {
            let by = Instant::now() + Duration::from_millis(timeout_ms);
            self.start_deadline = self.start_deadline.max(Some(by));
        }
    }

    fn restart(
        &mut self,
        first_asked: Option<u64>,
        env: Option<Env>,
        timeout_ms: u64,
        reply: Answer<()>,
    ) {
        let age = self.shown.body().and_then(|body| body.program().age());
        let age = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let began = age.map(|age| now_ms().saturating_sub(age));
        if began
            .zip(first_asked)
            .is_some_and(|(began, at)| began >= at)
        {
            // It is this one that was asked for.
            let _ = reply.send(Ok(()));
            return;
        }
        if let Some(env) = env {
            self.keep_env(env);
        }
        self.start_within(timeout_ms);
        self.end(EndWhy::Restart, DEFAULT_GRACE_MS, EndWaiter::Restart(reply));
    }

    fn keep_env(&mut self, env: Env) {
        let (kept, forgotten) = store::split_forgotten(&env, &self.record.settings.env_forget);
        self.record.forgotten = forgotten;
        let bytes = store::env_to_bytes(&kept);
        drop(self.shared.disk.replace(store::env_path(&self.dir), bytes));
        self.env = Some(env);
    }

    fn rename(&mut self, name: String) -> Result<crate::disk::Promise, Failure> {
        let renamed = EventKind::Renamed { name: name.clone() };
        self.feed.push(&self.record.name, None, renamed);
        self.record.name = name;
        self.saved_record()
            .map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))
    }

    fn saved_record(&mut self) -> std::io::Result<crate::disk::Promise> {
        self.record.program = Some(self.program.clone());
        let bytes = self.record.to_bytes()?;
        Ok(self.shared.disk.replace(self.dir.join(store::FILE), bytes))
    }

    fn save_record(&mut self) {
        if let Err(error) = self.saved_record() {
            tracing::error!(%error, "cannot write a session's record");
        }
    }

    // ---- as others see it ----

    fn state(&self) -> State {
        match (self.shown.body(), self.ending) {
            (_, Some(EndWhy::Restart)) => State::Restarting,
            (_, Some(EndWhy::Kill | EndWhy::Stop)) => State::Ending,
            (Some(_), _) => State::Idle,
            (None, _) if self.launching.is_some() => State::Starting,
            (None, _) if self.last_error.is_some() => State::Failed,
            (None, _) => State::Exited,
        }
    }

    fn state_detail(&self, state: State) -> Option<String> {
        match state {
            State::Exited => self.record.exit.map(|exit| exit.to_string()),
            State::Failed => self.last_error.as_ref().map(|f| f.message.clone()),
            _ => None,
        }
    }

    fn publish(&mut self) {
        let state = if self.gone { State::Gone } else { self.state() };
        let detail = self.state_detail(state);
        Row::publish(&self.row, &self.feed, |known| {
            let row = &mut known.row;
            row.name.clone_from(&self.record.name);
            (row.state, row.detail) = (state, detail);
            row.attached = self.shown.attached() as u64;
            known.active_at = self.active_at;
            known.holder = self.shown.body().map(|body| body.holder().pid);
        });
    }

    fn detail(&mut self) -> SessionDetail {
        self.publish();
        let title = self.shown.title();
        let window = self.shown.window();
        let args = self.program.args.iter();
        SessionDetail {
            row: self.row.borrow().told(),
            agent_session_id: None,
            command: args
                .map(|arg| String::from_utf8_lossy(arg).into_owned())
                .collect(),
            title,
            size: Some((window.rows, window.cols)),
            exit: self.record.exit,
            pid: self.shown.body().map(|body| body.program().pid),
            holder_pid: self.shown.body().map(|body| body.holder().pid),
            agent_version: None,
            model: None,
            usage: None,
            cost_usd: None,
            tap: None,
            questions: Vec::new(),
            last_error: self.last_error.clone(),
        }
    }
}

fn status(exit: Exit) -> ExitStatus {
    match exit {
        Exit::Exited(code) => ExitStatus {
            code: Some(code),
            signal: None,
        },
        Exit::Signalled(signal) => ExitStatus {
            code: None,
            signal: Some(signal),
        },
        Exit::Unknown => ExitStatus::default(),
    }
}

async fn of_launch(launching: Option<&mut Launching>) -> Result<TerminalBody, Failure> {
    match launching {
        Some(launching) => launching.await,
        None => pending().await,
    }
}
