//! Making, listing, ending and restarting sessions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::{World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn keys(value: &Value) -> Vec<&str> {
    let fields = value.as_object().unwrap();
    let mut keys: Vec<&str> = fields.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names
}

const ROW: [&str; 10] = [
    "name", "id", "state", "since", "driver", "queue", "turns", "attached", "idle_s", "cwd",
];

#[test]
fn a_session_without_a_name_has_its_directorys_made_unique() {
    let Some(world) = World::real() else { return };
    assert_eq!(world.clsess(&["new"]).run().ok().text(), "project\n");
    assert_eq!(world.clsess(&["new"]).run().ok().text(), "project-2\n");
    let odd = world.root().join(".we ird é");
    std::fs::create_dir(&odd).unwrap();
    let new = world.clsess(&["new", "--trust"]).cwd(&odd);
    assert_eq!(new.run().ok().text(), "we-ird---\n");
    let new = world
        .clsess(&["new", "--json", "-c", "../project", "named"])
        .cwd(&odd);
    let row = new.run().ok().json();
    assert_eq!(keys(&row), sorted(ROW.to_vec()));
    assert_eq!(row["name"], "named");
    assert_eq!(row["cwd"], world.project().to_str().unwrap());
    assert_eq!(row["state"], "idle");
}

#[test]
fn a_name_is_taken_once() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let id = world.show("work")["id"].clone();
    let done = world.clsess(&["new", "work"]).run().fails(4);
    assert_eq!(
        done.stderr,
        "clsess: there is a session work already\nhint: to use it: clsess new -A work\n"
    );
    let done = world.clsess(&["new", "-A", "work"]).run().ok();
    assert_eq!(done.text(), "work\n");
    assert_eq!(world.show("work")["id"], id);
    assert_eq!(
        world.clsess(&["ls", "-F", "#{name}"]).run().ok().text(),
        "work\n"
    );
}

#[test]
fn a_directory_needs_a_word_of_trust() {
    let Some(world) = World::real() else { return };
    let dir = world.root().join("strange");
    std::fs::create_dir(&dir).unwrap();
    let new = |args: &[&str]| {
        let args = [&["new"], args].concat();
        world.clsess(&args).cwd(&dir).run()
    };
    let done = new(&["a"]).fails(1);
    assert_eq!(
        done.stderr,
        format!(
            "clsess: {} is not trusted: its own hooks and settings would run without asking\n\
             hint: if it is yours: clsess new --trust, or a [session.NAME] with this cwd in the config\n",
            dir.display()
        )
    );
    let send = world.clsess(&["send", "-A", "a", "hi"]).cwd(&dir);
    assert_eq!(send.run().fails(1).stderr, done.stderr);
    assert_eq!(world.clsess(&["ls"]).run().ok().text(), "");
    new(&["--trust", "by-word"]).ok();
    world.config(&format!("[session.x]\ncwd = '{}'\n", dir.display()));
    new(&["by-config"]).ok();
    world.config("");
    new(&["a"]).fails(1);
    world.trust(&[&dir]);
    new(&["by-record"]).ok();
}

#[test]
fn ls_shows_the_sessions_as_table_json_and_format() {
    let Some(world) = World::real() else { return };
    let ls = |args: &[&str]| world.clsess(&[&["ls"], args].concat()).run().ok();
    assert_eq!(ls(&[]).text(), "");
    assert_eq!(ls(&["--json"]).json(), json!({"sessions": []}));
    world.session("b");
    world.session("a");
    world.send("a", "hi");
    world.wait_state("a", "idle");
    let json = ls(&["--json"]).json();
    let rows = json["sessions"].as_array().unwrap();
    let row = &rows[0];
    assert_eq!(keys(row), sorted(ROW.to_vec()));
    assert_eq!(rows.len(), 2);
    let cwd = world.project();
    let cwd = cwd.to_str().unwrap();
    for (row, name, turns) in [(row, "a", 1), (&rows[1], "b", 0)] {
        assert_eq!(row["name"], name);
        assert_eq!(row["state"], "idle");
        assert_eq!(row["driver"], "stream");
        assert_eq!(row["queue"], 0);
        assert_eq!(row["turns"], turns);
        assert_eq!(row["attached"], 0);
        assert_eq!(row["cwd"], cwd);
    }
    let format = "#{name}:#{turns}:#{state} #{nothing} #{cwd}";
    assert_eq!(
        ls(&["-F", format]).text(),
        format!("a:1:idle #{{nothing}} {cwd}\nb:0:idle #{{nothing}} {cwd}\n")
    );
    let table = ls(&[]);
    let lines: Vec<Vec<&str>> = table
        .text()
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "NAME",
            "STATE",
            "DRIVER",
            "QUEUE",
            "TURNS",
            "ATTACHED",
            "IDLE",
            "DIRECTORY"
        ]
    );
    assert_eq!(lines[1][..6], ["a", "idle", "stream", "0", "1", "0"]);
    assert_eq!(lines[2][7], cwd);
    assert_eq!(
        world.clsess(&["list", "-F", "#{name}"]).run().ok().text(),
        "a\nb\n"
    );
}

