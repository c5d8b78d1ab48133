//! What `send` prints: `-o json`, `-o stream-json`, `--stream always`.

use serde_json::{Value, json};

use crate::driver::{Ability, Driver};
use crate::harness::World;

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// Fields that are not known are left out.
fn assert_no_null(value: &Value) {
    match value {
        Value::Null => panic!("a null"),
        Value::Array(items) => items.iter().for_each(assert_no_null),
        Value::Object(fields) => fields.values().for_each(assert_no_null),
        _ => {}
    }
}

pub fn json_is_one_object_with_everything_about_the_turn(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let done = world.clsess(&["send", "-o", "json", "work", "hi"]);
    let done = done.run().ok();
    assert_eq!(done.stderr, "");
    assert!(done.text().ends_with("}\n"));
    let turn = done.json();
    assert_no_null(&turn);
    let expected = [
        "session",
        "turn",
        "outcome",
        "answer",
        "is_error",
        "stop_reason",
        "usage",
        "cost_usd",
        "duration_ms",
        "ttft_ms",
        "queued_ms",
        "model",
        "agent_session_id",
        "permission_denials",
    ];
    let told = driver.can(Ability::TellsResults);
    let mut expected = expected.to_vec();
    if !told {
        expected.retain(|key| !["stop_reason", "usage", "model"].contains(key));
    }
    if !driver.can(Ability::TellsCosts) {
        expected.retain(|key| *key != "cost_usd");
    }
    expected.sort_unstable();
    assert_eq!(keys(&turn), expected);
    assert_eq!(turn["session"], "work");
    assert_eq!(turn["outcome"], "completed");
    assert_eq!(turn["answer"], "you said: hi");
    assert_eq!(turn["is_error"], false);
    if told {
        assert_eq!(turn["stop_reason"], "end_turn");
    }
    assert_eq!(turn["permission_denials"], json!([]));
    let shown = world.show("work");
    assert_eq!(turn["agent_session_id"], shown["agent_session_id"]);
    assert_eq!(turn["model"], shown["model"]);
    if told {
        assert_eq!(turn["usage"], shown["usage"]);
    }
    if driver.can(Ability::TellsCosts) {
        assert_eq!(turn["cost_usd"], shown["cost_usd"]);
    }

    let id = turn["turn"].as_str().unwrap();
    let again = world.clsess(&["result", "-o", "json", "work", id]);
    assert_eq!(again.run().ok().json(), turn);
}

pub fn json_of_a_failed_turn_names_the_error_too(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let refused = json!([{"status": 400, "message": "not like this"}]);
    world.api.rule_repeat("bad", refused);
    let done = world.clsess(&["send", "-o", "json", "work", "bad"]);
    let done = done.run().fails(1);
    let turn = done.json();
    assert_no_null(&turn);
    assert_eq!(turn["outcome"], "failed");
    assert_eq!(turn["is_error"], true);
    assert_eq!(turn["error"]["code"], "agent_error");
    let message = turn["error"]["message"].as_str().unwrap();
    assert_eq!(done.stderr, format!("clsess: {message}\n"));
    assert!(message.contains("not like this"), "{message}");
    assert_eq!(turn.get("answer"), None);
}

/// Sends with `-o stream-json`; the events, checked for what they all have.
fn events(world: &World, prompt: &str) -> Vec<Value> {
    let args = ["send", "-o", "stream-json", "work", prompt];
    let done = world.clsess(&args).run().ok();
    let events = done.json_lines();
    let turn = &events[0]["turn"];
    let mut last = 0;
    for event in &events {
        assert_no_null(event);
        assert_eq!(event["session"], "work", "{event}");
        assert_eq!(event["turn"], *turn, "{event}");
        let seq = event["seq"].as_u64().unwrap();
        assert!(seq > last, "{event} after {last}");
        last = seq;
    }
    events
}

fn names(events: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = events
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    names.dedup();
    names
}

fn texts(events: &[Value], message: u64) -> String {
    let texts = events
        .iter()
        .filter(|e| e["event"] == "text" && e["message"] == message);
    texts.map(|e| e["text"].as_str().unwrap()).collect()
}

pub fn stream_json_is_an_event_a_line_and_the_result_last(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    std::fs::write(world.project().join("a"), "x\n").unwrap();
    let file = world.project().join("a");
    world.api.rule(
        "look",
        json!([
            {"blocks": [{"thinking": "hm"}, {"text": "I look."},
                {"tool": {"name": "Read", "input": {"file_path": file}}}]},
            {"text": "It is an x, é 😀.", "delta_bytes": 3},
        ]),
    );
    let events = events(&world, "look");
    let mut expected = vec![
        "queued",
        "accepted",
        "thinking",
        "text",
        "tool",
        "tool_result",
        "text",
        "result",
    ];
    if !driver.can(Ability::TellsThoughts) {
        expected.retain(|name| *name != "thinking");
    }
    let mut told = names(&events);
    if !driver.can(Ability::TellsInOrder) {
        let text = told.iter().position(|name| *name == "text").unwrap();
        told.swap(text, 2);
    }
    assert_eq!(told, expected);
    assert_eq!(events[0]["ahead"], 0);
    assert_eq!(texts(&events, 0), "I look.");
    assert_eq!(texts(&events, 1), "It is an x, é 😀.");
    let tool = events.iter().find(|e| e["event"] == "tool").unwrap();
    assert_eq!(tool["name"], "Read");
    assert_eq!(tool["input"], json!({"file_path": file}));
    let result = events.iter().find(|e| e["event"] == "tool_result");
    assert_eq!(result.unwrap()["is_error"], false);
    let last = events.last().unwrap();
    assert_eq!(last["outcome"], "completed");
    assert_eq!(last["answer"], "It is an x, é 😀.");
}

