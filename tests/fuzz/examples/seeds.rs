//! Makes `pool.ndjson` and the files of `corpus/` that are called `seed-*`, from the recordings of
//! the real client and by hand: `cargo run -p clsess-fuzz --example seeds`.
//!
//! A pool that comes out otherwise gives the other files of `corpus/tracker` another meaning.

#![allow(clippy::unwrap_used, reason = "a tool for developers")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clsess_holder::protocol::{
    Exit, Failed, PIPES, Reason, Refused, Reply, Request, Start, Window, encode_reply,
    encode_request,
};
use clsess_proto::{New, Settings, ToBroker, frame};
use serde_json::{Value, json};

fn main() {
    let recordings = recordings();
    let pool = Pool::of(&recordings);
    let lines: Vec<_> = pool.lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(here("pool.ndjson"), lines.concat()).unwrap();
    for (name, lines) in &recordings {
        let begun = "+1\n+2\n+3\n".to_owned();
        write(
            "stream",
            name,
            (begun + &lines.join("\n") + "\n-\n").as_bytes(),
        );
        let order: Vec<u8> = lines.iter().filter_map(|line| pool.number(line)).collect();
        let second_only = [&[225][..], &order].concat();
        let all_of_them = [&[224, 225, 226][..], &order].concat();
        let backwards = all_of_them.iter().rev().copied().collect();
        for (how, order) in [
            ("all", all_of_them),
            ("second", second_only),
            ("backwards", backwards),
        ] {
            write("tracker", &format!("{name}-{how}"), &order);
        }
    }
    by_hand("stream", &odd_lines());
    by_hand("lines", &split_lines(&recordings["plain"]));
    by_hand("sse", &streams(&recordings["tools"]));
    by_hand("frames", &frames());
    by_hand("holder", &holder());
    by_hand("vt", &terminals());
}

/// The beginnings of what real programs wrote into a terminal of 24 rows and 80 columns.
fn terminals() -> Vec<Vec<u8>> {
    let recordings = here("../../crates/vt/tests/recordings");
    let mut inputs = Vec::new();
    for name in ["bash", "fidelity", "htop", "less", "tmux", "vim"] {
        let bytes = fs::read(recordings.join(format!("{name}.24x80.bin"))).unwrap();
        let begun = &bytes[..bytes.len().min(3000)];
        inputs.push([&[24, 80, 2, 6, 99], begun].concat());
    }
    inputs
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let directory = here("corpus").join(target);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("seed-{name}")), bytes).unwrap();
}

fn by_hand(target: &str, inputs: &[Vec<u8>]) {
    for (number, bytes) in inputs.iter().enumerate() {
        write(target, &format!("hand-{number:02}"), bytes);
    }
}

/// The lines of each recording, without the fields that nobody reads.
fn recordings() -> BTreeMap<String, Vec<String>> {
    let directory = here("../../crates/claude/fixtures/2.1.328");
    let paths = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|it| it == "ndjson"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, text.lines().map(trimmed).collect::<Vec<_>>())
    };
    paths
        .map(read)
        .filter(|(_, lines)| !lines.is_empty())
        .collect()
}

/// Fields of lines that are read by nobody and long.
const UNREAD: [&str; 24] = [
    "agents",
    "apiKeySource",
    "available_output_styles",
    "commands",
    "context_management",
    "cwd",
    "fast_mode_state",
    "mcp_servers",
    "memory_paths",
    "modelUsage",
    "models",
    "output_style",
    "outputStyles",
    "plugins",
    "signature",
    "skills",
    "slash_commands",
    "tool_use_result",
    "tools",
    "timestamp",
    "usage",
    "uuid",
    "diagnostics",
    "service_tier",
];

fn trimmed(line: &str) -> String {
    fn trim(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !UNREAD.contains(&name.as_str()));
                fields.values_mut().for_each(trim);
            }
            Value::Array(values) => values.iter_mut().for_each(trim),
            Value::String(text) => {
                let end = text.floor_char_boundary(200);
                text.truncate(end);
            }
            _ => {}
        }
    }
    // a lone surrogate, for one, is in no tree
    let Ok(mut value) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    trim(&mut value);
    value.to_string()
}

