//! The broker's side of a holder: starting it or finding it again, borrowing the agent's
//! descriptors, and hearing of the agent's end.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream as Socket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::broker::AGENT_NOFILE;
use crate::driver::orphans::Process;
use clsess_holder::descriptors::recv_with_fds;
use clsess_holder::protocol::{self, Failed, Reason, Refused, Reply, Request, Start, Successor};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

#[cfg(test)]
mod tests;

/// Bytes read at once from a holder; its replies are small.
const READ: usize = 512;

/// How long a holder may take to answer that is found. It has nothing else to do; one that does
/// not answer is stopped, or hangs.
const ANSWER: Duration = Duration::from_secs(2);

/// Bytes of stack of a thread that only waits.
const REAP_STACK: usize = 64 * 1024;

/// The holder's socket in the session's directory. There, and not in the runtime directory,
/// because a later broker may have another one of those, or find it emptied by a logout.
pub const SOCKET: &str = "holder";

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
    /// The holder's process.
    holder: Process,
    /// Nobody would find it: the agent ends when this is dropped.
    unfinished: bool,
    /// The agent's process.
    pub agent: Process,
}

/// What a holder lends: each descriptor with its number in the protocol.
#[derive(Debug)]
pub struct Lent(Vec<(u8, OwnedFd)>);

impl Lent {
    /// The descriptor of this number.
    ///
    /// # Errors
    /// When it was not lent, or was taken before.
    pub fn take(&mut self, number: u8) -> io::Result<OwnedFd> {
        let missing = || io::Error::other(format!("the holder does not lend {number}"));
        self.take_if_there(number).ok_or_else(missing)
    }

    /// The same, of one that may be absent: the agent's stdin, when its end was asked for.
    pub fn take_if_there(&mut self, number: u8) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(end, _)| *end == number)?;
        Some(self.0.swap_remove(at).1)
    }
}

