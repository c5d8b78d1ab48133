//! The broker as a whole: what its parts share, its beginning and its end.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clsess_holder::protocol::Successor;
use clsess_proto::{ErrorCode, Failure};
use futures_util::future::join_all;
use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::traits::tokio::Listener as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::disk::{Disk, write_private};
use crate::driver::stream::Found;
use crate::driver::terminal::FoundTerminal;
use crate::feed::Sequence;
use clsess_place::remedy::refuses;

use crate::hooks::Hooks;
use crate::journal::{self, Journal};
use crate::listen::{self, Own};
use crate::lock::{Lock, Record};
use crate::log::LogFile;
use crate::place::Place;
use crate::registry::Registry;
use crate::session::{self, Agents, Command, ProgramSeed, Seed, now_ms};
use crate::store::SessionRecord;
use crate::taps::Taps;
use crate::upgrade::{self, Go, Predecessor, Proven, Upgrade, hand_over};
use crate::warm::Warm;
use crate::watch::Watch;
use crate::{conn, log};

/// How long agents may take to end when the broker is told to by a signal.
const SIGNAL_GRACE_MS: u64 = 10_000;
/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;
/// How long the last answers may take to reach their clients.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a broker waits that cannot make its removed socket again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Killed sessions whose turns stay readable; the oldest go first.
const MAX_ENDED: usize = 100;

/// More than [`MAX_CONNECTIONS`] can have under way.
const BRIEF: u32 = 1 << 20;
/// How long those that do not wait for anybody may take to be answered when another broker is to
/// take over. Others are asked again of that one, and so are these, but for one whose answer is lost
/// it may be too late: the question is decided, the name is given. They take a millisecond, but some
/// wait for the disk; who connects meanwhile waits for the next broker, 10 s at most.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// What the broker's parts share.
#[derive(Debug)]
pub struct Shared {
    /// Where it lives.
    pub place: Place,
    /// Its sessions.
    pub registry: Registry,
    /// Which of them have an agent.
    pub warm: Arc<Warm>,
    /// Its way to the disk.
    pub disk: Disk,
    /// The numbers of its sessions' events.
    pub sequence: Arc<Sequence>,
    /// What it knows of agents' programs.
    pub agents: Agents,
    /// What holders start when this broker has gone.
    pub successor: Successor,
    /// Tells it to stop, with the grace in milliseconds.
    pub stop: mpsc::Sender<u64>,
    /// Upgrades that are wanted; who wants more waits.
    pub upgrades: mpsc::Sender<Upgrade>,
    /// Whether another broker is about to take over: nothing more is read of clients.
    pub leaving: watch::Sender<bool>,
    /// Requests under way that do not wait for anybody: one of [`BRIEF`] for each.
    pub brief: Arc<Semaphore>,
    /// Which socket is its own.
    pub bound: listen::Bound,
    /// The users' own commands.
    pub hooks: Hooks,
    /// What reads its agents' traffic.
    pub taps: Taps,
    /// Whether the broker is ending: nothing new is begun.
    pub stopping: AtomicBool,
    /// True when everything has stopped.
    pub stopped: watch::Receiver<bool>,
}

impl Shared {
    /// Moves a killed session's directory away, without what only a start needs; or
    /// removes it. `record`: as it is kept.
    ///
    /// # Errors
    /// Of the disk; the session is then where it was, and whole.
    pub fn bury(&self, dir: &Path, id: Uuid, record: Option<Vec<u8>>) -> io::Result<()> {
        // At once, whatever comes then: half a session would be taken up by the next broker.
        let buried = self.place.ended().join(id.to_string());
        match std::fs::rename(dir, &buried) {
            // Somebody has removed it: nothing of it can come back.
            Err(_) if !dir.exists() => return Ok(()),
            moved => moved?,
        }
        let cleared = match record {
            Some(record) => {
                // The last change of it may still be on its way to where it was.
                let written = write_private(&buried.join(crate::store::FILE), &record);
                std::fs::remove_file(crate::store::env_path(&buried)).and(written)
            }
            None => std::fs::remove_dir_all(&buried),
        };
        if let Err(error) = cleared
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(dir = %buried.display(), %error, "cannot clear a killed session");
        }
        forget_oldest(&self.place.ended(), &buried);
        Ok(())
    }
}

