//! What goes beyond the plain protocol.

use serde_json::{Value, json};

use crate::Piped;
use crate::harness::World;

#[test]
fn an_id_comes_back_in_every_line_about_its_command() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.say(json!({"cmd": "send", "prompt": "hi", "id": 7}));
    let accepted = pipe.expect("accepted");
    assert_eq!(accepted["id"], 7);
    let (texts, end) = pipe.turn();
    assert_eq!(texts, "you said: hi");
    assert_eq!(end["id"], 7);
    assert_eq!(end["result"], "you said: hi");
    assert_eq!(end["turn"], accepted["turn"]);
    // All that `send -o json` knows, but the answer, which is the result.
    let turn = end["turn"].as_str().unwrap();
    let result = ["result", "-o", "json", "work", turn];
    let mut known = world.clsess(&result).run().ok().json();
    known.as_object_mut().unwrap().remove("answer");
    for (field, value) in known.as_object().unwrap() {
        assert_eq!(end[field], *value, "{field}");
    }
    for (line, id) in [
        (json!({"cmd": "send", "prompt": "", "id": "a"}), json!("a")),
        (json!({"cmd": "dance", "id": 1.5}), json!(1.5)),
        (json!({"cmd": "send", "prompt": 1, "id": -1}), json!(-1)),
    ] {
        pipe.say(line);
        assert_eq!(pipe.expect("error")["id"], id);
    }
    pipe.say(json!({"cmd": "restart", "id": 8}));
    assert_eq!(pipe.next(), json!({"type": "restarted", "id": 8}));
    // Without one all is as plain as before.
    pipe.send("plain");
    assert_eq!(
        pipe.turn().1,
        json!({"type": "result", "result": "you said: plain"})
    );
    let id = b"{\"cmd\":\"show\",\"id\":123456789012345678901234567890}\n";
    pipe.write(id);
    pipe.expect("ok");
    let (_, done) = pipe.end();
    let digits = "\"id\":123456789012345678901234567890}\n";
    assert!(done.text().contains(digits), "{}", done.text());
}

#[test]
fn several_sessions_run_side_by_side() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.session("other");
    world
        .api
        .rule("hang", json!([{"text": "late", "hold": "h"}]));
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.send("hang");
    world.api.wait_hold("h", 1);
    for prompt in ["one", "two"] {
        pipe.say(json!({"cmd": "send", "session": "other", "prompt": prompt}));
        let mut texts = String::new();
        let end = loop {
            let line = pipe.next();
            assert_eq!(line["session"], "other", "{line}");
            if line["type"] == "result" {
                break line;
            }
            texts += line["text"].as_str().unwrap();
        };
        let result = json!({"type": "result", "session": "other", "result": texts});
        assert_eq!(end, result);
    }
    world.api.release("h");
    assert_eq!(pipe.turn().1, json!({"type": "result", "result": "late"}));
    // Its own by its name, too.
    pipe.say(json!({"cmd": "send", "session": "work", "prompt": "hi", "id": 1}));
    pipe.expect("accepted");
    assert_eq!(pipe.turn().1["result"], "you said: hi");
    pipe.say(json!({"cmd": "send", "session": "nowhere", "prompt": "hi"}));
    let error = pipe.expect("error");
    assert_eq!(error["session"], "nowhere");
    assert_eq!(error["message"], "there is no session nowhere");
    pipe.say(json!({"cmd": "shutdown"}));
    pipe.wait().1.ok();
    assert_eq!(world.send("other", "recall"), "one\ntwo\n");
}

#[test]
fn the_events_of_a_turn_are_told_where_that_is_wanted() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let file = world.project().join("a");
    std::fs::write(&file, "x\n").unwrap();
    let look = json!({"tool": {"name": "Read", "input": {"file_path": file}}});
    world
        .api
        .rule("look", json!([{"blocks": [look]}, {"text": "an x"}]));
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.say(json!({"cmd": "send", "prompt": "look", "events": true}));
    let mut lines = Vec::new();
    while lines
        .last()
        .is_none_or(|line: &Value| line["type"] != "result")
    {
        lines.push(pipe.next());
    }
    assert_eq!(lines[0]["type"], "accepted");
    let events = lines.iter().filter(|line| line["type"] == "event");
    let mut names: Vec<_> = events.map(|line| line["event"].as_str().unwrap()).collect();
    names.dedup();
    assert_eq!(names, ["queued", "accepted", "tool", "tool_result"]);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["result"], &last["outcome"]),
        (&json!("an x"), &json!("completed"))
    );
}

