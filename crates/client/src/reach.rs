//! The way to the broker: where it listens, how it is started, and how it is found
//! again.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clsess_place::{lock, now_ms, place};
use clsess_proto::{ErrorCode, Failure};
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::{GenericFilePath, ToFsName};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::surroundings::Surroundings;
use crate::upgrade;

/// How long a broker that is beginning or ending is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries meanwhile.
const RETRY: Duration = Duration::from_millis(10);
/// All who wait notice a broker's death at the same moment, and one of them is enough to start
/// another: they try one after the other, by their pids. Measured with 20 who wait: 6 processes
/// and threads are begun until it is back, 4 of them by a start without anybody who waits.
const TURN: Duration = Duration::from_millis(2);
/// How many turns there are.
const TURNS: u32 = 16;
/// A connection that has lasted so long was a good one. With [`LOSSES`] that is as long as brokers
/// are started by themselves: whoever watches for days goes on as long as those do.
const STEADY: Duration = Duration::from_secs(lock::IN_A_ROW.as_secs() / LOSSES as u64);
/// What more is waited after each loss in a row.
const AGAIN: Duration = Duration::from_millis(20);
/// How often one that starts none looks for a broker that holds the lock.
const LOOKS: u32 = 3;
/// How often in a row one command looks for a broker again that was lost.
const LOSSES: u32 = 5;

/// Whether a missing broker is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// On first need.
    IfMissing,
    /// Never.
    Never,
}

impl Client {
    /// Connects to the broker of these surroundings.
    ///
    /// # Errors
    /// [`ErrorCode::BrokerUnreachable`], [`ErrorCode::Incompatible`].
    pub async fn connect(surroundings: &Surroundings, start: Start) -> Result<Self, Failure> {
        let client = Self::reach(surroundings, start).await?;
        match start {
            // Boxed: it is in the future of every command, and seldom has anything to do.
            Start::IfMissing => Box::pin(upgrade::met(client, surroundings)).await,
            Start::Never => Ok(client),
        }
    }

    async fn reach(surroundings: &Surroundings, start: Start) -> Result<Self, Failure> {
        let until = Instant::now() + PATIENCE;
        let mut looks = 0;
        loop {
            let missing = match Self::find(surroundings, start).await {
                Ok(client) => return Ok(client),
                // Also of one that ended while we were at its door.
                Err(failure) if failure.code == ErrorCode::BrokerUnreachable => failure,
                Err(failure) => return Err(failure),
            };
            if start == Start::Never {
                looks += 1;
                // One that is just being replaced closes, and the next one listens already.
                if looks > LOOKS || !lock::is_held(&surroundings.place.lock()) {
                    return Err(missing);
                }
                sleep(RETRY).await;
                continue;
            }
            if Instant::now() > until {
                return Err(held(surroundings).unwrap_or(missing));
            }
            if !lock::is_held(&surroundings.place.lock()) && !is_inside() {
                start_broker(surroundings, Who::Command).await?;
            }
            // Else one is beginning, or ending, or a holder is about to bring one.
            if let Ok(client) = Self::find(surroundings, start).await {
                return Ok(client);
            }
            sleep(RETRY).await;
        }
    }

    /// Connects again when the connection is lost, to the same broker or its
    /// successor; whether it is the same. What was asked can be asked again under
    /// the same turn's id.
    ///
    /// # Errors
    /// `why`, when it is another failure or has come too often; and as
    /// [`Client::connect`].
    pub async fn again(
        &mut self,
        surroundings: &Surroundings,
        start: Start,
        why: Failure,
    ) -> Result<bool, Failure> {
        if self.since.elapsed() > STEADY {
            self.losses = 0;
        }
        if why.code != ErrorCode::BrokerUnreachable || self.losses >= LOSSES {
            return Err(why);
        }
        let before = self.broker.clone();
        let losses = self.losses + 1;
        let turn = std::process::id() % TURNS;
        sleep(AGAIN * self.losses + TURN * turn).await;
        let found = timeout(PATIENCE, Self::connect(surroundings, start));
        *self = found.await.map_err(|_| why)??;
        self.losses = losses;
        Ok(before.is_some() && self.broker == before)
    }

    /// The broker of these surroundings: where it should listen, else where its
    /// lock says that it does, else where systemd listens for it.
    pub(crate) async fn find(surroundings: &Surroundings, start: Start) -> Result<Self, Failure> {
        let socket = &surroundings.place.socket;
        place::check_socket_length(socket)?;
        // Whoever connects there starts a broker.
        let starts = |socket: &Path| {
            start == Start::Never
                && surroundings.activating.as_deref() == Some(socket)
                && !lock::is_held(&surroundings.place.lock())
        };
        if starts(socket) {
            return Err(no_broker());
        }
        let mut missing = match connect(socket).await {
            Ok(stream) => {
                let client = Self::greet(stream).await?;
                // One whose socket was named on purpose is the one that is meant.
                if surroundings.socket_named || client.is_of(surroundings) {
                    return Ok(client);
                }
                another(socket, &client)
            }
            Err(error) => not_there(socket, &error),
        };
        let recorded = lock::read(&surroundings.place.lock()).map(|record| record.socket);
        let mut tried = vec![socket.clone()];
        for other in recorded.into_iter().chain(surroundings.activating.clone()) {
            if tried.contains(&other) || starts(&other) {
                continue;
            }
            if let Ok(stream) = connect(&other).await {
                let client = Self::greet(stream).await?;
                if client.is_of(surroundings) {
                    return Ok(client);
                }
                missing = another(&other, &client);
            }
            tried.push(other);
        }
        Err(missing)
    }

