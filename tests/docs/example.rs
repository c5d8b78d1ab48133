//! The example exchange of PROTOCOL.md, made by the real encoder.

use std::fmt::Write as _;

use clsess_proto::{
    Event, EventKind, Failure, Hello, New, OnBusy, OnCrash, OnLimit, OnQuestion, Outcome, Reply,
    Request, Send, Settings, ToBroker, ToClient, TurnId, TurnReport, frame,
};
use serde::Serialize;
use uuid::Uuid;

const BEGIN: &str = "<!-- example: made by tests/docs -->\n";
const END: &str = "<!-- end of example -->";
/// A map that is longer has a line for each pair.
const LINE: usize = 64;
/// The state directory of the example's broker.
const STATE: &str = "/home/ada/.local/state/clsess/default";
/// Bytes in a line of the dump.
const WIDTH: usize = 16;

/// The document with its example as the encoder makes it now.
pub fn refreshed(document: &str) -> String {
    let (before, rest) = document.split_once(BEGIN).expect("the example's beginning");
    let (_, after) = rest.split_once(END).expect("the example's end");
    format!("{before}{BEGIN}{}{END}{after}", exchange())
}

fn exchange() -> String {
    let turn = TurnId(Uuid::from_u128(0x5b1f_4d0b_23cb_42ec_9e2a_1fab_493f_d419));
    let mut text = String::new();
    let hello = Hello {
        capabilities: Vec::new(),
        ..Hello::client()
    };
    step(&mut text, "client: hello", &ToBroker::Hello(hello));
    step(
        &mut text,
        "broker: hello",
        &ToClient::Hello(Hello::broker(STATE.to_owned())),
    );
    let request = Request::Send(Box::new(Send {
        session: "work".to_owned(),
        turn,
        prompt: "hi\n".to_owned(),
        timeout_ms: 60_000,
        deadline_ms: 0,
        on_busy: OnBusy::Queue,
        on_limit: OnLimit::Fail,
        on_crash: OnCrash::Report,
        on_question: OnQuestion::Deny,
        again: false,
        wait: true,
        events: true,
        texts: false,
    }));
    let request = ToBroker::Request {
        first_asked: None,
        id: 1,
        request: Box::new(request),
    };
    step(&mut text, "client: request 1, `send`", &request);
    let event = |seq, kind| ToClient::Event {
        id: 1,
        event: Event {
            seq,
            session: "work".to_owned(),
            turn: Some(turn),
            kind,
        },
    };
    let queued = event(1, EventKind::Queued { ahead: 0 });
    step(&mut text, "broker: event of request 1", &queued);
    let said = event(
        3,
        EventKind::Text {
            message: 0,
            text: "hello".to_owned(),
        },
    );
    step(
        &mut text,
        "broker: event of request 1 (one more, `accepted`, came before it)",
        &said,
    );
    let reply = ToClient::Reply {
        id: 1,
        reply: Box::new(Reply::Turn(Box::new(report(turn)))),
    };
    step(&mut text, "broker: reply to request 1", &reply);
    let new = ToBroker::Request {
        first_asked: None,
        id: 2,
        request: Box::new(Request::New(Box::new(new_session()))),
    };
    step(&mut text, "client: request 2, `new`", &new);
    let show = Request::Show {
        session: "garden".to_owned(),
    };
    let show = ToBroker::Request {
        first_asked: None,
        id: 3,
        request: Box::new(show),
    };
    step(
        &mut text,
        "client: request 3, `show` of a session that is not there",
        &show,
    );
    let error = ToClient::Error {
        id: 3,
        error: Failure::new(
            clsess_proto::ErrorCode::NoSuchSession,
            "there is no session garden",
        )
        .hint("clsess ls; to make it: clsess new garden"),
    };
    step(&mut text, "broker: error of request 3", &error);
    text
}

fn new_session() -> New {
    let bin = |text: &str| serde_bytes::ByteBuf::from(text);
    New {
        id: None,
        name: Some("play".to_owned()),
        cwd: "/home/ada/play".to_owned(),
        env: vec![
            (bin("HOME"), bin("/home/ada")),
            (bin("PATH"), bin("/usr/bin:/bin")),
        ],
        settings: Settings {
            model: Some("opus".to_owned()),
            ..Settings::default()
        },
        program: None,
        resume: None,
        trust: true,
        exists_ok: false,
        wait: true,
        start_timeout_ms: 60_000,
        umask: Some(0o022),
    }
}

