//! The agent: how it is started, and what the holder keeps of it.
//!
//! With pipes it is started with `posix_spawn` and not with std's `Command`, which hands the caller's signal mask on to the
//! child: an agent of a holder, which blocks SIGTERM to read it from a descriptor, could not be ended by SIGTERM.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::{Mode, SFlag, stat, umask};
use nix::unistd::{AccessFlags, Pid, access, chdir};

use crate::protocol::{
    Exit, Failed, INBOX, MASTER, NOTES, OUTBOX, PIPE_READ, PIPE_WRITE, PIPES, Reply, Start,
    TERMINAL, TERMINAL_OUTPUT, Window,
};
use crate::terminal;

/// The agent's process, and what is lent to brokers.
pub(crate) struct Agent {
    pub(crate) pid: Pid,
    pub(crate) start_time: u64,
    /// How it exited, once it has been reaped: from then on its pid may be anybody's.
    pub(crate) exit: Option<Exit>,
    /// What is lent, with its number: the broker's ends of what the agent reads and writes, and the files. Kept so that
    /// a later broker can go on where this one stopped.
    ends: Vec<(u8, OwnedFd)>,
}

impl Agent {
    /// Starts it, in steps so that the error names what is wrong: a failed exec says "not found" of a program, its
    /// interpreter and a directory alike.
    pub(crate) fn start(start: Start) -> Result<Self, Failed> {
        if ![PIPES, TERMINAL, TERMINAL_OUTPUT].contains(&start.stdio) {
            return Err(failed("stdio", Errno::ENOTSUP, "no such kind of stdio"));
        }
        let (stdio, window) = (start.stdio, start.window);
        let program = zero_ended("program", start.program)?;
        let cwd = zero_ended("cwd", start.cwd)?;
        let mut args = zero_ended_list("arguments", start.args)?;
        if args.is_empty() {
            args.push(program.clone());
        }
        let env = zero_ended_list("environment", assignments(start.env)?)?;

        // The directory and the mask of new files are inherited: the holder takes them for the moment of the spawn,
        // which it can because it has one thread.
        enter(&cwd).map_err(|errno| failed("cwd", errno, &cwd.to_string_lossy()))?;
        let mask = umask(Mode::from_bits_truncate(start.umask));
        let agent = check_program(&program)
            .map_err(|errno| failed("program", errno, &program.to_string_lossy()))
            .and_then(|()| {
                let spawned = match stdio {
                    TERMINAL => terminal::spawn(&program, &args, &env, window),
                    TERMINAL_OUTPUT => spawn(&program, &args, &env, Some(window)),
                    _ => spawn(&program, &args, &env, None),
                };
                spawned.map_err(|errno| failed("spawn", errno, &program.to_string_lossy()))
            });
        umask(mask);
        let _ = chdir("/"); // or the holder would keep the directory's file system busy
        agent
    }

    /// The one that was just spawned.
    pub(crate) fn new(pid: Pid, ends: Vec<(u8, OwnedFd)>) -> Self {
        Self {
            pid,
            // It is our child and not reaped: its file is there, be it dead already.
            start_time: start_time(pid).unwrap_or(0),
            exit: None,
            ends,
        }
    }

    /// The reply that tells of it.
    pub(crate) fn started(&self) -> Reply {
        Reply::Started {
            pid: self.pid.as_raw().unsigned_abs(),
            start_time: self.start_time,
        }
    }

    /// What is lent.
    pub(crate) fn ends(&self) -> (Vec<u8>, Vec<BorrowedFd<'_>>) {
        let ends = self.ends.iter();
        ends.map(|(number, end)| (*number, end.as_fd())).unzip()
    }

    /// Closes the holder's copy of the agent's stdin: it would keep the end of input from the agent. A terminal is hung
    /// up instead, as it is when its window is closed: it has no end of input, and shells ignore SIGTERM.
    pub(crate) fn close_stdin(&mut self) {
        self.ends.retain(|(number, _)| *number != 0);
        if self.ends.iter().any(|(number, _)| *number == MASTER) {
            self.signal(Signal::SIGHUP);
            self.signal(Signal::SIGCONT); // or one that is stopped never hears of it
        }
    }

    /// Its pid, while it is its own.
    pub(crate) fn unreaped(&self) -> Option<Pid> {
        self.exit.is_none().then_some(self.pid)
    }

    /// Signals it, unless it has been reaped.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.unreaped() {
            // Its own child can only refuse when it has changed its user; the timetable goes on to SIGKILL anyway.
            let _ = kill(pid, signal);
        }
    }
}

