//! The new broker's side: it proves itself, waits for the old one to go, and takes its place.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use clsess_proto::{ErrorCode, Failure, VERSION};
use nix::unistd::{Pid, dup2_stderr, getpgid, getppid, setpgid, setsid};
use uuid::Uuid;

use super::words::{Go, Trial, Word, Words};
use crate::broker::{AGENT_NOFILE, Prepared};
use crate::journal::Journal;
use crate::lock::Lock;
use crate::place::Place;
use crate::store::SessionRecord;

/// How long the old broker may take to say what it wants: it does so at once.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to stop serving: it waits for its disk.
const GOES_WITHIN: Duration = Duration::from_secs(20);

/// The old broker, which waits for this one to serve.
#[derive(Debug)]
pub struct Predecessor {
    words: Words,
    version: String,
}

impl Predecessor {
    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Lets it go. One that is gone already has left its place to this one.
    pub fn serving(mut self) {
        if let Err(error) = self.words.say(&Word::Serving {}, &[]) {
            tracing::warn!(%error, "the broker before this one is gone already");
        }
    }
}

/// A broker that has been given everything, and what it is to be run with.
#[derive(Debug)]
pub struct TakenOver {
    /// For [`crate::run`].
    pub prepared: Prepared,
    /// How much is logged.
    pub verbose: u8,
    /// Whether it is also logged to stderr.
    pub to_stderr: bool,
}

/// Proves to the broker at the other end of `socket` that this process could take its place, and
/// takes it when that broker says so. `None`: it has gone, or does not want that any more.
///
/// # Errors
/// Why it cannot; nothing has changed then.
pub fn take_over(socket: UnixStream) -> Result<Option<TakenOver>, Failure> {
    let mut words = Words::new(socket).map_err(|e| internal(&e))?;
    let Ok(Word::Trial(trial)) = words.hear(BEGINS_WITHIN) else {
        return Ok(None);
    };
    stand_apart();
    let place = Place {
        state: trial.state.clone(),
        socket: trial.socket.clone(),
    };
    understands(&place, &trial)?;
    let ready = Word::Ready {
        version: VERSION.to_owned(),
    };
    words.say(&ready, &[]).map_err(|e| internal(&e))?;
    let Ok(Word::Go(go)) = words.hear(GOES_WITHIN) else {
        return Ok(None);
    };
    receive(place, go, words, trial.version).map(Some)
}

/// Leaves the session of the old broker, whose terminal may close. The leader of a process group
/// cannot, so it becomes a member of another one first.
fn stand_apart() {
    let joined = getpgid(Some(getppid())).and_then(|group| setpgid(Pid::this(), group));
    if let Err(errno) = joined.and_then(|()| setsid().map(drop)) {
        // It is only less sure to outlive a terminal.
        tracing::debug!(%errno, "not in a session of its own");
    }
}

/// Reads all that the old broker has taken up.
fn understands(place: &Place, trial: &Trial) -> Result<(), Failure> {
    for id in &trial.sessions {
        understands_session(place, *id).map_err(|error| {
            let message = format!("the session {id} is not understood: {error}");
            Failure::new(ErrorCode::UpgradeFailed, message)
        })?;
    }
    Ok(())
}

fn understands_session(place: &Place, id: Uuid) -> io::Result<()> {
    let dir = place.sessions().join(id.to_string());
    let read = SessionRecord::load(&dir).and_then(|record| match record.program {
        // It has no turns.
        Some(_) => Ok(()),
        None => Journal::read_only(&dir).map(drop),
    });
    match read {
        // It was killed just now.
        Err(_) if !dir.exists() => Ok(()),
        read => read,
    }
}

/// Takes what has come with the word.
fn receive(place: Place, go: Go, mut words: Words, version: String) -> Result<TakenOver, Failure> {
    let mut next = || {
        let missing = || Failure::new(ErrorCode::Internal, "not everything was handed over");
        words.descriptors.pop_front().ok_or_else(missing)
    };
    let (lock, listener, stderr) = (next()?, next()?, next()?);
    dup2_stderr(stderr).map_err(|errno| internal(&errno.into()))?;
    if let Some(limit) = go.agent_nofile {
        // Nobody has set it: this process has just begun.
        let _ = AGENT_NOFILE.set(limit);
    }
    let lock = Lock::handed_over(lock, &place.lock())?;
    let (verbose, to_stderr) = (go.verbose, go.to_stderr);
    let predecessor = Predecessor { words, version };
    let prepared = Prepared::handed_over(place, lock, listener, go, predecessor)?;
    Ok(TakenOver {
        prepared,
        verbose,
        to_stderr,
    })
}

fn internal(error: &io::Error) -> Failure {
    Failure::new(
        ErrorCode::Internal,
        format!("the broker before this one: {error}"),
    )
}
