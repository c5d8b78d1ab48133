//! Every error of the commands: its exit code, its code, its message, its hint; as text, and as
//! JSON beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::os::unix::net::UnixListener;
use std::thread;

use clsess_proto::frame;
use harness::World;
use harness::told::{check, told};
use serde_json::json;

#[test]
fn names_that_are_none() {
    let Some(world) = World::bare() else { return };
    let hint = "letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit";
    let long = "x".repeat(65);
    for name in ["", ".x", "_x", "a/b", "a b", "é", &long] {
        let message = format!("{name:?} is no name for a session");
        check(
            &world,
            &["new", name],
            b"",
            &told(2, "bad_name", &message, hint),
        );
    }
    let expected = told(2, "bad_name", "\"a b\" is no label", hint);
    check(&world, &["ls", "-L", "a b"], b"", &expected);
    let fits = "x".repeat(64);
    let expected = told(
        1,
        "agent_not_found",
        "claude was found neither in the PATH nor in ~/.local/bin or ~/bin",
        "install Claude Code, or name it: path in [agent] of the config",
    );
    check(&world, &["new", &fits], b"", &expected);
}

#[test]
fn sessions_and_turns_that_are_not_there() {
    let Some(world) = World::real() else { return };
    let none = told(
        3,
        "no_such_session",
        "there is no session nobody",
        "clsess ls; to make it: clsess new nobody",
    );
    for args in [
        &["send", "nobody", "hi"][..],
        &["send", "--key", "k", "nobody", "hi"],
        &["send", "--no-wait", "nobody", "hi"],
        &["result", "nobody"],
        &["show", "nobody"],
        &["kill", "nobody"],
        &["restart", "nobody"],
    ] {
        check(&world, args, b"", &none);
    }
    let done = world.clsess(&["kill", "--json", "nobody"]).run().fails(3);
    assert_eq!(done.json()["killed"][0]["error"], none.json());

    world.session("work");
    let no_turn = |turn: &str, message: &str| {
        check(
            &world,
            &["result", "work", turn],
            b"",
            &told(3, "no_such_turn", message, None),
        );
    };
    no_turn("-1", "there is no turn -1, only 0");
    world.send("work", "one");
    no_turn("-2", "there is no turn -2, only 1");
    no_turn("-0", "there is no turn -0, only 1");
    let id = "00000000-0000-4000-8000-000000000000";
    no_turn(id, &format!("there is no turn {id}"));
    no_turn("zzzz", "there is no turn zzzz");
    no_turn(
        "abc",
        "abc is not a turn: give its id, four characters or more of it, or -1, -2 ...",
    );
    let taken = told(
        4,
        "session_exists",
        "there is a session work already",
        "to use it: clsess new -A work",
    );
    check(&world, &["new", "work"], b"", &taken);
}

#[test]
fn prompts_that_are_none() {
    let Some(world) = World::bare() else { return };
    let send = ["send", "work"];
    let empty = told(
        2,
        "prompt_empty",
        "the prompt is empty",
        "clsess send NAME \"a prompt\", or give it on stdin",
    );
    check(&world, &send, b" \n", &empty);
    let nul = "the prompt has a NUL in it, which no model takes";
    check(&world, &send, b"\0", &told(2, "prompt_invalid", nul, None));
    let utf8 = told(
        2,
        "prompt_invalid",
        "the prompt is not UTF-8 (byte 3)",
        "iconv -f latin1 -t utf-8 FILE | clsess send NAME",
    );
    check(&world, &send, b"abc\xe9", &utf8);
    let long = told(
        2,
        "prompt_too_long",
        "the prompt is longer than 10 MiB",
        "name a file in the prompt, and the agent reads it",
    );
    check(
        &world,
        &send,
        &vec![b'x'; clsess_proto::MAX_PROMPT + 1],
        &long,
    );
    let missing = told(
        2,
        "bad_request",
        "cannot read the prompt from none: No such file or directory (os error 2)",
        None,
    );
    check(&world, &["send", "-f", "none", "work"], b"", &missing);
}

