//! Many clients at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use harness::World;
use serde_json::{Value, json};

#[test]
fn twenty_sessions_at_once_answer_each_for_itself() {
    let Some(world) = World::real() else { return };
    let script =
        |n| format!("clsess new s{n} && clsess send s{n} I am {n} && clsess send s{n} recall");
    let clients: Vec<_> = (0..20).map(|n| world.shell(&script(n)).spawn()).collect();
    for (n, client) in clients.into_iter().enumerate() {
        let expected = format!("s{n}\nyou said: I am {n}\nI am {n}\n");
        assert_eq!(client.wait().ok().text(), expected);
    }
    let ls = world.clsess(&["ls", "-F", "#{turns}"]).run().ok();
    assert_eq!(ls.text(), "2\n".repeat(20));
    world.clsess(&["kill", "--all"]).run().ok();
    assert_eq!(world.processes().len(), 1);
}

#[test]
fn ls_does_not_wait_for_a_busy_session() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.session("other");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let ls = world.clsess(&["ls", "-F", "#{name} #{state}"]).run().ok();
    assert_eq!(ls.text(), "other idle\nwork working\n");
    assert_eq!(world.send("other", "hi"), "you said: hi\n");
    assert!(slow.runs());
    world.api.release("h");
    slow.wait().ok();
}

/// Writes another session beside one that is written: no agent was ever started for it.
fn copy(first: &Path, number: usize) {
    let mut session: Value =
        serde_json::from_slice(&std::fs::read(first.join("session.json")).unwrap()).unwrap();
    let id = format!("00000000-0000-4000-8000-{number:012}");
    session["name"] = format!("s{number}").into();
    session["id"] = id.as_str().into();
    session["agent_session_id"] = format!("00000000-0000-4000-8001-{number:012}").into();
    session["began"] = false.into();
    let dir = first.with_file_name(id);
    std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
    std::fs::copy(first.join("env"), dir.join("env")).unwrap();
    std::fs::write(dir.join("session.json"), session.to_string()).unwrap();
}

#[test]
fn two_hundred_sessions_have_four_agents() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nmax_warm = 4\n");
    world.session("s0");
    world.send("s0", "I am 0");
    world.clsess(&["broker", "stop"]).run().ok();
    let sessions = world.state().join("default/sessions");
    let mut dirs = std::fs::read_dir(&sessions).unwrap();
    let first = dirs.next().unwrap().unwrap().path();
    (1..200).for_each(|number| copy(&first, number));
    let all = |state: &str| {
        let ls = world.clsess(&["ls", "-F", "#{state}"]).run().ok();
        let states: Vec<&str> = ls.text().lines().collect();
        assert_eq!(states.len(), 200);
        states.iter().filter(|it| **it == state).count()
    };
    assert_eq!(all("asleep"), 200);
    assert_eq!(world.processes().len(), 1, "only the broker");
    for number in 1..=8 {
        let name = format!("s{number}");
        assert_eq!(world.send(&name, "hi"), "you said: hi\n");
        world.wait_state(&name, "idle");
    }
    harness::until("four sleep again", || world.processes().len() == 1 + 2 * 4);
    assert_eq!((all("idle"), all("asleep")), (4, 196));
    assert_eq!(world.send("s0", "recall"), "I am 0\n");
}
