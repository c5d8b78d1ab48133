//! Whatever is said comes back, from older, newer and other peers too.

#![allow(clippy::unwrap_used)] // a test: helpers are not #[test] functions

#[allow(dead_code, unused_imports, reason = "schema.rs needs the rest of it")]
mod values;

use std::collections::BTreeSet;
use std::fmt::Debug;

use clsess_proto::{
    CAPABILITIES, DetachReason, ErrorCode, EventKind, Reply, Request, State, ToBroker, ToClient,
    frame,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rmpv::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;
use values::{json, names, reply, request, to_broker, to_client};

trait Message: Serialize + DeserializeOwned + PartialEq + Debug {}
impl<T: Serialize + DeserializeOwned + PartialEq + Debug> Message for T {}

fn tree<T: Message>(message: &T) -> Value {
    rmpv::decode::read_value(&mut frame::encode(message).unwrap().as_slice()).unwrap()
}

fn bytes(tree: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, tree).unwrap();
    bytes
}

/// Both readers find the message in the bytes.
fn is_read<T: Message>(bytes: &[u8], message: &T) -> Result<(), TestCaseError> {
    prop_assert_eq!(&frame::decode::<T>(bytes).unwrap(), message);
    prop_assert_eq!(&frame::decode_strict::<T>(bytes).unwrap(), message);
    Ok(())
}

/// Changes each map of the protocol's own; what a tool is given is the agent's, limits are the provider's.
fn each_map(value: &mut Value, change: &mut impl FnMut(&mut Vec<(Value, Value)>)) {
    match value {
        Value::Map(fields) => {
            for (name, value) in fields.iter_mut() {
                if !matches!(name.as_str(), Some("input" | "info" | "limits")) {
                    each_map(value, change);
                }
            }
            change(fields);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| each_map(value, change)),
        _ => {}
    }
}

/// There and back, one by one and in a stream, with fields in another order, and with some of a
/// later version.
fn comes_back<T: Message>(message: &T, later: &serde_json::Value) -> Result<(), TestCaseError> {
    is_read(&frame::encode(message).unwrap(), message)?;
    let wire = frame::to_wire(message).unwrap().repeat(2);
    let mut stream = wire.as_slice();
    for _ in 0..2 {
        is_read(&frame::read(&mut stream).unwrap().unwrap(), message)?;
    }
    prop_assert_eq!(frame::read(&mut stream).unwrap(), None);

    let mut backwards = tree(message);
    each_map(&mut backwards, &mut |fields| fields.reverse());
    is_read(&bytes(&backwards), message)?;

    let mut newer = tree(message);
    let later = rmpv::ext::to_value(later).unwrap();
    each_map(&mut newer, &mut |fields| {
        fields.insert(fields.len() / 2, ("later".into(), later.clone()));
    });
    is_read(&bytes(&newer), message)
}

/// The message with every name under `name` changed to one of a later version.
fn with_tag(message: &impl Message, name: &str) -> Vec<u8> {
    let mut tree = tree(message);
    let is_tag = |field: &&mut (Value, Value)| field.0.as_str() == Some(name) && field.1.is_str();
    each_map(&mut tree, &mut |fields| {
        let tag = fields.iter_mut().find(is_tag);
        tag.into_iter().for_each(|tag| tag.1 = "later".into());
    });
    bytes(&tree)
}

