//! Bodies as they were measured (facts 4(d), 10, 11, 13), and odd ones.

use super::*;
use crate::question::answered;

const COMMON: &str = r#""session_id":"36fd3f3c-07c8-4ca2-9d5c-2a2e9c5dd2c1","transcript_path":"/t","cwd":"/p","prompt_id":"p1","permission_mode":"default""#;

fn call(event: &str, more: &str) -> Call {
    let body = format!(r#"{{{COMMON},"hook_event_name":"{event}"{more}}}"#);
    parse(body.as_bytes()).unwrap()
}

fn json(text: &str) -> Json {
    Json::new(text.to_owned()).unwrap()
}

#[test]
fn the_conversation_goes_on() {
    let some = |text: &str| Some(text.to_owned());
    for (event, more, expected) in [
        (
            "UserPromptSubmit",
            r#","prompt":"a\ud800\nb""#,
            Hook::Prompt {
                prompt: "a\u{fffd}\nb".into(),
                source: None,
            },
        ),
        (
            "UserPromptSubmit",
            r#","prompt":"x","source":"system""#,
            Hook::Prompt {
                prompt: "x".into(),
                source: some("system"),
            },
        ),
        (
            "MessageDisplay",
            r#","turn_id":"t","message_id":"m","index":2,"final":true,"delta":"x\n""#,
            Hook::Display {
                message: "m".into(),
                turn: some("t"),
                index: 2,
                last: true,
                delta: "x\n".into(),
            },
        ),
        (
            "Stop",
            r#","stop_hook_active":true,"last_assistant_message":"e","background_tasks":[{},{}]"#,
            Hook::Stop {
                last_message: some("e"),
                background: 2,
                again: true,
            },
        ),
        (
            "StopFailure",
            r#","error":"unknown","last_assistant_message":"API Error: 400 x""#,
            Hook::StopFailure {
                error: some("unknown"),
                last_message: some("API Error: 400 x"),
            },
        ),
        ("Later", "", Hook::Other("Later".into())),
        // ours, but for what makes it one
        (
            "UserPromptSubmit",
            r#","prompt":5"#,
            Hook::Other("UserPromptSubmit".into()),
        ),
        (
            "SessionStart",
            r#","source":"clear""#,
            Hook::SessionStart {
                source: some("clear"),
            },
        ),
        (
            "SessionEnd",
            r#","reason":"clear""#,
            Hook::SessionEnd {
                reason: some("clear"),
            },
        ),
        (
            "PostModelSwitch",
            r#","from_model":"a","to_model":"c","requested_model":"b","source":"picker""#,
            Hook::ModelSwitch {
                model: "b".into(),
                source: some("picker"),
            },
        ),
        (
            "PostModelSwitch",
            r#","from_model":"a","to_model":"b","requested_model":null,"source":"command""#,
            Hook::ModelSwitch {
                model: "b".into(),
                source: some("command"),
            },
        ),
        (
            "Notification",
            r#","notification_type":"permission_prompt","message":"m""#,
            Hook::Notification {
                kind: some("permission_prompt"),
                message: some("m"),
            },
        ),
    ] {
        let call = call(event, more);
        assert_eq!(call.hook, expected);
        assert_eq!(call.prompt_id.as_deref(), Some("p1"));
        assert!(call.session.is_some() && call.agent.is_none());
    }
}

#[test]
fn tools_are_called() {
    for (event, more, expected) in [
        (
            "PermissionRequest",
            r#","tool_name":"Write","tool_input":{"a": 1},"permission_suggestions":[{}]"#,
            Hook::Permission {
                tool: "Write".into(),
                input: json(r#"{"a": 1}"#),
                suggestions: Some(json("[{}]")),
                id: None,
            },
        ),
        (
            "PreToolUse",
            r#","tool_name":"Bash","tool_input":{},"tool_use_id":"toolu_1""#,
            Hook::Tool {
                id: "toolu_1".into(),
                name: "Bash".into(),
                input: json("{}"),
            },
        ),
        (
            "PostToolUse",
            r#","tool_name":"Bash","tool_use_id":"toolu_1""#,
            Hook::ToolDone {
                id: "toolu_1".into(),
                is_error: false,
            },
        ),
        (
            "PostToolUseFailure",
            r#","tool_use_id":"toolu_1""#,
            Hook::ToolDone {
                id: "toolu_1".into(),
                is_error: true,
            },
        ),
        (
            "PostToolBatch",
            r#","tool_calls":[{"tool_use_id":"toolu_1"},5,{"tool_use_id":"toolu_2"}]"#,
            Hook::ToolsDone {
                ids: vec!["toolu_1".into(), "toolu_2".into()],
            },
        ),
        ("PreToolUse", "", Hook::Other("PreToolUse".into())),
    ] {
        assert_eq!(call(event, more).hook, expected);
    }
}

#[test]
fn a_subagents_hook_names_it() {
    let agent = || "a1".to_owned();
    let start = call("SubagentStart", r#","agent_id":"a1","agent_type":"x""#);
    assert_eq!(start.hook, Hook::SubagentStart { agent: agent() });
    let stop = call("SubagentStop", r#","agent_id":"a1""#);
    assert_eq!(stop.hook, Hook::SubagentStop { agent: agent() });
    assert_eq!((start.agent, stop.agent), (None, None));
    let tool = call(
        "PreToolUse",
        r#","agent_id":"a1","tool_name":"x","tool_use_id":"t""#,
    );
    assert_eq!(tool.agent, Some(agent()));
}

#[test]
fn what_is_no_hook() {
    assert_eq!(parse(b" "), Err(BadLine::Empty));
    assert_eq!(parse(b"[1]"), Err(BadLine::NotAnObject));
    for bad in [&b"{"[..], b"\xff", b"{\"prompt\":1,\"prompt\":2}"] {
        assert!(matches!(parse(bad), Err(BadLine::Json(_))));
    }
    assert_eq!(parse(b"{}").unwrap().hook, Hook::Other(String::new()));
}

/// The client has taken answers like these (facts 10, 13).
#[test]
fn answers() {
    let decided = |decision: &str| {
        let event = r#""hookEventName":"PermissionRequest""#;
        format!(r#"{{"hookSpecificOutput":{{{event},"decision":{decision}}}}}"#)
    };
    let blocked = r#"{"decision":"block","reason":"no \"x\""}"#;
    assert_eq!(block("no \"x\""), blocked);
    let input = json(r#"{"a": 1}"#);
    let plain = r#"{"behavior":"allow","updatedInput":{"a": 1}}"#;
    assert_eq!(allow(&input, None), decided(plain));
    let rules = json(r#"[{"type":"setMode"}]"#);
    let always =
        r#"{"behavior":"allow","updatedInput":{"a": 1},"updatedPermissions":[{"type":"setMode"}]}"#;
    assert_eq!(allow(&input, Some(&rules)), decided(always));
    let no = r#"{"behavior":"deny","message":"not on a Friday"}"#;
    assert_eq!(deny("not on a Friday", false), decided(no));
    let stop = r#"{"behavior":"deny","message":"","interrupt":true}"#;
    assert_eq!(deny("", true), decided(stop));
    let asked = json(r#"{"questions":[{"question":"Which?","options":[{"label":"Red"}]}]}"#);
    let answered = answered(&asked, &["1".to_owned()]).unwrap();
    assert!(allow(&answered, None).contains(r#""answers":{"Which?":"Red"}"#));
}

#[test]
fn what_a_tool_will_do() {
    for (input, expected) in [
        (r#"{"command":"ls","description":"x"}"#, Some("ls")),
        (r#"{"file_path":"/x","content":"y"}"#, Some("/x")),
        (r#"{"file_path":"/home/me/x/y"}"#, Some("x/y")),
        (r#"{"file_path":"/home/mean"}"#, Some("/home/mean")),
        (r#"{"url":"http://x","prompt":"y"}"#, Some("http://x")),
        (r#"{"command":5}"#, None),
        ("{}", None),
        ("[]", None),
    ] {
        assert_eq!(
            description(&json(input), Some("/home/me")).as_deref(),
            expected,
            "{input}"
        );
    }
}
