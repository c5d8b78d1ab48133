//! The Messages API's stream: what is an event, however its bytes arrive, and what it says.

#![allow(clippy::unwrap_used)] // a test: helpers are not #[test] functions

use clsess_claude::sse::{Delta, MAX_EVENT, Message, Parser, SseEvent, read};
use clsess_claude::stream::Block;
use proptest::prelude::*;

fn event(name: &str, data: &str) -> SseEvent {
    SseEvent {
        name: name.to_owned(),
        data: data.to_owned(),
    }
}

/// The events of a stream in pieces, and whether it broke off inside one.
fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<SseEvent>, bool) {
    let (mut parser, mut out) = (Parser::new(), Vec::new());
    for piece in pieces {
        parser.feed(piece, &mut out);
    }
    (out, parser.end())
}

fn whole(stream: &str) -> Vec<SseEvent> {
    events([stream.as_bytes()]).0
}

#[test]
fn line_ends_are_lf_crlf_or_cr() {
    let expected = [event("ping", "{}"), event("", "a\nb")];
    for end in ["\n", "\r\n", "\r"] {
        let stream = "event: ping\ndata: {}\n\ndata: a\ndata: b\n\n".replace('\n', end);
        assert_eq!(whole(&stream), expected, "{end:?}");
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(events(bytes), (expected.to_vec(), false), "{end:?}");
    }
    assert_eq!(
        whole("data: a\r\rdata: b\n\r\n"),
        [event("", "a"), event("", "b")]
    );
}

#[test]
fn what_is_no_event_is_passed_over() {
    for nothing in [
        "",
        "\n\n\r\n",
        ": a comment\n\n",
        "event: ping\n\n",
        "id: 1\nretry: 5\n\n",
        "data : x\n\n",
        "\u{feff}",
    ] {
        assert_eq!(events([nothing.as_bytes()]), (vec![], false), "{nothing:?}");
    }
    assert_eq!(whole("event: a\n\ndata: x\n\n"), [event("", "x")]);
    assert_eq!(whole("event: a\nevent: b\ndata: x\n\n"), [event("b", "x")]);
}

#[test]
fn values_are_taken_exactly() {
    assert_eq!(whole("data\n\n"), [event("", "")]);
    assert_eq!(whole("data:\ndata\n\n"), [event("", "\n")]);
    assert_eq!(whole("data:  two \n\n"), [event("", " two ")]);
    assert_eq!(whole("data:a:b\n: no\ndata:c\n\n"), [event("", "a:b\nc")]);
    assert_eq!(
        events([&b"data: a\xffb\n\n"[..]]).0,
        [event("", "a\u{fffd}b")]
    );
}

#[test]
fn a_byte_order_mark_is_passed_over_once() {
    assert_eq!(
        whole("\u{feff}data: a\n\n\u{feff}data: b\n\n"),
        [event("", "a")]
    );
    let pieces: [&[u8]; 3] = [b"\xEF", b"\xBB", b"\xBFdata: a\n\n"];
    assert_eq!(events(pieces).0, [event("", "a")]);
    // half of one is a part of the line
    assert_eq!(whole("\u{fec0}data: a\ndata: b\n\n"), [event("", "b")]);
}

#[test]
fn what_has_not_ended_is_no_event() {
    let stream = "data: a\n\ndata: b\n";
    for cut in 10..=stream.len() {
        let expected = vec![event("", "a")];
        assert_eq!(
            events([&stream.as_bytes()[..cut]]),
            (expected, true),
            "{cut}"
        );
    }
    let (mut parser, mut out) = (Parser::new(), Vec::new());
    parser.feed(b"event: x\r", &mut out);
    assert!(parser.end() && !parser.end());
    parser.feed(b"\ndata: of the next stream\n\n", &mut out);
    assert_eq!(out, [event("", "of the next stream")]);
}

