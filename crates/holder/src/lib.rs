//! The holder: one small process per live session, which is the parent, the subreaper and the reaper of one agent and
//! the owner of its descriptors.
//!
//! A broker can die, be killed or be upgraded; the holder is what does not. So it has no runtime, one thread, no
//! clock that ticks, and a protocol of three requests that is frozen ([`protocol`]). It lends the agent's pipes to
//! the broker and is then out of the way: what the agent reads and writes never passes through it.
//!
//! The broker starts it with one end of an `AF_UNIX` stream socket pair as descriptor 0, `/dev/null` as 1 and 2, an
//! empty environment, `/` as its directory, and not as the leader of a process group. It is over when the agent and
//! everything that descends from it has been reaped.
//!
//! The rooms: [`protocol`] is what is said; [`descriptors`] passes descriptors over a socket; `control` is the
//! holder's end of that socket; `agent` starts the program; `ending` and `tree` are the timetables of ending it and
//! what it leaves behind, pure and told the time; `holder` is the loop.

mod agent;
mod codec;
mod control;
pub mod descriptors;
mod ending;
mod holder;
pub mod protocol;
mod tree;
mod wire;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd;

/// Everything has been reaped (or, after the bound of patience, given up and reported).
const HELD: i32 = 0;
/// The process could not be made a holder: no `/proc`, no subreaper, no signalfd.
const CANNOT_HOLD: i32 = 1;
/// Descriptor 0 is not the broker's socket: somebody started the holder by hand.
const NOT_A_BROKER: i32 = 2;

/// Makes this process a holder and holds until its agent and all that descends from it is gone; the exit code.
///
/// Call it before anything else in `main`: it closes every descriptor but 0, 1 and 2, whoever owns them, and its
/// signal mask is only the process's while there is one thread.
pub fn run() -> i32 {
    if control_socket().is_err() {
        return NOT_A_BROKER;
    }
    match prepare() {
        Ok((socket, signals)) => {
            holder::hold(socket, signals);
            HELD
        }
        Err(_) => CANNOT_HOLD,
    }
}

/// Takes the soft limit of open files that the broker was started with, if it is given
/// as the argument behind `holder`: the broker's own is higher, and agents are not used
/// to that.
fn limit_descriptors() {
    let limit = std::env::args().nth(2).and_then(|limit| limit.parse().ok());
    if let (Some(soft), Ok((_, hard))) = (limit, getrlimit(Resource::RLIMIT_NOFILE)) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(soft), hard);
    }
}

/// Turns the process that was started into one that can hold.
fn prepare() -> io::Result<(UnixStream, SignalFd)> {
    close_inherited()?;
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

    let socket = control_socket()?;
    socket.set_nonblocking(true)?;
    // The copy is close-on-exec; descriptor 0 was not, and would also keep the socket open.
    unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok((socket, signals))
}

/// The broker's socket, as a close-on-exec copy of descriptor 0.
fn control_socket() -> io::Result<UnixStream> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.local_addr()?; // an error on everything that is not a Unix socket
    Ok(socket)
}

/// Closes what was inherited beyond 0, 1 and 2: the broker's lock, a listener, another session's pipe.
fn close_inherited() -> io::Result<()> {
    let mut open: Vec<RawFd> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        open.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<RawFd>().ok()),
        );
    }
    for number in open.into_iter().filter(|&number| number > 2) {
        // The listing's own descriptor is among them and closed by now: that error is expected.
        let _ = unistd::close(number);
    }
    Ok(())
}
