//! Turns in the plain protocol.

use serde_json::json;

use crate::Piped;
use crate::harness::World;

#[test]
fn an_answer_is_exact() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let mut pipe = Piped::begin(&world, &["work"]);
    for (prompt, answer) in [
        ("plain", "a line"),
        ("newline", "ends with one\n"),
        ("newlines", "\n  two\r\n\ttabs \"quoted\" \\ \n\n"),
        ("unicode", "é 😀 \u{2028} \u{7f}"),
    ] {
        let exactly = json!([{"text": answer, "delta_bytes": 3}]);
        world.api.rule(&format!("say {prompt}"), exactly);
        pipe.send(&format!("say {prompt}"));
        let (texts, end) = pipe.turn();
        assert_eq!(end, json!({"type": "result", "result": answer}));
        assert_eq!(texts, answer);
    }
    let (rest, done) = pipe.end();
    assert_eq!((rest.len(), done.code, done.stderr.as_str()), (0, 0, ""));
    // Type and text stand in the row in which row A has them.
    let line = "{\"type\":\"result\",\"result\":\"a line\"}\n";
    assert!(done.text().contains(line), "{}", done.text());
}

#[test]
fn prompts_reach_the_model_as_they_are() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let mut pipe = Piped::begin(&world, &["work"]);
    let prompts = ["/clear", "a\nb\n\n", "!ls", " @x\t", "-", "\u{feff}é\r\n"];
    for prompt in prompts {
        let answer = pipe.answer(prompt);
        assert_eq!(answer, format!("you said: {prompt}"));
    }
    assert_eq!(world.api.prompts(0), prompts);
    // As long as a prompt may be, and escaped to the limit of a line.
    let long = "\"".repeat(7 << 20);
    assert_eq!(pipe.answer(&long).len(), "you said: ".len() + 200);
}

#[test]
fn a_turn_with_tools_tells_all_its_texts_and_the_answer() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let file = world.project().join("a");
    std::fs::write(&file, "x\n").unwrap();
    let look = json!({"tool": {"name": "Read", "input": {"file_path": file}}});
    let blocks = json!([{"text": "I look."}, look]);
    let steps = json!([{"blocks": blocks}, {"text": "It is\nan x."}]);
    world.api.rule("look", steps);
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.send("look");
    let (texts, end) = pipe.turn();
    assert_eq!(texts, "I look.\n\nIt is\nan x.");
    assert_eq!(end, json!({"type": "result", "result": "It is\nan x."}));
    assert_eq!(world.send("work", "hi"), "you said: hi\n");
}

#[test]
fn a_text_that_begins_anew_is_not_told_twice() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let text = "0123456789 abcdefghij";
    let mut pipe = Piped::begin(&world, &["work"]);
    // Where it differs, the answer is right all the same.
    for (second, texts) in [(text, text), ("other words", "0123456789 a\nother words")] {
        let broken = json!({
            "text": text, "delta_bytes": 4, "hold": "h", "hold_after": 3, "cut_after": 3
        });
        world.api.rule(second, json!([broken, {"text": second}]));
        pipe.send(second);
        world.api.wait_hold("h", 1);
        let told = pipe.texts("0123456789 a");
        world.api.release("h");
        let (more, end) = pipe.turn();
        assert_eq!(told + &more, texts);
        assert_eq!(end, json!({"type": "result", "result": second}));
    }
}

#[test]
fn a_turn_that_fails_is_one_error() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let refused = json!([{"status": 400, "message": "not like this"}]);
    world.api.rule_repeat("bad", refused);
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.send("bad");
    let (texts, end) = pipe.turn();
    assert_eq!((texts.as_str(), &end["type"]), ("", &json!("error")));
    assert_eq!(end["code"], "agent_error");
    assert_eq!(end["outcome"], "failed");
    assert!(end["message"].as_str().unwrap().contains("not like this"));
    let turn = end["turn"].as_str().unwrap();
    let result = ["result", "-o", "json", "work", turn];
    let known = world.clsess(&result).run().fails(1).json();
    assert_eq!(known["error"]["message"], end["message"]);
    assert_eq!(pipe.answer("good"), "you said: good");
}

#[test]
fn what_is_no_prompt_is_an_error_and_all_goes_on() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let mut pipe = Piped::begin(&world, &["work"]);
    let long = "x".repeat((10 << 20) + 1);
    for (prompt, code) in [
        ("", "prompt_empty"),
        (" \n\t\u{a0}", "prompt_empty"),
        ("a\0b", "prompt_invalid"),
        (&*long, "prompt_too_long"),
    ] {
        pipe.send(prompt);
        assert_eq!(pipe.error(), code);
    }
    for line in [
        &b"{\"cmd\":\"send\",\"prompt\":\"\xff\"}\n"[..],
        b"{\n",
        b"1\n",
    ] {
        pipe.write(line);
        assert_eq!(pipe.error(), "bad_request");
    }
    pipe.say(json!({"cmd": "dance"}));
    assert_eq!(pipe.error(), "unknown_request");
    // Longer than a line may be, in two pieces; a line of nothing is none.
    pipe.write(&vec![b'{'; 17 << 20]);
    assert_eq!(pipe.error(), "bad_request");
    pipe.write(b"{}\n\n \r\n");
    assert_eq!(pipe.answer("good"), "you said: good");
    assert_eq!(world.api.prompts(0), ["good"]);
    // The last line may do without its newline.
    pipe.write(b"{\"cmd\":\"send\",\"prompt\":\"last\"}");
    let (rest, done) = pipe.end();
    assert_eq!(rest.last().unwrap()["result"], "you said: last");
    assert_eq!(done.code, 0);
}

