//! Answers laid out.

use super::*;

fn ids() -> Ids {
    Ids {
        model: "claude-x".into(),
        index: 7,
        boot: 1,
    }
}

fn step(json: &str) -> Step {
    serde_json::from_str(json).unwrap()
}

fn laid_out(json: &str) -> Vec<Piece> {
    stream(
        &step(json),
        &ids(),
        Usage {
            input: 3,
            output: 4,
        },
    )
}

fn events(pieces: &[Piece]) -> Vec<Value> {
    let mut text = String::new();
    for piece in pieces {
        if let Piece::Send(bytes) = piece {
            text += std::str::from_utf8(bytes).unwrap();
        }
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|json| serde_json::from_str(json).unwrap())
        .collect()
}

fn texts(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["delta"]["text"].as_str())
        .collect()
}

#[test]
fn a_text_is_one_batch() {
    let pieces = laid_out(r#"{"text":"hello world, this is it"}"#);
    assert_eq!(pieces.len(), 1);
    let events = events(&pieces);
    assert_eq!(texts(&events), ["hello world, thi", "s is it"]);
    let kinds: Vec<_> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert_eq!(events[6]["delta"]["stop_reason"], "end_turn");
}

#[test]
fn blocks_are_numbered_and_tools_end_the_message() {
    let events = events(&laid_out(
        r#"{"blocks":[{"thinking":"hm"},{"text":"a"},{"tool":{"name":"Bash","input":{"command":"echo hi"}}}]}"#,
    ));
    let starts: Vec<_> = events
        .iter()
        .filter(|e| e["type"] == "content_block_start")
        .collect();
    assert_eq!(
        starts
            .iter()
            .map(|e| e["index"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    let input: String = events
        .iter()
        .filter_map(|e| e["delta"]["partial_json"].as_str())
        .collect();
    assert_eq!(input, r#"{"command":"echo hi"}"#);
    assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
    assert!(
        events
            .iter()
            .any(|event| event["delta"]["type"] == "signature_delta")
    );
}

#[test]
fn holds_cuts_and_errors_come_where_they_were_put() {
    let pieces =
        laid_out(r#"{"text":"abcdef","delta_bytes":2,"hold":"h","hold_after":1,"cut_after":2}"#);
    assert_eq!(pieces[1], Piece::Hold("h".into()));
    assert_eq!(pieces.last(), Some(&Piece::Cut));
    assert_eq!(texts(&events(&pieces)), ["ab", "cd"]);

    let broken = events(&laid_out(
        r#"{"text":"abcdef","delta_bytes":2,"error_after":1}"#,
    ));
    assert_eq!(texts(&broken), ["ab"]);
    assert_eq!(broken.last().unwrap()["error"]["type"], "overloaded_error");

    let late = laid_out(r#"{"blocks":[{"text":"a"},{"hold":"x"},{"text":"b"}],"cut_after":99}"#);
    assert_eq!(late[1], Piece::Hold("x".into()));
    assert_eq!(texts(&events(&late)), ["a", "b"]);
    assert_eq!(late.last(), Some(&Piece::Cut));
}

#[test]
fn pauses_separate_the_batches() {
    let pieces = laid_out(r#"{"text":"abcd","delta_bytes":2,"delay_ms":5,"first_delay_ms":9}"#);
    let pauses: Vec<_> = pieces
        .iter()
        .filter(|piece| matches!(piece, Piece::Pause(_)))
        .collect();
    assert_eq!(pauses.len(), 3);
    assert_eq!(pieces[0], Piece::Pause(Duration::from_millis(9)));
}

#[test]
fn a_long_text_has_large_deltas() {
    let pieces = laid_out(r#"{"repeat_text":{"text":"line\n","times":100000}}"#);
    let events = events(&pieces);
    assert_eq!(texts(&events).concat(), "line\n".repeat(100_000));
    assert!(texts(&events).len() < 200);
}

#[test]
fn a_whole_message() {
    let step = step(r#"{"blocks":[{"text":"a"},{"hold":"x"},{"tool":{"name":"Bash"}}]}"#);
    let pieces = whole(
        &step,
        &ids(),
        Usage {
            input: 3,
            output: 4,
        },
    );
    assert_eq!(pieces[0], Piece::Hold("x".into()));
    let Piece::Send(bytes) = &pieces[1] else {
        panic!("{pieces:?}")
    };
    let message: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(message["content"][0]["text"], "a");
    assert_eq!(message["content"][1]["input"], json!({}));
    assert_eq!(message["stop_reason"], "tool_use");
}
