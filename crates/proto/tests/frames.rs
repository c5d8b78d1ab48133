//! Frames: what is written is read, what is newer is tolerated, what is wrong is
//! told.

#![allow(clippy::unwrap_used, clippy::panic)]

use clsess_proto::frame::{self, FrameError};
use clsess_proto::{
    Denial, ErrorCode, Event, EventKind, Failure, Hello, New, OnBusy, OnCrash, OnLimit, OnQuestion,
    Outcome, Reply, Request, Send, SessionDetail, SessionRow, Settings, State, Tap, TapDetail,
    ToBroker, ToClient, TurnId, TurnReport, Usage, compatible, newer, valid_name,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) {
    let bytes = frame::encode(message).unwrap();
    assert_eq!(&frame::decode::<T>(&bytes).unwrap(), message);
}

/// MessagePack of a JSON value: a message of a peer that knows more, or less.
fn packed(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap()
}

fn turn() -> TurnId {
    TurnId(Uuid::from_u128(7))
}

fn send(prompt: &str) -> Send {
    Send {
        session: "work".into(),
        turn: turn(),
        prompt: prompt.into(),
        timeout_ms: 5,
        deadline_ms: 0,
        on_busy: OnBusy::Queue,
        on_limit: OnLimit::Fail,
        on_crash: OnCrash::Rerun,
        on_question: OnQuestion::Fail,
        again: false,
        wait: true,
        events: false,
        texts: true,
    }
}

fn row() -> SessionRow {
    SessionRow {
        name: "work".into(),
        id: Uuid::from_u128(9),
        state: State::Idle,
        since: 1,
        detail: None,
        driver: "stream".into(),
        queue: 2,
        turns: 3,
        attached: 0,
        background: 0,
        idle_s: 4,
        cwd: "/src".into(),
    }
}

#[test]
fn requests_come_back_as_they_were() {
    let new = New {
        id: None,
        name: Some("work".into()),
        cwd: "/".into(),
        env: vec![(b"A".to_vec().into(), vec![0xff, 0].into())],
        settings: Settings {
            max_turns: Some(3),
            ..Settings::default()
        },
        program: None,
        resume: Some(Uuid::from_u128(1)),
        trust: true,
        exists_ok: false,
        wait: true,
        start_timeout_ms: 9,
        umask: Some(0o22),
    };
    for request in [
        Request::New(Box::new(new)),
        Request::Send(Box::new(send("hi\n\u{10ffff}"))),
        Request::List {},
        Request::Status {},
        Request::Cancel {
            session: "w".into(),
            turn: turn(),
        },
        Request::Kill {
            sessions: vec!["a".into()],
            all: false,
            grace_ms: 1,
        },
    ] {
        there_and_back(&ToBroker::Request {
            first_asked: None,
            id: 3,
            request: Box::new(request),
        });
    }
    there_and_back(&ToBroker::Hello(Hello::client()));
}

#[test]
fn answers_and_events_come_back_as_they_were() {
    let report = TurnReport {
        steered_into: Some(turn()),
        origin: Some("x".into()),
        prompt_trimmed: false,
        agent_deaths: 2,
        context_lost: Some("all".into()),
        wire_differs: true,
        session: "work".into(),
        turn: turn(),
        outcome: Outcome::TimedOut,
        answer: Some("a".into()),
        texts: Some(vec!["t".into()]),
        error: Some(Failure::new(ErrorCode::TimedOut, "late").hint("wait")),
        is_error: false,
        exit_status: None,
        stop_reason: None,
        usage: Some(Usage::default()),
        cost_usd: Some(0.25),
        duration_ms: Some(1),
        ttft_ms: None,
        queued_ms: Some(0),
        model: None,
        agent_session_id: Some(Uuid::from_u128(4)),
        permission_denials: vec![Denial {
            tool: "Write".into(),
            input: json!({"file_path": "/x", "n": [1, null, true, -2.5]}),
        }],
    };
    let detail = SessionDetail {
        tap: Some(TapDetail {
            way: Tap::BaseUrl,
            ttfb_ms: Some(3),
            limits: [("requests-limit".into(), "50".into())].into(),
            unread: 0,
        }),
        questions: Vec::new(),
        row: row(),
        agent_session_id: Some(Uuid::from_u128(5)),
        command: Vec::new(),
        title: None,
        size: None,
        exit: None,
        pid: Some(1),
        holder_pid: None,
        agent_version: Some("2.1.328".into()),
        model: None,
        usage: None,
        cost_usd: None,
        last_error: None,
    };
    for reply in [
        Reply::Turn(Box::new(report)),
        Reply::Detail(Box::new(detail)),
        Reply::Sessions {
            sessions: vec![row()],
        },
        Reply::Done {},
    ] {
        there_and_back(&ToClient::Reply {
            id: 1,
            reply: Box::new(reply),
        });
    }
    for kind in [
        EventKind::Accepted {},
        EventKind::Text {
            message: 1,
            text: "x".into(),
        },
        EventKind::Tool {
            name: "Bash".into(),
            input: json!({"command": "ls"}),
        },
        EventKind::Result {
            outcome: Outcome::Completed,
        },
        EventKind::Gap { missed: Some(3) },
        EventKind::Gap { missed: None },
    ] {
        there_and_back(&ToClient::Event {
            id: 1,
            event: Event {
                seq: 8,
                session: "work".into(),
                turn: Some(turn()),
                kind,
            },
        });
    }
}

