//! The sessions on disk, their journals, and agents of theirs that nobody holds.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clsess_proto::Tap;

use super::{Check, counted, quoted};
use crate::journal::{self, Record};
use crate::lock::stat_fields;
use crate::place::Place;
use crate::session::remembered;
use crate::store::SessionRecord;

/// Names in a message at most; how many there are besides is told.
const NAMED: usize = 5;
/// The largest journal that is read through, in bytes.
const MAX_JOURNAL: u64 = 1024 * 1024 * 1024;

/// What there is on disk. While a broker runs it may be writing a line just now.
#[must_use]
pub fn sessions(place: &Place, broker_runs: bool) -> Vec<Check> {
    let dirs = match session_dirs(&place.sessions()) {
        Ok(dirs) => dirs,
        Err(e) => {
            let message = format!("{} cannot be read: {e}", place.sessions().display());
            return vec![Check::problem("sessions", message)];
        }
    };
    let mut checks = vec![readable(&dirs), journals(&dirs, broker_runs), unheld(&dirs)];
    checks.extend(taps(&dirs));
    checks
}

fn session_dirs(sessions: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(sessions) {
        Ok(entries) => {
            let mut dirs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            dirs.sort();
            Ok(dirs)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Whether a broker can take up all sessions.
fn readable(dirs: &[PathBuf]) -> Check {
    const NAME: &str = "sessions";
    let mut names: HashMap<String, &Path> = HashMap::new();
    let mut wrong = Vec::new();
    for dir in dirs {
        match SessionRecord::load(dir) {
            Err(e) => wrong.push(format!("{} ({e})", dir.display())),
            Ok(record) => {
                if let Some(first) = names.insert(record.name.clone(), dir) {
                    let (dir, first, name) = (dir.display(), first.display(), record.name);
                    wrong.push(format!("{dir} (a session {name} is also in {first})"));
                }
            }
        }
    }
    if wrong.is_empty() {
        return Check::ok(NAME, format!("{} on disk", counted(dirs.len(), "session")));
    }
    let message = format!("no broker can take up {}", listed(&wrong));
    Check::problem(NAME, message)
        .hint("move the directory away to be rid of it; its turns are in it")
}

/// What is to be known of sessions whose agents' traffic is read.
fn taps(dirs: &[PathBuf]) -> Vec<Check> {
    const NAME: &str = "tap";
    let tapped = |way: Tap| {
        let records = dirs.iter().filter_map(|dir| SessionRecord::load(dir).ok());
        let tapped = records.filter(|record| record.settings.tap == Some(way));
        tapped.map(|record| record.name).collect::<Vec<_>>()
    };
    let told = |way, how: &str| {
        let names = tapped(way);
        (!names.is_empty()).then(|| Check::ok(NAME, format!("{} ({})", how, listed(&names))))
    };
    let proxy = "the client trusts a certificate of the broker's, and what it starts goes by the broker's proxy";
    let base_url = "the client has another base URL: no global prompt cache, no Artifact tool, no Remote Control, \
         no managed settings, titles on the session's own model";
    [told(Tap::Proxy, proxy), told(Tap::BaseUrl, base_url)]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether all turns can be read.
fn journals(dirs: &[PathBuf], broker_runs: bool) -> Check {
    const NAME: &str = "journals";
    let mut wrong = Vec::new();
    for dir in dirs {
        let path = dir.join(journal::FILE);
        match damaged_lines(&path, broker_runs) {
            Ok(0) => {}
            Ok(lines) => wrong.push(format!("{} ({})", path.display(), counted(lines, "line"))),
            Err(e) => wrong.push(format!("{} ({e})", path.display())),
        }
    }
    if wrong.is_empty() {
        return Check::ok(NAME, "every line can be read");
    }
    let message = format!("damaged, and left out of the history: {}", listed(&wrong));
    Check::warning(NAME, message).hint("nothing is lost besides; is the disk sound?")
}

fn damaged_lines(path: &Path, broker_runs: bool) -> io::Result<usize> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    if file.metadata()?.len() > MAX_JOURNAL {
        return Err(io::Error::other("too long to be looked through"));
    }
    damaged(BufReader::new(file), broker_runs)
}

/// Lines that are no records. The last one may not be whole yet.
fn damaged(mut lines: impl BufRead, unfinished: bool) -> io::Result<usize> {
    let mut line = Vec::new();
    let mut damaged = 0;
    while lines.read_until(b'\n', &mut line)? > 0 {
        let whole = line.ends_with(b"\n");
        let is_record = whole && serde_json::from_slice::<Record>(&line).is_ok();
        if !is_record && (whole || !unfinished) {
            damaged += 1;
        }
        line.clear();
    }
    Ok(damaged)
}

/// Agents that live on without a holder: nobody reads what they say, nobody ends them.
fn unheld(dirs: &[PathBuf]) -> Check {
    const NAME: &str = "agents";
    let alone = |dir: &PathBuf| {
        let agent = remembered(dir)?;
        let parent = stat_fields(&agent.pid.to_string())?.parent;
        (agent.lives() && !is_holder(parent)).then(|| (dir.clone(), agent.pid))
    };
    let found: Vec<(PathBuf, u32)> = dirs.iter().filter_map(alone).collect();
    if found.is_empty() {
        return Check::ok(NAME, "no agent runs that nobody holds");
    }
    let said: Vec<_> = found
        .iter()
        .map(|(dir, pid)| format!("{pid} of {}", name_of(dir)))
        .collect();
    let pids: Vec<_> = found.iter().map(|(_, pid)| pid.to_string()).collect();
    let message = format!("agents run that nobody holds: {}", listed(&said));
    // The next start in the session ends it too (`launch::end_previous`).
    Check::warning(NAME, message).hint(format!("kill {}", pids.join(" ")))
}

/// Whether this process is `clsess holder`.
fn is_holder(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|b| *b == 0).nth(1) == Some(b"holder")
}

/// The session's name, else its directory.
fn name_of(dir: &Path) -> String {
    SessionRecord::load(dir).map_or_else(|_| quoted(dir), |record| record.name)
}

/// The first of them, and how many there are besides.
fn listed(all: &[String]) -> String {
    let first = all
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_records() {
        let good = r#"{"record":"started","turn":"00000000-0000-0000-0000-000000000000","at":1}"#;
        let count = |text: &str, unfinished| damaged(text.as_bytes(), unfinished).unwrap();
        assert_eq!(count("", false), 0);
        assert_eq!(count(&format!("{good}\n{good}\n"), false), 0);
        assert_eq!(count(&format!("{good}\nnonsense\n{good}\n"), true), 1);
        // One that is torn, and one that is being written.
        let torn = format!("{good}\n{}", &good[..20]);
        assert_eq!((count(&torn, false), count(&torn, true)), (1, 0));
        assert_eq!(count(&good[..20], false), 1);
    }

    #[test]
    fn long_lists_are_cut() {
        let all: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        assert_eq!(listed(&all), "0, 1, 2, 3, 4 and 2 more");
        assert_eq!(listed(&all[..5]), "0, 1, 2, 3, 4");
    }
}
