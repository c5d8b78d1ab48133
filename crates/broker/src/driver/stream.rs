//! The stream body: one warm agent that speaks lines of JSON over three pipes.
//!
//! Nothing here knows what a line means. What is to be written waits in a queue
//! until the agent takes it; both of its outputs are read to their ends.

use std::collections::VecDeque;
use std::future::pending;
use std::io;

use clsess_holder::protocol::{Exit, Reply, Start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::held::{Held, Pipes, StartError};
use super::lines::Lines;
use super::orphans;

/// Bytes of the agent's stderr that are kept for a report of its death; the
/// oldest go first.
const STDERR_KEPT: usize = 4096;
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// What comes from the body.
#[derive(Debug)]
pub enum BodyEvent {
    /// A line of the agent is ready to be taken with [`StreamBody::line`].
    Lines,
    /// The agent wrote a line beyond all bounds. Nothing more of it is read.
    LineTooLong,
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

/// A line for the agent.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    /// The uuid of the prompt that it is.
    prompt: Option<Uuid>,
}

/// A warm agent.
#[derive(Debug)]
pub struct StreamBody {
    held: Held,
    stdin: Option<pipe::Sender>,
    /// What the agent has not taken yet. It is bounded by its one writer: a prompt
    /// and a few control lines.
    outgoing: VecDeque<Outgoing>,
    /// Bytes of the first of `outgoing` that are written.
    written: usize,
    /// The input is closed once `outgoing` is empty.
    closing: bool,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    lines: Lines,
    stderr_tail: Vec<u8>,
    end: Option<(Exit, bool)>,
    /// The end of what a dead holder has left behind.
    orphans: Option<JoinHandle<()>>,
    /// It was found out outside of [`StreamBody::next`] that the agent has closed its input.
    pipe_closed: bool,
    /// The prompts that were thrown away before the agent had one byte of them.
    undelivered: Vec<Uuid>,
    buffer: Box<[u8]>,
}

impl StreamBody {
    /// Starts an agent.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(start: Start) -> Result<Self, StartError> {
        let (
            held,
            Pipes {
                stdin,
                stdout,
                stderr,
            },
        ) = Held::start(start).await?;
        Ok(Self {
            held,
            stdin: stdin.map(pipe::Sender::from_owned_fd).transpose()?,
            outgoing: VecDeque::new(),
            written: 0,
            closing: false,
            stdout: Some(pipe::Receiver::from_owned_fd(stdout)?),
            stderr: Some(pipe::Receiver::from_owned_fd(stderr)?),
            lines: Lines::default(),
            stderr_tail: Vec::new(),
            end: None,
            orphans: None,
            pipe_closed: false,
            undelivered: Vec::new(),
            buffer: vec![0; READ].into_boxed_slice(),
        })
    }

    /// The agent's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.held.pid
    }

    /// When the agent started, in clock ticks since boot.
    #[must_use]
    pub fn start_time(&self) -> u64 {
        self.held.start_time
    }

    /// The holder's process.
    #[must_use]
    pub fn holder_pid(&self) -> Option<u32> {
        self.held.holder_pid()
    }

    /// The end of what the agent wrote to stderr, for messages.
    #[must_use]
    pub fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(&self.stderr_tail).trim().to_owned()
    }

    /// Puts a line in the way of the agent. It is tried at once, so that an idle
    /// agent has it before this returns. `prompt`: the uuid of the prompt that it is.
    pub fn write(&mut self, line: Vec<u8>, prompt: Option<Uuid>) {
        if self.stdin.is_none() {
            self.undelivered.extend(prompt);
            return;
        }
        self.outgoing.push_back(Outgoing {
            bytes: line,
            prompt,
        });
        while let (Some(stdin), Some(first)) = (&self.stdin, self.outgoing.front()) {
            match stdin.try_write(&first.bytes[self.written..]) {
                Ok(n) => self.advance(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.input_broken();
                    self.pipe_closed = true;
                }
            }
        }
    }

    /// Asks for the agent's end: its input is closed when it has taken all that
    /// was written, then come SIGTERM and SIGKILL as the holder's protocol says.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        self.closing = true;
        if self.outgoing.is_empty() {
            self.stdin = None;
        }
        self.held.end(grace_ms, now);
    }

    /// Gives the holder up, which does not do what it is asked: it is killed, and the
    /// agent ended without it.
    pub fn abandon(&mut self) {
        self.held.kill();
    }

    /// The prompts that were thrown away before the agent had one byte of them: it has
    /// not had them at all.
    #[must_use]
    pub fn undelivered(&self) -> &[Uuid] {
        &self.undelivered
    }

    /// The next line of the agent.
    pub fn line(&mut self) -> Option<&[u8]> {
        self.lines.next()
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
            if let Some((exit, left)) = self.end
                && self.stdout.is_none()
                && self.stderr.is_none()
            {
                self.held.reap().await;
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
        let first = self.outgoing.front();
        let unwritten = first.map(|first| &first.bytes[self.written..]);
        tokio::select! {
            wrote = write(self.stdin.as_mut(), unwritten) => {
                match wrote {
                    Ok(n) => {
                        self.advance(n);
                        None
                    }
                    Err(_) => {
                        self.input_broken();
                        Some(BodyEvent::PipeClosed)
                    }
                }
            }
            read = read(self.stdout.as_mut(), &mut self.buffer) => {
                match read {
                    Ok(n) if n > 0 => {
                        self.lines.feed(&self.buffer[..n]);
                        Some(self.came())
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
                        tracing::debug!(pid = self.held.pid, ?exit, "the agent has exited");
                        self.input_broken();
                        return Some(BodyEvent::Exited);
                    }
                    Ok(Some(_)) => {}
                    // A holder that is gone takes the knowledge of the exit along.
                    Ok(None) | Err(_) => {
                        let (pid, start_time) = (self.held.pid, self.held.start_time);
                        self.orphans = Some(tokio::spawn(orphans::end(pid, start_time)));
                        self.ended(Exit::Unknown, false);
                    }
                }
                None
            }
        }
    }

    /// What the bytes that have just come mean.
    fn came(&mut self) -> BodyEvent {
        if self.lines.too_long() {
            self.stdout = None;
            self.lines = Lines::default();
            return BodyEvent::LineTooLong;
        }
        BodyEvent::Lines
    }

    fn ended(&mut self, exit: Exit, left: bool) {
        self.end = Some((exit, left));
        self.input_broken();
        if left {
            // Somebody may hold the pipes open for ever.
            self.take_the_rest();
        }
    }

    /// Reads what there is, and no more of it.
    fn take_the_rest(&mut self) {
        if let Some(stdout) = self.stdout.take() {
            while let Ok(n @ 1..) = stdout.try_read(&mut self.buffer) {
                self.lines.feed(&self.buffer[..n]);
            }
        }
        self.stderr = None;
    }

    fn advance(&mut self, n: usize) {
        self.written += n;
        if self
            .outgoing
            .front()
            .is_some_and(|first| self.written >= first.bytes.len())
        {
            self.outgoing.pop_front();
            self.written = 0;
        }
        if self.closing && self.outgoing.is_empty() {
            self.stdin = None;
        }
    }

    /// Nobody reads any more. That the agent is gone comes from the holder.
    fn input_broken(&mut self) {
        self.stdin = None;
        let written = std::mem::take(&mut self.written);
        let lines = self.outgoing.drain(..).enumerate();
        // Some of the first one may have arrived.
        let none = lines.filter(|(at, _)| *at > 0 || written == 0);
        self.undelivered
            .extend(none.filter_map(|(_, line)| line.prompt));
    }

    fn keep_stderr(&mut self, piece: &[u8]) {
        tracing::debug!(
            pid = self.held.pid,
            stderr = %String::from_utf8_lossy(piece).trim_end(),
        );
        self.stderr_tail.extend_from_slice(piece);
        let excess = self.stderr_tail.len().saturating_sub(STDERR_KEPT);
        self.stderr_tail.drain(..excess);
    }
}

async fn write(stdin: Option<&mut pipe::Sender>, bytes: Option<&[u8]>) -> io::Result<usize> {
    match (stdin, bytes) {
        (Some(stdin), Some(bytes)) => stdin.write(bytes).await,
        _ => pending().await,
    }
}

async fn read(stdout: Option<&mut pipe::Receiver>, buffer: &mut [u8]) -> io::Result<usize> {
    match stdout {
        Some(stdout) => stdout.read(buffer).await,
        None => pending().await,
    }
}

async fn read_small(stderr: Option<&mut pipe::Receiver>) -> io::Result<(usize, [u8; 1024])> {
    let mut piece = [0; 1024];
    let n = read(stderr, &mut piece).await?;
    Ok((n, piece))
}
