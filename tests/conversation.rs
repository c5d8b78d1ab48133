//! A conversation that is damaged, gone, or open elsewhere, with the real client: said by name, and
//! gone on with as announced.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::path::Path;

use harness::{Done, World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// The prompts of the session, before anything happens to it.
const PROMPTS: [&str; 3] = ["one-q", "two-q", "three-q"];

fn is(line: &str, kind: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|row| row["type"] == kind)
}

/// The place of the n-th line of a kind.
fn nth(lines: &[String], kind: &str, n: usize) -> usize {
    let all = lines.iter().enumerate().filter(|(_, line)| is(line, kind));
    all.map(|(at, _)| at).nth(n).unwrap()
}

/// What can happen to a transcript, and how many prompts the client then has left (measured).
type Kind = (&'static str, usize, fn(&mut Vec<String>));

const DAMAGED: [Kind; 10] = [
    ("a prompt is gone", 2, |lines| {
        let at = nth(lines, "user", 1);
        lines.remove(at);
    }),
    ("a prompt is garbage", 2, |lines| {
        let at = nth(lines, "user", 1);
        lines[at] = "garbage".to_owned();
    }),
    ("an answer is gone", 3, |lines| {
        let at = nth(lines, "assistant", 1);
        lines.remove(at);
    }),
    ("a turn is gone", 2, |lines| {
        let (from, to) = (nth(lines, "user", 1), nth(lines, "user", 2));
        lines.drain(from..to);
    }),
    ("a hole", 2, |lines| {
        let (from, to) = (nth(lines, "user", 1), nth(lines, "user", 2));
        let length = lines[from..to]
            .iter()
            .map(|line| line.len() + 1)
            .sum::<usize>();
        let hole = "\0".repeat(length - 1);
        lines.splice(from..to, [hole]);
    }),
    ("the head is gone", 2, |lines| {
        let at = nth(lines, "user", 1);
        lines.drain(..at);
    }),
    ("only the last turn is left", 1, |lines| {
        let at = nth(lines, "user", 2);
        lines.drain(..at);
    }),
    ("it begins anew", 1, |lines| {
        let at = nth(lines, "user", 2);
        let mut row: Value = serde_json::from_str(&lines[at]).unwrap();
        row["parentUuid"] = Value::Null;
        lines[at] = row.to_string();
    }),
    ("the last answer is cut", 3, |lines| {
        let at = nth(lines, "assistant", 2);
        lines.truncate(at + 1);
        let half = lines[at].len() / 2;
        lines[at].truncate(half);
    }),
    ("the last prompt is cut", 2, |lines| {
        let at = nth(lines, "user", 2);
        lines.truncate(at + 1);
        lines[at].truncate(40);
    }),
];

/// A session of three turns for each of so many kinds of damage, without an agent.
fn asleep(world: &World, count: usize) -> Vec<(String, String)> {
    let names = (0..count).map(|n| format!("work{n}"));
    let made = names.map(|name| {
        world.session(&name);
        let id = three_turns(world, &name);
        (name, id)
    });
    let made = made.collect();
    world.clsess(&["broker", "stop"]).run().ok();
    made
}

/// The conversation of a session, in which there now are three turns.
fn three_turns(world: &World, name: &str) -> String {
    for prompt in PROMPTS {
        world.send(name, prompt);
    }
    world.conversation(name)
}

fn damage(path: &Path, how: impl Fn(&mut Vec<String>)) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    how(&mut lines);
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

fn send(world: &World, name: &str, prompt: &str) -> Done {
    world.clsess(&["send", name, prompt]).run()
}

/// How many of the prompts the model got in the last request.
fn prompts_left(world: &World) -> usize {
    let context = world.context().concat();
    let asked = |prompt: &&&str| {
        let answer = format!("you said: {prompt}");
        context.replace(&answer, "").contains(**prompt)
    };
    PROMPTS.iter().filter(asked).count()
}

/// It is refused once, by this name, and goes on then with this announcement.
fn refused_once(world: &World, name: &str, code: &str, announced: &str, what: &str) {
    let before = world.api.next();
    let json = world.clsess(&["send", "-o", "json", name, "refused"]).run();
    let refused = json.fails(1).json();
    assert_eq!(refused["error"]["code"], code, "{what}: {refused}");
    let shown = world.show(name);
    assert_eq!(shown["last_error"]["code"], code, "{what}: {shown}");
    assert!(world.api.main_requests(before).is_empty(), "{what}");
    let done = send(world, name, "four-q").ok();
    assert_eq!(done.text(), "you said: four-q\n");
    let said = done.stderr.trim_end();
    assert!(said.ends_with(announced), "{what}: {said}");
    world.wait_event(|event| {
        let reason = event["reason"].as_str().unwrap_or_default();
        event["event"] == "restart" && event["session"] == name && reason.ends_with(announced)
    });
    assert!(!world.context().concat().contains("refused"), "{what}");
}

const GOES_ON: &str = ": it goes on with what can be read";
const BEGUN: &str = ": a new conversation is begun";

#[test]
fn what_is_damaged_in_part_is_said_once_and_gone_on_with() {
    let Some(world) = World::real() else { return };
    let sessions = asleep(&world, DAMAGED.len());
    for ((name, id), (what, left, how)) in sessions.iter().zip(DAMAGED) {
        damage(&world.transcript(id), how);
        refused_once(&world, name, "conversation_damaged", GOES_ON, what);
        assert_eq!(prompts_left(&world), left, "{what}: {:?}", world.context());
        assert_eq!(&world.conversation(name), id);
    }
    // It is known, and not said again.
    world.clsess(&["broker", "stop"]).run().ok();
    for (name, _) in &sessions {
        let done = send(&world, name, "five-q").ok();
        assert_eq!(
            (done.text(), done.stderr.as_str()),
            ("you said: five-q\n", "")
        );
        assert!(world.context().contains(&"four-q".to_owned()));
        let shown = world.show(name);
        assert_eq!(shown["last_error"]["code"], "conversation_damaged");
    }
    // Something else is.
    let (name, id) = &sessions[0];
    world.clsess(&["broker", "stop"]).run().ok();
    damage(&world.transcript(id), |lines| {
        lines.insert(3, "garbage".to_owned())
    });
    refused_once(&world, name, "conversation_damaged", GOES_ON, "once more");
}

#[test]
fn of_what_is_gone_a_new_conversation_is_begun_as_announced() {
    let Some(world) = World::real() else { return };
    let sessions = asleep(&world, 4);
    for (at, (name, id)) in sessions.iter().enumerate() {
        let path = world.transcript(id);
        let (code, text) = match at {
            0 => ("conversation_missing", None),
            1 => ("conversation_damaged", Some("")),
            2 => ("conversation_damaged", Some("garbage\ngarbage\n")),
            _ => (
                "conversation_damaged",
                Some("{\"type\":\"mode\",\"mode\":\"normal\"}\n"),
            ),
        };
        match text {
            None => std::fs::remove_file(&path).unwrap(),
            Some(text) => std::fs::write(&path, text).unwrap(),
        }
        refused_once(&world, name, code, BEGUN, code);
        assert_eq!(prompts_left(&world), 0);
        assert_ne!(&world.conversation(name), id);
        // What there was stays as it is.
        let now = std::fs::read_to_string(&path).ok();
        assert_eq!(now.as_deref(), text);
    }
}

#[test]
fn a_bad_last_line_is_none_of_it() {
    let Some(world) = World::real() else { return };
    let sessions = asleep(&world, 1);
    let (name, id) = &sessions[0];
    for bad in ["{\"type\":\"us", "{\"type\":\"us\n", "\0\0\0\0\0"] {
        let path = world.transcript(id);
        let text = std::fs::read_to_string(&path).unwrap() + bad;
        std::fs::write(&path, text).unwrap();
        let done = send(&world, name, "four-q").ok();
        assert_eq!(
            (done.text(), done.stderr.as_str()),
            ("you said: four-q\n", "")
        );
        assert_eq!(prompts_left(&world), 3);
        world.clsess(&["broker", "stop"]).run().ok();
    }
}

/// An old client has done so with its first turn: it reads all of it in whatever order.
#[test]
fn a_turn_that_stands_before_an_earlier_one_is_not_lost() {
    for version in ["2.1.328", "2.1.197"] {
        let Some(world) = World::real_of(&[version]) else {
            return;
        };
        let new = ["new", "work", "--driver", "tui"];
        world.clsess(&new).run().ok();
        let id = three_turns(&world, "work");
        world.clsess(&["broker", "stop"]).run().ok();
        damage(&world.transcript(&id), |lines| {
            let (from, to) = (nth(lines, "user", 1), nth(lines, "user", 2));
            let second: Vec<String> = lines.drain(from..to).collect();
            let first = nth(lines, "user", 0);
            lines.splice(first..first, second);
        });
        let done = send(&world, "work", "four-q").ok();
        assert_eq!(
            (done.text(), done.stderr.as_str()),
            ("you said: four-q\n", "")
        );
        assert_eq!(prompts_left(&world), 3, "{version}");
    }
}

#[test]
fn nothing_is_made_of_a_conversation_that_is_not_whole() {
    let Some(world) = World::real() else { return };
    let sessions = asleep(&world, 1);
    let (name, id) = &sessions[0];
    world.clsess(&["kill", name]).run().ok();
    damage(&world.transcript(id), DAMAGED[0].2);
    let nowhere = "6bb5b0d4-4a62-4b2e-9a3b-0d3fd1c0a3a1";
    for more in [None, Some("--no-wait")] {
        for (id, code) in [
            (id.as_str(), "conversation_damaged"),
            (nowhere, "conversation_missing"),
        ] {
            let args = ["new", "--json", "again", "--resume", id];
            let args: Vec<&str> = args.into_iter().chain(more).collect();
            let error = world.clsess(&args).run().fails(1).json()["error"].clone();
            assert_eq!(error["code"], code, "{args:?}: {error}");
            world.clsess(&["show", "again"]).run().fails(3);
        }
    }
}

/// The process that has the conversation open, but for `not`, when its registry says so.
fn registered(world: &World, id: &str, not: u32) -> u32 {
    let mut found = None;
    until("it is registered", || {
        let entries = std::fs::read_dir(world.home().join(".claude/sessions")).unwrap();
        for entry in entries.flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let entry: Value = serde_json::from_str(&text).unwrap_or_default();
            let pid = entry["pid"]
                .as_u64()
                .and_then(|pid| u32::try_from(pid).ok());
            if entry["sessionId"] == id && pid != Some(not) && pid.is_some_and(alive) {
                found = pid;
            }
        }
        found.is_some()
    });
    found.unwrap()
}

