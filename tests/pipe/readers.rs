//! Readers of stdout that are slow, or go away, or do not read stderr.

use std::io::Write;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::Piped;
use crate::harness::{World, until};

/// More pieces of an answer than the broker keeps for a reader that falls behind, and the sockets
/// and pipes between them hold.
const MANY_PIECES: usize = 25_000;

#[test]
fn a_long_answer_gets_whole_past_a_slow_reader() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.session("other");
    let (line, times) = ("a line of a long answer\n", MANY_PIECES);
    let text = json!({"text": line, "times": times});
    let respond = json!([{"repeat_text": text, "delta_bytes": line.len()}]);
    world.api.rule("long", respond);
    // The reader begins when everything has long been said.
    let script = "clsess pipe work | (read -r x <go; cat)";
    let go = fifo(&world, "go");
    let mut input = Vec::new();
    for prompt in ["long", "short"] {
        let line = json!({"cmd": "send", "prompt": prompt});
        writeln!(input, "{line}").unwrap();
    }
    let reader = world.shell(script).stdin(input).spawn();
    until("both have run", || world.show("work")["turns"] == 2);
    assert_eq!(world.send("other", "hi"), "you said: hi\n");
    std::fs::write(&go, "go\n").unwrap();
    let done = reader.wait().ok();
    let lines = done.json_lines();
    let results = lines.iter().filter(|line| line["type"] == "result");
    let results: Vec<_> = results
        .map(|line| line["result"].as_str().unwrap())
        .collect();
    assert!(results == [&line.repeat(times), "you said: short"]);
    let first = lines.iter().position(|line| line["type"] == "result");
    let texts = |lines: &[Value]| -> String {
        let deltas = lines.iter().filter(|line| line["type"] == "text_delta");
        deltas.map(|line| line["text"].as_str().unwrap()).collect()
    };
    let (long, short) = lines.split_at(first.unwrap());
    assert!(texts(long) == line.repeat(times));
    assert_eq!(texts(short), "you said: short");
}

#[test]
fn a_reader_that_goes_away_leaves_the_turn_running() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.api.rule(
        "slow",
        json!([{"text": "an answer", "delta_bytes": 2, "hold": "h", "hold_after": 2}]),
    );
    let script = "clsess pipe work | { head -n 2 >/dev/null; exec <&-; touch gone; }; \
                  echo ${PIPESTATUS[0]}";
    let shell = world
        .shell(script)
        .stdin("{\"cmd\":\"send\",\"prompt\":\"slow\"}\n")
        .spawn();
    world.api.wait_hold("h", 1);
    until("the reader is gone", || {
        world.project().join("gone").exists()
    });
    world.api.release("h");
    assert_eq!(shell.wait().ok().text(), "141\n");
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "an answer\n");
}

/// A file that a shell waits at, until the test writes it.
fn fifo(world: &World, name: &str) -> std::path::PathBuf {
    let fifo = world.project().join(name);
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    fifo
}

#[test]
fn shutdown_does_not_need_a_reader() {
    let Some(world) = World::real() else { return };
    world
        .api
        .rule("hang", json!([{"text": "late", "hold": "h"}]));
    let input = fifo(&world, "in");
    let script = "clsess pipe -A work <in | { read -r x; exec <&-; touch gone; }; \
                  echo ${PIPESTATUS[0]}";
    let shell = world.shell(script).spawn();
    let mut input = std::fs::File::create(&input).unwrap();
    writeln!(input, r#"{{"cmd":"send","prompt":"hang"}}"#).unwrap();
    world.api.wait_hold("h", 1);
    until("the reader is gone", || {
        world.project().join("gone").exists()
    });
    writeln!(input, r#"{{"cmd":"shutdown"}}"#).unwrap();
    assert_eq!(shell.wait().ok().text(), "0\n");
    let ls = world.clsess(&["ls", "--json"]).run().ok().json();
    assert_eq!(ls, json!({"sessions": []}));
}

#[test]
fn a_reader_that_stands_still_keeps_nothing_from_its_end() {
    let Some(world) = World::real() else { return };
    let text = json!({"text": "a line\n", "times": 100_000});
    world.api.rule("long", json!([{"repeat_text": text}]));
    for (ends, code) in [("shutdown", "0\n"), ("kill -TERM", "143\n")] {
        let name = format!("in.{code}").trim().to_owned();
        let input = fifo(&world, &name);
        // Somebody could read it, and does not.
        let script = format!(
            "rm -f out; mkfifo out; exec 3<>out; clsess pipe -A work <{name} >out & wait $!; echo $?"
        );
        let shell = world.shell(&script).spawn();
        let mut input = std::fs::File::create(&input).unwrap();
        writeln!(input, r#"{{"cmd":"send","prompt":"long"}}"#).unwrap();
        until("the turn has run", || {
            let shown = world.clsess(&["show", "--json", "work"]).run();
            shown.code == 0 && shown.json()["turns"] == 1
        });
        if ends == "shutdown" {
            writeln!(input, r#"{{"cmd":"shutdown"}}"#).unwrap();
        } else {
            let all = world.processes();
            let pipe = all
                .iter()
                .find(|(_, line)| line.starts_with("clsess pipe "));
            crate::harness::send_signal(pipe.unwrap().0, Signal::SIGTERM);
        }
        assert_eq!(shell.wait().ok().text(), code);
    }
    assert_eq!(world.show("work")["turns"], 1);
}

#[test]
fn a_stderr_that_nobody_reads_stops_nothing() {
    let Some(world) = World::real() else { return };
    let steps = json!([{"blocks": [world.write("new")]}, {"text": "not written"}]);
    world.api.rule_repeat("write", steps);
    world.session("work");
    // Full but for some bytes.
    let script = "mkfifo err; exec 5<>err; head -c 65000 /dev/zero >&5; \
                  clsess pipe work 2>&5";
    let mut input = Vec::new();
    for number in 0..12 {
        let line = json!({"cmd": "send", "prompt": format!("write {number}")});
        writeln!(input, "{line}").unwrap();
    }
    let done = world.shell(script).stdin(input).run().ok();
    let lines = done.json_lines();
    let results = lines.iter().filter(|line| line["type"] == "result");
    assert_eq!(results.count(), 12);
    // Where it is read, it is said what was denied.
    let mut pipe = Piped::begin(&world, &["work"]);
    assert_eq!(pipe.answer("write it"), "not written");
    assert!(pipe.end().1.stderr.starts_with("clsess: denied: Write"));
}
