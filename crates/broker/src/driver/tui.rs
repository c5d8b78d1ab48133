//! The TUI body: the agent's own interface, in a terminal that people may look at and type into.
//!
//! Its words are its hooks and its reports to the terminal (OSC 7501), line by line in [`Said`]. What
//! is for it is given by keys, and by what its hooks are answered. Nothing here knows what they mean.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;

use clsess_claude::input::{Asked, asked};
use clsess_claude::tui::prompt::{INTERRUPT, SUBMIT, keys};
use clsess_claude::tui::{Report, status};
use clsess_holder::protocol::{Start, Successor, Window};
use clsess_proto::Failure;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, sleep_until};
use uuid::Uuid;

use super::body::Body;
use super::held::StartError;
use super::inbox::Inbox;
use super::orphans::Process;
use super::said::Said;
use super::stream::{BodyEvent, Found};
use super::terminal::{TerminalBody, TerminalEvent};
use crate::shown::{Shown, ShownEvent};

/// Answers that are kept for hooks that ask again, after a broker's death.
const MAX_ANSWERS: usize = 256;
/// Hooks that wait at most; more are refused, and the agent goes on without them.
const MAX_HOOKS: usize = 256;
/// How long after its last report the interface may still be writing its transcript: one that is
/// ended earlier loses the turn (facts 2, corrections: 4 of 4 kept at 0.3 s).
const WRITES: Duration = Duration::from_millis(300);

/// Lines of the screen in a message.
const LAST_LINES: usize = 3;

/// Where the answer to a hook goes.
type Answer = oneshot::Sender<Result<Vec<u8>, Failure>>;

/// See the module.
#[derive(Debug)]
pub struct TuiBody {
    shown: Shown,
    program: Process,
    holder: Process,
    said: Said,
    /// What was put and not sent.
    put: Vec<Vec<u8>>,
    /// The prompt that was typed and not taken.
    typed: Option<Uuid>,
    /// Hooks that wait.
    hooks: HashMap<Uuid, Answer>,
    /// What was answered to the last ones.
    answers: VecDeque<(Uuid, Vec<u8>)>,
    /// The last report that an earlier broker may have heard, too.
    repeated: Option<Vec<u8>>,
    /// When it last reported something.
    reported: Option<Instant>,
    /// It is to be ended then: the grace in milliseconds, and whether by SIGTERM at once.
    ends: Option<(Instant, u32, bool)>,
    closed: bool,
}