proptest! {
    #[test]
    fn what_a_client_says_comes_back(message in to_broker(), later in json()) {
        comes_back(&message, &later)?;
    }

    #[test]
    fn what_a_broker_says_comes_back(message in to_client(), later in json()) {
        comes_back(&message, &later)?;
    }

    /// Clients in other languages write nil for what they leave out.
    #[test]
    fn nil_is_left_out(id in any::<u64>(), request in request()) {
        let message = ToBroker::Request { first_asked: None, id, request: Box::new(request) };
        let mut with_nils = tree(&message);
        let known = [
            "name", "env", "model", "agent", "max_turns", "history", "resume", "umask", "turn",
            "after", "last", "session", "question", "message", "since", "question_timeout_ms",
            "stall_after_ms", "program", "scrollback", "viewer", "detach_keys", "modes",
        ];
        each_map(&mut with_nils, &mut |fields| {
            for name in known {
                if !fields.iter().any(|field| field.0.as_str() == Some(name)) {
                    fields.push((name.into(), Value::Nil));
                }
            }
        });
        prop_assert_eq!(frame::decode_strict::<ToBroker>(&bytes(&with_nils)).unwrap(), message);
    }

    #[test]
    fn requests_of_later_versions_are_unknown(id in any::<u64>(), request in request()) {
        let message = ToBroker::Request { first_asked: None, id, request: Box::new(request) };
        let unknown = ToBroker::Request { first_asked: None, id, request: Box::new(Request::Unknown) };
        is_read(&with_tag(&message, "op"), &unknown)?;
        is_read(&with_tag(&message, "type"), &ToBroker::Unknown)?;
    }

    #[test]
    fn an_event_says_the_name_that_it_has_in_json(message in to_client()) {
        if let ToClient::Event { event, .. } = message {
            let json = serde_json::to_value(&event).unwrap();
            prop_assert_eq!(&json["event"], event.kind.name());
        }
    }

    #[test]
    fn what_later_brokers_say_is_unknown(message in to_client()) {
        is_read(&with_tag(&message, "type"), &ToClient::Unknown)?;
        for tag in ["reply", "event", "state", "outcome", "code"] {
            let read: ToClient = frame::decode(&with_tag(&message, tag)).unwrap();
            // what is unknown stays unknown
            is_read(&frame::encode(&read).unwrap(), &read)?;
            match (tag, read) {
                ("reply", ToClient::Reply { reply, .. }) => prop_assert_eq!(*reply, Reply::Unknown),
                ("event", ToClient::Event { event, .. }) => {
                    prop_assert_eq!(event.kind, EventKind::Unknown);
                }
                ("code", ToClient::Error { error, .. }) => {
                    prop_assert_eq!(error.code, ErrorCode::Unknown);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_frame_cut_short_is_refused(message in to_broker(), at in any::<prop::sample::Index>()) {
        let whole = frame::to_wire(&message).unwrap();
        let cut = &whole[..at.index(whole.len())];
        prop_assert!(frame::read(&mut &*cut).is_err() || cut.is_empty());
        let inside = &whole[frame::LENGTH_BYTES..];
        let cut = &inside[..at.index(inside.len())];
        prop_assert!(frame::decode::<ToBroker>(cut).is_err());
        prop_assert!(frame::decode_strict::<ToBroker>(cut).is_err());
    }
}

/// The names under `tag` of what a generator makes.
fn seen<T: Serialize + Debug>(values: impl Strategy<Value = T>, tag: &str) -> BTreeSet<String> {
    let mut runner = TestRunner::deterministic();
    let mut names = BTreeSet::new();
    for _ in 0..1000 {
        let value = values.new_tree(&mut runner).unwrap().current();
        let value = serde_json::to_value(value).unwrap();
        names.insert(value[tag].as_str().unwrap().to_owned());
    }
    names
}

/// The generator knows every request that this build lists.
#[test]
fn every_request_is_among_them() {
    let listed: BTreeSet<String> = CAPABILITIES.iter().map(ToString::to_string).collect();
    assert_eq!(seen(request(), "op"), listed);
}

#[test]
fn every_reply_is_among_them() {
    let number = |reply: &Reply| match reply {
        Reply::Session { .. } => 0,
        Reply::Accepted { .. } => 1,
        Reply::Turn(_) => 2,
        Reply::Sessions { .. } => 3,
        Reply::Detail(_) => 4,
        Reply::Killed { .. } => 5,
        Reply::Interrupted { .. } => 6,
        Reply::Waited { .. } => 7,
        Reply::Queue { .. } => 8,
        Reply::Removed { .. } => 9,
        Reply::Log { .. } => 10,
        Reply::Questions { .. } => 11,
        Reply::Answered { .. } => 12,
        Reply::Status(_) => 13,
        Reply::Done {} => 14,
        Reply::Detached(_) => 15,
        Reply::Captured { .. } => 16,
        Reply::Hooked { .. } => 17,
        Reply::Edited { .. } => 18,
        // a new one gets this number, and this one the next
        Reply::Unknown => 19,
    };
    let mut runner = TestRunner::deterministic();
    let made = (0..1000).map(|_| number(&reply().new_tree(&mut runner).unwrap().current()));
    let made: BTreeSet<u32> = made.collect();
    assert!(made.into_iter().eq(0..number(&Reply::Unknown)));
}

/// What is read of the enums of names is not nothing.
#[test]
fn every_name_of_an_enum_is_among_them() {
    let codes = names::<ErrorCode>();
    for name in ["bad_request", "question_answered", "bad_answer", "internal"] {
        assert!(codes.iter().any(|code| code == name), "{name} in {codes:?}");
    }
    assert!(names::<State>().contains(&"login-needed".to_owned()));
    assert!(names::<DetachReason>().contains(&"gone".to_owned()));
}
