//! Faults of the agent that the real one cannot be made to show: what the sender is told, that
//! nothing hangs, that the next prompt gets its own answer, and (when the world is dropped) that
//! no process is left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "steps are written as literals"
)]

mod harness;

use harness::fake::FakeAgent;
use harness::told::{Told, check, told};
use harness::{World, alive, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const DIED: &str = "what it did is in its conversation; the next send takes it up again";
const AGAIN: &str =
    "clsess: the agent died once in this turn, and another one was given the prompt\n";
const DAMAGED: &str = "what the agent printed could not be read whole, so the answer is not proven";
const DAMAGED_HINT: &str =
    "clsess result -o json shows what was read; the agent's transcript has the rest";

fn damaged() -> Told<'static> {
    told(1, "answer_damaged", DAMAGED, DAMAGED_HINT)
}

/// The next prompt gets its own answer, byte for byte.
#[track_caller]
fn next_is_right(world: &World, agent: &FakeAgent) {
    let number = agent.prompts().len();
    let prompt = format!("next after {number}");
    assert_eq!(world.send("work", &prompt), format!("you said: {prompt}\n"));
    assert_eq!(agent.prompts().last().unwrap(), &prompt);
}

/// Each fault is answered as if it were none.
fn harmless(faults: &[(&str, Value)]) {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    for (name, steps) in faults {
        agent.rule(name, steps.clone());
        let done = world.clsess(&["send", "work", name]).run();
        let told = (done.code, done.text(), done.stderr.as_str());
        assert_eq!(
            told,
            (0, format!("you said: {name}\n").as_str(), ""),
            "{name}"
        );
        next_is_right(&world, &agent);
    }
    assert_eq!(agent.told("started").len(), 1, "one agent had them all");
}

/// Each fault is told as `expected`, by `send` and by `result`, and has an outcome.
fn told_as(expected: &Told<'_>, outcome: &str, faults: &[(&str, Value)]) {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    for (name, steps) in faults {
        agent.rule(name, steps.clone());
        let done = world.clsess(&["send", "work", name]).run();
        let seen = (done.code, done.stderr.as_str());
        assert_eq!(seen, (expected.exit, expected.text().as_str()), "{name}");
        assert_eq!(done.stdout, b"", "{name}");
        check(&world, &["result", "work"], b"", expected);
        let json = world.clsess(&["result", "-o", "json", "work"]).run().json();
        assert_eq!(json["outcome"], outcome, "{name}");
        next_is_right(&world, &agent);
    }
}

// ---- bytes ----

#[test]
fn every_look_of_a_good_line_is_the_same_line() {
    let shape = |shape: Value| json!([{"shape": shape}]);
    harmless(&[
        ("sorted", shape(json!({"order": "sorted"}))),
        ("reversed", shape(json!({"order": "reversed"}))),
        ("shuffled 1", shape(json!({"order": "shuffled", "seed": 1}))),
        ("shuffled 2", shape(json!({"order": "shuffled", "seed": 2}))),
        ("spaces", shape(json!({"spaces": true}))),
        ("escaped é😀", shape(json!({"ascii": true}))),
        ("crlf", shape(json!({"crlf": true}))),
        ("blank lines", shape(json!({"between": "\n \t\n\r\n"}))),
        ("byte by byte é€😀", shape(json!({"chunks": [1]}))),
        ("odd pieces é€😀", shape(json!({"chunks": [3, 1, 7, 2]}))),
        (
            "all of it é€😀",
            shape(json!({
                "order": "shuffled", "seed": 3, "spaces": true, "ascii": true, "crlf": true,
                "between": "\n", "chunks": [5, 1],
            })),
        ),
        ("plain again", shape(json!({}))),
    ]);
}

#[test]
fn a_line_with_every_character_escaped_is_the_same_line() {
    harmless(&[
        ("nothing", json!([])),
        ("escaped", json!([{"shape": {"escape": true}}])),
    ]);
}

