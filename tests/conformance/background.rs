//! What the agent does unasked is no part of an asked turn.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::driver::{Ability, Driver};
use crate::harness::tools::{background_bash, waits_for};
use crate::harness::{Running, World, alive, until};
use crate::turns::usable;

pub fn a_turn_that_nobody_asked_for_is_no_part_of_an_asked_one(driver: &Driver) {
    if !driver.can(Ability::StaysBetweenTurns) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session_with(&world, "work", &["--agent-arg=--allowedTools=Bash"]);
    let go = world.project().join("go");
    let tool = background_bash(&waits_for(&go));
    let begun = json!([{"blocks": [tool]}, {"text": "begun"}]);
    world.api.rule("begin", begun);
    world.api.ask(json!({
        "cmd": "rule", "match": null, "kind": "notification",
        "respond": [{"text": "said unasked", "hold": "n"}]
    }));
    assert_eq!(world.send("work", "begin"), "begun\n");
    std::fs::write(&go, "").unwrap();
    world.api.wait_hold("n", 1);
    assert_eq!(world.show("work")["state"], "working");
    let next = world.clsess(&["send", "work", "next"]).spawn();
    world.wait_queued("work", 1);
    world.api.release("n");
    assert_eq!(next.wait().ok().text(), "you said: next\n");
    usable(&world);
    // What nobody asked for is a turn too.
    assert_eq!(world.show("work")["turns"], 4);
}

/// Rules for a prompt `delegate`: its agent stands still at the hold `sub`, and what is said
/// unasked about its report at `unasked`.
fn delegation(world: &World, last: &Value, agent: &Value) {
    let input = json!({
        "description": "look", "prompt": "look around", "subagent_type": "general-purpose",
        "run_in_background": true
    });
    let tool = json!({"tool": {"name": "Agent", "input": input}});
    let steps = json!([{"blocks": [{"text": "I delegate."}, tool]}, last]);
    world.api.rule("delegate", steps);
    world.api.ask(json!({
        "cmd": "rule", "match": null, "kind": "subagent", "respond": agent
    }));
    let unasked = json!([{"text": "said unasked", "hold": "unasked"}]);
    world.api.ask(json!({
        "cmd": "rule", "match": null, "kind": "notification", "respond": unasked
    }));
}

/// Whose turns the requests are: the prompts, and `unasked`.
fn turns(world: &World) -> Vec<String> {
    let mut turns: Vec<String> = world.api.prompts(0);
    for prompt in &mut turns {
        if prompt.contains("SYSTEM NOTIFICATION") {
            "unasked".clone_into(prompt);
        }
    }
    turns.dedup();
    turns
}

pub fn a_background_agents_report_is_no_part_of_an_answer(driver: &Driver) {
    if !driver.can(Ability::StaysBetweenTurns) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let last = json!({"text": "It runs in the background."});
    delegation(
        &world,
        &last,
        &json!([{"text": "the report", "hold": "sub"}]),
    );
    let done = world.clsess(&["send", "work", "delegate"]).run().ok();
    assert_eq!(done.text(), "It runs in the background.\n");
    assert_eq!(done.stderr, "");
    world.api.wait_hold("sub", 1);
    // One waits as text, one as JSON, and one changes its mind.
    let next = world.clsess(&["send", "--stream", "always", "work", "next"]);
    let next = next.spawn();
    world.wait_queued("work", 1);
    let events = world.clsess(&["send", "-o", "stream-json", "work", "events"]);
    let events = events.spawn();
    world.wait_queued("work", 2);
    let taken = world.clsess(&["send", "work", "taken back"]).spawn();
    world.wait_queued("work", 3);
    taken.signal(Signal::SIGINT);
    taken.wait().fails(130);
    world.api.release("sub");
    world.api.wait_hold("unasked", 1);
    assert_eq!(world.show("work")["queue"], 2);
    world.api.release("unasked");
    assert_eq!(next.wait().ok().text(), "you said: next\n");
    let events = events.wait().ok();
    assert!(!events.text().contains("unasked"), "{}", events.text());
    let last = events.json_lines().pop().unwrap();
    assert_eq!(last["answer"], "you said: events");
    assert_eq!(turns(&world), ["delegate", "unasked", "next", "events"]);
}

pub fn a_report_that_comes_during_the_asked_turn_waits_for_its_end(driver: &Driver) {
    if !driver.can(Ability::StaysBetweenTurns) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let last = json!({"text": "It runs in the background.", "hold": "last", "hold_after": 1});
    delegation(&world, &last, &json!([{"text": "the report"}]));
    let send = world.clsess(&["send", "work", "delegate"]).spawn();
    world.api.wait_hold("last", 1);
    world.api.ask(json!({
        "cmd": "wait_requests", "kind": "subagent", "count": 1, "finished": true,
        "timeout_ms": 60_000
    }));
    let next = world.clsess(&["send", "work", "next"]).spawn();
    world.wait_queued("work", 1);
    world.api.release("last");
    assert_eq!(send.wait().ok().text(), "It runs in the background.\n");
    world.api.wait_hold("unasked", 1);
    world.api.release("unasked");
    assert_eq!(next.wait().ok().text(), "you said: next\n");
    assert_eq!(turns(&world), ["delegate", "unasked", "next"]);
}