#[test]
fn show_knows_more_after_a_turn() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let before = world.show("work");
    let mut expected = ROW.to_vec();
    expected.extend(["agent_session_id", "pid", "holder_pid", "agent_version"]);
    assert_eq!(keys(&before), sorted(expected.clone()));
    assert_eq!(before["agent_version"], "2.1.328");
    world.send("work", "hi");
    let after = world.show("work");
    expected.extend(["model", "usage", "cost_usd"]);
    assert_eq!(keys(&after), sorted(expected));
    for same in ["id", "pid", "holder_pid", "agent_session_id"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    let text = world.clsess(&["show", "work"]).run().ok();
    assert!(
        text.text()
            .lines()
            .any(|l| l.split_whitespace().eq(["name", "work"]))
    );
}

#[test]
fn kill_says_how_to_take_the_conversation_up_again() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "remember me");
    let shown = world.show("work");
    let done = world.clsess(&["kill", "work"]).run().ok();
    let line = format!(
        "clsess new work -c {} --resume {}",
        world.project().display(),
        shown["agent_session_id"].as_str().unwrap()
    );
    let id = shown["id"].as_str().unwrap();
    assert_eq!(
        done.text(),
        format!("killed work ({id}); to take it up again: {line}\n")
    );
    assert!(!alive(
        u32::try_from(shown["pid"].as_u64().unwrap()).unwrap()
    ));
    world.clsess(&["show", "work"]).run().fails(3);

    assert_eq!(world.shell(&line).run().ok().text(), "work\n");
    assert_ne!(world.show("work")["id"], shown["id"]);
    assert_eq!(world.send("work", "recall"), "remember me\n");
    let again = line.replace("new work", "new second");
    let done = world.shell(&again).run().fails(4);
    assert_eq!(
        done.stderr,
        "clsess: the session work has this conversation already\n"
    );
}

#[test]
fn kill_takes_several_and_names_those_it_does_not_know() {
    let Some(world) = World::real() else { return };
    for name in ["a", "b", "c", "d"] {
        world.session(name);
    }
    let id = |name: &str| world.show(name)["id"].as_str().unwrap().to_owned();
    let told = format!("killed a ({})\nkilled b ({})\n", id("a"), id("b"));
    let done = world.clsess(&["kill", "a", "nobody", "b"]).run().fails(3);
    assert_eq!(done.text(), told);
    assert_eq!(
        done.stderr,
        "clsess: there is no session nobody\nhint: clsess ls; to make it: clsess new nobody\n"
    );
    let id = id("c");
    let done = world.clsess(&["kill", "--json", "c"]).run().ok();
    let killed = json!({"killed": [{"session": "c", "id": id}]});
    assert_eq!(done.json(), killed);
    world.clsess(&["kill", "--all"]).run().ok();
    assert_eq!(world.clsess(&["ls"]).run().ok().text(), "");
    assert_eq!(world.clsess(&["kill", "--all"]).run().ok().text(), "");
}

#[test]
fn kill_ends_what_the_agent_began_in_sessions_of_its_own() {
    let Some(world) = World::real() else { return };
    let new = world.clsess(&["new", "work", "--agent-arg=--allowedTools=Bash"]);
    new.run().ok();
    let command = "setsid sh -c 'echo $$ > pid.new; mv pid.new pid; trap \"\" TERM HUP; sleep 1000 & wait' >/dev/null 2>&1 </dev/null & sleep 0";
    let tool = json!({"tool": {"name": "Bash", "input": {"command": command}}});
    world
        .api
        .rule("begin", json!([{"blocks": [tool]}, {"text": "begun"}]));
    assert_eq!(world.send("work", "begin"), "begun\n");
    let file = world.project().join("pid");
    until("the tool has begun", || file.exists());
    let pid = std::fs::read_to_string(file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(alive(pid));
    world.clsess(&["kill", "--grace", "1s", "work"]).run().ok();
    assert!(!alive(pid));
    let left = world.processes();
    assert_eq!(left.len(), 1, "more than the broker: {left:?}");
}

#[test]
fn a_turn_in_a_killed_or_restarted_session_ends_with_it() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    for (verb, said) in [("restart", "restarted"), ("kill", "killed")] {
        let before = world.api.next();
        let running = world.clsess(&["send", "work", "slow"]).spawn();
        world.api.wait_hold("h", 1);
        let queued = world.clsess(&["send", "work", "queued"]).spawn();
        world.wait_queued("work", 1);
        world.clsess(&[verb, "work"]).run().ok();
        let done = running.wait().fails(10);
        assert_eq!(done.stderr, format!("clsess: the session was {said}\n"));
        assert_eq!(done.stdout, b"");
        world.api.release("h");
        let queued = queued.wait();
        let ran = world.api.prompts(before).contains(&"queued".to_owned());
        if verb == "restart" {
            assert_eq!(queued.ok().text(), "you said: queued\n");
            assert!(ran);
        } else {
            assert_eq!(queued.fails(10).stderr, done.stderr);
            assert!(!ran);
        }
    }
}