#[test]
fn lines_that_mean_nothing_are_nothing() {
    harmless(&[
        ("unknown type", json!([{"raw": {"type": "wibble"}}])),
        (
            "no type",
            json!([{"raw": "{}"}, {"say": "you said: no type"}]),
        ),
        (
            "odd types",
            json!(["begin", {"raw": [
                {"type": 5}, {"type": "result "}, {"type": "system"},
                {"type": "system", "subtype": "wibble"}, {"type": "assistant"},
                {"type": "assistant", "message": 7}, {"type": "stream_event", "event": []},
                {"type": "command_lifecycle", "command_uuid": "no", "state": "completed"},
                {"type": "control_response"}, {"type": "user", "message": {"content": 3}},
            ]}]),
        ),
        (
            "half a line, and the rest later",
            json!([{"write": "{\"type\":\"wib"}, {"sleep": 50}, {"write": "ble\"}\n"}]),
        ),
        (
            "10 MB of a type that nobody knows",
            json!([
                {"write": "{\"type\":\"wibble\",\"x\":\""},
                {"fill": {"text": "x", "times": 10_000_000}}, {"write": "\"}\n"},
            ]),
        ),
        (
            "background tasks",
            json!(["begin", {"background": 3}, {"background": 0}]),
        ),
        (
            "a rate limit that allows",
            json!(["begin", {"rate_limit": {
                "status": "allowed_warning", "resetsAt": 1_800_000_000, "rateLimitType": "five_hour",
            }}]),
        ),
        ("words on stderr", json!([{"stderr": "a warning\n"}])),
        (
            "a flood on stderr",
            json!(["begin", {"stderr": {"text": "0123456789abcde\n", "times": 500_000}}]),
        ),
        (
            "it waits for nothing",
            json!(["begin", {"state": "requires_action"}, {"state": "running"}]),
        ),
        (
            "a request that nobody knows",
            json!(["begin", {"raw": {"type": "control_request", "request_id": "odd",
                "request": {"subtype": "wibble"}}}]),
        ),
        ("stderr closed", json!([{"close": "stderr"}])),
    ]);
}

#[test]
fn garbage_between_the_lines_damages_the_answer() {
    told_as(
        &damaged(),
        "failed",
        &[
            ("no json", json!(["begin", {"raw": "this is not json"}])),
            (
                "half a line",
                json!(["begin", {"raw": "{\"type\":\"assist"}]),
            ),
            ("a number", json!(["begin", {"raw": "5"}])),
            (
                "a list",
                json!(["begin", {"raw": "[{\"type\":\"result\"}]"}]),
            ),
            (
                "random bytes",
                json!(["begin", {"hex": "ff fe 00 80 c3 28 0a"}]),
            ),
            ("a NUL before a line", json!(["begin", {"hex": "00"}])),
            (
                "a broken character",
                json!(["begin", {"hex": "7b2274797065223a22ff227d 0a"}]),
            ),
            (
                "no line's end",
                json!(["begin", {"write": "{\"type\":\"wibble\"}"}]),
            ),
            (
                "a result that says something else",
                json!([{"say": "one"}, {"result": {"set": {"result": "two"}}}]),
            ),
            (
                "two results",
                json!([{"say": "you said: two results"}, {"result": {}}, {"result": {}}]),
            ),
            (
                "10 MB that are no JSON",
                json!(["begin", {"fill": {"text": "x", "times": 10_000_000}}, {"write": "\n"}]),
            ),
        ],
    );
}

#[test]
fn long_answers_come_whole() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let long = "0123456789abcdé\n".repeat(650_000);
    let words = json!({"text": "0123456789abcdé\n", "times": 650_000});
    agent.rule("one delta", json!([{"say": words}]));
    agent.rule(
        "no delta",
        json!([{"say": {
            "text": "0123456789abcdé\n", "times": 650_000, "whole": true,
        }}]),
    );
    agent.rule(
        "many deltas",
        json!([{"say": {
            "text": "0123456789abcdé\n", "times": 650_000, "delta_bytes": 10_000,
        }}]),
    );
    for prompt in ["one delta", "no delta", "many deltas"] {
        let done = world.clsess(&["send", "work", prompt]).run().ok();
        assert!(done.stdout == long.as_bytes(), "{prompt}");
        next_is_right(&world, &agent);
    }
}

