//! A directory, or a file, that is watched; nothing runs while nothing happens there.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// See the module.
#[derive(Debug)]
pub struct Watch {
    /// The descriptor of the inotify. Tokio has no type for one; it reads like a pipe.
    events: pipe::Receiver,
}

impl Watch {
    /// Watches for what is removed in a directory, and for its own end. Call it before looking whether
    /// something is there, so that no removal falls between.
    ///
    /// # Errors
    /// When the kernel gives no watch.
    pub fn for_removals(dir: &Path) -> io::Result<Self> {
        let flags = AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        Self::new(dir, flags)
    }

    /// Watches for what is made or written in a directory, and for its own end.
    ///
    /// # Errors
    /// When the kernel gives no watch, or there is no such directory.
    pub fn for_writes(dir: &Path) -> io::Result<Self> {
        Self::new(
            dir,
            AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_DELETE_SELF
                | AddWatchFlags::IN_MOVE_SELF,
        )
    }

    /// Watches for what is written into a file, which need not be closed for that.
    ///
    /// # Errors
    /// When the kernel gives no watch, or there is no such file.
    pub fn for_growth(file: &Path) -> io::Result<Self> {
        Self::of(file, AddWatchFlags::IN_MODIFY)
    }

    fn new(dir: &Path, flags: AddWatchFlags) -> io::Result<Self> {
        Self::of(dir, flags | AddWatchFlags::IN_ONLYDIR)
    }

    fn of(path: &Path, flags: AddWatchFlags) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(path, flags)?;
        let events =
            pipe::Receiver::from_owned_fd_unchecked(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Self { events })
    }

    /// As [`Watch::changed`], and never where nothing is watched, or it fails.
    pub async fn change(watch: Option<&mut Self>) {
        if let Some(watch) = watch
            && watch.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Returns when something has happened there; what, is seen by looking. Can be dropped and called
    /// again.
    ///
    /// # Errors
    /// Of the descriptor.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut events = [0; 4096];
        self.events.read(&mut events).await.map(|_| ())
    }
}
