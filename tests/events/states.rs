//! The life of a session, as `ls`, `show`, `wait` and the events tell it.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::tools::waits_for;
use crate::harness::{Running, World, send_signal};
use crate::{asks, held, is_state, told, watch};

/// The session is in this state: the events have told it, last of all states, and `ls` and `show`
/// say the same.
#[track_caller]
fn agree(world: &World, watching: &Running, name: &str, state: &str) {
    let events = told(watching, |events| {
        let of_it =
            |event: &&serde_json::Value| event["event"] == "state" && event["session"] == name;
        let last = events.iter().rev().find(of_it);
        last.is_some_and(|last| is_state(last, name, state))
    });
    let told = events
        .iter()
        .rev()
        .find(|event| is_state(event, name, state))
        .unwrap();
    let list = world.clsess(&["ls", "--json"]).run().ok().json();
    let rows = list["sessions"].as_array().unwrap();
    let listed = rows.iter().find(|row| row["name"] == name).unwrap();
    let shown = world.show(name);
    for row in [listed, &shown] {
        assert_eq!(row["state"], state);
        assert_eq!(row["detail"], told["detail"], "{state}");
    }
}

/// `wait --for WHAT` that it is so of already.
#[track_caller]
fn is_so(world: &World, name: &str, what: &str, state: &str) {
    let wait = ["wait", "--json", "--timeout", "30s", "--for", what, name];
    let rows = world.clsess(&wait).run().ok().json();
    assert_eq!(rows["sessions"][0]["state"], state);
}

/// `wait --for WHAT` that it is not so of.
#[track_caller]
fn is_not_so(world: &World, name: &str, what: &str) {
    let wait = ["wait", "--timeout", "50ms", "--for", what, name];
    let done = world.clsess(&wait).run().fails(124);
    assert_eq!(done.stderr, format!("clsess: {name}: not so within 50ms\n"));
}

#[test]
fn all_who_tell_of_a_state_tell_the_same() {
    let Some(world) = World::real() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let watching = watch(&world);
    world.session("work");
    agree(&world, &watching, "work", "idle");
    is_so(&world, "work", "idle", "idle");
    is_not_so(&world, "work", "question");
    is_not_so(&world, "work", "exit");
    is_not_so(&world, "work", "change");

    let send = held(&world, "work");
    agree(&world, &watching, "work", "working");
    is_not_so(&world, "work", "idle");
    is_not_so(&world, "work", "question");
    world.api.release("h");
    send.wait().ok();
    is_so(&world, "work", "idle", "idle");
    agree(&world, &watching, "work", "idle");

    asks(&world, "write");
    let send = ["send", "--on-question", "wait", "work", "write"];
    let send = world.clsess(&send).spawn();
    is_so(&world, "work", "question", "question");
    agree(&world, &watching, "work", "question");
    is_not_so(&world, "work", "idle");
    world.clsess(&["approve", "work"]).run().ok();
    send.wait().ok();
    is_so(&world, "work", "idle", "idle");
    agree(&world, &watching, "work", "idle");

    send_signal(world.agent("work"), Signal::SIGKILL);
    is_so(&world, "work", "exit", "asleep");
    agree(&world, &watching, "work", "asleep");
    is_so(&world, "work", "idle", "asleep");

    let send = world.clsess(&["send", "work", "hi"]).spawn();
    send.wait().ok();
    let events = told(&watching, |events| {
        events
            .iter()
            .filter(|event| is_state(event, "work", "starting"))
            .count()
            == 2
    });
    assert!(events.iter().all(|event| event["state"] != "failed"));
    is_so(&world, "work", "idle", "idle");
    agree(&world, &watching, "work", "idle");
}

#[test]
fn a_session_is_limited_while_the_agent_tries_again() {
    let Some(world) = World::real() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let watching = watch(&world);
    world.session("work");
    // it is told when to come back, and waits for that
    let later = json!({"retry-after": "30"});
    let limited = json!([{"status": 429, "message": "told 429", "headers": later}]);
    world.api.rule("limit", limited);
    let send = world.clsess(&["send", "work", "limit"]).spawn();
    agree(&world, &watching, "work", "rate-limited");
    let detail = world.show("work")["detail"].clone();
    let detail = detail.as_str().unwrap();
    assert!(detail.starts_with("rate_limit: try 1 of "), "{detail}");
    is_not_so(&world, "work", "exit");
    world.clsess(&["interrupt", "work"]).run().ok();
    send.wait().fails(10);
    is_so(&world, "work", "idle", "idle");
    agree(&world, &watching, "work", "idle");
}

#[test]
fn a_start_is_told_and_so_is_its_failure() {
    let Some(mut world) = World::bare() else {
        return;
    };
    let go = world.root().join("go");
    world.scripted_agent(&format!(
        "[ \"$1\" = --version ] && {{ echo '2.1.328 (Claude Code)'; exit; }}\n\
         {}\nexit 7",
        waits_for(&go)
    ));
    world.clsess(&["broker", "start"]).run().ok();
    let watching = watch(&world);
    world.clsess(&["new", "--no-wait", "work"]).run().ok();
    agree(&world, &watching, "work", "starting");
    is_not_so(&world, "work", "idle");
    is_not_so(&world, "work", "exit");
    let waiting = world.clsess(&["wait", "work"]).spawn();
    std::fs::write(&go, "").unwrap();
    let waited = waiting.wait().fails(1);
    assert!(waited.stderr.contains("clsess restart work"), "{waited:?}");
    agree(&world, &watching, "work", "failed");
    is_so(&world, "work", "exit", "failed");
}
