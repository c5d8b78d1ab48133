//! The broker's socket: bound by the holder of the lock only, never displacing a
//! living one, and made again when something removed it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use clsess_proto::{ErrorCode, Failure};
use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{GenericFilePath, Listener, ListenerOptions, Stream};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

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

/// Which socket file is our own: another may have come to stand at its path.
#[derive(Debug)]
pub struct Bound(Mutex<Option<(u64, u64)>>);

impl Bound {
    /// The one that is at `socket` now.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self(Mutex::new(identity(socket)))
    }

    /// Whether ours is at `socket`.
    #[must_use]
    pub fn is_at(&self, socket: &Path) -> bool {
        let ours = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ours.is_some() && ours == identity(socket)
    }

    /// From now on ours is the one at `socket`.
    pub fn becomes(&self, socket: &Path) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = identity(socket);
    }
}

fn identity(socket: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::symlink_metadata(socket).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// Removes our own socket, and no other.
pub fn unlink(socket: &Path, bound: &Bound) {
    if bound.is_at(socket)
        && let Err(error) = std::fs::remove_file(socket)
    {
        tracing::warn!(%error, "the socket cannot be removed");
    }
}

/// Watches the socket's directory; nothing runs while nothing happens there.
#[derive(Debug)]
pub struct Watch {
    /// The descriptor of the inotify. Tokio has no type for one; it reads like a pipe.
    events: pipe::Receiver,
}

impl Watch {
    /// Watches for removals in the directory of `socket`. Call it before looking
    /// whether the socket is there, so that no removal falls between.
    ///
    /// # Errors
    /// When the kernel gives no watch.
    pub fn new(socket: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let dir = socket.parent().unwrap_or(Path::new("/"));
        let flags = AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(dir, flags)?;
        let events =
            pipe::Receiver::from_owned_fd_unchecked(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Self { events })
    }

    /// Returns when something was removed there: perhaps the socket.
    ///
    /// # Errors
    /// Of the descriptor.
    pub async fn removed(&mut self) -> io::Result<()> {
        // What it was is seen by looking at the socket's path.
        let mut events = [0; 4096];
        self.events.read(&mut events).await.map(|_| ())
    }
}

/// The listener as a bare descriptor, to be handed over a fork or to tokio.
#[must_use]
pub fn into_fd(listener: Listener) -> OwnedFd {
    match listener {
        Listener::UdSocket(listener) => listener.into(),
    }
}