/// One end of each pipe becomes 0, 1 or 2 of the agent, which loses their close-on-exec; everything else of the
/// holder's is closed by the exec. The holder has `/dev/null` as its own 0, 1 and 2, so that no pipe is one of those.
/// With `output` the agent's 1 is a terminal of that size instead.
fn spawn(
    program: &CString,
    args: &[CString],
    env: &[CString],
    output: Option<Window>,
) -> Result<Agent, Errno> {
    let (stdin, stderr) = (pipe()?, pipe()?);
    let mut more = Vec::new();
    let stdout: (OwnedFd, OwnedFd) = match output {
        None => {
            let (read, write) = pipe()?;
            (read.into(), write.into())
        }
        Some(window) => {
            let (read, write) = pipe()?;
            more.extend([(PIPE_READ, read.into()), (PIPE_WRITE, write.into())]);
            terminal::raw(window)?
        }
    };
    let files_in_memory = [
        (OUTBOX, file(c"clsess-outbox")?),
        (INBOX, file(c"clsess-inbox")?),
        (NOTES, file(c"clsess-notes")?),
    ];
    let theirs: [RawFd; 3] = [
        stdin.0.as_raw_fd(),
        stdout.1.as_raw_fd(),
        stderr.1.as_raw_fd(),
    ];
    let mut files = PosixSpawnFileActions::init()?;
    for (number, end) in (0..).zip(theirs) {
        files.add_dup2(end, number)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?; // one of its own
    attributes.set_sigmask(&SigSet::empty())?;
    // All of them: SIGPIPE is ignored by the Rust runtime, others perhaps by whoever started the broker (nohup does,
    // and a script's `&`), and the agent's tools would inherit that.
    attributes.set_sigdefault(&SigSet::all())?;

    let pid = posix_spawn(program.as_c_str(), &files, &attributes, args, env)?;
    let mut ends: Vec<(u8, OwnedFd)> =
        vec![(0, stdin.1.into()), (1, stdout.0), (2, stderr.0.into())];
    ends.extend(more);
    ends.extend(files_in_memory);
    Ok(Agent::new(pid, ends))
}

/// A file in memory.
pub(crate) fn file(name: &CStr) -> Result<OwnedFd, Errno> {
    memfd_create(name, MFdFlags::MFD_CLOEXEC)
}

/// A pipe whose ends are close-on-exec.
pub(crate) fn pipe() -> Result<(PipeReader, PipeWriter), Errno> {
    io::pipe()
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EMFILE as i32)))
}

fn failed(step: &str, errno: Errno, what: &str) -> Failed {
    Failed {
        errno: (errno as i32).unsigned_abs(),
        step: step.to_owned(),
        message: format!("{what}: {}", errno.desc()),
    }
}

/// The string as the kernel takes it. The message of the error does not tell it: it may be a secret.
fn zero_ended(step: &str, bytes: Vec<u8>) -> Result<CString, Failed> {
    CString::new(bytes).map_err(|_| failed(step, Errno::EINVAL, "a zero byte inside"))
}

fn zero_ended_list(step: &str, list: Vec<Vec<u8>>) -> Result<Vec<CString>, Failed> {
    list.into_iter()
        .map(|bytes| zero_ended(step, bytes))
        .collect()
}

/// `NAME=VALUE` for each. A name that is empty or has an equals sign in it would arrive as another one; it is not
/// told either, since who mistakes a value for a name mistakes a secret.
fn assignments(env: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<Vec<u8>>, Failed> {
    if env
        .iter()
        .any(|(name, _)| name.is_empty() || name.contains(&b'='))
    {
        return Err(failed(
            "environment",
            Errno::EINVAL,
            "a name is empty or contains an equals sign",
        ));
    }
    Ok(env
        .into_iter()
        .map(|(name, value)| [name, value].join(&b'='))
        .collect())
}

fn enter(cwd: &CString) -> Result<(), Errno> {
    check_absolute(cwd)?;
    chdir(cwd.as_c_str())
}

fn check_program(program: &CString) -> Result<(), Errno> {
    check_absolute(program)?;
    access(program.as_c_str(), AccessFlags::X_OK)?;
    let status = stat(program.as_c_str())?;
    let is_file = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    if is_file { Ok(()) } else { Err(Errno::EACCES) } // as exec says
}

/// A relative path would be relative to the holder's directory, which means nothing to anybody.
fn check_absolute(path: &CString) -> Result<(), Errno> {
    if path.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// Field 22 of `/proc/PID/stat`. The second field is the program's name in parentheses and can itself contain
/// parentheses and blanks, so fields are counted from the last parenthesis.
fn start_time(pid: Pid) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(22 - 3)?.parse().ok()
}