/// Keeps the newest [`MAX_ENDED`] of the killed sessions, and the last one: a clock that was set
/// back must not make it the oldest.
fn forget_oldest(ended: &Path, last: &Path) {
    let Ok(entries) = std::fs::read_dir(ended) else {
        return;
    };
    let mut dirs: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .filter(|(_, dir)| dir != last)
        .collect();
    dirs.sort();
    let excess = (dirs.len() + 1).saturating_sub(MAX_ENDED);
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
    listening: Listening,
    log: LogFile,
    before: Before,
    /// The broker whose place it takes, and which waits for that.
    predecessor: Option<Predecessor>,
}

/// The socket.
#[derive(Debug)]
struct Listening {
    listener: OwnedFd,
    /// Its file.
    own: Own,
}

impl Prepared {
    /// What another broker has handed over. It is written down by [`run`] that this process is the
    /// broker.
    ///
    /// # Errors
    /// When the log cannot be opened.
    pub fn handed_over(
        place: Place,
        lock: Lock,
        listener: OwnedFd,
        go: Go,
        predecessor: Predecessor,
    ) -> Result<Self, Failure> {
        Ok(Self {
            log: open_log(&place)?,
            place,
            lock,
            listening: Listening {
                listener,
                own: go.own,
            },
            before: Before {
                rebooted: false,
                begun: go.begun,
            },
            predecessor: Some(predecessor),
        })
    }
}

/// How a broker has ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to stop, and everything has.
    Stopped,
    /// Another process is the broker now; this one has nothing more to do than to exit.
    Replaced {
        /// That process.
        pid: u32,
    },
}

/// What the broker before this one has left in the lock.
#[derive(Clone, Debug, Default)]
struct Before {
    /// It was of another boot of the machine.
    rebooted: bool,
    /// [`Record::begun`] as it is to be written.
    begun: Vec<u64>,
}

impl Before {
    fn of(record: Option<&Record>) -> Self {
        let now = now_ms();
        let begun = record.into_iter().flat_map(|it| it.begun_lately(now));
        Self {
            rebooted: record.is_some_and(|it| it.boot_id != crate::lock::boot_id()),
            begun: begun.chain([now]).collect(),
        }
    }
}

/// Checks the directories, takes the lock, binds and listens; `None` when another
/// broker has the lock. An inherited listener is used instead of a new one;
/// `place.socket` is its path ([`listen::path_of_inherited`]).
///
/// # Errors
/// [`ErrorCode::UnsafePath`] and what else keeps a broker from living there.
pub fn prepare(place: Place, inherited: Option<UnixListener>) -> Result<Option<Prepared>, Failure> {
    place.prepare()?;
    let Some(lock) = Lock::take(&place.lock())? else {
        return Ok(None);
    };
    let before = Before::of(crate::lock::read(&place.lock()).as_ref());
    let log = open_log(&place)?;
    let is_inherited = inherited.is_some();
    let listener = match inherited {
        Some(listener) => listener.into(),
        None => listen::into_fd(listen::bind(&place)?),
    };
    record(&lock, &place, &before.begun)?;
    let own = Own::at(&place.socket, is_inherited);
    Ok(Some(Prepared {
        place,
        lock,
        listening: Listening { listener, own },
        log,
        before,
        predecessor: None,
    }))
}

fn open_log(place: &Place) -> Result<LogFile, Failure> {
    let log = place.log();
    LogFile::open(&log).map_err(|e| refuses(ErrorCode::UnsafePath, "write", &log, &e))
}

