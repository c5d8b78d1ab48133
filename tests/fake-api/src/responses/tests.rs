//! Requests as Codex CLI 0.169.0 was seen to write them, and what it is answered.

use super::*;
use crate::turn;

fn body(input: &Value) -> Value {
    json!({
        "model": "m", "stream": true, "store": false, "input": input,
        "tools": [{"type": "function", "name": "exec_command"}, {"type": "web_search"}],
    })
}

fn user(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
}

fn assistant(text: &str) -> Value {
    let content = [json!({"type": "output_text", "text": text})];
    json!({"type": "message", "role": "assistant", "content": content})
}

fn request(input: &Value) -> Request {
    read(body(input).to_string().as_bytes()).unwrap().0
}

fn events(json: &str) -> Vec<Value> {
    let step: Step = serde_json::from_str(json).unwrap();
    let ids = Ids {
        model: "m".into(),
        index: 7,
        boot: 1,
    };
    let usage = Usage {
        input: 3,
        output: 4,
    };
    let sent = stream(&step, &ids, usage)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Send(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            _ => None,
        });
    let text: String = sent.collect();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|json| serde_json::from_str(json).unwrap())
        .collect()
}

#[test]
fn the_prompt_is_what_the_user_said_last() {
    let surroundings = "<environment_context>\n  <cwd>/x</cwd>\n</environment_context>";
    let developer = json!({"type": "message", "role": "developer",
        "content": [{"type": "input_text", "text": "be good"}]});
    let first = request(&json!([developer, user(surroundings), user("one")]));
    assert_eq!(turn::prompt(&first).unwrap().text, "one");
    let call = json!({"type": "function_call", "call_id": "c", "name": "x", "arguments": "{}"});
    let result = json!({"type": "function_call_output", "call_id": "c", "output": "y"});
    let again = request(&json!([
        developer,
        user(surroundings),
        user("one"),
        call,
        result
    ]));
    assert_eq!(turn::prompt(&again), turn::prompt(&first));
    let later = request(&json!([
        developer,
        user(surroundings),
        user("one"),
        assistant("a"),
        user("<turn_aborted>\nwhy\n</turn_aborted>"),
        user("two"),
        user("<skill>\n<name>s</name>\n</skill>"),
    ]));
    let prompt = turn::prompt(&later).unwrap();
    assert_eq!(prompt.text, "two");
    assert_eq!(turn::earlier(&later, &prompt), ["one"]);
}

#[test]
fn a_title_is_beside_the_conversation() {
    let mut title = body(&json!([user("name it")]));
    title["text"] = json!({"format": {"type": "json_schema", "schema": {}}});
    assert_eq!(read(title.to_string().as_bytes()).unwrap().1, Kind::Side);
    let main = body(&json!([user("hi")]));
    assert_eq!(read(main.to_string().as_bytes()).unwrap().1, Kind::Main);
    let mut whole = main;
    whole["stream"] = json!(false);
    assert!(read(whole.to_string().as_bytes()).is_err());
}

#[test]
fn a_text_in_deltas_and_whole() {
    let events = events(r#"{"text":"hello world, this is it\n"}"#);
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.output_item.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let deltas = events.iter().filter_map(|event| event["delta"].as_str());
    assert_eq!(deltas.collect::<String>(), "hello world, this is it\n");
    let whole = &events[5]["response"];
    assert_eq!(whole["output"][0], events[4]["item"]);
    assert_eq!(
        whole["output"][0]["content"][0]["text"],
        "hello world, this is it\n"
    );
    assert_eq!(whole["usage"]["total_tokens"], 7);
    assert_eq!(whole["id"], events[0]["response"]["id"]);
}

#[test]
fn a_thought_and_a_call() {
    let events = events(
        r#"{"blocks":[{"thinking":"hm"},{"text":"a"},{"tool":{"name":"t","input":{"x":1},"id":"c"}}]}"#,
    );
    let output = &events.last().unwrap()["response"]["output"];
    assert_eq!(output[0]["summary"][0]["text"], "hm");
    assert_eq!(output[1]["content"][0]["text"], "a");
    assert_eq!(output[2]["call_id"], "c");
    assert_eq!(output[2]["arguments"], r#"{"x":1}"#);
    let done = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.done");
    assert_eq!(
        done.map(|event| event["output_index"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
}

#[test]
fn an_error_in_the_stream_is_its_end() {
    let events = events(
        r#"{"text":"abcd","delta_bytes":2,"error_after":1,"error_type":"server_error","message":"boom"}"#,
    );
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.failed");
    assert_eq!(
        last["response"]["error"],
        json!({"code": "server_error", "message": "boom"})
    );
    assert_eq!(
        events
            .iter()
            .filter(|event| event["delta"].is_string())
            .count(),
        1
    );
}
