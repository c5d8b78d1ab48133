//! One attached client: its terminal, which the broker itself reads and writes.
//!
//! The client hands its terminal over and then only waits; so a key is on its way with one process
//! less, and a terminal is put back into order also when its client was killed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};

use clsess_holder::protocol::Window;
use clsess_proto::{Attach, DetachReason, Detached, Failure, TerminalModes};
use clsess_vt::{Painted, Query, Size, Terminal};
use nix::sys::termios::{
    ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr,
    tcsetattr,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::keys::{DetachKeys, Keys};
use crate::driver::reactor;

/// Bytes that wait for a slow terminal. With more it is stale: they are dropped, and when it reads
/// again it gets the screen as it is then.
const WAITING: usize = 256 * 1024;
/// Bytes of a program that a viewer gets one by one in a second, [`WAITING`] of them at once: of a
/// program that says more it gets the screen from time to time. Nobody reads faster, and to write
/// everything twice would hold the program up.
const ALL_PER_SECOND: f64 = 4_000_000.0;
/// Pictures of the screen that one viewer gets, at most one in this time: as many as eyes see.
const FRAME: Duration = Duration::from_millis(16);
/// How long the beginning of a sequence waits for its end, before it is taken for keys of their
/// own.
const SEQUENCE: Duration = Duration::from_millis(50);
/// How long a terminal that does not read may keep us from putting it back into order.
const LEAVING: Duration = Duration::from_secs(1);
/// Rows of history that a terminal gets at most when it attaches: enough to look back, and no long
/// wait on a slow line.
const MOST_RECALLED: u32 = 2000;
/// Bytes that are read of a terminal at once.
const READ: usize = 4096;

/// What comes of a viewer.
#[derive(Debug)]
pub enum Seen {
    /// Somebody has typed this.
    Typed(Vec<u8>),
    /// Nothing that anybody has to know.
    Nothing,
    /// It is gone.
    Gone,
}

/// How a viewer follows the program.
#[derive(Debug)]
enum Follows {
    /// It has everything up to now, and gets what comes.
    Live,
    /// It gets the whole screen when it can take it.
    Stale,
    /// It has another size: it gets pictures, and has this one.
    Picture(Box<Painted>),
}

/// See the module.
#[derive(Debug)]
pub struct Viewer {
    /// As its client calls it.
    pub id: Uuid,
    /// It looks only.
    pub read_only: bool,
    terminal: AsyncFd<OwnedFd>,
    /// The same, while it takes nothing more.
    full: Option<AsyncFd<OwnedFd>>,
    /// Its modes as they were.
    before: Termios,
    /// Its size.
    pub window: Window,
    keys: Keys,
    /// When what is held back of the keys is passed on.
    keys_due: Option<Instant>,
    follows: Follows,
    /// It has not been drawn yet.
    first: bool,
    /// Rows of history that it is still to get.
    recall: Option<usize>,
    /// Something has changed since it got its last picture.
    changed: bool,
    /// No picture before.
    next_frame: Instant,
    /// Bytes that it gets one by one, and when that was so.
    one_by_one: (f64, Instant),
    waiting: Vec<u8>,
    /// So many of those are written.
    written: usize,
    /// Something before those that are not was.
    begun: bool,
    /// What is asked in those, up to where, and what we would answer.
    asked: Vec<(usize, Vec<u8>)>,
    /// Our answers to what was dropped: its terminal has never heard of it.
    unanswered: Vec<u8>,
    /// Bytes were dropped behind some that were written: the terminal may be inside a sequence.
    torn: bool,
    /// Why it leaves, and when it has to have left.
    leaves: Option<(Detached, Instant)>,
    /// Is told when it has left; closed when the client is gone.
    left: Option<oneshot::Sender<Result<Detached, Failure>>>,
}

impl Viewer {
    /// Takes a terminal over.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(attach: &Attach, keys: DetachKeys, terminal: OwnedFd) -> io::Result<Self> {
        let mut before = tcgetattr(&terminal)?;
        if let Some(modes) = &attach.modes {
            remembered(&mut before, modes);
        }
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSANOW, &raw)?;
        // Whatever the client has sent: one that does not read must not hold the broker up.
        rustix::io::ioctl_fionbio(&terminal, true)?;
        let window = window_of(&terminal);
        Ok(Self {
            id: attach.viewer,
            read_only: attach.read_only,
            terminal: reactor(terminal, Interest::READABLE)?,
            full: None,
            before,
            window,
            keys: Keys::new(keys),
            keys_due: None,
            follows: Follows::Stale,
            first: true,
            recall: (attach.recall > 0).then_some(attach.recall.min(MOST_RECALLED) as usize),
            changed: true,
            next_frame: Instant::now(),
            one_by_one: (WAITING as f64, Instant::now()),
            waiting: Vec::new(),
            written: 0,
            begun: false,
            asked: Vec::new(),
            unanswered: Vec::new(),
            torn: false,
            leaves: None,
            left: None,
        })
    }

    /// `left` is told when it has left.
    #[must_use]
    pub fn of(mut self, left: oneshot::Sender<Result<Detached, Failure>>) -> Self {
        self.left = Some(left);
        self
    }

    /// Whether it gets the very bytes of the program: then its terminal answers what that asks.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.follows, Follows::Live) && self.leaves.is_none()
    }

    /// Its terminal may have another size now; whether it has.
    pub fn measure(&mut self) -> bool {
        let window = window_of(self.terminal.get_ref());
        let is_other = window != self.window;
        self.window = window;
        is_other
    }

    /// What is there is not what the program has drawn since: it gets all of it.
    pub fn refresh(&mut self) {
        self.follows = Follows::Stale;
        self.changed = true;
        self.next_frame = Instant::now();
    }

    /// The program has said this, and asked these for this terminal to answer.
    pub fn push(&mut self, bytes: &[u8], queries: &[Query]) {
        self.changed = true;
        if !self.is_live() {
            return;
        }
        if !self.may_have_all(bytes.len())
            || self.waiting.len() - self.written + bytes.len() > WAITING
        {
            self.drop_waiting();
            self.follows = Follows::Stale;
            return;
        }
        if self.written > WAITING {
            // One that is always a little late would never be done with it.
            self.waiting.drain(..self.written);
            self.asked.retain(|(end, _)| *end > self.written);
            let written = std::mem::take(&mut self.written);
            self.asked.iter_mut().for_each(|(end, _)| *end -= written);
        }
        let from = self.waiting.len();
        let asked = queries.iter();
        self.asked
            .extend(asked.map(|query| (from + query.end, query.answer.clone())));
        self.waiting.extend_from_slice(bytes);
        let _ = self.write();
    }

    /// Whether the program says so little that it gets this, too.
    fn may_have_all(&mut self, bytes: usize) -> bool {
        let (left, at) = self.one_by_one;
        let now = Instant::now();
        let more = (now - at).as_secs_f64() * ALL_PER_SECOND;
        let left = (left + more).min(WAITING as f64) - bytes as f64;
        self.one_by_one = (left.max(0.0), now);
        left >= 0.0
    }

    fn drop_waiting(&mut self) {
        self.torn |= self.begun && self.written < self.waiting.len();
        self.begun = false;
        for (end, answer) in self.asked.drain(..) {
            if end > self.written {
                self.unanswered.extend(answer);
            }
        }
        self.waiting.clear();
        self.written = 0;
    }

    /// What is to be answered in its place.
    pub fn unanswered(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unanswered)
    }

    /// Begins to leave: the terminal is put back into order first.
    pub fn leave(&mut self, why: Detached, terminal: &Terminal) {
        if self.leaves.is_some() {
            return;
        }
        self.drop_waiting();
        self.begin_whole();
        self.waiting.extend_from_slice(&terminal.undo());
        self.leaves = Some((why, Instant::now() + LEAVING));
        let _ = self.write();
    }

    /// What comes next finds the terminal outside of any sequence.
    fn begin_whole(&mut self) {
        if std::mem::take(&mut self.torn) {
            self.waiting.extend_from_slice(b"\x1b\\");
        }
    }

    /// When it wants to be looked at though nothing has happened. `whole`: the program is not inside
    /// a sequence.
    #[must_use]
    pub fn deadline(&self, whole: bool, now: Instant) -> Option<Instant> {
        let leaves = self.leaves.as_ref().map(|(_, by)| *by);
        // What has come due waits for the terminal.
        let frame = Some(self.next_frame).filter(|at| *at > now);
        let frame = frame.filter(|_| whole && self.wants_frame());
        [leaves, frame, self.keys_due].into_iter().flatten().min()
    }

    /// Whether there is a picture for it, and nothing else on its way to it.
    fn wants_frame(&self) -> bool {
        let wants = match self.follows {
            Follows::Live => false,
            Follows::Stale => true,
            Follows::Picture(_) => self.changed,
        };
        wants && self.leaves.is_none() && self.waiting.is_empty()
    }

    /// Looks at what has happened. `reads`: whether what it types has a place.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        terminal: &mut Terminal,
        reads: bool,
        now: Instant,
    ) -> Poll<Seen> {
        if self
            .left
            .as_mut()
            .is_some_and(|left| left.poll_closed(context).is_ready())
        {
            // Its client is gone; the terminal may still be there.
            self.left = None;
            self.leave(Detached::default(), terminal);
        }
        if self.write_out(context, terminal, now).is_err() {
            return Poll::Ready(self.is_gone());
        }
        if let Some((_, by)) = &self.leaves {
            if self.waiting.is_empty() || *by <= now {
                return Poll::Ready(self.is_gone());
            }
            return Poll::Pending;
        }
        if self.keys_due.take_if(|due| *due <= now).is_some() {
            let waited = self.keys.release();
            return Poll::Ready(self.typed_by_its_user(waited));
        }
        match reads {
            true => self.poll_read(context, terminal),
            false => Poll::Pending,
        }
    }

    /// Writes what there is for it, as long as the terminal takes it.
    fn write_out(
        &mut self,
        context: &mut Context<'_>,
        terminal: &mut Terminal,
        now: Instant,
    ) -> io::Result<()> {
        loop {
            let draws = self.wants_frame() && self.next_frame <= now && terminal.whole();
            if self.waiting.is_empty() && !draws {
                return Ok(());
            }
            // Not drawn before it can be written: later there is more to see.
            if let Some(full) = &self.full {
                match full.poll_write_ready(context) {
                    Poll::Ready(ready) => drop(ready?),
                    Poll::Pending => return Ok(()),
                }
            }
            if draws {
                self.draw(terminal, now);
            }
            self.write()?;
        }
    }

    /// Writes as much as the terminal takes now.
    fn write(&mut self) -> io::Result<()> {
        while self.written < self.waiting.len() {
            match rustix::io::write(self.terminal.get_ref(), &self.waiting[self.written..]) {
                Ok(written) => {
                    self.written += written;
                    self.begun = true;
                }
                Err(rustix::io::Errno::AGAIN) => return self.is_full(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.full = None;
        self.begun = false;
        self.waiting.clear();
        self.written = 0;
        self.asked.clear();
        Ok(())
    }

    /// It takes nothing more; whoever waits is told when it does. Only then: a terminal would wake
    /// us each time that it has shown something.
    fn is_full(&mut self) -> io::Result<()> {
        let waits = match self.full.take() {
            Some(waits) => waits,
            None => reactor(self.terminal.get_ref().try_clone()?, Interest::WRITABLE)?,
        };
        let again = || io::Error::from(io::ErrorKind::WouldBlock);
        let _ = waits.try_io(Interest::WRITABLE, |_| Err::<(), _>(again()));
        self.full = Some(waits);
        Ok(())
    }

    fn draw(&mut self, terminal: &mut Terminal, now: Instant) {
        self.begin_whole();
        let size = size_of(self.window);
        let first = std::mem::take(&mut self.first) && self.recall.is_some();
        if first {
            // What the terminal shows is its user's: it goes up, and is not drawn over.
            self.waiting.extend_from_slice(b"\x1b[999H");
            let rows = usize::from(size.rows);
            self.waiting.resize(self.waiting.len() + rows, b'\n');
        }
        // The screen comes first, and is drawn again behind the history.
        let recall = self.recall.filter(|_| !first && !terminal.alternate());
        if size == terminal.size() {
            if let Some(rows) = recall {
                self.recall = None;
                self.waiting.extend_from_slice(&terminal.recall(rows));
            }
            self.waiting.extend_from_slice(&terminal.snapshot());
            self.follows = match self.recall {
                Some(_) if !terminal.alternate() => Follows::Stale,
                _ => Follows::Live,
            };
        } else {
            let mut painted = match std::mem::replace(&mut self.follows, Follows::Stale) {
                Follows::Picture(painted) => painted,
                _ => Box::default(),
            };
            self.waiting
                .extend_from_slice(&terminal.paint(size, &mut painted));
            self.follows = Follows::Picture(painted);
        }
        self.changed = false;
        self.next_frame = if first { now } else { now + FRAME };
    }

    fn poll_read(&mut self, context: &mut Context<'_>, terminal: &Terminal) -> Poll<Seen> {
        loop {
            let mut ready = match self.terminal.poll_read_ready(context) {
                Poll::Ready(Ok(ready)) => ready,
                Poll::Ready(Err(_)) => return Poll::Ready(self.is_gone()),
                Poll::Pending => return Poll::Pending,
            };
            let mut bytes = [0; READ];
            match rustix::io::read(self.terminal.get_ref(), &mut bytes) {
                Ok(0) => return Poll::Ready(self.is_gone()),
                Ok(n) => return Poll::Ready(self.typed(&bytes[..n], terminal)),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Poll::Ready(self.is_gone()),
            }
        }
    }

    fn typed(&mut self, bytes: &[u8], terminal: &Terminal) -> Seen {
        let encoded = terminal.kitty_flags() != 0 || terminal.modify_other_keys() != 0;
        let (passed, detaches) = self.keys.feed(bytes, encoded);
        self.keys_due = self.keys.holds().then(|| Instant::now() + SEQUENCE);
        if detaches {
            self.keys_due = None;
            self.leave(Detached::because(DetachReason::Keys), terminal);
        }
        self.typed_by_its_user(passed)
    }

    fn typed_by_its_user(&self, bytes: Vec<u8>) -> Seen {
        match self.read_only {
            true => Seen::Nothing,
            false => Seen::Typed(bytes),
        }
    }

    /// Gives the terminal back.
    fn is_gone(&mut self) -> Seen {
        self.drop_waiting();
        // Not a wait for what it has to write: one that does not read would hold us up.
        let _ = tcsetattr(self.terminal.get_ref(), SetArg::TCSANOW, &self.before);
        if let Some(left) = self.left.take() {
            let why = self.leaves.take().map(|(why, _)| why).unwrap_or_default();
            let _ = left.send(Ok(why));
        }
        Seen::Gone
    }
}

/// The modes that the client has found at its first broker.
fn remembered(termios: &mut Termios, modes: &TerminalModes) {
    termios.input_flags = InputFlags::from_bits_retain(modes.input);
    termios.output_flags = OutputFlags::from_bits_retain(modes.output);
    termios.control_flags = ControlFlags::from_bits_retain(modes.control);
    termios.local_flags = LocalFlags::from_bits_retain(modes.local);
    for (kept, given) in termios
        .control_chars
        .iter_mut()
        .zip(modes.characters.iter())
    {
        *kept = *given;
    }
}

/// The size of a terminal; one that does not know gets the usual one.
fn window_of(terminal: &impl AsFd) -> Window {
    let usual = Window {
        rows: 24,
        cols: 80,
        ..Window::default()
    };
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => Window {
            rows: size.ws_row,
            cols: size.ws_col,
            width: size.ws_xpixel,
            height: size.ws_ypixel,
        },
        _ => usual,
    }
}

/// Without its pixels.
#[must_use]
pub fn size_of(window: Window) -> Size {
    Size {
        rows: window.rows,
        cols: window.cols,
    }
}