/// One line of each kind.
struct Pool {
    lines: Vec<String>,
    numbers: BTreeMap<String, u8>,
}

impl Pool {
    fn of(recordings: &BTreeMap<String, Vec<String>>) -> Self {
        let (lines, numbers) = Default::default();
        let mut pool = Self { lines, numbers };
        for line in recordings.values().flatten() {
            let kind = kind(line);
            if pool.lines.len() < 224 && !pool.numbers.contains_key(&kind) {
                pool.numbers
                    .insert(kind, u8::try_from(pool.lines.len()).unwrap());
                pool.lines.push(line.clone());
            }
        }
        eprintln!("{} lines in the pool", pool.lines.len());
        pool
    }

    fn number(&self, line: &str) -> Option<u8> {
        self.numbers.get(&kind(line)).copied()
    }
}

/// What decides how a line is accounted for, and not what is said in it.
fn kind(line: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let blocks = value["message"]["content"].as_array();
    let blocks: Vec<_> = blocks
        .into_iter()
        .flatten()
        .map(|block| &block["type"])
        .collect();
    let told = [
        "type",
        "subtype",
        "state",
        "command_uuid",
        "user_message_uuids",
        "user_message_uuid",
        "terminal_reason",
        "is_error",
        "isSynthetic",
        "is_api_error_message",
        "local_command",
    ];
    let told: Vec<_> = told.iter().map(|name| value[name].to_string()).collect();
    let there = ["parent_tool_use_id", "abandoned_blocks", "result"];
    let there: Vec<_> = there.iter().map(|name| value[name].is_null()).collect();
    let inner = ["type", "subtype", "tool_name"].map(|name| {
        [
            &value["event"][name],
            &value["event"]["delta"][name],
            &value["request"][name],
        ]
        .map(Value::to_string)
    });
    format!("{told:?}{there:?}{blocks:?}{inner:?}")
}

fn odd_lines() -> Vec<Vec<u8>> {
    let begin = "+1\n+2\n+3\n";
    [
        "",
        "\n \n5\n[]\n{\n{}\n",
        r#"{"type":"result","is_error":true,"num_turns":0,"errors":["no","such"]}"#,
        "{\"type\":\"result\",\"is_error\":false,\"result\":\"x\"}\n+1\n{\"type\":\"result\"}\n-\n-\n+1",
        r#"{"type":"assistant","message":{"id":"m","content":"\ud800 \udc00 \ud83d\ude00 \u00e9"}}"#,
    ]
    .map(|text| format!("{begin}{text}").into_bytes())
    .to_vec()
}

/// With a header that says how they are cut.
fn split_lines(lines: &[String]) -> Vec<Vec<u8>> {
    let whole = lines.concat();
    [
        (vec![0], "a\nbc\n\n\nd"),
        (vec![1, 0], "a\r\n\nbc\n"),
        (vec![3, 0, 4, 1], "no end"),
        (vec![2, 255, 7], whole.as_str()),
    ]
    .map(|(header, text)| [header, text.as_bytes().to_vec()].concat())
    .to_vec()
}

fn streams(lines: &[String]) -> Vec<Vec<u8>> {
    let mut recorded = String::new();
    for line in lines {
        let value: Value = serde_json::from_str(line).unwrap();
        if let Some(kind) = value["event"]["type"].as_str() {
            recorded += &format!("event: {kind}\ndata: {}\n\n", value["event"]);
        }
    }
    let crlf = recorded.replace('\n', "\r\n");
    let cr = recorded.replace('\n', "\r");
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\",\"usage\":{\"input_tokens\":1}}}\n\n";
    [
        (vec![255, 0], recorded.as_str()),
        (vec![255, 1, 0], &crlf),
        (vec![255, 3, 0, 1, 60], &cr),
        (vec![127, 2, 5, 9], &recorded),
        (vec![255, 0], error),
        (vec![255, 1, 2], start),
        (
            vec![255, 1, 0],
            "\u{feff}: hello\nid: 7\nretry: 1\ndata\ndata: \ndata:  a\r\rdata:b\r\n\r\nevent: ping",
        ),
        (
            vec![8, 1, 1],
            "data: 1\n\ndata: 12\n\ndata: 123\ndata: 4\n\ndata:1\n\n:long comment\ndata:2\n\n",
        ),
    ]
    .map(|(header, text)| [header, text.as_bytes().to_vec()].concat())
    .to_vec()
}

