//! Commands of the user's that are run when something happens in a session: `[hooks]` of the config.
//!
//! A session hands one over and does not wait: how it ends is only in the log. They are told what has happened
//! by a line of JSON on their stdin, and by variables for what is short. Prompts and answers are on stdin only.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clsess_claude::command::program_environment;
use clsess_proto::HookEvent;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::store::{self, Env, SessionRecord};

/// Those that run at a time, of all sessions.
const AT_ONCE: usize = 4;
/// Those that wait for that; more are not run, which the log says.
const WAITING: usize = 64;
/// How long one may take when the config does not say.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one gets from SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(1);
/// Bytes of a variable; the rest is on stdin.
const MAX_VARIABLE: usize = 4096;
/// The shell that runs it.
const SHELL: &str = "/bin/sh";

/// What has happened.
#[derive(Debug)]
pub struct Happened<'a> {
    /// Its kind.
    pub event: HookEvent,
    /// The session.
    pub record: &'a SessionRecord,
    /// Its directory under the state directory, with its environment.
    pub dir: &'a Path,
    /// Short facts: names without `CLSESS_`, and what they are.
    pub facts: Vec<(&'static str, String)>,
    /// All of it, under this name.
    pub told: (&'static str, Value),
}

/// Runs them.
#[derive(Debug)]
pub struct Hooks {
    running: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::default(),
        }
    }
}

/// One that waits or runs; it counts until it is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hooks {
    /// Runs what the session's settings say for this, beside everything else.
    pub fn run(&self, happened: &Happened<'_>, socket: &Path) {
        let settings = &happened.record.settings.hooks;
        let Some(command) = settings.command(happened.event) else {
            return;
        };
        let (session, event) = (happened.record.name.clone(), happened.event.name());
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING + AT_ONCE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(%session, event, "too many hooks wait: this one is not run");
            return;
        }
        let waiting = Waiting(Arc::clone(&self.waiting));
        let running = Arc::clone(&self.running);
        let limit = settings.timeout_ms.map_or(TIMEOUT, Duration::from_millis);
        let (command, dir, socket) = (
            command.to_owned(),
            happened.dir.to_owned(),
            socket.to_owned(),
        );
        let (facts, cwd) = (happened.facts(), PathBuf::from(&happened.record.cwd));
        let input = happened.input();
        tokio::spawn(async move {
            let _waiting = waiting;
            // It is never closed.
            let _running = running.acquire().await;
            let kept = store::load_env(&dir).unwrap_or_default();
            let mut env = program_environment(kept, &session, &socket);
            env.extend(facts);
            match one(shell(&command, env, &cwd), &input, limit).await {
                Ok(status) if status.success() => {}
                Ok(status) => tracing::warn!(%session, event, %status, "a hook has failed"),
                Err(error) => tracing::warn!(%session, event, %error, "a hook cannot be run"),
            }
        });
    }
}

impl Happened<'_> {
    /// The variables.
    fn facts(&self) -> Env {
        let own = [
            ("HOOK", self.event.name().to_owned()),
            ("SESSION_ID", self.record.id.to_string()),
        ];
        let all = own.into_iter().chain(self.facts.iter().cloned());
        all.map(|(name, value)| (format!("CLSESS_{name}").into(), variable(&value)))
            .collect()
    }

    /// The line of JSON.
    fn input(&self) -> Vec<u8> {
        let mut input = serde_json::json!({
            "hook": self.event,
            "session": self.record.name,
            "id": self.record.id,
            "cwd": self.record.cwd,
        });
        let (name, told) = &self.told;
        input[*name] = told.clone();
        format!("{input}\n").into_bytes()
    }
}

fn shell(command: &str, env: Env, cwd: &Path) -> Command {
    let mut shell = Command::new(SHELL);
    shell
        .args(["-c", command])
        .env_clear()
        .envs(env)
        .current_dir(if cwd.is_dir() { cwd } else { Path::new("/") })
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    shell
}

/// As much of it as a variable may have, without what none can.
fn variable(value: &str) -> OsString {
    let end = value.floor_char_boundary(MAX_VARIABLE);
    let text = value[..end].replace('\0', " ");
    std::ffi::OsStr::from_bytes(text.as_bytes()).to_owned()
}

/// Runs one to its end, or until its time is over: then all that it has started, as far as that is in its
/// group, ends with it.
async fn one(mut command: Command, input: &[u8], limit: Duration) -> std::io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let group = child.id().and_then(|pid| i32::try_from(pid).ok());
    let stdin = child.stdin.take();
    let told = async {
        if let Some(mut stdin) = stdin {
            // Not every one reads it.
            let _ = stdin.write_all(input).await;
        }
    };
    let ran = timeout(limit, async {
        let ((), status) = tokio::join!(told, child.wait());
        status
    });
    match ran.await {
        Ok(status) => status,
        Err(_) => {
            tracing::warn!(?limit, "a hook takes too long, and is ended");
            ended(&mut child, group).await
        }
    }
}

async fn ended(child: &mut Child, group: Option<i32>) -> std::io::Result<ExitStatus> {
    // It is not reaped, so its number is its own.
    let signal = |signal| group.map(|group| killpg(Pid::from_raw(group), signal));
    signal(Signal::SIGTERM);
    if let Ok(status) = timeout(GRACE, child.wait()).await {
        return status;
    }
    signal(Signal::SIGKILL);
    child.wait().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_cut_between_characters() {
        let long = "é".repeat(3000);
        assert_eq!(variable(&long).len(), MAX_VARIABLE);
        assert_eq!(variable(&format!("x{long}")).len(), MAX_VARIABLE - 1);
        assert_eq!(variable("a\0b"), "a b");
    }
}
