//! What the wire says: whose a request is, and what its answer tells, however the bytes come.

#![allow(clippy::unwrap_used, clippy::panic)]

use clsess_claude::wire::{Class, Fact, Request, Wire};
use proptest::prelude::*;
use serde_json::json;

const STREAM: &str = "event: message_start\n\
data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\",\"usage\":{\"input_tokens\":3}}}\n\n\
event: content_block_start\n\
data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}}\n\n\
event: content_block_delta\n\
data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n\
event: ping\ndata: {\"type\":\"ping\"}\n\n\
event: content_block_delta\n\
data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Tä\"}}\n\n\
event: content_block_delta\n\
data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"g 🎉\"}}\n\n\
event: message_delta\n\
data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n\
event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// The conversation of the client whose wire it is.
const ITS: &str = "c-1";

fn post(path: &str, headers: &[(&str, &str)]) -> Request {
    Request::new("POST", path, headers.iter().copied())
}

fn main_body() -> Vec<u8> {
    let body = json!({"model": "m", "tools": [{"name": "Bash"}], "messages": []});
    serde_json::to_vec(&body).unwrap()
}

/// A main request with this answer.
fn answered(status: u16, headers: &[(&str, &str)], pieces: &[&[u8]], complete: bool) -> Vec<Fact> {
    let (mut wire, mut out) = (Wire::default(), Vec::new());
    wire.request(7, &post("/v1/messages?beta=true", &[("X-Other", "x")]), ITS);
    for piece in main_body().chunks(5) {
        wire.request_body(7, piece);
    }
    wire.request_end(7, &mut out);
    wire.answer(7, status, headers.iter().copied(), &mut out);
    for piece in pieces {
        wire.answer_body(7, piece, &mut out);
    }
    wire.end(7, complete, &mut out);
    assert_eq!(wire.unread(), 0);
    out
}

const SSE: (&str, &str) = ("Content-Type", "text/event-stream; charset=utf-8");

/// The words of a list of facts.
fn words(facts: &[Fact]) -> String {
    let words = facts.iter().filter_map(|fact| match fact {
        Fact::Text { delta, .. } => Some(delta.as_str()),
        _ => None,
    });
    words.collect()
}

#[test]
fn a_request_is_known_by_its_head_and_its_tools() {
    let tools = json!({"tools": [{}], "model": "m"});
    let none = json!({"tools": [], "max_tokens": 1});
    for (path, headers, body, main) in [
        ("/v1/messages?beta=true", &[][..], &tools, true),
        ("/gateway/v1/messages", &[], &tools, true),
        ("/v1/messages", &[("x-api-key", "k")], &none, false),
        ("/v1/messages", &[], &json!({}), false),
        (
            "/v1/messages",
            &[("X-Claude-Code-Agent-Id", "a")],
            &tools,
            false,
        ),
        (
            "/v1/messages",
            &[("X-Claude-Code-Session-Id", ITS)],
            &tools,
            true,
        ),
        (
            "/v1/messages",
            &[("x-claude-code-session-id", "c-2")],
            &tools,
            false,
        ),
        ("/v1/messages/count_tokens?beta=true", &[], &tools, false),
        ("/api/eval/v1/messages/x", &[], &tools, false),
        ("/v1/messages", &[], &json!([tools]), false),
        ("/v1/messages", &[], &json!({"tools": 3}), false),
    ] {
        let (mut wire, mut out) = (Wire::default(), Vec::new());
        wire.request(1, &post(path, headers), ITS);
        wire.request_body(1, &serde_json::to_vec(body).unwrap());
        wire.request_end(1, &mut out);
        wire.answer(1, 200, [SSE].into_iter(), &mut out);
        wire.answer_body(1, STREAM.as_bytes(), &mut out);
        wire.end(1, true, &mut out);
        assert_eq!(!out.is_empty(), main, "{path} {headers:?} {body}: {out:?}");
    }
    let get = Request::new("GET", "/v1/messages", std::iter::empty());
    assert_eq!(get.class(ITS), Class::Other);
}

#[test]
fn an_answer_says_the_same_however_its_bytes_come() {
    let whole = answered(200, &[SSE], &[STREAM.as_bytes()], true);
    let exchange = 7;
    assert_eq!(
        whole[..2],
        [
            Fact::Asked {
                exchange,
                model: Some("m".into())
            },
            Fact::Begun { exchange }
        ]
    );
    assert_eq!(words(&whole), "Täg 🎉");
    let thought = |fact: &&Fact| matches!(fact, Fact::Thinking { delta, .. } if delta == "hm");
    assert_eq!(whole.iter().filter(thought).count(), 1);
    assert_eq!(whole.last(), Some(&Fact::Whole { exchange }));
    for at in 0..=STREAM.len() {
        let (one, two) = STREAM.as_bytes().split_at(at);
        assert_eq!(answered(200, &[SSE], &[one, two], true), whole, "{at}");
    }
    let bytes: Vec<&[u8]> = STREAM.as_bytes().chunks(1).collect();
    assert_eq!(answered(200, &[SSE], &bytes, true), whole);
}

#[test]
fn ten_thousand_events_in_one_piece() {
    let delta = |n: usize| {
        let event = json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": format!("{n} ")}});
        format!("data: {event}\n\n")
    };
    let stream: String = (0..10_000).map(delta).collect();
    let facts = answered(200, &[SSE], &[stream.as_bytes()], false);
    let expected: String = (0..10_000).map(|n| format!("{n} ")).collect();
    assert_eq!(words(&facts), expected);
}

