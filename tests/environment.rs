//! What a session's agent gets: environment, umask, system prompts; what is kept of it; and the
//! same conversation after the broker was away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use harness::{KEY, World};
use nix::sys::signal::Signal;
use serde_json::json;

/// The environment of the session's agent.
fn environ(world: &World, session: &str) -> BTreeMap<String, String> {
    let path = format!("/proc/{}/environ", world.agent(session));
    let bytes = std::fs::read(path).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let pairs = text.split_terminator('\0');
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

#[test]
fn the_agent_has_its_callers_environment_and_not_another_agents() {
    let Some(world) = World::real() else { return };
    let start = world.clsess(&["broker", "start"]).env("OF_THE_BROKER", "1");
    start.run().ok();
    let new = world.clsess(&["new", "work", "-e", "SET=by option", "-e", "EMPTY="]);
    new.env("MINE", "ä\nb=c")
        .env("SET", "by caller")
        .env("CLAUDECODE", "1")
        .env("CLAUDE_CODE_ENTRYPOINT", "cli")
        .env("CLAUDE_CODE_SESSION_ID", "x")
        .env("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "1")
        .env("GIT_EDITOR", "true")
        .env("CLSESS_SESSION", "another")
        .run()
        .ok();
    let found = environ(&world, "work");
    let mut expected: BTreeMap<String, String> = world
        .env()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for (name, value) in [
        ("MINE", "ä\nb=c"),
        ("SET", "by option"),
        ("EMPTY", ""),
        ("CLSESS_SESSION", "work"),
        ("CLSESS_SOCKET", world.socket().to_str().unwrap()),
        ("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "1"),
    ] {
        expected.insert(name.to_owned(), value.to_owned());
    }
    assert_eq!(found, expected);

    // The kept one is the same.
    world.clsess(&["broker", "stop"]).run().ok();
    world.send("work", "wake up");
    assert_eq!(environ(&world, "work"), expected);
}

#[test]
fn update_env_takes_the_callers_and_a_restart_without_it_does_not() {
    let Some(world) = World::real() else { return };
    let run = |args: &[&str], value: &str| {
        world.clsess(args).env("MINE", value).run().ok();
        environ(&world, "work")["MINE"].clone()
    };
    assert_eq!(run(&["new", "work"], "1"), "1");
    assert_eq!(run(&["restart", "work"], "2"), "1");
    assert_eq!(run(&["restart", "--update-env", "work"], "3"), "3");
    assert_eq!(run(&["restart", "work"], "4"), "3");
}

#[test]
fn what_env_forget_names_is_not_kept_and_missing_it_is_told() {
    let Some(world) = World::real() else { return };
    world.config("[defaults]\nenv_forget = ['SECRET_*', 'TOKEN']\n");
    let with = |args: &[&str]| {
        let command = world.clsess(args);
        let command = command.env("SECRET_A", "geheim-1").env("TOKEN", "geheim-2");
        command.run()
    };
    with(&["new", "work"]).ok();
    assert_eq!(environ(&world, "work")["SECRET_A"], "geheim-1");
    assert_eq!(world.send("work", "remember me"), "you said: remember me\n");
    world.clsess(&["broker", "stop"]).run().ok();
    for file in files(&world.state()) {
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("geheim-"), "{}", file.display());
    }

    let expected = "clsess: work was started with SECRET_A, TOKEN, which env_forget does not keep\n\
                    hint: clsess restart --update-env work\n";
    let done = world.clsess(&["send", "work", "hi"]).run().fails(1);
    assert_eq!(done.stderr, expected);
    let done = world.clsess(&["restart", "work"]).run().fails(1);
    assert_eq!(done.stderr, expected);
    assert_eq!(world.show("work")["state"], "failed");
    assert_eq!(
        world.show("work")["last_error"]["code"],
        "environment_forgotten"
    );
    with(&["restart", "--update-env", "work"]).ok();
    assert_eq!(world.send("work", "recall"), "remember me\n");
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    entries
        .flat_map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path()),
            kind if kind.is_file() => vec![entry.path()],
            // Of a holder: it is nobody else's either, and nothing to read.
            kind if kind.is_socket() => {
                let mode = entry.metadata().unwrap().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
                vec![]
            }
            kind => panic!("{kind:?} {}", entry.path().display()),
        })
        .collect()
}

#[test]
fn everything_on_disk_is_the_owners_alone() {
    let Some(world) = World::real() else { return };
    world.clsess(&["new", "work"]).run().ok();
    world.send("work", "hi");
    let mode = |path: &Path| path.symlink_metadata().unwrap().mode() & 0o777;
    for file in files(&world.state()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        for dir in file
            .ancestors()
            .skip(1)
            .take_while(|dir| *dir != world.root())
        {
            assert_eq!(mode(dir), 0o700, "{}", dir.display());
        }
    }
    assert_eq!(mode(&world.runtime()), 0o700);
    assert_eq!(mode(&world.socket()), 0o600);
}

