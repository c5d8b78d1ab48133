//! The id of a turn.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A turn's id, chosen by the client. On the wire it is the usual hyphenated text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TurnId(#[serde(with = "uuid::serde::hyphenated")] pub Uuid);

impl TurnId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id that `key` has within the session `session_id`: the same key gives
    /// the same turn, for as long as the session exists.
    #[must_use]
    pub fn from_key(session_id: Uuid, key: &str) -> Self {
        Self(Uuid::new_v5(&session_id, key.as_bytes()))
    }
}

impl fmt::Display for TurnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TurnId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}
