//! An agent whose holder was killed: nobody is its parent any more who would end
//! it, and the next agent must not share its conversation.

use std::collections::HashMap;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use tokio::io::Interest;

use super::reactor;
use crate::lock::{lives, stat_fields};

/// How long the orphans get between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// Between two looks at whether they are gone. They are not our children, so
/// nothing tells us; this runs only after the death of a holder.
const LOOK: Duration = Duration::from_millis(20);

/// A process, named so that a later one of the same number is another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number; 0 is none.
    pub pid: u32,
    /// When it started, in clock ticks since boot: hundredths of a second, as programs see them.
    pub start_time: u64,
}

impl Process {
    /// The one that has this number now.
    #[must_use]
    pub fn now(pid: u32) -> Self {
        let start_time = stat_fields(&pid.to_string()).map_or(0, |stat| stat.start_time);
        Self { pid, start_time }
    }

    /// Whether it runs.
    #[must_use]
    pub fn lives(self) -> bool {
        lives(self.pid, self.start_time)
    }

    /// How long ago it started, to a hundredth of a second; none where that is not known.
    #[must_use]
    pub fn age(self) -> Option<Duration> {
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
        let started = Duration::from_millis(10 * Some(self.start_time).filter(|at| *at > 0)?);
        let uptime = Duration::try_from_secs_f64(uptime).ok()?;
        Some(uptime.saturating_sub(started))
    }

    /// Signals it, if it runs.
    pub fn signal(self, signal: Signal) {
        if let (true, Ok(pid)) = (self.lives(), i32::try_from(self.pid)) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Waits until it has ended. The kernel tells: nothing runs meanwhile.
pub async fn gone(process: Process) {
    let watched = || {
        let pid = rustix::process::Pid::from_raw(i32::try_from(process.pid).ok()?)?;
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
        reactor(pidfd, Interest::READABLE).ok()
    };
    // Looked at after the descriptor is there: then that is of this one, and no later one.
    if let Some(ended) = watched()
        && process.lives()
    {
        let _ = ended.readable().await;
    }
}

/// Ends the agent and all that descends from it as long as it lives.
pub async fn end(agent: Process) {
    if !agent.lives() {
        return;
    }
    let tree = descendants(agent);
    tracing::warn!(
        pid = agent.pid,
        processes = tree.len(),
        "ending the agent of a dead holder"
    );
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        tree.iter().for_each(|process| process.signal(signal));
        let looks = GRACE.as_millis() / LOOK.as_millis();
        for _ in 0..looks {
            if !tree.iter().any(|process| process.lives()) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The process and everything below it.
fn descendants(of: Process) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(stat) = stat_fields(&pid.to_string()) {
            let start_time = stat.start_time;
            let process = Process { pid, start_time };
            children.entry(stat.parent).or_default().push(process);
        }
    }
    let mut found = vec![of];
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        found.extend(children.remove(&process.pid).unwrap_or_default());
        next += 1;
    }
    found
}
