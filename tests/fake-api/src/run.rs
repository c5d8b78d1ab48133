//! `fake-api run`: a command in a namespace of its own, with the server beside it.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::RunArgs;
use crate::home::{Home, KEY};
use crate::state::{Shared, State};
use crate::{control, namespace, server};

/// How long what the command left behind may take to end.
const GRACE: Duration = Duration::from_secs(3);

/// Variables of the caller that would lead the client elsewhere.
const REMOVED: [&str; 9] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "CLAUDECODE",
];
/// The same, by how they begin.
const REMOVED_PREFIXES: [&str; 5] = ["ANTHROPIC_", "_CLAUDE", "CLAUDE_", "AWS_", "XDG_"];

/// Serves and runs the command; gives its exit code. Must run within a `LocalSet`.
pub async fn run(args: &RunArgs) -> Result<u8, String> {
    namespace::check()?;
    namespace::loopback_up()?;
    nix::sys::prctl::set_child_subreaper(true).map_err(|error| error.to_string())?;
    let state = State::new();
    if let Some(file) = &args.rules {
        load_rules(file, &state)?;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(|error| error.to_string())?;
    let port = listener
        .local_addr()
        .map_err(|error| error.to_string())?
        .port();
    tokio::task::spawn_local(server::serve(listener, state));

    let home = Home::new(&args.trust)?;
    let child = command(args, &home, port)?
        .spawn()
        .map_err(|error| format!("cannot run {}: {error}", args.command[0]))?;
    let status = wait(child).await?;
    end_leftovers().await;
    Ok(exit_code(status))
}

/// Control lines from a file, obeyed before the command starts.
fn load_rules(file: &Path, state: &Shared) -> Result<(), String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        control::obey_line(line, state).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

/// The command with its environment.
fn command(args: &RunArgs, home: &Home, port: u16) -> Result<Command, String> {
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let prefixed = REMOVED_PREFIXES
            .iter()
            .any(|prefix| text.starts_with(prefix));
        if prefixed || REMOVED.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command
        .env("HOME", home.path())
        // The usual place, named after the user id, belongs to nobody known after `unshare -r`.
        .env("CLAUDE_CODE_TMPDIR", home.temp())
        .env("ANTHROPIC_API_KEY", KEY)
        .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{port}"))
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_AUTOUPDATER", "1")
        .env("FAKE_API_PORT", port.to_string());
    if let Some(claude) = &args.claude {
        command.env("PATH", path_with(claude)?);
    }
    Ok(command)
}

/// PATH with the client's folder first.
fn path_with(claude: &Path) -> Result<std::ffi::OsString, String> {
    let missing = |error| format!("--claude {}: {error}", claude.display());
    let claude = claude.canonicalize().map_err(missing)?;
    let folder = claude.parent().unwrap_or(&claude).to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::iter::once(folder)
        .chain(std::env::split_paths(&path))
        .collect();
    std::env::join_paths(folders).map_err(|error| error.to_string())
}

/// Waits for the command. A terminal sends its ^C to the command as well, so that one is only
/// survived; what reaches this process alone is passed on.
async fn wait(mut child: Child) -> Result<ExitStatus, String> {
    let listen = |kind| signal(kind).map_err(|error| error.to_string());
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut quit = listen(SignalKind::quit())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .map(Pid::from_raw);
    loop {
        let passed_on = tokio::select! {
            status = child.wait() => return status.map_err(|error| error.to_string()),
            _ = interrupt.recv() => continue,
            _ = quit.recv() => continue,
            _ = terminate.recv() => Signal::SIGTERM,
            _ = hangup.recv() => Signal::SIGHUP,
        };
        if let Some(pid) = pid {
            // It may have ended just now.
            let _ = kill(pid, passed_on);
        }
    }
}

/// Ends what the command left running: it would only find the server and its home gone.
async fn end_leftovers() {
    let start = Instant::now();
    let mut asked = Vec::new();
    loop {
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
        {
        }
        let left = children();
        if left.is_empty() {
            return;
        }
        for pid in left {
            if start.elapsed() > GRACE {
                let _ = kill(pid, Signal::SIGKILL);
            } else if !asked.contains(&pid) {
                let _ = kill(pid, Signal::SIGTERM);
                asked.push(pid);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The children of this process, adopted ones included.
fn children() -> Vec<Pid> {
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let pids = lists.flat_map(|list| {
        list.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect::<Vec<i32>>()
    });
    pids.map(Pid::from_raw).collect()
}

/// As a shell would put it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
