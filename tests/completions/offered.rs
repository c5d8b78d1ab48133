//! `clsess complete`, which the shells ask.

use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use super::harness::{PATIENCE, World, send_signal};

/// What is offered for the last word.
fn offered(world: &World, words: &[&str]) -> Vec<String> {
    let done = world.clsess(&[&["complete"], words].concat()).run().ok();
    assert_eq!(done.stderr, "");
    let lines = done.text().lines().filter(|line| *line != "values");
    let value = |line: &str| line.split('\t').next().unwrap().to_owned();
    lines.map(value).collect()
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn sessions_are_offered_where_one_is_meant() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    let config =
        world.config("[session.later]\n[session.work]\n[profile.careful]\n[profile.bold]\n");
    world.session("work");
    world.clsess(&["new", "shell", "--", "cat"]).run().ok();
    for verb in [
        "result",
        "show",
        "capture",
        "type",
        "keys",
        "wait",
        "log",
        "events",
        "queue",
        "interrupt",
        "questions",
        "approve",
        "deny",
        "answer",
        "rename",
        "kill",
        "restart",
    ] {
        assert_eq!(offered(&world, &[verb, ""]), ["shell", "work"], "{verb}");
    }
    // Not twice; not for a new name, a prompt, or what takes no session.
    assert_eq!(offered(&world, &["kill", "work", ""]), ["shell"]);
    assert_eq!(offered(&world, &["rename", "work", ""]), nothing());
    assert_eq!(offered(&world, &["send", "work", ""]), nothing());
    assert_eq!(offered(&world, &["send", "work", "say", ""]), nothing());
    assert!(!offered(&world, &["doctor", ""]).contains(&"work".to_owned()));
    // What the config declares is made on demand.
    for verb in ["send", "attach"] {
        assert_eq!(offered(&world, &[verb, ""]), ["shell", "work", "later"]);
    }
    assert_eq!(offered(&world, &["new", ""]), ["later", "work"]);
    assert_eq!(
        offered(&world, &["new", "--profile", ""]),
        ["bold", "careful"]
    );
    assert_eq!(offered(&world, &["-L", "d"]), ["default"]);
    let config = config
        .to_str()
        .unwrap()
        .replace(world.home().to_str().unwrap(), "~");
    let elsewhere = ["--config", &config, "-L", "other", "send", ""];
    assert_eq!(offered(&world, &elsewhere), ["later", "work"]);
    assert_eq!(offered(&world, &["-L", "no label", "send", ""]), nothing());
    let missing = ["-S", "/tmp/missing.sock", "show", ""];
    assert_eq!(
        offered(&world, &missing),
        ["shell", "work"],
        "the lock says where"
    );
}

#[test]
fn turns_and_questions_are_offered() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one");
    world.send("work", "two");
    let turns = world
        .clsess(&["log", "--json", "work"])
        .run()
        .ok()
        .json_lines();
    let turns: Vec<&str> = turns
        .iter()
        .map(|turn| turn["turn"].as_str().unwrap())
        .collect();
    for verb in ["result", "log"] {
        assert_eq!(offered(&world, &[verb, "work", ""]), [turns[1], turns[0]]);
    }
    let done = world.clsess(&["complete", "log", "work", ""]).run().ok();
    assert!(
        done.text()
            .ends_with(&format!("{}\tcompleted: one\n", turns[0]))
    );

    let write = world.write("file");
    world
        .api
        .rule("write", json!([{"blocks": [write]}, {"text": "done"}]));
    let send = ["send", "--on-question", "wait", "work", "write"];
    let send = world.clsess(&send).spawn();
    world.wait_state("work", "question");
    let queued = world
        .clsess(&["send", "--no-wait", "work", "three"])
        .run()
        .ok();
    assert_eq!(
        offered(&world, &["queue", "work", "rm", ""]),
        [queued.text().trim()]
    );
    let asked = world.clsess(&["questions", "--json"]).run().ok().json();
    let id = asked["questions"][0]["id"].as_str().unwrap();
    for verb in ["approve", "deny", "answer"] {
        assert_eq!(offered(&world, &[verb, "work", ""]), [id], "{verb}");
        assert_eq!(offered(&world, &[verb, "work", &id[..3]]), [id], "{verb}");
    }
    assert_eq!(offered(&world, &["answer", "work", id, ""]), nothing());
    world.clsess(&["approve", "work"]).run().ok();
    assert_eq!(send.wait().ok().text(), "done\n");
    world.clsess(&["wait", "work"]).run().ok();
}

#[test]
fn no_broker_is_started_and_nothing_is_said() {
    let Some(world) = World::bare() else { return };
    for words in [
        &["send", ""][..],
        &["result", "work", ""],
        &["approve", "work", ""],
        &["-L", "other", "kill", ""],
        &["-L", ""],
        &[],
    ] {
        assert_eq!(offered(&world, words), nothing(), "{words:?}");
    }
    assert_eq!(offered(&world, &["vers"]), ["version"]);
    assert!(world.processes().is_empty());
    assert!(!world.state().exists() && !world.runtime().exists());
    // What would be an error of another command is nothing here.
    world.config("[defaults]\nmodle = 'x'\n");
    assert_eq!(offered(&world, &["new", "--profile", ""]), nothing());
}

#[test]
fn whatever_hangs_is_not_waited_for() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    world.session("work");
    let fifo = world.root().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let broker = world.broker();
    send_signal(broker, Signal::SIGSTOP);
    for words in [
        &["send", ""][..],
        &["--config", fifo.to_str().unwrap(), "new", "--profile", ""],
    ] {
        let begun = Instant::now();
        assert_eq!(offered(&world, words), nothing());
        // It is a second, on a machine that has nothing else to do.
        assert!(begun.elapsed() < PATIENCE / 6, "{:?}", begun.elapsed());
    }
    send_signal(broker, Signal::SIGCONT);
    assert_eq!(offered(&world, &["send", ""]), ["work"]);
}
