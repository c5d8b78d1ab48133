//! How turns end otherwise, as far as it is not `send`'s own: see conformance/ending.rs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::{Running, World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::json;

/// A send whose answer stands still after its first words; it has said them.
fn held(world: &World, args: &[&str]) -> Running {
    let answer =
        json!([{"text": "half an answer", "delta_bytes": 4, "hold": "h", "hold_after": 2}]);
    world.api.rule("slow", answer);
    let mut line = vec!["send"];
    line.extend(args);
    line.extend(["work", "slow"]);
    let send = world.clsess(&line).spawn();
    world.api.wait_hold("h", 1);
    send
}

#[test]
fn zero_is_no_timeout_and_the_config_sets_another() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nturn_timeout = '1s'\n");
    world.session("work");
    held(&world, &[]).wait().fails(124);
    world.api.release("h");
    let send = held(&world, &["--timeout", "0"]);
    world.api.release("h");
    assert_eq!(send.wait().ok().text(), "half an answer\n");
}

#[test]
fn an_agent_that_died_idle_is_started_again_by_the_next_prompt() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "remember me");
    world.wait_state("work", "idle");
    let agent = world.agent("work");
    send_signal(agent, Signal::SIGKILL);
    world.wait_state("work", "asleep");
    assert_eq!(
        world.show("work")["last_error"]["message"],
        "the agent died, signal 9"
    );
    assert_eq!(world.send("work", "recall"), "remember me\n");
}

#[test]
fn whoever_only_looks_leaves_the_turn_alone() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let send = held(&world, &[]);
    let looking = world
        .clsess(&["result", "--stream", "always", "work"])
        .spawn();
    looking.wait_stdout(|out| out == b"half an ");
    looking.signal(Signal::SIGINT);
    looking.wait().fails(130);
    world.api.release("h");
    assert_eq!(send.wait().ok().text(), "half an answer\n");
}

#[test]
fn the_death_of_the_holder_is_the_death_of_its_agent() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let agent = world.agent("work");
    world.clsess(&["kill", "work"]).run().ok();
    assert!(!alive(agent));
    world.session("work");
    assert_eq!(world.send("work", "remember me"), "you said: remember me\n");
    let send = held(&world, &[]);
    let holder = world.show("work")["holder_pid"].as_u64().unwrap();
    send_signal(u32::try_from(holder).unwrap(), Signal::SIGKILL);
    let done = send.wait().ok();
    assert_eq!(done.text(), "you said: slow\n");
    assert_eq!(
        done.stderr,
        "clsess: the agent died once in this turn, and another one was given the prompt\n"
    );
    assert!(world.log().contains("how=its holder is gone"));
    let agents = |world: &World| {
        let all = world.processes();
        all.iter()
            .filter(|(_, what)| what.contains("stream-json"))
            .count()
    };
    until("the agent before is gone", || agents(&world) == 1);
    let recalled = world.send("work", "recall");
    assert_eq!(recalled.lines().next(), Some("remember me"), "{recalled}");
    assert_eq!(agents(&world), 1);
}

#[test]
fn an_interrupt_that_the_agent_reads_together_with_the_prompt_ends_the_turn() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "hello");
    let slowly = json!([{"text": "a long answer", "delta_bytes": 1, "delay_ms": 1000}]);
    world.api.rule("slow", slowly);
    let agent = world.agent("work");
    // Stopped before it has said that it is ready again, it would not get the prompt at all.
    world.wait_state("work", "idle");
    send_signal(agent, Signal::SIGSTOP);
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.wait_state("work", "working");
    let next = world.clsess(&["send", "--on-busy=interrupt", "work", "next"]);
    let next = next.spawn();
    world.wait_queued("work", 1);
    send_signal(agent, Signal::SIGCONT);
    slow.wait().fails(10);
    assert_eq!(next.wait().ok().text(), "you said: next\n");
    // It ended the turn by itself, and was not ended for it.
    assert_eq!(world.agent("work"), agent);
}
