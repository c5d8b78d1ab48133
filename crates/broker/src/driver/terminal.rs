//! The terminal body: a program with a terminal of its own.
//!
//! What it says is moved by the kernel into a pipe of the holder's and from there into the inbox,
//! so that nothing is lost with a broker; the next one begins with the state that was saved last
//! and reads once more what has come since. What is typed waits here, and is lost with a broker
//! unless its typist waits for it.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clsess_holder::protocol::{
    Exit, INBOX, MASTER, NOTES, PIPE_READ, PIPE_WRITE, Reply, Start, Successor, Window,
};
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::held::{Held, Lent, StartError};
use super::moved::{Moved, READ, move_bytes};
use super::notes::Notes;
use super::orphans::{self, Process};
use super::reactor;

/// Bytes of one of the two places for the state of a terminal: a history of many lines is in it.
/// The file holds only the memory that is written.
const PLACE: u64 = 32 * 1024 * 1024;
/// What has come since the state was saved, in bytes, before it is saved again.
const UNSAVED: u64 = 1024 * 1024;
/// The same, in lengths of the state: saving is a small part of the work.
const LENGTHS: u64 = 8;
/// How long a key's echo is looked for before the broker sleeps. Measured: `cat` has echoed after 30
/// us, and a process that sleeps begins to run 25 us after its wake-up.
const ECHO: Duration = Duration::from_micros(60);
/// A terminal gives as much at once when there is more.
const LITTLE: usize = 1024;
/// Bytes that may wait to be typed before nobody is read who types more.
const TYPED: usize = 64 * 1024;

/// What comes from the body.
#[derive(Debug)]
pub enum TerminalEvent {
    /// The program has said something: it is taken with [`TerminalBody::hear`].
    Output,
    /// It has everything that was typed: more may be, see [`TerminalBody::takes_more`].
    TakesMore,
    /// Nothing more of it can be read, and why.
    Unreadable(String),
    /// The program itself has exited; `Gone` follows.
    Exited(Exit),
    /// It and all its processes are gone, and everything that it said has been given out.
    Gone {
        /// How it ended.
        exit: Exit,
        /// Whether processes are left that could not be ended.
        left: bool,
    },
}

/// Something that is typed.
#[derive(Debug)]
struct Typed {
    bytes: Vec<u8>,
    /// So many are typed.
    done: usize,
    /// Is told when all of it is.
    when_done: Option<oneshot::Sender<()>>,
}

/// A program with a terminal.
#[derive(Debug)]
pub struct TerminalBody {
    held: Held,
    /// Absent when nobody has the other end open any more.
    master: Option<AsyncFd<OwnedFd>>,
    /// The same, while it takes nothing more.
    full: Option<AsyncFd<OwnedFd>>,
    /// Between the master and the inbox: one call cannot move from a terminal into a file.
    pipe: (OwnedFd, OwnedFd),
    inbox: Moved,
    notes: Notes,
    /// Up to here everything is in the state that was saved last.
    saved: u64,
    /// How long that is.
    saved_length: u64,
    /// What has come since is not given back, saved or not.
    keeps_from: u64,
    typed: VecDeque<Typed>,
    typed_bytes: usize,
    end: Option<(Exit, bool)>,
    /// The end of what a dead holder has left behind.
    orphans: Option<JoinHandle<()>>,
}

/// A body that an earlier broker has left.
#[derive(Debug)]
pub struct FoundTerminal {
    /// It: what it gives out begins where the saved state ends.
    pub body: TerminalBody,
    /// The state as it was saved last.
    pub state: Option<Vec<u8>>,
}

