//! `[hooks]` of the config: commands that are run when something happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::path::PathBuf;

use harness::{World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A config whose hooks write down what they are told: a file for each of them.
fn config(world: &World) {
    let told = world.project().join("told");
    std::fs::create_dir(&told).unwrap();
    let told = told.display();
    let command = format!(
        "(env; echo; cat) > {told}/.$$; mv {told}/.$$ {told}/$CLSESS_HOOK.$(date +%s%N).$$"
    );
    let table =
        ["question", "done", "failed", "exited"].map(|hook| format!("{hook} = \"{command}\"\n"));
    world.config(&format!("[hooks]\n{}", table.concat()));
}

/// What was told of a kind so far, oldest first: the variables, and the JSON.
fn told(world: &World, hook: &str) -> Vec<(String, Value)> {
    let files = std::fs::read_dir(world.project().join("told")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| {
        file.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(hook)
    });
    files.sort();
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        let (variables, json) = text.rsplit_once("\n\n").unwrap();
        (variables.to_owned(), serde_json::from_str(json).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// Waits for the first one of a kind.
fn first(world: &World, hook: &str) -> (String, Value) {
    until("the hook has run", || !told(world, hook).is_empty());
    told(world, hook).remove(0)
}

#[test]
fn each_is_told_what_has_happened() {
    let Some(world) = World::real() else { return };
    config(&world);
    world
        .clsess(&["new", "work", "-e", "MINE=of the session"])
        .run()
        .ok();
    let id = world.show("work")["id"].clone();
    world.send("work", "a secret prompt");
    let (variables, json) = first(&world, "done");
    for line in [
        "CLSESS_HOOK=done",
        "CLSESS_SESSION=work",
        &format!("CLSESS_SESSION_ID={}", id.as_str().unwrap()),
        &format!("CLSESS_TURN={}", json["turn"]["turn"].as_str().unwrap()),
        "MINE=of the session",
    ] {
        assert!(
            variables.lines().any(|it| it == line),
            "{line}: {variables}"
        );
    }
    assert!(!variables.contains("a secret prompt"), "{variables}");
    assert_eq!(json["hook"], "done");
    assert_eq!((&json["session"], &json["id"]), (&json!("work"), &id));
    assert_eq!(json["turn"]["answer"], "you said: a secret prompt");
    assert_eq!(json["cwd"], world.project().to_str().unwrap());

    world.api.rule_repeat("fail", json!([{"status": 400}]));
    world.clsess(&["send", "work", "fail"]).run().fails(1);
    let (variables, json) = first(&world, "failed");
    assert!(
        variables.contains("CLSESS_MESSAGE=API Error: 400"),
        "{variables}"
    );
    assert_eq!(json["turn"]["outcome"], "failed");

    let asks = json!([{"blocks": [world.write("new")]}, {"text": "done"}]);
    world.api.rule("write", asks);
    let send = world
        .clsess(&["send", "--on-question=wait", "work", "write"])
        .spawn();
    let (variables, json) = first(&world, "question");
    assert!(
        variables.contains("CLSESS_MESSAGE=may Write be used"),
        "{variables}"
    );
    let question = json["question"]["id"].as_str().unwrap();
    assert!(
        variables.contains(&format!("CLSESS_QUESTION={question}")),
        "{variables}"
    );
    world.clsess(&["approve", "work", question]).run().ok();
    send.wait().ok();

    send_signal(world.agent("work"), Signal::SIGKILL);
    let (_, json) = first(&world, "exited");
    assert!(
        json["error"]["message"]
            .as_str()
            .unwrap()
            .contains("signal 9")
    );
    until("the second turn is told", || {
        told(&world, "done").len() == 2
    });
    assert_eq!(told(&world, "failed").len(), 1);
}

#[test]
fn what_somebody_wanted_is_no_failure() {
    let Some(world) = World::real() else { return };
    config(&world);
    world.session("work");
    world.api.rule(
        "slow",
        json!([{"text": "slow", "delta_bytes": 1, "hold": "h", "hold_after": 1}]),
    );
    let send = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    world.clsess(&["interrupt", "work"]).run().ok();
    send.wait().fails(10);
    world.clsess(&["restart", "work"]).run().ok();
    world.send("work", "hello");
    first(&world, "done");
    assert_eq!(told(&world, "failed"), []);
    assert_eq!(told(&world, "exited"), []);
}

#[test]
fn a_programs_exit_is_told() {
    let Some(world) = World::bare() else { return };
    config(&world);
    world
        .clsess(&["new", "sh", "--", "sh", "-c", "read -r line; exit 3"])
        .run()
        .ok();
    world.clsess(&["type", "sh", "x"]).run().ok();
    world.clsess(&["keys", "sh", "Enter"]).run().ok();
    let (_, json) = first(&world, "exited");
    assert_eq!(json["exit"]["code"], 3, "{json}");
}

/// A hook holds nobody up, is ended when its time is over with what it has started, and only so many are
/// run at a time.
#[test]
fn they_are_bounded_and_off_the_sessions_path() {
    let Some(world) = World::real() else { return };
    let pids = world.project().join("pids");
    world.config(&format!(
        "[hooks]\ntimeout = '2s'\ndone = \"sleep 1000 & echo $! >> {0}; echo $$ >> {0}; trap '' TERM; wait; sleep 1000\"\n",
        pids.display()
    ));
    world.session("work");
    for number in 0..8 {
        let prompt = format!("number {number}");
        assert_eq!(world.send("work", &prompt), format!("you said: {prompt}\n"));
    }
    let read = || -> Vec<u32> {
        let text = std::fs::read_to_string(&pids).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    until("four have begun", || read().len() >= 8);
    assert_eq!(read().len(), 8, "two lines of each of four");
    let begun = read();
    until("they are gone", || begun.iter().all(|pid| !alive(*pid)));
    until("the others have begun", || read().len() == 16);
    until("they are gone", || read().iter().all(|pid| !alive(*pid)));
    assert_eq!(world.log().matches("a hook takes too long").count(), 8);
}

#[test]
fn what_cannot_be_run_is_in_the_log_and_changes_nothing() {
    let Some(world) = World::real() else { return };
    world.config("[hooks]\ndone = '/no/such/program'\n");
    world.session("work");
    assert_eq!(world.send("work", "hello"), "you said: hello\n");
    until("it is logged", || world.log().contains("a hook has failed"));
    world.config("[hooks]\nfinished = 'x'\n");
    let done = world.clsess(&["new", "other"]).run().fails(2);
    assert!(done.stderr.contains("config.toml:2"), "{}", done.stderr);
}
