//! What a request is, and the answers that are no stream.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::json::{Raw, array, object, text};
use crate::stream::{Block, Json, block};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One for a message, of which nothing else is known yet.
    Message,
    /// The main conversation's.
    Main,
    /// A subagent's.
    Subagent,
    /// Another conversation's: of a client that a tool has started, which finds the same way out.
    Stranger,
    /// For a title, a quota and the like: it has no tools.
    Side,
    /// Of another kind: counting tokens, settings, telemetry.
    Other,
    /// It could not be read.
    Unknown,
}

/// The head of a request, as much of it as says what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `POST`, ….
    pub method: String,
    /// Path and query.
    pub path: String,
    /// It has the header of a subagent, `x-claude-code-agent-id`.
    pub subagent: bool,
    /// The conversation that it says it belongs to, by `x-claude-code-session-id`.
    pub conversation: Option<String>,
}

/// The header by which a subagent's requests are known.
const SUBAGENT: &str = "x-claude-code-agent-id";
/// The one with the conversation's id.
const CONVERSATION: &str = "x-claude-code-session-id";

impl Request {
    /// A request by its head. Names of headers may be in any case.
    pub fn new<'a>(
        method: &str,
        path: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut request = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            subagent: false,
            conversation: None,
        };
        for (name, value) in headers {
            request.subagent |= name.eq_ignore_ascii_case(SUBAGENT);
            if name.eq_ignore_ascii_case(CONVERSATION) {
                request.conversation = Some(value.to_owned());
            }
        }
        request
    }

    /// What the head alone says, on the wire of this conversation's client.
    #[must_use]
    pub fn class(&self, conversation: &str) -> Class {
        let path = self.path.split('?').next().unwrap_or_default();
        if self.method != "POST" || !path.ends_with("/v1/messages") {
            return Class::Other;
        }
        let its = self.conversation.as_deref();
        match self.subagent {
            _ if its.is_some_and(|its| its != conversation) => Class::Stranger,
            true => Class::Subagent,
            false => Class::Message,
        }
    }
}

/// What a request for a message is by its body, and the model that it asks.
pub(super) fn of_body(body: &[u8]) -> (Class, Option<String>) {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(default)]
        tools: Vec<IgnoredAny>,
        #[serde(borrow)]
        model: Raw<'a>,
    }
    match serde_json::from_slice::<Body<'_>>(body) {
        Ok(body) if body.tools.is_empty() => (Class::Side, None),
        Ok(body) => (Class::Main, text(body.model)),
        Err(_) => (Class::Unknown, None),
    }
}

/// What a whole answer says.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) model: Option<String>,
    /// One of each block that has any.
    pub(super) texts: Vec<String>,
    pub(super) stop_reason: Option<String>,
    pub(super) usage: Option<Json>,
    /// Of an error.
    pub(super) kind: Option<String>,
    pub(super) message: Option<String>,
}

/// Reads an answer in one piece; nothing of one that is no JSON object.
pub(super) fn answer_of(body: &[u8]) -> Answered {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        model: Raw<'a>,
        #[serde(borrow)]
        content: Raw<'a>,
        #[serde(borrow)]
        stop_reason: Raw<'a>,
        #[serde(borrow)]
        usage: Raw<'a>,
        #[serde(borrow)]
        error: Raw<'a>,
    }
    #[derive(Default, Deserialize)]
    struct Inner<'a> {
        #[serde(borrow, rename = "type")]
        kind: Raw<'a>,
        #[serde(borrow)]
        message: Raw<'a>,
    }
    let raw = serde_json::from_slice::<&RawValue>(body).ok();
    let Some(fields) = object::<Fields<'_>>(raw) else {
        return Answered::default();
    };
    let error = object::<Inner<'_>>(fields.error).unwrap_or_default();
    let blocks = array(fields.content).into_iter().map(block);
    let texts = blocks.filter_map(|block| match block {
        Block::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    });
    Answered {
        model: text(fields.model),
        texts: texts.collect(),
        stop_reason: text(fields.stop_reason),
        usage: fields.usage.map(Json::of),
        kind: text(error.kind),
        message: text(error.message),
    }
}
