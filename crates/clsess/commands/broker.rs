//! `clsess broker`: the background process itself.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use clsess_broker::{Ended, Prepared, left, listen, lock};
use clsess_proto::{ErrorCode, Failure, Hello, Reply, Request, ToBroker, frame};
use daemonize::{Daemonize, Outcome};

use super::{ms, wait_for};
use crate::activation;
use crate::cli::BrokerCommand;
use crate::output::{Output, print, print_json, say, table};
use crate::stdout::write_all;
use clsess_client::client::{Client, Start, unexpected};
use clsess_client::link::Link;
use clsess_client::reach::{self, Who};
use clsess_client::surroundings::Surroundings;
use clsess_client::upgrade::{Upgraded, upgrade as replace};

/// How long `start` waits for another broker that is just beginning or ending.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks meanwhile.
const RETRY: Duration = Duration::from_millis(10);
/// What `stop` waits beyond the agents' grace.
const STOP_SLACK: Duration = Duration::from_secs(5);
/// How often `stop` starts a broker to end what one that has died has left.
const REVIVALS: usize = 1;
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
        BrokerCommand::Start { again, held } => match reach::dies(surroundings) {
            Some(failure) if *again => Err(failure),
            _ => start(*held, verbose, surroundings, output),
        },
        BrokerCommand::Upgrade { force } => wait_for(upgrade(*force, surroundings, output)),
        BrokerCommand::Stop { grace } => wait_for(stop(*grace, surroundings, output)),
        BrokerCommand::Status { json } => wait_for(status(*json, surroundings)),
        BrokerCommand::Logs { lines } => logs(*lines, surroundings),
    }
}

async fn upgrade(force: bool, surroundings: &Surroundings, output: &Output) -> Result<u8, Failure> {
    match replace(force, surroundings).await? {
        Upgraded::Already(broker) => output.note(&format!(
            "the broker is this program already, {} (pid {})",
            broker.version, broker.pid
        )),
        Upgraded::Now { from, to } if !output.quiet => {
            print(&format!(
                "upgraded: {from} -> {} (pid {})\n",
                to.version, to.pid
            ));
        }
        Upgraded::Now { .. } => {}
    }
    Ok(0)
}

/// Everything that the caller had open would stay open for as long as the broker
/// lives: a pipe whose reader waits for its end, for one. All but `kept`.
fn close_inherited(kept: Option<RawFd>) -> io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2 && Some(*fd) != kept)
        .collect();
    for fd in open {
        // The listing's own descriptor is among them and closed by now.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

fn foreground(verbose: u8, surroundings: &Surroundings) -> Result<u8, Failure> {
    let inherited = activation::inherited()?;
    let kept = inherited.as_ref().map(AsRawFd::as_raw_fd);
    close_inherited(kept).map_err(|e| internal(&e))?;
    let mut place = surroundings.place.clone();
    if let Some(listener) = &inherited {
        place.socket = listen::path_of_inherited(listener)?;
        if surroundings.socket_named && place.socket != surroundings.place.socket {
            return Err(activation::another_socket(
                &surroundings.place.socket,
                &place.socket,
            ));
        }
    }
    let Some(prepared) = clsess_broker::prepare(place, inherited)? else {
        return Err(held(surroundings));
    };
    // It listens. A manager that cannot be told gives up by itself, and says so.
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        say(&format!("clsess: cannot tell systemd: {error}\n"));
    }
    ended(clsess_broker::run(prepared, verbose, true))
}

/// Becomes the broker in place of the one whose socket is descriptor 0, when that wants it.
pub fn take_over() -> Result<u8, Failure> {
    close_inherited(None).map_err(|e| internal(&e))?;
    let old = io::stdin().as_fd().try_clone_to_owned();
    let old = UnixStream::from(old.map_err(|e| internal(&e))?);
    if old.peer_addr().is_err() {
        let message = "only a broker starts this, when it is replaced";
        return Err(Failure::new(ErrorCode::BadRequest, message).hint("clsess broker upgrade"));
    }
    // The copy is close-on-exec, which descriptor 0 is not.
    let null = File::open("/dev/null").map_err(|e| internal(&e))?;
    nix::unistd::dup2_stdin(null).map_err(|errno| internal(&errno.into()))?;
    match clsess_broker::take_over(old)? {
        Some(taken) => ended(clsess_broker::run(
            taken.prepared,
            taken.verbose,
            taken.to_stderr,
        )),
        None => Ok(0),
    }
}

