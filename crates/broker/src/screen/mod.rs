//! The face of a session: the terminal of its program, and who looks at it.

mod encode;
mod keys;
mod viewer;

use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use clsess_holder::protocol::Window;
use clsess_proto::{Attach, DetachReason, Detached, ErrorCode, Failure};
use clsess_vt::{Notice, Query, Terminal};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

pub use encode::encoded;
pub use keys::DetachKeys;
use viewer::{Seen, Viewer, size_of};

/// Viewers of one session at most; more are refused.
const MAX_VIEWERS: usize = 64;

/// The keys that detach when nothing is said.
pub const DETACH_KEYS: &str = "C-\\";

/// What a viewer has done that its session has to know.
#[derive(Debug)]
pub enum Face {
    /// Somebody has typed this.
    Typed(Vec<u8>),
    /// The program has asked a terminal that has gone without having heard it: the answer.
    Answered(Vec<u8>),
    /// The terminal is to have another size.
    Resized(Window),
    /// There is one viewer less.
    Left,
}

/// See the module.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal,
    window: Window,
    viewers: Vec<Viewer>,
    /// Who has typed last, or come last: its size counts, and its terminal answers.
    leader: Option<Uuid>,
    /// Answers in place of viewers that are gone.
    unanswered: Vec<u8>,
}

impl Screen {
    /// A terminal of this size, which keeps so many rows of history.
    #[must_use]
    pub fn new(window: Window, history: usize) -> Self {
        let mut terminal = Terminal::new(size_of(window), history);
        terminal.set_pixels(window.width, window.height);
        Self {
            terminal,
            window,
            viewers: Vec::new(),
            leader: None,
            unanswered: Vec::new(),
        }
    }

    /// The terminal's state.
    pub fn terminal(&mut self) -> &mut Terminal {
        &mut self.terminal
    }

