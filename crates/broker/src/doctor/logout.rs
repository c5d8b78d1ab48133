//! Whether a broker and its agents outlive the logout: a matter of systemd's.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

use super::Check;

/// Whether the broker outlives the last logout; `None` where systemd does not run.
/// `broker` is its process, if there is one; `activating` where systemd may listen for it.
#[must_use]
pub fn logout(label: &str, broker: Option<u32>, activating: Option<&Path>) -> Option<Check> {
    if !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    let user = User::from_uid(geteuid()).ok().flatten();
    let lingers = user.is_some_and(|user| {
        let dir = Path::new("/var/lib/systemd/linger");
        dir.join(user.name).exists()
    });
    // root's processes are left alone unless logind is told otherwise (KillExcludeUsers=).
    let kills = if geteuid().is_root() {
        Some(false)
    } else {
        kills_user_processes(&logind_files())
    };
    let service = match broker {
        Some(pid) => fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .is_ok_and(|cgroup| is_in_service(&cgroup)),
        None => activating.is_some_and(Path::exists),
    };
    Some(judged(label, lingers, kills, service))
}

/// Whether a process of this cgroup belongs to the user's systemd, not to a login.
fn is_in_service(cgroup: &str) -> bool {
    cgroup.contains("/user@")
}

fn judged(label: &str, lingers: bool, kills: Option<bool>, service: bool) -> Check {
    const NAME: &str = "logout";
    let linger = "loginctl enable-linger";
    let both = format!("systemctl --user enable --now clsess@{label}.socket; {linger}");
    match (service, lingers, kills) {
        (true, true, _) => Check::ok(
            NAME,
            "the broker is a service that outlives the last logout",
        ),
        (true, false, _) => {
            let message = "the broker is a service, which ends with the last logout";
            Check::warning(NAME, message).hint(linger)
        }
        (false, _, Some(false)) => Check::ok(NAME, "what a login has started outlives it"),
        (false, _, Some(true)) => {
            let message = "the broker ends with the login that starts it (KillUserProcesses=yes)";
            Check::warning(NAME, message).hint(both)
        }
        (false, _, None) => {
            let message = "the broker may end with the login that starts it: KillUserProcesses= \
                 of logind cannot be read";
            Check::warning(NAME, message).hint(both)
        }
    }
}

/// logind's files in the order in which the later ones hold: the main one, the first
/// of its places where there is one, then the pieces by their names.
fn logind_files() -> Vec<String> {
    const PLACES: [&str; 4] = ["/etc", "/run", "/usr/local/lib", "/usr/lib"];
    let main = PLACES.map(|dir| Path::new(dir).join("systemd/logind.conf"));
    let main = main.into_iter().find(|file| file.exists());
    let mut pieces: Vec<PathBuf> = Vec::new();
    for dir in PLACES {
        let dir = Path::new(dir).join("systemd/logind.conf.d");
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        for piece in entries.map(|entry| entry.path()) {
            // One of the same name further on in the list is hidden by it.
            let hidden = pieces.iter().any(|it| it.file_name() == piece.file_name());
            if !hidden && piece.extension().is_some_and(|it| it == "conf") {
                pieces.push(piece);
            }
        }
    }
    pieces.sort_by_key(|piece| piece.file_name().map(ToOwned::to_owned));
    let files = main.into_iter().chain(pieces);
    files
        .filter_map(|file| fs::read_to_string(file).ok())
        .collect()
}

/// `KillUserProcesses=` of these files. What nobody has set is as it was built: the file
/// that comes with logind names that in a comment.
fn kills_user_processes(files: &[String]) -> Option<bool> {
    let values = |prefix: &'static str| {
        let lines = files.iter().flat_map(|file| file.lines()).map(str::trim);
        lines.filter_map(move |line| {
            let value = line.strip_prefix(prefix)?.trim_start();
            let value = value.strip_prefix("KillUserProcesses")?.trim_start();
            match value.strip_prefix('=')?.trim() {
                "yes" | "true" | "on" | "1" => Some(true),
                "no" | "false" | "off" | "0" => Some(false),
                _ => None,
            }
        })
    };
    values("").next_back().or_else(|| values("#").next_back())
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn what_logind_does_to_processes() {
        let said = |files: &[&str]| {
            let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
            kills_user_processes(&files)
        };
        let shipped = "[Login]\n#KillUserProcesses=no\n#KillOnlyUsers=\n";
        assert_eq!(said(&[shipped]), Some(false));
        assert_eq!(
            said(&[shipped, "[Login]\nKillUserProcesses = yes\n"]),
            Some(true)
        );
        assert_eq!(
            said(&["KillUserProcesses=yes", "KillUserProcesses=0"]),
            Some(false)
        );
        assert_eq!(said(&["[Login]\n#IdleAction=ignore\n"]), None);
        assert_eq!(said(&[]), None);
    }

    #[test]
    fn who_outlives_the_logout() {
        let status = |lingers, kills, service| judged("default", lingers, kills, service).status;
        assert_eq!(status(true, Some(true), true), Status::Ok);
        assert_eq!(status(false, Some(false), true), Status::Warning);
        assert_eq!(status(false, Some(false), false), Status::Ok);
        // Lingering keeps the user's systemd, not what a login has started.
        assert_eq!(status(true, Some(true), false), Status::Warning);
        assert_eq!(status(true, None, false), Status::Warning);
        assert!(is_in_service(
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x"
        ));
        assert!(!is_in_service(
            "0::/user.slice/user-1000.slice/session-3.scope"
        ));
    }
}
