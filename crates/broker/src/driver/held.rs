//! The broker's side of a holder: starting it, borrowing the agent's descriptors,
//! and hearing of the agent's end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use crate::broker::AGENT_NOFILE;
use clsess_holder::descriptors::recv_with_fds;
use clsess_holder::protocol::{self, Failed, Reply, Request, Start};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// Bytes read at once from a holder; its replies are small.
const READ: usize = 512;

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The holder could not be started or spoke nonsense.
    #[error("the holder does not work: {0}")]
    Holder(#[from] io::Error),
    /// The holder could not start the agent.
    #[error("{}", .0.message)]
    Agent(Failed),
}

/// A living holder with its agent.
#[derive(Debug)]
pub struct Held {
    socket: UnixStream,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
    /// What the holder said unasked while an answer was waited for.
    unasked: VecDeque<Reply>,
    /// The holder's process, to be reaped.
    process: Child,
    /// The agent's process.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start_time: u64,
}

/// The broker's ends of the agent's three pipes.
#[derive(Debug)]
pub struct Pipes {
    /// Written by the broker; absent when the agent has ended already.
    pub stdin: Option<OwnedFd>,
    /// Read by the broker.
    pub stdout: OwnedFd,
    /// Read by the broker.
    pub stderr: OwnedFd,
}

impl Held {
    /// Starts a holder, and through it the agent.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running.
    pub async fn start(start: Start) -> Result<(Self, Pipes), StartError> {
        let mut held = Self::spawn()?;
        held.ask(&Request::Start(start)).await?;
        match held.answer().await? {
            Reply::Started { pid, start_time } => {
                held.pid = pid;
                held.start_time = start_time;
            }
            Reply::Failed(failed) => return Err(StartError::Agent(failed)),
            other => return Err(unexpected(&other).into()),
        }
        held.ask(&Request::Lend).await?;
        let pipes = match held.answer().await? {
            Reply::Lent { ends } => held.take_pipes(&ends)?,
            other => return Err(unexpected(&other).into()),
        };
        Ok((held, pipes))
    }

    fn spawn() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        let process = Command::new("/proc/self/exe")
            .arg0("clsess")
            .arg("holder")
            .args(AGENT_NOFILE.get().map(u64::to_string))
            .env_clear()
            .current_dir("/")
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            socket: UnixStream::from_std(ours.into())?,
            received: Vec::new(),
            descriptors: VecDeque::new(),
            unasked: VecDeque::new(),
            process,
            pid: 0,
            start_time: 0,
        })
    }

    /// The holder's own process.
    #[must_use]
    pub fn holder_pid(&self) -> Option<u32> {
        self.process.id()
    }

    async fn ask(&mut self, request: &Request) -> io::Result<()> {
        self.socket
            .write_all(&protocol::encode_request(request))
            .await
    }

    /// The next answer. An agent can end before its pipes are lent: what the
    /// holder says of that is kept for [`Held::next`].
    async fn answer(&mut self) -> io::Result<Reply> {
        loop {
            match self.hear().await? {
                Some(Reply::Hello { .. }) => {}
                Some(reply @ (Reply::Exited(_) | Reply::Ended { .. })) => {
                    self.unasked.push_back(reply);
                }
                Some(reply) => return Ok(reply),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// What the holder says next; `None` when it is gone. Can be dropped and
    /// called again.
    ///
    /// # Errors
    /// Of the socket, or when the holder does not keep to its protocol.
    pub async fn next(&mut self) -> io::Result<Option<Reply>> {
        match self.unasked.pop_front() {
            Some(reply) => Ok(Some(reply)),
            None => self.hear().await,
        }
    }

    async fn hear(&mut self) -> io::Result<Option<Reply>> {
        loop {
            let frame = protocol::take_frame(&mut self.received)
                .map_err(|long| io::Error::other(format!("a frame of {} bytes", long.0)))?;
            if let Some(frame) = frame {
                return protocol::decode_reply(&frame)
                    .map(Some)
                    .map_err(io::Error::other);
            }
            let mut bytes = [0; READ];
            let socket = &self.socket;
            let (n, descriptors) = socket
                .async_io(Interest::READABLE, || recv_with_fds(socket, &mut bytes))
                .await?;
            if n == 0 {
                return Ok(None);
            }
            self.received.extend_from_slice(&bytes[..n]);
            self.descriptors.extend(descriptors);
        }
    }

    /// Asks for the end of everything. What can go wrong has the same effect: a
    /// holder that cannot be asked sees the end of its socket.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        let request = protocol::encode_request(&Request::End { grace_ms, now });
        match self.socket.try_write(&request) {
            Ok(n) if n == request.len() => {}
            outcome => tracing::warn!(pid = self.pid, ?outcome, "the holder cannot be asked"),
        }
    }

    /// Kills the holder itself; the agent is then to be ended without it.
    pub fn kill(&mut self) {
        if let Err(error) = self.process.start_kill() {
            tracing::warn!(%error, "a holder cannot be killed");
        }
    }

    /// Reaps the holder, which has said its last word.
    pub async fn reap(&mut self) {
        if let Err(error) = self.process.wait().await {
            tracing::warn!(%error, "a holder cannot be reaped");
        }
    }

    fn take_pipes(&mut self, ends: &[u8]) -> io::Result<Pipes> {
        let mut pipes = [None, None, None];
        for end in ends {
            let descriptor = self.descriptors.pop_front();
            if let Some(slot) = pipes.get_mut(usize::from(*end)) {
                *slot = descriptor;
            }
        }
        match pipes {
            // The input of an agent that has ended is not lent any more.
            [stdin, Some(stdout), Some(stderr)] => Ok(Pipes {
                stdin,
                stdout,
                stderr,
            }),
            _ => Err(io::Error::other("not all pipes were lent")),
        }
    }
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::other(format!("unexpected answer {reply:?}"))
}