impl TerminalBody {
    /// Starts a program, whose holder keeps `port` and can be found in the session's directory `dir`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        dir: &Path,
        start: Start,
        successor: &Successor,
        port: Option<OwnedFd>,
    ) -> Result<Self, StartError> {
        let (held, lent) = Held::start(dir, start, successor, port).await?;
        let mut body = Self::around(held, lent)?.body;
        body.held.finished();
        Ok(body)
    }

    /// Finds the program that an earlier broker has left in `dir`.
    ///
    /// # Errors
    /// When there is one that does not do what it should.
    pub async fn find(dir: &Path, successor: &Successor) -> io::Result<Option<FoundTerminal>> {
        let found = Held::find(dir, successor).await?;
        found
            .map(|(held, lent)| Self::around(held, lent))
            .transpose()
    }

    fn around(held: Held, mut lent: Lent) -> io::Result<FoundTerminal> {
        let (notes, note) = Notes::take_up(lent.take(NOTES)?, PLACE)?;
        let (saved, state) = match note.as_deref().and_then(<[u8]>::split_first_chunk::<8>) {
            Some((position, state)) => (u64::from_be_bytes(*position), Some(state.to_vec())),
            None => (0, None),
        };
        let pipe = (lent.take(PIPE_READ)?, lent.take(PIPE_WRITE)?);
        let mut inbox = Moved::take_up(lent.take(INBOX)?, saved)?;
        // What the broker before has taken out of the terminal, and no further.
        while let Ok(1..) = inbox.receive(&pipe.0) {}
        let master = lent.take(MASTER)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let body = Self {
            held,
            master: Some(reactor(master, Interest::READABLE)?),
            full: None,
            pipe,
            inbox,
            notes,
            saved,
            saved_length: state.as_ref().map_or(0, |state| state.len() as u64),
            keeps_from: u64::MAX,
            typed: VecDeque::new(),
            typed_bytes: 0,
            end: None,
            orphans: None,
        };
        Ok(FoundTerminal { body, state })
    }

    /// The program's process.
    #[must_use]
    pub fn program(&self) -> Process {
        self.held.agent
    }

    /// The holder's process.
    #[must_use]
    pub fn holder(&self) -> Process {
        self.held.holder()
    }

    /// Lets `hear` have what [`TerminalEvent::Output`] has told of, or a piece of it.
    ///
    /// # Errors
    /// When it cannot be read: nothing more can.
    pub fn hear<T>(&mut self, hear: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let heard = self.inbox.read(READ, hear);
        if heard.is_err() {
            self.closed();
            self.inbox.give_up();
        }
        heard
    }

    /// Whether an earlier broker has heard the last piece, too, and has answered what was asked in it.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.inbox.is_repeated()
    }

    /// Whether so much has come since the state was saved that it should be again.
    #[must_use]
    pub fn wants_saving(&self) -> bool {
        self.inbox.position() - self.saved >= UNSAVED.max(self.saved_length * LENGTHS)
    }

    /// Saves the state of the terminal after everything that was given out, in place of the one
    /// before.
    ///
    /// # Errors
    /// When there is no memory, or it is too long: the one before holds, and what has come since.
    pub fn save(&mut self, state: &[u8]) -> io::Result<()> {
        let position = self.inbox.position();
        self.saved_length = state.len() as u64;
        let note = [&position.to_be_bytes()[..], state].concat();
        self.notes.write(&note)?;
        self.saved = position;
        self.inbox.release(position.min(self.keeps_from));
        Ok(())
    }

    /// What the program says from this position on is not given back; what is before it and in the
    /// saved state is.
    pub fn keeps_from(&mut self, position: u64) {
        self.keeps_from = position;
        self.inbox.release(position.min(self.saved));
    }

    /// Up to where everything was heard.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.inbox.position()
    }

    /// Whether there is something that was not heard.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.inbox.has_more()
    }

    /// Gives out once more what was kept from this position on, up to what is to be heard next; that
    /// position.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn hear_again(&self, from: u64, hear: impl FnMut(&[u8])) -> io::Result<u64> {
        self.inbox.again(from, hear)?;
        Ok(self.inbox.position())
    }

    /// Whether more may be typed now.
    #[must_use]
    pub fn takes_more(&self) -> bool {
        self.master.is_some() && self.typed_bytes < TYPED
    }

    /// Types; `when_done` is told when the terminal has all of it. It is tried at once.
    pub fn put(&mut self, bytes: &[u8], when_done: Option<oneshot::Sender<()>>) {
        if self.master.is_none() {
            return;
        }
        self.typed_bytes += bytes.len();
        self.typed.push_back(Typed {
            bytes: bytes.to_vec(),
            done: 0,
            when_done,
        });
        self.type_out();
    }

    /// Looks for what the program answers to a key, for a moment: to be woken for it takes longer
    /// than most programs do.
    pub fn await_echo(&mut self) {
        let Some(master) = &self.master else { return };
        let until = Instant::now() + ECHO;
        while !self.inbox.has_more() && Instant::now() < until {
            match take(master.get_ref(), &self.pipe, &mut self.inbox) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                _ => return,
            }
        }
    }

    /// Types what waits, as far as the terminal takes it; whoever waits is told when it takes more.
    /// Only then: it would wake us each time that the program has read something.
    fn type_out(&mut self) {
        let Some(master) = &self.master else { return };
        let written = write(master.get_ref(), &mut self.typed, &mut self.typed_bytes);
        self.full = match &written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let again = master.get_ref().try_clone();
                again
                    .and_then(|master| reactor(master, Interest::WRITABLE))
                    .ok()
            }
            _ => None,
        };
        if written.is_err() && self.full.is_none() {
            self.typed.clear();
            self.typed_bytes = 0;
        }
    }

    /// The terminal's size, as the kernel knows it.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        let size = rustix::termios::tcgetwinsize(self.master.as_ref()?.get_ref()).ok()?;
        Some(Window {
            rows: size.ws_row,
            cols: size.ws_col,
            width: size.ws_xpixel,
            height: size.ws_ypixel,
        })
    }

    /// Whether the program reads keys and not lines.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        use rustix::termios::{LocalModes, tcgetattr};
        let master = self.master.as_ref();
        let modes = master.and_then(|master| tcgetattr(master.get_ref()).ok());
        modes.is_some_and(|modes| !modes.local_modes.intersects(LocalModes::ICANON))
    }

    /// Gives the terminal another size; the program is told by SIGWINCH.
    pub fn resize(&self, window: Window) {
        let size = rustix::termios::Winsize {
            ws_row: window.rows,
            ws_col: window.cols,
            ws_xpixel: window.width,
            ws_ypixel: window.height,
        };
        if let Some(master) = &self.master
            && let Err(error) = rustix::termios::tcsetwinsize(master.get_ref(), size)
        {
            tracing::warn!(pid = self.program().pid, %error, "the terminal keeps its size");
        }
    }

    /// Asks for the program's end: it is hung up, then come SIGTERM and SIGKILL as the holder's
    /// protocol says.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        self.held.end(grace_ms, now);
    }

    /// Gives the holder up, which does not do what it is asked: it is killed, and the program
    /// ended without it.
    pub fn abandon(&mut self) {
        self.held.kill();
    }

    /// Waits for what comes next. Can be dropped and called again.
    pub async fn next(&mut self) -> TerminalEvent {
        loop {
            if let Some(orphans) = &mut self.orphans {
                let _ = orphans.await;
                self.orphans = None;
                self.take_the_rest();
            }
            if self.inbox.has_more() {
                return TerminalEvent::Output;
            }
            if let Some((exit, left)) = self.end
                && self.master.is_none()
            {
                self.held.reap();
                return TerminalEvent::Gone { exit, left };
            }
            if let Some(event) = self.step().await {
                return event;
            }
        }
    }

    /// One thing that happens: to what is typed, to what is said, or at the holder.
    async fn step(&mut self) -> Option<TerminalEvent> {
        let ended = self.end.is_some();
        tokio::select! {
            said = receive(self.master.as_ref(), &self.pipe, &mut self.inbox) => match said {
                Ok(1..) => None,
                Err(error) if error.raw_os_error() != Some(Errno::EIO as i32) => {
                    tracing::error!(pid = self.program().pid, %error, "the terminal cannot be read");
                    self.closed();
                    Some(TerminalEvent::Unreadable(error.to_string()))
                }
                // Nobody has its other end open any more.
                _ => {
                    self.closed();
                    None
                }
            },
            () = takes_more(self.full.as_ref()) => {
                self.type_out();
                Some(TerminalEvent::TakesMore)
            }
            said = self.held.next(), if !ended => {
                self.holder_said(said.ok().flatten().as_ref())
            }
        }
    }

    fn holder_said(&mut self, said: Option<&Reply>) -> Option<TerminalEvent> {
        match said {
            Some(Reply::Ended { exit, left }) => {
                self.end = Some((*exit, *left));
                self.take_the_rest();
            }
            Some(Reply::Exited(exit)) => return Some(TerminalEvent::Exited(*exit)),
            Some(_) => {}
            // A holder that is gone takes the knowledge of the exit along.
            None => {
                // It may only have been made to listen to somebody else.
                self.held.kill();
                self.orphans = Some(tokio::spawn(orphans::end(self.program())));
                self.end = Some((Exit::Unknown, false));
            }
        }
        None
    }

    /// Takes what there is, and no more of it: somebody may hold the terminal open for ever.
    fn take_the_rest(&mut self) {
        if let Some(master) = self.master.take() {
            while let Ok(1..) = take(master.get_ref(), &self.pipe, &mut self.inbox) {}
        }
        self.closed();
    }

    /// Nothing more is said or typed.
    fn closed(&mut self) {
        self.master = None;
        self.full = None;
        self.typed.clear();
        self.typed_bytes = 0;
    }
}

