//! Other clients with the same home, by their registry: who else has a conversation open. Two
//! writers fork it without a word (facts 1.5).
//!
//! Not seen: clients with another home, machine or process namespace; one that began less than
//! 0.8 s ago (measured), which is why it is looked again later.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clsess_claude::record::Home;
use clsess_claude::registry::{Kind, Registered, domain, registered};
use clsess_proto::{ErrorCode, Failure};
use uuid::Uuid;

use crate::driver::orphans::Process;
use crate::lock::{self, line_of, stat_fields};
use crate::rights::descends;

/// Bytes of an entry that are read; measured: 700.
const MAX_ENTRY: u64 = 64 * 1024;
/// Entries that are looked at; of more only so many.
const MAX_ENTRIES: usize = 4096;
/// Bytes of another process's environment that are read; the kernel's own bound is far beyond.
const MAX_ENVIRONMENT: u64 = 4 * 1024 * 1024;
/// A file that was changed less long ago can change again without that being seen: the kernel's
/// clock for files ticks every 4 ms (10 ms at most).
const TICK: Duration = Duration::from_millis(20);

/// Somebody else who has a conversation open.
#[derive(Debug)]
pub struct Other {
    /// It.
    pub process: Process,
    /// What is told to those who wanted to use the conversation.
    pub failure: Failure,
}

/// What was seen in the registry, so that it is read again only when it has changed.
#[derive(Debug, Default)]
pub struct Seen {
    changed: Option<SystemTime>,
    /// The entries of other clients: one is written anew, in place, when its conversation changes.
    others: Vec<(PathBuf, SystemTime)>,
}

impl Seen {
    /// Who else has the conversation open, if anything has changed since nobody had.
    pub fn other(&mut self, home: &Home, conversation: Uuid, own: Process) -> Option<Other> {
        let dir = home.registry_dir();
        let changed = changed_at(&dir);
        if changed.is_some() && changed == self.changed && !self.comes(conversation) {
            return None;
        }
        let found = look(&dir, conversation, own);
        self.changed = changed.filter(|at| found.other.is_none() && settled(*at));
        self.others = found.others;
        found.other
    }

    /// Whether a client that had another conversation open has this one now.
    fn comes(&mut self, conversation: Uuid) -> bool {
        self.others.iter_mut().any(|(path, seen)| {
            let at = changed_at(path).filter(|at| at != seen);
            at.is_some_and(|at| {
                *seen = if settled(at) {
                    at
                } else {
                    SystemTime::UNIX_EPOCH
                };
                let client = registered(&entry_of(path));
                client.is_some_and(|client| client.conversation == Some(conversation))
            })
        })
    }
}

/// Whether a change so long ago was the last one before it was looked at.
fn settled(at: SystemTime) -> bool {
    at.elapsed().is_ok_and(|ago| ago > TICK)
}

/// Who else has the conversation open. `own`: the agent that may have it, and its children.
#[must_use]
pub fn other(home: &Home, conversation: Uuid, own: Process) -> Option<Other> {
    look(&home.registry_dir(), conversation, own).other
}

#[derive(Default)]
struct Found {
    other: Option<Other>,
    others: Vec<(PathBuf, SystemTime)>,
}

fn look(dir: &Path, conversation: Uuid, own: Process) -> Found {
    let here = here();
    let mut found = Found::default();
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.take(MAX_ENTRIES) {
        let path = entry.path();
        if path.extension().is_none_or(|it| it != "json") {
            continue;
        }
        // Looked at before it is read: what changes meanwhile is seen the next time.
        let at = changed_at(&path).filter(|at| settled(*at));
        let Some(client) = registered(&entry_of(&path)) else {
            continue;
        };
        if client.pid == own.pid {
            continue;
        }
        let elsewhere = client.domain.as_deref().is_some_and(|it| it != here);
        if client.conversation == Some(conversation)
            && !elsewhere
            && lives(client.pid, client.start_time)
            && !descends(client.pid, own.pid)
        {
            found.other = Some(told(&client, conversation));
        }
        found
            .others
            .push((path, at.unwrap_or(SystemTime::UNIX_EPOCH)));
    }
    found
}

