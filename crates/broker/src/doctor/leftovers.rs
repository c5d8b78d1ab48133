//! What killed agents have left behind. It is told and never removed here.

use std::fs::{self, DirEntry};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clsess_claude::leftovers::{
    DIRECTORY_NOTES, INBOXES, WATCH_PROBES, inbox_of, is_directory_note, is_watch_probe,
};
use clsess_claude::record::Home;
use clsess_claude::registry::{Registered, registered};
use nix::unistd::geteuid;

use super::{Check, counted, quoted};
use crate::clients::{entry_of, here, lives};
use crate::store::Env;

/// Names in one command at most; the next look tells of the others.
const NAMED: usize = 20;
/// What is younger may be in use: a note of a directory lasts as long as a command.
const OLD: Duration = Duration::from_secs(60 * 60);

/// What was left by agents with this environment.
#[must_use]
pub fn leftovers(env: &Env, cwd: &Path) -> Check {
    let temporary = env.iter().find(|(name, _)| name == "CLAUDE_CODE_TMPDIR");
    let temporary = temporary.filter(|(_, value)| !value.is_empty());
    let temporary = temporary.map_or(PathBuf::from("/tmp"), |(_, value)| cwd.join(value));
    let registry = Home::new(env, cwd).map(|home| home.registry_dir());
    let gone = [
        registry.map(|dir| dead_entries(&dir)).unwrap_or_default(),
        found(&temporary.join(INBOXES), |name, _| {
            inbox_of(name).is_some_and(|pid| !lives(pid, None))
        }),
    ]
    .concat();
    let probes = temporary.join(format!("claude-{}", geteuid()));
    let old = [
        (
            temporary,
            DIRECTORY_NOTES,
            is_directory_note as fn(&str) -> bool,
        ),
        (probes, WATCH_PROBES, is_watch_probe),
    ];
    let old = old.map(|(dir, pattern, such)| {
        let count = found(&dir, |name, entry| such(name) && is_old(entry)).len();
        (dir, pattern, count)
    });
    told(&gone, &old)
}

/// `gone`: files of processes; `old`: how many files of a pattern are in a directory.
fn told(gone: &[PathBuf], old: &[(PathBuf, &str, usize)]) -> Check {
    const NAME: &str = "leftovers";
    let mut what = Vec::new();
    let mut commands = Vec::new();
    if !gone.is_empty() {
        what.push(format!(
            "{} of processes that are gone",
            counted(gone.len(), "file")
        ));
        let names = gone
            .iter()
            .take(NAMED)
            .map(|path| format!(" {}", quoted(path)));
        commands.push(format!("rm --{}", names.collect::<String>()));
    }
    for (dir, pattern, count) in old.iter().filter(|(.., count)| *count > 0) {
        let dir = quoted(dir);
        what.push(format!("{count} of {dir}/{pattern}"));
        let minutes = OLD.as_secs() / 60;
        commands.push(format!(
            "find {dir} -maxdepth 1 -name '{pattern}' -user {} -mmin +{minutes} -exec rm -r {{}} +",
            geteuid()
        ));
    }
    if what.is_empty() {
        return Check::ok(NAME, "killed agents have left nothing behind");
    }
    if gone.len() > NAMED {
        commands.push("clsess doctor # for more of them".to_owned());
    }
    let message = format!("killed agents have left behind {}", what.join(", "));
    Check::warning(NAME, message).hint(commands.join("; "))
}

/// The files of clients that the registry names and that are gone.
fn dead_entries(registry: &Path) -> Vec<PathBuf> {
    let here = here();
    let entries = found(registry, |name, _| name.ends_with(".json"));
    let dead: Vec<u32> = entries
        .iter()
        .filter_map(|file| registered(&entry_of(file)))
        .filter(|client| is_gone(client, &here, lives))
        .map(|client| client.pid)
        .collect();
    // `PID.json`, and its key: `PID.HASH.key`.
    found(registry, |name, _| {
        let pid = name.split('.').next().and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| dead.contains(&pid))
    })
}

/// Whether the client is gone for certain. A home can be shared: what runs on another
/// machine or in a container cannot be seen from here.
fn is_gone(client: &Registered, here: &str, lives: impl Fn(u32, Option<u64>) -> bool) -> bool {
    let elsewhere = client.domain.as_deref().is_some_and(|it| it != here);
    !elsewhere && !lives(client.pid, client.start_time)
}

/// What is ours in the directory and such, by name.
fn found(dir: &Path, such: impl Fn(&str, &DirEntry) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let ours = |entry: &DirEntry| {
        let meta = entry.metadata();
        meta.is_ok_and(|meta| meta.uid() == geteuid().as_raw())
    };
    let mut found: Vec<_> = entries
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| such(name, entry))
        })
        .filter(ours)
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn is_old(entry: &DirEntry) -> bool {
    let changed = entry.metadata().and_then(|meta| meta.modified());
    changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > OLD))
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use crate::lock::stat_fields;

    #[test]
    fn only_what_is_gone_for_certain_counts() {
        let client = |domain: Option<&str>| Registered {
            pid: 7,
            start_time: Some(1),
            domain: domain.map(str::to_owned),
            ..Registered::default()
        };
        let gone = |domain, living: bool| is_gone(&client(domain), "here", |_, _| living);
        assert!(gone(Some("here"), false) && gone(None, false));
        assert!(!gone(Some("here"), true) && !gone(None, true));
        assert!(!gone(Some("there"), false));
        // A later process of the same number is another one.
        let own = stat_fields("self").unwrap().start_time;
        assert!(lives(std::process::id(), Some(own)) && lives(std::process::id(), None));
        assert!(!lives(std::process::id(), Some(own + 1)));
    }

    #[test]
    fn what_is_told_can_be_typed() {
        let none = [(PathBuf::from("/t"), "x-*", 0)];
        assert_eq!(told(&[], &none).status, Status::Ok);
        let gone: Vec<_> = (0..21).map(|n| PathBuf::from(format!("/t/{n}"))).collect();
        let check = told(&gone, &[(PathBuf::from("/t"), "x-*", 7)]);
        let message =
            "killed agents have left behind 21 files of processes that are gone, 7 of /t/x-*";
        assert_eq!(check.message, message);
        let hint = check.hint.unwrap();
        assert!(hint.starts_with("rm -- /t/0 /t/1 "), "{hint}");
        assert!(
            hint.contains(" /t/19; find /t -maxdepth 1 -name 'x-*' -user "),
            "{hint}"
        );
        assert!(
            hint.ends_with("; clsess doctor # for more of them"),
            "{hint}"
        );
    }
}
