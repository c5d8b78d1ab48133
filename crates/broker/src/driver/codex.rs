//! The body of a session that runs Codex: a terminal that people may look at and type into.
//!
//! Its words are its hooks and its reports to the terminal (OSC 7501), line by line in [`Said`], a
//! report with its place in all that was shown: so it counts once, though a later broker reads it
//! again. Nothing here knows whose turn it is.

use std::io;
use std::path::Path;

use clsess_claude::input::{Asked, asked};
use clsess_holder::protocol::{Successor, Window};
use clsess_proto::Failure;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::body::Body;
use super::callers::{Answer, Callers};
use super::inbox::Inbox;
use super::orphans::Process;
use super::said::Said;
use super::stream::{BodyEvent, Found};
use super::terminal::{TerminalBody, TerminalEvent};
use crate::codex::prompt::{ESCAPE, carried, typed};
use crate::marks::scan::{MAX_MARK, Piece, Scanner};
use crate::session::{Command, until};
use crate::shown::{Shown, ShownEvent};
use crate::watch::Watch;

/// What a report begins with.
const REPORT: &[u8] = b"\x1b]7501;";
/// What is said in place of a report when it wants to be told of the focus.
pub const READS: &str = "reads";
/// The same when its transcript has grown that says why a turn has failed.
pub const WRITES: &str = "writes";
/// How long a prompt may take from the keys to its hook. Measured: 1.6 s in a new process, 3.4 s for
/// 1 MB.
const TAKES: Duration = Duration::from_secs(60);
/// What a terminal tells of the focus by itself.
const FOCUS: [&[u8]; 2] = [b"\x1b[I", b"\x1b[O"];

/// See the module.
#[derive(Debug)]
pub struct CodexBody {
    shown: Shown,
    program: Process,
    holder: Process,
    said: Said,
    callers: Callers,
    scanner: Scanner,
    /// Up to where everything was fed to it.
    fed: u64,
    /// Something of the scanner's is kept for a later broker.
    keeps: bool,
    /// It wants to be told of the focus.
    reads: bool,
    /// The transcript that is about to say why a turn has failed.
    writes: Option<Watch>,
    /// What was put and not sent.
    put: Vec<Vec<u8>>,
    /// The prompt that was typed and not taken, and how long it may take.
    waits: Option<(Uuid, Instant)>,
    /// Somebody has begun something in the box.
    draft: bool,
    /// Somebody has typed since the box was empty for certain.
    touched: bool,
    /// The same since the prompt that waits was typed.
    joined: bool,
    closed: bool,
}

impl CodexBody {
    /// Around a Codex that was just started in a terminal of this size.
    ///
    /// # Errors
    /// Of the disk.
    pub fn around(
        body: TerminalBody,
        dir: &Path,
        window: Window,
        history: usize,
    ) -> io::Result<Self> {
        let said = Said::begin(dir)?;
        let (program, holder) = (body.program(), body.holder());
        let mut shown = Shown::new(window, history);
        shown.runs(body);
        Ok(Self::made((program, holder), shown, said))
    }

