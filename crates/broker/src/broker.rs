//! The broker as a whole: what its parts share, its beginning and its end.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clsess_proto::{ErrorCode, Failure};
use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::traits::tokio::Listener as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::disk::Disk;
use crate::journal::Journal;
use crate::listen::{self, Watch};
use crate::lock::{Lock, Record};
use crate::place::Place;
use crate::registry::Registry;
use crate::session::{self, Agents, Command, Seed};
use crate::store::SessionRecord;
use crate::{conn, log};

/// How long agents may take to end when the broker is told to by a signal.
const SIGNAL_GRACE_MS: u64 = 10_000;
/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;
/// How long the last answers may take to reach their clients.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Killed sessions whose turns stay readable; the oldest go first.
const MAX_ENDED: usize = 100;

/// What the broker's parts share.
#[derive(Debug)]
pub struct Shared {
    /// Where it lives.
    pub place: Place,
    /// Its sessions.
    pub registry: Registry,
    /// Its way to the disk.
    pub disk: Disk,
    /// What it knows of agents' programs.
    pub agents: Agents,
    /// Tells it to stop, with the grace in milliseconds.
    pub stop: mpsc::Sender<u64>,
    /// True when everything has stopped.
    pub stopped: watch::Receiver<bool>,
}

impl Shared {
    /// Moves a killed session's directory away, without what only a start needs.
    ///
    /// # Errors
    /// Of the disk.
    pub fn bury(&self, dir: &Path, id: Uuid) -> io::Result<()> {
        for secret in session_secrets(dir) {
            match std::fs::remove_file(secret) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        std::fs::rename(dir, self.place.ended().join(id.to_string()))?;
        forget_oldest(&self.place.ended());
        Ok(())
    }
}

fn session_secrets(dir: &Path) -> [std::path::PathBuf; 1] {
    [crate::store::env_path(dir)]
}

/// Keeps the newest [`MAX_ENDED`] of the killed sessions.
fn forget_oldest(ended: &Path) {
    let Ok(entries) = std::fs::read_dir(ended) else {
        return;
    };
    let mut dirs: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    dirs.sort();
    let excess = dirs.len().saturating_sub(MAX_ENDED);
    for (_, dir) in dirs.drain(..excess) {
        if let Err(error) = std::fs::remove_dir_all(&dir) {
            tracing::warn!(dir = %dir.display(), %error, "cannot forget a killed session");
        }
    }
}

/// A broker that listens and does not yet answer. It can be handed over a fork.
#[derive(Debug)]
pub struct Prepared {
    place: Place,
    lock: Lock,
    listener: OwnedFd,
}

/// Checks the directories, takes the lock, binds and listens; `None` when another
/// broker has the lock.
///
/// # Errors
/// [`ErrorCode::UnsafePath`] and what else keeps a broker from living there.
pub fn prepare(place: Place) -> Result<Option<Prepared>, Failure> {
    place.prepare()?;
    let Some(lock) = Lock::take(&place.lock())? else {
        return Ok(None);
    };
    let listener = listen::into_fd(listen::bind(&place)?);
    record(&lock, &place)?;
    Ok(Some(Prepared {
        place,
        lock,
        listener,
    }))
}

fn record(lock: &Lock, place: &Place) -> Result<(), Failure> {
    lock.record(&Record::of_this_process(&place.socket))
        .map_err(|e| {
            Failure::new(
                ErrorCode::JournalFailed,
                format!("cannot write {}: {e}", place.lock().display()),
            )
        })
}

/// Runs the broker until it is told to stop. The process should have one thread
/// and nothing open but what `prepared` holds.
///
/// # Errors
/// When it cannot begin.
pub fn run(prepared: Prepared, verbose: u8, to_stderr: bool) -> io::Result<()> {
    log::begin(&prepared.place.log(), verbose, to_stderr)?;
    // After a fork the process is another one.
    record(&prepared.lock, &prepared.place).map_err(io::Error::other)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(prepared))
}

async fn serve(prepared: Prepared) -> io::Result<()> {
    let Prepared {
        place,
        lock,
        listener,
    } = prepared;
    let (stop, mut stop_asked) = mpsc::channel(8);
    let (stopped, stopped_seen) = watch::channel(false);
    let shared = Arc::new(Shared {
        registry: Registry::default(),
        disk: Disk::start()?,
        agents: Agents::default(),
        stop,
        stopped: stopped_seen,
        place,
    });
    tracing::info!(
        version = clsess_proto::VERSION,
        socket = %shared.place.socket.display(),
        "broker begins"
    );
    load_sessions(&shared);

    let (last_connection, mut connections_gone) = mpsc::channel::<()>(1);
    let accepting = accept(Arc::clone(&shared), listener, last_connection);
    let accepting = tokio::spawn(accepting);
    let grace_ms = stop_wanted(&mut stop_asked).await?;

    tracing::info!(grace_ms, "broker stops");
    stop_sessions(&shared, grace_ms, &mut stop_asked).await;
    accepting.abort();
    // Ours, because we hold the lock; a successor binds only after us.
    let _ = std::fs::remove_file(&shared.place.socket);
    stopped.send_replace(true);
    let _ = tokio::time::timeout(LAST_WORDS, connections_gone.recv()).await;
    tracing::info!("broker gone");
    // The kernel frees it at the end of the process, and not sooner: whoever waits
    // for it waits for the process.
    std::mem::forget(lock);
    Ok(())
}

