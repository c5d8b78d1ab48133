//! What the real client printed, through the turn accounting.
//!
//! For each `NAME.ndjson` (its stdout) and `NAME.side.json` (what was written to it, and when)
//! `NAME.expected` holds what the tracker made of it, to be read in review. After a new recording
//! `UPDATE_EXPECTED=1 cargo nextest run -p clsess-claude` writes them again.

#![allow(clippy::unwrap_used)] // a test: helpers are not #[test] functions

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clsess_claude::record::answer_of;
use clsess_claude::stream::parse;
use clsess_claude::turn::{ErrorKind, Happening, Outcome, Tracker, TurnEnd};
use serde_json::Value;
use uuid::Uuid;

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/2.1.328")
}

/// Names in the order they appear: the client's own ids differ in each recording.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    fn name(&mut self, kind: &str, id: &str) -> String {
        let next = self
            .0
            .values()
            .filter(|name| name.starts_with(kind))
            .count()
            + 1;
        self.0
            .entry(id.to_owned())
            .or_insert_with(|| format!("{kind}{next}"))
            .clone()
    }

    /// Ours are numbers: 00000001-0000-….
    fn uuid(&mut self, uuid: Uuid) -> String {
        let text = uuid.to_string();
        match text.strip_suffix("-0000-4000-8000-000000000000") {
            Some(number) => number.trim_start_matches('0').to_owned(),
            None => self.name("session", &text),
        }
    }
}

fn show(happening: &Happening, names: &mut Names) -> String {
    let mut of =
        |asked: &Option<Uuid>| asked.map_or_else(|| "-".to_owned(), |uuid| names.uuid(uuid));
    match happening {
        Happening::Ready(ready) => format!(
            "ready version={:?} mode={:?} not_logged_in={}",
            ready.version, ready.permission_mode, ready.not_logged_in
        ),
        Happening::InitFailed { text } => format!("init failed {text:?}"),
        Happening::Version(version) => format!("version {version}"),
        Happening::Accepted { uuid, .. } => format!("accepted {}", of(&Some(*uuid))),
        Happening::PermissionMode { mode } => format!("mode {mode}"),
        Happening::Model { model } => format!("model {model}"),
        Happening::Begun { uuid } => format!("begun {}", of(&Some(*uuid))),
        Happening::TurnStarted { asked } => format!("[{}] started", of(asked)),
        Happening::MessageStart { asked, again } => {
            format!(
                "[{}] message{}",
                of(asked),
                if *again { " again" } else { "" }
            )
        }
        Happening::Text { asked, delta } => format!("[{}] text {delta:?}", of(asked)),
        Happening::Said { asked, text } => format!("[{}] said {:?}", of(asked), short(text)),
        Happening::Thinking { asked, .. } => format!("[{}] thinking", of(asked)),
        Happening::Tool {
            asked,
            subagent,
            id,
            name,
            input,
        } => {
            format!(
                "[{}] tool{} {id} {name} {}",
                of(asked),
                sub(*subagent),
                input.get()
            )
        }
        Happening::ToolResult {
            asked,
            subagent,
            id,
            is_error,
        } => {
            format!(
                "[{}] tool result{} {id}{}",
                of(asked),
                sub(*subagent),
                if *is_error { " error" } else { "" }
            )
        }
        Happening::Question(question) => {
            let asked = of(&question.asked);
            let line = &question.line;
            let id = names.name("question", &line.request_id);
            let suggestions = line.suggestions.as_ref().map_or("none", |json| json.get());
            format!(
                "[{asked}] {id} {:?} {} {} for {:?} suggestions {suggestions}",
                question.kind,
                line.tool,
                line.input.get(),
                line.tool_use_id
            )
        }
        Happening::QuestionGone { request_id } => {
            format!("gone {}", names.name("question", request_id))
        }
        Happening::UnknownRequest { subtype, .. } => format!("unknown request {subtype}"),
        Happening::Response(line) => {
            format!(
                "response {} {:?} {:?}",
                line.request_id,
                line.error,
                line.response.as_ref().map(|r| r.get())
            )
        }
        Happening::Retry(retry) => {
            assert!(retry.delay_ms > 0);
            format!(
                "retry {}/{} {:?} {:?}",
                retry.attempt, retry.max, retry.status, retry.error
            )
        }
        Happening::RateLimit(limit) => format!("{limit:?}"),
        Happening::BackgroundTasks { count } => format!("background tasks {count}"),
        Happening::Conversation { id } => format!("conversation {}", of(&Some(*id))),
        Happening::TurnEnded { asked, end } => format!("[{}] ended {}", of(asked), show_end(end)),
        Happening::Idle => "idle".to_owned(),
        Happening::Running => "running".to_owned(),
    }
}