#[test]
fn configs_that_cannot_be_used() {
    let Some(world) = World::bare() else { return };
    let cases = [
        ("[defaults]\nmodle = 'x'\n", ":2: unknown field `modle`"),
        (
            "[session.a]\nprofile = 'no'\n",
            ":2: there is no [profile.no]",
        ),
        ("[defaults]\nturn_timeout = 'soon'\n", ":2: "),
        ("= 1\n", ":1: "),
    ];
    for (text, place) in cases {
        let file = world.config(text);
        for args in [
            &["send", "work", "hi"][..],
            &["new", "work"],
            &["restart", "work"],
        ] {
            let done = world.clsess(args).run().fails(2);
            let (first, hint) = done.stderr.split_once('\n').unwrap();
            let start = format!("clsess: the config {}{place}", file.display());
            assert!(first.starts_with(&start), "{first}");
            assert_eq!(hint, "hint: man clsess-config\n");
        }
    }
    world.config("");
    let message = "the config has no [profile.quick]";
    let expected = told(2, "bad_config", message, None);
    check(
        &world,
        &["new", "--profile", "quick", "work"],
        b"",
        &expected,
    );
    let message = "the config /no/such/file: No such file or directory (os error 2)";
    let expected = told(2, "bad_config", message, "man clsess-config");
    check(
        &world,
        &["new", "--config", "/no/such/file", "work"],
        b"",
        &expected,
    );
}

#[test]
fn sessions_that_cannot_be_made() {
    let Some(mut world) = World::bare() else {
        return;
    };
    let new = ["new", "work"];
    let none = "/no/such/dir: No such file or directory (os error 2)";
    let expected = told(1, "bad_directory", none, None);
    check(
        &world,
        &["new", "-c", "/no/such/dir", "work"],
        b"",
        &expected,
    );
    let root = world.root().to_str().unwrap().to_owned();
    let message =
        format!("{root} is not trusted: its own hooks and settings would run without asking");
    let hint =
        "if it is yours: clsess new --trust, or a [session.NAME] with this cwd in the config";
    let expected = told(1, "untrusted_directory", &message, hint);
    check(&world, &["new", "-c", &root, "work"], b"", &expected);

    let agent = world.scripted_agent("echo '2.1.197 (Claude Code)'");
    let message = format!(
        "claude 2.1.197 ({}) cannot take every prompt exactly; 2.1.248 or later is needed",
        agent.display()
    );
    let hint = "claude update, or name a newer one: path in [agent] of the config";
    check(&world, &new, b"", &told(1, "agent_too_old", &message, hint));

    let version = "[ \"$1\" = --version ] && { echo 2.1.328; exit; }\n";
    world.scripted_agent(&format!("{version}echo 'no license' >&2; exit 3"));
    let message = "the agent did not start, exit 3: no license";
    check(
        &world,
        &new,
        b"",
        &told(1, "agent_start_failed", message, None),
    );

    world.scripted_agent(&format!("{version}exec sleep 1000"));
    let message = "the agent was not ready in time";
    let hint = "give it longer with --start-timeout or start_timeout in the config";
    let expected = told(1, "start_timeout", message, hint);
    check(
        &world,
        &["new", "--start-timeout", "300ms", "work"],
        b"",
        &expected,
    );
    assert_eq!(world.clsess(&["ls"]).run().ok().text(), "");
}

#[test]
fn a_state_directory_that_cannot_be_trusted() {
    let Some(world) = World::bare() else { return };
    std::fs::write(world.state(), "").unwrap();
    let done = world.clsess(&["broker", "start"]).run().fails(1);
    let message = format!("{} is not a directory", world.state().display());
    assert_eq!(done.stderr, told(1, "unsafe_path", &message, None).text());
    let long = world.root().join("x".repeat(100));
    let socket = long.join("default.sock");
    let message = format!(
        "the socket's path is {} bytes long, at most 107 are possible: {}",
        socket.as_os_str().len(),
        socket.display()
    );
    let hint = "set CLSESS_RUNTIME_DIR to a shorter directory, or give -S PATH";
    let expected = told(1, "unsafe_path", &message, hint);
    check(
        &world,
        &["ls", "-S", socket.to_str().unwrap()],
        b"",
        &expected,
    );
}