#[test]
fn a_question_is_answered_through_the_pipe() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let steps = json!([{"blocks": [world.write("new")]}, {"text": "written"}]);
    world.api.rule_repeat("write", steps);
    let mut pipe = Piped::begin(&world, &["work"]);
    // More prompts behind it do not keep an answer from it.
    let ask = json!({"cmd": "send", "prompt": "write", "on_question": "wait", "events": true});
    pipe.say(ask);
    let question = loop {
        let line = pipe.next();
        if line["event"] == "question" {
            break line;
        }
    };
    for number in 0..70 {
        pipe.send(&format!("number {number}"));
    }
    pipe.say(json!({"cmd": "questions", "id": "q"}));
    let open = pipe.expect("ok");
    assert_eq!(open["id"], "q");
    assert_eq!(open["questions"][0]["id"], question["id"]);
    assert_eq!(open["questions"][0]["tool"], "Write");
    pipe.say(json!({"cmd": "answer", "texts": ["yes"], "id": 1}));
    assert_eq!(pipe.error(), "bad_answer");
    pipe.say(json!({"cmd": "approve", "question": "nosuch-one", "id": 2}));
    assert_eq!(pipe.error(), "no_such_question");
    pipe.say(json!({"cmd": "approve", "question": question["id"], "id": 3}));
    let mut answered = None;
    let end = loop {
        let line = pipe.next();
        match line["type"].as_str().unwrap() {
            "ok" => answered = Some(line),
            "result" => break line,
            _ => {}
        }
    };
    assert_eq!(end["result"], "written");
    assert!(world.project().join("new").exists());
    let answered = answered.unwrap_or_else(|| pipe.expect("ok"));
    assert_eq!(answered["question"]["id"], question["id"]);
    for number in 0..70 {
        assert_eq!(
            pipe.turn().1["result"],
            format!("you said: number {number}")
        );
    }
    // Nobody is there, if nothing else is said.
    std::fs::remove_file(world.project().join("new")).unwrap();
    assert_eq!(pipe.answer("write"), "written");
    assert!(!world.project().join("new").exists());
}

#[test]
fn a_question_is_denied_and_another_answered() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let write = json!([{"blocks": [world.write("new")]}, {"text": "then not"}]);
    world.api.rule("write", write);
    let input = json!({"questions": [{"question": "Which colour?", "header": "Colour",
        "multiSelect": false, "options": [{"label": "Red", "description": "r"},
        {"label": "Blue", "description": "b"}]}]});
    let ask = json!([
        {"blocks": [{"tool": {"name": "AskUserQuestion", "input": input}}]}, {"text": "painted"}
    ]);
    world.api.rule("paint", ask);
    let mut pipe = Piped::begin(&world, &["work"]);
    for (prompt, command) in [
        (
            "write",
            json!({"cmd": "deny", "message": "not on a Friday"}),
        ),
        ("paint", json!({"cmd": "answer", "texts": ["2"]})),
    ] {
        pipe.say(json!({"cmd": "send", "prompt": prompt, "on_question": "wait"}));
        world.wait_state("work", "question");
        pipe.say(command);
        // Which is told first nobody says.
        let mut ends = Vec::new();
        while ends.len() < 2 {
            let (_, end) = pipe.turn();
            ends.push(end["type"].clone());
        }
        assert!(ends.contains(&json!("ok")) && ends.contains(&json!("result")));
        let body = world.api.body(world.api.next() - 1)["messages"].to_string();
        let told = body.contains("not on a Friday") || body.contains(r#"\"=\"Blue\""#);
        assert!(told, "{body}");
    }
    assert!(!world.project().join("new").exists());
}

#[test]
fn what_happens_is_told_from_when_that_is_said() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.session("other");
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.say(json!({"cmd": "events", "on": true, "sessions": ["other"], "id": "e"}));
    assert_eq!(pipe.next(), json!({"type": "ok", "id": "e"}));
    world.send("work", "not told");
    world.send("other", "told");
    let mut events = Vec::new();
    while events
        .last()
        .is_none_or(|event: &Value| event["state"] != "idle")
    {
        let event = pipe.expect("event");
        assert_eq!(
            (&event["id"], &event["session"]),
            (&json!("e"), &json!("other"))
        );
        events.push(event);
    }
    let first = events.iter().position(|event| event["event"] == "queued");
    assert!(first.is_some_and(|at| at < 2), "{events:?}");
    assert!(events.iter().any(|event| event["event"] == "result"));
    // It lives through the broker's death, which nobody else would notice.
    world.kill_broker();
    world.send("other", "again");
    let mut event = pipe.expect("event");
    while event["event"] != "result" {
        event = pipe.expect("event");
    }
    pipe.say(json!({"cmd": "events", "on": false}));
    while pipe.next() != json!({"type": "ok"}) {}
    world.send("other", "not told any more");
    assert_eq!(pipe.answer("hi"), "you said: hi");
    pipe.say(json!({"cmd": "events", "on": true, "sessions": ["nowhere"]}));
    assert_eq!(pipe.error(), "no_such_session");
}

