//! `log`: the turns of a session.

use serde_json::{Value, json};

use nix::sys::signal::Signal;

use crate::harness::{World, send_signal};
use crate::{held, lines};

fn log(world: &World, args: &[&str]) -> Vec<Value> {
    let args = [&["log", "--json"], args].concat();
    world.clsess(&args).run().ok().json_lines()
}

fn prompts(turns: &[Value]) -> Vec<&str> {
    turns
        .iter()
        .map(|turn| turn["prompt"].as_str().unwrap())
        .collect()
}

#[test]
fn the_turns_are_listed_oldest_first() {
    let Some(world) = World::real() else { return };
    world.session("work");
    assert_eq!(log(&world, &["work"]), [] as [Value; 0]);
    world.api.answer("first", "one\ntwo");
    world
        .api
        .rule_repeat("bad", json!([{"status": 400, "message": "told 400"}]));
    world.send("work", "first");
    world.clsess(&["send", "work", "bad"]).run().fails(1);
    world.send("work", "last");

    let turns = log(&world, &["work"]);
    assert_eq!(prompts(&turns), ["first", "bad", "last"]);
    let outcomes: Vec<_> = turns.iter().map(|turn| turn["outcome"].clone()).collect();
    assert_eq!(outcomes, ["completed", "failed", "completed"]);
    assert_eq!(turns[0]["answer"], "one\ntwo");
    assert_eq!(turns[1]["error"]["code"], "agent_error");
    let at = |turn: &Value| turn["at"].as_u64().unwrap();
    assert!(turns.windows(2).all(|pair| at(&pair[0]) < at(&pair[1])));
    for turn in &turns {
        assert!(turn["duration_ms"].is_u64(), "{turn}");
        let id = turn["turn"].as_str().unwrap();
        assert_eq!(log(&world, &["work", id]), std::slice::from_ref(turn));
        assert_eq!(
            log(&world, &["work", &id[..13]]),
            std::slice::from_ref(turn)
        );
    }
    assert_eq!(log(&world, &["work", "-1"]), turns[2..]);
    assert_eq!(log(&world, &["work", "-3"]), turns[..1]);
    assert_eq!(log(&world, &["-n", "2", "work"]), turns[1..]);
    assert_eq!(log(&world, &["-n", "9", "work"]), turns);
    assert_eq!(log(&world, &["-n", "0", "work"]), [] as [Value; 0]);
    world.clsess(&["log", "work", "-4"]).run().fails(3);
    world.clsess(&["log", "nobody"]).run().fails(3);

    // for people
    let text = world.clsess(&["log", "-n", "3", "work"]).run().ok();
    let turns_told: Vec<&str> = text.text().split_terminator("\n\n").collect();
    assert_eq!(turns_told.len(), 3, "{text:?}");
    assert!(turns_told[0].ends_with("> first\n  one\n  two"), "{text:?}");
    assert!(
        turns_told[1].contains("! API Error: 400 told 400"),
        "{text:?}"
    );

    // by its id when it is killed
    let id = world.show("work")["id"].as_str().unwrap().to_owned();
    world.clsess(&["kill", "work"]).run().ok();
    world.clsess(&["log", "work"]).run().fails(3);
    assert_eq!(log(&world, &[&id]), turns);
    assert_eq!(log(&world, &["-n", "1", &id]), turns[2..]);
    assert_eq!(log(&world, &[&id, "-3"]), turns[..1]);
}

#[test]
fn a_turn_that_runs_or_waits_is_listed_as_that() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let running = held(&world, "work");
    let waiting = world.clsess(&["send", "work", "later"]).spawn();
    world.wait_queued("work", 1);
    let turns = log(&world, &["work"]);
    assert_eq!(prompts(&turns), ["slow", "later"]);
    let outcomes: Vec<_> = turns.iter().map(|turn| turn["outcome"].clone()).collect();
    assert_eq!(outcomes, ["running", "queued"]);
    world.api.release("h");
    running.wait().ok();
    waiting.wait().ok();
}

#[test]
fn who_follows_gets_each_turn_once_as_it_ends() {
    let Some(world) = World::real() else { return };
    world.session("work");
    for prompt in ["first", "second"] {
        world.send("work", prompt);
    }
    let running = held(&world, "work");
    let all = world.clsess(&["log", "-f", "--json", "work"]).spawn();
    let last = world
        .clsess(&["log", "-f", "-n", "1", "--json", "work"])
        .spawn();
    all.wait_stdout(|stdout| lines(stdout).len() == 2);
    world.api.release("h");
    running.wait().ok();
    all.wait_stdout(|stdout| lines(stdout).len() == 3);
    world.clsess(&["rename", "work", "renamed"]).run().ok();
    world.send("renamed", "last");
    all.wait_stdout(|stdout| lines(stdout).len() == 4);
    let turns = log(&world, &["renamed"]);
    assert_eq!(prompts(&turns), ["first", "second", "slow", "last"]);
    world.clsess(&["kill", "renamed"]).run().ok();
    // they end when nothing more can come
    assert_eq!(all.wait().ok().json_lines(), turns);
    let last = last.wait().ok().json_lines();
    assert_eq!(last.last(), turns.last());
    assert!(turns.ends_with(&last), "{last:?}");
}

#[test]
fn who_follows_goes_on_with_the_next_broker() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "first");
    let follow = world.clsess(&["log", "-f", "--json", "work"]).spawn();
    follow.wait_stdout(|stdout| lines(stdout).len() == 1);
    send_signal(world.broker(), Signal::SIGKILL);
    world.send("work", "second");
    follow.wait_stdout(|stdout| lines(stdout).len() == 2);
    world.clsess(&["kill", "work"]).run().ok();
    let turns = follow.wait().ok().json_lines();
    assert_eq!(prompts(&turns), ["first", "second"]);
}
