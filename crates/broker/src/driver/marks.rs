//! The body of a session that runs a program with turns: a terminal that people may look at and type
//! into, in which the program marks its prompts (OSC 133, see [`crate::marks`]).
//!
//! What it says is kept by the holder until its turn is accounted for, so a later broker hears it
//! again. A prompt is typed where the line is free; nothing here knows whose turn it is.

use std::io;
use std::path::Path;

use clsess_claude::input::{Asked, asked};
use clsess_holder::protocol::{Successor, Window};
use clsess_proto::Failure;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::body::Body;
use super::orphans::Process;
use super::stream::{BodyEvent, Found};
use super::terminal::{TerminalBody, TerminalEvent};
use crate::marks::line::{Clears, Line};
use crate::marks::prompt::{Why, typed};
use crate::marks::scan::{Piece, Scanner};
use crate::session::{Command, until};
use crate::shown::{Shown, ShownEvent};

/// How long it says nothing at its prompt before what may have been typed for it is taken for done. A
/// shell reads on at once.
const SILENT: Duration = Duration::from_secs(1);

/// What ends a command, and clears a line.
const CTRL_C: &[u8] = b"\x03";

/// The first byte of what [`MarksBody::line`] gives, where the rest is the inside of a mark.
pub const MARK: u8 = b'm';
/// The same of everything else.
pub const OTHER: u8 = b'o';

/// See the module.
#[derive(Debug)]
pub struct MarksBody {
    shown: Shown,
    program: Process,
    holder: Process,
    scanner: Scanner,
    /// What was fed and not looked at.
    fresh: bool,
    /// Up to where everything was fed.
    fed: u64,
    /// The piece that was given out last.
    piece: Vec<u8>,
    /// What was put and not sent.
    put: Vec<Vec<u8>>,
    /// The prompt that waits for a line.
    waits: Option<(Uuid, String)>,
    line: Line,
    /// When the line is cleared, if nothing comes before.
    clears_at: Option<Instant>,
    closed: bool,
}

impl MarksBody {
    /// Around a program that was just started in a terminal of this size.
    #[must_use]
    pub fn around(body: TerminalBody, window: Window, history: usize) -> Self {
        let (program, holder) = (body.program(), body.holder());
        let mut shown = Shown::new(window, history);
        shown.runs(body);
        shown.keeps_from(0);
        Self::made((program, holder), shown)
    }

