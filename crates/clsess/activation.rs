//! The socket that systemd made, listens on and hands to `broker run`: sd_listen_fds(3).
//!
//! No agent hears of it: all that a broker starts has an environment made from nothing,
//! and the descriptor is close-on-exec.

use std::ffi::OsStr;
use std::os::unix::net::UnixListener;
use std::path::Path;

use clsess_proto::{ErrorCode, Failure};
use listenfd::ListenFd;

/// The listener that this process was started with, if it was. To be asked once, before
/// there is any thread.
///
/// # Errors
/// [`ErrorCode::UnsafePath`] for more than one, or what is no Unix stream socket.
pub fn inherited() -> Result<Option<UnixListener>, Failure> {
    let var = std::env::var_os;
    let (pid, count) = (var("LISTEN_PID"), var("LISTEN_FDS"));
    if !is_for(std::process::id(), pid.as_deref(), count.as_deref())? {
        return Ok(None);
    }
    let taken = ListenFd::from_env().take_unix_listener(0);
    taken.map_err(|e| failure(&format!("what systemd hands over is of no use: {e}")))
}

/// Whether a descriptor was meant for this process. The variables are inherited by
/// whatever the one starts that they were meant for: the number tells.
fn is_for(own: u32, pid: Option<&OsStr>, count: Option<&OsStr>) -> Result<bool, Failure> {
    let number = |text: Option<&OsStr>| text?.to_str()?.parse::<u32>().ok();
    if number(pid) != Some(own) {
        return Ok(false);
    }
    match number(count) {
        Some(1) => Ok(true),
        _ => {
            let count = count.unwrap_or_default();
            let message = format!("LISTEN_FDS is {count:?}; a broker takes one socket");
            Err(failure(&message))
        }
    }
}

/// Two sockets were named.
pub fn another_socket(named: &Path, inherited: &Path) -> Failure {
    let (named, inherited) = (named.display(), inherited.display());
    failure(&format!(
        "the broker is to listen on {named}, and was handed {inherited}"
    ))
}

fn failure(message: &str) -> Failure {
    Failure::new(ErrorCode::UnsafePath, message).hint(
        "one ListenStream= in the socket's unit, and neither -S nor CLSESS_SOCKET in the service's",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_for_this_process_is_taken() {
        let check = |pid: Option<&str>, count: Option<&str>| {
            is_for(42, pid.map(OsStr::new), count.map(OsStr::new)).map_err(|f| f.message)
        };
        assert_eq!(check(Some("42"), Some("1")), Ok(true));
        for other in [None, Some(""), Some("41"), Some("x")] {
            assert_eq!(check(other, Some("1")), Ok(false), "{other:?}");
            assert_eq!(check(other, Some("7")), Ok(false), "{other:?}");
        }
        for count in [None, Some(""), Some("0"), Some("2"), Some("-1"), Some("x")] {
            assert!(check(Some("42"), count).is_err(), "{count:?}");
        }
    }
}
