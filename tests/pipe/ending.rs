//! What becomes of turns and sessions when something ends.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::Piped;
use crate::harness::World;

/// A turn whose answer is held.
fn held(world: &World, pipe: &mut Piped) {
    world
        .api
        .rule("hang", json!([{"text": "late", "hold": "h"}]));
    pipe.send("hang");
    world.api.wait_hold("h", 1);
}

/// The names of all sessions.
fn names(world: &World) -> Vec<Value> {
    let ls = world.clsess(&["ls", "--json"]).run().ok().json();
    let sessions = ls["sessions"].as_array().unwrap();
    sessions.iter().map(|row| row["name"].clone()).collect()
}

/// How the turns of the session have ended.
fn outcomes(world: &World) -> Vec<Value> {
    let log = world.clsess(&["log", "--json", "work"]).run().ok();
    let turns = log.json_lines();
    turns.iter().map(|turn| turn["outcome"].clone()).collect()
}

#[test]
fn shutdown_ends_what_the_pipe_has_begun() {
    let Some(world) = World::real() else { return };
    let mut pipe = Piped::begin(&world, &["-A", "work"]);
    assert_eq!(names(&world), ["work"]);
    held(&world, &mut pipe);
    pipe.send("behind it");
    world.wait_queued("work", 1);
    pipe.say(json!({"cmd": "shutdown"}));
    let (rest, done) = pipe.wait();
    let codes: Vec<_> = rest.iter().map(|line| &line["code"]).collect();
    assert_eq!(codes, ["interrupted", "cancelled"]);
    assert_eq!(done.code, 0);
    let resume = "to take it up again: clsess new work -c";
    assert!(done.stderr.contains(resume), "{}", done.stderr);
    assert_eq!(names(&world), [""; 0]);
    assert_eq!(world.api.prompts(0), ["hang"]);
}

#[test]
fn shutdown_leaves_a_session_that_was_there() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let agent = world.agent("work");
    let mut pipe = Piped::begin(&world, &["-A", "work"]);
    held(&world, &mut pipe);
    // Of somebody else.
    let other = world.clsess(&["send", "work", "other"]).spawn();
    world.wait_queued("work", 1);
    pipe.say(json!({"cmd": "shutdown", "id": "bye"}));
    assert_eq!(pipe.error(), "interrupted");
    assert_eq!(pipe.next(), json!({"type": "ok", "id": "bye"}));
    assert_eq!(pipe.wait().1.fails(0).stderr, "");
    assert_eq!(other.wait().ok().text(), "you said: other\n");
    assert_eq!(world.agent("work"), agent);
    assert_eq!(outcomes(&world), ["interrupted", "completed"]);
}

#[test]
fn at_the_end_of_stdin_all_is_told_and_the_session_stays() {
    let Some(world) = World::real() else { return };
    let mut pipe = Piped::begin(&world, &["-A", "work"]);
    held(&world, &mut pipe);
    pipe.send("behind it");
    pipe.running.end_input();
    world.wait_queued("work", 1);
    world.api.release("h");
    let (_, end) = pipe.turn();
    assert_eq!(end["result"], "late");
    let (_, end) = pipe.turn();
    assert_eq!(end["result"], "you said: behind it");
    assert_eq!(pipe.wait().1.code, 0);
    assert_eq!(world.send("work", "recall"), "hang\nbehind it\n");
}

#[test]
fn a_signal_interrupts_the_turns_and_leaves_the_session() {
    let Some(world) = World::real() else { return };
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut pipe = Piped::begin(&world, &["-A", "work"]);
        held(&world, &mut pipe);
        pipe.send("behind it");
        world.wait_queued("work", 1);
        pipe.running.signal(signal);
        assert_eq!(pipe.wait().1.code, code);
    }
    let twice = ["interrupted", "cancelled"].repeat(2);
    assert_eq!(outcomes(&world), twice);
    assert_eq!(world.send("work", "hi"), "you said: hi\n");
    // While nothing runs.
    let pipe = Piped::begin(&world, &["work"]);
    pipe.running.signal(Signal::SIGTERM);
    assert_eq!(pipe.wait().1.code, 143);
}