    /// Whether this broker is the one that was looked for.
    fn is_of(&self, surroundings: &Surroundings) -> bool {
        let said = self.hello.state_dir.as_ref();
        said.is_none_or(|dir| same_directory(Path::new(dir), &surroundings.place.state))
    }
}

/// Whether this runs in a session: what is started here is ended together with its agent or program, a
/// broker too. The holder has noticed that there is none, and starts one that is no descendant of it.
pub(crate) fn is_inside() -> bool {
    std::env::var_os("CLSESS_SESSION").is_some()
}

/// A directory can be written in many ways, by a symlink for one.
fn same_directory(one: &Path, other: &Path) -> bool {
    let real = |dir: &Path| std::fs::canonicalize(dir).ok();
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

fn another(socket: &Path, client: &Client) -> Failure {
    let of = client.hello.state_dir.as_deref().unwrap_or_default();
    let message = format!("the broker at {} is another one, of {of}", socket.display());
    Failure::new(ErrorCode::BrokerUnreachable, message)
        .hint("set CLSESS_RUNTIME_DIR, or CLSESS_STATE_DIR to that one's")
}

fn not_there(socket: &Path, error: &io::Error) -> Failure {
    let message = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return no_broker(),
        _ => format!("cannot connect to {}: {error}", socket.display()),
    };
    Failure::new(ErrorCode::BrokerUnreachable, message).hint(TO_START)
}

/// Nobody listens anywhere where a broker might.
pub fn no_broker() -> Failure {
    Failure::new(ErrorCode::BrokerUnreachable, "no broker is running").hint(TO_START)
}

/// Somebody has the lock, and cannot be reached.
pub fn held(surroundings: &Surroundings) -> Option<Failure> {
    let lock = surroundings.place.lock();
    if !lock::is_held(&lock) {
        return None;
    }
    let who = lock::read(&lock).map_or_else(String::new, |record| {
        format!(" (pid {} on {})", record.pid, record.host)
    });
    let message = format!("a broker{who} holds {}", lock.display());
    let failure = Failure::new(ErrorCode::BrokerUnreachable, message);
    Some(failure.hint("clsess broker status; clsess broker stop"))
}

/// What to do about a broker that is missing.
const TO_START: &str = "clsess broker start";

async fn connect(socket: &Path) -> io::Result<Stream> {
    Stream::connect(socket.to_fs_name::<GenericFilePath>()?).await
}

/// A broker that dies as soon as it is there is not started over and over: its holders keep the
/// agents, and somebody has to look.
pub fn dies(surroundings: &Surroundings) -> Option<Failure> {
    let lock = surroundings.place.lock();
    let begun = lock::read(&lock).map_or(0, |record| record.begun_lately(now_ms()).count());
    if begun < lock::MAX_BEGUN || lock::is_held(&lock) {
        return None;
    }
    let seconds = lock::IN_A_ROW.as_secs();
    let message = format!(
        "the broker has died {begun} times in {seconds} seconds; the agents go on without it"
    );
    let failure = Failure::new(ErrorCode::BrokerUnreachable, message);
    Some(failure.hint("clsess broker logs; to try again: clsess broker start"))
}

/// On whose behalf a broker is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A command's that needs one; not if it [`dies`].
    Command,
    /// Somebody's who wants one.
    People,
}

/// Starts a broker by `clsess broker start`, whose exit 0 means that it listens.
/// It gets nothing of our environment: a session's comes with the request.
///
/// # Errors
/// [`ErrorCode::BrokerUnreachable`], with what it said.
pub async fn start_broker(surroundings: &Surroundings, who: Who) -> Result<(), Failure> {
    let fail = |why: String| {
        Failure::new(
            ErrorCode::BrokerUnreachable,
            format!("the broker cannot be started: {why}"),
        )
        .hint("clsess broker start; clsess broker logs")
    };
    let started = Command::new(&surroundings.program)
        .args(["broker", "start", "--quiet"])
        .args((who == Who::Command).then_some("--again"))
        .args(["--label", &surroundings.label, "--socket"])
        .arg(&surroundings.place.socket)
        .env_clear()
        .env("CLSESS_STATE_DIR", &surroundings.state_dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .await
        .map_err(|e| fail(e.to_string()))?;
    if started.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&started.stderr);
    let mut lines = said.lines();
    let why = lines.next().unwrap_or("for no known reason");
    let failure = fail(why.trim_start_matches("clsess: ").to_owned());
    Err(match lines.find_map(|line| line.strip_prefix("hint: ")) {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_the_same_by_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(same_directory(&real, &link));
        assert!(same_directory(&real, &dir.path().join("link//../real/")));
        assert!(!same_directory(&real, dir.path()));
        // One that is not there yet has only its name.
        let none = Path::new("/nowhere/x");
        assert!(same_directory(none, none) && !same_directory(none, &real));
    }
}