fn frames() -> Vec<Vec<u8>> {
    let turn = "00000000-0000-4000-8000-000000000007";
    let report = json!({"session": "work", "turn": turn, "outcome": "failed", "answer": "a\n",
        "texts": ["t"], "error": {"code": "agent_error", "message": "m", "hint": "h"}, "is_error": true,
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 2,
        "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4}, "cost_usd": 0.25,
        "duration_ms": 1, "ttft_ms": 2, "queued_ms": 3, "model": "m", "agent_session_id": turn,
        "permission_denials": [{"tool": "Write", "input": {"file_path": "/x", "n": [1, -2.5, null]}}]});
    let row = json!({"name": "work", "id": turn, "state": "idle", "since": 1, "detail": "d",
        "driver": "stream", "queue": 2, "turns": 3, "attached": 0, "idle_s": 4, "cwd": "/src"});
    let mut detail = json!({"reply": "detail", "agent_session_id": turn, "pid": 1, "holder_pid": 2,
        "agent_version": "2.1.328", "usage": {}, "last_error": {"code": "internal", "message": "m"}});
    detail
        .as_object_mut()
        .unwrap()
        .extend(row.as_object().unwrap().clone());
    let mut turn_reply = json!({"reply": "turn"});
    turn_reply
        .as_object_mut()
        .unwrap()
        .extend(report.as_object().unwrap().clone());
    let requests = [
        json!({"op": "send", "session": "work", "turn": turn, "prompt": "é\n", "timeout_ms": 5,
            "on_question": "fail", "wait": true, "events": true, "texts": false}),
        json!({"op": "send", "session": "w", "turn": turn, "prompt": "x", "wait": true, "timeout_ms": null}),
        json!({"op": "result", "session": "work", "turn": "-1", "events": true, "texts": true}),
        json!({"op": "list"}),
        json!({"op": "show", "session": "work"}),
        json!({"op": "kill", "sessions": ["a", "b"], "all": false, "grace_ms": 1}),
        json!({"op": "restart", "session": "work", "fresh": true, "start_timeout_ms": 1}),
        json!({"op": "cancel", "session": "work", "turn": turn}),
        json!({"op": "status", "later": {"deep": [[[1]]]}}),
        json!({"op": "stop", "grace_ms": 4_294_967_296_u64}),
        json!({"op": "teleport", "to": "mars"}),
        json!(["list"]),
    ];
    let replies = [
        json!({"reply": "session", "session": row, "created": true}),
        json!({"reply": "accepted", "turn": turn}),
        turn_reply,
        json!({"reply": "sessions", "sessions": [row, row]}),
        detail,
        json!({"reply": "killed", "sessions": [{"session": "a", "id": turn, "agent_session_id": turn,
            "cwd": "/", "error": {"code": "on_fire", "message": "m"}}]}),
        json!({"reply": "status", "pid": 1, "version": "0.1.0", "socket": "/s", "state_dir": "/d", "sessions": 2}),
        json!({"reply": "done"}),
    ];
    let events = [
        json!({"event": "queued", "ahead": 1}),
        json!({"event": "accepted"}),
        json!({"event": "text", "message": 1, "text": "t"}),
        json!({"event": "thinking", "text": "t"}),
        json!({"event": "tool", "name": "Bash", "input": {"command": "ls"}}),
        json!({"event": "tool_result", "is_error": true}),
        json!({"event": "question", "tool": "AskUserQuestion", "input": {}}),
        json!({"event": "question_resolved", "tool": "t", "how": "denied"}),
        json!({"event": "denied", "tool": "t", "input": [1, "x", null]}),
        json!({"event": "retry", "attempt": 1, "max": 2, "delay_ms": 3, "status": 529, "error": "e"}),
        json!({"event": "rate_limit", "info": {"status": "allowed"}}),
        json!({"event": "restart", "reason": "r"}),
        json!({"event": "result", "outcome": "timed-out"}),
        json!({"event": "error", "error": {"code": "too_many", "message": "m"}}),
        json!({"event": "gap", "missed": 3}),
        json!({"event": "sneeze", "loud": true}),
    ];
    let hello = json!({"type": "hello", "protocol": 1, "version": "0.1.0", "capabilities": ["send"], "state_dir": "/d"});
    let request = |request| json!({"type": "request", "id": 1, "request": request});
    let reply = |reply| json!({"type": "reply", "id": 1, "reply": reply});
    let event = |mut event: Value| {
        let more = json!({"seq": 8, "session": "work", "turn": turn});
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"type": "event", "id": 1, "event": event})
    };
    let error = json!({"type": "error", "id": 0, "error": {"code": "bad_request", "message": "m"}});
    let all: Vec<Value> = [hello.clone(), error, json!({"type": "later"})]
        .into_iter()
        .chain(requests.map(request))
        .chain(replies.map(reply))
        .chain(events.map(event))
        .collect();
    let mut found: Vec<Vec<u8>> = all.iter().map(|it| frame::encode(it).unwrap()).collect();
    found.push(frame::encode(&new_session()).unwrap());
    found.push(
        [
            frame::to_wire(&hello).unwrap(),
            frame::to_wire(&new_session()).unwrap(),
        ]
        .concat(),
    );
    found.push(vec![0xff; 9]);
    found.push([vec![0x91; 300], vec![0xc0]].concat());
    found
}

