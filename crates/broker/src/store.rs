//! What is kept of a session besides its turns: `session.json` (its settings, system
//! prompts included) and `env`, each a file of 0600 in the session's directory.

use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clsess_proto::{Driver, ExitStatus, Failure, Killed, Program, Settings};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use uuid::Uuid;

/// An environment: names and values.
pub type Env = Vec<(OsString, OsString)>;

/// The file's name in the session's directory.
pub const FILE: &str = "session.json";
const ENV: &str = "env";

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The file's form; a broker leaves alone what it does not know.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// Its id.
    #[serde(with = "uuid::serde::hyphenated")]
    pub id: Uuid,
    /// Its directory.
    pub cwd: String,
    /// How its agent is run.
    pub settings: Settings,
    /// The agent's conversation.
    #[serde(with = "uuid::serde::hyphenated")]
    pub agent_session_id: Uuid,
    /// Whether a prompt was ever given to the agent in this conversation, or it was
    /// taken up from elsewhere: then it must exist.
    pub began: bool,
    /// When it was made, in milliseconds of Unix time.
    pub created_at: u64,
    /// The file mode mask of what its agent makes.
    pub umask: u32,
    /// The names of the variables that were not kept.
    #[serde(default)]
    pub forgotten: Vec<String>,
    /// The program that it runs, where it has no agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// How that exited; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// The body that it was started with last, where that is not its own kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embodied: Option<Driver>,
    /// What was said to be wrong with the agent's conversation, or one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
}

/// What is wrong with an agent's conversation, and what was done about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Damage {
    /// The conversation.
    #[serde(with = "uuid::serde::hyphenated")]
    pub of: Uuid,
    /// Each thing that is wrong, as it was said.
    pub flaws: Vec<String>,
    /// What was said.
    pub said: Failure,
    /// Whether the session has gone on in spite of it, which is announced once.
    pub gone_on: bool,
}

/// The form that this build writes.
pub const VERSION: u32 = 1;

impl SessionRecord {
    /// What is told of the session when it is killed.
    #[must_use]
    pub fn killed(&self) -> Killed {
        Killed {
            session: self.name.clone(),
            id: Some(self.id),
            agent_session_id: self.began.then_some(self.agent_session_id),
            cwd: self.began.then(|| self.cwd.clone()),
            error: None,
        }
    }

    /// The bytes of `session.json`.
    ///
    /// # Errors
    /// Never in practice: every field can be written.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the record in a session's directory.
    ///
    /// # Errors
    /// When it is missing, damaged, or of a form that this build does not know.
    pub fn load(dir: &Path) -> io::Result<Self> {
        let record: Self = serde_json::from_slice(&fs::read(dir.join(FILE))?)?;
        if record.version > VERSION {
            return Err(io::Error::other(format!(
                "made by a newer clsess (form {})",
                record.version
            )));
        }
        Ok(record)
    }
}

/// Where the environment of the session in `dir` is kept.
#[must_use]
pub fn env_path(dir: &Path) -> PathBuf {
    dir.join(ENV)
}

/// An environment as it is kept: `NAME=VALUE` and a NUL each, as in
/// `/proc/PID/environ`.
#[must_use]
pub fn env_to_bytes(env: &Env) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in env {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// Reads a kept environment.
///
/// # Errors
/// Of the disk.
pub fn load_env(dir: &Path) -> io::Result<Env> {
    let bytes = fs::read(env_path(dir))?;
    let pairs = bytes.split(|b| *b == 0).filter(|pair| !pair.is_empty());
    Ok(pairs
        .filter_map(|pair| {
            let at = pair.iter().position(|b| *b == b'=')?;
            Some((os(&pair[..at]), os(&pair[at + 1..])))
        })
        .collect())
}

fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// Splits an environment into what is kept on disk and the names that are not.
#[must_use]
pub fn split_forgotten(env: &Env, patterns: &[String]) -> (Env, Vec<String>) {
    let forget = |name: &OsStr| {
        patterns
            .iter()
            .any(|p| matches(p.as_bytes(), name.as_bytes()))
    };
    let (gone, kept): (Env, Env) = env.iter().cloned().partition(|(name, _)| forget(name));
    let names = gone
        .into_iter()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    (kept, names)
}

/// Whether `name` matches `pattern`, in which `*` stands for anything.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| matches(rest, &name[at..])),
        Some((first, rest)) => name
            .split_first()
            .is_some_and(|(n, name)| n == first && matches(rest, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(k, v)| (k.into(), v.into())).collect()
    }

    #[test]
    fn an_environment_comes_back_as_it_was() {
        let mut env = env(&[("A", ""), ("B", "x=y\nz"), ("C", "ä")]);
        env.push(("D".into(), OsString::from_vec(vec![0xff, b'='])));
        let dir = tempfile::tempdir().unwrap();
        fs::write(env_path(dir.path()), env_to_bytes(&env)).unwrap();
        assert_eq!(load_env(dir.path()).unwrap(), env);
    }

    #[test]
    fn patterns_name_what_is_not_kept() {
        let env = env(&[
            ("AWS_KEY", "1"),
            ("AWS", "2"),
            ("MY_AWS_KEY", "3"),
            ("HOME", "/"),
        ]);
        let (kept, forgotten) = split_forgotten(&env, &["AWS_*".into(), "*_KEY".into()]);
        assert_eq!(forgotten, ["AWS_KEY", "MY_AWS_KEY"]);
        assert_eq!(kept.len(), 2);
    }
}
