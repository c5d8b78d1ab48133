//! What the command finds around it: who it is, and where the broker lives.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clsess_place::place::Place;
use clsess_proto::{ErrorCode, Failure};
use nix::unistd::{User, geteuid};

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
    /// The program that is the broker where there is none.
    pub program: PathBuf,
    /// Whether an older broker is replaced by that: it is of the version of this crate.
    pub upgrades: bool,
    /// Is told what is done beside what was asked for.
    pub notes: Option<fn(&str)>,
    /// The config file, and whether it was named on purpose.
    pub config: Option<(PathBuf, bool)>,
}

/// What somebody has named on purpose.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// The label; absent: `default`.
    pub label: Option<String>,
    /// The socket.
    pub socket: Option<PathBuf>,
    /// The config file.
    pub config: Option<PathBuf>,
    /// The program that is the broker; absent: `clsess`, looked for in the PATH, `~/.local/bin` and `~/.cargo/bin`.
    pub program: Option<PathBuf>,
}

impl Named {
    /// What this process's environment names: `CLSESS_LABEL`, `CLSESS_SOCKET`, `CLSESS_CONFIG`.
    #[must_use]
    pub fn by_environment() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            label: set("CLSESS_LABEL").map(|label| label.to_string_lossy().into_owned()),
            socket: set("CLSESS_SOCKET").map(PathBuf::from),
            config: set("CLSESS_CONFIG").map(PathBuf::from),
            program: None,
        }
    }
}

impl Surroundings {
    /// Finds out.
    ///
    /// # Errors
    /// When there is no home directory, or the label is no name.
    pub fn find(named: Named) -> Result<Self, Failure> {
        let label = named.label.unwrap_or_else(|| "default".to_owned());
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
        let socket = match &named.socket {
            Some(path) => absolute(path)?,
            None => runtime_dir().join(format!("{label}.sock")),
        };
        let elsewhere = named.socket.is_some() || directory(RUNTIME_DIR).is_some();
        let activating = (!elsewhere).then(|| user_dir().join(format!("clsess/{label}.sock")));
        let config = match named.config {
            Some(path) => Some((path, true)),
            None => xdg("XDG_CONFIG_HOME", ".config")
                .ok()
                .map(|dir| (dir.join("clsess/config.toml"), false)),
        };
        Ok(Self {
            place: Place {
                state: state_dir.join(&label),
                socket,
            },
            socket_named: named.socket.is_some(),
            activating,
            label,
            state_dir,
            program: named.program.unwrap_or_else(program),
            upgrades: false,
            notes: None,
            config,
        })
    }

    /// Tells what is done beside what was asked for.
    pub(crate) fn note(&self, text: &str) {
        if let Some(notes) = self.notes {
            notes(text);
        }
    }
}

/// The installed program; one that is not there is told when it is needed.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_path = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    let of_home = home().into_iter();
    let of_home = of_home.flat_map(|home| [home.join(".local/bin"), home.join(".cargo/bin")]);
    let mut found = of_path.chain(of_home).map(|dir| dir.join("clsess"));
    found
        .find(|program| program.is_file())
        .unwrap_or_else(|| "clsess".into())
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
