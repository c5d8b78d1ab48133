//! The stream body: one warm agent that speaks lines of JSON over three pipes.
//!
//! Nothing here knows what a line means. What is to be written waits in the outbox
//! until the agent takes it; both of its outputs are read to their ends.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use clsess_holder::protocol::{
    Exit, INBOX, NOTES, OUTBOX, PIPE_READ, PIPE_WRITE, Reply, Start, Successor,
};
use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::body::Body;
use super::held::{Held, Lent, StartError};
use super::inbox::Inbox;
use super::moved::move_bytes;
use super::notes::{Notes, PLACE};
use super::orphans::{self, Process};
use super::outbox::Outbox;
use super::reactor;

/// Bytes of the agent's stderr that are kept for a report of its death; the
/// oldest go first.
const STDERR_KEPT: usize = 4096;

/// What comes from the body.
#[derive(Debug)]
pub enum BodyEvent {
    /// A line of the agent is ready to be taken with [`StreamBody::line`].
    Lines,
    /// What the agent says cannot be read: it wrote a line beyond all bounds, or there is no
    /// memory for it. Nothing more of it is read.
    Unreadable(&'static str),
    /// Somebody has typed into its terminal, or looks at it no longer.
    Looked,
    /// A prompt that was typed into it was not sent.
    NotSent {
        /// Its uuid.
        prompt: Uuid,
        /// Because it has become something else.
        altered: bool,
    },
    /// A pipe to or from the agent is closed at its end. `Exited` follows, unless it lives
    /// on; then it is of no use any more.
    PipeClosed,
    /// The agent itself has exited; `Gone` follows.
    Exited,
    /// The agent and all its processes are gone, and everything it wrote has been
    /// given out.
    Gone {
        /// How it ended.
        exit: Exit,
        /// Whether processes are left that could not be ended.
        left: bool,
    },
}

/// A warm agent.
#[derive(Debug)]
pub struct StreamBody {
    held: Held,
    stdin: Option<AsyncFd<OwnedFd>>,
    outbox: Outbox,
    /// The input is closed once the outbox is empty.
    closing: bool,
    stdout: Option<AsyncFd<OwnedFd>>,
    /// Between a terminal and the inbox, where that is the agent's output.
    through: Option<(OwnedFd, OwnedFd)>,
    inbox: Inbox,
    stderr: Option<pipe::Receiver>,
    stderr_tail: Vec<u8>,
    notes: Notes,
    end: Option<(Exit, bool)>,
    /// The end of what a dead holder has left behind.
    orphans: Option<JoinHandle<()>>,
    /// It was found out outside of [`StreamBody::next`] that the agent has closed its input.
    pipe_closed: bool,
    /// The prompts that the agent has not had.
    undelivered: Vec<Uuid>,
}

/// A body that an earlier broker has left.
#[derive(Debug)]
pub struct Found {
    /// It.
    pub body: Body,
    /// What was written down about it.
    pub notes: Option<Vec<u8>>,
}

impl StreamBody {
    /// Starts an agent, whose holder keeps `port` and can be found in the session's directory `dir`.
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
        let (mut body, _) = Self::around(held, lent, |_| 0)?;
        body.held.finished();
        Ok(body)
    }

    /// Finds the agent that an earlier broker has left in `dir`. `position` tells from what was
    /// written down up to where that broker has accounted for what the agent said.
    ///
    /// # Errors
    /// When there is one that does not do what it should.
    pub async fn find(
        dir: &Path,
        successor: &Successor,
        position: impl FnOnce(&[u8]) -> u64,
    ) -> io::Result<Option<Found>> {
        let found = Held::find(dir, successor).await?;
        let found = found.map(|(held, lent)| Self::around(held, lent, position));
        Ok(found.transpose()?.map(|(body, notes)| Found {
            body: Body::Stream(Box::new(body)),
            notes,
        }))
    }