    /// Its size.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// How many viewers there are.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.viewers.len()
    }

    /// Takes up the state that another broker has saved.
    pub fn restore(&mut self, state: &[u8]) {
        let _ = self.terminal.feed(state);
    }

    /// What to save so that a later broker can take it up.
    pub fn saved(&mut self) -> Vec<u8> {
        let mut saved = self.terminal.saved();
        saved.extend_from_slice(self.terminal.pending());
        saved
    }

    /// The program has said this; what it asked that nobody else answers is answered. Also: what it
    /// said to us.
    pub fn feed(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<Notice>) {
        let mut begun = match self.viewers.is_empty() {
            true => Vec::new(),
            false => self.terminal.pending().to_vec(),
        };
        let fed = self.terminal.feed(bytes);
        let leader = self.leader;
        let mut answered = fed.queries.is_empty();
        if !self.viewers.is_empty() {
            begun.extend_from_slice(bytes);
            // Viewers get whole sequences only.
            let pending = self.terminal.pending().len().min(begun.len());
            let whole = &begun[..begun.len() - pending];
            let others = (!answered).then(|| without(whole, &fed.queries));
            for viewer in &mut self.viewers {
                match &others {
                    Some(others) if Some(viewer.id) != leader => viewer.push(others, &[]),
                    _ => {
                        viewer.push(whole, &fed.queries);
                        answered |= viewer.is_live();
                    }
                }
            }
        }
        // What was asked before is answered before.
        let mut answers = self.unanswered();
        if !answered {
            answers.extend(fed.queries.into_iter().flat_map(|query| query.answer));
        }
        (answers, fed.notices)
    }

    fn unanswered(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.unanswered);
        all.extend(self.viewers.iter_mut().flat_map(Viewer::unanswered));
        all
    }

    /// Lets a client look. `left` is told when it has left, or why it cannot look.
    pub fn attach(
        &mut self,
        attach: &Attach,
        terminal: OwnedFd,
        left: oneshot::Sender<Result<Detached, Failure>>,
    ) {
        let refused = |code, why: String| Err(Failure::new(code, why));
        let keys = attach.detach_keys.as_deref().unwrap_or(DETACH_KEYS);
        let keys = match DetachKeys::read(keys) {
            Ok(keys) => keys,
            Err(failure) => {
                let _ = left.send(Err(failure));
                return;
            }
        };
        if self.viewers.len() >= MAX_VIEWERS {
            let why = format!("{MAX_VIEWERS} are attached already");
            let _ = left.send(refused(ErrorCode::TooMany, why));
            return;
        }
        let viewer = match Viewer::new(attach, keys, terminal) {
            Ok(viewer) => viewer,
            Err(error) => {
                let why = format!("this is no terminal that can be used: {error}");
                let _ = left.send(refused(ErrorCode::NoTerminal, why));
                return;
            }
        };
        if attach.exclusive {
            self.detach_all(&Detached::because(DetachReason::Replaced));
        }
        if !attach.read_only {
            self.leader = Some(viewer.id);
        }
        self.viewers.push(viewer.of(left));
    }

    /// The terminal of a viewer may have another size.
    pub fn measure(&mut self, viewer: Uuid) {
        let Some(found) = self.viewers.iter_mut().find(|it| it.id == viewer) else {
            return;
        };
        let is_other = found.measure();
        // Also with the same one: it may have had another in between, and have moved what it shows.
        found.refresh();
        if is_other && !found.read_only {
            self.leader = Some(viewer);
        }
    }

    /// A viewer is to leave.
    pub fn detach(&mut self, id: Uuid, why: Detached) {
        if let Some(viewer) = self.viewers.iter_mut().find(|viewer| viewer.id == id) {
            viewer.leave(why, &self.terminal);
        }
    }

    /// All of them are.
    pub fn detach_all(&mut self, why: &Detached) {
        for viewer in &mut self.viewers {
            viewer.leave(why.clone(), &self.terminal);
        }
    }

    /// Another program begins, on an empty screen, and keeps so many rows of history. Whoever looks
    /// goes on looking.
    pub fn begin_anew(&mut self, history: usize) {
        self.terminal = Self::new(self.window, history).terminal;
        self.viewers.iter_mut().for_each(Viewer::refresh);
    }

    /// The terminal has this size from now on.
    pub fn resize(&mut self, window: Window) {
        self.window = window;
        self.terminal.resize(size_of(window));
        self.terminal.set_pixels(window.width, window.height);
        self.viewers.iter_mut().for_each(Viewer::refresh);
    }

    /// When somebody has to be looked at though nothing has happened.
    fn deadline(&self, now: Instant) -> Option<Instant> {
        let whole = self.terminal.whole();
        let due = self.viewers.iter().filter_map(|it| it.deadline(whole, now));
        due.min()
    }

    /// Waits for what comes of the viewers. `reads`: whether what they type has a place. Can be
    /// dropped and called again.
    pub async fn next(&mut self, reads: bool) -> Face {
        let mut timer = pin!(sleep_until(Instant::now()));
        let look = |context: &mut Context<'_>| loop {
            let now = Instant::now();
            if let Poll::Ready(face) = self.poll(context, reads, now) {
                return Poll::Ready(face);
            }
            // Only now: what they have just typed may have to wait for a moment.
            let Some(deadline) = self.deadline(now) else {
                return Poll::Pending;
            };
            timer.as_mut().reset(deadline);
            ready!(timer.as_mut().poll(context));
        };
        poll_fn(look).await
    }

    fn poll(&mut self, context: &mut Context<'_>, reads: bool, now: Instant) -> Poll<Face> {
        let mut at = 0;
        while let Some(viewer) = self.viewers.get_mut(at) {
            match viewer.poll(context, &mut self.terminal, reads, now) {
                Poll::Ready(Seen::Gone) => {
                    let mut gone = self.viewers.remove(at);
                    self.unanswered.extend(gone.unanswered());
                    if self.leader == Some(gone.id) {
                        self.leader = None;
                    }
                    return Poll::Ready(Face::Left);
                }
                Poll::Ready(Seen::Typed(bytes)) if !bytes.is_empty() => {
                    self.leader = Some(viewer.id);
                    return Poll::Ready(Face::Typed(bytes));
                }
                // It may have more.
                Poll::Ready(Seen::Typed(_) | Seen::Nothing) => {}
                Poll::Pending => at += 1,
            }
        }
        let answers = self.unanswered();
        if !answers.is_empty() {
            return Poll::Ready(Face::Answered(answers));
        }
        match self.wanted_size() {
            Some(window) => Poll::Ready(Face::Resized(window)),
            None => Poll::Pending,
        }
    }

    /// The size that the leader's terminal has, where the program's is another one. Without a
    /// leader whoever came last leads.
    fn wanted_size(&mut self) -> Option<Window> {
        let writes = |viewer: &&Viewer| !viewer.read_only;
        if self.leader.is_none() {
            self.leader = self.viewers.iter().rfind(writes).map(|viewer| viewer.id);
        }
        let leader = self.leader?;
        let leader = self.viewers.iter().find(|viewer| viewer.id == leader)?;
        (leader.window != self.window).then_some(leader.window)
    }
}

/// These bytes without what is asked in them.
fn without(bytes: &[u8], queries: &[Query]) -> Vec<u8> {
    let mut rest = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for query in queries {
        rest.extend_from_slice(bytes.get(from..query.start).unwrap_or_default());
        from = query.end;
    }
    rest.extend_from_slice(bytes.get(from..).unwrap_or_default());
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who attaches then must get the beginning of the sequence, too.
    #[test]
    fn a_sequence_that_is_not_finished_goes_on_in_another_broker() {
        let window = Window {
            rows: 4,
            cols: 10,
            ..Window::default()
        };
        let mut before = Screen::new(window, 10);
        assert_eq!(before.feed(b"x\x1b[3").0, b"");
        let mut after = Screen::new(window, 10);
        after.restore(&before.saved());
        assert_eq!(after.terminal().pending(), b"\x1b[3");
        assert_eq!(after.feed(b"1my\x1b[6").0, b"");
        assert_eq!(after.terminal().pending(), b"\x1b[6");
        assert_eq!(after.feed(b"n").0, b"\x1b[1;3R");
        assert_eq!(after.terminal().text(0), "xy\n\n\n\n");
    }
}
