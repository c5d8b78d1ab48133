//! What there is: processes, open descriptors, files.

use std::collections::BTreeMap;
use std::path::Path;

use crate::harness::{World, until};

/// So many of each.
pub type Counts = BTreeMap<String, usize>;

/// Everything of the broker and its agents: what must be the same after any number of turns.
pub fn ours(world: &World) -> Counts {
    // The broker may not have seen yet that the last command is gone.
    until("nobody is connected", || connections(world) == 0);
    until("nothing passing runs", || {
        let processes = world.processes();
        !processes.iter().any(|(_, what)| kind(what) == "passing")
    });
    let mut counts = Counts::new();
    for (pid, what) in world.processes() {
        let kind = kind(&what);
        add(&mut counts, format!("process: {kind}"));
        if kind != "agent" {
            descriptors(world, pid, kind, &mut counts);
        }
    }
    for dir in [world.state(), world.runtime()] {
        files(&dir, &dir, &mut counts);
    }
    counts
}

/// Connections that the broker has, whether their clients are still there or not.
fn connections(world: &World) -> usize {
    let processes = world.processes();
    let mut brokers = processes.iter().filter(|(_, what)| kind(what) == "broker");
    let (broker, _) = brokers.next().expect("a broker");
    let sockets = std::fs::read_to_string(format!("/proc/{broker}/net/unix")).unwrap();
    let path = world.socket();
    let named = sockets
        .lines()
        .filter(|line| line.ends_with(path.to_str().unwrap()));
    // One of them is that which listens.
    named.count() - 1
}

/// What the client keeps for itself, and leaves behind when it is killed: a transcript for each
/// conversation, and for each process its entry, its key and its socket. It is the client's
/// affair, and told only; but nothing else may be there.
pub fn of_client(world: &World) -> Counts {
    let mut counts = Counts::new();
    for dir in [world.home(), world.root().join("tmp")] {
        files(&dir, world.root(), &mut counts);
    }
    // Our own config, where a test has written one.
    counts.retain(|what, _| !what.starts_with("file: home/.config"));
    for what in counts.keys() {
        let places = [
            "home/.claude",
            "home/.local",
            "tmp/cc-socks",
            "tmp/claude-N",
        ];
        let known = |place| what.starts_with(&format!("file: {place}"));
        assert!(places.into_iter().any(known), "{what}");
    }
    counts
}

/// The broker's memory, in KiB.
pub fn memory(world: &World) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.broker())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let mut words = line.unwrap().split_whitespace().skip(1);
    words.find_map(|word| word.parse().ok()).unwrap()
}

fn kind(command_line: &str) -> &'static str {
    let mut words = command_line.split(' ');
    let program = words.next().unwrap_or_default();
    match (program.rsplit('/').next(), words.next()) {
        (Some("clsess"), Some("holder")) => "holder",
        (Some("clsess"), Some("broker")) => "broker",
        // An interface tells of itself, and looks around, also a moment behind its turn.
        (Some("clsess"), Some("hook")) | (Some("git"), _) => "passing",
        (Some("claude"), _) => "agent",
        _ => panic!("something else runs: {command_line}"),
    }
}

fn descriptors(world: &World, pid: u32, kind: &str, counts: &mut Counts) {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
    for entry in open.into_iter().flatten().flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        let target = target.split_once(":[").map_or(&*target, |(what, _)| what);
        let target = target.replace(world.root().to_str().unwrap(), "");
        add(
            counts,
            format!("descriptor of {kind}: {}", without_ids(&target)),
        );
    }
}

fn files(dir: &Path, root: &Path, counts: &mut Counts) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let shown = path
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        // Sessions that were killed: see below.
        if path.ends_with("default/ended") {
            continue;
        }
        add(counts, format!("file: {}", without_ids(&shown)));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&path, root, counts);
        }
    }
}

/// A path in which ids and other numbers stand for each other.
fn without_ids(path: &str) -> String {
    let parts = path.split('/').map(|part| -> String {
        if let Some(id) = part.get(..36)
            && uuid::Uuid::try_parse(id).is_ok()
        {
            return part.replace(id, "ID");
        }
        let words = part.split_inclusive(['.', '-']).map(|word| {
            let numbered = word.contains(|c: char| c.is_ascii_digit());
            if numbered { "N" } else { word }
        });
        words.collect()
    });
    parts.collect::<Vec<_>>().join("/")
}

fn add(counts: &mut Counts, what: String) {
    *counts.entry(what).or_default() += 1;
}

/// What is another number than before.
pub fn difference(before: &Counts, after: &Counts) -> Vec<String> {
    let all = before
        .keys()
        .chain(after.keys().filter(|key| !before.contains_key(*key)));
    let both = all.map(|key| {
        let of = |counts: &Counts| counts.get(key).copied().unwrap_or_default();
        (key, of(before), of(after))
    });
    let different = both.filter(|(_, before, after)| before != after);
    different
        .map(|(key, before, after)| format!("{key}: {before}, then {after}"))
        .collect()
}

/// Checks that directories are kept for these sessions only: the last ones, which live, and
/// those before that were killed.
pub fn only_sessions_are_kept(world: &World, ids: &[String], living: usize) {
    let state = world.state().join("default");
    let names = |dir: &str| -> Vec<String> {
        let entries = std::fs::read_dir(state.join(dir))
            .into_iter()
            .flatten()
            .flatten();
        entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    };
    let (kept, ended) = (names("sessions"), names("ended"));
    assert_eq!(kept.len(), living);
    assert!(ended.len() <= ids.len() - living, "{ended:?}");
    assert!(
        kept.iter().chain(&ended).all(|id| ids.contains(id)),
        "{kept:?} {ended:?}"
    );
    println!("{} sessions were killed", ids.len() - living);
}