    fn around(
        held: Held,
        mut lent: Lent,
        position: impl FnOnce(&[u8]) -> u64,
    ) -> io::Result<(Self, Option<Vec<u8>>)> {
        let stdin = lent.take_if_there(0);
        let stdin = stdin.map(|stdin| not_blocking(stdin, Interest::WRITABLE));
        let stdout = lent.take(1)?;
        let (notes, noted) = Notes::take_up(lent.take(NOTES)?, PLACE)?;
        let from = noted.as_deref().map_or(0, position);
        let mut inbox = Inbox::take_up(lent.take(INBOX)?, from)?;
        let through = lent
            .take_if_there(PIPE_READ)
            .zip(lent.take_if_there(PIPE_WRITE));
        // What it said to nobody is heard before anything is done: one piece is all that a pipe holds.
        match &through {
            None => drop(inbox.receive(&stdout)),
            Some((read, _)) => while let Ok(1..) = inbox.receive(read) {},
        }
        let body = Self {
            held,
            stdin: stdin.transpose()?,
            outbox: Outbox::take_up(lent.take(OUTBOX)?)?,
            closing: false,
            stdout: Some(not_blocking(stdout, Interest::READABLE)?),
            through,
            inbox,
            stderr: Some(pipe::Receiver::from_owned_fd(lent.take(2)?)?),
            stderr_tail: Vec::new(),
            notes,
            end: None,
            orphans: None,
            pipe_closed: false,
            undelivered: Vec::new(),
        };
        Ok((body, noted))
    }

    /// The agent's process.
    #[must_use]
    pub fn agent(&self) -> Process {
        self.held.agent
    }

    /// The holder's process.
    #[must_use]
    pub fn holder(&self) -> Process {
        self.held.holder()
    }