#[test]
fn a_flood_of_deltas_is_one_answer() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let answer = format!("{}\n", "word ".repeat(30_000));
    agent.rule(
        "flood",
        json!([{"repeat": {"times": 30_000, "steps": [{"delta": "word "}]}}, {"delta": "\n"}]),
    );
    let done = world.clsess(&["send", "work", "flood"]).run().ok();
    assert!(done.stdout == answer.as_bytes());
    let streamed = world.clsess(&["send", "--stream", "always", "work", "flood again"]);
    assert!(streamed.run().ok().stdout == answer.as_bytes());
    next_is_right(&world, &agent);
}

#[test]
fn a_line_beyond_all_bounds_ends_the_agent() {
    let expected = told(
        9,
        "agent_died",
        "the agent died, it wrote a line beyond all bounds",
        DIED,
    );
    told_as(
        &expected,
        "unknown",
        &[(
            "endless",
            json!(["begin", {"fill": {"text": "0123456789abcdef", "times": 4_200_000}}, "hang"]),
        )],
    );
}

// ---- death ----

#[test]
fn an_agent_that_dies_in_a_turn_is_followed_by_one_that_finishes_it() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let line = |line: u32, part: &str| json!({"crash": {"line": line, "part": part, "exit": 3}});
    let faults = [
        ("at once", json!([{"exit": 3}]), "exit 3"),
        ("with 0", json!(["begin", {"exit": 0}]), "exit 0"),
        ("before line 1", json!([line(1, "before")]), "exit 3"),
        ("in line 1", json!([line(1, "middle")]), "exit 3"),
        ("after line 1", json!([line(1, "after")]), "exit 3"),
        ("in line 4", json!([line(4, "middle")]), "exit 3"),
        ("after line 7", json!([line(7, "after")]), "exit 3"),
        (
            "in the result",
            json!([{"say": "x"}, line(1, "middle"), {"result": {}}]),
            "exit 3",
        ),
        (
            "by KILL",
            json!([{"delta": "Half"}, {"signal": "KILL"}]),
            "signal 9",
        ),
        (
            "by SEGV",
            json!([{"delta": "Half"}, {"signal": "SEGV"}]),
            "signal 11",
        ),
        (
            "by TERM",
            json!([{"delta": "Half"}, {"signal": "TERM"}]),
            "signal 15",
        ),
        (
            "by ABRT",
            json!([{"delta": "Half"}, {"signal": "ABRT"}]),
            "signal 6",
        ),
        (
            "with words",
            json!([{"stderr": "out of memory\n"}, {"exit": 134}]),
            "exit 134: out of memory",
        ),
        (
            "in a tool",
            json!([{"tool": {"name": "Bash", "input": {"command": "x"}}}, {"signal": "KILL"}]),
            "signal 9",
        ),
        (
            "with a line half written",
            json!(["begin", {"write": "{\"type\":\"result\",\"is_err"}, {"exit": 1}]),
            "exit 1",
        ),
    ];
    for (name, steps, how) in faults {
        agent.add(json!({"once": true, "match": name, "steps": steps}));
        let done = world.clsess(&["send", "work", name]).run();
        match name {
            // What it has begun is not repeated.
            "in a tool" => {
                let message = format!("the agent died, {how}");
                let expected = told(9, "agent_died", &message, DIED);
                assert_eq!((done.code, done.stderr), (9, expected.text()), "{name}");
                check(&world, &["result", "work"], b"", &expected);
                let json = world.clsess(&["result", "-o", "json", "work"]).run().json();
                assert_eq!(json["outcome"], "unknown", "{name}");
                assert_eq!(world.show("work")["state"], "asleep", "{name}");
            }
            // It had written its answer down.
            "in the result" => assert_eq!(done.ok().text(), "x\n"),
            _ => {
                let done = done.ok();
                assert_eq!(done.text(), format!("you said: {name}\n"));
                assert_eq!(done.stderr, AGAIN, "{name}");
            }
        }
        let how = how.split(':').next().unwrap();
        let log = world.log();
        let mut deaths = log.lines().filter(|line| line.contains("agent gone"));
        assert!(
            deaths.next_back().unwrap().contains(&format!("how={how} ")),
            "{name}: {log}"
        );
        next_is_right(&world, &agent);
    }
}