fn sub(subagent: bool) -> &'static str {
    if subagent { " (subagent)" } else { "" }
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}

fn show_end(end: &TurnEnd) -> String {
    let mut out = format!("{:?} answer={:?}", end.outcome, short(&end.answer));
    let _ = write!(
        out,
        "\n        texts={:?}",
        end.texts.iter().map(|text| short(text)).collect::<Vec<_>>()
    );
    if let Some(error) = &end.error {
        let _ = write!(
            out,
            "\n        error {} {:?} {:?}",
            error.kind.name(),
            error.status,
            error.text
        );
    }
    let _ = write!(
        out,
        "\n        stop={:?} terminal={:?}",
        end.stop_reason, end.terminal_reason
    );
    let _ = write!(
        out,
        " model={:?} turns={:?} cost={:?}",
        end.model, end.num_turns, end.cost_usd
    );
    for denial in &end.permission_denials {
        let _ = write!(
            out,
            "\n        denied {} {}",
            denial.tool,
            denial.input.as_ref().map_or("", |json| json.get())
        );
    }
    for (flag, name) in [
        (end.is_error, "is_error"),
        (end.known_already, "known_already"),
        (end.truncated, "truncated"),
        (end.cross_check_failed, "cross_check_failed"),
        (end.local_command, "local_command"),
        (end.usage.is_none(), "no_usage"),
        (end.duration_ms.is_none(), "no_duration"),
        (end.agent_session_id.is_none(), "no_session"),
    ] {
        if flag {
            let _ = write!(out, " {name}");
        }
    }
    match &end.origin {
        Some(origin) => out + " origin=" + origin,
        None => out,
    }
}

/// Runs one recording. `written` lines stand where the client had printed so many lines. The ends
/// of the asked turns are told with it.
fn run(stdout: &[u8], side: &Value) -> (String, Vec<(Uuid, TurnEnd)>) {
    let mut ends = Vec::new();
    let mut names = Names::default();
    let mut tracker = Tracker::new();
    let mut out = String::new();
    let mut written = side["written"].as_array().unwrap().iter().peekable();
    let lines: Vec<&[u8]> = stdout.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..=lines.len() {
        while let Some(line) = written.next_if(|line| line[0].as_u64() == Some(at as u64)) {
            write_line(line[1].as_str().unwrap(), &mut tracker, &mut out);
        }
        let Some(line) = lines.get(at) else { break };
        let mut happenings = Vec::new();
        tracker.line(parse(line).unwrap(), &mut happenings);
        for happening in &happenings {
            let _ = writeln!(out, "{at:3} {}", show(happening, &mut names));
            if let Happening::TurnEnded {
                asked: Some(uuid),
                end,
            } = happening
            {
                ends.push((*uuid, TurnEnd::clone(end)));
            }
        }
    }
    let open: Vec<String> = tracker.open().map(|uuid| names.uuid(uuid)).collect();
    if !open.is_empty() {
        let _ = writeln!(out, "open at the end: {}", open.join(" "));
    }
    let _ = writeln!(out, "exit {} stderr {}", side["exit"], side["stderr"]);
    (out, ends)
}