impl Held {
    /// Starts a holder whose socket is in the session's directory `dir`, and through it the agent.
    /// The holder keeps `port`. The caller has made sure that there is none. It can be dropped: until [`Held::finished`] was
    /// called the agent ends with what this gives.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        dir: &Path,
        start: Start,
        successor: &Successor,
        port: Option<OwnedFd>,
    ) -> Result<(Self, Lent), StartError> {
        let mut held = Self::spawn(dir, port.as_ref())?;
        let lent = held.begin(start, successor).await?;
        Ok((held, lent))
    }

    async fn begin(&mut self, start: Start, successor: &Successor) -> Result<Lent, StartError> {
        self.ask(&Request::Successor(successor.clone())).await?;
        self.ask(&Request::Start(start)).await?;
        // Not after the answer: a round less. It is refused where nothing was started.
        self.ask(&Request::Lend).await?;
        match self.answer().await? {
            Reply::Started { pid, start_time } => self.agent = Process { pid, start_time },
            Reply::Failed(failed) => return Err(StartError::Agent(failed)),
            other => return Err(unexpected(&other).into()),
        }
        match self.answer().await? {
            Reply::Lent { ends } => Ok(self.take(&ends)?),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Finds the holder that an earlier broker has left in the session's directory; `None` when
    /// there is none, or it has no agent.
    ///
    /// # Errors
    /// When there is one and it does not do what it should within [`ANSWER`].
    pub async fn find(dir: &Path, successor: &Successor) -> io::Result<Option<(Self, Lent)>> {
        let socket = match connect(dir) {
            Ok(socket) => socket,
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let found = tokio::time::timeout(ANSWER, Self::take_up(socket, successor));
        let found = found.await;
        match found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            // It was just about to exit.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::BrokenPipe
                        | io::ErrorKind::ConnectionReset
                ) =>
            {
                Ok(None)
            }
            found => found,
        }
    }

    async fn take_up(socket: Socket, successor: &Successor) -> io::Result<Option<(Self, Lent)>> {
        let mut held = Self::new(socket, Process::default())?;
        held.ask(&Request::Successor(successor.clone())).await?;
        held.ask(&Request::Lend).await?;
        loop {
            match held.answer().await? {
                Reply::Started { pid, start_time } => held.agent = Process { pid, start_time },
                Reply::Lent { ends } => {
                    let lent = held.take(&ends)?;
                    return Ok(Some((held, lent)));
                }
                Reply::Refused(Refused {
                    reason: Reason::NotNow,
                    ..
                }) => return Ok(None),
                other => return Err(unexpected(&other)),
            }
        }
    }

    fn spawn(dir: &Path, port: Option<&OwnedFd>) -> io::Result<Self> {
        let path = short(dir)?;
        match fs::remove_file(path.as_path()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path.as_path())?;
        fs::set_permissions(path.as_path(), Permissions::from_mode(0o600))?;
        // Before the holder begins: one that nobody has connected to ends.
        let ours = Socket::connect(path.as_path())?;
        let holder = Process::now(spawn_holder(&listener.into(), port)?);
        let mut held = Self::new(ours, holder)?;
        held.unfinished = true;
        Ok(held)
    }

    fn new(socket: Socket, holder: Process) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UnixStream::from_std(socket)?,
            received: Vec::new(),
            descriptors: VecDeque::new(),
            unasked: VecDeque::new(),
            holder,
            unfinished: false,
            agent: Process::default(),
        })
    }

    /// The agent is known: it lives on when this is dropped, and can be found.
    pub fn finished(&mut self) {
        self.unfinished = false;
    }

    /// The holder's own process; none where it is not known.
    #[must_use]
    pub fn holder(&self) -> Process {
        self.holder
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
                Some(Reply::Hello { pid, .. }) => self.holder = Process::now(pid),
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
                match protocol::decode_reply(&frame) {
                    // A holder of a later version says more; what an agent's life hangs on is
                    // what this version knows.
                    Err(Refused {
                        reason: Reason::Unknown,
                        ..
                    }) => continue,
                    reply => return reply.map(Some).map_err(io::Error::other),
                }
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

    /// Asks for the end of everything. A holder that cannot be asked has ended.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        let request = protocol::encode_request(&Request::End { grace_ms, now });
        match self.socket.try_write(&request) {
            Ok(n) if n == request.len() => {}
            outcome => tracing::warn!(pid = self.agent.pid, ?outcome, "the holder cannot be asked"),
        }
    }

    /// Ends everything, and waits until it is gone.
    ///
    /// # Errors
    /// Of the socket.
    pub async fn end_and_wait(&mut self, grace_ms: u32) -> io::Result<()> {
        self.end(grace_ms, false);
        while !matches!(self.next().await?, None | Some(Reply::Ended { .. })) {}
        Ok(())
    }

    /// Kills the holder itself; the agent is then to be ended without it.
    pub fn kill(&mut self) {
        self.holder.signal(Signal::SIGKILL);
    }

    /// Reaps the holder, which has said its last word and does nothing more but exit, if this
    /// process has started it. In a thread: one that is stopped exits when it is let go.
    pub fn reap(&self) {
        let Some(pid) = i32::try_from(self.holder.pid).ok().filter(|pid| *pid > 0) else {
            return;
        };
        let reap = move || match waitpid(Pid::from_raw(pid), None) {
            // It was started by somebody else, who reaps it.
            Ok(_) | Err(Errno::ECHILD) => {}
            Err(error) => tracing::warn!(%error, "a holder cannot be reaped"),
        };
        let thread = std::thread::Builder::new().name("reaps".to_owned());
        if let Err(error) = thread.stack_size(REAP_STACK).spawn(reap) {
            tracing::warn!(%error, "a holder is not reaped");
        }
    }

    fn take(&mut self, ends: &[u8]) -> io::Result<Lent> {
        if self.descriptors.len() < ends.len() {
            return Err(io::Error::other("not everything was lent"));
        }
        let descriptors = self.descriptors.drain(..ends.len());
        Ok(Lent(ends.iter().copied().zip(descriptors).collect()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.unfinished {
            self.end(0, true);
            self.reap();
        }
    }
}

/// Starts a holder with its socket as descriptor 0. With `posix_spawn`, which does not copy the
/// broker's page tables: std's `Command` forks where the program is linked statically (measured:
/// 0.3 ms, and as much again for the pages that are touched after it).
fn spawn_holder(listener: &OwnedFd, port: Option<&OwnedFd>) -> io::Result<u32> {
    let mut files = PosixSpawnFileActions::init()?;
    files.add_dup2(listener.as_raw_fd(), 0)?;
    if let Some(port) = port {
        files.add_dup2(port.as_raw_fd(), 3)?;
    }
    for number in [1, 2] {
        files.add_open(number, c"/dev/null", OFlag::O_WRONLY, Mode::empty())?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    let limit = AGENT_NOFILE.get().map(u64::to_string);
    let limit = limit.unwrap_or_else(|| "-".to_owned());
    let words = ["clsess", "holder", &limit].into_iter();
    let words = words.chain(port.map(|_| "port")).map(CString::new);
    let words = words.collect::<Result<Vec<_>, _>>()?;
    let nothing: [CString; 0] = [];
    let program = c"/proc/self/exe";
    let pid = posix_spawn(program, &files, &attributes, &words, &nothing)?;
    Ok(pid.as_raw().unsigned_abs())
}

/// Connects to the holder of a session's directory, which must be of this user.
fn connect(dir: &Path) -> io::Result<Socket> {
    let socket = Socket::connect(short(dir)?.as_path())?;
    let peer = getsockopt(&socket, PeerCredentials)?;
    if peer.uid() == nix::unistd::geteuid().as_raw() {
        Ok(socket)
    } else {
        Err(io::Error::other(format!("it is of user {}", peer.uid())))
    }
}

/// A path to the holder's socket that is short enough for a socket, however long that of the
/// directory is.
struct Short {
    path: PathBuf,
    /// What the path goes through.
    _dir: File,
}

impl Short {
    fn as_path(&self) -> &Path {
        &self.path
    }
}

fn short(dir: &Path) -> io::Result<Short> {
    let dir = File::open(dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(SOCKET);
    Ok(Short { path, _dir: dir })
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::other(format!("unexpected answer {reply:?}"))
}
