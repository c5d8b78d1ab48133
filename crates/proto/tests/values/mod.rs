//! Any value of each type that crosses the socket. A new variant is a line in its file here, a new
//! field a line in its struct; enums of names are complete by themselves.

mod events;
mod replies;
mod requests;

use std::fmt::Debug;

use clsess_proto::{Denial, Failure, Hello, Outcome, State, ToBroker, ToClient, TurnId, Usage};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde::Deserializer;
use serde::de::{DeserializeOwned, Error, Visitor, value};
use serde_json::Value;
use uuid::Uuid;

pub use events::event;
pub use replies::{reply, report};
pub use requests::request;

fn text() -> impl Strategy<Value = String> + Clone {
    vec(any::<char>(), 0..8).prop_map(|text| text.into_iter().collect())
}

fn some_text() -> impl Strategy<Value = Option<String>> + Clone {
    option::of(text())
}

fn uuid() -> impl Strategy<Value = Uuid> + Clone {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn turn() -> impl Strategy<Value = TurnId> {
    uuid().prop_map(TurnId)
}

/// What an agent may give as a tool's input.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Reads nothing, and tells in its error which names an enum has.
struct Names;

impl<'de> Deserializer<'de> for Names {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Error::custom(""))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        Err(Error::custom(variants.join(" ")))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// All names of an enum of names on the wire.
pub fn names<T: DeserializeOwned + Debug>() -> Vec<String> {
    let told = T::deserialize(Names).unwrap_err().to_string();
    told.split_whitespace().map(str::to_owned).collect()
}

/// Any value of an enum of names.
fn any_of<T: DeserializeOwned + Clone + Debug + 'static>() -> impl Strategy<Value = T> {
    let read = |name: String| serde_json::from_value(Value::from(name)).unwrap();
    let values: Vec<T> = names::<T>().into_iter().map(read).collect();
    assert!(values.len() > 1, "it is no enum of names");
    select(values)
}

fn state() -> impl Strategy<Value = State> {
    any_of()
}

fn outcome() -> impl Strategy<Value = Outcome> {
    any_of()
}

fn failure() -> impl Strategy<Value = Failure> {
    (any_of(), text(), some_text()).prop_map(|(code, message, hint)| Failure {
        code,
        message,
        hint,
    })
}

fn usage() -> impl Strategy<Value = Usage> {
    any::<[u64; 4]>().prop_map(|[input, output, creation, read]| Usage {
        input_tokens: input,
        output_tokens: output,
        cache_creation_input_tokens: creation,
        cache_read_input_tokens: read,
    })
}

fn denial() -> impl Strategy<Value = Denial> {
    (text(), json()).prop_map(|(tool, input)| Denial { tool, input })
}

fn hello() -> impl Strategy<Value = Hello> {
    (any::<u32>(), text(), vec(text(), 0..3), some_text()).prop_map(
        |(protocol, version, capabilities, state_dir)| Hello {
            protocol,
            version,
            capabilities,
            state_dir,
        },
    )
}

/// Any frame of a client.
pub fn to_broker() -> impl Strategy<Value = ToBroker> {
    prop_oneof![
        1 => hello().prop_map(ToBroker::Hello),
        9 => (any::<u64>(), any::<Option<u64>>(), request()).prop_map(
            |(id, first_asked, request)| ToBroker::Request {
                id,
                first_asked,
                request: Box::new(request),
            }
        ),
    ]
}

/// Any frame of a broker.
pub fn to_client() -> impl Strategy<Value = ToClient> {
    prop_oneof![
        1 => hello().prop_map(ToClient::Hello),
        1 => (any::<u64>(), failure()).prop_map(|(id, error)| ToClient::Error { id, error }),
        8 => (any::<u64>(), reply())
            .prop_map(|(id, reply)| ToClient::Reply { id, reply: Box::new(reply) }),
        12 => (any::<u64>(), event()).prop_map(|(id, event)| ToClient::Event { id, event }),
    ]
}