/// Waits until somebody wants an end; the grace in milliseconds.
async fn stop_wanted(asked: &mut mpsc::Receiver<u64>) -> io::Result<u64> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // The end of the terminal that started it is none of the broker's business.
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            Some(grace_ms) = asked.recv() => return Ok(grace_ms),
            _ = terminate.recv() => return Ok(SIGNAL_GRACE_MS),
            _ = interrupt.recv() => return Ok(SIGNAL_GRACE_MS),
            _ = hangup.recv() => {}
        }
    }
}

/// Ends all agents. Who asks again with a shorter grace gets it.
async fn stop_sessions(shared: &Arc<Shared>, grace_ms: u64, asked: &mut mpsc::Receiver<u64>) {
    let mut waiting = tell_sessions(shared, grace_ms).await;
    loop {
        let gone = async {
            for reply in &mut waiting {
                let _ = reply.await;
            }
        };
        tokio::select! {
            () = gone => return,
            Some(grace_ms) = asked.recv() => {
                waiting = tell_sessions(shared, grace_ms).await;
            }
        }
    }
}

async fn tell_sessions(
    shared: &Arc<Shared>,
    grace_ms: u64,
) -> Vec<oneshot::Receiver<Result<(), Failure>>> {
    let mut waiting = Vec::new();
    for handle in shared.registry.all() {
        let (reply, gone) = oneshot::channel();
        // A session that takes no commands any more is gone already.
        if handle
            .commands
            .send(Command::Stop { grace_ms, reply })
            .await
            .is_ok()
        {
            waiting.push(gone);
        }
    }
    waiting
}

/// Takes up the sessions of the broker before this one.
fn load_sessions(shared: &Arc<Shared>) {
    let dir = shared.place.sessions();
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(dir = %dir.display(), %error, "cannot read the sessions");
            return;
        }
    };
    for entry in entries.flatten() {
        let dir = entry.path();
        if let Err(error) = load_session(shared, &dir) {
            tracing::error!(dir = %dir.display(), %error, "a session cannot be taken up; left as it is");
        }
    }
}

fn load_session(shared: &Arc<Shared>, dir: &Path) -> io::Result<()> {
    let record = SessionRecord::load(dir)?;
    let name = record.name.clone();
    if shared.registry.by_name(&name).is_some() {
        return Err(io::Error::other(format!(
            "there is a session {name} already"
        )));
    }
    let journal = Journal::open(dir, record.settings.history)?;
    if journal.damaged > 0 {
        tracing::warn!(session = %name, lines = journal.damaged, "damaged lines in the journal");
    }
    let seed = Seed {
        record,
        dir: dir.to_owned(),
        journal,
        env: None,
    };
    let handle = session::spawn(Arc::clone(shared), seed);
    shared.registry.insert(name, handle);
    Ok(())
}

/// Accepts connections, and makes the socket again when something removed it.
/// `_last` is held by every connection; its end is the end of all of them.
async fn accept(shared: Arc<Shared>, listener: OwnedFd, last: mpsc::Sender<()>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut listener = Listener::try_from_fd(listener)?;
    let mut watch = Watch::new(&shared.place.socket).ok();
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return Ok(());
        };
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = removed(watch.as_mut()) => {
                // The old listener goes only when the new one is there.
                if let Some(again) = listen_again(&shared.place) {
                    listener = again;
                }
                watch = Watch::new(&shared.place.socket).ok();
                continue;
            }
        };
        match stream {
            Ok(stream) => {
                let (shared, last) = (Arc::clone(&shared), last.clone());
                tokio::spawn(async move {
                    conn::serve(shared, stream).await;
                    drop((place, last));
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept");
                // Out of descriptors, most likely: others have to end first.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A fresh socket when there is none at the path; `None` when all is well.
fn listen_again(place: &Place) -> Option<Listener> {
    if std::fs::symlink_metadata(&place.socket).is_ok() {
        return None;
    }
    let again = place
        .prepare_socket_dir()
        .and_then(|()| listen::bind(place))
        .map_err(io::Error::other)
        .and_then(|listener| Listener::try_from_fd(listen::into_fd(listener)));
    match again {
        Ok(listener) => {
            tracing::warn!(socket = %place.socket.display(), "the socket was removed; made again");
            Some(listener)
        }
        Err(error) => {
            tracing::error!(%error, "the socket was removed and cannot be made again");
            None
        }
    }
}

async fn removed(watch: Option<&mut Watch>) {
    match watch {
        Some(watch) => {
            if let Err(error) = watch.removed().await {
                tracing::error!(%error, "cannot watch the socket");
                std::future::pending().await
            }
        }
        None => std::future::pending().await,
    }
}

/// A listener from a descriptor, whatever its wrapper is called in this version.
trait TryFromFd: Sized {
    fn try_from_fd(fd: OwnedFd) -> io::Result<Self>;
}

impl TryFromFd for Listener {
    fn try_from_fd(fd: OwnedFd) -> io::Result<Self> {
        use interprocess::os::unix::uds_local_socket::tokio::Listener as Unix;
        Unix::try_from(fd).map(Self::UdSocket)
    }
}