pub fn an_interrupted_turns_agent_leaves_nothing_in_the_next_answer(driver: &Driver) {
    if !driver.can(Ability::StaysBetweenTurns) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let last = json!({"text": "It runs in the background.", "hold": "last", "hold_after": 1});
    delegation(
        &world,
        &last,
        &json!([{"text": "the report", "hold": "sub"}]),
    );
    let send = world.clsess(&["send", "work", "delegate"]).spawn();
    world.api.wait_hold("last", 1);
    world.api.wait_hold("sub", 1);
    send.signal(Signal::SIGINT);
    let done = send.wait().fails(130);
    assert_eq!(done.stdout, b"");
    world.api.release("last");
    let next = world.clsess(&["send", "--stream", "always", "work", "next"]);
    let next = next.spawn();
    world.api.release("sub");
    // Whether the client lets the agent go on is its own affair.
    until("the next one is over", || {
        world.api.release("unasked");
        !next.runs()
    });
    assert_eq!(next.wait().ok().text(), "you said: next\n");
}

pub fn a_question_that_nobody_asked_for_is_denied_and_fails_nothing(driver: &Driver) {
    if !driver.can(Ability::StaysBetweenTurns) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let write = world.write("new");
    let last = json!({"text": "It runs in the background."});
    let agent = json!([{"blocks": [write], "hold": "sub"}, {"text": "the report"}]);
    delegation(&world, &last, &agent);
    let args = ["send", "--on-question", "fail", "work", "delegate"];
    let done = world.clsess(&args).run().ok();
    assert_eq!(done.text(), "It runs in the background.\n");
    assert_eq!(done.stderr, "");
    world.api.wait_hold("sub", 1);
    let next = world.clsess(&["send", "--on-question", "fail", "work", "next"]);
    let next = next.spawn();
    world.wait_queued("work", 1);
    world.api.release("sub");
    world.api.wait_hold("unasked", 1);
    world.api.release("unasked");
    let done = next.wait().ok();
    assert_eq!((done.text(), &*done.stderr), ("you said: next\n", ""));
    assert!(!world.project().join("new").exists());
    let requests = world.api.ask(json!({"cmd": "requests", "since": 0}));
    let requests = requests["requests"].as_array().unwrap();
    let told = requests.iter().rfind(|r| r["kind"] == "subagent").unwrap();
    let body = world.api.body(told["index"].as_u64().unwrap()).to_string();
    assert!(
        body.contains("Nobody is there to answer"),
        "it was not asked"
    );
}

/// A prompt whose turn stands still while its background agent asks to write a file.
fn asks_meanwhile(world: &World, options: &[&str]) -> Running {
    let write = world.write("new");
    let last = json!({"text": "It runs in the background.", "hold": "last", "hold_after": 1});
    let agent = json!([{"blocks": [write], "hold": "sub"}, {"text": "the report"}]);
    delegation(world, &last, &agent);
    let args = [&["send"], options, &["work", "delegate"]].concat();
    let send = world.clsess(&args).spawn();
    world.api.wait_hold("last", 1);
    world.api.wait_hold("sub", 1);
    world.api.release("sub");
    send
}

pub fn a_background_agents_question_is_denied_and_told(driver: &Driver) {
    if !driver.can(Ability::StaysBetweenTurns) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let send = asks_meanwhile(&world, &[]);
    world.api.ask(json!({
        "cmd": "wait_requests", "kind": "subagent", "count": 2, "timeout_ms": 60_000
    }));
    world.api.release("last");
    let done = send.wait().ok();
    assert_eq!(done.text(), "It runs in the background.\n");
    let told = done.stderr.strip_prefix("clsess: denied: Write {");
    assert!(
        told.is_some_and(|told| told.lines().count() == 1),
        "{}",
        done.stderr
    );
    world.api.wait_hold("unasked", 1);
    world.api.release("unasked");
    assert!(!world.project().join("new").exists());
}

pub fn a_background_agents_question_ends_the_turn_where_that_is_wanted(driver: &Driver) {
    if !driver.can(Ability::StaysBetweenTurns) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let agent = world.agent("work");
    let send = asks_meanwhile(&world, &["--on-question", "fail"]);
    let done = send.wait().fails(6);
    assert_eq!(done.stdout, b"");
    assert!(alive(agent), "the agent was killed for it");
    world.api.release("last");
    assert!(!world.project().join("new").exists());
}