#[test]
fn ids_are_text_on_the_wire() {
    let bytes = frame::encode(&send("x")).unwrap();
    let value: Value = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(value["turn"], "00000000-0000-0000-0000-000000000007");
    assert_eq!(value["on_question"], "fail");
}

#[test]
fn a_newer_peer_is_understood_as_far_as_possible() {
    let extra = packed(&json!({"type": "request", "id": 1, "later": {"a": [1]},
        "request": {"op": "list", "sorted": true}}));
    assert_eq!(
        frame::decode::<ToBroker>(&extra).unwrap(),
        ToBroker::Request {
            first_asked: None,
            id: 1,
            request: Box::new(Request::List {})
        }
    );
    let unknown = packed(&json!({"type": "request", "id": 2,
        "request": {"op": "teleport", "to": "mars"}}));
    assert_eq!(
        frame::decode::<ToBroker>(&unknown).unwrap(),
        ToBroker::Request {
            first_asked: None,
            id: 2,
            request: Box::new(Request::Unknown)
        }
    );
    let frame = packed(&json!({"type": "later", "x": 1}));
    assert_eq!(
        frame::decode::<ToClient>(&frame).unwrap(),
        ToClient::Unknown
    );
    let error: Failure =
        frame::decode(&packed(&json!({"code": "on_fire", "message": "hot"}))).unwrap();
    assert_eq!(error.code, ErrorCode::Unknown);
    let event = json!({"seq": 1, "session": "w", "event": "sneeze", "loud": true});
    let event: Event = frame::decode(&packed(&event)).unwrap();
    assert_eq!(event.kind, EventKind::Unknown);
}

#[test]
fn an_older_client_may_leave_out_what_has_a_default() {
    let short = json!({"op": "send", "session": "w", "prompt": "x", "wait": true,
        "turn": "00000000-0000-0000-0000-000000000007"});
    let Request::Send(send) = frame::decode(&packed(&short)).unwrap() else {
        panic!("not a send");
    };
    assert_eq!(send.timeout_ms, 0);
    assert_eq!(send.on_question, OnQuestion::Deny);
}

#[test]
fn bytes_behind_a_message_are_refused() {
    let mut bytes = frame::encode(&ToBroker::Hello(Hello::client())).unwrap();
    bytes.push(0xc0);
    let error = frame::decode::<ToBroker>(&bytes).unwrap_err();
    assert!(matches!(error, FrameError::Trailing(1)), "{error}");
}

