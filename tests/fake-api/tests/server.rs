//! The server over plain TCP, with every wait on an event.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use clsess_claude::sse::{Delta, Message, Parser, read};
use serde_json::{Value, json};

struct Api {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
    next: u64,
}

impl Api {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fake-api"))
            .args(["serve", "--no-namespace-check"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut api = Self {
            child,
            input,
            output,
            port: 0,
            next: 0,
        };
        let hello = api.read();
        assert_eq!(hello["event"], "listening");
        assert_eq!(hello["pid"], u64::from(api.child.id()));
        api.port = u16::try_from(hello["port"].as_u64().unwrap()).unwrap();
        api
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn raw(&mut self, mut command: Value) -> Value {
        self.next += 1;
        command["id"] = json!(self.next);
        writeln!(self.input, "{command}").unwrap();
        let reply = self.read();
        assert_eq!(reply["id"], self.next);
        reply
    }

    fn ask(&mut self, command: Value) -> Value {
        let reply = self.raw(command);
        assert_eq!(reply["ok"], true, "{reply}");
        reply
    }

    fn rule(&mut self, pattern: &str, respond: &Value) {
        self.ask(json!({"cmd": "rule", "match": pattern, "respond": respond}));
    }

    fn post(&self, body: &Value) -> BufReader<TcpStream> {
        self.post_to("/s/secret/v1/messages?beta=true", body)
    }

    fn post_to(&self, path: &str, body: &Value) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             x-claude-code-session-id: s1\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        BufReader::new(stream)
    }

    fn answer(&self, body: &Value) -> String {
        let mut answer = String::new();
        // A cut may end in an error; what came before it counts.
        let _ = self.post(body).read_to_string(&mut answer);
        answer
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn prompt(text: &str) -> Value {
    json!({
        "model": "claude-x", "max_tokens": 9, "stream": true, "tools": [{"name": "Bash"}],
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "<system-reminder>a</system-reminder>"},
            {"type": "text", "text": text},
        ]}],
    })
}

/// The text deltas of a raw answer.
fn deltas(answer: &str) -> Vec<String> {
    let data = answer
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    events
        .filter_map(|event| Some(event["delta"]["text"].as_str()?.to_owned()))
        .collect()
}

#[test]
fn the_default_answer_and_its_record() {
    let mut api = Api::start();
    let answer = api.answer(&prompt("hello"));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("request-id: req_"));
    assert!(answer.contains("event: message_stop\n"));
    assert_eq!(deltas(&answer).concat(), "you said: hello");

    api.ask(json!({"cmd": "wait_requests", "count": 1, "kind": "main", "finished": true}));
    let reply = api.ask(json!({"cmd": "requests", "since": 0}));
    let record = &reply["requests"][0];
    assert_eq!(record["prompt"], "hello");
    assert_eq!(
        record["last_user_texts"][0],
        "<system-reminder>a</system-reminder>"
    );
    assert_eq!(record["headers"]["x-claude-code-session-id"], "s1");
    assert_eq!(record["path"], "/s/secret/v1/messages?beta=true");
    assert_eq!(record["tools"], json!(["Bash"]));
    assert_eq!(record["outcome"], "completed");
    assert_eq!(record["answered_by"], "default");
    assert_eq!(
        api.ask(json!({"cmd": "body", "index": 0}))["body"],
        prompt("hello")
    );
}