    /// Whether the agent was told to end, by an earlier broker: it takes nothing more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.stdin.is_none()
    }

    /// The end of what the agent wrote to stderr, for messages.
    #[must_use]
    pub fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(&self.stderr_tail).trim().to_owned()
    }

    /// Puts a line in the way of the agent, where it waits for [`StreamBody::send`]. `prompt`: the
    /// uuid of the prompt that it is.
    pub fn put(&mut self, line: &[u8], prompt: Option<Uuid>) {
        if self.stdin.is_none() {
            self.undelivered.extend(prompt);
        } else if let Err(error) = self.outbox.put(line, prompt) {
            tracing::error!(pid = self.agent().pid, %error, "a line for the agent cannot be kept");
            self.undelivered.extend(prompt);
            self.input_broken();
            self.pipe_closed = true;
        }
    }

    /// Takes back what was put last and not sent.
    pub fn take_back(&mut self) {
        if let Err(error) = self.outbox.take_back() {
            tracing::error!(pid = self.agent().pid, %error, "a line for the agent cannot be taken back");
        }
    }

    /// Lets go what was put. It is tried at once, so that an idle agent has it before this
    /// returns.
    pub fn send(&mut self) {
        self.outbox.allow();
        while let Some(stdin) = &self.stdin
            && self.outbox.waits()
        {
            match self.outbox.send(stdin) {
                Ok(_) => self.sent(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.input_broken();
                    self.pipe_closed = true;
                }
            }
        }
    }

    /// Whether nothing was ever written for this agent.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.outbox.is_new()
    }

    /// The last line that was put, if the agent has not had one byte of it.
    #[must_use]
    pub fn last_unsent(&self) -> Option<Vec<u8>> {
        self.outbox.last_unmoved().ok().flatten()
    }

    /// Asks for the agent's end: its input is closed when it has taken all that
    /// was written, then come SIGTERM and SIGKILL as the holder's protocol says.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        self.closing = true;
        self.sent();
        self.held.end(grace_ms, now);
    }

    /// Gives the holder up, which does not do what it is asked: it is killed, and the
    /// agent ended without it.
    pub fn abandon(&mut self) {
        self.held.kill();
    }

    /// The prompts that the agent has not had: it has not read the whole line.
    #[must_use]
    pub fn undelivered(&self) -> &[Uuid] {
        &self.undelivered
    }

    /// What the agent says.
    pub fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// The same, to be looked at.
    #[must_use]
    pub fn heard(&self) -> &Inbox {
        &self.inbox
    }

    /// Writes down what a later broker has to know.
    ///
    /// # Errors
    /// When it cannot be; what was written before holds then.
    pub fn note(&mut self, notes: &[u8]) -> io::Result<()> {
        self.notes.write(notes)
    }

    /// Gives back what is done with: what the agent has said before the next line, and what it
    /// has read.
    pub fn release(&mut self) {
        self.inbox.release();
        self.outbox.tidy(self.stdin.as_ref());
    }

    /// Waits for what comes next. Can be dropped and called again.
    pub async fn next(&mut self) -> BodyEvent {
        loop {
            if std::mem::take(&mut self.pipe_closed) && self.end.is_none() {
                return BodyEvent::PipeClosed;
            }
            if let Some(orphans) = &mut self.orphans {
                let _ = orphans.await;
                self.orphans = None;
                self.take_the_rest();
            }
            if self.inbox.has_more() {
                return self.read();
            }
            if let Some((exit, left)) = self.end
                && self.stdout.is_none()
                && self.stderr.is_none()
            {
                self.held.reap();
                return BodyEvent::Gone { exit, left };
            }
            if let Some(event) = self.step().await {
                return event;
            }
        }
    }

    /// One thing that happens: to the input, to the outputs, or at the holder.
    async fn step(&mut self) -> Option<BodyEvent> {
        let ended = self.end.is_some();
        tokio::select! {
            wrote = send(self.stdin.as_ref(), &mut self.outbox) => {
                match wrote {
                    Ok(()) => {
                        self.sent();
                        None
                    }
                    Err(_) => {
                        self.input_broken();
                        Some(BodyEvent::PipeClosed)
                    }
                }
            }
            read = receive(self.stdout.as_ref(), self.through.as_ref(), &mut self.inbox) => {
                match read {
                    Ok(1..) => None,
                    Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                        tracing::error!(pid = self.agent().pid, %error, "the agent cannot be read");
                        Some(self.unreadable("there was no memory for what it wrote"))
                    }
                    _ => {
                        self.stdout = None;
                        (!ended).then_some(BodyEvent::PipeClosed)
                    }
                }
            }
            read = read_small(self.stderr.as_mut()) => {
                match read {
                    Ok((n, piece)) if n > 0 => self.keep_stderr(&piece[..n]),
                    _ => self.stderr = None,
                }
                None
            }
            said = self.held.next(), if !ended => {
                match said {
                    Ok(Some(Reply::Ended { exit, left })) => self.ended(exit, left),
                    Ok(Some(Reply::Exited(exit))) => {
                        tracing::debug!(pid = self.agent().pid, ?exit, "the agent has exited");
                        self.input_broken();
                        return Some(BodyEvent::Exited);
                    }
                    Ok(Some(_)) => {}
                    // A holder that is gone takes the knowledge of the exit along.
                    Ok(None) | Err(_) => {
                        // It may only have been made to listen to somebody else.
                        self.held.kill();
                        self.orphans = Some(tokio::spawn(orphans::end(self.agent())));
                        self.ended(Exit::Unknown, false);
                    }
                }
                None
            }
        }
    }

    /// Looks at what has come.
    fn read(&mut self) -> BodyEvent {
        if let Err(error) = self.inbox.read() {
            tracing::error!(pid = self.agent().pid, %error, "the inbox cannot be read");
            return self.unreadable("what it wrote cannot be read back");
        }
        if self.inbox.too_long() {
            return self.unreadable("it wrote a line beyond all bounds");
        }
        BodyEvent::Lines
    }

    fn unreadable(&mut self, why: &'static str) -> BodyEvent {
        self.stdout = None;
        self.inbox.give_up();
        BodyEvent::Unreadable(why)
    }

    fn ended(&mut self, exit: Exit, left: bool) {
        self.end = Some((exit, left));
        self.input_broken();
        if left {
            // Somebody may hold the pipes open for ever.
            self.take_the_rest();
        }
    }

    /// Takes what there is, and no more of it.
    fn take_the_rest(&mut self) {
        if let Some(stdout) = self.stdout.take() {
            while let Ok(1..) = take(stdout.get_ref(), self.through.as_ref(), &mut self.inbox) {}
        }
        self.stderr = None;
    }

    /// The agent has been given something.
    fn sent(&mut self) {
        if self.closing && self.outbox.is_moved() {
            self.stdin = None;
        }
    }

    /// Nobody reads any more. That the agent is gone comes from the holder.
    fn input_broken(&mut self) {
        if let Some(stdin) = self.stdin.take() {
            self.undelivered
                .extend(self.outbox.undelivered(Some(&stdin)));
        }
    }

    fn keep_stderr(&mut self, piece: &[u8]) {
        tracing::debug!(
            pid = self.agent().pid,
            stderr = %String::from_utf8_lossy(piece).trim_end(),
        );
        self.stderr_tail.extend_from_slice(piece);
        let excess = self.stderr_tail.len().saturating_sub(STDERR_KEPT);
        self.stderr_tail.drain(..excess);
    }
}

