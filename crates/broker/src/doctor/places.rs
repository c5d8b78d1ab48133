//! The directories, and what they are on.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clsess_proto::{ErrorCode, Failure};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{
    AFS_SUPER_MAGIC, CODA_SUPER_MAGIC, FUSE_SUPER_MAGIC, FsType, NCP_SUPER_MAGIC, NFS_SUPER_MAGIC,
    SMB_SUPER_MAGIC, statfs,
};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access, geteuid};

use super::{Check, quoted};
use crate::place::{Place, check_private_dir, check_socket_dir, check_socket_length};

/// Free bytes below which a turn may not be written any more.
const TOO_LITTLE: u64 = 16 * 1024 * 1024;
/// Free bytes below which that is near.
const LITTLE: u64 = 256 * 1024 * 1024;
/// File systems that nix has no name for: cifs, smb2, 9p.
const OTHER_NETWORK: [FsType; 3] = [
    FsType(0xff53_4d42),
    FsType(0xfe53_4d42),
    FsType(0x0102_1997),
];

/// The state directory, the socket's, and what they are on.
#[must_use]
pub fn places(place: &Place) -> Vec<Check> {
    vec![
        state_dir(place),
        socket_dir(place),
        socket_path(place),
        disk_space(&place.state),
        locks(place),
    ]
}

fn state_dir(place: &Place) -> Check {
    const NAME: &str = "state-directory";
    let shown = place.state.display();
    let all = [place.state.clone(), place.sessions(), place.ended()];
    for dir in place
        .state
        .parent()
        .into_iter()
        .chain(all.iter().map(AsRef::as_ref))
    {
        match private(dir) {
            Ok(true) => {}
            Ok(false) => return Check::ok(NAME, format!("{shown} is made when it is needed")),
            Err(failure) => return Check::failed(NAME, failure),
        }
    }
    Check::ok(NAME, format!("{shown} is yours alone"))
}

/// Whether the directory is there, and as it must be.
fn private(dir: &Path) -> Result<bool, Failure> {
    match fs::symlink_metadata(dir) {
        Ok(meta) => {
            check_private_dir(dir, &meta)?;
            writable(dir).map(|()| true)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => writable(existing(dir)).map(|()| false),
        Err(e) => Err(unusable(dir, &e.to_string())),
    }
}

fn socket_dir(place: &Place) -> Check {
    const NAME: &str = "socket-directory";
    let dir = place.socket.parent().unwrap_or(Path::new("/"));
    let checked = match fs::symlink_metadata(dir) {
        Ok(meta) => check_socket_dir(dir, &meta)
            .and_then(|()| writable(dir))
            .map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => writable(existing(dir)).map(|()| false),
        Err(e) => Err(unusable(dir, &e.to_string())),
    };
    let shown = dir.display();
    match checked {
        Ok(true) => Check::ok(NAME, format!("{shown} lets nobody else in")),
        Ok(false) => Check::ok(NAME, format!("{shown} is made when it is needed")),
        Err(failure) => Check::failed(NAME, failure),
    }
}

fn socket_path(place: &Place) -> Check {
    const NAME: &str = "socket-path";
    match check_socket_length(&place.socket) {
        Ok(()) => Check::ok(NAME, format!("{} is short enough", place.socket.display())),
        Err(failure) => Check::failed(NAME, failure),
    }
}

/// The directory of the config file. A link is well: many keep theirs elsewhere.
#[must_use]
pub fn config_dir(dir: &Path) -> Check {
    const NAME: &str = "config-directory";
    let shown = dir.display();
    let meta = match fs::metadata(dir) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Check::ok(NAME, format!("{shown} is not there, and need not be"));
        }
        Err(e) => return Check::problem(NAME, format!("{shown} cannot be read: {e}")),
    };
    if !meta.is_dir() {
        return Check::problem(NAME, format!("{shown} is not a directory"));
    }
    let uid = meta.uid();
    if uid != geteuid().as_raw() && uid != 0 {
        return Check::warning(NAME, format!("{shown} belongs to user {uid}"))
            .hint("whoever it belongs to can put another config there");
    }
    if meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 {
        let mode = meta.mode() & 0o7777;
        return Check::warning(NAME, format!("others may write {shown} (mode {mode:o})"))
            .hint(format!("chmod go-w {}", quoted(dir)));
    }
    Check::ok(NAME, format!("only you can write {shown}"))
}