/// Prompts are refused, with this process named; the agent stays.
fn in_use(world: &World, pid: u32, what: &str) {
    let before = world.api.next();
    let refused = world.clsess(&["send", "-o", "json", "work", "no"]).run();
    let error = refused.fails(1).json()["error"].clone();
    assert_eq!(error["code"], "conversation_in_use", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("process {pid}: {what}")),
        "{message}"
    );
    assert!(error["hint"].is_string());
    assert!(world.api.main_requests(before).is_empty());
}

#[test]
fn one_that_is_open_on_a_terminal_is_not_written_to() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one-q");
    let (id, agent) = (world.conversation("work"), world.agent("work"));
    let line = format!("exec claude --resume {id}");
    let terminal = || {
        let script = world.program("script", &["-qfec", &line, "/dev/null"]);
        script.env("TERM", "xterm-256color").silent_stdin().spawn()
    };
    let screen = terminal();
    let pid = registered(&world, &id, agent);
    in_use(&world, pid, "claude on a terminal");
    assert_eq!(world.agent("work"), agent);
    send_signal(pid, Signal::SIGTERM);
    screen.wait();
    // It has written nothing: the agent need not be started again.
    assert_eq!(world.send("work", "two-q"), "you said: two-q\n");
    // Nor is an agent started beside one.
    world.clsess(&["broker", "stop"]).run().ok();
    let screen = terminal();
    let pid = registered(&world, &id, agent);
    in_use(&world, pid, "claude on a terminal");
    assert_eq!(world.show("work")["state"], "failed");
    send_signal(pid, Signal::SIGTERM);
    screen.wait();
    assert_eq!(world.send("work", "three-q"), "you said: three-q\n");
    assert_eq!(prompts_left(&world), 3);
}