#[test]
fn steps_errors_and_the_whole_message() {
    let mut api = Api::start();
    api.rule(
        "go",
        &json!([{"status": 429, "headers": {"retry-after": "1"}}, {"text": "there"}]),
    );
    let refused = api.answer(&prompt("go"));
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"));
    assert!(refused.contains("rate_limit_error"));
    let mut again = prompt("go");
    again["stream"] = json!(false);
    let whole = api.answer(&again);
    let (_, body) = whole.split_once("\r\n\r\n").unwrap();
    assert!(body.contains(r#""text":"there""#), "{whole}");
    assert_eq!(deltas(&api.answer(&prompt("go"))).concat(), "you said: go");
    let by: Vec<_> = api.ask(json!({"cmd": "requests"}))["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["answered_by"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(by, ["rule 0 step 0", "rule 0 step 1", "default"]);
}

#[test]
fn a_hold_stops_the_stream_until_released() {
    let mut api = Api::start();
    api.rule(
        "go",
        &json!([{"text": "abcd", "delta_bytes": 2, "hold": "h", "hold_after": 1}]),
    );
    let mut stream = api.post(&prompt("go"));
    assert_eq!(
        api.ask(json!({"cmd": "wait_hold", "name": "h"}))["waiting"],
        1
    );
    let mut line = String::new();
    while !line.contains("\"ab\"") {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0);
    }
    assert_eq!(api.ask(json!({"cmd": "stats"}))["held"], json!(["h"]));
    assert_eq!(
        api.ask(json!({"cmd": "release", "name": "h"}))["released"],
        1
    );
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(deltas(&rest), ["cd"]);
    assert_eq!(
        api.ask(json!({"cmd": "release", "name": "h"}))["released"],
        0
    );
}

#[test]
fn the_other_api_has_the_same_rules() {
    let mut api = Api::start();
    let asked = json!({
        "model": "m", "stream": true,
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]}],
    });
    api.rule(
        "go",
        &json!([{"status": 429}, {"text": "abcd\n", "delta_bytes": 2, "hold": "h", "hold_after": 1}]),
    );
    let ask = |api: &Api| {
        let mut answer = String::new();
        let mut stream = api.post_to("/v1/responses", &asked);
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let refused = ask(&api);
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains(r#""code":"rate_limit_error""#));
    let mut stream = api.post_to("/v1/responses", &asked);
    api.ask(json!({"cmd": "wait_hold", "name": "h"}));
    api.ask(json!({"cmd": "release", "name": "h"}));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("event: response.completed\n"), "{answer}");
    assert!(answer.contains(r#""text":"abcd\n""#), "{answer}");
    assert!(ask(&api).contains("you said: go"));
    let reply = api.ask(json!({"cmd": "requests"}));
    let outcomes: Vec<_> = reply["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| {
            assert_eq!(record["prompt"], "go");
            assert_eq!(record["kind"], "main");
            record["outcome"].as_str().unwrap()
        })
        .collect();
    assert_eq!(outcomes, ["error 429", "completed", "completed"]);
}

#[test]
fn a_client_that_leaves_is_noticed() {
    let mut api = Api::start();
    api.rule("go", &json!([{"text": "abcd", "hold": "h"}]));
    let stream = api.post(&prompt("go"));
    api.ask(json!({"cmd": "wait_hold", "name": "h"}));
    drop(stream);
    api.ask(json!({"cmd": "wait_requests", "count": 1, "finished": true}));
    let reply = api.ask(json!({"cmd": "requests"}));
    assert_eq!(reply["requests"][0]["outcome"], "client_gone");
    assert_eq!(api.ask(json!({"cmd": "stats"}))["held"], json!([]));
}

/// Feeds the chunks of a chunked answer to the parser one by one, as a tap would see them.
fn messages(answer: &str) -> Vec<Message> {
    let (mut parser, mut events) = (Parser::new(), Vec::new());
    let (head, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    while let Some((size, after)) = rest.split_once("\r\n") {
        let (chunk, after) = after.split_at(usize::from_str_radix(size, 16).unwrap());
        parser.feed(chunk.as_bytes(), &mut events);
        rest = after.strip_prefix("\r\n").unwrap();
    }
    assert!(!parser.end());
    events.iter().map(read).collect()
}

#[test]
fn what_is_served_is_read_back() {
    let mut api = Api::start();
    let text = "é\r\n\n data: x \u{2028}😀".repeat(500);
    api.rule(
        "go",
        &json!([{"text": text, "delta_bytes": 5, "hold": "h", "hold_after": 9}]),
    );
    let mut stream = api.post(&prompt("go"));
    api.ask(json!({"cmd": "wait_hold", "name": "h"}));
    api.ask(json!({"cmd": "release", "name": "h"}));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let messages = messages(&answer);
    let said = messages.iter().filter_map(|message| match message {
        Message::Delta {
            delta: Delta::Text(text),
            ..
        } => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(said.collect::<String>(), text);
    assert_eq!(messages.last(), Some(&Message::Stop));
    assert!(!messages.contains(&Message::Other) && !messages.contains(&Message::Bad));
}

#[test]
fn a_cut_stream_has_no_end() {
    let mut api = Api::start();
    api.rule(
        "go",
        &json!([{"text": "abcdef", "delta_bytes": 2, "cut_after": 2}]),
    );
    let answer = api.answer(&prompt("go"));
    assert_eq!(deltas(&answer), ["ab", "cd"]);
    assert!(!answer.contains("message_stop"));
    assert!(!answer.ends_with("0\r\n\r\n"));
    let reply = api.ask(json!({"cmd": "requests"}));
    assert_eq!(reply["requests"][0]["outcome"], "cut");
}

#[test]
fn five_megabytes() {
    let mut api = Api::start();
    api.rule(
        "go",
        &json!([{"repeat_text": {"text": "line\n", "times": 1_000_000}}]),
    );
    let answer = api.answer(&prompt("go"));
    assert_eq!(
        deltas(&answer).iter().map(String::len).sum::<usize>(),
        5_000_000
    );
}

#[test]
fn mistakes_are_answered_and_the_end_of_input_ends_it() {
    let mut api = Api::start();
    for wrong in [
        json!({"cmd": "nonsense"}),
        json!({"cmd": "rule", "match": "x", "respond": [{"txt": "typo"}]}),
        json!({"cmd": "body", "index": 7}),
        json!({"cmd": "wait_requests", "count": 1, "timeout_ms": 1}),
        json!({"cmd": "wait_hold", "name": "h", "timeout_ms": 1}),
    ] {
        assert!(api.raw(wrong.clone())["error"].is_string(), "{wrong}");
    }
    let mut stream = TcpStream::connect(("127.0.0.1", api.port)).unwrap();
    stream
        .write_all(b"GET /api/hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let (unused, _) = std::os::unix::net::UnixStream::pair().unwrap();
    api.input = ChildStdin::from(std::os::fd::OwnedFd::from(unused));
    assert!(api.child.wait().unwrap().success());
}

/// As `api.anthropic.com`, to who trusts it; the same rules and records.
#[test]
fn the_api_by_its_own_name() {
    let mut api = Api::start();
    let [ca, others] = ["api", "others"]
        .map(|of| std::env::temp_dir().join(format!("fake-api-{}-{of}.pem", std::process::id())));
    let provider = json!({"cmd": "provider", "ca": ca, "others": others});
    let port = api.ask(provider)["port"].clone();
    api.rule("hi", &json!([{"text": "by name"}]));
    let curl = |trusted: &str, url: &str| {
        let mut curl = Command::new("curl");
        curl.env_clear().args(["-s", "--cacert", trusted, url]);
        curl.args(["-x", &format!("http://127.0.0.1:{port}")]);
        curl.args(["-d", &prompt("hi").to_string()]);
        let done = curl.output().unwrap();
        (
            done.status.code(),
            deltas(&String::from_utf8(done.stdout).unwrap()).concat(),
        )
    };
    let url = "https://api.anthropic.com/v1/messages";
    let system = "/etc/ssl/certs/ca-certificates.crt";
    assert_eq!(curl(ca.to_str().unwrap(), url), (Some(0), "by name".into()));
    assert_eq!(curl(system, url).0, Some(60));
    // Each authority vouches for its own hosts alone.
    let other = "https://other.test/";
    assert_eq!(curl(others.to_str().unwrap(), other).0, Some(0));
    assert_eq!(curl(others.to_str().unwrap(), url).0, Some(60));
    assert_eq!(curl(ca.to_str().unwrap(), other).0, Some(60));
    assert_eq!(
        curl(ca.to_str().unwrap(), "https://api.anthropic.com:444/").0,
        Some(56)
    );
    std::fs::remove_file(ca).unwrap();
    let body = api.ask(json!({"cmd": "body", "index": 0, "text": true}));
    assert_eq!(body["body"], prompt("hi").to_string());
    let requests = api.ask(json!({"cmd": "requests"}));
    assert_eq!(requests["next"], 1);
    assert_eq!(
        requests["requests"][0]["headers"]["host"],
        "api.anthropic.com"
    );
}
