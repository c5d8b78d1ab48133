//! What can be wrong around a broker, looked at without one: nothing here is changed,
//! made or started.
//!
//! What is found is told by name and number. No secret is read out of a file: that it
//! is there is enough.

mod agent;
mod leftovers;
mod lock;
mod logout;
mod places;
mod service;
mod sessions;

use clsess_proto::Failure;
use serde::Serialize;

pub use agent::agent;
pub use leftovers::leftovers;
pub use lock::lock;
pub use logout::logout;
pub use places::{config_dir, places};
pub use service::service;
pub use sessions::sessions;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, and something is to be known or cleared away.
    Warning,
    /// Something does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// The same for people, on a line.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// It is well.
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, message)
    }

    /// It is to be known.
    pub fn warning(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Status::Warning, message)
    }

    /// It does not work.
    pub fn problem(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Status::Problem, message)
    }

    /// What a command would fail with.
    #[must_use]
    pub fn failed(name: &'static str, failure: Failure) -> Self {
        Self {
            hint: failure.hint,
            ..Self::problem(name, failure.message)
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self { hint, ..self }
    }

    fn new(name: &'static str, status: Status, message: impl Into<String>) -> Self {
        Self {
            name,
            status,
            message: message.into(),
            hint: None,
        }
    }
}

/// A number and what it counts.
fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// A path as a shell takes it.
fn quoted(path: &std::path::Path) -> String {
    let text = path.to_string_lossy();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@:,".contains(&b);
    match text.bytes().all(plain) {
        true => text.into_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn numbers_and_paths_for_people() {
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(0, "file"), "0 files");
        assert_eq!(quoted(Path::new("/tmp/a_b-1.sock")), "/tmp/a_b-1.sock");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let json = |check: &Check| serde_json::to_string(check).unwrap_or_default();
        let check = Check::ok("locks", "fine");
        assert_eq!(
            json(&check),
            r#"{"name":"locks","status":"ok","message":"fine"}"#
        );
        let check = Check::warning("locks", "odd").hint("do");
        assert_eq!(
            json(&check),
            r#"{"name":"locks","status":"warning","message":"odd","hint":"do"}"#
        );
    }
}