#[test]
fn a_pipe_that_is_killed_leaves_its_turns_running() {
    let Some(world) = World::real() else { return };
    let mut pipe = Piped::begin(&world, &["-A", "work"]);
    held(&world, &mut pipe);
    pipe.send("behind it");
    world.wait_queued("work", 1);
    pipe.running.signal(Signal::SIGKILL);
    assert_eq!(pipe.wait().1.code, -9);
    world.api.release("h");
    let last = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(last.text(), "you said: behind it\n");
    assert_eq!(outcomes(&world), ["completed", "completed"]);
}

#[test]
fn restart_ends_what_ran_and_what_waited() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let mut pipe = Piped::begin(&world, &["work"]);
    assert_eq!(pipe.answer("before"), "you said: before");
    held(&world, &mut pipe);
    pipe.send("waits");
    let other = world.clsess(&["send", "work", "other"]).spawn();
    world.wait_queued("work", 2);
    pipe.say(json!({"cmd": "restart"}));
    pipe.send("recall");
    assert_eq!(pipe.error(), "restarted");
    assert_eq!(pipe.error(), "cancelled");
    assert_eq!(pipe.next(), json!({"type": "restarted"}));
    // What is of others waits, as with `clsess restart`.
    assert_eq!(other.wait().ok().text(), "you said: other\n");
    let (_, end) = pipe.turn();
    assert_eq!(end["result"], "other");
    assert_eq!(world.api.prompts(0), ["before", "hang", "other", "recall"]);
    // At once, over and over.
    for _ in 0..2 {
        pipe.say(json!({"cmd": "restart"}));
    }
    for _ in 0..2 {
        assert_eq!(pipe.next(), json!({"type": "restarted"}));
    }
}

#[test]
fn a_session_that_is_killed_is_told_and_can_be_made_again() {
    let Some(world) = World::real() else { return };
    let mut pipe = Piped::begin(&world, &["-A", "work"]);
    held(&world, &mut pipe);
    world.clsess(&["kill", "work"]).run().ok();
    assert_eq!(pipe.error(), "killed");
    pipe.send("hello");
    let error = pipe.expect("error");
    assert_eq!(error["message"], "there is no session work");
    assert_eq!(error["code"], "no_such_session");
    // The next one is of another conversation, which is known by then.
    assert_eq!(pipe.answer("recall"), "(nothing earlier)");
}

#[test]
fn a_broker_that_is_stopped_ends_the_turn_and_not_the_pipe() {
    let Some(world) = World::real() else { return };
    let mut pipe = Piped::begin(&world, &["-A", "work"]);
    held(&world, &mut pipe);
    pipe.send("behind it");
    world.wait_queued("work", 1);
    world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(pipe.error(), "broker_stopping");
    assert_eq!(pipe.error(), "broker_stopping");
    assert_eq!(pipe.answer("hi"), "you said: hi");
}

#[test]
fn a_name_that_changes_changes_nothing() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let mut pipe = Piped::begin(&world, &["work"]);
    world.clsess(&["rename", "work", "play"]).run().ok();
    assert_eq!(pipe.answer("hi"), "you said: hi");
    assert_eq!(world.show("play")["turns"], 1);
}

#[test]
fn what_cannot_begin_says_so() {
    let Some(world) = World::real() else { return };
    let fails = |args: &[&str], exit: i32, code: &str| {
        let done = world.clsess(&[&["pipe"], args].concat()).run().fails(exit);
        let error = done.json();
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!(code))
        );
        let said = format!("clsess: {}\n", error["message"].as_str().unwrap());
        assert!(done.stderr.starts_with(&said), "{}", done.stderr);
    };
    fails(&["work"], 3, "no_such_session");
    fails(&["--model", "opus", "work"], 2, "bad_request");
    world.clsess(&["new", "shell", "--", "cat"]).run().ok();
    fails(&["shell"], 2, "not_an_agent");
    fails(&["-A", "shell"], 2, "not_an_agent");
    let dir = world.root().join("untrusted");
    std::fs::create_dir(&dir).unwrap();
    let untrusted = ["-A", "-c", dir.to_str().unwrap(), "work"];
    fails(&untrusted, 1, "untrusted_directory");
    let trusted = [&["--trust"], &untrusted[..]].concat();
    let mut pipe = Piped::begin(&world, &trusted);
    assert_eq!(pipe.answer("hi"), "you said: hi");
}
