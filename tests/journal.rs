//! What is on disk: plain lines, read again by the next broker, damaged or not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::io::Write;
use std::path::PathBuf;

use harness::{World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// The directory of a session.
fn dir(world: &World, name: &str) -> PathBuf {
    let id = world.show(name)["id"].as_str().unwrap().to_owned();
    world.state().join("default/sessions").join(id)
}

fn lines(dir: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("turns.jsonl")).unwrap();
    let lines = text.lines();
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn a_turn_is_written_before_it_is_sent() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let send = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let dir = dir(&world, "work");
    let before = lines(&dir);
    assert_eq!(before[0]["record"], "queued");
    assert_eq!(before[0]["prompt"], "slow");
    assert_eq!(before[1]["record"], "started");
    assert!(before.iter().all(|line| line["record"] != "ended"));
    world.api.release("h");
    send.wait().ok();
    let after = lines(&dir);
    let last = after.last().unwrap();
    assert_eq!(last["record"], "ended");
    assert_eq!(last["answer"], "late");
    assert_eq!(last["turn"], before[0]["turn"]);
}

#[test]
fn a_torn_line_is_skipped_and_never_overwritten() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one");
    let file = dir(&world, "work").join("turns.jsonl");
    world.clsess(&["broker", "stop"]).run().ok();
    let mut journal = std::fs::File::options().append(true).open(&file).unwrap();
    let torn = "{\"record\":\"queued\",\"turn\":\"0000";
    journal.write_all(torn.as_bytes()).unwrap();
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "you said: one\n");
    assert_eq!(world.send("work", "two"), "you said: two\n");
    world.clsess(&["broker", "stop"]).run().ok();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("\n{torn}\n")), "{text}");
    assert_eq!(world.show("work")["turns"], 2);
    assert_eq!(world.send("work", "recall"), "one\ntwo\n");
}

#[test]
fn a_damaged_session_is_left_alone_and_the_others_are_served() {
    let Some(world) = World::real() else { return };
    for name in ["damaged", "newer", "work"] {
        world.session(name);
    }
    let damaged = dir(&world, "damaged").join("session.json");
    let newer = dir(&world, "newer").join("session.json");
    world.clsess(&["broker", "stop"]).run().ok();
    std::fs::write(&damaged, "{\"version\":1,").unwrap();
    let mut record: Value = serde_json::from_slice(&std::fs::read(&newer).unwrap()).unwrap();
    record["version"] = 2.into();
    std::fs::write(&newer, record.to_string()).unwrap();
    let ls = world.clsess(&["ls", "-F", "#{name}"]).run().ok();
    assert_eq!(ls.text(), "work\n");
    assert_eq!(world.send("work", "hi"), "you said: hi\n");
    assert_eq!(std::fs::read(&damaged).unwrap(), b"{\"version\":1,");
    assert_eq!(std::fs::read_to_string(&newer).unwrap(), record.to_string());
    let log = world.log();
    assert_eq!(log.matches("cannot be taken up").count(), 2, "{log}");
}

#[test]
fn history_bounds_what_is_kept_and_the_sums_go_on() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nhistory = 3\n");
    world.session("work");
    // The file is written anew when there are many more, not each time.
    for n in 0..70 {
        world.send("work", &format!("turn {n}."));
    }
    let result = |turn: &str| world.clsess(&["result", "work", turn]).run();
    let check = || {
        assert_eq!(result("-1").ok().text(), "you said: turn 69.\n");
        assert_eq!(result("-3").ok().text(), "you said: turn 67.\n");
        assert_eq!(world.show("work")["turns"], 70);
    };
    check();
    let sums = |show: Value| (show["usage"].clone(), show["cost_usd"].as_f64().unwrap());
    let (usage, cost) = sums(world.show("work"));
    world.clsess(&["broker", "stop"]).run().ok();
    check();
    let (usage_again, cost_again) = sums(world.show("work"));
    assert_eq!(usage_again, usage);
    assert!((cost_again - cost).abs() < 1e-9);
    let kept = std::fs::read_to_string(dir(&world, "work").join("turns.jsonl")).unwrap();
    assert!(!kept.contains("turn 0."));
}

/// Ends the broker as a crash would.
fn crash(world: &World) {
    let broker = world.broker();
    send_signal(broker, Signal::SIGKILL);
    until("it is gone", || !alive(broker));
}

#[test]
fn a_turn_that_waited_when_the_broker_died_runs_once_with_the_next() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let no_wait = |prompt: &str| {
        let args = ["send", "--no-wait", "work", prompt];
        let done = world.clsess(&args).run().ok();
        done.text().trim().to_owned()
    };
    let slow = no_wait("slow");
    world.api.wait_hold("h", 1);
    let queued = no_wait("queued");
    crash(&world);
    world.api.release("h");
    let result = |turn: &str| world.clsess(&["result", "work", turn]).run();
    assert_eq!(result(&queued).ok().text(), "you said: queued\n");
    assert_eq!(result(&slow).ok().text(), "late\n");
    crash(&world);
    assert_eq!(result(&queued).ok().text(), "you said: queued\n");
    assert_eq!(world.api.prompts(0), ["slow", "queued"]);
}

#[test]
fn a_journal_that_is_written_anew_forgets_no_running_turn() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nhistory = 1\n");
    world.session("work");
    for n in 0..63 {
        world.send("work", &format!("turn {n}."));
    }
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let id = world.clsess(&["send", "--no-wait", "work", "x"]).run().ok();
    let taken_back = world.clsess(&["send", "work", "never"]).spawn();
    world.wait_queued("work", 2);
    taken_back.signal(Signal::SIGINT);
    taken_back.wait().fails(130);
    let journal = std::fs::read_to_string(dir(&world, "work").join("turns.jsonl")).unwrap();
    assert!(!journal.contains("turn 0."), "it was not written anew");
    crash(&world);
    // Its client asks the next broker, by itself.
    world.api.release("h");
    assert_eq!(slow.wait().ok().text(), "late\n");
    let result = world
        .clsess(&["result", "work", id.text().trim()])
        .run()
        .ok();
    assert_eq!(result.text(), "you said: x\n");
    let prompts = world.api.prompts(0);
    assert_eq!(prompts[63..], ["slow", "x"]);
}
