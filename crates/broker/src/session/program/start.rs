//! From a session as it is kept to a running program.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clsess_claude::command;
use clsess_holder::protocol::{Start, TERMINAL, Window};
use clsess_proto::{ErrorCode, Failure, Program};
use serde_bytes::ByteBuf;

use crate::broker::Shared;
use crate::driver::StartError;
use crate::driver::terminal::TerminalBody;
use crate::session::launch;
use crate::store::{Env, SessionRecord};

/// What a start needs to know.
pub(super) struct Plan {
    pub(super) record: SessionRecord,
    pub(super) program: Program,
    pub(super) window: Window,
    pub(super) dir: PathBuf,
    pub(super) env: Option<Env>,
}

pub(super) async fn start(shared: &Shared, plan: Plan) -> Result<TerminalBody, Failure> {
    let Plan {
        record,
        program,
        window,
        dir,
        env,
    } = plan;
    let env = match env {
        Some(env) => env,
        None => launch::kept_env(&record, &dir)?,
    };
    let cwd = PathBuf::from(&record.cwd);
    if !cwd.is_dir() {
        let message = format!("{} is gone or no directory", record.cwd);
        return Err(Failure::new(ErrorCode::BadDirectory, message));
    }
    let args: Vec<OsString> = program
        .args
        .into_iter()
        .map(|arg| OsString::from_vec(arg.into_vec()))
        .collect();
    let path = located(args.first().map_or(OsStr::new(""), |arg| arg), &env, &cwd)?;
    launch::end_previous(&dir, &shared.successor).await;
    let socket = &shared.place.socket;
    let bytes = |text: &OsStr| text.as_bytes().to_vec();
    let start = Start {
        program: bytes(path.as_os_str()),
        args: args.iter().map(|arg| bytes(arg)).collect(),
        env: command::program_environment(env, &record.name, socket)
            .iter()
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect(),
        cwd: record.cwd.into_bytes(),
        stdio: TERMINAL,
        umask: record.umask,
        window,
    };
    let started = TerminalBody::start(&dir, start, &shared.successor, None).await;
    started.map_err(|error| not_started(&path, &error))
}

/// Starts the program of a session with turns, with `more` arguments behind its own.
///
/// # Errors
/// By name: what is missing, or why it does not start.
pub(in crate::session) async fn with_turns(
    shared: &Shared,
    plan: launch::Plan,
    window: Window,
    more: &[String],
) -> Result<TerminalBody, Failure> {
    let words = plan.record.settings.command.iter().chain(more);
    let args = words.map(|word| ByteBuf::from(word.as_bytes())).collect();
    let plan = Plan {
        program: Program {
            args,
            rows: window.rows,
            cols: window.cols,
            scrollback: None,
        },
        record: plan.record,
        window,
        dir: plan.dir,
        env: plan.env,
    };
    start(shared, plan).await
}

fn not_started(program: &Path, error: &StartError) -> Failure {
    let message = format!("{} cannot be started: {error}", program.display());
    Failure::new(ErrorCode::AgentStartFailed, message)
}

/// The program, as a shell finds it: by the PATH of the session's environment, or as a path from
/// its directory.
fn located(program: &OsStr, env: &Env, cwd: &Path) -> Result<PathBuf, Failure> {
    let can_run = |path: &PathBuf| {
        std::fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let missing = || {
        let message = format!("{}: no such program", Path::new(program).display());
        Failure::new(ErrorCode::AgentNotFound, message).hint("a path, or a name in your PATH")
    };
    if program.as_bytes().contains(&b'/') {
        return Some(cwd.join(program)).filter(can_run).ok_or_else(missing);
    }
    let path = env.iter().rfind(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"), |(_, path)| path);
    let found = std::env::split_paths(path).map(|dir| cwd.join(dir).join(program));
    let mut found = found.filter(|_| !program.is_empty());
    found.find(can_run).ok_or_else(missing)
}
