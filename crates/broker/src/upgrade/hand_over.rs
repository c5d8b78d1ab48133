//! The old broker's side of the moment itself. It serves nobody now and has one thread that waits.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::trial::Proven;
use super::words::{Go, Word};
use crate::lock::Lock;

/// How long the new broker may take until it serves. It has read everything before. Clients that
/// have lost this broker look for the next one for 10 seconds: one that hangs must be ended, and
/// this one be back, before they give up.
const SERVES_WITHIN: Duration = Duration::from_secs(6);

/// Hands the lock and the listener over; the process that is the broker now.
///
/// # Errors
/// Why it is not; then it is ended, and this process is the broker again.
pub fn hand_over(
    mut proven: Proven,
    go: Go,
    lock: &Lock,
    listener: &OwnedFd,
) -> Result<u32, String> {
    let served = serves(&mut proven, go, lock, listener);
    let pid = proven.candidate.pid();
    match served {
        Ok(()) => {
            proven.candidate.release();
            Ok(pid)
        }
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::UnexpectedEof => "it has died".to_owned(),
                io::ErrorKind::TimedOut => "it hangs".to_owned(),
                _ => error.to_string(),
            };
            if !proven.candidate.end() {
                tracing::error!(pid, "it cannot be ended");
            }
            Err(why)
        }
    }
}

fn serves(proven: &mut Proven, go: Go, lock: &Lock, listener: &OwnedFd) -> io::Result<()> {
    let stderr = io::stderr();
    let descriptors = [lock.as_fd(), listener.as_fd(), stderr.as_fd()];
    proven.words.say(&Word::Go(go), &descriptors)?;
    while !matches!(proven.words.hear(SERVES_WITHIN)?, Word::Serving {}) {}
    Ok(())
}