#[test]
fn what_another_has_written_is_in_the_next_context() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one-q");
    let (id, agent) = (world.conversation("work"), world.agent("work"));
    world
        .api
        .rule("by hand", json!([{"text": "to the hand", "hold": "h"}]));
    let hand = world
        .program("claude", &["-p", "--resume", &id, "by hand"])
        .spawn();
    world.api.wait_hold("h", 1);
    in_use(&world, hand.pid, "claude -p");
    // What nobody waits for waits.
    world
        .clsess(&["send", "--no-wait", "work", "two-q"])
        .run()
        .ok();
    world.wait_queued("work", 1);
    world.api.release("h");
    assert_eq!(hand.wait().ok().text(), "to the hand\n");
    assert_eq!(world.send("work", "three-q"), "you said: three-q\n");
    let context = world.context().concat();
    for text in ["by hand", "to the hand", "you said: two-q"] {
        assert!(context.contains(text), "{text}: {context}");
    }
    assert_eq!(prompts_left(&world), 3);
    assert_ne!(world.agent("work"), agent);
    world.wait_event(|event| {
        let reason = event["reason"].as_str().unwrap_or_default();
        event["event"] == "restart" && reason.contains("another client")
    });
    // Once.
    let agent = world.agent("work");
    assert_eq!(world.send("work", "four-q"), "you said: four-q\n");
    assert_eq!(world.agent("work"), agent);
}

