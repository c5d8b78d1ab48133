//! Sleep and wake: after a time at rest, and where there is no room for one more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::thread::sleep;
use std::time::{Duration, Instant};

use harness::{World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::json;

/// The time at rest after which sessions of these tests fall asleep.
const IDLE_SLEEP: Duration = Duration::from_millis(400);

fn world_that_sleeps() -> Option<World> {
    let world = World::real()?;
    world.config("[defaults]\nidle_sleep = '400ms'\n");
    Some(world)
}

/// The session has rested, had it been at rest.
fn would_sleep() {
    sleep(IDLE_SLEEP * 2);
}

/// Has an agent that is stopped fall asleep; its process.
fn stopped_while_it_falls_asleep(world: &World) -> u32 {
    world.session("work");
    world.send("work", "remember me");
    let agent = world.agent("work");
    send_signal(agent, Signal::SIGSTOP);
    until("it falls asleep", || {
        world.show("work")["detail"] == "falls asleep"
    });
    assert_eq!(world.show("work")["state"], "idle");
    agent
}

#[test]
fn a_session_at_rest_falls_asleep_and_wakes_with_its_context() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    world.session("work");
    world.send("work", "remember me");
    let (rests, agent) = (Instant::now(), world.agent("work"));
    world.wait_state("work", "asleep");
    assert!(rests.elapsed() >= IDLE_SLEEP / 2);
    assert!(!alive(agent));
    assert_eq!(world.processes().len(), 1, "only the broker is left");
    let shown = world.show("work");
    assert_eq!(
        (&shown["pid"], &shown["last_error"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(world.send("work", "recall"), "remember me\n");
    // `new -A` wakes it too, and who only looks does not.
    world.wait_state("work", "asleep");
    world.clsess(&["new", "-A", "work"]).run().ok();
    let agent = world.agent("work");
    until("it falls asleep", || {
        world.clsess(&["log", "work"]).run().ok();
        !alive(agent)
    });
    world.wait_state("work", "asleep");
    assert_eq!(world.send("work", "recall"), "remember me\nrecall\n");
}

#[test]
fn whoever_sends_meanwhile_wakes_it_again() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    let agent = stopped_while_it_falls_asleep(&world);
    let send = world.clsess(&["send", "--on-busy", "fail", "work", "recall"]);
    let send = send.spawn();
    world.wait_state("work", "restarting");
    send_signal(agent, Signal::SIGCONT);
    assert_eq!(send.wait().ok().text(), "remember me\n");
    // A stronger reason for the end wins.
    world.wait_state("work", "asleep");
    world.clsess(&["kill", "work"]).run().ok();
    assert_eq!(world.processes().len(), 1);
}

#[test]
fn a_restart_meanwhile_is_a_restart() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    let agent = stopped_while_it_falls_asleep(&world);
    let restart = world.clsess(&["restart", "work"]).spawn();
    world.wait_state("work", "restarting");
    send_signal(agent, Signal::SIGCONT);
    restart.wait().ok();
    assert_eq!(world.send("work", "recall"), "remember me\n");
}

#[test]
fn nothing_that_works_asks_or_has_background_work_falls_asleep() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    world
        .clsess(&["new", "--agent-arg=--allowedTools=Bash", "work"])
        .run()
        .ok();
    let agent = world.agent("work");
    // It works.
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    would_sleep();
    world.api.release("h");
    assert_eq!(slow.wait().ok().text(), "late\n");
    // It asks.
    let input = json!({"file_path": world.project().join("new"), "content": "x"});
    let tool = json!({"tool": {"name": "Write", "input": input}});
    world
        .api
        .rule("write", json!([{"blocks": [tool]}, {"text": "written"}]));
    let write = ["send", "--on-question", "wait", "work", "write"];
    let write = world.clsess(&write).spawn();
    world.wait_state("work", "question");
    would_sleep();
    world.clsess(&["approve", "work"]).run().ok();
    assert_eq!(write.wait().ok().text(), "written\n");
    // It has work in the background, and is idle.
    let go = world.project().join("go");
    let command = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    let input = json!({"command": command, "run_in_background": true});
    let tool = json!({"tool": {"name": "Bash", "input": input}});
    world
        .api
        .rule("begin", json!([{"blocks": [tool]}, {"text": "begun"}]));
    world.api.ask(json!({
        "cmd": "rule", "match": null, "kind": "notification", "respond": [{"text": "unasked"}]
    }));
    assert_eq!(world.send("work", "begin"), "begun\n");
    world.wait_state("work", "idle");
    assert_eq!(world.show("work")["background"], 1);
    would_sleep();
    assert_eq!(world.agent("work"), agent);
    // And then it has none.
    std::fs::write(&go, "").unwrap();
    world.wait_state("work", "asleep");
    assert_eq!(world.show("work")["turns"], 4, "what it did unasked is one");
}

#[test]
fn a_broker_that_dies_meanwhile_is_followed_by_one_that_knows() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    let agent = stopped_while_it_falls_asleep(&world);
    let send = ["send", "--no-wait", "work", "recall"];
    world.clsess(&send).run().ok();
    send_signal(world.broker(), Signal::SIGKILL);
    world.wait_state("work", "restarting");
    send_signal(agent, Signal::SIGCONT);
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "remember me\n");
    let shown = world.show("work");
    assert_eq!(shown["last_error"], json!(null), "that was no accident");
}

#[test]
fn an_agent_that_is_gone_when_the_next_broker_comes_has_slept() {
    let Some(world) = world_that_sleeps() else {
        return;
    };
    let agent = stopped_while_it_falls_asleep(&world);
    world
        .clsess(&["send", "--no-wait", "work", "recall"])
        .run()
        .ok();
    let (broker, holder) = (world.broker(), world.show("work")["holder_pid"].clone());
    send_signal(broker, Signal::SIGSTOP);
    send_signal(agent, Signal::SIGCONT);
    until("it sleeps", || !alive(agent));
    // It waits for its broker, to say how the agent has ended.
    let holder = u32::try_from(holder.as_u64().unwrap()).unwrap();
    send_signal(holder, Signal::SIGKILL);
    send_signal(broker, Signal::SIGKILL);
    // Nothing is held back, as it would be after the death of the machine.
    until("another broker has run it", || {
        let result = world.clsess(&["result", "work"]).run();
        result.code == 0 && result.text() == "remember me\n"
    });
}
