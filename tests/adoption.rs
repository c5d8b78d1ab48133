//! What a broker finds of the one before it when not everything is as it should be: holders that do
//! not answer, agents that nobody knows of, turns of which nobody heard the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::os::unix::net::UnixStream;

use harness::fake::FakeAgent;
use harness::{World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn world() -> Option<(World, FakeAgent)> {
    World::fake(json!({}))
}

fn holder(world: &World, session: &str) -> u32 {
    let pid = world.show(session)["holder_pid"].as_u64();
    u32::try_from(pid.unwrap()).unwrap()
}

fn kill_broker(world: &World) {
    let broker = world.broker();
    send_signal(broker, Signal::SIGKILL);
    until("the broker is gone", || !alive(broker));
}

/// A holder listens to whoever connects last: its broker takes it for dead, and serves the others.
#[test]
fn who_connects_to_a_holder_stops_nobody_else() {
    let Some((world, _agent)) = world() else {
        return;
    };
    for session in ["work", "other"] {
        world.session(session);
    }
    let (agent, holder) = (world.agent("work"), holder(&world, "work"));
    // A path that is short enough for a socket.
    let open = std::fs::File::open(world.session_dir("work")).unwrap();
    let path = format!(
        "/proc/self/fd/{}/holder",
        std::os::fd::AsRawFd::as_raw_fd(&open)
    );
    let intruder = UnixStream::connect(path).unwrap();
    until("both are gone", || !alive(agent) && !alive(holder));
    assert_eq!(world.send("other", "one"), "you said: one\n");
    assert_eq!(world.send("work", "two"), "you said: two\n");
    drop(intruder);
}

#[test]
fn a_holder_that_does_not_answer_is_as_good_as_dead() {
    let Some((world, agent)) = world() else {
        return;
    };
    world.session("work");
    agent.rule("slow", json!(["begin", {"hold": "h"}, {"say": "the end"}]));
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    agent.wait_such(1, |event| event["name"] == "h");
    let (pid, holder) = (world.agent("work"), holder(&world, "work"));
    send_signal(holder, Signal::SIGSTOP);
    kill_broker(&world);
    until("another broker has killed it", || !alive(holder));
    world.wait_state("work", "working");
    agent.release("h");
    assert_eq!(running.wait().ok().text(), "the end\n");
    assert!(!alive(pid));
    assert_eq!(world.send("work", "two"), "you said: two\n");
    assert_eq!(agent.prompts(), ["slow", "two"]);
}

#[test]
fn an_idle_agent_whose_holder_does_not_answer_is_left_by_nobody() {
    let Some((world, _agent)) = world() else {
        return;
    };
    world.session("work");
    let (agent, holder) = (world.agent("work"), holder(&world, "work"));
    send_signal(holder, Signal::SIGSTOP);
    kill_broker(&world);
    world.clsess(&["kill", "work"]).run().ok();
    until("both are gone", || !alive(agent) && !alive(holder));
}

/// Nothing waits for a process for ever.
#[test]
fn a_turn_whose_holder_hangs_and_whose_agent_is_dead_ends() {
    let Some((world, agent)) = world() else {
        return;
    };
    world.session("work");
    agent.rule("slow", json!(["begin", {"hold": "h"}]));
    let send = ["send", "--timeout", "1s", "work", "slow"];
    let running = world.clsess(&send).spawn();
    agent.wait_such(1, |event| event["name"] == "h");
    let holder = holder(&world, "work");
    send_signal(holder, Signal::SIGSTOP);
    send_signal(world.agent("work"), Signal::SIGKILL);
    running.wait().fails(124);
    assert_eq!(world.send("work", "two"), "you said: two\n");
    assert!(!alive(holder));
}

#[test]
fn a_session_that_was_being_made_is_made_again() {
    let Some((world, _agent)) = world() else {
        return;
    };
    world.session("work");
    let (agent, dir) = (world.agent("work"), world.session_dir("work"));
    // As if the broker had died before it was on disk.
    let broker = world.broker();
    send_signal(broker, Signal::SIGSTOP);
    std::fs::remove_file(dir.join("session.json")).unwrap();
    send_signal(broker, Signal::SIGKILL);
    until("the broker is gone", || !alive(broker));
    world.clsess(&["ls"]).run().ok();
    until("it is gone", || !alive(agent));
    assert!(!dir.exists());
    world.session("work");
    assert_eq!(world.send("work", "one"), "you said: one\n");
}

/// A broker with few descriptors: whatever fails, nothing runs at the end (the world looks).
#[test]
fn a_start_that_fails_on_its_way_leaves_nothing() {
    let Some((world, _agent)) = world() else {
        return;
    };
    let mut failed = 0;
    for descriptors in 20..60 {
        let start = format!("ulimit -n {descriptors}; clsess broker start");
        if world.shell(&start).spawn().wait().code != 0 {
            continue;
        }
        for session in ["one", "two"] {
            failed += usize::from(world.clsess(&["new", session]).run().code != 0);
        }
        // One that can open nothing more cannot tell who asks; a signal always stops it.
        let lock = std::fs::read(world.state().join("default/lock")).unwrap();
        let lock: Value = serde_json::from_slice(&lock).unwrap();
        let broker = u32::try_from(lock["pid"].as_u64().unwrap()).unwrap();
        send_signal(broker, Signal::SIGTERM);
        until("the broker is gone", || !alive(broker));
        let left = world.processes();
        assert!(left.is_empty(), "{left:?}");
    }
    assert!(failed > 0);
}

#[test]
fn what_waits_since_a_start_failed_runs_for_whoever_sends_it_again() {
    let Some((world, agent)) = world() else {
        return;
    };
    world.session("work");
    send_signal(world.agent("work"), Signal::SIGKILL);
    world.wait_state("work", "asleep");
    agent.add(json!({"on": "start", "once": true, "steps": [{"exit": 3}]}));
    let send = ["send", "--key", "k", "work", "one"];
    let no_wait = ["send", "--no-wait", "--key", "k", "work", "one"];
    world.clsess(&no_wait).run().ok();
    world.wait_state("work", "failed");
    world.wait_queued("work", 1);
    assert_eq!(world.clsess(&send).run().ok().text(), "you said: one\n");
    assert_eq!(agent.prompts(), ["one"]);
}

#[test]
fn what_nobody_waits_for_outlives_a_start_that_fails_at_once() {
    let Some((world, agent)) = world() else {
        return;
    };
    world.session("work");
    send_signal(world.agent("work"), Signal::SIGKILL);
    world.wait_state("work", "asleep");
    let program = world.root().join("bin/claude");
    let away = world.root().join("bin/away");
    std::fs::rename(&program, &away).unwrap();
    world
        .clsess(&["send", "--no-wait", "work", "one"])
        .run()
        .ok();
    world.wait_state("work", "failed");
    world.wait_queued("work", 1);
    std::fs::rename(&away, &program).unwrap();
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "you said: one\n");
    assert_eq!(agent.prompts(), ["one"]);
}

