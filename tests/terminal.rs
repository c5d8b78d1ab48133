//! What is different on a terminal (`script` makes one).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::{CLSESS, Cmd, World, until};
use nix::sys::signal::Signal;
use serde_json::json;

/// A line of the shell on a terminal of its own; its exit code is the line's.
fn on_terminal(world: &World, line: &str) -> Cmd {
    let line = format!("stty -onlcr; {line}");
    let args = ["-qfec", &line, "/dev/null"];
    world.program("script", &args).env("CLSESS", CLSESS)
}

#[test]
fn a_terminal_gets_all_texts_as_they_come() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let file = world.project().join("a");
    std::fs::write(&file, "x\n").unwrap();
    let tool = json!({"tool": {"name": "Read", "input": {"file_path": file}}});
    world.api.rule(
        "go",
        json!([
            {"blocks": [{"text": "first"}, tool]},
            {"blocks": [{"text": "second"}, {"hold": "h"}]},
        ]),
    );
    let send = on_terminal(&world, "$CLSESS send work go 2>/dev/null")
        .silent_stdin()
        .spawn();
    world.api.wait_hold("h", 1);
    send.wait_stdout(|out| out == b"first\n\nsecond");
    world.api.release("h");
    assert_eq!(send.wait().ok().text(), "first\n\nsecond\n");
    // Only the answer goes into a file, and the terminal hears of the tool.
    let send = on_terminal(&world, "$CLSESS send work go >out");
    world.api.rule(
        "go",
        json!([{"blocks": [{"text": "first"}, tool]}, {"text": "second"}]),
    );
    let done = send.silent_stdin().run().ok();
    assert!(done.text().contains("Read"), "{done:?}");
    let out = std::fs::read(world.project().join("out")).unwrap();
    assert_eq!(out, b"second\n");
}

#[test]
fn quiet_is_quiet_on_a_terminal_too() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let send = on_terminal(&world, "$CLSESS -q send work hi >out");
    assert_eq!(send.silent_stdin().run().ok().text(), "");
}

#[test]
fn ctrl_c_interrupts_the_turn() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let mut send = on_terminal(&world, "$CLSESS send work slow")
        .silent_stdin()
        .spawn();
    world.api.wait_hold("h", 1);
    send.type_in(b"\x03");
    send.wait().fails(130);
    world.api.release("h");
    let result = world.clsess(&["result", "-o", "json", "work"]);
    assert_eq!(result.run().fails(10).json()["outcome"], "interrupted");
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
}

#[test]
fn trust_can_be_given_on_a_terminal() {
    let Some(world) = World::real() else { return };
    let dir = world.root().join("strange");
    std::fs::create_dir(&dir).unwrap();
    let question = format!(
        "clsess: {} is not trusted: its own hooks and settings would run without asking\n\
         Trust it? [y/N] ",
        dir.display()
    );
    for (answer, code) in [("n", 1), ("", 1), ("y", 0)] {
        let new = on_terminal(&world, "$CLSESS new work").cwd(&dir);
        let mut new = new.silent_stdin().spawn();
        new.wait_stdout(|out| String::from_utf8_lossy(out).contains(&question));
        new.type_in(format!("{answer}\n").as_bytes());
        new.wait().fails(code);
    }
    assert_eq!(world.show("work")["cwd"], dir.to_str().unwrap());
}

#[test]
fn ctrl_c_ends_a_send_that_makes_its_session() {
    let Some(mut world) = World::bare() else {
        return;
    };
    let asked = world.root().join("asked");
    world.scripted_agent(&format!(
        "[ \"$1\" = --version ] && {{ echo '2.1.328 (Claude Code)'; exit; }}\n\
         touch {}; exec cat >/dev/null",
        asked.display()
    ));
    // In front of the question of trust.
    let dir = world.root().join("strange");
    std::fs::create_dir(&dir).unwrap();
    let send = on_terminal(&world, "$CLSESS send -A work hi").cwd(&dir);
    let mut send = send.silent_stdin().spawn();
    send.wait_stdout(|out| String::from_utf8_lossy(out).contains("Trust it?"));
    send.type_in(b"\x03");
    send.wait().fails(130);
    // While the agent is being started.
    let send = on_terminal(&world, "$CLSESS send -A work hi");
    let mut send = send.silent_stdin().spawn();
    until("the agent is there", || asked.exists());
    send.type_in(b"\x03");
    send.wait().fails(130);
    world.clsess(&["kill", "--all"]).run().ok();
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "at last", "hold": "h"}]));
    let send = world
        .shell("trap '' HUP; exec clsess send work slow")
        .spawn();
    world.api.wait_hold("h", 1);
    send.signal(Signal::SIGHUP);
    world.api.release("h");
    assert_eq!(send.wait().ok().text(), "at last\n");
}

#[test]
fn the_broker_outlives_the_terminal_that_started_it() {
    let Some(world) = World::bare() else { return };
    on_terminal(&world, "$CLSESS ls").silent_stdin().run().ok();
    let pid = world.broker();
    let ls = world.clsess(&["ls"]).run().ok();
    assert_eq!(ls.text(), "");
    assert_eq!(world.broker(), pid);
}