/// What the agent gets that is left from earlier and in the way, in milliseconds.
const LEFT_GRACE_MS: u32 = 2000;

/// Ends the agent that is left in the session's directory `dir`, if there is one, and waits until
/// it is gone.
///
/// # Errors
/// When its holder does not do what it should.
pub async fn end_left(dir: &Path, successor: &Successor) -> io::Result<()> {
    if let Some((mut held, lent)) = Held::find(dir, successor).await? {
        drop(lent);
        held.end_and_wait(LEFT_GRACE_MS).await?;
    }
    Ok(())
}

/// The pipe, for a reactor.
fn not_blocking(pipe: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    reactor(pipe, interest)
}

async fn send(stdin: Option<&AsyncFd<OwnedFd>>, outbox: &mut Outbox) -> io::Result<()> {
    match stdin {
        Some(stdin) if outbox.waits() => {
            let send = |stdin: &OwnedFd| outbox.send(stdin).map(drop);
            stdin.async_io(Interest::WRITABLE, send).await
        }
        _ => pending().await,
    }
}

async fn receive(
    stdout: Option<&AsyncFd<OwnedFd>>,
    through: Option<&(OwnedFd, OwnedFd)>,
    inbox: &mut Inbox,
) -> io::Result<usize> {
    match stdout {
        Some(stdout) => {
            let take = |stdout: &OwnedFd| take(stdout, through, inbox);
            stdout.async_io(Interest::READABLE, take).await
        }
        None => pending().await,
    }
}

/// What the agent has said, as far as one call gives it; nothing at the end.
fn take(
    stdout: &OwnedFd,
    through: Option<&(OwnedFd, OwnedFd)>,
    inbox: &mut Inbox,
) -> io::Result<usize> {
    let Some((read, write)) = through else {
        return inbox.receive(stdout);
    };
    match move_bytes(stdout, write) {
        Ok(0) => Ok(0),
        Ok(_) => inbox.receive(read),
        // Nobody has its other end open any more.
        Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => Ok(0),
        Err(error) => Err(error),
    }
}

async fn read_small(stderr: Option<&mut pipe::Receiver>) -> io::Result<(usize, [u8; 1024])> {
    let mut piece = [0; 1024];
    let n = match stderr {
        Some(stderr) => stderr.read(&mut piece).await?,
        None => pending().await,
    };
    Ok((n, piece))
}
