//! What descends from the agent: finding it, reaping it, ending it.
//!
//! An agent's tools run in sessions and process groups of their own, so no signal to a group reaches them. But the
//! holder is their subreaper: whatever loses its parent becomes the holder's child. So the tree is ended from its
//! root: end all children, and their children become ours, until there are none.
//!
//! **Why a signal can never hit a stranger.** Only pids of our own children that we have not reaped are signalled. A
//! child that has exited keeps its pid, as a zombie, until its parent reaps it. The parent is this process, its one
//! thread reaps in one place ([`reap`]), and between reading the list of children and signalling them it does not
//! come there. So each pid in the list is still the child's, alive or a zombie, which a signal does not touch.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, gettid};

use crate::protocol::Exit;

/// What a process gets between SIGTERM and SIGKILL.
const ROUND: Duration = Duration::from_millis(500);
/// After this who turns up gets SIGKILL at once: processes are being made faster than they are asked to end.
const ASK_FOR: Duration = Duration::from_millis(2_500);
/// After this the rest is left alone and reported. What a SIGKILL does not end hangs in the kernel, is another
/// user's, or multiplies faster than one thread kills.
const GIVE_UP: Duration = Duration::from_secs(5);
/// How many are reaped before the loop looks at anything else: a fork bomb's dead may never cease to come.
const REAP_AT_ONCE: usize = 256;

/// What reaping has found.
#[derive(Debug)]
pub(crate) struct Reaped {
    /// How the agent exited, if it was among the dead.
    pub(crate) agent: Option<Exit>,
    pub(crate) rest: Rest,
}

/// The children after reaping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// There are none, and nothing can become one: the tree is gone.
    Nobody,
    /// Some live.
    Alive,
    /// Some may wait to be reaped.
    Perhaps,
}

/// Reaps the children that have exited. The only place that does.
pub(crate) fn reap(agent: Option<Pid>) -> Reaped {
    let mut reaped = Reaped {
        agent: None,
        rest: Rest::Perhaps,
    };
    let mut somebody = false;
    for _ in 0..REAP_AT_ONCE {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => reaped.rest = Rest::Alive,
            Err(Errno::ECHILD) => reaped.rest = Rest::Nobody,
            Err(Errno::EINVAL) => somebody = true,
            Ok(status) if agent.is_some() && status.pid() == agent => reaped.agent = exit(status),
            Ok(_) | Err(_) => (),
        }
        if reaped.rest != Rest::Perhaps {
            break;
        }
    }
    if somebody && reaped.agent.is_none() {
        reaped.agent = agent.and_then(lost);
    }
    reaped
}

fn exit(status: WaitStatus) -> Option<Exit> {
    match status {
        WaitStatus::Exited(_, status) => Some(Exit::Exited(status.unsigned_abs())),
        WaitStatus::Signaled(_, signal, _) => Some(Exit::Signalled((signal as i32).unsigned_abs())),
        _ => None, // stops and the like, which are not asked for
    }
}

/// Somebody died of a signal that has no name (a realtime one): nix has reaped it, and reports an error instead of
/// telling whom. Was it the agent?
fn lost(agent: Pid) -> Option<Exit> {
    match waitpid(agent, Some(WaitPidFlag::WNOHANG)) {
        Err(Errno::ECHILD | Errno::EINVAL) => Some(Exit::Unknown),
        status => status.ok().and_then(exit),
    }
}

/// The children of this process, dead ones among them. It can miss some while others are exiting; each of those
/// raises SIGCHLD, and so another look.
pub(crate) fn children() -> Vec<Pid> {
    match fs::read_to_string(format!("/proc/self/task/{}/children", gettid())) {
        Ok(list) => {
            let pids = list
                .split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok());
            pids.map(Pid::from_raw).collect()
        }
        Err(_) => scan(std::process::id()), // a kernel without CONFIG_PROC_CHILDREN
    }
}

/// The same from the parent in every process's `stat`.
fn scan(me: u32) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent(*pid) == Some(me))
        .map(Pid::from_raw)
        .collect()
}

