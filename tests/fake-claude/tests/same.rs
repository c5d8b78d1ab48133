//! The same happenings as in the recordings: what the broker hears of this stand-in is what it
//! hears of the real client.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "rules are written as literals"
)]

mod client;

use std::collections::HashMap;

use client::{Client, fixture};
use clsess_claude::parse;
use clsess_claude::turn::{Happening, Tracker};
use serde_json::{Value, json};

/// The uuids, and the ids of sessions, questions, tools and messages differ; so do times.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl Names {
    fn plain(&mut self, happening: &Happening) -> String {
        let mut happening = happening.clone();
        if let Happening::Ready(ready) = &mut happening {
            ready.pid = None;
        }
        if let Happening::Retry(retry) = &mut happening {
            retry.delay_ms = 0;
        }
        if let Happening::TurnEnded { end, .. } = &mut happening {
            (end.duration_ms, end.ttft_ms, end.cost_usd, end.usage) = (None, None, None, None);
        }
        let text = format!("{happening:?}");
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(word) {
            out.push_str(&rest[..at]);
            let tail = &rest[at..];
            let (name, after) = tail.split_at(tail.find(|c| !word(c)).unwrap_or(tail.len()));
            if name.len() == 36 && name.matches('-').count() == 4 || name.starts_with("toolu_") {
                let next = self.0.len();
                let number = *self.0.entry(name.to_owned()).or_insert(next);
                out.push_str(&format!("NAME{number}"));
            } else {
                out.push_str(name);
            }
            rest = after;
        }
        out + rest
    }
}

/// What a tracker makes of these lines; `written` are the lines to the client, and where.
fn happenings(lines: &[Vec<u8>], written: &[(usize, Value)]) -> Vec<String> {
    let (mut tracker, mut names, mut out) = (Tracker::new(), Names::default(), Vec::new());
    for (at, line) in lines.iter().enumerate() {
        for (_, line) in written.iter().filter(|(when, _)| *when == at) {
            if line["type"] == "user" {
                assert!(tracker.begin(line["uuid"].as_str().unwrap().parse().unwrap()));
            }
        }
        // a tool's input comes out as it went in: in one order, here
        let sorted: Value = serde_json::from_slice(line).unwrap();
        let mut happened = Vec::new();
        tracker.line(parse(sorted.to_string().as_bytes()).unwrap(), &mut happened);
        out.extend(happened.iter().map(|it| names.plain(it)));
    }
    out
}

/// Plays what was written in a recording to the stand-in, each line after as many printed lines.
/// Where the recording answers a question, the question's id is put in.
fn same(name: &str, rules: Value) {
    let recorded: Vec<Vec<u8>> = fixture(name, "ndjson")
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let side: Value = serde_json::from_slice(&fixture(name, "side.json")).unwrap();
    let mut client = Client::start(json!({"rules": rules}), &[]);
    let (mut printed, mut written) = (Vec::new(), Vec::new());
    for entry in side["written"].as_array().unwrap() {
        let at = usize::try_from(entry[0].as_u64().unwrap()).unwrap();
        while printed.len() < at {
            printed.push(client.line());
        }
        let text = entry[1].as_str().unwrap();
        if text == "EOF" {
            client.close();
            continue;
        }
        let mut line: Value = serde_json::from_str(text).unwrap();
        if line["type"] == "control_response" {
            let question: Value = serde_json::from_slice(printed.last().unwrap()).unwrap();
            line["response"]["request_id"] = question["request_id"].clone();
        }
        client.write(&line);
        written.push((at, line));
    }
    let (rest, code) = client.finish();
    printed.extend(rest);
    let expected = happenings(&recorded, &written);
    let got = happenings(&printed, &written);
    assert_eq!(got, expected, "{name}");
    assert_eq!(Some(code), side["exit"].as_i64(), "{name}");
    let kinds = |lines: &[Vec<u8>]| -> Vec<String> {
        let kind = |line: &Vec<u8>| {
            let line: Value = serde_json::from_slice(line).unwrap();
            format!(
                "{} {} {}",
                line["type"], line["subtype"], line["event"]["type"]
            )
        };
        lines.iter().map(kind).collect()
    };
    assert_eq!(kinds(&printed), kinds(&recorded), "{name}");
}

#[test]
fn start_status_and_a_turn() {
    same("control", json!([{"steps": [{"say": "Hello."}]}]));
}

#[test]
fn a_turn_that_is_interrupted_while_it_speaks() {
    same(
        "interrupt_stream",
        json!([
            {"steps": [{"say": "Second turn."}]},
            {"match": "go", "steps": [{"said": "Block one."}, {"delta": "Half of"}, {"hold": "h"}]},
        ]),
    );
}

#[test]
fn a_turn_that_is_interrupted_before_it_speaks() {
    same(
        "interrupt_before_first_byte",
        json!([
            {"steps": [{"say": "Second turn."}]},
            {"match": "go", "steps": ["begin", {"hold": "h"}]},
        ]),
    );
}

#[test]
fn an_interrupt_without_a_turn() {
    same("interrupt_idle", json!([{"steps": [{"say": "One."}]}]));
}

fn ask_to_write() -> Value {
    json!([{"steps": [
        {"said": "I write."},
        {"ask": {
            "tool": "Write", "description": "new.txt",
            "input": {"file_path": "/tmp/clsess-fixture/work/new.txt", "content": "hello\n"},
            "suggestions": [{"type": "setMode", "mode": "acceptEdits", "destination": "session"}],
        }},
        {"say": "After it."},
    ]}])
}