#[test]
fn the_log_holds_no_prompt_no_answer_and_no_key() {
    let Some(world) = World::real() else { return };
    world.clsess(&["broker", "start", "-v"]).run().ok();
    world.session("work");
    world.api.answer("secret question", "secret reply");
    world.send("work", "secret question");
    let bad = json!([{"status": 400, "message": "secret trouble"}]);
    world.api.rule_repeat("secret mistake", bad);
    world
        .clsess(&["send", "work", "secret mistake"])
        .run()
        .fails(1);
    world.clsess(&["kill", "work"]).run().ok();
    let log = world.clsess(&["broker", "logs"]).run().ok();
    let log = log.text();
    assert!(
        log.contains("agent started") && log.contains("DEBUG"),
        "{log}"
    );
    for secret in ["secret", KEY] {
        assert!(!log.contains(secret), "{log}");
    }
    let last = world.clsess(&["broker", "logs", "-n", "2"]).run().ok();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(
        last.text().lines().collect::<Vec<_>>(),
        lines[lines.len() - 2..]
    );
}

#[test]
fn the_callers_umask_is_the_agents() {
    let Some(world) = World::real() else { return };
    let umask = |session: &str| {
        let path = format!("/proc/{}/status", world.agent(session));
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("Umask:\t"));
        line.unwrap().to_owned()
    };
    world.shell("umask 027; clsess new a").run().ok();
    world.shell("umask 002; clsess new b").run().ok();
    assert_eq!((umask("a").as_str(), umask("b").as_str()), ("0027", "0002"));
    world.clsess(&["broker", "stop"]).run().ok();
    world.send("a", "wake up");
    assert_eq!(umask("a"), "0027");
}

#[test]
fn the_system_prompt_reaches_the_model_and_nobodys_process_list() {
    let Some(world) = World::real() else { return };
    let new = world.clsess(&["new", "replaced", "--system-prompt", "You are a plum."]);
    new.run().ok();
    let new = world.clsess(&["new", "added", "--append-system-prompt", "You are a plum."]);
    new.run().ok();
    for (session, whole) in [("replaced", true), ("added", false)] {
        for restarted in [false, true] {
            let before = world.api.next();
            world.send(session, "hi");
            let request = &world.api.main_requests(before)[0];
            let body = world.api.body(request["index"].as_u64().unwrap());
            let system = body["system"].to_string();
            assert!(system.contains("You are a plum."), "{system}");
            assert_eq!(system.len() < 2000, whole, "{session} {}", system.len());
            if !restarted {
                world.clsess(&["restart", session]).run().ok();
            }
        }
    }
    for (pid, line) in world.processes() {
        assert!(!line.contains("plum"), "{pid}: {line}");
    }
}

#[test]
fn settings_of_the_command_line_and_the_profile_reach_the_agent() {
    let Some(world) = World::real() else { return };
    world.config(
        "[defaults]\nmodel = 'claude-default-model'\n\
         [profile.quick]\nmodel = 'claude-quick-model'\nenv = { PROFILE = 'quick' }\nmax_turns = 1\n",
    );
    let model = |session: &str| {
        let before = world.api.next();
        world.send(session, "hi");
        world.api.main_requests(before)[0]["model"].clone()
    };
    world.clsess(&["new", "a"]).run().ok();
    world.clsess(&["new", "b", "--profile", "quick"]).run().ok();
    let line = [
        "new",
        "c",
        "--profile",
        "quick",
        "--model",
        "claude-line-model",
    ];
    world.clsess(&line).run().ok();
    assert_eq!(model("a"), "claude-default-model");
    assert_eq!(model("b"), "claude-quick-model");
    assert_eq!(model("c"), "claude-line-model");
    assert_eq!(environ(&world, "b")["PROFILE"], "quick");
    assert!(!environ(&world, "a").contains_key("PROFILE"));
}

#[test]
fn sessions_are_asleep_after_a_broker_and_go_on_where_they_were() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.session("unused");
    world.send("work", "remember me");
    let before = world.show("work");
    let broker = world.broker();
    for how in ["stop", "SIGTERM"] {
        match how {
            "stop" => drop(world.clsess(&["broker", "stop"]).run().ok()),
            _ => harness::send_signal(world.broker(), Signal::SIGTERM),
        }
        harness::until("nothing is left", || world.processes().is_empty());
        let ls = world.clsess(&["ls", "-F", "#{name} #{state}"]).run().ok();
        assert_eq!(ls.text(), "unused asleep\nwork asleep\n", "{how}");
        let asleep = world.show("work");
        assert_eq!(asleep["id"], before["id"]);
        assert_eq!(asleep["turns"], before["turns"].as_u64().unwrap());
        assert_eq!(asleep.get("pid"), None);
        assert_ne!(world.broker(), broker);
        world.clsess(&["restart", "work"]).run().ok();
        assert_eq!(
            world.show("work")["agent_session_id"],
            before["agent_session_id"]
        );
    }
    assert_eq!(world.send("work", "recall"), "remember me\n");
    assert_eq!(world.send("unused", "hi"), "you said: hi\n");
}

#[test]
fn what_nobody_waits_for_outlives_the_broker() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let slow = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let queued = ["send", "--no-wait", "work", "queued"];
    let turn = world.clsess(&queued).run().ok().text().trim().to_owned();
    world.clsess(&["broker", "stop"]).run().ok();
    let done = slow.wait().fails(11);
    assert_eq!(done.stderr, "clsess: the broker was stopped\n");
    world.api.release("h");
    let result = world.clsess(&["result", "work", &turn]).run().ok();
    assert_eq!(result.text(), "you said: queued\n");
    let prompts = world.api.prompts(0);
    assert_eq!(prompts, ["slow", "queued"]);
}
