//! The holder: one small process per live session, which is the parent, the subreaper and the reaper of one agent and
//! the owner of its descriptors.
//!
//! A broker can die, be killed or be upgraded; the holder is what does not. So it has no runtime, one thread, no
//! clock that ticks, and a protocol of four requests that is frozen ([`protocol`]). It lends the agent's pipes to
//! the broker and is then out of the way: what the agent reads and writes never passes through it.
//!
//! The broker starts it with a listening `AF_UNIX` stream socket as descriptor 0, to which it has connected already,
//! `/dev/null` as 1 and 2, perhaps a socket to keep as 3 ([`run`]), an empty environment, and not as the leader of a
//! process group. When that broker has gone, the next one connects to the same socket. The holder is over when the agent and everything
//! that descends from it has been reaped, and there is nothing that a broker would still want to know.
//!
//! 15 to 99 ms after its broker has gone, and if none has come, it starts what brings another one: by then whoever
//! waits for a broker has started one, and not all holders do it at once.
//!
//! The rooms: [`protocol`] is what is said; [`descriptors`] passes descriptors over a socket; `control` is the
//! holder's end of that socket; `agent` starts the program, and `terminal` one with a terminal; `ending` and `tree` are the timetables of ending it and
//! what it leaves behind, pure and told the time; `holder` is the loop.

mod agent;
mod codec;
mod control;
pub mod descriptors;
mod ending;
mod holder;
pub mod protocol;
mod terminal;
mod tree;
mod wire;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::os::unix::net::UnixListener;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use nix::sys::stat::{Mode, umask};
use nix::unistd;

/// Everything has been reaped (or, after the bound of patience, given up and reported).
const HELD: i32 = 0;
/// The process could not be made a holder: no `/proc`, no subreaper, no signalfd.
const CANNOT_HOLD: i32 = 1;
/// Descriptor 0 is not a broker's socket: somebody started the holder by hand.
const NOT_A_BROKER: i32 = 2;

/// What is kept beside 0, 1 and 2 when an argument says so, and not used: a socket with a port that the agent knows, so
/// that no other user can have it while no broker listens there.
const PORT: RawFd = 3;

/// Makes this process a holder and holds until its agent and all that descends from it is gone; the exit code.
///
/// Arguments behind `holder`: the soft limit of open files for the agent, or `-`; and `port` if descriptor 3 is to be kept.
///
/// Call it before anything else in `main`: it closes every other descriptor but 0, 1 and 2, whoever owns them, and its
/// signal mask is only the process's while there is one thread.
pub fn run() -> i32 {
    if listener().is_err() {
        return NOT_A_BROKER;
    }
    match prepare() {
        Ok((listener, signals)) => {
            holder::hold(listener, signals);
            HELD
        }
        Err(_) => CANNOT_HOLD,
    }
}

/// Takes the soft limit of open files that the broker was started with, if it is given
/// as the argument behind `holder`: the broker's own is higher, and agents are not used
/// to that.
fn limit_descriptors() {
    let limit = std::env::args().nth(2);
    let limit = limit.and_then(|limit| limit.parse().ok());
    if let (Some(soft), Ok((_, hard))) = (limit, getrlimit(Resource::RLIMIT_NOFILE)) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(soft), hard);
    }
}

/// Turns the process that was started into one that can hold.
fn prepare() -> io::Result<(UnixListener, SignalFd)> {
    let keeps_port = std::env::args().nth(3).is_some_and(|word| word == "port");
    close_inherited(if keeps_port { PORT } else { 2 })?;
    if keeps_port {
        let port = descriptors::borrowed(PORT, &());
        fcntl(port, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    unistd::chdir("/")?; // or it would keep the broker's file system busy
    limit_descriptors();
    // It fails only for the leader of a process group, which already is apart from the broker's signals.
    let _ = unistd::setsid();
    umask(Mode::from_bits_truncate(0o077));
    prctl::set_child_subreaper(true)?;
    let _ = prctl::set_name(c"clsess-holder");

    // A signal that is blocked waits, even one that whoever started us had us ignore; only SIGCHLD needs more.
    let mask = SigSet::from_iter([
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ]);
    mask.thread_block()?;
    descriptors::default_sigchld()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;

    let listener = listener()?;
    listener.set_nonblocking(true)?;
    // The copy is close-on-exec; descriptor 0 was not, and would also keep the socket open.
    unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok((listener, signals))
}

/// The socket that brokers connect to, as a close-on-exec copy of descriptor 0.
fn listener() -> io::Result<UnixListener> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.local_addr()?; // an error on everything that is not a Unix socket
    if getsockopt(&listener, AcceptConn)? {
        Ok(listener)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// Closes what was inherited beyond the descriptor `last`: the broker's lock, a listener, another session's pipe.
fn close_inherited(last: RawFd) -> io::Result<()> {
    let mut open: Vec<RawFd> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        open.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<RawFd>().ok()),
        );
    }
    for number in open.into_iter().filter(|&number| number > last) {
        // The listing's own descriptor is among them and closed by now: that error is expected.
        let _ = unistd::close(number);
    }
    Ok(())
}
