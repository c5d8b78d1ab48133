//! `clsess attach`: this terminal becomes that of a session.
//!
//! The broker reads and writes the terminal itself; this process hands it over, passes on what the
//! kernel tells only the terminal's own processes (its size, signals), and makes sure that it is
//! as it was in the end, whatever becomes of the broker.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use clsess_proto::{
    Attach as Ask, DetachReason, Detached, ErrorCode, Failure, Reply, Request, TerminalModes,
};
use clsess_vt::{Size, Terminal};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{LocalFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use serde_bytes::ByteBuf;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Duration, Instant, sleep_until};
use uuid::Uuid;

use crate::cli::Attach;
use crate::config::Config;
use crate::output::{plain, say};
use crate::signals::Signals;
use clsess_client::client::{Incoming, Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

/// Rows of the program's history that the terminal gets for its own scrollback.
const RECALL: u32 = 1000;

/// The terminal, to be opened once more.
const OF_STDIN: &str = "/proc/self/fd/0";

/// How long a broker may take to give the terminal back. It takes a second where that does not read.
const GIVING_BACK: Duration = Duration::from_secs(3);

pub async fn run(attach: Attach, surroundings: &Surroundings) -> Result<u8, Failure> {
    let config = Config::load(surroundings.config.as_ref())?;
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let keys = attach
        .detach_keys
        .or_else(|| config.detach_keys(&attach.name));
    let session = link.id_of(&attach.name).await?;
    let viewing = Viewing {
        name: attach.name,
        ask: Ask {
            session,
            viewer: Uuid::new_v4(),
            read_only: attach.read_only,
            exclusive: attach.exclusive,
            anyway: attach.anyway,
            detach_keys: keys,
            recall: RECALL,
            modes: None,
        },
    };
    viewing.follow(&mut link).await
}

/// One command's look at a session.
struct Viewing {
    /// As the user calls it.
    name: String,
    ask: Ask,
}

/// Why an `attach` is over for the moment.
enum Over {
    Answered(Result<Detached, Failure>),
    /// By this signal; the code to exit with.
    Signalled(u8),
    /// This process is to stop.
    Suspended,
}

impl Viewing {
    async fn follow(mut self, link: &mut Link) -> Result<u8, Failure> {
        let mut guard = Guard::take()?;
        self.ask.modes = Some(guard.modes());
        let mut signals = Signals::catch().map_err(|e| no_signals(&e))?;
        loop {
            let over = self.look(link, &mut guard, &mut signals).await;
            // What it gets once, and takes from others once.
            (self.ask.recall, self.ask.exclusive) = (0, false);
            match over {
                // Without a code the program has begun anew.
                Over::Answered(Ok(detached)) => {
                    if let Some(code) = self.detached(&detached) {
                        return Ok(code);
                    }
                }
                Over::Answered(Err(failure)) if failure.code == ErrorCode::BrokerUnreachable => {
                    guard.waits();
                    tokio::select! {
                        found = link.find_again(failure) => found?,
                        code = signals.next() => return Ok(code),
                    };
                }
                Over::Answered(Err(failure)) => {
                    // One that refuses has not taken it; a session that ends may have.
                    if failure.code != ErrorCode::BrokerStopping {
                        guard.is_back();
                    }
                    return Err(failure);
                }
                Over::Signalled(code) => return Ok(code),
                Over::Suspended => {
                    guard.take_back();
                    // What the shell expects of a job that is told to stop.
                    let _ = raise(Signal::SIGSTOP);
                    guard.again();
                }
            }
        }
    }

    /// Hands the terminal over until it is given back.
    async fn look(&self, link: &mut Link, guard: &mut Guard, signals: &mut Signals) -> Over {
        let windows = signal(SignalKind::window_change());
        let stops = signal(SignalKind::from_raw(Signal::SIGTSTP as i32));
        let (mut windows, mut stops) = match (windows, stops) {
            (Ok(windows), Ok(stops)) => (windows, stops),
            (Err(error), _) | (_, Err(error)) => return Over::Answered(Err(no_signals(&error))),
        };
        let request = Request::Attach(Box::new(self.ask.clone()));
        guard.is_away();
        let asked = link
            .client()
            .ask_with(request, guard.terminal.as_fd())
            .await;
        let id = match asked {
            Ok(id) => id,
            Err(failure) => return Over::Answered(Err(failure)),
        };
        let mut leaving = None;
        let mut by = Instant::now();
        loop {
            let request = tokio::select! {
                next = link.client().next(id) => match next {
                    Ok(Incoming::Event(_)) => continue,
                    Ok(Incoming::Answer(Ok(Reply::Detached(detached)))) => {
                        guard.is_back();
                        return leaving.unwrap_or(Over::Answered(Ok(detached)));
                    }
                    Ok(Incoming::Answer(Ok(other))) => {
                        return Over::Answered(Err(unexpected(&other)));
                    }
                    Ok(Incoming::Answer(Err(failure))) | Err(failure) => {
                        return leaving.unwrap_or(Over::Answered(Err(failure)));
                    }
                },
                // It hangs.
                () = sleep_until(by), if leaving.is_some() => {
                    return leaving.unwrap_or(Over::Suspended);
                }
                _ = windows.recv() => Request::Resized {
                    session: self.ask.session.clone(),
                    viewer: self.ask.viewer,
                },
                code = signals.next() => {
                    if leaving.is_some() {
                        return Over::Signalled(code);
                    }
                    (leaving, by) = (Some(Over::Signalled(code)), Instant::now() + GIVING_BACK);
                    self.leave()
                }
                _ = stops.recv(), if leaving.is_none() => {
                    (leaving, by) = (Some(Over::Suspended), Instant::now() + GIVING_BACK);
                    self.leave()
                }
            };
            if let Err(failure) = link.client().ask(request).await {
                return leaving.unwrap_or(Over::Answered(Err(failure)));
            }
        }
    }

    fn leave(&self) -> Request {
        Request::Detach {
            session: self.ask.session.clone(),
            viewer: Some(self.ask.viewer),
        }
    }

    /// Says why it is over; the exit code, or `None` when it goes on.
    fn detached(&self, detached: &Detached) -> Option<u8> {
        let name = plain(&self.name);
        let (said, code) = match detached.reason {
            DetachReason::Restarted => return None,
            DetachReason::Keys | DetachReason::Asked => (format!("detached from {name}"), 0),
            DetachReason::Replaced => (format!("detached from {name} by another client"), 0),
            DetachReason::Killed => (format!("{name} was killed"), 10),
            DetachReason::Stopped => ("the broker was stopped".to_owned(), 11),
            DetachReason::Gone => ("the terminal is gone".to_owned(), 1),
            DetachReason::Exited => {
                let exit = detached.exit.unwrap_or_default();
                (format!("{name} has ended: {exit}"), exit.shell())
            }
        };
        say(&format!("[{said}]\n"));
        Some(code)
    }
}

fn no_signals(error: &io::Error) -> Failure {
    Failure::new(ErrorCode::Internal, format!("no signals: {error}"))
}

/// The terminal as it was, for as long as somebody else has it.
struct Guard {
    /// Of its own where that can be had: the broker does not block on it, and shells share theirs.
    terminal: OwnedFd,
    /// It is shared with the shell, and was without this flag.
    shared: bool,
    before: Termios,
    /// Whether a broker has it.
    away: bool,
}

impl Guard {
    /// Takes the terminal of this process.
    ///
    /// # Errors
    /// [`ErrorCode::NoTerminal`].
    fn take() -> Result<Self, Failure> {
        let none = |why: String| {
            Failure::new(ErrorCode::NoTerminal, why)
                .hint("what is on the screen: clsess capture NAME; to type: clsess type NAME TEXT")
        };
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Err(none(
                "attach needs a terminal, and stdin is none".to_owned(),
            ));
        }
        let unusable = |error: io::Error| none(format!("the terminal cannot be used: {error}"));
        let before = tcgetattr(&stdin).map_err(|errno| unusable(errno.into()))?;
        let own = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags((OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits())
            .open(OF_STDIN);
        let (terminal, shared) = match own {
            Ok(own) => (own.into(), false),
            // Of another user, after `su`: what was inherited has to do.
            Err(_) => (stdin.as_fd().try_clone_to_owned().map_err(unusable)?, true),
        };
        let mut guard = Self {
            terminal,
            shared,
            before,
            away: false,
        };
        guard.again();
        Ok(guard)
    }

    /// As at first, after this process was stopped.
    fn again(&mut self) {
        if self.shared {
            let _ = fcntl(
                &self.terminal,
                FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK),
            );
        }
    }

    /// Its modes, for brokers.
    fn modes(&self) -> TerminalModes {
        TerminalModes {
            input: self.before.input_flags.bits(),
            output: self.before.output_flags.bits(),
            control: self.before.control_flags.bits(),
            local: self.before.local_flags.bits(),
            characters: ByteBuf::from(self.before.control_chars.to_vec()),
        }
    }

    fn is_away(&mut self) {
        self.away = true;
    }

    /// Its modes are as they were; what is on it stays.
    fn restore(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
        if self.shared {
            let _ = fcntl(&self.terminal, FcntlArg::F_SETFL(OFlag::O_RDWR));
        }
    }

    /// While there is no broker nobody reads it, and Ctrl-C must work. What is typed meanwhile is
    /// for the program as it is: no Enter becomes a line feed, and nothing is shown here.
    fn waits(&mut self) {
        let mut modes = self.before.clone();
        cfmakeraw(&mut modes);
        modes.local_flags |= LocalFlags::ISIG;
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &modes);
    }

    /// The broker has given it back.
    fn is_back(&mut self) {
        self.away = false;
    }

    /// It is as it was, whether a broker has given it back or not.
    fn take_back(&mut self) {
        if std::mem::take(&mut self.away) {
            // Not to stdout, which may be a file; and not with what the broker has, which does not wait.
            let own = OpenOptions::new()
                .write(true)
                .custom_flags(OFlag::O_NOCTTY.bits())
                .open(OF_STDIN);
            let _ = match own {
                Ok(mut own) => own.write_all(&undo_unknown()),
                Err(_) => io::stdout().write_all(&undo_unknown()),
            };
        }
        self.restore();
    }
}

/// What gives a terminal back that a broker has left in any state: what is done for a program that
/// has the alternate screen, which a terminal without one takes no notice of, and below everything
/// that may be there.
fn undo_unknown() -> Vec<u8> {
    let mut any = Terminal::new(Size { rows: 24, cols: 80 }, 0);
    let _ = any.feed(b"\x1b[?1049h");
    let mut undo = any.undo();
    undo.extend_from_slice(b"\x1b[999;1H\r\n");
    undo
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.take_back();
    }
}
