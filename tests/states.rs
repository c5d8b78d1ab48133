//! States that take an agent out of the ordinary: stalled, limited by the provider, not logged
//! in, at work in the background; and what waits meanwhile. `ls`, `show`, `wait` and the events
//! are held to each other in `events/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::time::{Duration, SystemTime};

use harness::{World, until};
use serde_json::{Value, json};

/// The states that were told of `work` since the beginning. A new name is the mark behind them.
fn told(world: &World, mark: &str) -> Vec<String> {
    world.clsess(&["rename", "work", mark]).run().ok();
    world.clsess(&["rename", mark, "work"]).run().ok();
    let events = world.clsess(&["events", "--since", "0"]).spawn();
    let mut states = Vec::new();
    events.wait_stdout(|out| {
        let lines = out
            .split_inclusive(|b| *b == b'\n')
            .filter(|line| line.ends_with(b"\n"));
        let events = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        let events: Vec<Value> = events.collect();
        states = events
            .iter()
            .filter(|event| event["event"] == "state")
            .map(|event| event["state"].as_str().unwrap().to_owned())
            .collect();
        events.iter().any(|event| event["name"] == mark)
    });
    states
}

#[test]
fn an_agent_that_gives_no_byte_is_called_stalled_and_left_alone() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.config("[defaults]\nstall_after = '300ms'\n");
    world.session("work");
    agent.rule(
        "slow",
        json!([{"delta": "Half"}, {"hold": "h"}, {"delta": " of it"}]),
    );
    let send = world.clsess(&["send", "work", "slow"]).spawn();
    agent.wait_hold("h", 1);
    world.wait_state("work", "stalled");
    assert_eq!(world.show("work")["detail"], "no byte for a while");
    assert!(send.runs());
    agent.release("h");
    assert_eq!(send.wait().ok().text(), "Half of it\n");
    world.clsess(&["wait", "work"]).run().ok();
    let states = told(&world, "one");
    assert_eq!(states[..4], ["starting", "idle", "working", "stalled"]);
    // What comes at once with the end is one change.
    assert!(
        states[4..] == ["idle"] || states[4..] == ["working", "idle"],
        "{states:?}"
    );
    // Silence counts from the prompt, not from the last turn.
    agent.rule("quick", json!([{"mark": "quick"}]));
    world.send("work", "quick");
    assert_eq!(
        told(&world, "two")
            .iter()
            .filter(|state| *state == "stalled")
            .count(),
        1
    );
}

#[test]
fn a_question_is_no_silence() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.config("[defaults]\nstall_after = '300ms'\n");
    world.session("work");
    agent.rule(
        "ask",
        json!([{"ask": {"tool": "Write", "input": {"file_path": "/x"}}}]),
    );
    let send = world
        .clsess(&["send", "--on-question", "wait", "work", "ask"])
        .spawn();
    world.wait_state("work", "question");
    let change = ["wait", "--for", "change", "--timeout", "600ms", "work"];
    world.clsess(&change).run().fails(124);
    world.clsess(&["approve", "work"]).run().ok();
    send.wait().ok();
}

#[test]
fn an_agent_that_never_says_that_it_is_ready_again_is_started_again_for_who_waits() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.config("[defaults]\nstall_after = '500ms'\n");
    world.session("work");
    agent.add(json!({"once": true, "match": "first", "steps": [
        {"say": "first"}, {"result": {}}, {"lifecycle": "completed"}, "no_more",
    ]}));
    assert_eq!(world.send("work", "first"), "first\n");
    // Nobody waits: it is only said.
    world.wait_state("work", "stalled");
    assert_eq!(world.send("work", "second"), "you said: second\n");
    assert_eq!(agent.told("started").len(), 2);
}

#[test]
fn a_limit_that_the_provider_names_is_told_and_waited_for() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let resets = (now + Duration::from_secs(3)).as_secs();
    agent.add(json!({"once": true, "match": "limited", "steps": [
        {"rate_limit": {"status": "rejected", "resetsAt": resets, "rateLimitType": "five_hour"}},
        {"error": {"kind": "rate_limited", "retries": false}},
    ]}));
    let send = [
        "send",
        "--on-limit",
        "wait",
        "-o",
        "json",
        "work",
        "limited",
    ];
    let send = world.clsess(&send).spawn();
    world.wait_state("work", "rate-limited");
    let told = world.show("work");
    let until =
        humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(resets));
    let detail = told["detail"].as_str().unwrap();
    // To the second: what is left was counted in milliseconds.
    assert_eq!(detail[..22], format!("until {until}")[..22], "{detail}");
    // A prompt that does not wait for limits is tried, and shows nothing about the limit by
    // failing otherwise.
    agent.rule(
        "other",
        json!([{"error": {"kind": "server", "retries": false}}]),
    );
    world.clsess(&["send", "work", "other"]).run().fails(1);
    let report = send.wait().ok().json();
    assert_eq!(report["answer"], "you said: limited");
    let end = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    assert!(end.as_secs() >= resets, "it did not wait");
    let wires: Vec<Value> = agent
        .inputs()
        .iter()
        .filter_map(|line| line.get("uuid").cloned())
        .collect();
    assert_eq!(wires.len(), 3);
    assert_eq!(wires[0], report["turn"]);
    assert_ne!(wires[2], report["turn"], "the agent runs no uuid twice");
    world.clsess(&["wait", "work"]).run().ok();
    assert_eq!(world.show("work")["state"], "idle");
}

#[test]
fn who_is_not_logged_in_is_told_so_until_it_works() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.add(json!({"once": true, "match": "early", "steps": [{"error": "not_logged_in"}]}));
    world.clsess(&["send", "work", "early"]).run().fails(8);
    world.wait_state("work", "login-needed");
    // It is ready for all that: nothing runs.
    world.clsess(&["wait", "work"]).run().ok();
    world.send("work", "later");
    world.wait_state("work", "idle");
}

#[test]
fn work_in_the_background_is_told() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.rule(
        "go",
        json!([
            {"background": 2}, {"say": "begun"}, {"result": {}}, {"lifecycle": "completed"},
            {"hold": "h"}, {"background": 0}, {"state": "idle"}, "no_more",
        ]),
    );
    assert_eq!(world.send("work", "go"), "begun\n");
    agent.wait_hold("h", 1);
    let shown = world.show("work");
    assert_eq!(
        (&shown["state"], &shown["background"]),
        (&json!("working"), &json!(2))
    );
    assert_eq!(shown["detail"], "2 background tasks");
    world
        .clsess(&["send", "--on-busy", "fail", "work", "hi"])
        .run()
        .fails(5);
    agent.release("h");
    until("idle", || world.show("work")["state"] == "idle");
    assert!(world.show("work").get("background").is_none());
}

#[test]
fn what_cannot_start_is_an_event_too() {
    let Some(world) = World::bare() else { return };
    world.clsess(&["new", "work"]).run().fails(1);
    let events = world.clsess(&["events", "--since", "0"]).spawn();
    events.wait_stdout(|out| String::from_utf8_lossy(out).contains(r#""event":"error""#));
}