fn new_session() -> ToBroker {
    let new = New {
        id: None,
        name: Some("work".into()),
        cwd: "/src".into(),
        env: vec![(b"A".to_vec().into(), vec![0xff, 0].into())],
        settings: Settings {
            model: Some("m".into()),
            max_turns: Some(3),
            agent_args: vec!["--x".into()],
            env_forget: vec!["*_KEY".into()],
            ..Settings::default()
        },
        program: None,
        resume: Some(uuid::Uuid::from_u128(1)),
        trust: true,
        exists_ok: false,
        wait: true,
        start_timeout_ms: 9,
        umask: Some(0o22),
    };
    let request = Box::new(clsess_proto::Request::New(Box::new(new)));
    ToBroker::Request {
        first_asked: None,
        id: 3,
        request,
    }
}

fn holder() -> Vec<Vec<u8>> {
    let start = Start {
        program: b"/bin/agent".to_vec(),
        args: vec![b"agent".to_vec(), b"-p".to_vec()],
        env: vec![(b"K".to_vec(), b"V=".to_vec())],
        cwd: b"/".to_vec(),
        stdio: PIPES,
        umask: 0o022,
        window: Window::default(),
    };
    let end = Request::End {
        grace_ms: 258,
        now: true,
    };
    let requests = [Request::Start(start), Request::Lend, end];
    let failed = Failed {
        errno: 2,
        step: "cwd".into(),
        message: "é".into(),
    };
    let refused = Refused {
        reason: Reason::TooLong,
        kind: 77,
    };
    let replies = [
        Reply::Hello { version: 2, pid: 7 },
        Reply::Started {
            pid: 7,
            start_time: 9,
        },
        Reply::Failed(failed),
        Reply::Lent {
            ends: vec![0, 1, 2],
        },
        Reply::Exited(Exit::Signalled(9)),
        Reply::Ended {
            exit: Exit::Unknown,
            left: true,
        },
        Reply::Refused(refused),
    ];
    let wire = requests
        .iter()
        .map(encode_request)
        .chain(replies.iter().map(encode_reply));
    let wire: Vec<_> = wire.collect();
    let mut found: Vec<_> = wire.iter().map(|frame| frame[4..].to_vec()).collect();
    found.push([vec![0], wire.concat()].concat());
    found.push([vec![2, 0, 6], wire.concat()].concat());
    found.push([vec![1, 0], u32::MAX.to_be_bytes().to_vec()].concat());
    found
}
