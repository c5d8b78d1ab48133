//! The end: of the agent, and of all that descends from it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use clsess_holder::protocol::{Exit, Reply, Request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Holder, MS, exists, parent, program, until};

/// A tool in a session of its own, started by a shell in between; prints the pids of the shell and of the tool.
const TOOL: &str = "bash -c 'echo $$; setsid sleep 1000 & echo $!; wait' &";
/// The same with a tool that does not heed SIGTERM.
const STUBBORN_TOOL: &str =
    "bash -c 'trap \"\" TERM; echo $$; setsid sleep 1000 & echo $!; wait' &";

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

#[test]
fn an_exit_code_is_told() {
    let mut holder = Holder::begin();
    holder.start_script("exit 37");
    holder.ends_unread_with(Exit::Exited(37));
}

#[test]
fn a_signal_is_told() {
    for (name, exit) in [("SEGV", Exit::Signalled(11)), ("KILL", Exit::Signalled(9))] {
        let mut holder = Holder::begin();
        holder.start_script(&format!("kill -{name} $$"));
        holder.ends_unread_with(exit);
    }
}

/// What an agent says when it cannot even begin must not be lost, however slow its broker is to ask for it.
#[test]
fn the_output_of_an_agent_that_exits_at_once_is_kept() {
    let mut holder = Holder::begin();
    holder.start_script("echo no licence >&2; exit 1");
    assert_eq!(holder.hear(), Reply::Exited(Exit::Exited(1)));
    let mut pipes = holder.pipes();
    let mut text = String::new();
    pipes.stderr.read_to_string(&mut text).unwrap();
    assert_eq!(text, "no licence\n");
    assert_eq!(
        holder.hear(),
        Reply::Ended {
            exit: Exit::Exited(1),
            left: false
        }
    );
    holder.exits();
}

#[test]
fn output_that_nobody_wants_is_not_kept() {
    let mut holder = Holder::begin();
    holder.start_script("exit 1");
    assert_eq!(holder.hear(), Reply::Exited(Exit::Exited(1)));
    holder.end(Duration::ZERO);
    assert_eq!(
        holder.hear(),
        Reply::Ended {
            exit: Exit::Exited(1),
            left: false
        }
    );
    holder.exits();
}

/// nix knows no realtime signals, and reports an error instead of the dead one's pid.
#[test]
fn death_by_a_realtime_signal_is_noticed() {
    let mut holder = Holder::begin();
    let agent = holder.start_script(&format!("{TOOL}\nread; kill -40 $$"));
    let mut pipes = holder.pipes();
    let (_, tool) = (pipes.pid(), pipes.pid());
    pipes.write("\n");
    holder.ends_with(Exit::Unknown);
    assert!(!exists(agent) && !exists(tool));
}

#[test]
fn end_before_start_is_the_end() {
    let mut holder = Holder::begin();
    holder.end(10_000 * MS);
    assert_eq!(
        holder.hear(),
        Reply::Ended {
            exit: Exit::Unknown,
            left: false
        }
    );
    holder.exits();
}

#[test]
fn an_idle_agent_ends_by_the_end_of_its_input_alone() {
    let mut holder = Holder::begin();
    holder.start_script("trap 'exit 9' TERM; cat; exit 3");
    drop(holder.pipes());
    holder.end(10_000 * MS);
    holder.ends_with(Exit::Exited(3));
}

