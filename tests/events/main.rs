//! What is told of sessions: `events`, `send -o stream-json`, `log`, `wait`, and that `ls` and `show`
//! say the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../../crates/proto/tests/strict/mod.rs"]
mod strict;

mod log;
mod sse;
mod states;
mod stream;
mod vocabulary;
mod wait;

use harness::{Running, World};
use serde_json::{Value, json};

/// `events` of all sessions, from the first event of this broker on.
fn watch(world: &World) -> Running {
    world.clsess(&["events", "--since", "0"]).spawn()
}

/// The lines that are whole.
fn lines(stdout: &[u8]) -> Vec<Value> {
    let whole = stdout
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    stdout[..whole]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// What has been told when it is so.
fn told(watching: &Running, such: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut events = Vec::new();
    watching.wait_stdout(|stdout| {
        events = lines(stdout);
        such(&events)
    });
    events
}

/// What has been told up to the first event that is so.
fn told_until(watching: &Running, such: impl Fn(&Value) -> bool) -> Vec<Value> {
    told(watching, |events| events.iter().any(&such))
}

fn is(event: &Value, name: &str) -> bool {
    event["event"] == name
}

fn is_state(event: &Value, session: &str, state: &str) -> bool {
    is(event, "state") && event["session"] == session && event["state"] == state
}

fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect()
}

fn seqs(events: &[Value]) -> Vec<u64> {
    let seq = |event: &Value| event["seq"].as_u64().unwrap();
    events.iter().map(seq).collect()
}

#[track_caller]
fn strictly_increasing(events: &[Value]) {
    let wrong = events
        .windows(2)
        .find(|pair| pair[0]["seq"].as_u64() >= pair[1]["seq"].as_u64());
    assert_eq!(wrong, None);
}

/// Answers that stand still after their first words.
fn held_answer(world: &World, prompt: &str) {
    let answer =
        json!([{"text": "half an answer", "delta_bytes": 4, "hold": "h", "hold_after": 2}]);
    world.api.rule(prompt, answer);
}

/// A send whose answer stands still; it has said its first words.
fn held(world: &World, name: &str) -> Running {
    held_answer(world, "slow");
    let send = world.clsess(&["send", name, "slow"]).spawn();
    world.api.wait_hold("h", 1);
    send
}

/// A tool call that needs a permission, and what is said after it.
fn asks(world: &World, prompt: &str) {
    let input = json!({"file_path": world.project().join("new"), "content": "x"});
    let tool = json!({"tool": {"name": "Write", "input": input}});
    let steps = json!([{"blocks": [tool]}, {"text": "after the question"}]);
    world.api.rule(prompt, steps);
}
