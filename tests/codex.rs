//! The real Codex CLI in a terminal, against the loopback API: that what a profile for it builds on
//! holds (`contrib/profiles/CODEX-FACTS.md`). No part of clsess runs here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "harness/codex.rs"]
#[allow(dead_code, reason = "its profile is for the tests of clsess")]
mod codex;
mod harness;
#[path = "harness/terminal.rs"]
#[allow(dead_code, reason = "most of it is for others")]
mod terminal;

use codex::Codex;
use harness::{World, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use terminal::{Size, Terminal};

const SIZE: Size = Size(30, 100);

/// In a terminal, as far as that it asks to be told of the focus: what is typed from then on is kept.
/// Before that, and as late as when it has asked for bracketed paste, the terminal's line may still
/// make a newline of Enter.
fn start(codex: &Codex<'_>, args: &[&str]) -> Terminal {
    let terminal = Terminal::start(&codex.command(args), SIZE);
    terminal.until_seen("it reads", |seen| seen.modes.contains("FOCUS_IN_OUT"));
    terminal
}

/// A prompt in one piece. The blanks are taken off, and with them it is nothing but a prompt: no
/// command, no file, no skill to be completed. The box is emptied first (`C-u`): what was typed while
/// an interrupted turn came to its end is put back into it, although it was sent.
fn prompt(terminal: &Terminal, text: &str) {
    terminal.type_in(format!("\x15\x1b[200~ {text} \x1b[201~\r"));
}

/// The turn of this prompt, to its end; its answer.
fn turn(codex: &Codex<'_>, terminal: &Terminal, text: &str) -> Value {
    prompt(terminal, text);
    assert_eq!(codex.told("UserPromptSubmit")["prompt"], text);
    codex.told("Stop")["last_assistant_message"].clone()
}

#[test]
fn prompts_and_answers_are_told_exactly() {
    let Some(world) = World::bare() else { return };
    let Some(codex) = Codex::new(&world) else {
        return;
    };
    let answer = "\n  zwei Zeilen: é 😀 \u{2028}\r\n\ttab `x` **b**  \n\n";
    let long = "Zeile ü\n".repeat(15_000);
    let prompts = [
        "Do it:\n\tthis, and 😀\n\nthat".to_owned(),
        "/quit".to_owned(),
        "!exit".to_owned(),
        format!("{}e", "wort ".repeat(20_000)),
    ];
    world.api.answer("Do it", answer);
    world.api.answer("!exit", &long);
    let terminal = start(&codex, &[]);
    assert_eq!(turn(&codex, &terminal, &prompts[0]), answer);
    let began = codex.told("SessionStart");
    assert_eq!(began["source"], "startup");
    assert_eq!(turn(&codex, &terminal, &prompts[1]), "you said: /quit");
    assert_eq!(turn(&codex, &terminal, &prompts[2]), *long);
    let cut = format!("you said: {}", "wort ".repeat(40));
    assert_eq!(turn(&codex, &terminal, &prompts[3]), cut);
    assert_eq!(world.api.prompts(0), prompts);

    terminal.signal(Signal::SIGTERM);
    assert_ne!(terminal.exit(), 0);
    let id = began["session_id"].as_str().unwrap();
    let terminal = start(&codex, &["resume", id]);
    let recalled = turn(&codex, &terminal, "recall");
    assert!(
        recalled.as_str().unwrap().starts_with("Do it"),
        "{recalled}"
    );
    let again = codex.told("SessionStart");
    assert_eq!(
        (&again["source"], &again["session_id"]),
        (&json!("resume"), &began["session_id"])
    );
}

#[test]
fn an_interrupt_is_told_and_a_failure_is_not() {
    let Some(world) = World::bare() else { return };
    let Some(codex) = Codex::new(&world) else {
        return;
    };
    world
        .api
        .rule("long", json!([{"text": "never said", "hold": "h"}]));
    world
        .api
        .rule_repeat("wrong", json!([{"status": 400, "message": "refused"}]));
    let terminal = start(&codex, &[]);
    prompt(&terminal, "long");
    let asked = codex.told("UserPromptSubmit");
    world.api.wait_hold("h", 1);
    assert!(!codex.has_told("Stop"));
    terminal.type_in("\x1b");
    assert_eq!(codex.told("Interrupt")["turn_id"], asked["turn_id"]);
    assert_eq!(turn(&codex, &terminal, "go on"), "you said: go on");

    prompt(&terminal, "wrong");
    let asked = codex.told("UserPromptSubmit");
    assert_eq!(asked["prompt"], "wrong");
    let file = asked["transcript_path"].as_str().unwrap();
    until("the failure is in the transcript", || {
        let lines = std::fs::read_to_string(file).unwrap();
        let lines = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_turn = |line: &Value| line["payload"]["turn_id"] == asked["turn_id"];
        let mut ends =
            lines.filter(|line| line["payload"]["type"] == "task_complete" && of_turn(line));
        ends.any(|line| line["payload"]["error"].is_object())
    });
    assert_eq!(turn(&codex, &terminal, "and on"), "you said: and on");
    assert!(!codex.has_told("Interrupt"));
    let prompts = ["long", "go on", "wrong", "and on"];
    assert_eq!(world.api.prompts(0), prompts);
}
