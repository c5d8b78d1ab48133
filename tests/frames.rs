//! What the broker does with connections that do not keep to the protocol: it answers or closes
//! that one, and serves the others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use clsess_proto::frame;
use harness::{PATIENCE, World};
use serde_json::{Value, json};

/// A connection of raw frames.
struct Raw(UnixStream);

impl Raw {
    fn connect(world: &World) -> Self {
        let stream = UnixStream::connect(world.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// One that has said and heard hello.
    fn greeted(world: &World) -> Self {
        let mut raw = Self::connect(world);
        raw.send(&hello());
        let answer = raw.next().unwrap();
        assert_eq!(answer["type"], "hello");
        assert_eq!(answer["protocol"], clsess_proto::PROTOCOL);
        assert_eq!(answer["version"], clsess_proto::VERSION);
        raw
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // The broker may have closed it by now.
        let _ = self.0.write_all(bytes);
    }

    fn send(&mut self, message: &Value) {
        self.bytes(&frame::to_wire(message).unwrap());
    }

    /// The next frame; `None` at the end.
    fn next(&mut self) -> Option<Value> {
        match frame::read(&mut self.0) {
            Ok(body) => body.map(|body| frame::decode(&body).unwrap()),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(e) => panic!("{e}"),
        }
    }

    fn ask(&mut self, id: u64, request: &Value) -> Value {
        self.send(&json!({"type": "request", "id": id, "request": request}));
        self.next().expect("an answer")
    }

    /// Whether it works.
    fn serves(&mut self) {
        let answer = self.ask(77, &json!({"op": "status"}));
        assert_eq!(answer["type"], "reply");
        assert_eq!(answer["id"], 77);
        assert_eq!(answer["reply"]["reply"], "status");
    }

    /// Insists on a last word with this message, and the end.
    #[track_caller]
    fn refused(mut self, message: &str) {
        let last = self.next().expect("a last word");
        assert_eq!(last["type"], "error");
        assert_eq!(last["id"], 0);
        assert_eq!(last["error"]["code"], "bad_request");
        let said = last["error"]["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{said}");
        assert_eq!(self.next(), None);
    }
}

fn hello() -> Value {
    json!({"type": "hello", "protocol": clsess_proto::PROTOCOL, "version": "9.9.9"})
}

/// A broker, and a connection that must be served all the time.
fn started() -> Option<(World, Raw)> {
    let world = World::bare()?;
    world.clsess(&["broker", "start"]).run().ok();
    let witness = Raw::greeted(&world);
    Some((world, witness))
}

/// Numbers that are the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(byte).collect()
}

#[test]
fn random_bytes_close_their_connection_only() {
    let Some((world, mut witness)) = started() else {
        return;
    };
    for seed in 0..200 {
        let length = usize::try_from(seed % 50 * 20).unwrap();
        for greeted in [false, true] {
            let mut raw = if greeted {
                Raw::greeted(&world)
            } else {
                Raw::connect(&world)
            };
            raw.bytes(&noise(seed, length));
            let _ = raw.0.shutdown(Shutdown::Write);
            let mut rest = Vec::new();
            let _ = raw.0.read_to_end(&mut rest);
        }
        witness.serves();
    }
    // Whole frames of rubbish.
    for seed in 0..200 {
        let mut raw = Raw::greeted(&world);
        let body = noise(seed, 40);
        raw.bytes(&[&40u32.to_be_bytes()[..], &body].concat());
        raw.refused("a bad frame: ");
        witness.serves();
    }
    assert_eq!(world.clsess(&["ls"]).run().ok().text(), "");
}

#[test]
fn a_truncated_frame_is_no_request() {
    let Some((world, mut witness)) = started() else {
        return;
    };
    let stop = frame::to_wire(&json!({
        "type": "request", "id": 1, "request": {"op": "stop", "grace_ms": 0}
    }))
    .unwrap();
    for length in 0..stop.len() {
        let mut raw = Raw::greeted(&world);
        raw.bytes(&stop[..length]);
        raw.0.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = raw.0.read_to_end(&mut rest);
        witness.serves();
    }
}

#[test]
fn a_frame_that_is_too_long_is_not_waited_for() {
    let Some((world, mut witness)) = started() else {
        return;
    };
    let over = u32::try_from(frame::MAX_FRAME).unwrap() + 1;
    for length in [over, i32::MAX as u32, u32::MAX] {
        for greeted in [false, true] {
            let mut raw = if greeted {
                Raw::greeted(&world)
            } else {
                Raw::connect(&world)
            };
            raw.bytes(&length.to_be_bytes());
            raw.refused("a bad frame: ");
            witness.serves();
        }
    }
}

#[test]
fn half_a_frame_keeps_nobody_waiting() {
    let Some((world, mut witness)) = started() else {
        return;
    };
    let mut silent: Vec<Raw> = (0..100).map(|_| Raw::connect(&world)).collect();
    for (n, raw) in silent.iter_mut().enumerate() {
        raw.bytes(&frame::to_wire(&hello()).unwrap()[..n % 12]);
    }
    witness.serves();
    assert_eq!(world.clsess(&["ls"]).run().ok().text(), "");
    drop(silent);
    witness.serves();
}

#[test]
fn an_unknown_request_is_answered_and_the_next_one_served() {
    let Some((world, mut witness)) = started() else {
        return;
    };
    let mut raw = Raw::greeted(&world);
    let answer = raw.ask(5, &json!({"op": "teleport", "to": "mars"}));
    assert_eq!(answer["type"], "error");
    assert_eq!(answer["id"], 5);
    assert_eq!(answer["error"]["code"], "unknown_request");
    let message = format!(
        "the broker (clsess {}) does not know this request",
        clsess_proto::VERSION
    );
    assert_eq!(answer["error"]["message"], message);
    raw.serves();
    // Fields that nobody knows are tolerated.
    let answer = raw.ask(6, &json!({"op": "list", "colour": [1, {"a": null}]}));
    assert_eq!(
        answer["reply"],
        json!({"reply": "sessions", "sessions": []})
    );
    witness.serves();
}

#[test]
fn requests_on_one_connection_do_not_wait_for_each_other() {
    let Some((world, _)) = started() else { return };
    let mut raw = Raw::greeted(&world);
    let all: Vec<u8> = (1..=100)
        .flat_map(|id| {
            frame::to_wire(&json!({"type": "request", "id": id, "request": {"op": "list"}}))
                .unwrap()
        })
        .collect();
    raw.bytes(&all);
    let mut ids: Vec<u64> = (0..100)
        .map(|_| raw.next().unwrap()["id"].as_u64().unwrap())
        .collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(1..=100));
}