fn record(lock: &Lock, place: &Place, begun: &[u64]) -> Result<(), Failure> {
    let record = Record {
        begun: begun.to_vec(),
        ..Record::of_this_process(&place.socket)
    };
    lock.record(&record)
        .map_err(|e| refuses(ErrorCode::JournalFailed, "write", &place.lock(), &e))
}

/// Runs the broker until it is told to stop, or another one has taken its place. The process
/// should have one thread and nothing open but what `prepared` holds.
///
/// # Errors
/// When it cannot begin.
pub fn run(prepared: Prepared, verbose: u8, to_stderr: bool) -> io::Result<Ended> {
    let Prepared {
        place,
        lock,
        mut listening,
        log,
        before,
        mut predecessor,
    } = prepared;
    let Before {
        mut rebooted,
        mut begun,
    } = before;
    log::begin(log, verbose, to_stderr)?;
    allow_descriptors();
    loop {
        // After a fork the process is another one.
        record(&lock, &place, &begun).map_err(io::Error::other)?;
        let (disk, on_disk) = Disk::start()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let served = serve(&place, disk, listening, rebooted, predecessor.take());
        let end = runtime.block_on(served)?;
        // Whoever begins again in this process finds what it has left itself.
        rebooted = false;
        // All tasks end here, each where it waits, as by a death: none sees another's end.
        drop(runtime);
        let proven = match end {
            End::Stop => {
                // It has ended well: it does not count.
                if let Err(failure) = record(&lock, &place, &[]) {
                    tracing::warn!(%failure, "the lock's record stays as it is");
                }
                tracing::info!("broker gone");
                // The kernel frees it at the end of the process, and not sooner: whoever waits
                // for it waits for the process.
                std::mem::forget(lock);
                return Ok(Ended::Stopped);
            }
            End::HandOver {
                proven,
                listening: kept,
            } => {
                listening = kept;
                proven
            }
        };
        let go = Go {
            verbose,
            to_stderr,
            agent_nofile: AGENT_NOFILE.get().copied(),
            own: listening.own,
            begun: begun.clone(),
        };
        let handed_over = match on_disk.wait(DISK) {
            true => hand_over(*proven, go, &lock, &listening.listener),
            false => Err("the disk does not answer".to_owned()),
        };
        match handed_over {
            Ok(pid) => {
                tracing::info!(pid, "another broker has taken over");
                return Ok(Ended::Replaced { pid });
            }
            Err(why) => tracing::error!(why, "the new broker did not come up; this one goes on"),
        }
        // To clients it is another one: what they followed begins anew.
        begun.push(now_ms());
    }
}

/// How long the disk thread may take for what it was given while the runtime ended; shortly before
/// it had nothing to do.
const DISK: Duration = Duration::from_secs(2);

/// A warm session has six descriptors: as many as the system lets us have. Agents
/// get the limit that we were started with ([`crate::driver`]).
fn allow_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let _ = AGENT_NOFILE.set(soft);
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(MAX_DESCRIPTORS), hard)
    });
    if let Err(errno) = raised {
        tracing::warn!(%errno, "the limit of open files stays as it is");
    }
}

/// The soft limit of open files that this process was started with.
pub static AGENT_NOFILE: OnceLock<u64> = OnceLock::new();

/// Enough for [`crate::registry::MAX_SESSIONS`] and [`MAX_CONNECTIONS`].
const MAX_DESCRIPTORS: u64 = 16_384;

/// Why a broker serves no more.
enum End {
    /// Everything has stopped.
    Stop,
    /// Everything goes on with another one.
    HandOver {
        /// The one.
        proven: Box<Proven>,
        /// The socket as it is by now.
        listening: Listening,
    },
}