    /// Finds the one that an earlier broker has left in `dir`. `position` tells from what was written
    /// down up to where that broker has accounted for what it said.
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
        let said = Said::take_up(dir, notes.as_deref().map_or(0, position))?;
        let mut body = Self::made((program, holder), shown, said);
        body.touched = true;
        body.look_back()?;
        Ok(Some(Found {
            body: Body::Codex(Box::new(body)),
            notes,
        }))
    }

    fn made((program, holder): (Process, Process), shown: Shown, said: Said) -> Self {
        Self {
            shown,
            program,
            holder,
            said,
            callers: Callers::default(),
            scanner: Scanner::of(REPORT),
            fed: 0,
            keeps: false,
            reads: false,
            writes: None,
            put: Vec::new(),
            waits: None,
            draft: false,
            touched: false,
            joined: false,
            closed: false,
        }
    }

    /// The screen may have been saved in the middle of a report.
    fn look_back(&mut self) -> io::Result<()> {
        let Some(terminal) = self.shown.body() else {
            return Ok(());
        };
        let at = terminal.position();
        let from = at.saturating_sub((REPORT.len() + MAX_MARK) as u64);
        let scanner = &mut self.scanner;
        self.fed = terminal.hear_again(from, |piece| scanner.feed(piece))?;
        self.reports()
    }

    /// Its process.
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

    /// What it says.
    pub fn inbox(&mut self) -> &mut Inbox {
        self.said.inbox()
    }

    /// The same, to be looked at.
    #[must_use]
    pub fn heard(&self) -> &Inbox {
        self.said.heard()
    }

    /// Writes down what a later broker has to know.
    ///
    /// # Errors
    /// When it cannot be; what was written before holds then.
    pub fn note(&mut self, notes: &[u8]) -> io::Result<()> {
        self.shown.note(notes)
    }

    /// Whether it was told to end: it takes nothing more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Keeps a line for it, as a stream's agent would be written it, until [`CodexBody::send`].
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
                Asked::Prompt { uuid, text } => self.type_in(uuid, &text),
                // A prompt that has not been taken is stopped by its hook, and a turn that has failed
                // is over; Esc at rest means another thing.
                Asked::Interrupt if self.waits.is_none() && self.writes.is_none() => {
                    self.shown.press(ESCAPE)
                }
                Asked::Interrupt | Asked::Answer { .. } | Asked::Other => {}
            }
        }
    }

    /// Types a prompt, perhaps once more.
    pub fn type_in(&mut self, prompt: Uuid, text: &str) {
        self.awaits(prompt);
        (self.draft, self.joined) = (false, false);
        // What cannot be carried was refused, and is not altered here.
        let keys = typed(carried(text).unwrap_or(text), self.touched);
        self.shown.press(&keys);
    }

    /// A prompt may have been typed by an earlier broker.
    pub fn awaits(&mut self, prompt: Uuid) {
        self.waits = Some((prompt, Instant::now() + TAKES));
    }

    /// The prompt that was typed has come to its hook, whatever became of it there.
    pub fn is_taken(&mut self) {
        self.waits = None;
        self.touched = self.joined;
    }

    /// The prompt that was typed and not taken.
    #[must_use]
    pub fn undelivered(&self) -> Option<Uuid> {
        self.waits.map(|(prompt, _)| prompt)
    }

    /// Whether nobody else has typed since the prompt was that waits.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        !self.joined
    }

    /// Whether a prompt can be typed: nobody has begun one.
    #[must_use]
    pub fn is_free(&self) -> bool {
        !self.draft || self.shown.attached() == 0
    }

    /// Does what is asked of its terminal. `gone`: as [`Shown::command`].
    pub fn command(&mut self, command: Command, gone: Failure) {
        match &command {
            Command::Type { input, .. } => self.is_typed(input),
            Command::Keys { keys, .. } => {
                let typed = self.shown.encoded(keys).unwrap_or_default();
                self.is_typed(&typed);
            }
            _ => {}
        }
        self.shown.command(command, gone);
    }

    fn is_typed(&mut self, bytes: &[u8]) {
        if FOCUS.contains(&bytes) {
            return;
        }
        (self.touched, self.joined) = (true, true);
        match bytes.last() {
            // Entered, or cleared.
            Some(b'\r' | 3 | 21) => self.draft = false,
            Some(_) => self.draft |= bytes[0] != 0x1b || bytes.starts_with(b"\x1b[200~"),
            None => {}
        }
    }

    /// A turn has failed, and why will stand in this transcript; none: that is known.
    pub fn watches(&mut self, transcript: Option<&Path>) {
        let Some(path) = transcript else {
            self.writes = None;
            return;
        };
        if self.writes.is_some() {
            return;
        }
        match Watch::for_growth(path) {
            Ok(watch) => {
                self.writes = Some(watch);
                // It may have grown since it was looked at.
                self.grows();
            }
            // It is looked at once more when it is waited for no longer.
            Err(error) => tracing::warn!(%error, "a transcript of Codex cannot be watched"),
        }
    }

    fn grows(&mut self) {
        if let Err(error) = self.said.report(WRITES.as_bytes(), None) {
            tracing::warn!(%error, "it cannot be written down that a transcript has grown");
        }
    }

    /// A hook comes, perhaps once more.
    pub fn hook(&mut self, id: Uuid, input: &[u8], reply: Answer) {
        self.callers.hook(id, input, &mut self.said, reply);
    }

    /// What a hook is answered.
    pub fn answer(&mut self, id: Uuid, answer: Vec<u8>) {
        self.callers.answer(id, answer);
    }

    /// Asks for its end.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        self.closed = true;
        self.shown.end(grace_ms, now);
    }

    /// Gives the holder up, which does not do what it is asked.
    pub fn abandon(&mut self) {
        self.shown.abandon();
    }

    /// Waits for what comes next. Can be dropped and called again.
    pub async fn next(&mut self) -> BodyEvent {
        loop {
            if let Some(event) = self.said.reads() {
                return event;
            }
            let takes_until = self.waits.map(|(_, until)| until);
            let event = tokio::select! {
                event = self.shown.next() => event,
                () = Watch::change(self.writes.as_mut()) => {
                    self.grows();
                    continue;
                }
                () = until(takes_until) => {
                    self.waits = None;
                    return BodyEvent::Unreadable("it takes no prompt");
                }
            };
            match event {
                ShownEvent::Output => {
                    if let Err(error) = self.output() {
                        tracing::error!(pid = self.program.pid, %error, "Codex cannot be heard");
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
                ShownEvent::Typed(bytes) => {
                    self.is_typed(&bytes);
                    return BodyEvent::Looked;
                }
                ShownEvent::Nothing => return BodyEvent::Looked,
                ShownEvent::Body(_) | ShownEvent::Resized(_) => {}
            }
        }
    }

    /// Takes what it shows, and writes down what it reports.
    fn output(&mut self) -> io::Result<()> {
        let scanner = &mut self.scanner;
        let mut heard = 0;
        let hears = |piece: &[u8]| {
            scanner.feed(piece);
            heard = piece.len();
        };
        self.shown.output(|_| b"", hears)?;
        self.fed += heard as u64;
        self.reports()?;
        if !self.reads && self.shown.reports_focus() {
            self.reads = true;
            self.said.report(READS.as_bytes(), None)?;
        }
        Ok(())
    }

    fn reports(&mut self) -> io::Result<()> {
        while let Some(piece) = self.scanner.next() {
            let Piece::Mark(inside) = piece else { continue };
            let inside = inside.to_vec();
            let at = self.fed - self.scanner.pending() as u64;
            self.said.report(&inside, Some(at))?;
        }
        let pending = self.scanner.pending() as u64;
        if pending > 0 || self.keeps {
            self.keeps = pending > 0;
            let from = if self.keeps {
                self.fed - pending
            } else {
                u64::MAX
            };
            self.shown.keeps_from(from);
        }
        Ok(())
    }
}