pub fn stream_json_tells_retries(driver: &Driver) {
    if !driver.can(Ability::TellsRetries) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    world
        .api
        .rule("busy", json!([{"status": 529}, {"text": "now"}]));
    let retried = events(&world, "busy");
    assert_eq!(
        names(&retried),
        ["queued", "accepted", "retry", "text", "result"]
    );
    let retry = retried.iter().find(|e| e["event"] == "retry").unwrap();
    assert_eq!(
        (&retry["attempt"], &retry["status"], &retry["error"]),
        (&json!(1), &json!(529), &json!("overloaded"))
    );
}

pub fn stream_json_tells_denials(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let tool = world.write("new");
    let input = &tool["tool"]["input"];
    world
        .api
        .rule("write", json!([{"blocks": [tool]}, {"text": "no"}]));
    let denied = events(&world, "write");
    assert_eq!(
        names(&denied),
        [
            "queued",
            "accepted",
            "tool",
            "question",
            "denied",
            "question_resolved",
            "tool_result",
            "text",
            "result"
        ]
    );
    let denial = json!([{"tool": "Write", "input": input}]);
    assert_eq!(denied.last().unwrap()["permission_denials"], denial);
}

pub fn stream_always_prints_all_texts_as_they_come(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let file = world.project().join("a");
    std::fs::write(&file, "x\n").unwrap();
    let tool = json!({"tool": {"name": "Read", "input": {"file_path": file}}});
    world.api.rule(
        "go",
        json!([
            {"blocks": [{"text": "first"}, tool]},
            {"blocks": [{"text": "second\n"}, {"hold": "h"}, tool]},
            {"blocks": [{"text": "third"}, {"text": " and last"}]},
        ]),
    );
    let args = ["send", "--stream", "always", "work", "go"];
    let send = world.clsess(&args).spawn();
    world.api.wait_hold("h", 1);
    send.wait_stdout(|out| out == b"first\n\nsecond\n");
    world.api.release("h");
    let done = send.wait().ok();
    assert_eq!(done.text(), "first\n\nsecond\n\nthird and last\n");
    assert_eq!(done.stderr, "");
    // `result` prints the same of a turn that has ended; without it there is only the answer.
    let args = ["result", "--stream", "always", "work"];
    assert_eq!(world.clsess(&args).run().ok().stdout, done.stdout);
    let answer = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(answer.text(), "third and last\n");
}

pub fn a_message_that_says_nothing_is_no_message(driver: &Driver) {
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let file = world.project().join("a");
    std::fs::write(&file, "x\n").unwrap();
    let tool = json!({"tool": {"name": "Read", "input": {"file_path": file}}});
    let look = json!({"blocks": [{"text": "Let me look"}, tool]});
    let silent = json!({"blocks": [tool]});
    let done = json!({"text": "Done", "delta_bytes": 2});
    for (prompt, respond, stdout) in [
        ("silent first", json!([silent, done]), "Done\n"),
        (
            "silent between",
            json!([look, silent, done]),
            "Let me look\n\nDone\n",
        ),
    ] {
        world.api.rule(prompt, respond);
        let args = ["send", "--stream", "always", "work", prompt];
        let sent = world.clsess(&args).run().ok();
        assert_eq!(
            (sent.text(), sent.stderr.as_str()),
            (stdout, ""),
            "{prompt}"
        );
    }
}

pub fn stream_always_prints_a_text_that_comes_again_only_once(driver: &Driver) {
    if !driver.can(Ability::TellsPieces) {
        return;
    }
    let Some(world) = World::real() else { return };
    driver.session(&world, "work");
    let text = "0123456789 abcdefghij klmnopqrst";
    for how in ["cut_after", "error_after"] {
        for second in [text, "something else"] {
            let broken = json!({
                "text": text, "delta_bytes": 4, "hold": "h", "hold_after": 3, how: 3
            });
            let prompt = format!("{how} {second}");
            world.api.rule(&prompt, json!([broken, {"text": second}]));
            let args = ["send", "--stream", "always", "work", &prompt];
            let send = world.clsess(&args).spawn();
            world.api.wait_hold("h", 1);
            send.wait_stdout(|out| out == b"0123456789 a");
            world.api.release("h");
            let done = send.wait().ok();
            let note =
                "clsess: the agent began this text again, and it differs; it follows in full\n";
            let (stdout, stderr) = if second == text {
                (format!("{text}\n"), "")
            } else {
                (format!("0123456789 a\n{second}\n"), note)
            };
            assert_eq!(done.text(), stdout, "{prompt}");
            assert_eq!(done.stderr, stderr, "{prompt}");
        }
    }
}