impl TuiBody {
    /// Starts an interface, whose holder can be found in the session's directory `dir`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        dir: &Path,
        start: Start,
        successor: &Successor,
        history: usize,
    ) -> Result<Self, StartError> {
        let said = Said::begin(dir).map_err(StartError::from)?;
        let window = start.window;
        let body = TerminalBody::start(dir, start, successor).await?;
        Ok(Self::around(body, said, window, history))
    }

    /// Finds the interface that an earlier broker has left in `dir`. `position` tells from what was
    /// written down up to where that broker has accounted for what the agent said.
    ///
    /// # Errors
    /// When there is one that does not do what it should.
    pub async fn find(
        dir: &Path,
        successor: &Successor,
        history: usize,
        position: impl FnOnce(&[u8]) -> u64,
    ) -> io::Result<Option<Found>> {
        let Some(found) = TerminalBody::find(dir, successor).await? else {
            return Ok(None);
        };
        let (program, holder) = (found.body.program(), found.body.holder());
        let mut shown = Shown::new(Window::default(), history);
        let notes = shown.take_up(found);
        let from = notes.as_deref().map_or(0, position);
        let said = Said::take_up(dir, from)?;
        let body = Self::made((program, holder), shown, said);
        Ok(Some(Found {
            body: Body::Tui(Box::new(body)),
            notes,
        }))
    }

    fn around(body: TerminalBody, said: Said, window: Window, history: usize) -> Self {
        let (program, holder) = (body.program(), body.holder());
        let mut shown = Shown::new(window, history);
        shown.runs(body);
        Self::made((program, holder), shown, said)
    }

    fn made((program, holder): (Process, Process), shown: Shown, said: Said) -> Self {
        Self {
            shown,
            program,
            holder,
            said,
            put: Vec::new(),
            typed: None,
            hooks: HashMap::new(),
            answers: VecDeque::new(),
            repeated: None,
            reported: None,
            ends: None,
            closed: false,
        }
    }

    /// The agent's process.
    #[must_use]
    pub fn agent(&self) -> Process {
        self.program
    }

    /// The holder's process.
    #[must_use]
    pub fn holder(&self) -> Process {
        self.holder
    }

    /// The terminal, and who looks at it.
    pub fn shown(&mut self) -> &mut Shown {
        &mut self.shown
    }

    /// The end of what is on its screen, for messages.
    pub fn last_words(&mut self) -> String {
        let screen = String::from_utf8_lossy(&self.shown.capture(false, 0)).into_owned();
        let lines: Vec<&str> = screen
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("; ")
    }

    /// Writes down what a later broker has to know.
    ///
    /// # Errors
    /// When it cannot be; what was written before holds then.
    pub fn note(&mut self, notes: &[u8]) -> io::Result<()> {
        self.shown.note(notes)
    }

    /// What it says.
    pub fn inbox(&mut self) -> &mut Inbox {
        self.said.inbox()
    }

    /// The same, to be looked at.
    #[must_use]
    pub fn heard(&self) -> &Inbox {
        self.said.heard()
    }

    /// Whether it was told to end: it takes nothing more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Keeps a line for it, as a stream's agent would be written it, until [`TuiBody::send`].
    pub fn put(&mut self, line: &[u8]) {
        self.put.push(line.to_vec());
    }

    /// Takes back what was put last.
    pub fn take_back(&mut self) {
        self.put.pop();
    }

    /// Gives it what was put.
    pub fn send(&mut self) {
        for line in std::mem::take(&mut self.put) {
            match asked(&line) {
                Asked::Prompt { uuid, text } => {
                    self.typed = Some(uuid);
                    self.type_in(&keys(&text));
                    self.type_in(SUBMIT);
                }
                Asked::Interrupt => self.type_in(INTERRUPT),
                Asked::Answer { request_id, answer } => {
                    if let Ok(id) = request_id.parse() {
                        self.answer(id, answer);
                    }
                }
                Asked::Other => {}
            }
        }
    }

    fn type_in(&mut self, keys: &[u8]) {
        if let Some(body) = self.shown.body_mut() {
            body.put(keys, None);
        }
    }

    /// A prompt that was typed has been taken.
    pub fn is_taken(&mut self, prompt: Uuid) {
        self.typed.take_if(|typed| *typed == prompt);
    }

    /// The prompt that was typed and not taken.
    #[must_use]
    pub fn undelivered(&self) -> Option<Uuid> {
        self.typed
    }

    /// A hook comes, perhaps once more.
    pub fn hook(&mut self, id: Uuid, input: &[u8], reply: Answer) {
        if let Some((_, answer)) = self.answers.iter().find(|(answered, _)| *answered == id) {
            let _ = reply.send(Ok(answer.clone()));
            return;
        }
        self.hooks.retain(|_, reply| !reply.is_closed());
        let heard = match self.hooks.contains_key(&id) {
            true => Ok(()),
            false if self.hooks.len() >= MAX_HOOKS => Err(io::ErrorKind::QuotaExceeded.into()),
            false => self.said.hook(id, input),
        };
        match heard {
            Ok(()) => drop(self.hooks.insert(id, reply)),
            Err(error) => {
                let message = format!("the hook cannot be kept: {error}");
                let code = clsess_proto::ErrorCode::Internal;
                let _ = reply.send(Err(Failure::new(code, message)));
            }
        }
    }

    /// What a hook is answered.
    pub fn answer(&mut self, id: Uuid, answer: Vec<u8>) {
        if let Some(reply) = self.hooks.remove(&id) {
            let _ = reply.send(Ok(answer.clone()));
        }
        if self.answers.len() == MAX_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back((id, answer));
    }

    /// Asks for its end, which is put off as long as it may still be writing.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        self.closed = true;
        let until = self.reported.map(|at| at + WRITES);
        match until.filter(|until| !now && *until > Instant::now()) {
            Some(until) => self.ends = Some((until, grace_ms, now)),
            None => self.end_now(grace_ms, now),
        }
    }

    fn end_now(&mut self, grace_ms: u32, now: bool) {
        self.ends = None;
        if let Some(body) = self.shown.body_mut() {
            body.end(grace_ms, now);
        }
    }

    /// Gives the holder up, which does not do what it is asked.
    pub fn abandon(&mut self) {
        if let Some(body) = self.shown.body_mut() {
            body.abandon();
        }
    }

    /// Waits for what comes next. Can be dropped and called again.
    pub async fn next(&mut self) -> BodyEvent {
        loop {
            if self.said.heard().has_more() {
                return match self.said.inbox().read() {
                    Ok(()) => BodyEvent::Lines,
                    Err(_) => {
                        self.said.inbox().give_up();
                        BodyEvent::Unreadable("what it said cannot be read back")
                    }
                };
            }
            let ends = self.ends;
            let event = tokio::select! {
                event = self.shown.next() => event,
                () = sleep_until(ends.map_or_else(Instant::now, |(at, ..)| at)), if ends.is_some() => {
                    if let Some((_, grace_ms, now)) = ends {
                        self.end_now(grace_ms, now);
                    }
                    continue;
                }
            };
            match event {
                ShownEvent::Output => {
                    if let Err(error) = self.output() {
                        tracing::error!(pid = self.program.pid, %error, "the interface cannot be heard");
                        return BodyEvent::Unreadable("what it shows cannot be read");
                    }
                }
                ShownEvent::Body(TerminalEvent::Exited(_)) => return BodyEvent::Exited,
                ShownEvent::Body(TerminalEvent::Gone { exit, left }) => {
                    return BodyEvent::Gone { exit, left };
                }
                ShownEvent::Body(TerminalEvent::Unreadable(_)) => {
                    return BodyEvent::Unreadable("what it shows cannot be read");
                }
                ShownEvent::Typed => return BodyEvent::Typed,
                ShownEvent::Body(_) | ShownEvent::Resized(_) | ShownEvent::Nothing => {}
            }
        }
    }

    /// Takes what it shows, and writes down what it reports.
    fn output(&mut self) -> io::Result<()> {
        let notices = self
            .shown
            .output(|notice| match status::report(&notice.0) {
                Some(Report::Asked) => status::ANSWER,
                _ => b"",
            })?;
        let repeated = self.shown.body().is_some_and(TerminalBody::is_repeated);
        if !repeated && let Some(last) = self.repeated.take() {
            self.said.report(&last)?;
        }
        for notice in notices {
            match status::report(&notice.0) {
                // Of a level only the last word counts.
                Some(Report::Status(_)) if repeated => self.repeated = Some(notice.0),
                Some(Report::Status(_)) => {
                    self.reported = Some(Instant::now());
                    self.said.report(&notice.0)?;
                }
                Some(Report::Asked) | None => {}
            }
        }
        Ok(())
    }
}