fn disk_space(state: &Path) -> Check {
    let dir = existing(state);
    match statvfs(dir) {
        Ok(stat) => {
            let bytes = stat.blocks_available().saturating_mul(stat.fragment_size());
            // A file system that makes inodes as it needs them says that it has none at all.
            let names = (stat.files() > 0).then(|| stat.files_available());
            space(dir, bytes, names)
        }
        Err(errno) => Check::warning("disk-space", format!("not known: {errno}")),
    }
}

fn space(dir: &Path, bytes: u64, names: Option<u64>) -> Check {
    const NAME: &str = "disk-space";
    let shown = dir.display();
    let free = format!("{} MiB are free at {shown}", bytes >> 20);
    let check = match (bytes, names) {
        (_, Some(0)) => Check::problem(NAME, format!("no more files can be made at {shown}")),
        (..TOO_LITTLE, _) => Check::problem(NAME, free),
        (..LITTLE, _) => Check::warning(NAME, free),
        _ => return Check::ok(NAME, free),
    };
    check.hint("a prompt that cannot be written down is not sent: make room there")
}

/// Whether two brokers would see each other's lock.
fn locks(place: &Place) -> Check {
    const NAME: &str = "locks";
    const ELSEWHERE: &str = "set CLSESS_STATE_DIR to a directory on a disk of this machine";
    let lock = place.lock();
    let path = if lock.exists() {
        &lock
    } else {
        existing(&place.state)
    };
    // Taken for a moment, shared, as whoever looks for a broker does.
    let tried = File::open(path).map(|file| Flock::lock(file, FlockArg::LockSharedNonblock));
    let shown = path.display();
    match tried {
        Err(e) => return Check::problem(NAME, format!("{shown} cannot be read: {e}")),
        Ok(Ok(_) | Err((_, Errno::EWOULDBLOCK))) => {}
        Ok(Err((_, errno))) => {
            let message = format!("{shown} cannot be locked: {errno}");
            return Check::problem(NAME, message).hint(ELSEWHERE);
        }
    }
    match statfs(path) {
        Ok(stat) if is_shared(stat.filesystem_type()) => {
            let message = format!("{shown} is on a file system that other machines may share");
            Check::warning(NAME, message).hint(ELSEWHERE)
        }
        _ => Check::ok(NAME, format!("{shown} can be locked")),
    }
}

/// Whether a lock there may be one of this machine alone, or of nobody.
fn is_shared(kind: FsType) -> bool {
    let network = [
        AFS_SUPER_MAGIC,
        CODA_SUPER_MAGIC,
        FUSE_SUPER_MAGIC,
        NCP_SUPER_MAGIC,
        NFS_SUPER_MAGIC,
        SMB_SUPER_MAGIC,
    ];
    network.contains(&kind) || OTHER_NETWORK.contains(&kind)
}

/// The directory itself or the nearest above it that is there.
fn existing(dir: &Path) -> &Path {
    let there = dir.ancestors().find(|above| above.exists());
    there.unwrap_or(Path::new("/"))
}

fn writable(dir: &Path) -> Result<(), Failure> {
    let may = AccessFlags::W_OK | AccessFlags::X_OK;
    access(dir, may).map_err(|errno| unusable(dir, &format!("cannot be written: {errno}")))
}

fn unusable(dir: &Path, why: &str) -> Failure {
    let message = format!("{} {why}", dir.display());
    Failure::new(ErrorCode::UnsafePath, message)
        .hint("name another directory: CLSESS_STATE_DIR, CLSESS_RUNTIME_DIR")
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn how_much_space_is_enough() {
        let status = |mib: u64, names| space(Path::new("/s"), mib << 20, names).status;
        assert_eq!(status(15, Some(9)), Status::Problem);
        assert_eq!(status(16, Some(9)), Status::Warning);
        assert_eq!(status(255, None), Status::Warning);
        assert_eq!(status(256, None), Status::Ok);
        assert_eq!(status(4096, Some(0)), Status::Problem);
    }

    #[test]
    fn which_file_systems_are_shared() {
        assert!(is_shared(NFS_SUPER_MAGIC) && is_shared(FsType(0xff53_4d42)));
        assert!(!is_shared(nix::sys::statfs::TMPFS_MAGIC));
    }
}
