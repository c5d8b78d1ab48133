//! `clsess broker`: the background process itself.

use std::io::{self, Read, Seek};
use std::time::{Duration, Instant};

use clsess_broker::{Prepared, lock};
use clsess_proto::{ErrorCode, Failure, Reply, Request};
use daemonize::Daemonize;

use super::{ms, wait};
use crate::cli::BrokerCommand;
use crate::client::{Client, Start, unexpected};
use crate::output::{Output, print, print_json, table};
use crate::surroundings::Surroundings;

/// How long `start` waits for another broker that is just beginning or ending.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks meanwhile.
const RETRY: Duration = Duration::from_millis(20);
/// What `stop` waits beyond the agents' grace.
const STOP_SLACK: Duration = Duration::from_secs(5);
/// Bytes of the log that `logs` reads at most, from its end.
const LOG_BYTES: u64 = 16 * 1024 * 1024;

pub fn run(
    command: &BrokerCommand,
    verbose: u8,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    match command {
        BrokerCommand::Run => foreground(verbose, surroundings),
        BrokerCommand::Start => start(verbose, surroundings, output),
        BrokerCommand::Stop { grace } => wait(stop(*grace, surroundings, output)),
        BrokerCommand::Status { json } => wait(status(*json, surroundings)),
        BrokerCommand::Logs { lines } => logs(*lines, surroundings),
    }
}

/// Everything that the caller had open would stay open for as long as the broker
/// lives: a pipe whose reader waits for its end, for one.
fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The listing's own descriptor is among them and closed by now.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

fn foreground(verbose: u8, surroundings: &Surroundings) -> Result<u8, Failure> {
    close_inherited().map_err(|e| internal(&e))?;
    let Some(prepared) = clsess_broker::prepare(surroundings.place.clone())? else {
        return Err(held(surroundings));
    };
    clsess_broker::run(prepared, verbose, true).map_err(|e| internal(&e))?;
    Ok(0)
}

fn start(verbose: u8, surroundings: &Surroundings, output: &Output) -> Result<u8, Failure> {
    close_inherited().map_err(|e| internal(&e))?;
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(prepared) = clsess_broker::prepare(surroundings.place.clone())? {
            if !output.quiet {
                print(&format!(
                    "listening on {}\n",
                    surroundings.place.socket.display()
                ));
            }
            return daemon(prepared, verbose);
        }
        // Somebody else has the lock: their broker is as good as ours.
        if reachable(surroundings)? {
            if !output.quiet {
                print("a broker is running already\n");
            }
            return Ok(0);
        }
        if Instant::now() > until {
            return Err(held(surroundings));
        }
        std::thread::sleep(RETRY);
    }
}

/// Becomes the broker. The process that was started exits 0 in here, and by then
/// the broker listens.
fn daemon(prepared: Prepared, verbose: u8) -> Result<u8, Failure> {
    // One call, before any thread or runtime (deny.toml says why this crate).
    Daemonize::new()
        .working_directory("/")
        .umask(0o077)
        .start()
        .map_err(|e| {
            Failure::new(
                ErrorCode::Internal,
                format!("cannot go to the background: {e}"),
            )
        })?;
    clsess_broker::run(prepared, verbose, false).map_err(|e| internal(&e))?;
    Ok(0)
}

/// Whether a broker answers. In a process of its own: this one is going to fork
/// and must not have had a runtime.
fn reachable(surroundings: &Surroundings) -> Result<bool, Failure> {
    let exe = std::env::current_exe().map_err(|e| internal(&e))?;
    let status = std::process::Command::new(exe)
        .args([
            "broker",
            "status",
            "--label",
            &surroundings.label,
            "--socket",
        ])
        .arg(&surroundings.place.socket)
        .env("CLSESS_STATE_DIR", &surroundings.state_dir)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .map_err(|e| internal(&e))?;
    Ok(status.success())
}

fn held(surroundings: &Surroundings) -> Failure {
    let lock = surroundings.place.lock();
    let who = lock::read(&lock).map_or_else(String::new, |record| {
        format!(" (pid {} on {})", record.pid, record.host)
    });
    Failure::new(
        ErrorCode::BrokerUnreachable,
        format!("a broker{who} holds {}", lock.display()),
    )
    .hint("clsess broker status; clsess broker stop")
}

async fn stop(
    grace: Duration,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let mut client = match Client::connect(surroundings, Start::Never).await {
        Ok(client) => client,
        Err(failure) if failure.code == ErrorCode::BrokerUnreachable => {
            output.note("no broker is running");
            return Ok(0);
        }
        Err(failure) => return Err(failure),
    };
    match client
        .call(Request::Stop {
            grace_ms: ms(grace),
        })
        .await
    {
        Ok(Reply::Done {}) => {}
        Ok(other) => return Err(unexpected(&other)),
        // It can be gone before its answer is.
        Err(failure) if failure.code == ErrorCode::BrokerUnreachable => {}
        Err(failure) => return Err(failure),
    }
    drop(client);
    // Its lock is free when its process is gone.
    let lock = surroundings.place.lock();
    let free = tokio::task::spawn_blocking(move || lock::wait_until_gone(&lock));
    match tokio::time::timeout(grace + STOP_SLACK, free).await {
        Ok(_) => Ok(0),
        Err(_) => Err(held(surroundings)),
    }
}

async fn status(json: bool, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut client = Client::connect(surroundings, Start::Never).await?;
    let status = match client.call(Request::Status {}).await? {
        Reply::Status(status) => status,
        other => return Err(unexpected(&other)),
    };
    if json {
        print_json(&status);
        return Ok(0);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    print(&table(&[
        row("pid", status.pid.to_string()),
        row("version", status.version),
        row("socket", status.socket),
        row("state", status.state_dir),
        row("log", surroundings.place.log().display().to_string()),
        row("sessions", status.sessions.to_string()),
    ]));
    Ok(0)
}

fn logs(lines: Option<usize>, surroundings: &Surroundings) -> Result<u8, Failure> {
    let path = surroundings.place.log();
    let unreadable = |e: io::Error| {
        Failure::new(
            ErrorCode::BrokerUnreachable,
            format!("cannot read {}: {e}", path.display()),
        )
        .hint("there is a log once a broker has run: clsess broker start")
    };
    let mut file = std::fs::File::open(&path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(LOG_BYTES)))
        .map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8_lossy(&bytes);
    let all = text.lines().count();
    let skip = lines.map_or(0, |n| all.saturating_sub(n));
    let kept: String = text
        .lines()
        .skip(skip)
        .map(|line| format!("{line}\n"))
        .collect();
    print(&kept);
    Ok(0)
}

fn internal(error: &io::Error) -> Failure {
    Failure::new(ErrorCode::Internal, error.to_string())
}
