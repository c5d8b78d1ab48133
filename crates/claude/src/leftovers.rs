//! What a killed client leaves behind (facts 8.6), by its names; its entry of the registry is read by
//! [`crate::registry`].

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
