//! The answer: stdout is the text after the last tool result, byte for byte.

use serde_json::{Value, json};

use crate::driver::{Ability, Driver};
use crate::harness::World;

/// A tool call that needs nobody's permission.
fn read(world: &World, name: &str) -> Value {
    let file = world.project().join(name);
    std::fs::write(&file, format!("content of {name}\n")).unwrap();
    json!({"tool": {"name": "Read", "input": {"file_path": file}}})
}

/// Sends a prompt that these steps answer, `requests` of them; what stdout is.
#[track_caller]
fn answered(world: &World, respond: Value, requests: usize) -> String {
    let before = world.api.next();
    let prompt = format!("case {before}");
    world.api.rule(&prompt, respond);
    let done = world.clsess(&["send", "work", "--", &prompt]).run().ok();
    assert_eq!(done.stderr, "");
    assert_eq!(world.api.main_requests(before).len(), requests, "requests");
    String::from_utf8(done.stdout).unwrap()
}

pub fn stdout_is_the_text_of_one_message_whatever_its_blocks(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    for text in [
        "one block",
        "with its newline\n",
        "with three\n\n\n",
        "  blanks around \t ",
        "\nfirst a newline",
        "crlf\r\nin it\r\n",
        "\u{1b}[31mred\u{1b}[0m",
        "e\u{301} 👩‍👩‍👧‍👦 \u{2028} \u{feff} \u{10ffff}",
    ] {
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        let stdout = answered(&world, json!([{ "text": text }]), 1);
        assert_eq!(stdout, format!("{text}{newline}"));
    }
    let blocks = json!([{"blocks": [{"text": "one"}, {"text": "two\n"}, {"text": "three"}]}]);
    assert_eq!(answered(&world, blocks, 1), "onetwo\nthree\n");
    let thinking = json!([{"blocks": [{"thinking": "let me see"}, {"text": "seen"}]}]);
    assert_eq!(answered(&world, thinking, 1), "seen\n");
    let between = json!([{"blocks": [
        {"text": "a"}, {"thinking": "hm"}, {"text": "b"}, {"thinking": "so"}
    ]}]);
    assert_eq!(answered(&world, between, 1), "ab\n");
}

pub fn an_empty_answer_prints_nothing(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    // The client asks once more when it gets nothing to show.
    world.api.rule_repeat(
        "[Your previous response had no visible output.",
        json!([{"blocks": []}]),
    );
    for nothing in [
        json!([]),
        json!([{"text": ""}]),
        json!([{"thinking": "nothing to say"}]),
    ] {
        let stdout = answered(&world, json!([{ "blocks": nothing }]), 2);
        assert_eq!(stdout, "", "{nothing}");
    }
    assert_eq!(world.send("work", "after it"), "you said: after it\n");
    let empty = json!({"blocks": []});
    let silent = json!([{"blocks": [{"text": "before"}, read(&world, "a")]}, empty, empty]);
    assert_eq!(answered(&world, silent, 3), "");
}

pub fn the_answer_is_what_follows_the_last_tool_result(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let (a, b, c) = (read(&world, "a"), read(&world, "b"), read(&world, "c"));
    let rounds = json!([
        {"blocks": [{"text": "before"}, a]},
        {"blocks": [{"text": "between"}, b]},
        {"blocks": [{"text": "still between"}, c]},
        {"blocks": [{"text": "after "}, {"text": "all"}]},
    ]);
    assert_eq!(answered(&world, rounds, 4), "after all\n");
    let at_once = json!([
        {"blocks": [{"text": "before"}, a, b, c]},
        {"text": "after three at once"},
    ]);
    assert_eq!(answered(&world, at_once, 2), "after three at once\n");
    // A turn with three tool calls is one turn.
    assert_eq!(world.show("work")["turns"], 2);
}

pub fn what_is_said_beside_a_tool_call_is_not_the_answer(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let tool = read(&world, "a");
    let between = json!([
        {"blocks": [{"text": "before"}, tool, {"text": "behind"}], "stop_reason": "tool_use"},
        {"text": "the answer"},
    ]);
    assert_eq!(answered(&world, between, 2), "the answer\n");
    // Cut off when the call is complete: it is made, and the model is asked on.
    let cut = json!([
        {"blocks": [{"text": "before"}, tool], "cut_after": 99},
        {"text": "the answer"},
    ]);
    assert_eq!(answered(&world, cut, 2), "the answer\n");
}

pub fn a_continuation_after_max_tokens_belongs_to_the_answer(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let cut = |text: &str| json!({"text": text, "stop_reason": "max_tokens"});
    let two = json!([cut("first half, "), {"text": "second half"}]);
    assert_eq!(answered(&world, two, 2), "first half, second half\n");
    let after_a_tool = json!([
        {"blocks": [{"text": "before"}, read(&world, "a")]},
        cut("one "),
        cut("two "),
        {"text": "three"},
    ]);
    assert_eq!(answered(&world, after_a_tool, 4), "one two three\n");
}

pub fn errors_that_pass_leave_no_trace_in_the_answer(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    for status in [429, 500, 529] {
        let respond = json!([{"status": status}, {"text": format!("after {status}")}]);
        assert_eq!(
            answered(&world, respond, 2),
            format!("after {status}\n"),
            "{status}"
        );
    }
}