#[test]
fn an_agent_that_dies_after_its_result_has_answered() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    for (name, last) in [
        ("result", json!({"result": {}})),
        ("completed", json!({"lifecycle": "completed"})),
        ("idle", json!("end")),
    ] {
        let mut steps = vec![json!({"say": name})];
        if name != "result" {
            steps.push(json!({"result": {}}));
        }
        steps.extend([last, json!({"signal": "KILL"})]);
        agent.rule(name, steps.into());
        assert_eq!(world.send("work", name), format!("{name}\n"));
        next_is_right(&world, &agent);
    }
    assert_eq!(agent.told("started").len(), 4);
}

#[test]
fn a_prompt_that_waits_behind_a_death_is_answered() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.add(json!({"once": true, "match": "slow", "steps": [
        {"delta": "Half"}, {"hold": "h"}, {"exit": 5}
    ]}));
    let first = world.clsess(&["send", "work", "slow"]).spawn();
    agent.wait_hold("h", 1);
    let second = world.clsess(&["send", "work", "second"]).spawn();
    world.wait_queued("work", 1);
    agent.release("h");
    assert_eq!(first.wait().ok().text(), "you said: slow\n");
    assert_eq!(second.wait().ok().text(), "you said: second\n");
    assert_eq!(agent.prompts(), ["slow", "slow", "second"]);
}

/// One that dies in every try is started again later and later, and then the turn is given up.
#[test]
fn a_turn_that_kills_its_agent_is_given_up() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.rule("deadly", json!(["begin", {"signal": "KILL"}]));
    let send = world
        .clsess(&["send", "-o", "json", "work", "deadly"])
        .spawn();
    world.wait_state("work", "restarting");
    let turn = send.wait().fails(9).json();
    assert_eq!(
        (&turn["outcome"], &turn["agent_deaths"]),
        (&json!("unknown"), &json!(3))
    );
    assert_eq!(agent.prompts(), ["deadly"; 4]);
    next_is_right(&world, &agent);
}

// ---- silence ----

/// An agent that does not end its turn when it is told to is ended itself.
fn times_out(steps: Value) {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.rule("hang", steps);
    let send = ["send", "--timeout", "300ms", "work", "hang"];
    let expected = told(
        124,
        "timed_out",
        "the turn was interrupted after 0.3 s",
        "give it longer with --timeout (0: no limit) or turn_timeout in the config",
    );
    let done = world.clsess(&send).run().fails(124);
    assert_eq!(
        (done.stdout.as_slice(), done.stderr),
        (&b""[..], expected.text())
    );
    check(&world, &["result", "work"], b"", &expected);
    let json = world.clsess(&["result", "-o", "json", "work"]).run().json();
    assert_eq!(json["outcome"], "timed-out");
    next_is_right(&world, &agent);
}

#[test]
fn an_agent_that_hangs_is_ended_when_its_time_is_up() {
    times_out(json!([{"delta": "Half"}, "hang"]));
}

#[test]
fn an_agent_that_hangs_and_hears_nothing_is_killed_when_its_time_is_up() {
    times_out(json!([{"delta": "Half"}, {"ignore": ["eof", "sigterm"]}, "hang"]));
}

#[test]
fn an_agent_that_ignores_interrupts_is_ended() {
    times_out(json!([{"delta": "Half"}, {"ignore": ["interrupt"]}, {"hold": "h"}]));
}

#[test]
fn a_turn_that_is_answered_under_another_uuid_is_never_answered() {
    let fixtures = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/claude/fixtures/2.1.328"
    );
    let file = format!("{fixtures}/plain.ndjson");
    times_out(json!([{"replay": {"file": file}}, "no_more"]));
}

#[test]
fn a_turn_that_is_interrupted_leaves_nothing_behind() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.rule("slow", json!([{"delta": "Half of it"}, {"hold": "h"}]));
    let send = ["send", "--timeout", "300ms", "work", "slow"];
    world.clsess(&send).run().fails(124);
    next_is_right(&world, &agent);
    assert_eq!(
        agent.told("started").len(),
        1,
        "the agent was not ended for it"
    );
    assert_eq!(agent.told("interrupt").len(), 1);
}

#[test]
fn an_interrupt_that_comes_too_late_ends_nothing() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    // It answers the interrupt, and ends the turn well all the same.
    agent.add(json!({"on": "interrupt", "steps": [{"mark": "heard"}]}));
    agent.rule("slow", json!([{"delta": "All of it"}, {"hold": "h"}]));
    let send = ["send", "--timeout", "300ms", "work", "slow"];
    let send = world.clsess(&send).spawn();
    agent.wait_such(1, |event| event["name"] == "heard");
    agent.release("h");
    assert_eq!(send.wait().ok().text(), "All of it\n");
    next_is_right(&world, &agent);
}

