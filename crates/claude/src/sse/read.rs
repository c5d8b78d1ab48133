//! From an event to its [`Message`].

use serde::Deserialize;

use super::SseEvent;
use crate::json::{Raw, count, object, text};
use crate::stream::{Block, Json, block};

/// What an event of the Messages API says.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// `message_start`.
    Start {
        /// The message's id.
        id: Option<String>,
        /// The model that answers.
        model: Option<String>,
        /// Tokens so far.
        usage: Option<Json>,
    },
    /// `content_block_start`.
    BlockStart {
        /// Which block; they count from 0.
        index: u64,
        /// Empty so far, but a tool call has its name and id.
        block: Block,
    },
    /// `content_block_delta`.
    Delta {
        /// Of which block.
        index: u64,
        /// What came.
        delta: Delta,
    },
    /// `content_block_stop`.
    BlockStop {
        /// Which block.
        index: u64,
    },
    /// `message_delta`: how the message ends.
    End {
        /// `end_turn`, `tool_use`, `max_tokens`, …
        stop_reason: Option<String>,
        /// Tokens of the whole message.
        usage: Option<Json>,
    },
    /// `message_stop`: nothing follows.
    Stop,
    /// `ping`.
    Ping,
    /// `error`: the message is broken off.
    Error {
        /// `overloaded_error`, …
        kind: Option<String>,
        /// For people.
        message: Option<String>,
    },
    /// Any other kind, or one of these without what it needs.
    Other,
    /// The data is not a JSON object.
    Bad,
}

/// A piece of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Words.
    Text(String),
    /// Thoughts.
    Thinking(String),
    /// A piece of the JSON text of a tool's input.
    Input(String),
    /// Anything else: a signature, a citation, ….
    Other,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    index: Raw<'a>,
    #[serde(borrow)]
    message: Raw<'a>,
    #[serde(borrow)]
    content_block: Raw<'a>,
    #[serde(borrow)]
    delta: Raw<'a>,
    #[serde(borrow)]
    usage: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

/// The fields of `message`, `delta` and `error`.
#[derive(Default, Deserialize)]
struct Inner<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    model: Raw<'a>,
    #[serde(borrow)]
    usage: Raw<'a>,
    #[serde(borrow)]
    text: Raw<'a>,
    #[serde(borrow)]
    thinking: Raw<'a>,
    #[serde(borrow)]
    partial_json: Raw<'a>,
    #[serde(borrow)]
    stop_reason: Raw<'a>,
    #[serde(borrow)]
    message: Raw<'a>,
}

/// Reads an event. Its data's `type` says what it is, and its name where there is none.
#[must_use]
pub fn read(event: &SseEvent) -> Message {
    let data = event.data.trim_ascii();
    // serde would fill a struct from an array, by position
    if !data.starts_with('{') {
        return Message::Bad;
    }
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(data) else {
        return Message::Bad;
    };
    let inner = |raw| object::<Inner<'_>>(raw).unwrap_or_default();
    let kind = text(fields.kind).unwrap_or_else(|| event.name.clone());
    match (kind.as_str(), count(fields.index)) {
        ("message_start", _) => {
            let message = inner(fields.message);
            Message::Start {
                id: text(message.id),
                model: text(message.model),
                usage: message.usage.map(Json::of),
            }
        }
        ("content_block_start", Some(index)) => Message::BlockStart {
            index,
            block: fields.content_block.map_or(Block::Other, block),
        },
        ("content_block_delta", Some(index)) => Message::Delta {
            index,
            delta: delta(&inner(fields.delta)),
        },
        ("content_block_stop", Some(index)) => Message::BlockStop { index },
        ("message_delta", _) => Message::End {
            stop_reason: text(inner(fields.delta).stop_reason),
            usage: fields.usage.map(Json::of),
        },
        ("message_stop", _) => Message::Stop,
        ("ping", _) => Message::Ping,
        ("error", _) => {
            let error = inner(fields.error);
            Message::Error {
                kind: text(error.kind),
                message: text(error.message),
            }
        }
        _ => Message::Other,
    }
}

fn delta(delta: &Inner<'_>) -> Delta {
    let piece = |raw, make: fn(String) -> Delta| text(raw).map_or(Delta::Other, make);
    match text(delta.kind).as_deref() {
        Some("text_delta") => piece(delta.text, Delta::Text),
        Some("thinking_delta") => piece(delta.thinking, Delta::Thinking),
        Some("input_json_delta") => piece(delta.partial_json, Delta::Input),
        _ => Delta::Other,
    }
}