/// What is held since the machine's death is what waited then.
#[test]
fn an_agent_that_dies_some_time_after_a_reboot_holds_nothing_back() {
    let Some((world, agent)) = world() else {
        return;
    };
    world.session("work");
    world.send("work", "one");
    world.clsess(&["broker", "stop"]).run().ok();
    world.reboot();
    assert_eq!(world.send("work", "two"), "you said: two\n");
    agent.add(json!({"match": "slow", "once": true, "steps": ["begin", {"hold": "h"}]}));
    let send = ["send", "--no-wait", "work", "slow"];
    world.clsess(&send).run().ok();
    agent.wait_such(1, |event| event["name"] == "h");
    send_signal(world.agent("work"), Signal::SIGKILL);
    // Nobody asks for it.
    agent.wait_such(2, |event| {
        event["event"] == "turn" && event["prompt"] == "slow"
    });
    world.wait_state("work", "idle");
    assert_eq!(world.show("work")["queue"], 0);
}

/// The machine's death takes the last seconds of the agent's transcript along, but not what clsess
/// has heard of tools.
#[test]
fn a_turn_that_used_a_tool_does_not_run_again_after_a_reboot() {
    let Some((world, agent)) = world() else {
        return;
    };
    world.session("work");
    world.send("work", "one");
    let transcripts = || {
        let found = std::fs::read_dir(world.home().join(".claude/projects")).unwrap();
        let dirs = found.map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap());
        dirs.flatten().map(|file| file.unwrap().path())
    };
    let before: Vec<_> = transcripts()
        .map(|path| (std::fs::read(&path).unwrap(), path))
        .collect();
    let push = json!({"name": "Bash", "input": {"command": "git push"}, "result": "pushed"});
    let steps = json!(["begin", {"tool": push}, {"hold": "h"}]);
    agent.add(json!({"match": "push", "once": true, "steps": steps}));
    world
        .clsess(&["send", "--no-wait", "work", "push"])
        .run()
        .ok();
    agent.wait_such(1, |event| event["name"] == "h");
    until("the broker has heard of it", || {
        let journal =
            std::fs::read_to_string(world.session_dir("work").join("turns.jsonl")).unwrap();
        journal.contains("\"called\":true")
    });
    world.kill_everything();
    for (text, path) in before {
        std::fs::write(path, text).unwrap();
    }
    world.reboot();
    let result = world.clsess(&["result", "work"]).run().fails(9);
    assert!(
        result.stderr.contains("the agent died"),
        "{}",
        result.stderr
    );
    assert_eq!(agent.prompts(), ["one", "push"]);
}
