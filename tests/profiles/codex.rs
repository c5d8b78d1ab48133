//! The real Codex CLI, against a loopback API.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::random::Random;
use crate::harness::{World, send_signal, until};
use crate::real::Codex;
use crate::{answer, report, shows};

/// How often something is done at some moment of a turn.
const ROUNDS: u64 = 6;
/// A broker that dies five times in ten seconds is left to people.
const APART: Duration = Duration::from_millis(2600);

/// A world with Codex, and a config whose session `c` is one.
fn world() -> Option<World> {
    let world = World::bare()?;
    let config = Codex::new(&world)?.profile();
    world.config(&config);
    Some(world)
}

/// The prompts that the model was asked, but for those for a title of the conversation.
fn asked(world: &World) -> Vec<String> {
    world.api.prompts(0)
}

#[test]
fn prompts_and_answers_are_exact() {
    let Some(world) = world() else { return };
    let said = "\n  zwei Zeilen: é 😀 \u{2028}\r\n\ttab `x` **b**  \n\n";
    let long = "Zeile ü\n".repeat(15_000);
    world.api.answer("Do it", said);
    world.api.answer("!exit", &long);
    let prompts = [
        ("Do it:\n\tthis, and 😀\n\nthat", said),
        ("/quit", "you said: /quit"),
        ("!exit", &long),
        ("@file", "you said: @file"),
        ("/help", "you said: /help"),
        ("#", "you said: #"),
    ];
    for (prompt, expected) in prompts {
        assert!(answer(&world, "c", prompt) == expected, "{prompt:?}");
    }
    let sent: Vec<&str> = prompts.iter().map(|(prompt, _)| *prompt).collect();
    assert_eq!(asked(&world), sent);
    let wide = format!("{}e", "wort ".repeat(20_000));
    answer(&world, "c", &wide);
    assert!(asked(&world).last() == Some(&wide));
    for (prompt, why) in [
        (" indented", "white space"),
        ("a\x1b[31mb", "U+001B"),
        ("a\rb", "U+000D"),
    ] {
        let refused = world.clsess(&["send", "c", "--", prompt]).run().fails(2);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
    assert_eq!(asked(&world).len(), prompts.len() + 1);
    assert_eq!(world.show("c")["driver"], "codex");
}

#[test]
fn a_row_of_prompts_runs_in_order() {
    let Some(world) = world() else { return };
    let turns: Vec<String> = (1..=20)
        .map(|number| {
            let send = ["send", "--no-wait", "c", &format!("number {number}")];
            world.clsess(&send).run().ok().text().trim().to_owned()
        })
        .collect();
    for (turn, number) in turns.iter().zip(1..) {
        let result = world.clsess(&["result", "c", turn]).run().ok();
        assert_eq!(
            result.text().trim_end(),
            format!("you said: number {number}")
        );
    }
    let sent: Vec<String> = (1..=20).map(|number| format!("number {number}")).collect();
    assert_eq!(asked(&world), sent);
    let keyed = ["send", "--key", "k", "c", "keyed"];
    for _ in 0..2 {
        assert_eq!(
            world.clsess(&keyed).run().ok().text().trim_end(),
            "you said: keyed"
        );
    }
    assert_eq!(asked(&world).len(), 21);
    let log = world
        .clsess(&["log", "--json", "c"])
        .run()
        .ok()
        .json_lines();
    assert_eq!(log.len(), 21);
}

#[test]
fn a_failed_turn_is_failed_and_says_why() {
    let Some(world) = world() else { return };
    let refused = json!([{"status": 400, "message": "refused for a reason"}]);
    world.api.rule_repeat("wrong", refused);
    let failed = world.clsess(&["send", "c", "wrong"]).run().fails(1);
    assert!(
        failed.stderr.contains("refused for a reason"),
        "{}",
        failed.stderr
    );
    let said = report(&world, "c", "wrong");
    assert_eq!(
        (&said["outcome"], &said["error"]["code"], &said["answer"]),
        (&json!("failed"), &json!("agent_error"), &Value::Null),
        "{said}"
    );
    assert_eq!(answer(&world, "c", "right"), "you said: right");
}

#[test]
fn an_interrupt_leaves_nothing() {
    let Some(world) = world() else { return };
    world
        .api
        .rule("long", json!([{"text": "never said", "hold": "h"}]));
    let send = world.clsess(&["send", "-o", "json", "c", "long"]).spawn();
    world.api.wait_hold("h", 1);
    world.clsess(&["interrupt", "c"]).run();
    assert_eq!(send.wait().json()["outcome"], "interrupted");
    assert_eq!(answer(&world, "c", "go on"), "you said: go on");
    world
        .api
        .rule("slow", json!([{"text": "never said", "hold": "s"}]));
    let slow = ["send", "--timeout", "1s", "c", "slow"];
    world.clsess(&slow).run().fails(124);
    assert_eq!(answer(&world, "c", "and on"), "you said: and on");
    assert_eq!(asked(&world), ["long", "go on", "slow", "and on"]);
}

#[test]
fn a_turn_outlives_the_broker() {
    let Some(world) = world() else { return };
    assert_eq!(answer(&world, "c", "first"), "you said: first");
    let codex = world.agent("c");
    world
        .api
        .rule("long", json!([{"text": "the whole answer", "hold": "h"}]));
    let send = world.clsess(&["send", "c", "long"]).spawn();
    world.api.wait_hold("h", 1);
    world.kill_broker();
    world.clsess(&["ls"]).run().ok();
    world.kill_broker();
    world.api.release("h");
    assert_eq!(send.wait().ok().text().trim_end(), "the whole answer");
    assert_eq!(world.agent("c"), codex);
    assert_eq!(answer(&world, "c", "next"), "you said: next");
    assert_eq!(asked(&world), ["first", "long", "next"]);
}

#[test]
fn a_turn_runs_once_at_whatever_moment_the_broker_dies() {
    let Some(world) = world() else { return };
    let mut random = Random::from_environment();
    let mut sent = vec!["first".to_owned()];
    assert_eq!(answer(&world, "c", "first"), "you said: first");
    for round in 0..ROUNDS {
        let began = Instant::now();
        sent.push(format!("round {round}"));
        let send = world
            .clsess(&["send", "c", &format!("round {round}")])
            .spawn();
        thread::sleep(Duration::from_micros(random.below(500_000)));
        world.kill_broker();
        let expected = format!("you said: round {round}\n");
        assert_eq!(send.wait().ok().text(), expected);
        thread::sleep(APART.saturating_sub(began.elapsed()));
    }
    assert_eq!(asked(&world), sent);
}

#[test]
fn a_prompt_that_is_taken_back_leaves_nothing() {
    let Some(world) = world() else { return };
    assert_eq!(answer(&world, "c", "first"), "you said: first");
    let mut random = Random::from_environment();
    for round in 0..ROUNDS {
        let prompt = format!("round {round}");
        let send = world.clsess(&["send", "-o", "json", "c", &prompt]).spawn();
        thread::sleep(Duration::from_micros(random.below(250_000)));
        world.clsess(&["interrupt", "c"]).run();
        // It may have been over before that.
        let done = send.wait();
        let outcome = done.json()["outcome"].clone();
        assert!(
            outcome == "interrupted" || outcome == "completed",
            "{outcome}"
        );
        let next = format!("next {round}");
        assert_eq!(answer(&world, "c", &next), format!("you said: {next}"));
    }
}

#[test]
fn a_restart_takes_the_conversation_up_and_a_fresh_one_does_not() {
    let Some(world) = world() else { return };
    assert_eq!(answer(&world, "c", "first"), "you said: first");
    world.clsess(&["restart", "c"]).run().ok();
    assert!(answer(&world, "c", "recall").starts_with("first"));
    world.clsess(&["restart", "--fresh", "c"]).run().ok();
    let recalled = answer(&world, "c", "recall");
    assert!(!recalled.contains("first"), "{recalled}");
}

#[test]
fn a_turn_whose_codex_dies_is_unknown_and_the_next_has_its_conversation() {
    let Some(world) = world() else { return };
    assert_eq!(answer(&world, "c", "first"), "you said: first");
    let codex = world.agent("c");
    world
        .api
        .rule("long", json!([{"text": "never said", "hold": "h"}]));
    let send = world.clsess(&["send", "-o", "json", "c", "long"]).spawn();
    world.api.wait_hold("h", 1);
    let waits = world.clsess(&["send", "c", "recall"]).spawn();
    world.wait_queued("c", 1);
    send_signal(codex, Signal::SIGKILL);
    assert_eq!(send.wait().fails(9).json()["outcome"], "unknown");
    let recalled = waits.wait().ok().text().to_owned();
    assert!(recalled.starts_with("first"), "{recalled}");
    assert!(world.agent("c") != codex);
}

#[test]
fn what_a_person_enters_is_a_turn_of_its_own() {
    let Some(world) = world() else { return };
    assert_eq!(answer(&world, "c", "first"), "you said: first");
    world
        .api
        .rule("by hand", json!([{"text": "done by hand", "hold": "h"}]));
    world.clsess(&["type", "c", "by hand"]).run().ok();
    shows(&world, "c", "by hand");
    world.clsess(&["keys", "c", "Enter"]).run().ok();
    world.api.wait_hold("h", 1);
    let send = world.clsess(&["send", "c", "second"]).spawn();
    world.wait_queued("c", 1);
    world.api.release("h");
    assert_eq!(send.wait().ok().text().trim_end(), "you said: second");
    assert_eq!(asked(&world), ["first", "by hand", "second"]);
    until("it is in the log", || {
        let log = world
            .clsess(&["log", "--json", "c"])
            .run()
            .ok()
            .json_lines();
        log.iter()
            .any(|turn| turn["origin"] == "terminal" && turn["answer"] == "done by hand")
    });
}