/// What is said of it.
fn told(client: &Registered, conversation: Uuid) -> Other {
    let pid = client.pid;
    let (what, hint) = match (of_session(pid), &client.kind) {
        (Some((session, socket)), _) => {
            let label = socket.file_stem().unwrap_or_default().to_string_lossy();
            let what = format!("the clsess session {session} of {}", socket.display());
            let hint = format!("send to that one, or end it: clsess -L {label} kill {session}");
            (what, hint)
        }
        (None, Kind::Background(job)) => {
            let hint = format!("claude stop {job}; or go on there: claude attach {job}");
            (format!("the background session {job}"), hint)
        }
        (None, kind) => {
            let what = match kind {
                Kind::Terminal => "claude on a terminal",
                Kind::Program => "claude -p, or a program that drives it",
                _ => "another claude",
            };
            let hint = format!("go on there, or end it (kill {pid}) and send again");
            (what.to_owned(), hint)
        }
    };
    let message = format!("the conversation {conversation} is open in process {pid}: {what}");
    Other {
        process: Process {
            pid,
            start_time: client.start_time.unwrap_or_default(),
        },
        failure: Failure::new(ErrorCode::ConversationInUse, message).hint(hint),
    }
}

/// The session that a process is the agent of, and the socket of its broker: clsess says so in its
/// environment. What an agent has started says it too.
fn of_session(pid: u32) -> Option<(String, PathBuf)> {
    let mut environment = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(MAX_ENVIRONMENT)
        .read_to_end(&mut environment)
        .ok()?;
    let value = |name: &[u8]| {
        let mut all = environment.split(|b| *b == 0);
        let value = all.find_map(|it| it.strip_prefix(name)?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    Some((value(b"CLSESS_SESSION")?, value(b"CLSESS_SOCKET")?.into()))
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// The domain of our own processes.
pub(crate) fn here() -> String {
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    domain(&line_of("/etc/machine-id"), &namespace.to_string_lossy())
}

/// Whether there is such a process; one of unknown beginning is taken for it.
pub(crate) fn lives(pid: u32, start_time: Option<u64>) -> bool {
    let start_time = start_time.or_else(|| Some(stat_fields(&pid.to_string())?.start_time));
    start_time.is_some_and(|start_time| lock::lives(pid, start_time))
}

/// What an entry of the registry says.
pub(crate) fn entry_of(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(file) {
        let _ = file.take(MAX_ENTRY).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_has_it_open() {
        let home = tempfile::tempdir().unwrap();
        let env = [("HOME".into(), home.path().into())];
        let home = Home::new(&env, Path::new("/")).unwrap();
        let dir = home.registry_dir();
        fs::create_dir_all(&dir).unwrap();
        let id = Uuid::from_u128(7);
        let own = Process::now(std::process::id());
        let nobody = Process::default();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let process = Process::now(child.id());
        let write = |start: u64, conversation: Uuid| {
            let (pid, domain) = (process.pid, here());
            let entry = format!(
                r#"{{"pid":{pid},"procStart":"{start}","sessionId":"{conversation}","pidDomain":"{domain}","kind":"bg","jobId":"ea336b83"}}"#
            );
            fs::write(dir.join(format!("{pid}.json")), entry).unwrap();
        };
        write(process.start_time, id);
        let found = other(&home, id, nobody).unwrap();
        assert_eq!(found.process, process);
        let hint = found.failure.hint.unwrap();
        assert!(hint.starts_with("claude stop ea336b83;"), "{hint}");
        // A child of our own agent is no other one.
        assert!(other(&home, id, own).is_none());
        assert!(other(&home, Uuid::nil(), nobody).is_none());
        write(process.start_time + 1, id);
        assert!(other(&home, id, nobody).is_none(), "a later process");
        // What it has open changes in its entry, in place (measured).
        write(process.start_time, Uuid::nil());
        let mut seen = Seen::default();
        assert!(seen.other(&home, id, nobody).is_none());
        write(process.start_time, id);
        assert!(seen.other(&home, id, nobody).is_some());
        assert!(
            seen.other(&home, id, nobody).is_some(),
            "as long as it is there"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen.other(&home, id, nobody).is_none());
    }
}
