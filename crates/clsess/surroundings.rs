//! What the command finds around it: who it is, and where the broker lives.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clsess_broker::place::Place;
use clsess_proto::{ErrorCode, Failure};
use nix::unistd::{User, geteuid};

use crate::cli::Global;

/// Where things are for this user and label.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The broker's places.
    pub place: Place,
    /// Whether the socket was named on purpose.
    pub socket_named: bool,
    /// Where systemd listens for the broker, if it does: `ListenStream=` of
    /// `service/clsess@.socket`. Absent when another place was named.
    pub activating: Option<PathBuf>,
    /// The label.
    pub label: String,
    /// The directory that holds the labels' state.
    pub state_dir: PathBuf,
    /// Only errors are said.
    pub quiet: bool,
    /// The config file, and whether it was named on purpose.
    pub config: Option<(PathBuf, bool)>,
}

impl Surroundings {
    /// Finds out.
    ///
    /// # Errors
    /// When there is no home directory, or the label is no name.
    pub fn find(global: &Global) -> Result<Self, Failure> {
        let label = global.label.clone();
        if !clsess_proto::valid_name(&label) {
            let message = format!("{label:?} is no label");
            return Err(Failure::new(ErrorCode::BadName, message).hint(
                "letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit",
            ));
        }
        let state_dir = match directory("CLSESS_STATE_DIR") {
            Some(dir) => dir,
            None => xdg("XDG_STATE_HOME", ".local/state")?.join("clsess"),
        };
        let socket = match &global.socket {
            Some(path) => absolute(path)?,
            None => runtime_dir().join(format!("{label}.sock")),
        };
        let named = global.socket.is_some() || directory(RUNTIME_DIR).is_some();
        let activating = (!named).then(|| user_dir().join(format!("clsess/{label}.sock")));
        let config = match &global.config {
            Some(path) => Some((path.clone(), true)),
            None => xdg("XDG_CONFIG_HOME", ".config")
                .ok()
                .map(|dir| (dir.join("clsess/config.toml"), false)),
        };
        Ok(Self {
            place: Place {
                state: state_dir.join(&label),
                socket,
            },
            socket_named: global.socket.is_some(),
            activating,
            label,
            state_dir,
            quiet: global.quiet,
            config,
        })
    }
}

/// Names the directory of sockets.
const RUNTIME_DIR: &str = "CLSESS_RUNTIME_DIR";

/// `$CLSESS_RUNTIME_DIR`; else `/run/user/UID/clsess`, where that outlives the
/// login; else `/tmp/clsess-UID`. Not `$XDG_RUNTIME_DIR`: a cron job has none, and
/// must find the same.
fn runtime_dir() -> PathBuf {
    if let Some(dir) = directory(RUNTIME_DIR) {
        return dir;
    }
    let uid = geteuid();
    let of_user = PathBuf::from(format!("/run/user/{uid}"));
    if of_user.is_dir() && lingers() {
        return of_user.join("clsess");
    }
    PathBuf::from(format!("/tmp/clsess-{uid}"))
}

/// What `%t` is in a unit of this user's systemd. A cron job has no variable for it,
/// and after `su` it is that of somebody else.
fn user_dir() -> PathBuf {
    let ours = |dir: &PathBuf| {
        dir.metadata()
            .is_ok_and(|meta| meta.uid() == geteuid().as_raw())
    };
    let usual = || PathBuf::from(format!("/run/user/{}", geteuid()));
    directory("XDG_RUNTIME_DIR")
        .filter(ours)
        .unwrap_or_else(usual)
}

/// Whether systemd keeps this user's runtime directory after the last logout.
fn lingers() -> bool {
    user().is_some_and(|user| {
        Path::new("/var/lib/systemd/linger")
            .join(user.name)
            .exists()
    })
}

fn user() -> Option<User> {
    User::from_uid(geteuid()).ok().flatten()
}

/// A directory named by a variable, when it is set and absolute.
fn directory(variable: &str) -> Option<PathBuf> {
    let dir = PathBuf::from(std::env::var_os(variable)?);
    dir.is_absolute().then_some(dir)
}

fn xdg(variable: &str, under_home: &str) -> Result<PathBuf, Failure> {
    if let Some(dir) = directory(variable) {
        return Ok(dir);
    }
    home().map(|home| home.join(under_home)).ok_or_else(|| {
        Failure::new(ErrorCode::UnsafePath, "there is no home directory")
            .hint("set HOME, or CLSESS_STATE_DIR")
    })
}

/// `$HOME`, else what the system's user database says.
fn home() -> Option<PathBuf> {
    directory("HOME").or_else(|| user().map(|user| user.dir))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|e| Failure::new(ErrorCode::UnsafePath, format!("{}: {e}", path.display())))
}