/// The second field behind the last parenthesis, in which the program's name ends.
fn parent(pid: i32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The timetable of ending what is left when the agent has exited. Pure: it is told the time and the children.
///
/// Everyone gets SIGTERM when first seen; at the end of each round everyone gets SIGKILL, and their children a round
/// of their own.
#[derive(Debug)]
pub(crate) struct Clearing {
    began: Instant,
    round_ends: Instant,
    /// Who has had SIGTERM in this round, sorted.
    told: Vec<Pid>,
}

impl Clearing {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            round_ends: now + ROUND,
            told: Vec::new(),
        }
    }

    /// Who of the children gets which signal at `now`.
    pub(crate) fn orders(&mut self, now: Instant, mut children: Vec<Pid>) -> Vec<(Pid, Signal)> {
        let round_is_over = now >= self.round_ends;
        if round_is_over {
            self.round_ends = now + ROUND;
        }
        if round_is_over || now >= self.began + ASK_FOR {
            self.told.clear();
            return children
                .into_iter()
                .map(|pid| (pid, Signal::SIGKILL))
                .collect();
        }
        children.sort_unstable();
        let told = std::mem::replace(&mut self.told, children);
        let untold = self
            .told
            .iter()
            .filter(|pid| told.binary_search(pid).is_err());
        untold.map(|&pid| (pid, Signal::SIGTERM)).collect()
    }

    pub(crate) fn given_up(&self, now: Instant) -> bool {
        now >= self.began + GIVE_UP
    }

    /// When to look again, should no child exit.
    pub(crate) fn deadline(&self) -> Instant {
        self.round_ends.min(self.began + GIVE_UP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(clearing: &mut Clearing, at: Duration, children: &[i32], expected: &[(i32, Signal)]) {
        let children = children.iter().copied().map(Pid::from_raw).collect();
        let orders = clearing.orders(clearing.began + at, children);
        let orders: Vec<(i32, Signal)> = orders
            .into_iter()
            .map(|(pid, signal)| (pid.as_raw(), signal))
            .collect();
        assert_eq!(orders, expected, "at {at:?}");
    }

    const MS: Duration = Duration::from_millis(1);
    use Signal::{SIGKILL as KILL, SIGTERM as TERM};

    #[test]
    fn each_is_asked_once_and_killed_at_the_end_of_the_round() {
        let mut clearing = Clearing::new(Instant::now());
        check(
            &mut clearing,
            Duration::ZERO,
            &[9, 4],
            &[(4, TERM), (9, TERM)],
        );
        check(&mut clearing, 10 * MS, &[9], &[]);
        check(&mut clearing, 20 * MS, &[9, 5], &[(5, TERM)]);
        check(&mut clearing, 500 * MS, &[5, 9], &[(5, KILL), (9, KILL)]);
        check(&mut clearing, 501 * MS, &[12], &[(12, TERM)]);
        check(&mut clearing, 999 * MS, &[12], &[]);
        check(&mut clearing, 1000 * MS, &[12], &[(12, KILL)]);
    }

    #[test]
    fn a_pid_that_was_reused_by_a_new_child_is_asked_again() {
        let mut clearing = Clearing::new(Instant::now());
        check(&mut clearing, Duration::ZERO, &[4], &[(4, TERM)]);
        check(&mut clearing, MS, &[], &[]);
        check(&mut clearing, 2 * MS, &[4], &[(4, TERM)]);
    }

    #[test]
    fn who_keeps_coming_is_not_asked_and_in_the_end_left() {
        let mut clearing = Clearing::new(Instant::now());
        check(&mut clearing, ASK_FOR, &[4], &[(4, KILL)]);
        check(&mut clearing, ASK_FOR + MS, &[5], &[(5, KILL)]);
        assert!(!clearing.given_up(clearing.began + 4_999 * MS));
        assert!(clearing.given_up(clearing.began + GIVE_UP));
        assert!(clearing.deadline() <= clearing.began + GIVE_UP);
    }

    #[test]
    fn both_ways_find_the_same_children() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let (listed, scanned) = (children(), scan(std::process::id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(listed.contains(&pid) && scanned.contains(&pid));
        assert!(!children().contains(&pid) && !scan(std::process::id()).contains(&pid));
    }
}