#[test]
fn an_agent_that_never_says_idle_holds_its_queue_and_can_be_ended() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.rule(
        "never idle",
        json!([{"say": "x"}, {"result": {}}, {"lifecycle": "completed"}, "no_more"]),
    );
    assert_eq!(world.send("work", "never idle"), "x\n");
    let waits = world.clsess(&["send", "work", "waits"]).spawn();
    world.wait_queued("work", 1);
    world.clsess(&["restart", "work"]).run().ok();
    assert_eq!(waits.wait().ok().text(), "you said: waits\n");
    assert_eq!(agent.prompts(), ["never idle", "waits"]);
    next_is_right(&world, &agent);
}

#[test]
fn an_agent_that_says_idle_too_early_has_not_answered() {
    harmless(&[
        ("idle before all", json!([{"state": "idle"}])),
        (
            "idle after queued",
            json!([{"state": "running"}, {"lifecycle": "queued"}, {"state": "idle"}]),
        ),
        (
            "running twice",
            json!([{"state": "running"}, {"state": "running"}, "begin"]),
        ),
        (
            "idle twice",
            json!(["end", {"state": "idle"}, {"state": "idle"}]),
        ),
        (
            "a state that nobody knows",
            json!(["begin", {"state": "dreaming"}]),
        ),
    ]);
}

#[test]
fn a_turn_that_goes_idle_without_a_result_has_failed() {
    let expected = told(
        1,
        "agent_error",
        "the client went idle without a result",
        None,
    );
    told_as(
        &expected,
        "failed",
        &[
            ("begun", json!(["begin", {"state": "idle"}, "no_more"])),
            ("said", json!([{"say": "x"}, {"state": "idle"}, "no_more"])),
        ],
    );
}

// ---- whose turn ----

#[test]
fn what_belongs_to_others_is_not_the_answer() {
    let other = "99999999-0000-4000-8000-000000000000";
    let unasked = json!({"unasked": {"text": "NOT THE ANSWER"}});
    let alone = json!({"unasked": {"text": "NOT THE ANSWER", "alone": true}});
    harmless(&[
        ("nothing", json!([])),
        ("unasked before", json!([alone])),
        ("unasked after", json!(["end", alone])),
        (
            "unasked between result and idle",
            json!([
                {"say": "you said: unasked between result and idle"}, {"result": {}},
                {"lifecycle": "completed"}, unasked,
            ]),
        ),
        (
            "unasked without an origin",
            json!(["end", {"unasked": {
                "text": "NOT THE ANSWER", "origin": "", "alone": true,
            }}]),
        ),
        (
            "another's lifecycle",
            json!([
                "begin", {"lifecycle": {"state": "queued", "uuid": other}},
                {"lifecycle": {"state": "started", "uuid": other}},
                {"lifecycle": {"state": "completed", "uuid": other}},
                {"lifecycle": {"state": "cancelled", "uuid": other}},
            ]),
        ),
        (
            "a result without a uuid",
            json!([
                {"say": "you said: a result without a uuid"}, {"result": {"uuid": ""}},
            ]),
        ),
        (
            "two results, the second after all",
            json!([
                "end", {"result": {"set": {"result": "NOT THE ANSWER"}}}, {"state": "idle"},
            ]),
        ),
    ]);
}

#[test]
fn an_unasked_turn_before_the_first_asked_one_is_not_the_answer() {
    let alone = json!({"unasked": {"text": "NOT THE ANSWER", "alone": true}});
    harmless(&[("unasked before", json!([alone]))]);
}

/// The real client never does this: then nothing is called an answer.
#[test]
fn an_unasked_turn_in_the_middle_of_ours_is_not_the_answer() {
    let unasked = json!({"unasked": {"text": "NOT THE ANSWER"}});
    told_as(
        &damaged(),
        "failed",
        &[
            ("before it speaks", json!(["begin", unasked])),
            ("when it has spoken", json!([{"say": "x"}, unasked])),
            (
                "before it goes on",
                json!([{"say": "x"}, unasked, {"say": "y"}]),
            ),
        ],
    );
}

