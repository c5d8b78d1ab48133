//! An agent with a terminal.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::Pid;
use portable_pty::{CommandBuilder, PtyPair, PtySize, native_pty_system};

use crate::agent::{Agent, file, pipe};
use crate::descriptors::borrowed;
use crate::protocol::{INBOX, MASTER, NOTES, PIPE_READ, PIPE_WRITE, Window};

/// Starts it as the leader of a session whose terminal is a new one of this size. The directory and the mask of new
/// files are the holder's at this moment.
///
/// The argument 0 is the program's path: portable-pty knows no other.
pub(crate) fn spawn(
    program: &CString,
    args: &[CString],
    env: &[CString],
    window: Window,
) -> Result<Agent, Errno> {
    let (pty, master) = open_terminal(window)?;
    let (read, write) = pipe()?;
    let ends = vec![
        (MASTER, master),
        (PIPE_READ, OwnedFd::from(read)),
        (PIPE_WRITE, OwnedFd::from(write)),
        (INBOX, file(c"clsess-inbox")?),
        (NOTES, file(c"clsess-notes")?),
    ];
    let mut command = CommandBuilder::new(OsStr::from_bytes(program.as_bytes()));
    command.args(
        args.iter()
            .skip(1)
            .map(|arg| OsStr::from_bytes(arg.as_bytes())),
    );
    command.env_clear();
    for assignment in env {
        let mut parts = assignment.as_bytes().splitn(2, |byte| *byte == b'=');
        let (name, value) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
    }
    command.cwd(std::env::current_dir().map_err(io_errno)?);
    let child = pty.slave.spawn_command(command).map_err(errno)?;
    let pid = child.process_id().and_then(|pid| i32::try_from(pid).ok());
    // The child is not waited for through portable-pty: the holder reaps all of its children itself.
    let pid = pid.ok_or(Errno::ECHILD)?;
    Ok(Agent::new(Pid::from_raw(pid), ends))
}

/// A terminal that changes no byte that is written to it, and is nobody's controlling terminal: its master and its other
/// end.
pub(crate) fn raw(window: Window) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (pty, master) = open_terminal(window)?;
    let name = pty.master.tty_name().ok_or(Errno::ENOTTY)?;
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let other = open(&name, flags, Mode::empty())?;
    let mut modes = tcgetattr(&other)?;
    cfmakeraw(&mut modes);
    tcsetattr(&other, SetArg::TCSANOW, &modes)?;
    Ok((master, other))
}

fn open_terminal(window: Window) -> Result<(PtyPair, OwnedFd), Errno> {
    let size = PtySize {
        rows: window.rows,
        cols: window.cols,
        pixel_width: window.width,
        pixel_height: window.height,
    };
    let pty = native_pty_system().openpty(size).map_err(errno)?;
    let master = pty.master.as_raw_fd().ok_or(Errno::EBADF)?;
    let master = borrowed(master, &pty.master);
    let master = master.try_clone_to_owned().map_err(io_errno)?;
    Ok((pty, master))
}

/// The number of an error of portable-pty's.
fn errno(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Errno {
    let error = error.into();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32));
        }
        cause = error.source();
    }
    Errno::EIO
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn io_errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))
}