/// A service manager is told whose end it is to wait for now. It believes only the process that
/// was the broker until now, and only as long as that lives.
fn ended(ended: io::Result<Ended>) -> Result<u8, Failure> {
    if let Ended::Replaced { pid } = ended.map_err(|e| internal(&e))?
        && let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::MainPid(pid)])
    {
        say(&format!("clsess: cannot tell systemd: {error}\n"));
    }
    Ok(0)
}

/// `by_holder`: a holder wants it, which may be too late by now: the broker that has come since, and
/// has taken its agent up, may have been stopped.
fn start(
    by_holder: bool,
    verbose: u8,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    close_inherited(None).map_err(|e| internal(&e))?;
    if by_holder && ended_well(surroundings) {
        return Ok(0);
    }
    if let Some(socket) = knock(surroundings) {
        return started_by_systemd(socket, surroundings, output);
    }
    let until = Instant::now() + PATIENCE;
    loop {
        // Who wants it if the last one has died has to see how that ended: it may end just now.
        let looks = by_holder && lock::is_held(&surroundings.place.lock());
        if by_holder && !looks && ended_well(surroundings) {
            return Ok(0);
        }
        if !looks && let Some(prepared) = clsess_broker::prepare(surroundings.place.clone(), None)?
        {
            return daemon(prepared, verbose, surroundings, output);
        }
        // Somebody else has the lock: their broker is as good as ours.
        if reachable(surroundings) {
            tell("a broker is running already\n", output);
            return Ok(0);
        }
        if Instant::now() > until {
            return Err(held(surroundings));
        }
        std::thread::sleep(RETRY);
    }
}

/// Whether the last broker is gone, and was told to go.
fn ended_well(surroundings: &Surroundings) -> bool {
    let lock = surroundings.place.lock();
    !lock::is_held(&lock) && lock::read(&lock).is_some_and(|record| record.ended_well())
}

/// Connects to the socket on which systemd listens for a broker that does not run; its
/// path, if systemd does. A broker of our own would then be one too many.
fn knock(surroundings: &Surroundings) -> Option<&Path> {
    let socket = surroundings.activating.as_deref()?;
    let wanted = !lock::is_held(&surroundings.place.lock());
    (wanted && UnixStream::connect(socket).is_ok()).then_some(socket)
}

fn started_by_systemd(
    socket: &Path,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let until = Instant::now() + PATIENCE;
    while !reachable(surroundings) {
        if Instant::now() > until {
            let (socket, state) = (socket.display(), surroundings.place.state.display());
            let message =
                format!("systemd listens on {socket}, and starts no broker of {state} there");
            let label = &surroundings.label;
            return Err(Failure::new(ErrorCode::BrokerUnreachable, message)
                .hint(format!("systemctl --user status clsess@{label}.service")));
        }
        std::thread::sleep(RETRY);
    }
    tell(&format!("listening on {}\n", socket.display()), output);
    Ok(0)
}

/// Says something about a broker that runs, whether anybody reads it or not.
fn tell(text: &str, output: &Output) {
    if !output.quiet {
        let _ = write_all(io::stdout(), text.as_bytes());
    }
}

/// A process of its own becomes the broker. It listens already.
fn daemon(
    prepared: Prepared,
    verbose: u8,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    // One call, before any thread or runtime (deny.toml says why this crate).
    let begun = Daemonize::new()
        .working_directory("/")
        .umask(0o077)
        .execute();
    match begun {
        Outcome::Child(Ok(_)) => ended(clsess_broker::run(prepared, verbose, false)),
        Outcome::Child(Err(e)) => Err(no_daemon(&e.to_string())),
        Outcome::Parent(child) => {
            drop(prepared);
            let child = child.map_err(|e| no_daemon(&e.to_string()))?;
            let ended = ExitStatus::from_raw(child.first_child_exit_code);
            if ended.success() {
                let socket = surroundings.place.socket.display();
                tell(&format!("listening on {socket}\n"), output);
                return Ok(0);
            }
            // One that ended by itself has said why.
            let code = ended.code().and_then(|code| u8::try_from(code).ok());
            code.ok_or_else(|| no_daemon(&ended.to_string()))
        }
    }
}

fn no_daemon(why: &str) -> Failure {
    let message = format!("cannot go to the background: {why}");
    Failure::new(ErrorCode::Internal, message)
}

/// Whether a broker answers. Without a runtime: this process is going to fork. That it can be
/// connected to is not enough: one that was killed holds its lock and listens for some
/// milliseconds more, until the kernel has closed all that it had open.
fn reachable(surroundings: &Surroundings) -> bool {
    let lock = surroundings.place.lock();
    lock::is_held(&lock) && lock::read(&lock).is_some_and(|record| greets(&record.socket).is_ok())
}

