//! Where a broker lives: its state directory, its socket, and the checks that
//! nobody else has a hand in them.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use clsess_proto::{ErrorCode, Failure};
use nix::unistd::geteuid;

use crate::remedy::remedy;

/// Longest path of a socket in bytes: the kernel's `sun_path` less its NUL.
pub const MAX_SOCKET_PATH: usize = 107;

/// The places of one broker. Its identity is `state`; the socket may be anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The label's own directory: `<state directory>/<label>`.
    pub state: PathBuf,
    /// The socket.
    pub socket: PathBuf,
}

impl Place {
    /// The file that the living broker holds locked.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }

    /// The broker's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state.join("broker.log")
    }

    /// One directory for each session, named by its id.
    #[must_use]
    pub fn sessions(&self) -> PathBuf {
        self.state.join("sessions")
    }

    /// The same for sessions that were killed: `result` still reads them.
    #[must_use]
    pub fn ended(&self) -> PathBuf {
        self.state.join("ended")
    }

    /// What is known of the listener that agents' traffic passes, and its certificates.
    #[must_use]
    pub fn taps(&self) -> PathBuf {
        self.state.join("taps")
    }

    /// Makes the directories and checks them.
    ///
    /// # Errors
    /// [`ErrorCode::UnsafePath`] for a directory that is not the owner's alone or
    /// a socket path that is too long.
    pub fn prepare(&self) -> Result<(), Failure> {
        check_socket_length(&self.socket)?;
        if let Some(parent) = self.state.parent() {
            private_dir(parent)?;
        }
        for dir in [&self.state, &self.sessions(), &self.ended()] {
            private_dir(dir)?;
        }
        self.prepare_socket_dir()
    }

    /// The socket's directory: made when it is missing, and then only ours.
    ///
    /// # Errors
    /// As [`Place::prepare`].
    pub fn prepare_socket_dir(&self) -> Result<(), Failure> {
        let Some(dir) = self.socket.parent() else {
            return Err(unsafe_path(&self.socket, "has no directory"));
        };
        match fs::symlink_metadata(dir) {
            Ok(meta) => check_socket_dir(dir, &meta),
            Err(_) => private_dir(dir),
        }
    }
}

/// Refuses a path that the kernel would not take.
///
/// # Errors
/// [`ErrorCode::UnsafePath`] with the way out.
pub fn check_socket_length(socket: &Path) -> Result<(), Failure> {
    let length = socket.as_os_str().len();
    if length <= MAX_SOCKET_PATH {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::UnsafePath,
        format!(
            "the socket's path is {length} bytes long, at most {MAX_SOCKET_PATH} are possible: {}",
            socket.display()
        ),
    )
    .hint("set CLSESS_RUNTIME_DIR to a shorter directory, or give -S PATH"))
}

/// A directory of 0700 that is ours and no symlink; made when it is missing.
///
/// # Errors
/// [`ErrorCode::UnsafePath`] when it is anything else.
pub fn private_dir(dir: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    if let Err(error) = made
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        let failure = unsafe_path(dir, &format!("cannot be made: {error}"));
        return Err(match remedy(&error, dir) {
            Some(hint) => failure.hint(hint),
            None => failure,
        });
    }
    let meta =
        fs::symlink_metadata(dir).map_err(|e| unsafe_path(dir, &format!("cannot be read: {e}")))?;
    check_private_dir(dir, &meta)
}

/// The same of one that is there.
///
/// # Errors
/// As there.
pub fn check_private_dir(dir: &Path, meta: &Metadata) -> Result<(), Failure> {
    if !meta.is_dir() {
        return Err(unsafe_path(dir, "is not a directory"));
    }
    if meta.uid() != geteuid().as_raw() {
        return Err(unsafe_path(dir, &format!("belongs to user {}", meta.uid())));
    }
    if meta.mode() & 0o077 != 0 {
        let failure = unsafe_path(dir, &format!("is open to others (mode {:o})", mode(meta)));
        return Err(failure.hint(format!("chmod 700 {}", dir.display())));
    }
    Ok(())
}

/// A directory that holds a socket of ours: nobody else may rename things in it.
///
/// # Errors
/// [`ErrorCode::UnsafePath`] where somebody may.
pub fn check_socket_dir(dir: &Path, meta: &Metadata) -> Result<(), Failure> {
    if !meta.is_dir() {
        return Err(unsafe_path(dir, "is not a directory, or a link to one")
            .hint("name the directory itself: CLSESS_RUNTIME_DIR, or -S PATH"));
    }
    let sticky = meta.mode() & 0o1000 != 0;
    let ours = meta.uid() == geteuid().as_raw();
    let others_write = meta.mode() & 0o022 != 0;
    if (ours && !others_write) || (sticky && (ours || meta.uid() == 0)) {
        return Ok(());
    }
    let failure = unsafe_path(
        dir,
        &format!(
            "lets others in (user {}, mode {:o})",
            meta.uid(),
            mode(meta)
        ),
    );
    Err(failure.hint("the socket's directory must be yours alone: set CLSESS_RUNTIME_DIR"))
}

fn mode(meta: &Metadata) -> u32 {
    meta.mode() & 0o7777
}

fn unsafe_path(path: &Path, what: &str) -> Failure {
    Failure::new(ErrorCode::UnsafePath, format!("{} {what}", path.display()))
}
