//! Codex's reports to its terminal.

use serde::{Deserialize, Serialize};

/// What Codex says of its state (OSC 7501).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It waits for a prompt: at its start, and after an interrupt.
    Idle,
    /// A turn runs.
    Working,
    /// It asks for leave at the screen.
    Blocked,
    /// A turn is over.
    Done,
    /// One has failed.
    Error,
    /// It leaves.
    Clear,
}

impl State {
    /// Reads the inside of an OSC 7501, behind `7501;`. None for what we do not know.
    #[must_use]
    pub fn read(inside: &[u8]) -> Option<Self> {
        let mut fields = inside.split(|byte| *byte == b':');
        let state = fields.find_map(|field| field.strip_prefix(b"state="))?;
        Some(match state {
            b"idle" => Self::Idle,
            b"working" => Self::Working,
            b"blocked" => Self::Blocked,
            b"done" => Self::Done,
            b"error" => Self::Error,
            b"clear" => Self::Clear,
            _ => return None,
        })
    }

    /// Whether no turn runs.
    #[must_use]
    pub const fn is_rest(self) -> bool {
        matches!(self, Self::Idle | Self::Done | Self::Error)
    }
}