#[test]
fn a_result_of_another_turn_is_not_ours() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let other = "99999999-0000-4000-8000-000000000000";
    agent.rule(
        "wrong uuid",
        json!([{"raw": {"type": "result", "subtype": "success", "is_error": false,
            "num_turns": 1, "result": "NOT THE ANSWER", "user_message_uuids": [other]}}]),
    );
    assert_eq!(world.send("work", "wrong uuid"), "you said: wrong uuid\n");
    next_is_right(&world, &agent);
}

#[test]
fn a_recording_is_played_as_it_was() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let fixtures = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/claude/fixtures/2.1.328"
    );
    for (name, answer) in [
        ("plain", "Hello world. And more.\n"),
        ("subagent_background", "It runs in the background.\n"),
    ] {
        agent.rule(
            name,
            json!([{"replay": {
            "file": format!("{fixtures}/{name}.ndjson"),
            "uuid": "00000001-0000-4000-8000-000000000000",
        }}, "no_more"]),
        );
        assert_eq!(world.send("work", name), answer, "{name}");
        next_is_right(&world, &agent);
    }
}

// ---- errors ----

#[test]
fn errors_of_the_api() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let login = "log the agent in (run: claude, then /login), then: clsess restart NAME";
    for (kind, expected) in [
        (
            "rate_limited",
            told(7, "rate_limited", "told by a test", None),
        ),
        ("overloaded", told(7, "overloaded", "told by a test", None)),
        (
            "unauthorized",
            told(8, "not_logged_in", "told by a test", login),
        ),
        (
            "not_logged_in",
            told(8, "not_logged_in", "told by a test", login),
        ),
        ("server", told(1, "agent_error", "told by a test", None)),
    ] {
        agent.rule(
            kind,
            json!([{"error": {
                "kind": kind, "text": "told by a test", "retries": true,
            }}]),
        );
        check(&world, &["send", "work", kind], b"", &expected);
        check(&world, &["result", "work"], b"", &expected);
        next_is_right(&world, &agent);
    }
    assert_eq!(agent.told("started").len(), 1);
}

// ---- pipes and processes ----

#[test]
fn an_agent_that_closes_its_stdout_and_lives_on_is_not_waited_for() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.rule(
        "mute",
        json!([{"delta": "Half"}, {"close": "stdout"}, {"hold": "h"}]),
    );
    world
        .clsess(&["send", "--timeout", "20s", "work", "mute"])
        .run()
        .fails(9);
    next_is_right(&world, &agent);
}

#[test]
fn an_agent_that_closes_its_stdin_never_gets_the_next_prompt_and_another_one_does() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.add(json!({"once": true, "match": "last words", "steps": [
        "end", {"close": "stdin"}, {"mark": "deaf"}, {"hold": "h"},
    ]}));
    assert_eq!(world.send("work", "last words"), "you said: last words\n");
    agent.wait_such(1, |event| event["name"] == "deaf");
    let send = ["send", "--timeout", "20s", "work", "anybody?"];
    assert_eq!(
        world.clsess(&send).run().ok().text(),
        "you said: anybody?\n"
    );
}

#[test]
fn a_prompt_of_which_the_agent_had_not_one_byte_is_given_to_the_next_agent() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.add(json!({"once": true, "match": "last words", "steps": [
        "end", {"close": "stdin"}, {"mark": "deaf"}, {"hold": "h"}, {"exit": 4},
    ]}));
    assert_eq!(world.send("work", "last words"), "you said: last words\n");
    agent.wait_such(1, |event| event["name"] == "deaf");
    let send = world.clsess(&["send", "work", "anybody?"]).spawn();
    // The broker has given its prompt away.
    world.wait_state("work", "working");
    agent.release("h");
    assert_eq!(send.wait().ok().text(), "you said: anybody?\n");
    assert_eq!(agent.prompts(), ["last words", "anybody?"]);
}

