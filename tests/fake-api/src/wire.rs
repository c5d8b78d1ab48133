//! What a request says, as far as the answers depend on it.
//!
//! Only the few fields that matter are kept; everything else in a body is skipped without
//! building it in memory, so that a body of many megabytes costs little.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

/// The start of the prompt with which the client asks for a summary (`/compact`).
const COMPACT: &str =
    "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\n- Do NOT use Read, Bash, Grep";

/// The start of the system block of a request that only asks for a session's title.
const TITLE: &str = "You are naming a coding session";

/// Who is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request of the conversation itself, retries and continuations included.
    Main,
    /// A request beside the conversation: a title, a probe, a summary.
    Side,
    /// `count_tokens`.
    Count,
    /// A request of a subagent.
    Subagent,
}

impl Kind {
    /// All kinds, for `stats`.
    pub const ALL: [Self; 4] = [Self::Main, Self::Side, Self::Count, Self::Subagent];

    /// The name in the control protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Side => "side",
            Self::Count => "count",
            Self::Subagent => "subagent",
        }
    }

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A body of `/v1/messages` or `/v1/messages/count_tokens`.
#[derive(Debug, Default, Deserialize)]
pub struct Request {
    /// The model's name, echoed in the answer.
    #[serde(default)]
    pub model: String,
    /// The limit asked for; not enforced.
    pub max_tokens: Option<u64>,
    /// Whether the answer is to be a stream.
    #[serde(default)]
    pub stream: bool,
    /// The tools, by name only.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// The system prompt.
    #[serde(default)]
    pub system: Blocks,
    /// The conversation.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// Present in requests of a conversation.
    pub thinking: Option<serde::de::IgnoredAny>,
    /// Present in requests of a conversation.
    pub context_management: Option<serde::de::IgnoredAny>,
}

/// One tool on offer.
#[derive(Debug, Deserialize)]
pub struct Tool {
    /// Its name.
    #[serde(default)]
    pub name: String,
}

/// One message of the conversation.
#[derive(Debug, Deserialize)]
pub struct Message {
    /// `user`, `assistant` or `system`.
    pub role: String,
    /// Its blocks; a plain string counts as one text block.
    #[serde(default)]
    pub content: Blocks,
}

/// One content block.
#[derive(Debug, Deserialize)]
pub struct Block {
    /// `text`, `tool_use`, `tool_result`, ...
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The text of a text block.
    pub text: Option<String>,
}

/// Content in either of its two wire shapes.
#[derive(Debug, Default)]
pub struct Blocks(pub Vec<Block>);

impl Blocks {
    /// The texts in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let text = |block: &'_ Block| block.kind == "text";
        self.0
            .iter()
            .filter(move |block| text(block))
            .filter_map(|block| block.text.as_deref())
    }

    /// Whether there is a block of this type.
    pub fn has(&self, kind: &str) -> bool {
        self.0.iter().any(|block| block.kind == kind)
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BlocksVisitor)
    }
}

struct BlocksVisitor;

impl<'de> Visitor<'de> for BlocksVisitor {
    type Value = Blocks;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of content blocks")
    }

    fn visit_unit<E>(self) -> Result<Blocks, E> {
        Ok(Blocks::default())
    }

    fn visit_str<E>(self, text: &str) -> Result<Blocks, E> {
        Ok(Blocks(vec![Block {
            kind: "text".into(),
            text: Some(text.to_owned()),
        }]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Blocks, A::Error> {
        let mut blocks = Vec::new();
        while let Some(block) = seq.next_element()? {
            blocks.push(block);
        }
        Ok(Blocks(blocks))
    }
}

impl Request {
    /// Who is asking. `count` and `subagent` come from the path and the headers.
    pub fn kind(&self, count: bool, subagent: bool) -> Kind {
        if count {
            Kind::Count
        } else if subagent {
            Kind::Subagent
        } else if self.beside_the_conversation() {
            Kind::Side
        } else {
            Kind::Main
        }
    }

    /// A conversation has tools; one started with `--tools ""` still has the other marks.
    fn beside_the_conversation(&self) -> bool {
        let title = self.system.texts().any(|text| text.starts_with(TITLE));
        let toolless =
            self.tools.is_empty() && (self.thinking.is_none() || self.context_management.is_none());
        title || toolless || self.max_tokens == Some(1) || self.compacts()
    }

    /// Whether this asks for a summary of the conversation.
    pub fn compacts(&self) -> bool {
        let last = self
            .messages
            .iter()
            .rev()
            .find(|message| message.role == "user");
        last.is_some_and(|message| {
            message
                .content
                .texts()
                .any(|text| text.starts_with(COMPACT))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Request {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn content_may_be_a_string_or_blocks() {
        let request = parse(
            r#"{"messages":[{"role":"user","content":"a"},{"role":"user","content":[
               {"type":"tool_result","content":"x"},{"type":"text","text":"b"}]}]}"#,
        );
        let texts: Vec<_> = request
            .messages
            .iter()
            .flat_map(|m| m.content.texts())
            .collect();
        assert_eq!(texts, ["a", "b"]);
        assert!(request.messages[1].content.has("tool_result"));
    }

    #[test]
    fn kinds() {
        let tools = r#"{"tools":[{"name":"Bash"}],"max_tokens":9,"messages":[]}"#;
        assert_eq!(parse(tools).kind(false, false), Kind::Main);
        assert_eq!(parse(tools).kind(false, true), Kind::Subagent);
        assert_eq!(parse(tools).kind(true, false), Kind::Count);
        assert_eq!(parse(r#"{"max_tokens":9}"#).kind(false, false), Kind::Side);
        let toolless = r#"{"tools":[],"thinking":{},"context_management":{}}"#;
        assert_eq!(parse(toolless).kind(false, false), Kind::Main);
        let title = r#"{"tools":[],"thinking":{},"context_management":{},
            "system":[{"type":"text","text":"You are naming a coding session now"}]}"#;
        assert_eq!(parse(title).kind(false, false), Kind::Side);
        assert_eq!(Kind::parse("main"), Some(Kind::Main));
        assert_eq!(Kind::parse("x"), None);
    }
}