pub fn a_text_that_starts_again_is_printed_once(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let text = "0123456789 abcdefghij klmnopqrst";
    let broken = |how: &str| {
        let mut step = json!({"text": text, "delta_bytes": 4});
        step[how] = json!(3);
        step
    };
    for how in ["cut_after", "error_after"] {
        let same = json!([broken(how), {"text": text}]);
        assert_eq!(answered(&world, same, 2), format!("{text}\n"), "{how}");
        let other = json!([broken(how), {"text": "something else"}]);
        assert_eq!(answered(&world, other, 2), "something else\n", "{how}");
        let after_tool = json!([
            {"blocks": [{"text": "before"}, read(&world, "a")]},
            broken(how),
            {"text": text},
        ]);
        assert_eq!(
            answered(&world, after_tool, 3),
            format!("{text}\n"),
            "{how}"
        );
    }
}

pub fn an_answer_of_five_megabytes_comes_whole(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let line = "five megabytes of this: é 😀\n";
    let times = (5 << 20) / line.len() + 1;
    let respond = json!([{"repeat_text": {"text": line, "times": times}}]);
    let stdout = answered(&world, respond, 1);
    assert!(stdout.len() > 5 << 20);
    assert!(stdout == line.repeat(times));
}

pub fn a_refused_answer_goes_on_and_a_paused_one_ends(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let refused = json!([
        {"text": "I would ", "stop_reason": "refusal"},
        {"text": "do something else."},
    ]);
    assert_eq!(answered(&world, refused, 2), "I would do something else.\n");
    let paused = json!([{"text": "Paused here.", "stop_reason": "pause_turn"}]);
    assert_eq!(answered(&world, paused, 1), "Paused here.\n");
    if driver.can(Ability::TellsResults) {
        let turn = world.clsess(&["result", "-o", "json", "work"]).run().ok();
        assert_eq!(turn.json()["stop_reason"], "pause_turn");
    }
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
}

pub fn a_tool_that_fails_is_no_answer(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let missing = world.project().join("missing");
    let fails = json!({"tool": {"name": "Read", "input": {"file_path": missing}}});
    let rounds = json!([
        {"blocks": [{"thinking": "hm"}, {"text": "before"}, read(&world, "a"), fails]},
        {"blocks": [{"thinking": "so"}, {"text": "between"}, fails]},
        {"blocks": [{"text": "after"}, {"thinking": "is that all?"}, {"text": " both"}]},
    ]);
    assert_eq!(answered(&world, rounds, 3), "after both\n");
    let no_such_tool = json!({"tool": {"name": "Nothing", "input": {}}});
    let unknown = json!([{"blocks": [{"text": "before"}, no_such_tool]}, {"text": "after"}]);
    assert_eq!(answered(&world, unknown, 2), "after\n");
}

pub fn all_troubles_in_one_turn_leave_no_trace_in_the_answer(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let text = "0123456789 abcdefghij klmnopqrst";
    let tool = read(&world, "a");
    let steps = json!([
        {"status": 529},
        {"text": text, "delta_bytes": 4, "cut_after": 3},
        {"blocks": [{"text": text}, tool]},
        {"text": text, "delta_bytes": 4, "cut_after": 5},
        {"text": text},
    ]);
    world.api.rule("troubles", steps);
    let args = ["send", "--stream", "always", "work", "troubles"];
    let done = world.clsess(&args).run().ok();
    if driver.can(Ability::TellsRetries) {
        // Two messages that say the same are two messages.
        assert_eq!(done.text(), format!("{text}\n\n{text}\n"));
        assert_eq!(done.stderr, "");
    } else {
        // What broke off has been told, and nobody said that it did.
        assert!(done.text().ends_with(&format!("{text}\n")));
    }
    assert_eq!(world.api.main_requests(0).len(), 5);
    let answer = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(answer.text(), format!("{text}\n"));
}

pub fn blocks_of_white_space_belong_to_the_answer(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    for (texts, stdout) in [
        (["one", " ", "two"], "one two\n"),
        ([" \t ", "one", "two"], " \t onetwo\n"),
        (["one", "two", "\n\n"], "onetwo\n\n"),
    ] {
        let blocks: Vec<_> = texts.iter().map(|text| json!({"text": text})).collect();
        let answer = answered(&world, json!([{"blocks": blocks}]), 1);
        assert_eq!(answer, stdout, "{texts:?}");
    }
}

pub fn stream_always_ends_an_answer_in_the_same_way(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let rule = "[Your previous response had no visible output.";
    world.api.rule(rule, json!([{"blocks": []}]));
    for (blocks, stdout) in [
        (json!([]), ""),
        (json!([{"text": "without"}]), "without\n"),
        (json!([{"text": "with\n"}]), "with\n"),
        (json!([{"text": "with two\n\n"}]), "with two\n\n"),
        (
            json!([{"text": " \t a"}, {"thinking": "hm"}, {"text": "b\r\n"}]),
            " \t ab\r\n",
        ),
    ] {
        let prompt = format!("always {blocks}");
        world.api.rule(&prompt, json!([{ "blocks": blocks }]));
        let args = ["send", "--stream", "always", "work", &prompt];
        let done = world.clsess(&args).run().ok();
        assert_eq!((done.text(), &*done.stderr), (stdout, ""), "{prompt}");
    }
    let (line, times) = ("five megabytes of this\n", (5 << 20) / 23 + 1);
    let long = json!([{"repeat_text": {"text": line, "times": times}}]);
    world.api.rule("long", long);
    let args = ["send", "--stream", "always", "work", "long"];
    let done = world.clsess(&args).run().ok();
    assert!(done.stdout.len() > 5 << 20);
    assert!(done.text() == line.repeat(times));
}