fn report(turn: TurnId) -> TurnReport {
    TurnReport {
        steered_into: None,
        origin: None,
        prompt_trimmed: false,
        agent_deaths: 0,
        context_lost: None,
        wire_differs: false,
        session: "work".to_owned(),
        turn,
        outcome: Outcome::Completed,
        answer: Some("hello".to_owned()),
        texts: None,
        error: None,
        is_error: false,
        exit_status: None,
        stop_reason: Some("end_turn".to_owned()),
        usage: None,
        cost_usd: Some(0.25),
        duration_ms: Some(300),
        ttft_ms: Some(250),
        queued_ms: Some(0),
        model: None,
        agent_session_id: None,
        permission_denials: Vec::new(),
    }
}

/// One frame: what it is, its bytes, and what they say.
fn step<T: Serialize>(text: &mut String, what: &str, message: &T) {
    let wire = frame::to_wire(message).unwrap();
    let _ = writeln!(text, "\n{what}:\n\n```");
    for line in wire.chunks(WIDTH) {
        let hex: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
        let shown: String = line
            .iter()
            .map(|b| match b {
                0x20..=0x7e if *b != b'`' => char::from(*b),
                _ => '.',
            })
            .collect();
        let _ = writeln!(text, "{:<48} {shown}", hex.join(" "));
    }
    let mut body = &wire[frame::LENGTH_BYTES..];
    let value = decoded(&mut body);
    assert!(body.is_empty());
    let _ = writeln!(
        text,
        "\nlength {}, then\n{value}\n```",
        wire.len() - frame::LENGTH_BYTES
    );
}

/// MessagePack as text, for the kinds that the example has.
fn decoded(bytes: &mut &[u8]) -> String {
    let kind = take(bytes, 1)[0];
    match kind {
        0x00..=0x7f => kind.to_string(),
        0x80..=0x8f => map(bytes, usize::from(kind & 0x0f)),
        0xde => {
            let length = number(bytes, 2);
            map(bytes, length)
        }
        0x90..=0x9f => array(bytes, usize::from(kind & 0x0f)),
        0xdc => {
            let length = number(bytes, 2);
            array(bytes, length)
        }
        0xa0..=0xbf => text(bytes, usize::from(kind & 0x1f)),
        0xd9 => {
            let length = number(bytes, 1);
            text(bytes, length)
        }
        0xc4 => {
            let length = number(bytes, 1);
            format!("bin {}", text(bytes, length))
        }
        0xc0 => "nil".to_owned(),
        0xc2 => "false".to_owned(),
        0xc3 => "true".to_owned(),
        0xcb => f64::from_be_bytes(take(bytes, 8).try_into().unwrap()).to_string(),
        0xcc => number(bytes, 1).to_string(),
        0xcd => number(bytes, 2).to_string(),
        0xce => number(bytes, 4).to_string(),
        other => panic!("no example has a {other:#x} yet"),
    }
}

fn array(bytes: &mut &[u8], length: usize) -> String {
    let items: Vec<_> = (0..length).map(|_| decoded(bytes)).collect();
    let line = format!("[{}]", items.join(", "));
    if line.len() <= LINE {
        return line;
    }
    format!("[\n  {}\n]", items.join(",\n  "))
}

fn map(bytes: &mut &[u8], length: usize) -> String {
    let pairs: Vec<_> = (0..length)
        .map(|_| format!("{}: {}", decoded(bytes), decoded(bytes)))
        .collect();
    let line = format!("{{{}}}", pairs.join(", "));
    if line.len() <= LINE && !line.contains('\n') {
        return line;
    }
    let pairs = pairs.join(",\n").replace('\n', "\n  ");
    format!("{{\n  {pairs}\n}}")
}

fn text(bytes: &mut &[u8], length: usize) -> String {
    format!("{:?}", std::str::from_utf8(take(bytes, length)).unwrap())
}

fn number(bytes: &mut &[u8], length: usize) -> usize {
    take(bytes, length)
        .iter()
        .fold(0, |n, b| n << 8 | usize::from(*b))
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(n);
    *bytes = rest;
    taken
}