/// Takes what the terminal has said, up to [`READ`] bytes.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when that is nothing, and those of the descriptors.
fn take(master: &impl AsFd, pipe: &(OwnedFd, OwnedFd), inbox: &mut Moved) -> io::Result<usize> {
    let mut taken = 0;
    while taken < READ {
        match move_bytes(master, &pipe.1) {
            Ok(0) => break,
            Ok(moved) => {
                taken += inbox.receive(&pipe.0)?;
                if moved < LITTLE {
                    break;
                }
            }
            Err(_) if taken > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

async fn receive(
    master: Option<&AsyncFd<OwnedFd>>,
    pipe: &(OwnedFd, OwnedFd),
    inbox: &mut Moved,
) -> io::Result<usize> {
    match master {
        Some(master) => {
            let take = |master: &OwnedFd| take(master, pipe, inbox);
            master.async_io(Interest::READABLE, take).await
        }
        None => pending().await,
    }
}

async fn takes_more(full: Option<&AsyncFd<OwnedFd>>) {
    match full {
        // An error is seen when it is written.
        Some(full) => drop(full.writable().await),
        None => pending().await,
    }
}

/// Writes what is typed, as far as the terminal takes it.
fn write(master: &impl AsFd, typed: &mut VecDeque<Typed>, waiting: &mut usize) -> io::Result<()> {
    while let Some(first) = typed.front_mut() {
        while first.done < first.bytes.len() {
            let written = rustix::io::write(master, &first.bytes[first.done..])?;
            first.done += written;
            *waiting -= written;
        }
        if let Some(done) = typed.pop_front().and_then(|typed| typed.when_done) {
            let _ = done.send(());
        }
    }
    Ok(())
}
