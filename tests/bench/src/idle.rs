//! What a broker does when there is nothing to do, and what memory it holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::children::{Owned, pause};
use crate::world::find;

/// What strace may take to be attached.
const ATTACHING: Duration = Duration::from_secs(1);

/// Context switches of all threads of a process, voluntary and not, so far.
fn switches(pid: Pid) -> Result<BTreeMap<String, u64>> {
    let tasks = format!("/proc/{pid}/task");
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
        let task = task?;
        let status = fs::read_to_string(task.path().join("status"))?;
        let counts = status.lines().filter_map(|line| {
            line.split_once("ctxt_switches:")?
                .1
                .trim()
                .parse::<u64>()
                .ok()
        });
        let thread = task.file_name().to_string_lossy().into_owned();
        threads.insert(thread, counts.sum());
    }
    Ok(threads)
}

/// Context switches of a process during a time in which nothing is asked of it.
pub fn switches_of(pids: &[Pid], time: Duration) -> Result<Vec<u64>> {
    let before: Vec<_> = pids
        .iter()
        .map(|pid| switches(*pid))
        .collect::<Result<_>>()?;
    pause(time)?;
    let mut more = Vec::new();
    for (pid, before) in pids.iter().zip(before) {
        let after = switches(*pid)?;
        let new = after
            .iter()
            .map(|(thread, count)| count - before.get(thread).unwrap_or(&0));
        more.push(new.sum());
    }
    Ok(more)
}

/// System calls of processes during a time in which nothing is asked of them; `None` where there
/// is no strace, or it may not.
pub fn syscalls(pids: &[Pid], time: Duration, log: &Path) -> Result<Option<u64>> {
    let Some(strace) = find("strace") else {
        return Ok(None);
    };
    let mut command = Command::new(strace);
    command.args(["-f", "-q", "-ttt", "-o"]).arg(log);
    for pid in pids {
        command.args(["-p", &pid.to_string()]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut tracer = Owned::spawn(&mut command)?;
    pause(ATTACHING)?;
    if tracer.child().try_wait()?.is_some() {
        return Ok(None);
    }
    let attached = fs::read_to_string(log)?.len();
    pause(time)?;
    // Before it lets go, which it logs too.
    let during = fs::read_to_string(log)?.split_off(attached);
    let pid = i32::try_from(tracer.child().id())?;
    kill(Pid::from_raw(pid), Signal::SIGINT)?;
    tracer.wait()?;
    Ok(Some(during.lines().count() as u64))
}

/// What a process holds of memory, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Its share of all.
    pub pss: u64,
    /// Its alone.
    pub private: u64,
}

/// What a process holds of memory.
pub fn memory(pid: Pid) -> Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let sum = |names: &[&str]| {
        let lines = rollup.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(name, _)| names.contains(name))
            .filter_map(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok())
            .sum()
    };
    Ok(Memory {
        pss: sum(&["Pss"]),
        private: sum(&["Private_Clean", "Private_Dirty"]),
    })
}

/// The threads of a process.
pub fn threads(pid: Pid) -> Result<usize> {
    Ok(switches(pid)?.len())
}