async fn serve(
    place: &Place,
    disk: Disk,
    listening: Listening,
    rebooted: bool,
    predecessor: Option<Predecessor>,
) -> io::Result<End> {
    let (stop, mut stop_asked) = mpsc::channel(8);
    let (stopped, stopped_seen) = watch::channel(false);
    let (upgrades, upgrades_wanted) = mpsc::channel(8);
    let Listening { listener, own } = listening;
    let shared = Arc::new(Shared {
        registry: Registry::default(),
        warm: Arc::default(),
        disk,
        sequence: Arc::new(Sequence::new(now_ms())),
        agents: Agents::default(),
        successor: successor(place, own.inherited),
        stop,
        upgrades,
        leaving: watch::Sender::new(false),
        brief: Arc::new(Semaphore::new(BRIEF as usize)),
        bound: listen::Bound::new(own),
        hooks: Hooks::default(),
        taps: Taps::new(place.taps()),
        stopping: AtomicBool::new(false),
        stopped: stopped_seen,
        place: place.clone(),
    });
    let before = predecessor.as_ref().map(Predecessor::version);
    tracing::info!(
        version = clsess_proto::VERSION,
        socket = %shared.place.socket.display(),
        before,
        "broker begins"
    );
    shared.taps.again(&shared.place.sessions()).await;
    load_sessions(&shared, rebooted).await;
    if let Some(predecessor) = predecessor {
        predecessor.serving();
    }

    let (last_connection, mut connections_gone) = mpsc::channel::<()>(1);
    let mut listener = from_fd(listener)?;
    let (fit, proven) = oneshot::channel();
    tokio::spawn(upgrade::upgrades(Arc::clone(&shared), upgrades_wanted, fit));
    let proven = {
        let mut accepting = pin!(accept(&shared, &mut listener, last_connection));
        let proven = tokio::select! {
            () = &mut accepting => Err(SIGNAL_GRACE_MS),
            grace_ms = stop_wanted(&mut stop_asked) => Err(grace_ms?),
            // The sender waits for ever when it has nothing to send.
            Ok(proven) = proven => Ok(Box::new(proven)),
        };
        if let Err(grace_ms) = &proven {
            tracing::info!(grace_ms, "broker stops");
            shared.stopping.store(true, Ordering::Relaxed);
            tokio::select! {
                () = accepting => {}
                () = stop_sessions(&shared, *grace_ms, &mut stop_asked) => {}
            }
        }
        proven
    };
    if let Ok(proven) = proven {
        shared.leaving.send_replace(true);
        let answered = shared.brief.acquire_many(BRIEF);
        let _ = tokio::time::timeout(ANSWERED_WITHIN, answered).await;
        tracing::info!(version = proven.version, "another broker takes over");
        let listening = Listening {
            own: shared.bound.own(),
            listener: match listener {
                Listener::UdSocket(listener) => listener.try_into()?,
            },
        };
        return Ok(End::HandOver { proven, listening });
    }
    drop(listener);
    listen::unlink(&shared.place.socket, &shared.bound);
    let on_disk = shared.disk.all_done().kept();
    let _ = tokio::time::timeout(LAST_WORDS, on_disk).await;
    stopped.send_replace(true);
    let _ = tokio::time::timeout(LAST_WORDS, connections_gone.recv()).await;
    Ok(End::Stop)
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

/// Takes up the sessions of the broker before this one, with their agents. `rebooted`: the machine
/// was started again since.
async fn load_sessions(shared: &Arc<Shared>, rebooted: bool) {
    let dir = shared.place.sessions();
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(dir = %dir.display(), %error, "cannot read the sessions");
            return;
        }
    };
    let records = entries
        .flatten()
        .map(|entry| (SessionRecord::load(&entry.path()), entry.path()));
    let (unfinished, mut records): (Vec<_>, Vec<_>) =
        records.partition(|(record, dir)| is_unfinished(record, dir));
    let unfinished = unfinished.into_iter();
    join_all(unfinished.map(|(_, dir)| forget_unfinished(shared, dir))).await;
    // Of two with one name the older one has it: one that was damaged, and is whole again, may
    // have a namesake by now.
    records.sort_by_key(|(record, _)| record.as_ref().map_or(0, |record| record.created_at));
    // All at once: a holder that does not answer keeps nobody else waiting.
    let agents = records.iter().map(|(record, dir)| async move {
        match record {
            Ok(record) => Left::find(record, dir, &shared.successor).await,
            Err(_) => Ok(Left::default()),
        }
    });
    let agents = join_all(agents).await;
    for ((record, dir), agent) in records.into_iter().zip(agents) {
        let agent = agent.unwrap_or_else(|error| {
            tracing::error!(dir = %dir.display(), %error, "an agent's holder does not work");
            Left::default()
        });
        if let Err(error) =
            record.and_then(|record| load_session(shared, &dir, record, agent, rebooted))
        {
            shared.registry.left_alone();
            tracing::error!(dir = %dir.display(), %error, "a session cannot be taken up; left as it is");
        }
    }
}

