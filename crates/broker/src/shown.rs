//! A program's terminal, and who looks at it: what the program says goes to the screen and to the
//! viewers, what they type and answer goes to the program.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;

use clsess_holder::protocol::Window;
use clsess_proto::{Attach, DetachReason, Detached, Failure};
use clsess_vt::Notice;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::driver::terminal::{FoundTerminal, TerminalBody, TerminalEvent};
use crate::screen::{Face, Screen, encoded};
use crate::session::{Answer, Command};

/// Rows of history that one answer gives at most.
const MOST_HISTORY: u32 = 100_000;
/// Bytes of an answer of `capture`; earlier rows are left out.
const MAX_CAPTURE: usize = 16 * 1024 * 1024;
/// Lines of the screen in a message.
const LAST_LINES: usize = 3;
/// Bytes that one key sends at most; more is pasted.
const ONE_KEY: usize = 16;

/// What a session has to know of it.
#[derive(Debug)]
pub enum ShownEvent {
    /// The program has said something: [`Shown::output`].
    Output,
    /// Of the program, but for its output.
    Body(TerminalEvent),
    /// Somebody has typed this.
    Typed(Vec<u8>),
    /// The terminal has this size from now on.
    Resized(Window),
    /// Something that is done with.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub struct Shown {
    screen: Screen,
    body: Option<TerminalBody>,
    /// What is typed stays where it is for now.
    holds_keys: bool,
    /// Rows of history that are kept.
    history: usize,
    /// What is written down beside the screen for a later broker.
    notes: Vec<u8>,
}

impl Shown {
    /// One without a program yet.
    #[must_use]
    pub fn new(window: Window, history: usize) -> Self {
        Self {
            screen: Screen::new(window, history),
            body: None,
            holds_keys: false,
            history,
            notes: Vec::new(),
        }
    }

    /// Takes up what an earlier broker has left; what it had written down beside the screen.
    pub fn take_up(&mut self, found: FoundTerminal) -> Option<Vec<u8>> {
        // What is known of the size may be older than its last change.
        let window = found.body.window();
        if let Some(window) = window.filter(|window| window.rows > 0 && window.cols > 0) {
            self.screen = Screen::new(window, self.history);
        }
        let saved = found.state.as_deref();
        let saved = saved.and_then(|saved| saved.split_first_chunk());
        let saved = saved.map(|(length, rest)| (u32::from_be_bytes(*length) as usize, rest));
        if let Some((notes, screen)) =
            saved.and_then(|(length, rest)| rest.split_at_checked(length))
        {
            self.notes = notes.to_vec();
            self.screen.restore(screen);
        }
        self.body = Some(found.body);
        (!self.notes.is_empty()).then(|| self.notes.clone())
    }

    /// Writes this down beside the screen, in place of what was.
    ///
    /// # Errors
    /// When it cannot be; what was written before holds then.
    pub fn note(&mut self, notes: &[u8]) -> io::Result<()> {
        self.notes = notes.to_vec();
        match &mut self.body {
            Some(body) => save(body, &mut self.screen, &self.notes),
            None => Ok(()),
        }
    }

    /// What the program says from this position on is kept for a later broker, whatever is written
    /// down of the screen.
    pub fn keeps_from(&mut self, position: u64) {
        if let Some(body) = &mut self.body {
            body.keeps_from(position);
        }
    }

    /// Whether the program reads pastes (mode 2004).
    pub fn pastes(&mut self) -> bool {
        self.screen.terminal().pastes()
    }

    /// Whether the program wants to be told of the focus (mode 1004).
    pub fn reports_focus(&mut self) -> bool {
        self.screen.terminal().reports_focus()
    }

    /// A program runs in it from now on.
    pub fn runs(&mut self, body: TerminalBody) {
        // The size may be another one than at its start.
        body.resize(self.screen.window());
        self.body = Some(body);
    }

    /// Nothing runs in it any more; what is on the screen stays.
    pub fn is_over(&mut self) {
        self.body = None;
    }