    /// Finds the program that an earlier broker has left in `dir`. `position` tells from what was
    /// written down up to where that broker has accounted for what it said.
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
        shown.keeps_from(from);
        let mut body = Self::made((program, holder), shown);
        body.line = Line::taken_up();
        if let Some(terminal) = body.shown.body() {
            body.fed = terminal.hear_again(from, |piece| body.scanner.feed(piece))?;
            body.fresh = body.fed > from;
        }
        Ok(Some(Found {
            body: Body::Marks(Box::new(body)),
            notes,
        }))
    }

    fn made((program, holder): (Process, Process), shown: Shown) -> Self {
        Self {
            shown,
            program,
            holder,
            scanner: Scanner::default(),
            fresh: false,
            fed: 0,
            piece: Vec::new(),
            put: Vec::new(),
            waits: None,
            line: Line::default(),
            clears_at: None,
            closed: false,
        }
    }

    /// The program's process.
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

    /// Whether it was told to end: it takes nothing more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Keeps a line for it, as a stream's agent would be written it, until [`MarksBody::send`].
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
                    self.waits = Some((uuid, text));
                    self.type_out();
                }
                Asked::Interrupt => self.interrupt(),
                Asked::Answer { .. } | Asked::Other => {}
            }
        }
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&mut self) {
        self.shown.press(CTRL_C);
    }

    /// Whether a prompt can be typed now. Where somebody has left the line in disorder it is cleared.
    pub fn takes_prompt(&mut self) -> bool {
        match self.line.clears(self.shown.attached() == 0) {
            Clears::No => {}
            Clears::Now => self.clear(),
            Clears::Later => drop(
                self.clears_at
                    .get_or_insert_with(|| Instant::now() + SILENT),
            ),
        }
        self.line.is_free()
    }

    fn clear(&mut self) {
        self.clears_at = None;
        self.shown.press(CTRL_C);
        self.line.is_cleared();
    }

    /// Nothing was typed under an earlier broker that it has not done: a line editor would show it.
    pub fn is_untouched(&mut self) {
        if self.shown.body().is_some_and(TerminalBody::is_raw) {
            self.line.is_known();
        }
    }

    /// The same, without doing anything about it.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.line.is_free()
    }

    /// What types a prompt, by how the program reads now.
    ///
    /// # Errors
    /// Why it would not get it as it is.
    pub fn typed(&mut self, prompt: &str) -> Result<Vec<u8>, Why> {
        let raw = self.shown.body().is_some_and(TerminalBody::is_raw);
        typed(prompt, self.shown.pastes(), !raw)
    }

    /// How many prompts it has shown by now, and whether it waits at one.
    pub fn is_prompted(&mut self, (prompts, at_prompt): (u64, bool)) {
        self.line.is_prompted(prompts, at_prompt);
    }

    /// Does what is asked of its terminal. `gone`: as [`Shown::command`].
    pub fn command(&mut self, command: Command, gone: Failure) {
        self.clears_at = None;
        match &command {
            Command::Type { input, .. } => self.line.is_typed(input),
            Command::Keys { keys, .. } => {
                let typed = self.shown.encoded(keys).unwrap_or_default();
                self.line.is_typed(&typed);
            }
            _ => {}
        }
        self.shown.command(command, gone);
    }

    fn type_out(&mut self) {
        let Some((_, prompt)) = self.waits.take_if(|_| self.line.is_free()) else {
            return;
        };
        // What cannot be typed was refused before.
        if let Ok(bytes) = self.typed(&prompt) {
            self.line.is_ours();
            self.shown.press(&bytes);
        }
    }

    /// The prompt that was not typed.
    #[must_use]
    pub fn undelivered(&self) -> Option<Uuid> {
        self.waits.as_ref().map(|(uuid, _)| *uuid)
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

    /// The next piece of what it says: [`MARK`] or [`OTHER`], and the piece.
    pub fn line(&mut self) -> Option<&[u8]> {
        let Some(piece) = self.scanner.next() else {
            self.fresh = false;
            return None;
        };
        let (kind, bytes) = match piece {
            Piece::Mark(inside) => (MARK, inside),
            Piece::Other(bytes) => (OTHER, bytes),
        };
        self.piece.clear();
        self.piece.push(kind);
        self.piece.extend_from_slice(bytes);
        Some(&self.piece)
    }

    /// Where in all that it has said the piece begins that comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.fed - self.scanner.pending() as u64
    }

    /// Whether it has said something that was not looked at.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.fresh || self.shown.body().is_some_and(TerminalBody::has_more)
    }

    /// Writes down what a later broker has to know.
    ///
    /// # Errors
    /// When it cannot be; what was written before holds then.
    pub fn note(&mut self, notes: &[u8]) -> io::Result<()> {
        self.shown.note(notes)
    }

    /// What was said up to here need not be heard again.
    pub fn release(&mut self) {
        let position = self.position();
        self.shown.keeps_from(position);
    }

    /// Waits for what comes next. Can be dropped and called again.
    pub async fn next(&mut self) -> BodyEvent {
        if self.fresh {
            return BodyEvent::Lines;
        }
        let clears_at = self.clears_at;
        let event = tokio::select! {
            event = self.shown.next() => event,
            () = until(clears_at) => {
                self.clear();
                return BodyEvent::Looked;
            }
        };
        if matches!(event, ShownEvent::Output | ShownEvent::Typed(_)) {
            self.clears_at = None;
        }
        match event {
            ShownEvent::Output => match self.output() {
                Ok(()) => BodyEvent::Lines,
                Err(error) => {
                    tracing::error!(pid = self.program.pid, %error, "the program cannot be heard");
                    BodyEvent::Unreadable("what it shows cannot be read")
                }
            },
            ShownEvent::Body(TerminalEvent::Exited(_)) => BodyEvent::Exited,
            ShownEvent::Body(TerminalEvent::Gone { exit, left }) => BodyEvent::Gone { exit, left },
            ShownEvent::Body(TerminalEvent::Unreadable(_)) => {
                BodyEvent::Unreadable("what it shows cannot be read")
            }
            ShownEvent::Typed(bytes) => {
                self.line.is_typed(&bytes);
                BodyEvent::Looked
            }
            ShownEvent::Nothing | ShownEvent::Body(_) | ShownEvent::Resized(_) => BodyEvent::Looked,
        }
    }

    fn output(&mut self) -> io::Result<()> {
        let scanner = &mut self.scanner;
        let mut heard = 0;
        let hears = |piece: &[u8]| {
            scanner.feed(piece);
            heard = piece.len();
        };
        self.shown.output(|_| b"", hears)?;
        self.fed += heard as u64;
        self.fresh = true;
        Ok(())
    }
}