#[test]
fn an_agent_that_does_not_read_hangs_nobody() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    agent.add(json!({"on": "initialize", "once": true, "steps": ["stop_reading", "ready"]}));
    world.session("work");
    let prompt = "x".repeat(1 << 20);
    let send = world
        .clsess(&["send", "--timeout", "300ms", "work"])
        .stdin(prompt.clone());
    send.run().fails(124);
    assert_eq!(agent.prompts(), [""; 0]);
    next_is_right(&world, &agent);
    let big = world
        .clsess(&["send", "work"])
        .stdin(prompt.clone())
        .run()
        .ok();
    assert!(big.text() == format!("you said: {prompt}\n"));
}

#[test]
fn what_an_agent_leaves_running_is_ended_with_it() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    for (number, (name, grandchild)) in [
        ("plain", json!({})),
        ("own session", json!({"setsid": true})),
        ("with pipes", json!({"setsid": true, "pipes": true})),
        (
            "stubborn",
            json!({"setsid": true, "pipes": true, "stubborn": true}),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        agent.rule(
            name,
            json!([{"delta": "Half"}, {"grandchild": grandchild}, {"signal": "KILL"}]),
        );
        world.clsess(&["send", "work", name]).run().fails(9);
        let child = agent.wait("grandchild", number + 1)["child"]
            .as_u64()
            .unwrap();
        assert!(!alive(u32::try_from(child).unwrap()), "{name}");
        next_is_right(&world, &agent);
    }
}

#[test]
fn an_agent_that_is_deaf_to_its_end_is_killed() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.rule("deaf", json!([{"ignore": ["eof", "sigterm", "interrupt"]}]));
    assert_eq!(world.send("work", "deaf"), "you said: deaf\n");
    let pid = world.agent("work");
    world
        .clsess(&["kill", "--grace", "300ms", "work"])
        .run()
        .ok();
    assert!(!alive(pid));
    assert_eq!(agent.told("signal")[0]["ignored"], true);
    world.session("work");
    next_is_right(&world, &agent);
}

// ---- the start ----

#[test]
fn agents_that_do_not_come_up() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    for (steps, message) in [
        (
            json!([{"stderr": "no license\n"}, {"exit": 3}]),
            "the agent did not start, exit 3: no license",
        ),
        (
            json!([{"signal": "SEGV"}]),
            "the agent did not start, signal 11",
        ),
    ] {
        agent.add(json!({"on": "start", "once": true, "steps": steps}));
        let expected = told(1, "agent_start_failed", message, None);
        let done = world.clsess(&["new", "work"]).run().fails(1);
        assert_eq!(done.stderr, expected.text());
    }
    for (steps, message) in [
        (json!([{"exit": 4}]), "the agent did not start, exit 4"),
        (
            json!([{"refuse": "not today"}]),
            "the agent refuses to start: not today",
        ),
        (
            json!([{"raw": "garbage"}, {"refuse": "garbled"}]),
            "the agent refuses to start: garbled",
        ),
    ] {
        agent.add(json!({"on": "initialize", "once": true, "steps": steps}));
        let expected = told(1, "agent_start_failed", message, None);
        let done = world.clsess(&["new", "work"]).run().fails(1);
        assert_eq!(done.stderr, expected.text());
    }
    agent.add(json!({"on": "initialize", "once": true, "steps": []}));
    let new = ["new", "--start-timeout", "300ms", "work"];
    let done = world.clsess(&new).run().fails(1);
    assert!(
        done.stderr
            .starts_with("clsess: the agent was not ready in time\n")
    );

    // A slow one is waited for, and words before the first line are no harm.
    agent.add(json!({"on": "start", "once": true, "steps": [
        {"stderr": "warming up\n"}, {"sleep": 300}, {"raw": "starting ..."},
        {"state": "running"}, {"state": "idle"},
    ]}));
    world.session("work");
    next_is_right(&world, &agent);
}

#[test]
fn an_agent_that_dies_while_it_is_woken_costs_no_prompt() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    world.send("work", "one");
    send_signal(world.agent("work"), Signal::SIGKILL);
    world.wait_state("work", "asleep");
    agent.add(json!({"on": "start", "once": true, "steps": [{"exit": 3}]}));
    let expected = told(
        1,
        "agent_start_failed",
        "the agent did not start, exit 3",
        None,
    );
    let done = world.clsess(&["send", "work", "lost?"]).run().fails(1);
    assert_eq!(done.stderr, expected.text());
    assert_eq!(agent.prompts(), ["one"]);
    next_is_right(&world, &agent);
}

// ---- questions ----

