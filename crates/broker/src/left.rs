//! What a broker that was killed has left running.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::driver::HOLDER;
use crate::place::Place;
use crate::session::remembered;

/// How many sessions have an agent, or its holder, that runs.
#[must_use]
pub fn agents(place: &Place) -> usize {
    let entries = fs::read_dir(place.sessions()).into_iter().flatten();
    let dirs = entries.flatten().map(|entry| entry.path());
    let runs = |dir: &PathBuf| is_held(dir) || remembered(dir).is_some_and(|agent| agent.lives());
    dirs.filter(runs).count()
}

/// Whether a holder listens in the session's directory. It is not connected to, since it would take
/// that for its next broker: a socket of another kind is refused by the kernel, and otherwise so
/// where nobody listens.
fn is_held(dir: &Path) -> bool {
    let knock = || {
        // However long the directory's path is.
        let dir = File::open(dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(HOLDER);
        UnixDatagram::unbound()?.connect(path)
    };
    knock().is_err_and(|error| error.raw_os_error() == Some(Errno::EPROTOTYPE as i32))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_holder_is_seen_and_does_not_see_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_held(dir.path()));
        let listener = UnixListener::bind(dir.path().join(HOLDER)).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(is_held(dir.path()));
        assert!(listener.accept().is_err());
        drop(listener);
        assert!(!is_held(dir.path()), "only the file is left");
    }
}