#[test]
fn another_labels_session_has_a_conversation_for_itself() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "one-q");
    let (id, agent) = (world.conversation("work"), world.agent("work"));
    let twin = ["-L", "other", "new", "twin", "--resume", &id];
    let refused = world.clsess(&twin).run().fails(1);
    let what = format!("process {agent}: the clsess session work of ");
    assert!(refused.stderr.contains(&what), "{}", refused.stderr);
    let hint = "clsess -L default kill work";
    assert!(refused.stderr.contains(hint), "{}", refused.stderr);
    world.clsess(&["broker", "stop"]).run().ok();
    world.clsess(&twin).run().ok();
    world
        .clsess(&["-L", "other", "send", "twin", "two-q"])
        .run()
        .ok();
    let pid = registered(&world, &id, agent);
    in_use(&world, pid, "the clsess session twin of ");
    world.clsess(&["-L", "other", "kill", "twin"]).run().ok();
    assert_eq!(world.send("work", "three-q"), "you said: three-q\n");
    assert_eq!(prompts_left(&world), 3);
    world.clsess(&["-L", "other", "broker", "stop"]).run().ok();
}

#[test]
fn one_in_which_nothing_was_said_is_none() {
    let Some(world) = World::real() else { return };
    // A hook of the user's own, for which the client waits before it sends or writes anything.
    let (holds, started) = (world.root().join("holds"), world.root().join("started"));
    let command = format!(
        "[ ! -e {} ] || {{ touch {}; sleep 1000; }}",
        holds.display(),
        started.display()
    );
    let hook = json!([{"matcher": "", "hooks": [{"type": "command", "command": command}]}]);
    let settings = world.project().join(".claude");
    std::fs::create_dir_all(&settings).unwrap();
    let text = json!({"hooks": {"UserPromptSubmit": hook}}).to_string();
    std::fs::write(settings.join("settings.json"), text).unwrap();
    for driver in ["tui", "stream"] {
        std::fs::write(&holds, "").unwrap();
        let new = ["new", "--driver", driver, driver];
        world.clsess(&new).run().ok();
        let slow = world.clsess(&["send", driver, "slow"]).spawn();
        until("its hook runs", || started.exists());
        world.clsess(&["interrupt", driver]).run().ok();
        slow.wait().fails(10);
        std::fs::remove_file(&started).unwrap();
        std::fs::remove_file(&holds).unwrap();
        world.clsess(&["restart", driver]).run().ok();
        assert_eq!(world.send(driver, "hi"), "you said: hi\n");
    }
    assert_eq!(world.api.prompts(0), ["hi", "hi"]);
}