#[test]
fn a_turn_is_interrupted_and_sessions_are_shown() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.session("other");
    world
        .api
        .rule("hang", json!([{"text": "late", "hold": "h"}]));
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.say(json!({"cmd": "ls"}));
    let listed = pipe.expect("ok")["sessions"].clone();
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["name"])
        .collect();
    assert_eq!(names, ["other", "work"]);
    pipe.say(json!({"cmd": "show", "session": "other"}));
    let shown = pipe.expect("ok");
    assert_eq!(shown["session"], "other");
    assert_eq!(shown["detail"]["pid"], world.show("other")["pid"]);
    pipe.say(json!({"cmd": "interrupt"}));
    assert_eq!(pipe.next(), json!({"type": "ok"}));
    pipe.say(json!({"cmd": "send", "prompt": "hang", "id": 1}));
    let turn = pipe.expect("accepted")["turn"].clone();
    world.api.wait_hold("h", 1);
    pipe.say(json!({"cmd": "interrupt", "id": 2}));
    let both = [pipe.next(), pipe.next()];
    assert!(both.contains(&json!({"type": "ok", "id": 2, "turn": turn})));
    let error = both.iter().find(|line| line["type"] == "error").unwrap();
    assert_eq!(
        (&error["code"], &error["turn"]),
        (&json!("interrupted"), &turn)
    );
}

#[test]
fn the_options_of_send_are_heeded() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("hang", json!([{"text": "late", "hold": "h"}]));
    let mut pipe = Piped::begin(&world, &["work"]);
    let keyed = json!({"cmd": "send", "prompt": "once", "key": "k"});
    for _ in 0..2 {
        pipe.say(keyed.clone());
        assert_eq!(pipe.turn().1["result"], "you said: once");
    }
    assert_eq!(world.api.prompts(0), ["once"]);
    pipe.say(json!({"cmd": "send", "prompt": "another", "key": "k"}));
    assert_eq!(pipe.error(), "key_conflict");
    for never in [u64::MAX, 0] {
        let prompt = format!("in {never} seconds");
        pipe.say(json!({"cmd": "send", "prompt": prompt, "deadline": never, "timeout": never}));
        assert_eq!(pipe.turn().1["result"], format!("you said: {prompt}"));
    }
    pipe.send("hang");
    world.api.wait_hold("h", 1);
    let busy = json!({"cmd": "send", "prompt": "now", "on_busy": "fail"});
    let late = json!({"cmd": "send", "prompt": "soon", "deadline": "10m"});
    pipe.say(busy);
    pipe.say(late);
    pipe.say(json!({"cmd": "send", "prompt": "urgent", "on_busy": "interrupt"}));
    assert_eq!(pipe.error(), "interrupted");
    assert_eq!(pipe.error(), "busy");
    // It was in the queue when the other one got in front of it.
    assert_eq!(pipe.turn().1["result"], "you said: soon");
    assert_eq!(pipe.turn().1["result"], "you said: urgent");
    assert_eq!(world.api.prompts(3), ["hang", "urgent", "soon"]);
    pipe.say(json!({"cmd": "send", "prompt": "hang", "timeout": "1s", "id": 4}));
    pipe.expect("accepted");
    assert_eq!(pipe.error(), "timed_out");
    assert_eq!(pipe.next(), json!({"type": "ready", "id": 4}));
}

#[test]
fn words_of_an_interface_come_as_the_wire_has_them() {
    let Some(world) = World::real() else { return };
    let new = ["new", "--driver", "tui", "--tap", "base-url", "work"];
    world.clsess(&new).run().ok();
    let (said, rest) = ("half a line", " and the rest\nof it");
    let steps = json!([{"text": format!("{said}{rest}"), "delta_bytes": said.len(), "hold": "h", "hold_after": 1}]);
    world.api.rule("slow", steps);
    let mut pipe = Piped::begin(&world, &["work"]);
    pipe.send("slow");
    world.api.wait_hold("h", 1);
    pipe.texts(said);
    world.api.release("h");
    let (texts, end) = pipe.turn();
    assert_eq!(texts, rest);
    let result = format!("{said}{rest}");
    assert_eq!(end, json!({"type": "result", "result": result}));
}
