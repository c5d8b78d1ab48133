//! The lock that makes a broker the only one of its state directory, and the
//! record in it that lets a client find the broker from anywhere.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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
}

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
        }
    }
}

/// The held lock. It is free when the last process that has it is gone.
#[derive(Debug)]
pub struct Lock(Flock<File>);

impl Lock {
    /// Takes the lock; `None` when somebody else has it.
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
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Self(lock))),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(failure(path, &errno.into())),
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

/// Whether a process holds the lock at `path`. It looks by taking it for a moment,
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
    let lives = |record: &Record| {
        stat_fields(&record.pid.to_string())
            .is_some_and(|stat| stat.start_time == record.start_time && stat.state != 'Z')
    };
    while holder.as_ref().is_some_and(lives) {
        std::thread::sleep(std::time::Duration::from_millis(1));
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

fn line_of(path: &str) -> String {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn failure(path: &Path, error: &std::io::Error) -> Failure {
    crate::disk::refuses(ErrorCode::UnsafePath, "lock", path, error)
}

#[cfg(test)]
mod tests {
    use super::*;

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