#[test]
fn questions_are_denied_wherever_they_come() {
    let write = json!({"tool": "Write", "input": {"file_path": "/x", "content": "y"}});
    let mut bare = write.clone();
    bare["bare"] = true.into();
    bare["no_wait"] = true.into();
    let many: Vec<Value> = ["q1", "q2", "q3"]
        .map(|id| {
            let mut ask = write.clone();
            ask["id"] = id.into();
            ask["no_wait"] = true.into();
            json!({"ask": ask})
        })
        .to_vec();
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let mut answers = 0;
    for (name, steps, count) in [
        ("one", json!([{"ask": write}]), 1),
        (
            "three at once",
            json!([many[0], many[1], many[2], {"await": ["q1", "q2", "q3"]}]),
            3,
        ),
        (
            "a question",
            json!([{"ask": {"tool": "AskUserQuestion", "input": {"questions": []}}}]),
            1,
        ),
        ("a plan", json!([{"ask": {"tool": "ExitPlanMode"}}]), 1),
        ("before the turn", json!([{"ask": bare}]), 1),
        ("after the turn", json!(["end", {"ask": bare}]), 1),
        (
            "taken back",
            json!([many[0], {"take_back": "q1"}, {"state": "running"}]),
            1,
        ),
    ] {
        let mut steps = steps;
        let last = steps.as_array_mut().unwrap();
        last.push(json!({"say": format!("you said: {name}")}));
        if name == "after the turn" {
            last.pop();
        }
        agent.rule(name, steps);
        assert_eq!(world.send("work", name), format!("you said: {name}\n"));
        answers += count;
        agent.wait("answer", answers);
        next_is_right(&world, &agent);
    }
    for event in agent.told("answer") {
        assert_eq!(event["response"]["response"]["behavior"], "deny");
        assert_eq!(event["response"]["response"].get("interrupt"), None);
    }
}

#[test]
fn a_question_fails_the_turn_that_says_so() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    agent.rule("ask", json!([{"ask": {"tool": "Write", "input": {}}}]));
    let send = ["send", "--on-question", "fail", "work", "ask"];
    let done = world.clsess(&send).run().fails(6);
    assert!(
        done.stderr
            .contains("clsess: the agent asks for permission to use Write\n"),
        "{}",
        done.stderr
    );
    assert_eq!(
        agent.told("answer")[0]["response"]["response"]["interrupt"],
        true
    );
    next_is_right(&world, &agent);
}

// ---- the death of the broker ----

/// What is heard of a turn is kept for the next broker, but not without bound: of one that says
/// more the answer comes from the agent's transcript.
#[test]
fn a_turn_that_says_more_than_is_kept_has_its_answer_from_the_next_broker_too() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let say = json!({"text": "0123456789", "times": 30_000, "delta_bytes": 1});
    agent.rule("long", json!([{"say": say}, {"hold": "h"}]));
    let send = world.clsess(&["send", "work", "long"]).spawn();
    agent.wait_hold("h", 1);
    until("it was too much", || {
        world.log().contains("a turn says more than is kept of it")
    });
    let broker = world.broker();
    send_signal(broker, Signal::SIGKILL);
    until("it is gone", || !alive(broker));
    agent.release("h");
    assert_eq!(send.wait().ok().text(), "0123456789".repeat(30_000) + "\n");
    assert_eq!(agent.prompts(), ["long"]);
    next_is_right(&world, &agent);
}

/// What an agent says behind its `idle` says nothing of its being busy.
#[test]
fn an_agent_that_says_something_at_rest_is_at_rest_for_the_next_broker_too() {
    let Some((world, agent)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    let late = json!({"type": "system", "subtype": "informational", "content": "x"});
    agent.rule("one", json!(["end", {"raw": late}, {"mark": "said"}]));
    world.send("work", "one");
    agent.wait_such(1, |event| event["name"] == "said");
    world.wait_state("work", "idle");
    let broker = world.broker();
    send_signal(broker, Signal::SIGKILL);
    until("it is gone", || !alive(broker));
    world.wait_state("work", "idle");
    let send = ["send", "--deadline", "20s", "work", "next"];
    assert_eq!(world.clsess(&send).run().ok().text(), "you said: next\n");
    assert_eq!(agent.told("started").len(), 1);
}