#[test]
fn lengths_are_checked_before_anything_is_read() {
    let mut wire: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1];
    let error = frame::read(&mut wire).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let whole = frame::to_wire(&Hello::client()).unwrap();
    assert_eq!(frame::read(&mut &whole[..]).unwrap().unwrap(), whole[4..]);
    assert!(frame::read(&mut &[][..]).unwrap().is_none());
    for cut in 1..whole.len() {
        assert!(frame::read(&mut &whole[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn a_mismatch_names_both_versions_and_the_side_to_upgrade() {
    let old = Hello {
        protocol: 1,
        version: "0.1.0".into(),
        capabilities: vec![],
        state_dir: None,
    };
    let new = Hello {
        protocol: 2,
        version: "0.9.0".into(),
        capabilities: vec![],
        state_dir: None,
    };
    let newer_client = compatible(&new, &old).unwrap_err();
    assert_eq!(newer_client.code, ErrorCode::Incompatible);
    for word in ["0.1.0", "0.9.0", "protocol 1", "protocol 2"] {
        assert!(newer_client.message.contains(word), "{newer_client}");
    }
    assert!(newer_client.hint.unwrap().contains("upgrade the broker"));
    let older_client = compatible(&old, &new).unwrap_err();
    assert!(older_client.hint.unwrap().contains("upgrade the command"));
    assert!(compatible(&old, &old).is_ok());
}

#[test]
fn versions_have_the_order_of_semver() {
    let rising = [
        "0.1.0",
        "0.1.1",
        "0.2.0",
        "0.10.0",
        "1.0.0-2",
        "1.0.0-11",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-beta",
        "1.0.0",
        "1.0.1+build",
        "9.9.9",
    ];
    for (at, one) in rising.iter().enumerate() {
        for (other_at, other) in rising.iter().enumerate() {
            assert_eq!(newer(one, other), at > other_at, "{one} {other}");
        }
    }
    assert!(!newer("1.0.1+a", "1.0.1+b") && !newer("1.0.1+b", "1.0.1+a"));
    for none in ["", "1", "1.2", "1.2.x", "1.2.3.4", "nightly"] {
        assert!(!newer(none, "0.0.0") && !newer("9.9.9", none), "{none}");
    }
}

#[test]
fn names_are_as_the_contract_says() {
    let longest = "a".repeat(64);
    for good in ["a", "9", "a.b_c-d", longest.as_str()] {
        assert!(valid_name(good), "{good}");
    }
    let longer = "a".repeat(65);
    for bad in ["", "-a", ".a", "a b", "a/b", "ä", longer.as_str()] {
        assert!(!valid_name(bad), "{bad}");
    }
}

#[test]
fn the_same_key_is_the_same_turn_within_a_session_only() {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    assert_eq!(TurnId::from_key(one, "k"), TurnId::from_key(one, "k"));
    assert_ne!(TurnId::from_key(one, "k"), TurnId::from_key(two, "k"));
    assert_ne!(TurnId::from_key(one, "k"), TurnId::from_key(one, "l"));
}

#[test]
fn requests_are_held_to_their_form() {
    let strict = |value: &Value| frame::decode_strict::<ToBroker>(&packed(value));
    let good = json!({"type": "request", "id": 1, "request": {"op": "list", "later": null}});
    assert!(strict(&good).is_ok());
    for bad in [
        json!(["request", 1, {"op": "list"}]),
        json!({"type": "request", "id": 1, "request": ["list"]}),
        json!({"type": "request", "id": 1, "request": {"op": 3}}),
        json!({"type": 1, "id": 1, "request": {"op": "list"}}),
        json!("list"),
    ] {
        assert!(strict(&bad).is_err(), "{bad}");
    }
    let nils = json!({"type": "request", "id": 1, "request": {"op": "send", "session": "w",
        "prompt": "x", "wait": true, "turn": "00000000-0000-0000-0000-000000000007",
        "timeout_ms": null, "on_question": null, "events": null}});
    assert_eq!(
        strict(&nils).unwrap(),
        ToBroker::Request {
            first_asked: None,
            id: 1,
            request: Box::new(Request::Send(Box::new(Send {
                timeout_ms: 0,
                deadline_ms: 0,
                on_busy: OnBusy::Queue,
                on_limit: OnLimit::Fail,
                on_crash: OnCrash::Report,
                on_question: OnQuestion::Deny,
                texts: false,
                session: "w".into(),
                ..send("x")
            })))
        }
    );
    let mut behind = packed(&good);
    behind.push(0xc0);
    assert!(matches!(
        frame::decode_strict::<ToBroker>(&behind),
        Err(FrameError::Trailing(1))
    ));
    let mut reserved = packed(&good); // later: null, and then a byte that MessagePack never uses
    *reserved.iter_mut().find(|byte| **byte == 0xc0).unwrap() = 0xc1;
    assert!(frame::decode_strict::<ToBroker>(&reserved).is_err());
    let bomb = [vec![0x91; 10_000], vec![0xc0]].concat();
    assert!(frame::decode_strict::<ToBroker>(&bomb).is_err());
}

/// The deepest that an agent can say is read, and nothing is read at the cost of the stack.
#[test]
fn depth_is_bounded() {
    let event = |depth: usize| {
        let event = Event {
            seq: 1,
            session: "work".into(),
            turn: None,
            kind: EventKind::RateLimit { info: json!(-1) },
        };
        let mut bytes = frame::encode(&ToClient::Event { id: 1, event }).unwrap();
        assert_eq!(bytes.pop(), Some(0xff), "-1 is last");
        bytes.extend(vec![0x91; depth]); // a list of one
        bytes.push(0xff);
        bytes
    };
    let deepest = "[".repeat(127) + &"]".repeat(127);
    assert!(serde_json::from_str::<Value>(&deepest).is_ok());
    assert!(serde_json::from_str::<Value>(&format!("[{deepest}]")).is_err());
    assert!(frame::decode::<ToClient>(&event(127)).is_ok());
    for depth in [300, 1000, 1023, 2000] {
        let error = frame::decode::<ToClient>(&event(depth)).unwrap_err();
        assert!(matches!(error, FrameError::Invalid(_)), "{error}");
    }
    let bomb = vec![0x91; 1_000_000];
    assert!(frame::decode::<ToClient>(&bomb).is_err());
    assert!(frame::decode::<ToBroker>(&bomb).is_err());
    assert!(frame::decode_strict::<ToBroker>(&bomb).is_err());
}

proptest! {
    #[test]
    fn any_prompt_comes_back(prompt in any::<String>()) {
        there_and_back(&send(&prompt));
    }

    #[test]
    fn rubbish_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = frame::decode::<ToBroker>(&bytes);
        let _ = frame::decode::<ToClient>(&bytes);
        let _ = frame::decode_strict::<ToBroker>(&bytes);
    }

    #[test]
    fn damaged_frames_are_refused_or_read_without_a_panic(at in 0usize..200, to in any::<u8>()) {
        let mut bytes = frame::encode(&ToBroker::Request { first_asked: None, id: 1, request: Box::new(Request::Send(Box::new(send("hello")))) }).unwrap();
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = frame::decode::<ToBroker>(&bytes);
        bytes.truncate(at);
        prop_assert!(frame::decode::<ToBroker>(&bytes).is_err());
    }
}