/// Exchanges hellos with the broker there.
fn greets(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let hello = ToBroker::Hello(Hello::client());
    stream.write_all(&frame::to_wire(&hello).map_err(io::Error::other)?)?;
    match frame::read(&mut stream)? {
        Some(_) => Ok(()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn held(surroundings: &Surroundings) -> Failure {
    // It may have ended just now.
    reach::held(surroundings).unwrap_or_else(reach::no_broker)
}

async fn stop(
    grace: Duration,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let mut stopped = stop_running(grace, surroundings).await?;
    let mut patience = Duration::ZERO;
    for _ in 0..=REVIVALS {
        if gone_within(patience, surroundings).await {
            if !stopped {
                output.note("no broker is running");
            }
            return Ok(0);
        }
        // One has died, and its agents live on: a broker ends them as they are to be ended.
        let started = reach::start_broker(surroundings, Who::People).await;
        started.map_err(|failure| still_held(surroundings, &failure.message))?;
        stopped |= stop_running(grace, surroundings).await?;
        // What nobody holds ends when it sees that.
        patience = STOP_SLACK;
    }
    Err(still_held(surroundings, "the next one has not ended them"))
}

/// Whether nothing is left, now or soon.
async fn gone_within(patience: Duration, surroundings: &Surroundings) -> bool {
    let until = Instant::now() + patience;
    while left(surroundings) {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(RETRY).await;
    }
    true
}

/// Whether something of a broker that has died is there, or will be.
fn left(surroundings: &Surroundings) -> bool {
    let lock = surroundings.place.lock();
    if lock::is_held(&lock) {
        // Of somebody who wanted another one since.
        return false;
    }
    // systemd starts another one by itself.
    let systemd = surroundings.activating.as_deref().is_some_and(Path::exists);
    let died = |record: lock::Record| !record.ended_well() && record.boot_id == lock::boot_id();
    left::agents(&surroundings.place) > 0 || (systemd && lock::read(&lock).is_some_and(died))
}

fn still_held(surroundings: &Surroundings, why: &str) -> Failure {
    let agents = left::agents(&surroundings.place);
    let plural = if agents == 1 { "" } else { "s" };
    let message = format!("no broker runs, but {agents} agent{plural} of one that has died: {why}");
    Failure::new(ErrorCode::BrokerUnreachable, message).hint("clsess doctor; clsess broker logs")
}

/// Stops the broker that runs; whether one did.
async fn stop_running(grace: Duration, surroundings: &Surroundings) -> Result<bool, Failure> {
    let mut asked = false;
    while let Some(mut client) = running(surroundings).await? {
        let grace_ms = ms(grace);
        asked = true;
        match client.call(Request::Stop { grace_ms }).await {
            Ok(Reply::Done {}) => break,
            Ok(other) => return Err(unexpected(&other)),
            // It is gone before its answer, or was just being replaced: then the next one is
            // meant too.
            Err(failure) if failure.code == ErrorCode::BrokerUnreachable => {}
            Err(failure) => return Err(failure),
        }
    }
    if !asked {
        return Ok(false);
    }
    // Its lock is free when its process is gone.
    let lock = surroundings.place.lock();
    let free = tokio::task::spawn_blocking(move || lock::wait_until_gone(&lock));
    match tokio::time::timeout(grace.saturating_add(STOP_SLACK), free).await {
        Ok(_) => Ok(true),
        Err(_) => Err(stays(surroundings)),
    }
}

/// The broker that is to be stopped. That none can be reached does not mean that
/// there is none: it may be beginning, ending, or hanging.
async fn running(surroundings: &Surroundings) -> Result<Option<Client>, Failure> {
    let until = Instant::now() + STOP_SLACK;
    loop {
        match Client::connect(surroundings, Start::Never).await {
            Ok(client) => return Ok(Some(client)),
            Err(failure) if failure.code == ErrorCode::BrokerUnreachable => {}
            Err(failure) => return Err(failure),
        }
        if !lock::is_held(&surroundings.place.lock()) {
            return Ok(None);
        }
        if Instant::now() > until {
            return Err(stays(surroundings));
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// A broker that is not to be stopped in a good way.
fn stays(surroundings: &Surroundings) -> Failure {
    let failure = held(surroundings);
    match lock::read(&surroundings.place.lock()) {
        Some(record) => failure.hint(format!("clsess broker logs; kill {}", record.pid)),
        None => failure,
    }
}

async fn status(json: bool, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::Never).await?;
    let status = match link.call(Request::Status {}).await? {
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
