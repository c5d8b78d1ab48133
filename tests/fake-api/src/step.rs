//! The answers a test may script.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Whose turns a rule is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// The user's.
    #[default]
    Main,
    /// A subagent's.
    Subagent,
    /// Those the client begins by itself when a background task ended.
    Notification,
}

/// A rule as the control protocol writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// The prompt must contain this; `null` matches every prompt.
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    /// Serve one turn only.
    #[serde(default)]
    pub once: bool,
    /// Repeat the last step when they run out.
    #[serde(default)]
    pub repeat: bool,
    /// Whose turns; the user's when absent.
    #[serde(default)]
    pub kind: Audience,
    /// The answers, one per request of a turn.
    pub respond: Vec<Step>,
}

/// A checked rule.
#[derive(Debug)]
pub struct Rule {
    /// Its number, for reports.
    pub id: u64,
    /// What the prompt must contain.
    pub pattern: Option<String>,
    /// Serve one turn only.
    pub once: bool,
    /// Repeat the last step.
    pub repeat: bool,
    /// Whose turns.
    pub kind: Audience,
    /// The answers.
    pub steps: Vec<Step>,
}

/// The answer to one request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// A text as the only block.
    pub text: Option<String>,
    /// A text many times over as the only block.
    pub repeat_text: Option<RepeatText>,
    /// The blocks.
    pub blocks: Option<Vec<BlockSpec>>,
    /// What is sent in place of an answer, as it is: garbage, mostly.
    pub raw: Option<String>,
    /// Instead of an answer: an error with this status.
    pub status: Option<u16>,
    /// The error's type; by default the one usual for the status.
    pub error_type: Option<String>,
    /// The error's message.
    pub message: Option<String>,
    /// Further headers of the response.
    pub headers: BTreeMap<String, String>,
    /// By default `tool_use` if a tool is last, else `end_turn`.
    pub stop_reason: Option<String>,
    /// The size of the deltas.
    pub delta_bytes: Option<usize>,
    /// The most that is handed to the connection at once.
    pub piece_bytes: Option<usize>,
    /// The pause after each text delta.
    pub delay_ms: u64,
    /// The pause before the first byte of the answer.
    pub first_delay_ms: u64,
    /// Close the connection after so many text deltas.
    pub cut_after: Option<usize>,
    /// Send an `error` event after so many text deltas.
    pub error_after: Option<usize>,
    /// Pause under this name, after `hold_after` text deltas.
    pub hold: Option<String>,
    /// See `hold`; 0 is before the first block.
    pub hold_after: Option<usize>,
}

/// A text many times over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepeatText {
    /// The text.
    pub text: String,
    /// How often.
    pub times: usize,
}

/// One block of an answer, or a pause between two.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockSpec {
    /// A text.
    Text(String),
    /// A text many times over.
    RepeatText(RepeatText),
    /// A thought, with a made-up signature.
    Thinking(String),
    /// A tool call.
    Tool(ToolSpec),
    /// A pause.
    Hold(String),
}

/// A tool call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// The tool.
    pub name: String,
    /// Its input.
    #[serde(default)]
    pub input: Value,
    /// The call's id; by default a new one.
    pub id: Option<String>,
}

impl Step {
    /// An answer of one text.
    pub fn of_text(text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::default()
        }
    }

    /// The blocks, whichever way they were written.
    pub fn all_blocks(&self) -> Vec<BlockSpec> {
        if let Some(blocks) = &self.blocks {
            blocks.clone()
        } else if let Some(repeat) = &self.repeat_text {
            vec![BlockSpec::RepeatText(repeat.clone())]
        } else {
            vec![BlockSpec::Text(self.text.clone().unwrap_or_default())]
        }
    }

    /// The reason the answer ends with.
    pub fn reason(&self, blocks: &[BlockSpec]) -> &str {
        let last = blocks
            .iter()
            .rev()
            .find(|block| !matches!(block, BlockSpec::Hold(_)));
        let fallback = if matches!(last, Some(BlockSpec::Tool(_))) {
            "tool_use"
        } else {
            "end_turn"
        };
        self.stop_reason.as_deref().unwrap_or(fallback)
    }

    /// Refuses what makes no sense.
    pub fn check(&self) -> Result<(), String> {
        let texts = [
            self.text.is_some(),
            self.repeat_text.is_some(),
            self.blocks.is_some(),
            self.raw.is_some(),
        ];
        let kinds =
            texts.into_iter().filter(|set| *set).count() + usize::from(self.status.is_some());
        if kinds != 1 {
            return Err("a step has one of: text, repeat_text, blocks, raw, status".into());
        }
        if self.piece_bytes == Some(0) {
            return Err("piece_bytes is at least 1".into());
        }
        if self.hold_after.is_some() && self.hold.is_none() {
            return Err("hold_after needs hold, the name".into());
        }
        if self
            .status
            .is_some_and(|status| !(400..600).contains(&status))
        {
            return Err("status is 400 to 599".into());
        }
        Ok(())
    }
}

impl BlockSpec {
    /// The text of a text block.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::RepeatText(repeat) => Some(repeat.text.repeat(repeat.times)),
            _ => None,
        }
    }
}

impl RuleSpec {
    /// The rule under this number, or why it cannot be.
    pub fn check(self, id: u64) -> Result<Rule, String> {
        if self.respond.is_empty() {
            return Err("respond is empty".into());
        }
        self.respond.iter().try_for_each(Step::check)?;
        let Self {
            pattern,
            once,
            repeat,
            kind,
            respond: steps,
        } = self;
        Ok(Rule {
            id,
            pattern,
            once,
            repeat,
            kind,
            steps,
        })
    }
}
