//! What a killed client leaves behind (facts 8.6), by its names and contents.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Raw, count, object, text};

/// A client as its registry names it ([`crate::record::Home::registry_dir`], facts 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its process.
    pub pid: u32,
    /// When that started, in clock ticks since boot; one without it cannot be told from a later
    /// process of the same number.
    pub start_time: Option<u64>,
    /// Where the number counts: `linux:MACHINE-ID:pid:[NAMESPACE]` (measured, 2.1.328).
    pub domain: Option<String>,
}

/// Reads an entry of the registry.
#[must_use]
pub fn registered(entry: &[u8]) -> Option<Registered> {
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow)]
        pid: Raw<'a>,
        #[serde(borrow, rename = "procStart")]
        start: Raw<'a>,
        #[serde(borrow, rename = "pidDomain")]
        domain: Raw<'a>,
    }
    let entry: Entry<'_> = object(serde_json::from_slice::<&RawValue>(entry).ok())?;
    Some(Registered {
        pid: u32::try_from(count(entry.pid)?).ok()?,
        start_time: text(entry.start).and_then(|ticks| ticks.parse().ok()),
        domain: text(entry.domain),
    })
}

/// The domain of processes of this machine and namespace, `pid:[4026531836]`.
#[must_use]
pub fn domain(machine_id: &str, namespace: &str) -> String {
    format!("linux:{machine_id}:{namespace}")
}

/// The process of a client's inbox: `PID.sock` in [`INBOXES`].
#[must_use]
pub fn inbox_of(name: &str) -> Option<u32> {
    name.strip_suffix(".sock")?.parse().ok()
}

/// The directory of inboxes, below that of temporary files.
pub const INBOXES: &str = "cc-socks";

/// Files in which a command's last directory is noted, beside [`INBOXES`]: for a shell.
pub const DIRECTORY_NOTES: &str = "claude-*-cwd";

/// What a client has tried the watching of files with, in `claude-UID` beside [`INBOXES`].
pub const WATCH_PROBES: &str = "fswatch-probe-*";

/// Whether it is one of [`DIRECTORY_NOTES`].
#[must_use]
pub fn is_directory_note(name: &str) -> bool {
    let id = name
        .strip_prefix("claude-")
        .and_then(|name| name.strip_suffix("-cwd"));
    id.is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Whether it is one of [`WATCH_PROBES`].
#[must_use]
pub fn is_watch_probe(name: &str) -> bool {
    name.starts_with("fswatch-probe-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_registry() {
        // As the real client wrote it.
        let entry = br#"{"pid":9919,"sessionId":"36fd3f3c","cwd":"/p","procStart":"2455115",
            "pidDomain":"linux:3d12:pid:[4026531836]","asksForConvertedSkills":null,"status":"idle"}"#;
        let client = registered(entry).unwrap();
        assert_eq!((client.pid, client.start_time), (9919, Some(2_455_115)));
        assert_eq!(client.domain, Some(domain("3d12", "pid:[4026531836]")));
        let old = registered(br#"{"pid":1}"#).unwrap();
        assert_eq!((old.start_time, old.domain), (None, None));
        for bad in ["", "[]", "{}", r#"{"pid":-1}"#, r#"{"pid":"1"}"#] {
            assert_eq!(registered(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(inbox_of("123.sock"), Some(123));
        assert_eq!(inbox_of("x.sock"), None);
        assert_eq!(inbox_of("123"), None);
        assert!(is_directory_note("claude-1a2b-cwd"));
        for other in [
            "claude--cwd",
            "claude-0",
            "claude-a/b-cwd",
            "x-claude-1-cwd",
        ] {
            assert!(!is_directory_note(other), "{other}");
        }
        assert!(is_watch_probe("fswatch-probe-sj6Jy2"));
    }
}