    /// Another program is to begin, on an empty screen. Whoever looks goes on looking.
    pub fn begin_anew(&mut self) {
        self.screen.begin_anew(self.history);
    }

    /// The program.
    #[must_use]
    pub fn body(&self) -> Option<&TerminalBody> {
        self.body.as_ref()
    }

    /// The same, to be ended.
    pub fn body_mut(&mut self) -> Option<&mut TerminalBody> {
        self.body.as_mut()
    }

    /// Types into it, if it is there.
    pub fn press(&mut self, keys: &[u8]) {
        if let Some(body) = &mut self.body {
            body.put(keys, None);
        }
    }

    /// Asks for its end, if it is there.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        if let Some(body) = &mut self.body {
            body.end(grace_ms, now);
        }
    }

    /// Gives its holder up, which does not do what it is asked.
    pub fn abandon(&mut self) {
        if let Some(body) = &mut self.body {
            body.abandon();
        }
    }

    /// Whether what viewers type stays in their terminals for now: something else has the program's.
    pub fn hold_keys(&mut self, hold: bool) {
        self.holds_keys = hold;
    }

    /// The terminal's size.
    #[must_use]
    pub fn window(&self) -> Window {
        self.screen.window()
    }

    /// The title that the program has given it.
    pub fn title(&mut self) -> Option<String> {
        self.screen.terminal().title().map(str::to_owned)
    }

    /// How many look at it.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.screen.attached()
    }

    /// Waits for what comes next. Can be dropped and called again.
    pub async fn next(&mut self) -> ShownEvent {
        let takes_more = self.body.as_ref().is_none_or(TerminalBody::takes_more);
        let reads = takes_more && !self.holds_keys;
        let face = tokio::select! {
            face = self.screen.next(reads) => face,
            event = of_body(self.body.as_mut()) => return match event {
                TerminalEvent::Output => ShownEvent::Output,
                event => ShownEvent::Body(event),
            },
        };
        match face {
            Face::Typed(bytes) => {
                if let Some(body) = &mut self.body {
                    body.put(&bytes, None);
                    if bytes.len() <= ONE_KEY {
                        body.await_echo();
                    }
                }
                ShownEvent::Typed(bytes)
            }
            Face::Answered(bytes) => {
                if let Some(body) = &mut self.body {
                    body.put(&bytes, None);
                }
                ShownEvent::Nothing
            }
            Face::Resized(window) => {
                self.resize(window);
                ShownEvent::Resized(window)
            }
            Face::Left => ShownEvent::Nothing,
        }
    }

    /// Takes what the program has said; what of it was said to us. `replies` answers that: before
    /// anything else is answered, since the program takes the answer to its last question, which
    /// every terminal knows, for the end of all. `hears` gets every byte.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn output(
        &mut self,
        replies: impl Fn(&Notice) -> &'static [u8],
        mut hears: impl FnMut(&[u8]),
    ) -> io::Result<Vec<Notice>> {
        let Some(body) = &mut self.body else {
            return Ok(Vec::new());
        };
        let (answers, notices) = body.hear(|piece| {
            hears(piece);
            self.screen.feed(piece)
        })?;
        let mut all: Vec<u8> = notices.iter().flat_map(replies).copied().collect();
        all.extend(answers);
        // An answer that comes twice would be typed into whatever runs by then.
        if !all.is_empty() && !body.is_repeated() {
            body.put(&all, None);
        }
        if body.wants_saving() {
            told(save(body, &mut self.screen, &self.notes));
        }
        Ok(notices)
    }

    fn resize(&mut self, window: Window) {
        self.screen.resize(window);
        if let Some(body) = &mut self.body {
            body.resize(window);
            // Bytes before and after mean something else: they are not to be read once more.
            told(save(body, &mut self.screen, &self.notes));
        }
    }

    /// Does what is asked of a terminal. `gone`: why nothing can be typed where no program runs.
    pub fn command(&mut self, command: Command, gone: Failure) {
        match command {
            Command::Attach {
                attach,
                terminal,
                left,
            } => self.attach(&attach, terminal, left),
            Command::Resized { viewer, reply } => {
                self.screen.measure(viewer);
                let _ = reply.send(Ok(()));
            }
            Command::Detach { viewer, reply } => {
                self.detach(viewer, Detached::because(DetachReason::Asked));
                let _ = reply.send(Ok(()));
            }
            Command::Capture {
                ansi,
                history,
                reply,
            } => drop(reply.send(Ok(self.capture(ansi, history)))),
            Command::Type { input, reply } => self.type_for(&input, reply, gone),
            Command::Keys { keys, reply } => match encoded(&keys, self.screen.terminal()) {
                Ok(input) => self.type_for(&input, reply, gone),
                Err(failure) => drop(reply.send(Err(failure))),
            },
            other => other.refuse(|| gone),
        }
    }

    /// What these keys send.
    ///
    /// # Errors
    /// For names of keys that are none.
    pub fn encoded(&mut self, keys: &[String]) -> Result<Vec<u8>, Failure> {
        encoded(keys, self.screen.terminal())
    }

    /// Types, and answers when the terminal has all of it.
    fn type_for(&mut self, bytes: &[u8], reply: Answer<()>, gone: Failure) {
        let Some(body) = &mut self.body else {
            let _ = reply.send(Err(gone));
            return;
        };
        let (done, typed) = oneshot::channel();
        body.put(bytes, Some(done));
        tokio::spawn(async move {
            let _ = reply.send(typed.await.map_err(|_| gone));
        });
    }

    // ---- who looks ----

    /// As [`Screen::attach`].
    pub fn attach(
        &mut self,
        attach: &Attach,
        terminal: OwnedFd,
        left: oneshot::Sender<Result<Detached, Failure>>,
    ) {
        self.screen.attach(attach, terminal, left);
    }

    /// A viewer is to leave, or all of them.
    pub fn detach(&mut self, viewer: Option<Uuid>, why: Detached) {
        match viewer {
            Some(viewer) => self.screen.detach(viewer, why),
            None => self.screen.detach_all(&why),
        }
    }

    /// The terminals of those who still look are put back into order, and they are told why. One
    /// that does not read is not waited for much longer than a moment.
    pub async fn last_looks(&mut self, why: DetachReason) {
        self.screen.detach_all(&Detached::because(why));
        while self.screen.attached() > 0 {
            // What they type meanwhile is for nobody.
            let _ = self.screen.next(false).await;
        }
    }

    // ---- without a terminal of one's own ----

    /// The end of what is on the screen, for messages.
    pub fn last_words(&mut self) -> String {
        let screen = self.text();
        let lines: Vec<&str> = screen
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("; ")
    }

    /// What is on the screen, to be read.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.capture(false, 0)).into_owned()
    }

    /// What is on the screen, with so many rows of history in front.
    pub fn capture(&mut self, ansi: bool, history: u32) -> Vec<u8> {
        let rows = history.min(MOST_HISTORY) as usize;
        let terminal = self.screen.terminal();
        let mut screen = match ansi {
            true => terminal.ansi(rows),
            false => terminal.text(rows).into_bytes(),
        };
        if screen.len() > MAX_CAPTURE {
            let from = screen.len() - MAX_CAPTURE;
            let line = screen[from..].iter().position(|byte| *byte == b'\n');
            screen.drain(..from + line.map_or(0, |line| line + 1));
        }
        screen
    }
}

fn save(body: &mut TerminalBody, screen: &mut Screen, notes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(notes.len()).map_err(io::Error::other)?;
    let mut saved = length.to_be_bytes().to_vec();
    saved.extend_from_slice(notes);
    saved.extend(screen.saved());
    body.save(&saved)
}

fn told(saved: io::Result<()>) {
    if let Err(error) = saved {
        tracing::error!(%error, "the screen cannot be saved");
    }
}

async fn of_body(body: Option<&mut TerminalBody>) -> TerminalEvent {
    match body {
        Some(body) => body.next().await,
        None => pending().await,
    }
}