/// What another broker has left of a session.
#[derive(Default)]
struct Left {
    agent: Option<Found>,
    program: Option<FoundTerminal>,
}

impl Left {
    async fn find(record: &SessionRecord, dir: &Path, successor: &Successor) -> io::Result<Self> {
        Ok(match record.program {
            Some(_) => Self {
                program: session::find_program(dir, successor).await?,
                agent: None,
            },
            None => Self {
                agent: {
                    let own = record.settings.driver.unwrap_or_default();
                    let driver = record.embodied.unwrap_or(own);
                    session::find(dir, driver, successor).await?
                },
                program: None,
            },
        })
    }
}

/// Whether a session was being made when its broker died, and nobody was told that it is there: it
/// has no record yet, and no turn.
fn is_unfinished(record: &io::Result<SessionRecord>, dir: &Path) -> bool {
    let no_record = record
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let turns = dir.join(journal::FILE).metadata();
    no_record && dir.is_dir() && turns.map_or(true, |turns| turns.len() == 0)
}

/// Ends its agent, if it has one already, and removes it: it is asked for again.
async fn forget_unfinished(shared: &Arc<Shared>, dir: PathBuf) {
    session::end_previous(&dir, &shared.successor).await;
    match std::fs::remove_dir_all(&dir) {
        Ok(()) => tracing::info!(dir = %dir.display(), "a session that was not made was removed"),
        Err(error) => tracing::error!(dir = %dir.display(), %error, "it cannot be removed"),
    }
}

fn load_session(
    shared: &Arc<Shared>,
    dir: &Path,
    record: SessionRecord,
    left: Left,
    rebooted: bool,
) -> io::Result<()> {
    let name = record.name.clone();
    // A copy beside it, kept by somebody, must not be taken for the session itself.
    if dir.file_name() != Some(OsStr::new(&record.id.to_string())) {
        let message = format!("a copy: the session {name} has the directory {}", record.id);
        return Err(io::Error::other(message));
    }
    if shared.registry.by_name(&name).is_some() {
        return Err(io::Error::other(format!(
            "there is a session {name} already"
        )));
    }
    if let Some(program) = record.program.clone() {
        let seed = ProgramSeed {
            record,
            program,
            dir: dir.to_owned(),
            env: None,
            found: left.program,
            taken_up: true,
        };
        let handle = session::spawn_program(Arc::clone(shared), seed);
        shared.registry.insert(name, handle);
        return Ok(());
    }
    let found = left.agent;
    let journal = Journal::open(dir, record.settings.history)?;
    if journal.damaged() > 0 {
        tracing::warn!(session = %name, lines = journal.damaged(), "damaged lines in the journal");
    }
    // Its agent was held, and is not any more: it is as if the machine had died.
    let died = found.is_none() && (rebooted || session::died_warm(dir));
    let seed = Seed {
        held: died && !record.settings.resume_queue,
        record,
        dir: dir.to_owned(),
        journal,
        env: None,
        taken_up: true,
        left: session::remembered(dir),
        found,
    };
    let handle = session::spawn(Arc::clone(shared), seed);
    shared.registry.insert(name, handle);
    Ok(())
}