#[test]
fn a_question_that_is_allowed() {
    same("permission_allow", ask_to_write());
}

#[test]
fn a_question_that_is_denied() {
    same("permission_deny", ask_to_write());
}

#[test]
fn a_question_that_is_denied_for_good() {
    same("permission_deny_interrupt", ask_to_write());
}

#[test]
fn a_question_that_is_interrupted() {
    same("permission_pending_interrupt", ask_to_write());
}

#[test]
fn a_question_that_the_end_of_the_input_answers() {
    same("permission_pending_eof", ask_to_write());
}

#[test]
fn errors_of_the_api() {
    for (name, error) in [
        ("retry_429", "rate_limited"),
        ("retry_529", "overloaded"),
        ("retry_500", "server"),
        ("unauthorized", "unauthorized"),
        ("not_logged_in", "not_logged_in"),
    ] {
        // the first recorded line tells that there is no login
        let ready = json!([{"replay": {"file": client::path("not_logged_in", "ndjson"), "to": 1}}]);
        let steps = json!([{"error": {"kind": error, "retries": true}}]);
        same(
            name,
            json!([{"on": "initialize", "steps": ready}, {"steps": steps}]),
        );
    }
}

#[test]
fn a_uuid_that_was_run_before() {
    same(
        "known_uuid_same_process",
        json!([{"steps": [{"say": "Once."}]}]),
    );
}

/// What a second process, which resumes the first one's conversation, makes of its lines.
fn resumed(name: &str, from: usize, lines: &[Vec<u8>], prompts: &[Value]) {
    let recorded: Vec<Vec<u8>> = fixture(name, "ndjson")
        .split_inclusive(|byte| *byte == b'\n')
        .skip(from)
        .map(<[u8]>::to_vec)
        .collect();
    let begun: Vec<(usize, Value)> = prompts.iter().map(|line| (0, line.clone())).collect();
    assert_eq!(happenings(lines, &begun), happenings(&recorded, &begun));
    assert_eq!(lines.len(), recorded.len());
}

const SESSION: &str = "00000009-0000-4000-8000-000000000000";

fn user(number: u32) -> Value {
    json!({"type": "user", "uuid": client::uuid(number)})
}

#[test]
fn a_uuid_that_an_earlier_process_has_run() {
    let script = json!({"rules": [{"steps": [{"say": "Once."}]}]});
    let mut first = Client::start(script.clone(), &["--session-id", SESSION]);
    first.prompt(1, "go");
    first.idle();
    first.close();
    assert_eq!(first.end().code, 0);
    let resume = format!("--resume={SESSION}");
    let mut second = Client::start_in(first.dir, script, &[&resume], &[]);
    second.prompt(1, "go");
    let mut lines = vec![second.line(), second.line()];
    second.prompt(2, "next");
    let (rest, code) = second.finish();
    assert_eq!(code, 0);
    lines.extend(rest);
    resumed("known_uuid", 15, &lines, &[user(1), user(2)]);
}

#[test]
fn a_turn_in_which_an_earlier_process_died() {
    let script = json!({"rules": [
        {"steps": ["begin", {"hold": "h"}, {"say": "Whole."}]},
        {"once": true, "steps": [{"delta": "Half"}, {"signal": "KILL"}]},
    ]});
    let mut first = Client::start(script.clone(), &["--session-id", SESSION]);
    first.prompt(1, "go");
    let ended = first.end();
    assert_eq!((ended.code, ended.lines.len()), (-9, 8));
    let resume = ["--resume", SESSION];
    let again = [("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "1")];
    let mut second = Client::start_in(first.dir, script, &resume, &again);
    second.prompt(1, "go");
    // sent again while it runs again
    client::wait_event(&second, "absorbed");
    client::wait_event(&second, "hold");
    client::release(&second, "h");
    let (lines, code) = second.finish();
    assert_eq!(code, 0);
    resumed("resume_interrupted", 8, &lines, &[user(1)]);
}

#[test]
fn conversations_that_are_there_and_that_are_not() {
    let resume = ["--resume", "00000008-0000-4000-8000-000000000000"];
    let (lines, code) = Client::start(json!({}), &resume).finish();
    assert_eq!(code, 1);
    resumed("unknown_resume", 0, &lines, &[]);

    let mut first = Client::start(json!({}), &["--session-id", SESSION]);
    first.prompt(1, "go");
    first.close();
    assert_eq!(first.end().code, 0);
    let second = Client::start_in(first.dir, json!({}), &["--session-id", SESSION], &[]);
    let ended = second.finish_with_stderr();
    let side: Value = serde_json::from_slice(&fixture("session_id_in_use", "side.json")).unwrap();
    assert_eq!(ended.lines, Vec::<Vec<u8>>::new());
    assert_eq!(side["exit"], ended.code);
    assert_eq!(side["stderr"], ended.stderr);
}

#[test]
fn a_line_that_is_none() {
    let mut client = Client::start(json!({}), &[]);
    client.write_bytes(b"this is not json\n");
    let ended = client.finish_with_stderr();
    let side: Value = serde_json::from_slice(&fixture("bad_line", "side.json")).unwrap();
    assert_eq!(ended.lines, Vec::<Vec<u8>>::new());
    assert_eq!(side["exit"], ended.code);
    assert_eq!(side["stderr"], ended.stderr);
}
