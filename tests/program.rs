//! Sessions that run a program, as far as they need no terminal of the client's: see attach.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::collections::BTreeMap;

use harness::told::{check, told};
use harness::{CLSESS, World, alive, pid_of, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Makes a session that runs this, and insists on it.
fn program(world: &World, name: &str, command: &[&str]) {
    let line = [&["new", name, "--"], command].concat();
    let done = world.clsess(&line).run().ok();
    assert_eq!(done.text(), format!("{name}\n"));
}

/// The same of a script of the shell.
fn script(world: &World, name: &str, text: &str) {
    program(world, name, &["sh", "-c", text]);
}

fn captured(world: &World, args: &[&str]) -> String {
    let line = [&["capture"], args].concat();
    world.clsess(&line).run().ok().text().to_owned()
}

/// Waits until this stands on the screen.
fn shows(world: &World, name: &str, text: &str) {
    until(&format!("{text:?} on the screen of {name}"), || {
        captured(world, &[name]).contains(text)
    });
}

fn ends(world: &World, name: &str) -> Value {
    world.clsess(&["wait", "--for", "exit", name]).run().ok();
    world.show(name)
}

#[test]
fn it_is_typed_at_and_its_screen_is_text() {
    let Some(world) = World::bare() else { return };
    script(
        &world,
        "sh",
        "stty -echo; while read line; do echo \"<$line>\"; done",
    );
    let typed: [(&[&str], &str); 3] = [
        (&["type", "sh", "two", "words "], ""),
        (&["type", "sh", "--", "--for", "-x"], ""),
        (&["type", "sh"], " and stdin\n"),
    ];
    for (line, stdin) in typed {
        world.clsess(line).stdin(stdin).run().ok();
    }
    world.clsess(&["type", "sh", "a"]).run().ok();
    world.clsess(&["keys", "sh", "b", "Enter"]).run().ok();
    shows(&world, "sh", "<ab>");
    let screen = captured(&world, &["sh"]);
    assert!(
        screen.contains("<two words --for -x and stdin>\n<ab>\n"),
        "{screen}"
    );

    let shown = world.show("sh");
    assert_eq!(shown["driver"], "program");
    assert_eq!(shown["state"], "idle");
    assert_eq!(shown["size"], json!([24, 80]));
    assert_eq!(shown["command"][0], "sh");
    assert!(alive(pid_of(&shown["pid"])));
    for absent in ["agent_session_id", "exit", "model", "usage", "last_error"] {
        assert!(shown.get(absent).is_none(), "{absent}: {shown}");
    }
    // Nothing is waited for: it is at rest, as far as anybody can tell.
    world.clsess(&["wait", "sh"]).run().ok();
}

#[test]
fn keys_are_those_of_a_terminal() {
    let Some(world) = World::bare() else { return };
    script(&world, "raw", "stty raw -echo; echo ready; exec cat -v");
    shows(&world, "raw", "ready");
    let keys = [
        "keys", "raw", "Up", "F1", "C-c", "M-x", "C-\\", "Tab", "Escape", "é", "Enter", "-",
    ];
    world.clsess(&keys).run().ok();

    until("all keys", || captured(&world, &["raw"]).contains("^M-"));
    let screen = captured(&world, &["raw"]);
    assert!(screen.contains("^[[A^[OP^C^[x^\\"), "{screen}");
    assert!(screen.contains("^[M-CM-)^M-"), "{screen}");

    let hint = "as in tmux: Enter, Escape, Tab, Up, F1, C-c, M-x; text: clsess type";
    let expected = told(2, "bad_request", "there is no key Entr", hint);
    check(&world, &["keys", "raw", "x", "Entr"], b"", &expected);
}

#[test]
fn how_it_ended_is_kept() {
    let Some(world) = World::bare() else { return };
    script(&world, "seven", "echo last words; exit 7");
    script(&world, "signalled", "kill -TERM $$");
    let seven = ends(&world, "seven");
    assert_eq!(seven["state"], "exited");
    assert_eq!(seven["detail"], "exit 7");
    assert_eq!(seven["exit"], json!({"code": 7}));
    assert!(seven.get("pid").is_none() && seven.get("holder_pid").is_none());
    assert_eq!(ends(&world, "signalled")["exit"], json!({"signal": 15}));
    world.wait_event(|event| {
        event["session"] == "seven" && event["state"] == "exited" && event["detail"] == "exit 7"
    });
    let listed = world
        .clsess(&["ls", "-F", "#{name} #{state} #{driver}"])
        .run();
    assert_eq!(
        listed.ok().text(),
        "seven exited program\nsignalled exited program\n"
    );

    // What it said last can still be read; nobody is there to type at.
    assert!(captured(&world, &["seven"]).starts_with("last words\n"));
    let gone = told(
        2,
        "no_terminal",
        "the program of seven has exited",
        "clsess restart seven",
    );
    check(&world, &["type", "seven", "x"], b"", &gone);
    check(&world, &["keys", "seven", "x"], b"", &gone);

    // Another broker knows it too.
    world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(world.show("seven")["exit"], json!({"code": 7}));
}

#[test]
fn whoever_waits_for_its_end_waits() {
    let Some(world) = World::bare() else { return };
    program(&world, "cat", &["cat"]);
    let wait = world.clsess(&["wait", "--for", "exit", "--json", "cat"]);
    let wait = wait.spawn();
    world.wait_state("cat", "idle");
    assert!(wait.runs());
    world.clsess(&["keys", "cat", "C-d"]).run().ok();
    let waited = wait.wait().ok().json();
    assert_eq!(waited["sessions"][0]["state"], "exited");
    assert_eq!(waited["sessions"][0]["detail"], "exit 0");
}

#[test]
fn a_restart_begins_it_anew() {
    let Some(world) = World::bare() else { return };
    let text = "echo began $MINE; read line; exit 3";
    let line = ["new", "sh", "--", "sh", "-c", text];
    world.clsess(&line).env("MINE", "one").run().ok();
    shows(&world, "sh", "began one");
    world.clsess(&["type", "sh", "junk"]).run().ok();
    shows(&world, "sh", "junk");
    let first = world.agent("sh");

    let restart = |more: &[&str]| {
        let line = [&["restart", "sh"], more].concat();
        world.clsess(&line).env("MINE", "two").run().ok();
    };
    restart(&[]);
    assert!(!alive(first));
    shows(&world, "sh", "began one");
    assert!(!captured(&world, &["--history", "100", "sh"]).contains("junk"));

    world.clsess(&["keys", "sh", "Enter"]).run().ok();
    assert_eq!(ends(&world, "sh")["exit"], json!({"code": 3}));
    restart(&["--update-env"]);
    shows(&world, "sh", "began two");
    let shown = world.show("sh");
    assert_eq!(shown["state"], "idle");
    assert!(shown.get("exit").is_none());

    // After a stop it is not there, and begins when somebody says so.
    world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(world.show("sh")["state"], "exited");
    restart(&[]);
    shows(&world, "sh", "began two");
}

#[test]
fn its_environment_is_the_callers_with_a_terminal_of_its_own() {
    let Some(world) = World::bare() else { return };
    // What runs in a session starts none.
    world.clsess(&["broker", "start"]).run().ok();
    let new = world.clsess(&["new", "cat", "-e", "SET=by option", "--", "cat"]);
    new.env("MINE", "ä\nb=c")
        .env("SHELL", "/bin/sh")
        .env("TERM", "dumb")
        .env("LINES", "5")
        .env("COLUMNS", "7")
        .env("TMUX", "x")
        .env("CLAUDECODE", "1")
        .env("CLSESS_SESSION", "another")
        .run()
        .ok();
    let file = format!("/proc/{}/environ", world.agent("cat"));
    let mut bytes = Vec::new();
    // It is empty for a moment while the program is started (fs/proc/base.c, environ_read).
    until("it has an environment", || {
        bytes = std::fs::read(&file).unwrap();
        !bytes.is_empty()
    });
    let text = String::from_utf8(bytes).unwrap();
    let found: BTreeMap<&str, &str> = text
        .split_terminator('\0')
        .map(|pair| pair.split_once('=').unwrap())
        .collect();
    let (env, socket) = (world.env(), world.socket());
    let mut expected: BTreeMap<&str, &str> = env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    expected.extend([
        ("MINE", "ä\nb=c"),
        ("SET", "by option"),
        ("SHELL", "/bin/sh"),
        ("TERM", "xterm-256color"),
        ("COLORTERM", "truecolor"),
        ("CLSESS_SESSION", "cat"),
        ("CLSESS_SOCKET", socket.to_str().unwrap()),
    ]);
    assert_eq!(found, expected);
}

#[test]
fn its_directory_needs_no_trust() {
    let Some(world) = World::bare() else { return };
    let dir = world.root().join("untrusted");
    std::fs::create_dir(&dir).unwrap();
    let dir = dir.to_str().unwrap();
    let line = ["new", "-c", dir, "--", "sh", "-c", "pwd; exec cat"];
    let done = world.clsess(&line).run().ok();
    assert_eq!(done.text(), "untrusted\n");
    shows(&world, "untrusted", dir);
}

#[test]
fn its_terminal_has_the_size_that_was_asked_for() {
    let Some(world) = World::bare() else { return };
    let line = [
        "new",
        "sh",
        "--size",
        "100x30",
        "--",
        "sh",
        "-c",
        "stty size; tty; exec cat",
    ];
    world.clsess(&line).run().ok();
    shows(&world, "sh", "30 100\n/dev/pts/");
    assert_eq!(captured(&world, &["sh"]).lines().count(), 30);
    assert_eq!(world.show("sh")["size"], json!([30, 100]));
    for size in ["80", "0x24", "80x1001", "x", "80x24x1"] {
        let line = ["new", "other", "--size", size, "--", "cat"];
        world.clsess(&line).run().fails(2);
    }
    for line in [
        &["new", "other", "--size", "80x24"][..],
        &["new", "other", "--model", "opus", "--", "cat"],
        &["new", "other", "-a", "--json", "--", "cat"],
    ] {
        world.clsess(line).run().fails(2);
    }
}

#[test]
fn history_is_kept_as_far_as_the_config_says() {
    let Some(world) = World::bare() else { return };
    world.config(
        "[defaults]\nscrollback = 10\n\n[profile.much]\nscrollback = 1000\n\n\
         [session.more]\nprofile = 'much'\n",
    );
    for name in ["few", "more"] {
        script(
            &world,
            name,
            "seq 1 100; printf '\\033[31mred\\033[m'; exec cat",
        );
        shows(&world, name, "red");
    }
    let lines = |args: &[&str]| -> Vec<String> {
        let lines = captured(&world, args);
        lines.lines().map(str::to_owned).collect()
    };
    let screen = lines(&["more"]);
    assert_eq!((screen.len(), screen[0].as_str()), (24, "78"));
    assert_eq!(lines(&["--history", "5", "more"])[0], "73");
    assert_eq!(lines(&["--history", "1000", "more"])[0], "1");
    assert_eq!(lines(&["--history", "1000", "few"])[0], "68");
    assert_eq!(screen[23], "red");
    assert!(lines(&["--ansi", "more"])[23].contains("\x1b[31mred"));
}

#[test]
fn what_is_for_agents_is_refused() {
    let Some(world) = World::bare() else { return };
    program(&world, "cat", &["cat"]);
    let hint = "clsess attach cat, or clsess type cat TEXT";
    let message = "cat runs a program, which takes no prompts";
    let expected = told(2, "not_an_agent", message, hint);
    for line in [
        &["send", "cat", "hello"][..],
        &["send", "--no-wait", "cat", "hello"],
        &["result", "cat"],
        &["log", "cat"],
        &["queue", "cat"],
        &["interrupt", "cat"],
        &["approve", "cat"],
    ] {
        let done = world.clsess(line).run().fails(2);
        assert_eq!(done.stderr, expected.text(), "{line:?}");
    }
    assert_eq!(world.show("cat")["turns"], 0);
    // It asks nothing.
    for line in [
        &["questions", "--json"][..],
        &["questions", "--json", "cat"],
    ] {
        let asked = world.clsess(line).run().ok();
        assert_eq!(asked.json(), json!({"questions": []}));
    }
}

#[test]
fn what_needs_a_terminal_says_so() {
    let Some(mut world) = World::bare() else {
        return;
    };
    program(&world, "cat", &["cat"]);
    let done = world.clsess(&["attach", "cat"]).run().fails(2);
    assert!(done.stderr.starts_with("clsess: attach needs a terminal"));
    assert_eq!(world.show("cat")["attached"], 0);

    world.idle_agent();
    world.session("work");
    let hint = "what it says: clsess log -f work";
    let expected = told(2, "no_terminal", "the agent of work has no terminal", hint);
    for line in [
        &["capture", "work"][..],
        &["type", "work", "x"],
        &["keys", "work", "x"],
    ] {
        check(&world, line, b"", &expected);
    }
}

#[test]
fn what_cannot_be_started_leaves_nothing() {
    let Some(world) = World::bare() else { return };
    let file = world.project().join("not-executable");
    std::fs::write(&file, "").unwrap();
    let hint = "a path, or a name in your PATH";
    for missing in ["no-such-program", "./not-executable", "/no/such/program"] {
        let message = format!("{missing}: no such program");
        let expected = told(1, "agent_not_found", &message, hint);
        check(&world, &["new", "x", "--", missing], b"", &expected);
    }
    let line = ["new", "x", "-c", "/no/such/dir", "--", "cat"];
    let done = world.clsess(&line).run().fails(1);
    assert!(done.stderr.contains("/no/such/dir"), "{}", done.stderr);
    world.clsess(&["new", "x", "--", ""]).run().fails(2);
    assert_eq!(world.clsess(&["ls"]).run().ok().text(), "");
}

#[test]
fn a_directory_that_goes_is_told() {
    let Some(world) = World::bare() else { return };
    let dir = world.root().join("gone");
    std::fs::create_dir(&dir).unwrap();
    let name = dir.to_str().unwrap();
    world
        .clsess(&["new", "sh", "-c", name, "--", "cat"])
        .run()
        .ok();
    world.clsess(&["keys", "sh", "C-d"]).run().ok();
    ends(&world, "sh");
    std::fs::remove_dir(&dir).unwrap();
    let message = format!("{name} is gone or no directory");
    let expected = told(1, "bad_directory", &message, None);
    check(&world, &["restart", "sh"], b"", &expected);
    assert_eq!(world.show("sh")["state"], "failed");
    check(&world, &["type", "sh", "x"], b"", &expected);
    // It is tried again when somebody says so.
    std::fs::create_dir(&dir).unwrap();
    world.clsess(&["restart", "sh"]).run().ok();
    assert_eq!(world.show("sh")["state"], "idle");
}

#[test]
fn a_name_that_is_taken_is_taken() {
    let Some(world) = World::bare() else { return };
    program(&world, "cat", &["cat"]);
    let pid = world.agent("cat");
    world.clsess(&["new", "cat", "--", "cat"]).run().fails(4);
    let done = world.clsess(&["new", "-A", "cat", "--", "cat"]).run().ok();
    assert_eq!(done.text(), "cat\n");
    assert_eq!(world.agent("cat"), pid);
    world.clsess(&["rename", "cat", "dog"]).run().ok();
    world.clsess(&["show", "cat"]).run().fails(3);
    world.clsess(&["type", "dog", "meow"]).run().ok();
    shows(&world, "dog", "meow");
    assert_eq!(world.agent("dog"), pid);
}

#[test]
fn kill_ends_all_of_it() {
    let Some(world) = World::bare() else { return };
    script(
        &world,
        "sh",
        "trap '' HUP TERM; sleep 1000 & setsid sleep 1000 & echo ready; wait; wait; sleep 1000",
    );
    shows(&world, "sh", "ready");
    let (pid, id) = (world.agent("sh"), world.show("sh")["id"].clone());
    let done = world.clsess(&["kill", "--grace", "100ms", "sh"]).run().ok();
    assert_eq!(
        done.text(),
        format!("killed sh ({})\n", id.as_str().unwrap())
    );
    assert!(!alive(pid));
    let left = world.processes();
    assert!(
        !left.iter().any(|(_, line)| line.contains("sleep")),
        "{left:?}"
    );
    world.clsess(&["show", "sh"]).run().fails(3);
}

#[test]
fn it_outlives_the_broker() {
    let Some(world) = World::bare() else { return };
    script(
        &world,
        "sh",
        "echo before; while read line; do echo \"<$line>\"; done; exit 5",
    );
    shows(&world, "sh", "before");
    let pid = world.agent("sh");
    for round in 0..3 {
        let status = world.clsess(&["broker", "status", "--json"]).run().ok();
        send_signal(pid_of(&status.json()["pid"]), Signal::SIGKILL);
        let typed = format!("round {round}\n");
        // Whether it was typed is not known when its broker dies: so it is not typed twice.
        until("it is typed", || {
            world
                .clsess(&["type", "sh"])
                .stdin(typed.as_str())
                .run()
                .code
                == 0
        });
        shows(&world, "sh", &format!("<round {round}>"));
    }
    assert!(captured(&world, &["sh"]).starts_with("before\n"));
    assert_eq!(world.agent("sh"), pid);
    world.clsess(&["keys", "sh", "C-d"]).run().ok();
    assert_eq!(ends(&world, "sh")["exit"], json!({"code": 5}));
}

#[test]
fn a_question_is_answered_once_whoever_dies() {
    let Some(world) = World::bare() else { return };
    let ask = "printf '\\033[6n'";
    let text = format!("stty raw -echo; {ask}; echo asked; exec cat -v");
    script(&world, "raw", &text);
    shows(&world, "raw", "^[[1;1R");
    for _ in 0..2 {
        world.kill_broker();
        // What the broker types before comes out before.
        world.clsess(&["type", "raw", "."]).run().ok();
    }
    shows(&world, "raw", "..");
    let screen = captured(&world, &["raw"]);
    assert_eq!(screen.matches("R").count(), 1, "{screen}");
}

#[test]
fn a_program_whose_holder_was_killed_ends_and_nobody_knows_how() {
    let Some(world) = World::bare() else { return };
    program(&world, "cat", &["cat"]);
    let pid = world.agent("cat");
    send_signal(pid_of(&world.show("cat")["holder_pid"]), Signal::SIGKILL);
    let shown = ends(&world, "cat");
    assert!(!alive(pid));
    assert_eq!(shown["exit"], json!({}));
    assert_eq!(shown["detail"], "how it ended is not known");
}

/// It is a shell like any other: what is typed in it is its user's own.
#[test]
fn what_runs_in_it_is_its_users() {
    let Some(world) = World::bare() else { return };
    program(&world, "other", &["cat"]);
    let out = world.root().join("out");
    let lines = [
        "ls",
        "type other x",
        "new third -- cat",
        "kill other",
        "attach sh",
    ];
    let mut text = String::new();
    for line in lines {
        text += &format!(
            "{CLSESS} {line} 2>>{0}; echo $? >>{0}.codes\n",
            out.display()
        );
    }
    script(&world, "sh", &text);
    ends(&world, "sh");
    let codes = std::fs::read_to_string(out.with_extension("codes")).unwrap();
    assert_eq!(codes, "0\n0\n0\n0\n1\n");
    let said = std::fs::read_to_string(&out).unwrap();
    let message = "clsess: this terminal is that of the session itself\n";
    assert!(said.contains(message), "{said}");
}

#[test]
fn nothing_behind_the_dashes_is_no_agent() {
    let Some(world) = World::bare() else { return };
    let done = world.clsess(&["new", "sh", "--"]).run().fails(2);
    assert!(done.stderr.contains("no program behind --"), "{done:?}");
    assert_eq!(
        world.clsess(&["ls", "--json"]).run().json()["sessions"],
        serde_json::json!([])
    );
}
