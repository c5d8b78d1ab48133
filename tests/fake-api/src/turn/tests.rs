//! Requests as Claude Code 2.1.328 was seen to write them.

use serde_json::{Value, json};

use super::*;

const REMINDER: &str =
    "<system-reminder>\nCodebase and user instructions ...\n</system-reminder>\n";

fn request(messages: &Value) -> Request {
    serde_json::from_value(json!({ "messages": messages })).unwrap()
}

fn texts(texts: &[&str]) -> Value {
    let blocks: Vec<_> = texts
        .iter()
        .map(|text| json!({"type": "text", "text": text}))
        .collect();
    json!({"role": "user", "content": blocks})
}

fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": [{"type": "text", "text": text}]})
}

fn tool_round() -> [Value; 2] {
    [
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]}),
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "hi"}]}),
    ]
}

fn found(messages: &Value) -> (String, usize, usize) {
    let request = request(messages);
    let prompt = prompt(&request).unwrap();
    (prompt.text.to_owned(), prompt.message, prompt.block)
}

#[test]
fn reminders_stand_in_front_and_system_messages_behind() {
    let first =
        json!([texts(&[REMINDER, REMINDER, "plain"]), {"role": "system", "content": "# Env"}]);
    assert_eq!(found(&first), ("plain".into(), 0, 2));
    let later =
        json!([texts(&[REMINDER, "plain"]), assistant("ok"), {"role": "user", "content": "two"}]);
    assert_eq!(found(&later), ("two".into(), 2, 0));
}

#[test]
fn a_prompt_may_look_like_a_reminder() {
    let fake = "<system-reminder>mine</system-reminder>";
    assert_eq!(found(&json!([texts(&[REMINDER, fake])])).0, fake);
    assert_eq!(
        found(&json!([
            texts(&[REMINDER, "plain"]),
            assistant("ok"),
            texts(&[fake])
        ]))
        .0,
        fake
    );
    let half = "<system-reminder>mine</system-reminder> and more";
    assert_eq!(found(&json!([texts(&[REMINDER, half])])).0, half);
    let trailing = json!([texts(&["plain", REMINDER])]);
    assert_eq!(found(&trailing), ("plain".into(), 0, 0));
}

#[test]
fn tool_results_and_continuations_keep_the_turn() {
    let mut messages = vec![texts(&["go"])];
    let start = found(&json!(messages));
    messages.extend(tool_round());
    assert_eq!(found(&json!(messages)), start);
    let steered = format!("{STEERED}more\n");
    messages.push(json!({"role": "system", "content": steered}));
    messages.push(assistant("part"));
    messages.push(texts(&[
        "Output token limit hit. Resume directly \u{2014} no apology",
    ]));
    assert_eq!(found(&json!(messages)), start);
    let request = request(&json!(messages));
    let after = said_after(&request, &prompt(&request).unwrap());
    assert_eq!(after.len(), 2);
    assert_eq!(after[0], steered);
}

#[test]
fn the_tui_puts_steered_text_beside_the_tool_result() {
    let [call, mut result] = tool_round();
    result["content"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "text",
            "text": "The user sent a new message while you were working:\nmore"}));
    assert_eq!(
        found(&json!([texts(&["go"]), call, result])),
        ("go".into(), 0, 0)
    );
}

#[test]
fn after_an_interrupted_tool_the_next_prompt_is_beside_its_result() {
    let [call, mut result] = tool_round();
    let content = result["content"].as_array_mut().unwrap();
    content.push(json!({"type": "text", "text": "[Request interrupted by user for tool use]"}));
    content.push(json!({"type": "text", "text": "next"}));
    assert_eq!(found(&json!([texts(&["go"]), call, result])).0, "next");
}

#[test]
fn a_prompt_with_the_words_of_a_continuation_is_a_prompt_at_the_start() {
    let words = "Output token limit hit. Resume directly";
    assert_eq!(found(&json!([texts(&[REMINDER, words])])).0, words);
}

#[test]
fn the_same_words_again_are_another_turn() {
    let first = json!([texts(&["again"])]);
    let second = json!([texts(&["again"]), assistant("ok"), texts(&["again"])]);
    let merged = json!([texts(&["again", "[Request interrupted by user]", "again"])]);
    let key = |messages: &Value| {
        let request = request(messages);
        TurnKey::new("s", "", prompt(&request).unwrap())
    };
    assert_ne!(key(&first), key(&second));
    assert_ne!(key(&first), key(&merged));
    assert_eq!(key(&first), key(&first.clone()));
}

#[test]
fn an_interruption_before_an_odd_prompt() {
    let fake = "<system-reminder>mine</system-reminder>";
    assert_eq!(
        found(&json!([texts(&["[Request interrupted by user]", fake])])).0,
        fake
    );
}

#[test]
fn earlier_prompts() {
    let messages = json!([
        texts(&[REMINDER, "one"]),
        {"role": "system", "content": "# Env"},
        assistant("ok"),
        {"role": "user", "content": REMINDER},
        texts(&[REMINDER, "@file two"]),
        assistant("ok"),
        texts(&["<system-reminder>three</system-reminder>"]),
        assistant("part"),
        texts(&["Output token limit hit. Resume directly"]),
        assistant("ok"),
        texts(&["queued a\n", "queued b"]),
        assistant("ok"),
        texts(&[NOTIFICATION]),
        assistant("ok"),
        texts(&["recall"]),
    ]);
    let request = request(&messages);
    let prompt = prompt(&request).unwrap();
    assert_eq!(
        earlier(&request, &prompt),
        [
            "one",
            "@file two",
            "<system-reminder>three</system-reminder>",
            "queued a\n",
            "queued b"
        ]
    );
}

#[test]
fn a_huge_prompt() {
    let huge = "x".repeat(1 << 20);
    assert_eq!(found(&json!([texts(&[REMINDER, &huge])])).0, huge);
    assert!(prompt(&request(&json!([]))).is_none());
}
