//! The old broker's side before anything changes: the new program is started, and proves itself.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as Socket;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clsess_proto::{ErrorCode, Failure, VERSION, newer};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::words::{self, Trial, Word, Words};
use crate::broker::Shared;

/// How long a program may take to prove itself: it reads the journals of all sessions. One that
/// takes longer hangs, or would keep the clients waiting.
const PROVES_WITHIN: Duration = Duration::from_secs(10);
/// How long the disk may take to finish what it was given: one that takes longer hangs, and the
/// next broker would wait for it too.
const DISK: Duration = Duration::from_secs(5);
/// How long a program that has closed its socket may take to exit, so that its exit can be told.
const EXITS_WITHIN: Duration = Duration::from_millis(500);
/// Between two looks at whether it has.
const LOOK: Duration = Duration::from_millis(5);
/// How long a killed program may take to be gone. One that takes longer hangs in the kernel, and
/// does nothing when it wakes but die.
const DIES_WITHIN: Duration = Duration::from_secs(5);
/// Bytes that are read of what a program says of its failure.
const SAID: usize = 4096;
/// Characters of it that are told.
const TOLD: usize = 300;

/// An upgrade that somebody wants.
#[derive(Debug)]
pub struct Upgrade {
    /// The program.
    pub program: PathBuf,
    /// Its version, as its command says.
    pub version: String,
    /// Also by the same program, or an older one.
    pub force: bool,
    /// A command is newer, and nobody has asked.
    pub unasked: bool,
    /// Answered when there is nothing to do or it has failed; never when the broker goes.
    pub reply: oneshot::Sender<Result<(), Failure>>,
}

/// Makes the upgrades that are wanted, one after the other, until one program has proven itself.
/// Who wants one meanwhile waits behind it, and loses the connection when it takes over.
pub async fn upgrades(
    shared: Arc<Shared>,
    mut wanted: mpsc::Receiver<Upgrade>,
    fit: oneshot::Sender<Proven>,
) {
    let mut unfit = None;
    while let Some(upgrade) = wanted.recv().await {
        let outcome = match decide(&upgrade, unfit.as_ref()) {
            Some(outcome) => outcome,
            None => match prove(&shared, &upgrade).await {
                Ok(proven) => {
                    let _ = fit.send(proven);
                    // No answer is given by dropping it either, as long as this broker serves.
                    return std::future::pending().await;
                }
                Err(failure) => {
                    tracing::error!(program = %upgrade.program.display(), %failure, "no upgrade");
                    unfit = File::of(&upgrade.program).map(|file| (file, failure.clone()));
                    Err(failure)
                }
            },
        };
        // Who has asked may be gone.
        let _ = upgrade.reply.send(outcome);
    }
}

/// A file with its content: one that is written anew is another one.
#[derive(Debug, PartialEq, Eq)]
struct File {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl File {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

/// What can be said of it without a trial.
fn decide(upgrade: &Upgrade, unfit: Option<&(File, Failure)>) -> Option<Result<(), Failure>> {
    let file = File::of(&upgrade.program);
    if !upgrade.force {
        // Its inode is taken as long as we run, so it is no other program's.
        let same = file.is_some() && file == File::of(Path::new("/proc/self/exe"));
        if same || (upgrade.unasked && !newer(&upgrade.version, VERSION)) {
            return Some(Ok(()));
        }
        if newer(VERSION, &upgrade.version) {
            let message = format!(
                "the broker is newer ({VERSION}) than this command ({})",
                upgrade.version
            );
            return Some(Err(
                failed(message).hint("to go back all the same: clsess broker upgrade --force")
            ));
        }
    }
    let (before, failure) = unfit.filter(|_| upgrade.unasked)?;
    (file.as_ref() == Some(before)).then(|| Err(failure.clone()))
}

fn failed(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::UpgradeFailed, message)
}

/// A program that runs and has not taken over. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Candidate {
    child: Option<Child>,
}

impl Candidate {
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// It has taken over: it is nobody's child from now on.
    pub(super) fn release(mut self) {
        self.child = None;
    }

    /// Kills it and what it has started in its group, and waits until it is gone; whether it is.
    pub(super) fn end(mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return true;
        };
        kill(&child);
        let until = Instant::now() + DIES_WITHIN;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill(&child);
            // Not here: it may hang in the kernel.
            std::thread::spawn(move || child.wait());
        }
    }
}