#[test]
fn an_event_that_is_too_long_is_skipped_and_counted() {
    let (mut parser, mut out) = (Parser::new(), Vec::new());
    let piece = vec![b'x'; MAX_EVENT / 4];
    parser.feed(b"event: long\ndata: ", &mut out);
    for _ in 0..5 {
        parser.feed(&piece, &mut out);
        assert!(parser.kept() <= MAX_EVENT);
    }
    assert_eq!((parser.skipped(), parser.kept()), (1, 0));
    parser.feed(b"\ndata: more of it\n\ndata: next\n\n", &mut out);
    assert_eq!(out, [event("", "next")]);
    // a comment is not kept, so it may have any length
    parser.feed(b":", &mut out);
    for _ in 0..5 {
        parser.feed(&piece, &mut out);
        assert_eq!(parser.kept(), 0);
    }
    parser.feed(b"\ndata: last\n\n", &mut out);
    assert_eq!((parser.skipped(), out.len()), (1, 2));
    assert!(!parser.end());
    assert_eq!(parser.skipped(), 1);
}

#[test]
fn many_lines_are_as_long_as_one() {
    let (mut parser, mut out) = (Parser::with_limit(1000), Vec::new());
    for _ in 0..500 {
        parser.feed(b"data:1234\n", &mut out);
        assert!(parser.kept() <= 1000);
    }
    assert!(parser.end());
    assert_eq!((parser.skipped(), out.len()), (1, 0));
}

#[test]
fn the_limit_is_exact() {
    for (limit, skipped) in [(9, 0), (8, 1)] {
        let (mut parser, mut out) = (Parser::with_limit(limit), Vec::new());
        parser.feed(b"data:1234\n\n", &mut out);
        assert_eq!((parser.skipped(), out.len() as u64), (skipped, 1 - skipped));
    }
}

fn said(data: &str) -> Message {
    read(&event("", data))
}

