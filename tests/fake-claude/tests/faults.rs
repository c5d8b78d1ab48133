//! Each fault, as it comes out of the pipes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod client;

use client::{Client, Ended, release, uuid, wait_event};
use serde_json::{Value, json};

fn one(steps: &Value) -> Client {
    Client::start(json!({"rules": [{"match": "go", "steps": steps}]}), &[])
}

/// All that comes of one prompt.
fn play(steps: &Value) -> Ended {
    let mut client = one(steps);
    client.prompt(1, "go");
    client.finish_with_stderr()
}

fn values(ended: &Ended) -> Vec<Value> {
    let lines = ended.lines.iter();
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// `type` and what is most telling of each line.
fn kinds(ended: &Ended) -> Vec<String> {
    let kind = |line: &Value| {
        let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let event = line["event"]["type"].as_str().unwrap_or_default();
        [
            word("type"),
            word("subtype"),
            word("state"),
            event.to_owned(),
        ]
        .join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
    };
    values(ended).iter().map(kind).collect()
}

const BEGINNING: [&str; 5] = [
    "system session_state_changed running",
    "command_lifecycle queued",
    "command_lifecycle started",
    "system init",
    "system status",
];

#[test]
fn an_end_at_a_certain_line() {
    let whole = play(&json!([]));
    assert_eq!((whole.code, whole.lines.len()), (0, 15));
    for line in [1, 4, 15] {
        let crash = |part: &str| {
            let ended = play(&json!([{"crash": {"line": line, "part": part, "exit": 3}}]));
            assert_eq!(ended.code, 3);
            let last = ended.lines.last().cloned().unwrap_or_default();
            (ended.lines.len(), last)
        };
        assert_eq!(crash("before").0, line - 1);
        let (lines, last) = crash("middle");
        assert_eq!(lines, line);
        assert!(!last.ends_with(b"\n") && !last.is_empty());
        let (lines, last) = crash("after");
        assert_eq!(lines, line);
        assert!(last.ends_with(b"\n"));
    }
}

#[test]
fn ends_by_signals_and_codes() {
    for (name, number) in [
        ("KILL", 9),
        ("SIGSEGV", 11),
        ("TERM", 15),
        ("ABRT", 6),
        ("INT", 2),
    ] {
        assert_eq!(play(&json!([{"signal": name}])).code, -number, "{name}");
    }
    assert_eq!(play(&json!([{"exit": 7}])).code, 7);
    let crash = play(&json!([{"crash": {"line": 1, "signal": "SEGV"}}]));
    assert_eq!(crash.code, -11);
    assert_eq!(
        play(&json!([{"error": "server"}])).code,
        1,
        "as after any failed turn"
    );
}

#[test]
fn sigterm_from_outside() {
    let terminate = |client: &Client| {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(client.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    };
    let mut client = one(&json!([]));
    client.prompt(1, "go");
    client.idle();
    terminate(&client);
    assert_eq!(client.end().code, 143);

    let mut client = one(&json!([{"ignore": ["sigterm"]}, {"hold": "h"}]));
    client.prompt(1, "go");
    wait_event(&client, "hold");
    terminate(&client);
    wait_event(&client, "signal");
    release(&client, "h");
    client.idle();
    assert_eq!(client.finish().1, 0);
}

#[test]
fn a_hold_is_a_precise_place() {
    let mut client = one(&json!([{"delta": "a"}, {"hold": "h"}, {"delta": "b"}]));
    client.prompt(1, "go");
    client.until(|line| line["event"]["delta"]["text"] == "a");
    wait_event(&client, "hold");
    release(&client, "h");
    let said = client.until(|line| line["type"] == "assistant");
    assert_eq!(said["message"]["content"][0]["text"], "ab");
    client.idle();
    assert_eq!(client.finish().1, 0);
}

#[test]
fn bytes_and_lines_are_as_they_are_given() {
    let ended = play(&json!([
        {"write": "{\"half\":"}, {"hex": "ff 00 c3 28 0a"}, {"fill": {"text": "é", "times": 3}},
        {"raw": ["", "not json $UUID", {"of": "$SESSION"}]}, {"exit": 0},
    ]));
    let mut expected = b"{\"half\":\xff\x00\xc3\x28\n".to_vec();
    expected.extend_from_slice("ééé\n".as_bytes());
    expected.extend_from_slice(format!("not json {}\n", uuid(1)).as_bytes());
    let all = ended.lines.concat();
    assert!(
        all.starts_with(&expected),
        "{}",
        String::from_utf8_lossy(&all)
    );
    let last: Value = serde_json::from_slice(&all[expected.len()..]).unwrap();
    assert!(last["of"].as_str().unwrap().starts_with("00000000-fa6e-"));
}

#[test]
fn pipes_that_are_closed() {
    let ended = play(&json!(["begin", {"close": "stdout"}, {"say": "unheard"}]));
    assert_eq!((ended.code, ended.lines.len()), (0, 5));
    let ended = play(&json!([{"stderr": "heard\n"}, {"close": "stderr"}, {"stderr": "unheard"}]));
    assert_eq!((ended.stderr.as_str(), ended.lines.len()), ("heard\n", 15));
    let mut client = one(&json!([{"close": "stdin"}, "end", {"hold": "h"}, {"exit": 5}]));
    client.prompt(1, "go");
    client.idle();
    let broken = client.try_write(b"x").unwrap_err();
    assert_eq!(broken.kind(), std::io::ErrorKind::BrokenPipe);
    wait_event(&client, "hold");
    release(&client, "h");
    assert_eq!(client.end().code, 5);
}

#[test]
fn other_uuids_no_uuids_and_results_beside_the_truth() {
    let ended = play(&json!([
        {"lifecycle": {"state": "started", "uuid": "other"}}, {"say": "x"},
        {"result": {"uuid": "other", "set": {"result": "y"}, "remove": ["usage"]}},
        {"result": {"uuid": ""}},
    ]));
    let lines = values(&ended);
    let results: Vec<_> = lines
        .iter()
        .filter(|line| line["type"] == "result")
        .collect();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["user_message_uuids"], json!(["other"]));
    assert_eq!(results[0]["result"], "y");
    assert_eq!(results[0].get("usage"), None);
    assert_eq!(results[1].get("user_message_uuids"), None);
    assert_eq!(results[1].get("user_message_uuid"), None);
    assert_eq!(results[1]["result"], "x");
    assert_eq!(lines[0]["command_uuid"], "other");
}

#[test]
fn an_unasked_turn_names_nobody() {
    let ended = play(&json!([{"unasked": {"text": "news", "alone": true}}]));
    let kinds = kinds(&ended);
    assert_eq!(
        kinds[..3],
        [
            "system session_state_changed running",
            "system init",
            "system status"
        ]
    );
    let unasked = kinds
        .iter()
        .position(|kind| kind.ends_with("idle"))
        .unwrap();
    assert_eq!(kinds[unasked + 1..unasked + 6], BEGINNING);
    let lines = values(&ended);
    assert_eq!(lines[unasked - 1]["origin"]["kind"], "task-notification");
    assert!(
        lines[..unasked]
            .iter()
            .all(|line| !line.to_string().contains(&uuid(1)))
    );
}

#[test]
fn what_is_not_more_does_not_come_and_the_next_prompt_does() {
    let mut client = one(&json!(["begin", "no_more"]));
    client.prompt(1, "go");
    client.prompt(2, "next");
    client.close();
    let ended = client.end();
    let lines = values(&ended);
    let of = |number| {
        let name = uuid(number);
        lines
            .iter()
            .filter(|line| line["command_uuid"] == name.as_str())
            .count()
    };
    assert_eq!((ended.code, of(1), of(2)), (0, 2, 3));
}

#[test]
fn the_start_and_once() {
    let script = json!({"version": "1.2.3", "rules": [
        {"on": "start", "once": true, "steps": [{"stderr": "no\n"}, {"exit": 9}]},
        {"on": "initialize", "once": true, "steps": [{"refuse": "not today"}]},
    ]});
    let mut first = Client::start(script.clone(), &[]);
    let ended = first.end();
    assert_eq!(
        (ended.code, ended.stderr.as_str(), ended.lines.len()),
        (9, "no\n", 0)
    );
    let mut second = Client::start_in(first.dir, script, &[], &[]);
    let initialize = json!({"type": "control_request", "request_id": "r",
        "request": {"subtype": "initialize"}});
    second.write(&initialize);
    let refused: Value = serde_json::from_slice(&second.line()).unwrap();
    assert_eq!(refused["response"]["error"], "not today");
    second.write(&initialize);
    let ready: Value = serde_json::from_slice(&second.line()).unwrap();
    assert_eq!(
        ready["response"]["response"]["claude_code_version"],
        "1.2.3"
    );
    assert_eq!(second.finish().1, 0);
    let version = Client::start(json!({"version": "1.2.3"}), &["--version"]).finish();
    assert_eq!(version, (vec![b"1.2.3 (Claude Code)\n".to_vec()], 0));
}

#[test]
fn several_questions_and_one_taken_back() {
    let ask = |id: &str| json!({"ask": {"tool": "Write", "id": id, "no_wait": true}});
    let steps =
        json!([ask("q1"), ask("q2"), ask("q3"), {"take_back": "q2"}, {"await": ["q1", "q3"]}]);
    let mut client = one(&steps);
    client.prompt(1, "go");
    client.until(|line| line["type"] == "control_cancel_request");
    let answers = ["q3", "q1"].map(|id| {
        json!({"type": "control_response", "response": {"subtype": "success", "request_id": id,
            "response": {"behavior": "deny", "message": format!("no to {id}")}}})
    });
    for answer in &answers {
        client.write(answer);
    }
    for expected in ["no to q1", "no to q3"] {
        let result = client.until(|line| line["type"] == "user");
        assert_eq!(result["message"]["content"][0]["content"], expected);
    }
    client.idle();
    let input = std::fs::read_to_string(client.dir.path().join("input.ndjson")).unwrap();
    assert!(input.ends_with(&format!("{}\n{}\n", answers[0], answers[1])));
    assert_eq!(client.finish().1, 0);
}

#[test]
fn an_interrupt_that_is_ignored() {
    let mut client = one(&json!([{"ignore": ["interrupt"]}, {"delta": "a"}, {"hold": "h"}]));
    client.prompt(1, "go");
    wait_event(&client, "hold");
    client.interrupt();
    wait_event(&client, "interrupt");
    release(&client, "h");
    client.until(|line| line["type"] == "result" && line["is_error"] == false);
    client.idle();
    assert_eq!(client.finish().1, 0);
}

#[test]
fn a_mistake_in_the_script_is_not_taken_for_a_fault() {
    let mut client = Client::start(json!({"rules": [{"steps": ["wibble"]}]}), &[]);
    let ended = client.end();
    assert_eq!(ended.code, 70);
    assert!(ended.stderr.contains("wibble"), "{}", ended.stderr);
}