/// It is not reaped, so its number and that of its group are its own.
fn kill(child: &Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// A program that has proven itself and waits.
#[derive(Debug)]
pub struct Proven {
    pub(super) candidate: Candidate,
    pub(super) words: Words,
    /// Its version.
    pub version: String,
}

async fn prove(shared: &Shared, upgrade: &Upgrade) -> Result<Proven, Failure> {
    nothing_in_memory(shared).await?;
    let unfit = |why: &str| {
        failed(format!(
            "{} cannot take over: {why}",
            upgrade.program.display()
        ))
        .hint("the broker goes on as it was; what it says: clsess broker logs")
    };
    let (ours, theirs) = pair().map_err(|e| unfit(&e.to_string()))?;
    let child = start(&upgrade.program, theirs, shared).map_err(|e| unfit(&e.to_string()))?;
    let mut candidate = Candidate { child: Some(child) };
    let proven = timeout(PROVES_WITHIN, ready(ours, shared));
    match proven.await {
        Ok(Ok((words, version))) => Ok(Proven {
            candidate,
            words,
            version,
        }),
        Ok(Err(error)) => Err(unfit(&why(&mut candidate, &error).await)),
        Err(_) => {
            let seconds = PROVES_WITHIN.as_secs();
            Err(unfit(&format!("it was not ready in {seconds} seconds")))
        }
    }
}

/// A death loses what the disk refuses: then this is no time for one.
async fn nothing_in_memory(shared: &Shared) -> Result<(), Failure> {
    let refuses = |why: &str| {
        failed(format!("the broker cannot be replaced now: {why}"))
            .hint("see whether the disk is full: df -h; where it is: clsess broker status")
    };
    match timeout(DISK, shared.disk.all_done().kept()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(refuses(&error.to_string())),
        Err(_) => return Err(refuses("the disk does not answer")),
    }
    let unwritten = |handle: &crate::session::Handle| handle.row.borrow().unwritten;
    match shared.registry.all().iter().any(unwritten) {
        true => Err(refuses("a journal cannot be written")),
        false => Ok(()),
    }
}

fn pair() -> io::Result<(UnixStream, Socket)> {
    let (ours, theirs) = Socket::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs))
}

/// Starts it, in a process group of its own, with nothing of ours but where a service manager
/// hears of it.
fn start(program: &Path, socket: Socket, shared: &Shared) -> io::Result<Child> {
    let manager = std::env::var_os(NOTIFY_SOCKET);
    let state_dir = shared.place.state.parent().unwrap_or(Path::new("/"));
    Command::new(program)
        .args(["broker", "take-over"])
        .env_clear()
        .env("CLSESS_STATE_DIR", state_dir)
        .envs(manager.map(|manager| (NOTIFY_SOCKET, manager)))
        .current_dir("/")
        .stdin(OwnedFd::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// sd_notify(3): the next broker has to find it for the one behind it.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Tells it what to read, and waits until it has.
async fn ready(mut socket: UnixStream, shared: &Shared) -> io::Result<(Words, String)> {
    let trial = Word::Trial(Trial {
        version: VERSION.to_owned(),
        state: shared.place.state.clone(),
        socket: shared.place.socket.clone(),
        sessions: shared
            .registry
            .all()
            .iter()
            .map(|handle| handle.id)
            .collect(),
    });
    socket.write_all(&words::line(&trial)?).await?;
    let mut received = Vec::new();
    loop {
        while let Some(line) = words::take_line(&mut received)? {
            if let Word::Ready { version } = words::word(&line)? {
                return Ok((Words::new(socket.into_std()?)?, version));
            }
        }
        if socket.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Why it is not fit: what it says itself, else how it has exited, else the error.
async fn why(candidate: &mut Candidate, error: &io::Error) -> String {
    let Some(child) = &mut candidate.child else {
        return error.to_string();
    };
    let exit = async {
        loop {
            match child.try_wait() {
                Ok(None) => sleep(LOOK).await,
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    };
    let status = timeout(EXITS_WITHIN, exit).await.ok().flatten();
    if let Some(said) = said(child) {
        return said;
    }
    match status {
        Some(status) => format!("it ended ({status})"),
        None => error.to_string(),
    }
}

/// The first line of what there is of its stderr, which something that it has started may keep
/// open.
fn said(child: &mut Child) -> Option<String> {
    let stderr = child.stderr.as_mut()?;
    rustix::io::ioctl_fionbio(&*stderr, true).ok()?;
    let mut said = [0; SAID];
    let n = stderr.read(&mut said).ok()?;
    let said = String::from_utf8_lossy(&said[..n]);
    let line = said.lines().find(|line| !line.trim().is_empty())?;
    let line = line.strip_prefix("clsess: ").unwrap_or(line);
    Some(line.chars().take(TOLD).collect())
}