#[test]
fn every_event_of_the_api() {
    let Message::Start { id, model, usage } = said(
        r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-x","content":[],"usage":{"input_tokens":3}}}"#,
    ) else {
        panic!("no start");
    };
    assert_eq!(
        (id.unwrap(), model.unwrap()),
        ("msg_1".into(), "claude-x".into())
    );
    assert_eq!(usage.unwrap().get(), r#"{"input_tokens":3}"#);
    let block = |index, block| Message::BlockStart { index, block };
    let start = |text: &str| {
        said(&format!(
            r#"{{"type":"content_block_start","index":2,"content_block":{text}}}"#
        ))
    };
    assert_eq!(
        start(r#"{"type":"text","text":""}"#),
        block(2, Block::Text(String::new()))
    );
    assert_eq!(
        start(r#"{"type":"thinking","thinking":""}"#),
        block(2, Block::Thinking)
    );
    assert_eq!(start(r#"{"type":"wibble"}"#), block(2, Block::Other));
    let Message::BlockStart {
        block: Block::Tool { id, name, .. },
        ..
    } = start(r#"{"type":"tool_use","id":"toolu_1","name":"Bash","input":{}}"#)
    else {
        panic!("no tool");
    };
    assert_eq!((id.as_str(), name.as_str()), ("toolu_1", "Bash"));
    let delta = |text: &str| match said(&format!(
        r#"{{"type":"content_block_delta","index":0,"delta":{text}}}"#
    )) {
        Message::Delta { index: 0, delta } => delta,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        delta(r#"{"type":"text_delta","text":"\ud800é"}"#),
        Delta::Text("\u{fffd}é".into())
    );
    assert_eq!(
        delta(r#"{"type":"thinking_delta","thinking":"hm"}"#),
        Delta::Thinking("hm".into())
    );
    assert_eq!(
        delta(r#"{"type":"input_json_delta","partial_json":"{\"a"}"#),
        Delta::Input("{\"a".into())
    );
    assert_eq!(
        delta(r#"{"type":"signature_delta","signature":"x"}"#),
        Delta::Other
    );
    assert_eq!(
        said(r#"{"type":"content_block_stop","index":1}"#),
        Message::BlockStop { index: 1 }
    );
    let Message::End { stop_reason, usage } = said(
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}"#,
    ) else {
        panic!("no end");
    };
    assert_eq!(stop_reason.as_deref(), Some("end_turn"));
    assert_eq!(usage.unwrap().get(), r#"{"output_tokens":4}"#);
    assert_eq!(said(r#"{"type":"message_stop"}"#), Message::Stop);
    assert_eq!(said(r#" {"type": "ping"} "#), Message::Ping);
    assert_eq!(
        said(r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
        Message::Error {
            kind: Some("overloaded_error".into()),
            message: Some("Overloaded".into())
        }
    );
}

#[test]
fn odd_events_are_told_apart() {
    for bad in [
        "",
        "5",
        "[\"ping\"]",
        "{",
        "{\"type\":\"ping\"} x",
        "[DONE]",
    ] {
        assert_eq!(said(bad), Message::Bad, "{bad}");
    }
    for other in [
        "{}",
        r#"{"type":"wibble"}"#,
        r#"{"type":7}"#,
        r#"{"type":"content_block_stop"}"#,
        r#"{"type":"content_block_delta","index":"0","delta":{"type":"text_delta","text":"x"}}"#,
    ] {
        assert_eq!(said(other), Message::Other, "{other}");
    }
    let nothing = Message::Start {
        id: None,
        model: None,
        usage: None,
    };
    assert_eq!(said(r#"{"type":"message_start","message":["x"]}"#), nothing);
    // the name says what the data does not
    assert_eq!(read(&event("message_stop", "{}")), Message::Stop);
    assert_eq!(
        read(&event("message_stop", r#"{"type":"ping"}"#)),
        Message::Ping
    );
}

/// The rules again, for a stream that is there as a whole.
fn by_the_rules(stream: &[u8]) -> Vec<SseEvent> {
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let Some((ended, _)) = text.rsplit_once('\n') else {
        return Vec::new();
    };
    let (mut name, mut data, mut found) = (String::new(), Vec::new(), Vec::new());
    for line in ended.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (line, field) {
            ("", _) if data.is_empty() => name.clear(),
            ("", _) => found.push(SseEvent {
                name: std::mem::take(&mut name),
                data: std::mem::take(&mut data).join("\n"),
            }),
            (_, "event") => value.clone_into(&mut name),
            (_, "data") => data.push(value.to_owned()),
            _ => {}
        }
    }
    found
}

/// Streams that are nearly right.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"event: ping".to_vec()),
        Just(b"data: {\"type\":\"ping\"}".to_vec()),
        Just(b"data:".to_vec()),
        Just(b"data".to_vec()),
        Just(b":".to_vec()),
        Just(b" ".to_vec()),
        Just(b"\xEF\xBB\xBF".to_vec()),
        Just("é€😀".as_bytes().to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

fn pieces(stream: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|cut| stream[cut[0]..cut[1]].to_vec())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_stream_is_read_by_the_rules(stream in streams()) {
        let (found, _) = events([stream.as_slice()]);
        prop_assert_eq!(&found, &by_the_rules(&stream));
        found.iter().for_each(|event| drop(read(event)));
    }

    #[test]
    fn splitting_changes_nothing(
        stream in streams(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        limit in prop_oneof![Just(MAX_EVENT), 0usize..60],
    ) {
        let run = |pieces: &[Vec<u8>]| {
            let (mut parser, mut out) = (Parser::with_limit(limit), Vec::new());
            for piece in pieces {
                parser.feed(piece, &mut out);
                assert!(parser.kept() <= limit);
            }
            (out, parser.skipped(), parser.kept(), parser.end())
        };
        prop_assert_eq!(run(&pieces(&stream, &cuts)), run(std::slice::from_ref(&stream)));
    }
}
