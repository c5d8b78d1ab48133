//! The broker's socket: bound by the holder of the lock only, never displacing a
//! living one, and made again when something removed it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clsess_proto::{ErrorCode, Failure};
use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{GenericFilePath, Listener, ListenerOptions, Stream};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::fstat;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::place::Place;

/// Binds and listens. The caller holds the lock, so that a socket that nobody
/// answers on is a stale one.
///
/// # Errors
/// [`ErrorCode::UnsafePath`] when something else is at the path, a living broker
/// of another state directory included.
pub fn bind(place: &Place) -> Result<Listener, Failure> {
    // Brokers of other state directories may want the same path: between looking and
    // listening nobody else looks. Without the lock it is only less sure.
    let dir = place.socket.parent().unwrap_or(Path::new("/"));
    let _turns = std::fs::File::open(dir)
        .ok()
        .and_then(|dir| Flock::lock(dir, FlockArg::LockExclusive).ok());
    clear_stale(&place.socket)?;
    let fail = |e: io::Error| {
        Failure::new(
            ErrorCode::UnsafePath,
            format!("cannot listen on {}: {e}", place.socket.display()),
        )
    };
    let name = place
        .socket
        .as_path()
        .to_fs_name::<GenericFilePath>()
        .map_err(fail)?;
    ListenerOptions::new()
        .name(name)
        .mode(0o600)
        .reclaim_name(false)
        .create_sync()
        .map_err(fail)
}

/// Removes a socket that refuses connections; leaves everything else alone.
fn clear_stale(socket: &Path) -> Result<(), Failure> {
    let Ok(meta) = std::fs::symlink_metadata(socket) else {
        return Ok(());
    };
    let refuse = |what: &str| {
        Err(Failure::new(
            ErrorCode::UnsafePath,
            format!("{} {what}", socket.display()),
        )
        .hint("give another socket with -S PATH or CLSESS_RUNTIME_DIR"))
    };
    if !meta.file_type().is_socket() {
        return refuse("exists and is not a socket");
    }
    let name = match socket.to_fs_name::<GenericFilePath>() {
        Ok(name) => name,
        Err(e) => return refuse(&format!("cannot be used: {e}")),
    };
    match Stream::connect(name) {
        Ok(_) => refuse("belongs to another living broker"),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            match std::fs::remove_file(socket) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    refuse(&format!("is stale and cannot be removed: {e}"))
                }
                _ => Ok(()),
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => refuse(&format!("cannot be tried: {e}")),
    }
}

/// The path of a socket that another process has made for us and listens on too, as
/// systemd does.
///
/// # Errors
/// [`ErrorCode::UnsafePath`] for one that is not what `bind` would have made. That
/// nothing is at its path is no error: the broker makes a removed socket again.
pub fn path_of_inherited(listener: &UnixListener) -> Result<PathBuf, Failure> {
    let refuse = |what: &str| {
        let message = format!("the socket that was handed over {what}");
        Failure::new(ErrorCode::UnsafePath, message)
    };
    if !getsockopt(listener, sockopt::AcceptConn).is_ok_and(|listens| listens) {
        return Err(refuse("does not listen"));
    }
    let uid = geteuid().as_raw();
    match fstat(listener) {
        Ok(made) if made.st_uid == uid => {}
        Ok(made) => return Err(refuse(&format!("was made by user {}", made.st_uid))),
        Err(errno) => return Err(refuse(&format!("cannot be looked at: {errno}"))),
    }
    let address = listener
        .local_addr()
        .map_err(|e| refuse(&format!("has no address: {e}")))?;
    let path = match address.as_pathname() {
        Some(path) if path.is_absolute() => path.to_owned(),
        _ => return Err(refuse("has no absolute path")),
    };
    let refuse = |what: &str| refuse(&format!("claims {}, which {what}", path.display()));
    match std::fs::symlink_metadata(&path) {
        Ok(meta) if !meta.file_type().is_socket() => Err(refuse("is not a socket")),
        Ok(meta) if meta.uid() != uid => Err(refuse(&format!("belongs to user {}", meta.uid()))),
        Ok(meta) if meta.mode() & 0o077 != 0 => {
            let mode = meta.mode() & 0o7777;
            let failure = refuse(&format!("is open to others (mode {mode:o})"));
            Err(failure.hint("SocketMode=0600 in its unit"))
        }
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(refuse(&format!("cannot be looked at: {e}")))
        }
        _ => Ok(path),
    }
}

/// Which socket file is our own: another may have come to stand at its path.
#[derive(Debug)]
pub struct Bound(Mutex<Own>);

/// The file of a [`Bound`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Own {
    /// Device and inode.
    file: Option<(u64, u64)>,
    /// Whether a service manager has made it: then it outlives us.
    pub inherited: bool,
}

impl Own {
    /// The one that is at `socket` now.
    #[must_use]
    pub fn at(socket: &Path, inherited: bool) -> Self {
        let file = identity(socket);
        Self { file, inherited }
    }
}

impl Bound {
    /// To begin with.
    #[must_use]
    pub fn new(own: Own) -> Self {
        Self(Mutex::new(own))
    }

    /// Whether ours is at `socket`.
    #[must_use]
    pub fn is_at(&self, socket: &Path) -> bool {
        let ours = self.own().file;
        ours.is_some() && ours == identity(socket)
    }

    /// From now on ours is the one at `socket`, which we have made.
    pub fn becomes(&self, socket: &Path) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Own::at(socket, false);
    }

    /// Which one it is.
    #[must_use]
    pub fn own(&self) -> Own {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(socket: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::symlink_metadata(socket).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Removes the socket that we have made, and no other.
pub fn unlink(socket: &Path, bound: &Bound) {
    if !bound.own().inherited
        && bound.is_at(socket)
        && let Err(error) = std::fs::remove_file(socket)
    {
        tracing::warn!(%error, "the socket cannot be removed");
    }
}

/// The listener as a bare descriptor, to be handed over a fork or to tokio.
#[must_use]
pub fn into_fd(listener: Listener) -> OwnedFd {
    match listener {
        Listener::UdSocket(listener) => listener.into(),
    }
}
