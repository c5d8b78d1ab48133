//! The lock that makes a broker the only one of its state directory, and the
//! record in it that lets a client find the broker from anywhere.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clsess_proto::{ErrorCode, Failure};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// Who holds the lock. For clients to find the socket, and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The broker's process.
    pub pid: u32,
    /// When it started, in the kernel's clock ticks since boot
    /// (`/proc/PID/stat`, field 22).
    pub start_time: u64,
    /// The boot it belongs to.
    pub boot_id: String,
    /// The machine.
    pub host: String,
    /// Where it listens.
    pub socket: PathBuf,
    /// Its version.
    pub version: String,
    /// When it began, and when those before it did that did not end well: those of the last
    /// [`IN_A_ROW`] at most, in milliseconds of Unix time.
    #[serde(default)]
    pub begun: Vec<u64>,
}

/// Brokers that begin in [`IN_A_ROW`] one after the other before no more are started by
/// themselves: something kills them as soon as they are there.
pub const MAX_BEGUN: usize = 5;
/// See [`MAX_BEGUN`].
pub const IN_A_ROW: Duration = Duration::from_secs(10);

impl Record {
    /// What this process writes.
    #[must_use]
    pub fn of_this_process(socket: &Path) -> Self {
        Self {
            pid: std::process::id(),
            start_time: stat_fields("self").map_or(0, |stat| stat.start_time),
            boot_id: boot_id(),
            host: line_of("/proc/sys/kernel/hostname"),
            socket: socket.to_owned(),
            version: clsess_proto::VERSION.to_owned(),
            begun: Vec::new(),
        }
    }

    /// Whether its broker has ended as it was told to, if it has ended.
    #[must_use]
    pub fn ended_well(&self) -> bool {
        self.begun.is_empty()
    }

    /// The times in [`Record::begun`] that still count at `now_ms`.
    pub fn begun_lately(&self, now_ms: u64) -> impl Iterator<Item = u64> + '_ {
        let in_a_row = u64::try_from(IN_A_ROW.as_millis()).unwrap_or(u64::MAX);
        let lately = move |at: &u64| now_ms.abs_diff(*at) < in_a_row;
        self.begun.iter().copied().filter(lately)
    }
}

/// How often a lock is tried that is only looked at: then somebody is taken for a broker
/// who looks all the time.
const LOOKS: u32 = 100;
/// Between two tries; a look lasts microseconds.
const LOOK: Duration = Duration::from_millis(1);

/// The held lock. It is free when the last descriptor of it is closed, in whatever process: dropping
/// one never takes it from who has another, be it over a fork or handed over.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock; `None` when somebody else has it. Who only looks ([`is_held`])
    /// is not in the way.
    ///
    /// # Errors
    /// [`ErrorCode::UnsafePath`] when the file cannot be used.
    pub fn take(path: &Path) -> Result<Option<Self>, Failure> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(path)
            .map_err(|e| failure(path, &e))?;
        for _ in 0..LOOKS {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self(file))),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failure(path, &error)),
            }
            if is_held(path) {
                break;
            }
            std::thread::sleep(LOOK);
        }
        Ok(None)
    }

    /// The lock at `path` as another process has handed it over.
    ///
    /// # Errors
    /// [`ErrorCode::UnsafePath`] when it is not that one.
    pub fn handed_over(descriptor: OwnedFd, path: &Path) -> Result<Self, Failure> {
        let file = File::from(descriptor);
        let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let handed = file.metadata().map(identity);
        let named = std::fs::symlink_metadata(path).map(identity);
        match (handed, named) {
            (Ok(handed), Ok(named)) if handed == named => {}
            _ => {
                return Err(failure(
                    path,
                    &std::io::Error::other("another one was handed over"),
                ));
            }
        }
        // It is held by the same open file: it stays held, and this makes sure of it.
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(error) => Err(failure(path, &error.into())),
        }
    }

    /// Writes who we are. Its readers tolerate a half-written record.
    ///
    /// # Errors
    /// When the disk takes nothing.
    pub fn record(&self, record: &Record) -> std::io::Result<()> {
        let text = serde_json::to_vec(record)?;
        self.0.write_all_at(&text, 0)?;
        self.0.set_len(text.len() as u64)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The record in the lock file at `path`, if there is one. It may be of a broker
/// that is gone: only the socket that it names tells.
#[must_use]
pub fn read(path: &Path) -> Option<Record> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(64 * 1024)
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}