/// Accepts connections, and makes the socket again when something removed it.
/// `_last` is held by every connection; its end is the end of all of them.
async fn accept(shared: &Arc<Shared>, listener: &mut Listener, last: mpsc::Sender<()>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut watch = watched(shared, listener);
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = removed(watch.as_mut()) => {
                watch = watched(shared, listener);
                continue;
            }
        };
        match stream {
            Ok(stream) => {
                let (shared, last) = (Arc::clone(shared), last.clone());
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

/// Watches the socket's directory, and sees to it that the socket is there: in this
/// order, so that no removal falls between. `None`: to be tried again later.
fn watched(shared: &Shared, listener: &mut Listener) -> Option<Watch> {
    let place = &shared.place;
    let watch = place
        .prepare_socket_dir()
        .map_err(io::Error::other)
        .and_then(|()| Watch::for_removals(place.socket.parent().unwrap_or(Path::new("/"))));
    let there = watch.and_then(|watch| {
        if !shared.bound.is_at(&place.socket) {
            let again = listen::bind(place).map_err(io::Error::other)?;
            // The old listener goes only when the new one is there.
            *listener = from_fd(listen::into_fd(again))?;
            shared.bound.becomes(&place.socket);
            tracing::warn!(socket = %place.socket.display(), "the socket was removed; made again");
        }
        Ok(watch)
    });
    there
        .inspect_err(|error| tracing::error!(%error, "the socket cannot be kept in its place"))
        .ok()
}

async fn removed(watch: Option<&mut Watch>) {
    match watch {
        Some(watch) => {
            if let Err(error) = watch.changed().await {
                tracing::error!(%error, "cannot watch the socket");
                std::future::pending().await
            }
        }
        // Something is in the way: seldom, and not for ever.
        None => tokio::time::sleep(LOOK_AGAIN).await,
    }
}

fn from_fd(fd: OwnedFd) -> io::Result<Listener> {
    use interprocess::os::unix::uds_local_socket::tokio::Listener as Unix;
    Unix::try_from(fd).map(Listener::UdSocket)
}

/// What starts another broker here: the program that this one is an instance of, as it is by
/// then, and nothing of this one's environment. An `inherited` socket is still listened on by
/// who has started this one, and brings another when it is knocked at.
#[must_use]
fn successor(place: &Place, inherited: bool) -> Successor {
    let program = std::env::current_exe().unwrap_or_default();
    // It may have been replaced by another version since this broker began.
    let program = program.as_os_str().as_bytes();
    let program = program.strip_suffix(b" (deleted)").unwrap_or(program);
    let label = place.state.file_name().unwrap_or_default();
    let state = place.state.parent().unwrap_or(Path::new("/"));
    let start: [&[u8]; 8] = [
        program,
        b"broker",
        b"start",
        b"--again",
        b"--held",
        b"--quiet",
        b"--label",
        label.as_bytes(),
    ];
    let socket: [&[u8]; 2] = [b"--socket", place.socket.as_os_str().as_bytes()];
    let named = if inherited { &[][..] } else { &socket };
    let args = start.iter().chain(named);
    Successor {
        args: args.map(|arg| arg.to_vec()).collect(),
        env: vec![(
            b"CLSESS_STATE_DIR".to_vec(),
            state.as_os_str().as_bytes().to_vec(),
        )],
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_session_that_was_killed_last_is_kept_whatever_the_clock_says() {
        let ended = tempfile::tempdir().unwrap();
        let made = |n: usize, ago: u64| {
            let dir = ended.path().join(format!("{n:03}"));
            std::fs::create_dir(&dir).unwrap();
            let at = SystemTime::now() - Duration::from_secs(ago);
            let file = std::fs::File::open(&dir).unwrap();
            file.set_modified(at).unwrap();
            dir
        };
        let oldest = made(0, 2000);
        for n in 1..MAX_ENDED {
            made(n, 1000);
        }
        let last = made(MAX_ENDED, 3000);
        forget_oldest(ended.path(), &last);
        assert!(last.exists() && !oldest.exists());
        assert_eq!(std::fs::read_dir(ended.path()).unwrap().count(), MAX_ENDED);
    }
}
