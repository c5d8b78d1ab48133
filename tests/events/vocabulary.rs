//! Every event, as the real agent makes it happen, is as the schema says.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::tools::{background_bash, waits_for};
use crate::harness::{World, send_signal};
use crate::strict::{committed, event_names, strict, validator};
use crate::{asks, held, held_answer, is, is_state, strictly_increasing, told, told_until, watch};

/// Events that this script cannot make happen.
const NOT_SEEN: &[(&str, &str)] = &[(
    "error",
    "for later: this broker tells errors by turns, replies and states",
)];

/// Each line is what the strict schema says of it.
#[track_caller]
fn check(definition: &str, lines: &[Value]) {
    let (open, closed) = (
        validator(definition, &committed()),
        validator(definition, &strict()),
    );
    for line in lines {
        assert!(open.is_valid(line), "{line}");
        assert!(closed.is_valid(line), "{line} has what is not written down");
    }
}

/// What `send -o stream-json` of a turn printed; the last line is its report.
#[track_caller]
fn stream(lines: &[Value]) -> &Value {
    let (report, events) = lines.split_last().unwrap();
    check("event", events);
    check("report", std::slice::from_ref(report));
    assert!(is(report, "result"));
    report
}

/// `send -o stream-json ARG...`
fn send(world: &World, args: &[&str]) -> crate::Running {
    let args = [&["send", "-o", "stream-json"], args].concat();
    world.clsess(&args).spawn()
}

fn rules(world: &World) {
    let tool = |command: &str| json!({"tool": {"name": "Bash", "input": {"command": command}}});
    let thinks = json!([
        {"blocks": [{"thinking": "let me see"}, {"text": "I look."}, tool("echo hi")]},
        {"text": "it is there"}
    ]);
    world.api.rule("look", thinks);
    let retried = json!([{"status": 429, "message": "slow down"}, {"text": "at last"}]);
    world.api.rule("again", retried);
    let steered =
        json!([{"blocks": [{"text": "a"}, {"hold": "s"}, tool("true")]}, {"text": "end"}]);
    world.api.rule("long", steered);
    asks(world, "write");
}

/// A background task that reports when it is let go.
fn background(world: &World) -> std::path::PathBuf {
    let go = world.project().join("go");
    let tool = background_bash(&waits_for(&go));
    world
        .api
        .rule("begin", json!([{"blocks": [tool]}, {"text": "begun"}]));
    world.api.ask(json!({
        "cmd": "rule", "match": null, "kind": "notification", "respond": [{"text": "said unasked"}]
    }));
    go
}

#[test]
fn every_event_of_real_sessions_is_as_the_schema_says() {
    let Some(world) = World::real() else { return };
    rules(&world);
    world.clsess(&["broker", "start"]).run().ok();
    let watching = watch(&world);
    let new = ["new", "work", "--agent-arg=--allowedTools=Bash"];
    world.clsess(&new).run().ok();

    for (prompt, answer) in [("look", "it is there"), ("again", "at last")] {
        let lines = send(&world, &["work", prompt]).wait().ok().json_lines();
        let report = stream(&lines);
        assert_eq!(report["answer"], answer);
        assert!(report["usage"].is_object());
    }

    for (decision, count) in [("approve", 0), ("deny", 1)] {
        let asking = send(&world, &["--on-question", "wait", "work", "write"]);
        told_until(&asking, |event| is(event, "question"));
        world.clsess(&[decision, "work"]).run().ok();
        let lines = asking.wait().ok().json_lines();
        let denials = stream(&lines)["permission_denials"].as_array().unwrap();
        assert_eq!(denials.len(), count, "{decision}");
    }

    let long = send(&world, &["work", "long"]);
    world.api.wait_hold("s", 1);
    let steering = send(&world, &["--on-busy", "steer", "work", "and this"]);
    told_until(&steering, |event| is(event, "steered"));
    world.api.release("s");
    let (long, steering) = (long.wait().ok(), steering.wait().ok());
    let (long, steering) = (long.json_lines(), steering.json_lines());
    assert_eq!(stream(&steering)["steered_into"], stream(&long)["turn"]);

    let interrupted = held(&world, "work");
    world.clsess(&["interrupt", "work"]).run().ok();
    interrupted.wait().fails(10);
    world.api.release("h");

    held_answer(&world, "killed");
    let killed = send(&world, &["work", "killed"]);
    world.api.wait_hold("h", 1);
    world.api.answer("killed", "once more");
    send_signal(world.agent("work"), Signal::SIGKILL);
    let lines = killed.wait().ok().json_lines();
    assert_eq!(stream(&lines)["agent_deaths"], 1);
    assert!(lines.iter().any(|event| is(event, "restart")));
    world.send("work", "and now?");

    world.clsess(&["rename", "work", "done"]).run().ok();

    let go = background(&world);
    world.send("done", "begin");
    std::fs::write(&go, "").unwrap();
    told(&watching, |events| {
        let unasked = events.iter().find(|event| is(event, "unasked"));
        unasked.is_some_and(|unasked| {
            let mut turn = events.iter().filter(|it| it["turn"] == unasked["turn"]);
            turn.any(|event| is(event, "result"))
        })
    });

    let none = world.clsess(&["send", "-o", "stream-json", "nobody", "hi"]);
    check("complaint", &none.run().fails(3).json_lines());

    limited(&world);

    // The next broker knows nothing of what the last one told.
    let before = watching_so_far(&watching);
    send_signal(world.broker(), Signal::SIGKILL);
    told_until(&watching, |event| is(event, "gap"));
    world.send("done", "hi");
    world.clsess(&["kill", "done"]).run().ok();
    let events = told_until(&watching, |event| is_state(event, "done", "gone"));
    let mut of_it = events.iter().filter(|event| event["session"] == "done");
    assert!(is_state(of_it.next_back().unwrap(), "done", "gone"));
    strictly_increasing(&events[..before]);
    check("event", &events);

    let seen: BTreeSet<String> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap().to_owned())
        .collect();
    let mut expected = event_names();
    for (name, _why) in NOT_SEEN {
        assert!(expected.remove(*name), "{name}");
    }
    assert_eq!(seen, expected);
}

/// How many events have been told.
fn watching_so_far(watching: &crate::Running) -> usize {
    told(watching, |_| true).len()
}

/// A turn that waits for the end of a limit.
fn limited(world: &World) {
    let new = ["new", "limited", "-e", "CLAUDE_CODE_MAX_RETRIES=0"];
    world.clsess(&new).run().ok();
    world.api.answer("limit", "at last");
    world.api.ask(json!({
        "cmd": "rule", "match": "limit", "once": true,
        "respond": [{"status": 429, "message": "told 429"}]
    }));
    let limited = send(world, &["--on-limit", "wait", "limited", "limit"]);
    told_until(&limited, |event| is(event, "rate_limit"));
    world.clsess(&["queue", "limited", "run"]).run().ok();
    let lines = limited.wait().ok().json_lines();
    assert_eq!(stream(&lines)["answer"], "at last");
}