#[test]
fn whoever_does_not_say_hello_properly_is_sent_away() {
    let Some((world, mut witness)) = started() else {
        return;
    };
    let list = json!({"type": "request", "id": 1, "request": {"op": "list"}});
    let mut raw = Raw::connect(&world);
    raw.send(&list);
    raw.refused("a bad frame: the first frame must be hello");

    let mut raw = Raw::greeted(&world);
    raw.send(&hello());
    raw.refused("a bad frame: neither hello nor request");

    let mut raw = Raw::greeted(&world);
    raw.send(&json!({"type": "wibble"}));
    raw.refused("a bad frame: neither hello nor request");

    let mut raw = Raw::greeted(&world);
    let mut wire = frame::to_wire(&list).unwrap();
    wire.push(0xc0);
    let length = u32::try_from(wire.len() - 4).unwrap();
    wire[..4].copy_from_slice(&length.to_be_bytes());
    raw.bytes(&wire);
    raw.refused("a bad frame: 1 bytes behind the message");
    witness.serves();
}

#[test]
fn another_protocol_is_told_both_versions_and_whom_to_upgrade() {
    let Some((world, mut witness)) = started() else {
        return;
    };
    let ours = clsess_proto::PROTOCOL;
    let theirs = clsess_proto::VERSION;
    for (protocol, hint) in [
        (
            ours + 1,
            "upgrade the broker: clsess broker stop; the next command starts the new one",
        ),
        (0, "upgrade the command to the broker's version"),
    ] {
        let mut raw = Raw::connect(&world);
        raw.send(&json!({"type": "hello", "protocol": protocol, "version": "9.9.9"}));
        assert_eq!(raw.next().unwrap()["protocol"], ours);
        let last = raw.next().unwrap();
        assert_eq!(last["id"], 0);
        assert_eq!(
            last["error"],
            json!({
                "code": "incompatible",
                "message": format!(
                    "this command is clsess 9.9.9 (protocol {protocol}), \
                     the broker is clsess {theirs} (protocol {ours})"
                ),
                "hint": hint,
            })
        );
        assert_eq!(raw.next(), None);
        witness.serves();
    }
}

#[test]
fn prompts_are_checked_by_the_broker_too() {
    let Some((mut world, _)) = started() else {
        return;
    };
    world.idle_agent();
    world.clsess(&["new", "work"]).run().ok();
    let mut raw = Raw::greeted(&world);
    let long = "x".repeat(clsess_proto::MAX_PROMPT + 1);
    for (prompt, code) in [
        ("", "prompt_empty"),
        (" \n\t", "prompt_empty"),
        ("a\0b", "prompt_invalid"),
        (&long, "prompt_too_long"),
    ] {
        let answer = raw.ask(
            9,
            &json!({
                "op": "send", "session": "work", "prompt": prompt, "wait": true,
                "turn": "00000000-0000-4000-8000-000000000000",
            }),
        );
        assert_eq!(answer["type"], "error", "{code}");
        assert_eq!(answer["error"]["code"], code);
    }
    assert_eq!(world.show("work")["turns"], 0);
    assert_eq!(world.show("work")["queue"], 0);
}