#[test]
fn restart_keeps_the_conversation_and_fresh_begins_one() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "remember me");
    let first = world.show("work");
    let done = world.clsess(&["restart", "work"]).run().ok();
    assert_eq!((done.text(), &*done.stderr), ("", ""));
    let second = world.show("work");
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!(second["agent_session_id"], first["agent_session_id"]);
    assert_eq!(second["state"], "idle");
    assert_eq!(world.send("work", "recall"), "remember me\n");

    world.clsess(&["restart", "--fresh", "work"]).run().ok();
    let third = world.show("work");
    assert_ne!(third["agent_session_id"], first["agent_session_id"]);
    assert_eq!(third["id"], first["id"]);
    assert_eq!(world.send("work", "recall"), "(nothing earlier)\n");
    world.clsess(&["restart", "work"]).run().ok();
    assert_eq!(world.send("work", "recall"), "recall\n");
    assert_eq!(world.show("work")["turns"], 4);
}

#[test]
fn new_need_not_wait() {
    let Some(world) = World::real() else { return };
    let done = world.clsess(&["new", "--no-wait", "work"]).run().ok();
    assert_eq!(done.text(), "work\n");
    assert_eq!(world.send("work", "hi"), "you said: hi\n");
}

#[test]
fn a_session_without_a_turn_can_be_restarted_and_resumed() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.clsess(&["restart", "work"]).run().ok();
    world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(world.show("work")["state"], "asleep");
    assert_eq!(world.send("work", "hi"), "you said: hi\n");
}

#[test]
fn a_rename_keeps_everything_but_the_name() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "hello");
    let before = world.show("work");
    world.clsess(&["rename", "work", "job"]).run().ok();
    world.clsess(&["show", "work"]).run().fails(3);
    let after = world.show("job");
    for field in ["id", "agent_session_id", "pid", "turns", "cwd"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(
        world.clsess(&["result", "job"]).run().ok().text(),
        "you said: hello\n"
    );
    world.session("other");
    world.clsess(&["rename", "job", "other"]).run().fails(4);
    world.clsess(&["rename", "job", "-no"]).run().fails(2);
    // The next broker knows it by its new name.
    world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(world.send("job", "recall"), "hello\n");
}

/// The name that a command was given may be another session's by the time that it asks again.
#[test]
fn a_turn_is_found_again_under_another_name() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let answer = json!([{"text": "late", "hold": "h"}]);
    world.api.rule("slow", answer.clone());
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let queued = world.clsess(&["send", "work", "waits"]).spawn();
    world.wait_queued("work", 1);
    world.clsess(&["rename", "work", "old"]).run().ok();
    world.session("work");
    // A signal takes back the turn that was meant.
    running.signal(Signal::SIGINT);
    running.wait().fails(130);
    let turn = world.clsess(&["result", "-o", "json", "old", "-2"]).run();
    assert_eq!(turn.fails(10).json()["outcome"], "interrupted");
    assert_eq!(queued.wait().ok().text(), "you said: waits\n");
    world.api.release("h");

    // So does a request that is made again to the next broker.
    world.api.rule("slow", answer);
    let running = world.clsess(&["send", "old", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let queued = world.clsess(&["send", "old", "once"]).spawn();
    world.wait_queued("old", 1);
    world.clsess(&["rename", "old", "older"]).run().ok();
    world.session("old");
    send_signal(world.broker(), Signal::SIGKILL);
    world.api.release("h");
    assert_eq!(running.wait().ok().text(), "late\n");
    assert_eq!(queued.wait().ok().text(), "you said: once\n");
    assert_eq!(world.show("old")["turns"], 0);
    let once = world.api.prompts(0).iter().filter(|p| *p == "once").count();
    assert_eq!(once, 1);
}
