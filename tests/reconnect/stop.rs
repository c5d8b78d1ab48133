//! `broker stop` after a death: nothing runs when it returns 0.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{World, alive, pid_of, send_signal, until};

/// Sessions whose agents and holders are these processes.
fn sessions(world: &World, names: &[&str]) -> Vec<u32> {
    names.iter().for_each(|name| world.session(name));
    let shown = names.iter().map(|name| world.show(name));
    let pids = shown.flat_map(|shown| [pid_of(&shown["pid"]), pid_of(&shown["holder_pid"])]);
    pids.collect()
}

/// Nothing is there, and nothing comes back.
fn is_stopped(world: &World, pids: &[u32]) {
    assert!(
        pids.iter().all(|pid| !alive(*pid)),
        "{:?}",
        world.processes()
    );
    world.clsess(&["broker", "status"]).run().fails(11);
    // Holders may have begun to start a broker.
    until("nothing is left", || world.processes().is_empty());
    world.clsess(&["broker", "status"]).run().fails(11);
}

#[test]
fn the_agents_of_a_broker_that_has_died_are_stopped() {
    let Some((world, _)) = World::fake(json!({})) else {
        return;
    };
    for _ in 0..3 {
        let pids = sessions(&world, &["one", "two", "three"]);
        send_signal(world.broker(), Signal::SIGKILL);
        let done = world.clsess(&["broker", "stop"]).run().ok();
        assert_eq!((done.text(), done.stderr.as_str()), ("", ""));
        is_stopped(&world, &pids);
        world.clsess(&["kill", "--all"]).run().ok();
    }
}

#[test]
fn so_are_those_that_nobody_starts_a_broker_for() {
    let Some((world, _)) = World::fake(json!({})) else {
        return;
    };
    let pids = sessions(&world, &["work"]);
    for _ in 0..4 {
        world.kill_broker();
    }
    send_signal(world.broker(), Signal::SIGKILL);
    until("it is left to people", || {
        let done = world.clsess(&["ls"]).run();
        done.stderr.contains("has died 5 times")
    });
    assert!(pids.iter().all(|pid| alive(*pid)));
    world.clsess(&["broker", "stop"]).run().ok();
    is_stopped(&world, &pids);
}

#[test]
fn so_is_one_that_nobody_holds() {
    let Some(mut world) = World::bare() else {
        return;
    };
    // It does not look at its stdin, which ends with its holder.
    world.ready_agent("sleep 1000");
    let pids = sessions(&world, &["work"]);
    world
        .clsess(&["send", "--no-wait", "work", "hi"])
        .run()
        .ok();
    world.wait_state("work", "working");
    let (agent, holder) = (pids[0], pids[1]);
    let broker = world.broker();
    // None of them sees the other one die.
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        send_signal(broker, signal);
        send_signal(holder, signal);
    }
    until("they are gone", || !alive(broker) && !alive(holder));
    assert!(alive(agent));
    world.clsess(&["broker", "stop"]).run().ok();
    is_stopped(&world, &pids);
}

#[test]
fn where_nothing_lives_nothing_is_started() {
    let Some((world, _)) = World::fake(json!({})) else {
        return;
    };
    let pids = sessions(&world, &["work"]);
    world.kill_everything();
    let before = world.log();
    let done = world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(done.stderr, "clsess: no broker is running\n");
    assert_eq!(world.log(), before);
    is_stopped(&world, &pids);
}

#[test]
fn agents_that_cannot_be_stopped_are_told_of() {
    let Some((world, _)) = World::fake(json!({})) else {
        return;
    };
    sessions(&world, &["work"]);
    let mode = |mode| fs::set_permissions(world.runtime(), Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    send_signal(world.broker(), Signal::SIGKILL);
    let said = world.clsess(&["broker", "stop"]).run().fails(11).stderr;
    let expected = "clsess: no broker runs, but 1 agent of one that has died: the broker cannot be \
                    started: ";
    assert!(said.starts_with(expected), "{said}");
    mode(0o700);
}

/// A holder has begun to start a broker; another one took its agent up, and was stopped since.
#[test]
fn a_holder_that_comes_too_late_starts_none() {
    let Some(world) = World::bare() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    world.clsess(&["broker", "stop"]).run().ok();
    let late = ["broker", "start", "--again", "--held", "--quiet"];
    world.clsess(&late).run().ok();
    assert!(world.processes().is_empty());
    world.clsess(&["broker", "start"]).run().ok();
    let broker = world.broker();
    send_signal(broker, Signal::SIGKILL);
    until("it is gone", || !alive(broker));
    world.clsess(&late).run().ok();
    assert_ne!(world.broker(), broker);
}