#[test]
fn what_a_body_cannot_carry_is_told() {
    let Some(world) = World::real() else { return };
    let tui = ["new", "work", "--driver", "tui"];
    world.clsess(&tui).run().ok();
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.send("blanks at the end  ");
    assert_eq!(pipe.error(), "unrepresentable");
    assert_eq!(pipe.answer("two\nlines"), "you said: two\nlines");
}

#[test]
fn a_turn_that_takes_too_long_leaves_nothing() {
    let Some(world) = World::real() else { return };
    world.config("[session.work]\nturn_timeout = '5s'\n");
    world.session("work");
    let held = json!([{"text": "a late answer", "delta_bytes": 2, "hold": "h", "hold_after": 2}]);
    world.api.rule("late", held);
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.send("late");
    pipe.send("next");
    pipe.texts("a la");
    let (texts, end) = pipe.turn();
    assert_eq!(texts, "");
    assert_eq!(end["code"], "timed_out");
    assert_eq!(end["outcome"], "timed-out");
    assert_eq!(pipe.next(), json!({"type": "ready"}));
    let (texts, end) = pipe.turn();
    assert_eq!(texts, "you said: next");
    assert_eq!(end, json!({"type": "result", "result": "you said: next"}));
}

#[test]
fn more_sends_at_once_than_the_broker_is_given_run_in_their_order() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let held = json!([{"text": "at last", "hold": "h"}]);
    world.api.rule("first", held);
    let mut pipe = Piped::begin(&world, &["work"]);
    let prompts: Vec<_> = (0..100).map(|number| format!("number {number}")).collect();
    pipe.send("first");
    for prompt in &prompts {
        pipe.send(prompt);
    }
    // The others wait in the pipe.
    world.wait_queued("work", 63);
    world.api.wait_hold("h", 1);
    world.api.release("h");
    let (_, end) = pipe.turn();
    assert_eq!(end["result"], "at last");
    for prompt in &prompts {
        let (texts, end) = pipe.turn();
        let answer = format!("you said: {prompt}");
        assert_eq!((&texts, &end["result"]), (&answer, &json!(answer)));
    }
    assert_eq!(world.api.prompts(0)[1..], prompts);
    assert_eq!(pipe.end().0.len(), 0);
}

#[test]
fn a_broker_that_is_killed_in_a_turn_is_not_noticed() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let text = "an answer of some words";
    let held = json!([{"text": text, "delta_bytes": 4, "hold": "h", "hold_after": 3}]);
    world.api.rule("long", held);
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.send("long");
    pipe.send("behind it");
    world.api.wait_hold("h", 1);
    let texts = pipe.texts("an answer of");
    world.wait_queued("work", 1);
    world.kill_broker();
    pipe.send("after it");
    world.wait_queued("work", 2);
    world.kill_broker();
    world.api.release("h");
    let (more, end) = pipe.turn();
    assert_eq!(texts + &more, text);
    assert_eq!(end, json!({"type": "result", "result": text}));
    for prompt in ["behind it", "after it"] {
        let (texts, end) = pipe.turn();
        let answer = format!("you said: {prompt}");
        assert_eq!((&texts, &end["result"]), (&answer, &json!(answer)));
    }
    assert_eq!(world.api.prompts(0), ["long", "behind it", "after it"]);
    let (rest, done) = pipe.end();
    assert_eq!((rest.len(), done.stderr.as_str()), (0, ""));
}

#[test]
fn a_prompt_whose_answer_is_lost_runs_once() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let relay = world.relay();
    let mut pipe = Piped::of(relay.clsess(&world, &["pipe", "work"]));
    pipe.expect("ready");
    relay.swallows("send");
    pipe.send("one");
    relay.wait_asked("send", 1);
    pipe.send("two");
    relay.cut();
    relay.wait_asked("send", 3);
    for prompt in ["one", "two"] {
        let (texts, end) = pipe.turn();
        let answer = format!("you said: {prompt}");
        assert_eq!((&texts, &end["result"]), (&answer, &json!(answer)));
    }
    // It did not even come there.
    relay.drops("send");
    pipe.send("three");
    relay.wait_asked("send", 4);
    relay.cut();
    assert_eq!(pipe.turn().1["result"], "you said: three");
    assert_eq!(world.api.prompts(0), ["one", "two", "three"]);
    // In the middle of a turn.
    let text = "0123456789 abcdefghij";
    let held = json!([{"text": text, "delta_bytes": 4, "hold": "h", "hold_after": 3}]);
    world.api.rule("long", held);
    pipe.send("long");
    world.api.wait_hold("h", 1);
    let told = pipe.texts("0123456789 a");
    relay.cut();
    relay.wait_asked("result", 3);
    world.api.release("h");
    let (more, end) = pipe.turn();
    assert_eq!(told + &more, text);
    assert_eq!(end["result"], text);
}