/// Whether a broker holds the lock at `path`. It looks by taking it for a moment,
/// shared; whoever starts a broker just then tries again.
#[must_use]
pub fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| {
        let taken = Flock::lock(file, FlockArg::LockSharedNonblock);
        matches!(taken, Err((_, nix::errno::Errno::EWOULDBLOCK)))
    })
}

/// Blocks until the broker that holds the lock at `path` is gone.
///
/// # Errors
/// When the file cannot be opened.
pub fn wait_until_gone(path: &Path) -> std::io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let holder = read(path);
    if let Err((_, errno)) = Flock::lock(file, FlockArg::LockShared) {
        return Err(errno.into());
    }
    // An ending process closes its files a moment before it is gone.
    let lives = |record: &Record| lives(record.pid, record.start_time);
    while holder.as_ref().is_some_and(lives) {
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 3: `Z` for one that is dead and not reaped.
    pub state: char,
    /// Field 4.
    pub parent: u32,
    /// Field 22, in clock ticks since boot.
    pub start_time: u64,
}

/// The process `who`: a number, or `self`.
#[must_use]
pub fn stat_fields(who: &str) -> Option<Stat> {
    // At once: the command of every connection has its ancestors looked at. It is one line of
    // numbers and a short name.
    let mut stat = [0; 1024];
    let mut file = File::open(format!("/proc/{who}/stat")).ok()?;
    let length = file.read(&mut stat).ok()?;
    fields(&stat[..length])
}

/// Whether the process of this number that began then lives. A zombie has nothing left
/// that could do anything.
#[must_use]
pub fn lives(pid: u32, start_time: u64) -> bool {
    stat_fields(&pid.to_string())
        .is_some_and(|stat| stat.start_time == start_time && stat.state != 'Z')
}

fn fields(stat: &[u8]) -> Option<Stat> {
    // The name before them may hold anything: spaces, brackets, half a character.
    let stat = String::from_utf8_lossy(stat);
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some(Stat {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        start_time: fields.nth(17)?.parse().ok()?,
    })
}

/// What names this boot of the machine.
#[must_use]
pub fn boot_id() -> String {
    line_of("/proc/sys/kernel/random/boot_id")
}

/// What a file of one short line says; nothing where it cannot be read.
#[must_use]
pub fn line_of(path: &str) -> String {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn failure(path: &Path, error: &std::io::Error) -> Failure {
    crate::remedy::refuses(ErrorCode::UnsafePath, "lock", path, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn who_only_looks_is_not_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let _ = is_held(&path);
                    }
                });
            }
            let taken = (0..200).all(|_| Lock::take(&path).is_ok_and(|lock| lock.is_some()));
            done.store(true, Ordering::Relaxed);
            assert!(taken);
        });
        let lock = Lock::take(&path).unwrap();
        assert!(lock.is_some() && is_held(&path));
        assert!(Lock::take(&path).unwrap().is_none());
        drop(lock);
        assert!(!is_held(&path));
    }

    #[test]
    fn a_process_may_have_any_name() {
        for name in [&b"clsess"[..], b"a) Z 1 (b", b"halbes \xc3", b""] {
            let rest = b") S 7 3 2 0 -1 4194304 211 0 0 0 0 0 0 0 20 0 1 0 4711 672";
            let stat = [b"42 (", name, rest].concat();
            let expected = Stat {
                state: 'S',
                parent: 7,
                start_time: 4711,
            };
            assert_eq!(fields(&stat), Some(expected), "{name:?}");
        }
        assert_eq!(fields(b""), None);
        let own = stat_fields("self").unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id());
    }
}