#[test]
fn what_breaks_off_has_failed() {
    let exchange = 7;
    let failed = |status, kind: Option<&str>, message: Option<&str>| Fact::Failed {
        exchange,
        status,
        kind: kind.map(str::to_owned),
        message: message.map(str::to_owned),
    };
    let half = &STREAM.as_bytes()[..STREAM.len() - 40];
    for complete in [true, false] {
        let facts = answered(200, &[SSE], &[half], complete);
        assert_eq!(facts.last(), Some(&failed(None, None, None)));
    }
    // The provider says so in the stream; what comes behind it means nothing.
    let error = "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"O\"}}\n\n";
    let both = format!("{error}{STREAM}");
    let facts = answered(200, &[SSE], &[both.as_bytes()], true);
    let said = failed(None, Some("overloaded_error"), Some("O"));
    assert_eq!(facts.last(), Some(&said));
    assert_eq!(words(&facts), "");
    // Or at once.
    let body = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}});
    let body = serde_json::to_vec(&body).unwrap();
    let facts = answered(429, &[("content-type", "application/json")], &[&body], true);
    let said = failed(Some(429), Some("rate_limit_error"), Some("slow"));
    assert_eq!(facts.last(), Some(&said));
    for page in [&b"<html>"[..], b"", b"\xff\xfe", b"[1]"] {
        let facts = answered(502, &[SSE], &[page], true);
        assert_eq!(facts.last(), Some(&failed(Some(502), None, None)));
    }
}

#[test]
fn an_answer_in_one_piece_is_read_at_its_end() {
    let body = json!({"type": "message", "model": "m", "stop_reason": "max_tokens",
        "usage": {"output_tokens": 2},
        "content": [{"type": "text", "text": "one"}, {"type": "tool_use", "id": "t", "name": "N", "input": {}},
            {"type": "text", "text": "two"}]});
    let body = serde_json::to_vec(&body).unwrap();
    let pieces: Vec<&[u8]> = body.chunks(3).collect();
    let facts = answered(200, &[("content-type", "application/json")], &pieces, true);
    assert_eq!(words(&facts), "onetwo");
    let ends = facts.iter().find_map(|fact| match fact {
        Fact::Ends { stop_reason, .. } => stop_reason.as_deref(),
        _ => None,
    });
    assert_eq!(ends, Some("max_tokens"));
    // Half of it says nothing.
    let facts = answered(200, &[], &pieces[..10], false);
    assert!(matches!(
        facts.last(),
        Some(Fact::Failed { status: None, .. })
    ));
}

#[test]
fn limits_are_told_with_any_answer() {
    let headers = [
        ("Anthropic-RateLimit-Unified-Status", "rejected"),
        ("anthropic-ratelimit-unified-reset", "1893456000"),
        (
            "anthropic-ratelimit-unified-representative-claim",
            "five_hour",
        ),
        ("anthropic-ratelimit-requests-remaining", "3"),
        ("retry-after", "12"),
        ("x-other", "1"),
    ];
    let facts = answered(429, &headers, &[], true);
    let Some(Fact::Limits(limits)) = facts.iter().find(|it| matches!(it, Fact::Limits(_))) else {
        panic!("{facts:?}");
    };
    let kept: Vec<_> = limits.iter().collect();
    assert_eq!(kept.len(), 5, "{kept:?}");
    assert!(kept.contains(&("requests-remaining", "3")));
    let told = limits.subscription().unwrap();
    assert_eq!(told.status.as_deref(), Some("rejected"));
    assert_eq!(told.resets_at, Some(1_893_456_000));
    assert_eq!(told.kind.as_deref(), Some("five_hour"));
}

#[test]
fn of_what_was_missed_nothing_is_told() {
    let (mut wire, mut out) = (Wire::default(), Vec::new());
    wire.request(1, &post("/v1/messages", &[]), ITS);
    wire.request_body(1, &main_body());
    wire.request_end(1, &mut out);
    wire.answer(1, 200, [SSE].into_iter(), &mut out);
    out.clear();
    wire.missed(1);
    wire.answer_body(1, STREAM.as_bytes(), &mut out);
    wire.end(1, true, &mut out);
    assert_eq!((out, wire.unread()), (vec![], 1));
}

#[test]
fn the_oldest_of_too_many_is_forgotten() {
    let (mut wire, mut out) = (Wire::default(), Vec::new());
    for number in 0..=clsess_claude::wire::MAX_EXCHANGES as u64 {
        wire.request(number, &post("/v1/messages", &[]), ITS);
        wire.request_body(number, &main_body());
    }
    wire.request_end(0, &mut out);
    assert_eq!(out, []);
    wire.request_end(1, &mut out);
    assert_eq!(out.len(), 1);
}

proptest! {
    /// Whatever comes, nothing breaks, and pieces make no difference.
    #[test]
    fn garbage_is_no_reason_to_break(bytes: Vec<u8>, cut in 0_usize..64) {
        let run = |pieces: &[&[u8]]| {
            let (mut wire, mut out) = (Wire::default(), Vec::new());
            wire.request(1, &post("/v1/messages", &[]), ITS);
            wire.request_body(1, &main_body());
            wire.request_end(1, &mut out);
            wire.answer(1, 200, [SSE].into_iter(), &mut out);
            pieces.iter().for_each(|piece| wire.answer_body(1, piece, &mut out));
            wire.end(1, true, &mut out);
            out
        };
        let (one, two) = bytes.split_at(cut.min(bytes.len()));
        prop_assert_eq!(run(&[&bytes]), run(&[one, two]));
    }
}