/// The broker's own copy of the input is still open: then SIGTERM ends, after half of the grace.
#[test]
fn a_busy_agent_gets_sigterm_after_half_of_the_grace() {
    let mut holder = Holder::begin();
    holder.start(program("/bin/cat", &["cat"]));
    let _pipes = holder.pipes();
    let began = Instant::now();
    holder.end(400 * MS);
    assert_eq!(holder.hear(), Reply::Exited(Exit::Signalled(15)));
    assert!(
        began.elapsed() >= 200 * MS && began.elapsed() < 400 * MS,
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn now_is_sigterm_at_once() {
    let mut holder = Holder::begin();
    holder.start(program("/bin/cat", &["cat"]));
    let _pipes = holder.pipes();
    let began = Instant::now();
    holder.say(&Request::End {
        grace_ms: 10_000,
        now: true,
    });
    holder.ends_with(Exit::Signalled(15));
    assert!(began.elapsed() < 1_000 * MS, "{:?}", began.elapsed());
}

#[test]
fn a_second_end_makes_it_sooner() {
    let mut holder = Holder::begin();
    holder.start_script("trap '' TERM; echo ready; while :; do sleep 1000; done");
    assert_eq!(holder.pipes().line(), "ready");
    let began = Instant::now();
    holder.end(60_000 * MS);
    holder.say(&Request::End {
        grace_ms: 100,
        now: true,
    });
    holder.ends_with(Exit::Signalled(9));
    assert!(
        began.elapsed() >= 100 * MS && began.elapsed() < 10_000 * MS,
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn an_agent_that_ignores_sigterm_is_killed_when_the_grace_is_over() {
    let mut holder = Holder::begin();
    let agent = holder
        .start_script("trap '' TERM; echo ready; sleep 1000 & echo $!; while :; do wait; done");
    let mut pipes = holder.pipes();
    assert_eq!(pipes.line(), "ready");
    let child = pipes.pid();
    let began = Instant::now();
    holder.end(300 * MS);
    assert_eq!(holder.hear(), Reply::Exited(Exit::Signalled(9)));
    assert!(began.elapsed() >= 300 * MS, "{:?}", began.elapsed());
    // Its child ignores SIGTERM too, and gets its own half second.
    assert_eq!(
        holder.hear(),
        Reply::Ended {
            exit: Exit::Signalled(9),
            left: false
        }
    );
    assert!(began.elapsed() >= 800 * MS, "{:?}", began.elapsed());
    assert!(!exists(agent) && !exists(child));
    holder.exits();
}

#[test]
fn a_tool_in_its_own_session_does_not_survive_end() {
    let mut holder = Holder::begin();
    holder.start_script(&format!("{TOOL}\nexec cat"));
    let mut pipes = holder.pipes();
    let (shell, tool) = (pipes.pid(), pipes.pid());
    signal(shell, Signal::SIGKILL);
    until("the tool is the holder's", || {
        parent(tool) == Some(holder.pid())
    });
    pipes.close_stdin();
    holder.end(10_000 * MS);
    holder.ends_with(Exit::Exited(0));
    assert!(!exists(shell) && !exists(tool));
}

#[test]
fn a_tool_in_its_own_session_does_not_survive_the_agent() {
    let mut holder = Holder::begin();
    let agent = holder.start_script(&format!("{TOOL}\nexec cat"));
    let mut pipes = holder.pipes();
    let (shell, tool) = (pipes.pid(), pipes.pid());
    signal(agent, Signal::SIGKILL);
    holder.ends_with(Exit::Signalled(9));
    assert!(!exists(shell) && !exists(tool));
}

/// Exited comes at once, Ended when the tree is gone, and between the two the holder still answers.
#[test]
fn a_stubborn_tree_is_killed_layer_by_layer() {
    let mut holder = Holder::begin();
    let agent = holder.start_script(&format!("{STUBBORN_TOOL}\nexec cat"));
    let mut pipes = holder.pipes();
    let (shell, tool) = (pipes.pid(), pipes.pid());
    let began = Instant::now();
    signal(agent, Signal::SIGKILL);
    assert_eq!(holder.hear(), Reply::Exited(Exit::Signalled(9)));
    assert!(began.elapsed() < 400 * MS, "{:?}", began.elapsed());
    assert_eq!(holder.lend().len(), 6);
    assert!(exists(tool));
    assert_eq!(
        holder.hear(),
        Reply::Ended {
            exit: Exit::Signalled(9),
            left: false
        }
    );
    assert!(began.elapsed() >= 500 * MS, "{:?}", began.elapsed());
    assert!(!exists(shell) && !exists(tool));
    holder.exits();
}

#[test]
fn a_tree_that_grows_while_it_is_ended_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hydra");
    // For a second, whoever is asked to end leaves another behind.
    let script = "#!/bin/bash
        trap 'if [[ $(date +%s%N) < $UNTIL ]]; then setsid \"$0\" & fi; exit' TERM
        export UNTIL=${UNTIL:-$(date +%s%N -d '1 second')}
        echo $$
        while :; do sleep 1000 & wait $!; done";
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();

    let mut holder = Holder::begin();
    let agent = holder.start_script(&format!("{} & exec cat", file.display()));
    let mut pipes = holder.pipes();
    let first = pipes.pid();
    signal(agent, Signal::SIGKILL);
    holder.ends_with(Exit::Signalled(9));
    let mut others = String::new();
    pipes.stdout.read_to_string(&mut others).unwrap();
    let all = others
        .lines()
        .map(|pid| pid.parse().unwrap())
        .chain([first]);
    assert!(all.into_iter().all(|pid| !exists(pid)));
}

#[test]
fn when_the_broker_goes_before_start_the_holder_goes() {
    let mut holder = Holder::begin();
    holder.hang_up();
    holder.exits();
}

#[test]
fn sigterm_ends_like_end() {
    let mut holder = Holder::begin();
    holder.start_script(&format!("{TOOL}\ncat; exit 4"));
    let mut pipes = holder.pipes();
    let (_, tool) = (pipes.pid(), pipes.pid());
    drop(pipes);
    signal(holder.pid(), Signal::SIGTERM);
    holder.ends_with(Exit::Exited(4));
    assert!(!exists(tool));
}