/// The transcript tells the same.
fn check_transcript(transcript: &[u8], uuid: Uuid, end: &TurnEnd) {
    let told = answer_of(transcript, uuid).unwrap();
    if end.known_already || end.local_command || end.num_turns.is_none_or(|turns| turns == 0) {
        return;
    }
    let told = told.unwrap();
    assert!(told.known_already);
    if told
        .error
        .as_ref()
        .is_some_and(|error| error.kind == ErrorKind::NoResult)
    {
        // a transcript keeps neither an empty answer, nor that there were too many turns, nor
        // that the connection was lost
        assert!(end.outcome == Outcome::Failed || end.answer.is_empty());
        return;
    }
    assert_eq!(told.outcome, end.outcome, "{told:?}");
    assert_eq!(told.answer, end.answer);
    assert_eq!(
        told.error.map(|error| error.kind),
        end.error.as_ref().map(|error| error.kind)
    );
    if end.outcome == Outcome::Completed {
        assert_eq!(told.agent_session_id, end.agent_session_id);
        assert_eq!(told.stop_reason, end.stop_reason);
    }
}

fn write_line(line: &str, tracker: &mut Tracker, out: &mut String) {
    let json: Value = serde_json::from_str(line).unwrap_or_default();
    if let Some(uuid) = json["uuid"].as_str() {
        assert!(tracker.begin(uuid.parse().unwrap()));
    }
    if line.starts_with("SPAWN") {
        *tracker = Tracker::new();
    }
    let _ = match &json["type"] {
        Value::String(kind) if kind == "user" => {
            writeln!(
                out,
                "<<< user {} {}",
                &json["uuid"].as_str().unwrap_or("-")[..8],
                json["message"]["content"]
            )
        }
        Value::String(kind) if kind == "control_request" => {
            writeln!(out, "<<< {}", json["request"])
        }
        Value::String(_) => writeln!(out, "<<< {}", json["response"]["response"]),
        _ => writeln!(out, "<<< {line}"),
    };
}

fn check(name: &str) {
    let read = |ending: &str| std::fs::read(dir().join(format!("{name}.{ending}"))).unwrap();
    let (got, ends) = run(
        &read("ndjson"),
        &serde_json::from_slice(&read("side.json")).unwrap(),
    );
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(dir().join(format!("{name}.expected")), &got).unwrap();
    }
    if let Ok(transcript) = std::fs::read(dir().join(format!("{name}.transcript.jsonl"))) {
        ends.iter()
            .for_each(|(uuid, end)| check_transcript(&transcript, *uuid, end));
    }
    let expected = String::from_utf8(read("expected")).unwrap();
    assert!(got == expected, "{name}: got\n{got}\nexpected\n{expected}");
}

macro_rules! fixtures {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_recording_is_checked() {
            let listed = [$(stringify!($name)),*];
            for entry in std::fs::read_dir(dir()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if let Some(name) = name.strip_suffix(".ndjson") {
                    assert!(listed.contains(&name), "{name} is not in the list");
                }
            }
        }
    };
}

fixtures! {
    plain
    control
    tools
    max_tokens
    max_tokens_always
    refusal
    refusal_always
    pause_turn
    empty
    empty_text
    retry_then_success
    retry_429
    retry_500
    retry_529
    bad_request
    unauthorized
    forbidden
    credit
    too_long
    no_such_model
    cut_before_block_stop
    cut_after_block
    cut_after_tool
    cut_no_message_stop
    cut_always
    cut_second_message
    sse_error
    sse_error_after_block
    interrupt_stream
    interrupt_before_first_byte
    interrupt_at_once
    interrupt_idle
    interrupt_tool
    interrupt_retry
    permission_allow
    permission_deny
    permission_deny_interrupt
    permission_pending_interrupt
    permission_pending_eof
    permission_twice
    permission_always
    question
    plan
    subagent_background
    subagent_then_asked
    subagent_foreground
    steered_into_unasked
    asked_during_unasked
    subagent_permission
    subagent_permission_interrupt
    text_after_tool
    hook_block
    hook_stop
    auto_compact
    taken_back
    interrupt_with_queued
    surrogate
    merged
    steered
    known_uuid
    known_uuid_same_process
    resume_interrupted
    resume_interrupted_tool
    eof_mid_turn
    unknown_resume
    unknown_resume_initialize
    session_id_in_use
    not_logged_in
    bad_line
    clear
    slash_context
    compact
    max_turns
    rate_limit_headers
    no_state_events
}