#[test]
fn usage_errors_are_exit_2_and_start_nothing() {
    let Some(world) = World::bare() else { return };
    for args in [
        &["send"][..],
        &["send", "--timeout", "soon", "work", "x"],
        &["send", "--on-question", "maybe", "work", "x"],
        &["send", "-o", "xml", "work", "x"],
        &["send", "--no-such-option", "work", "x"],
        &["new", "-e", "NOVALUE", "work"],
        &["new", "--resume", "not-an-id", "work"],
        &["kill"],
        &["kill", "--all", "work"],
        &["ls", "--json", "-F", "x"],
        &["attach"],
        &["keys", "work"],
        &["capture", "--history", "all", "work"],
        &["new", "work", "--size", "80", "--", "cat"],
        &["broker"],
        &[],
    ] {
        let done = world.clsess(args).run().fails(2);
        assert!(
            done.stderr.contains("Usage: clsess") || done.stderr.contains("error: "),
            "{args:?} {}",
            done.stderr
        );
        assert_eq!(done.stdout, b"", "{args:?}");
    }
    assert!(world.processes().is_empty());
}

/// Listens where the broker should, and answers each connection's first frame with these bytes.
fn impostor(world: &World, bytes: Vec<u8>) {
    std::fs::create_dir(world.runtime()).unwrap();
    let listener = UnixListener::bind(world.socket()).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = frame::read(&mut stream);
            let _ = std::io::Write::write_all(&mut stream, &bytes);
        }
    });
}

#[test]
fn a_broker_of_another_protocol() {
    let ours = clsess_proto::VERSION;
    for (protocol, hint) in [
        (
            0,
            "upgrade the broker: clsess broker stop; the next command starts the new one",
        ),
        (99, "upgrade the command to the broker's version"),
    ] {
        let Some(world) = World::bare() else { return };
        let hello = json!({"type": "hello", "protocol": protocol, "version": "9.9.9"});
        impostor(&world, frame::to_wire(&hello).unwrap());
        let message = format!(
            "this command is clsess {ours} (protocol {}), the broker is clsess 9.9.9 (protocol {protocol})",
            clsess_proto::PROTOCOL
        );
        let expected = told(11, "incompatible", &message, hint);
        for args in [&["ls"][..], &["send", "work", "hi"], &["broker", "status"]] {
            check(&world, args, b"", &expected);
        }
    }
}

#[test]
fn a_broker_that_speaks_nonsense() {
    for bytes in [
        &b""[..],
        b"\0\0\0\x03abc",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        let Some(world) = World::bare() else { return };
        impostor(&world, bytes.to_vec());
        let done = world
            .clsess(&["broker", "status", "--json"])
            .run()
            .fails(11);
        let error = &done.json()["error"];
        assert_eq!(error["code"], "broker_unreachable");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with("the connection to the broker is lost: "),
            "{message}"
        );
    }
}

/// Each code is named by a test that provokes it.
#[test]
fn every_code_has_a_test() {
    let root = env!("CARGO_MANIFEST_DIR");
    let source = std::fs::read_to_string(format!("{root}/crates/proto/src/error.rs")).unwrap();
    let body = source.split_once("pub enum ErrorCode {").unwrap().1;
    let body = body.split_once("\n}").unwrap().0;
    let codes = body
        .lines()
        .filter_map(|line| line.trim().strip_suffix(','));
    let tests: String = ["tests", "tests/conformance", "tests/upgrade"]
        .into_iter()
        .flat_map(|dir| std::fs::read_dir(format!("{root}/{dir}")).unwrap())
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    // A fault in clsess itself cannot be provoked; the other is no code of ours.
    let exempt = ["internal", "unknown"];
    let missing: Vec<String> = codes
        .map(snake_case)
        .filter(|code| !exempt.contains(&code.as_str()) && !tests.contains(&format!("\"{code}\"")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
