//! What the accounting knows between two turns, to be written down and taken up again.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Tracker;
use super::asking::Asking;
use super::state::Level;

/// What a [`Tracker`] knows when no turn is open: enough to go on with the same interface from what
/// it says next. A field that is missing is taken as not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    ended: VecDeque<String>,
    agents: VecDeque<(String, Option<Uuid>)>,
    level: Level,
    tells_status: bool,
    ready: bool,
    shows_ready: bool,
    runs_hooks: bool,
    has_skills: bool,
    mute: bool,
    background: usize,
    session: Option<Uuid>,
    version: Option<String>,
}

impl Tracker {
    /// What is known between two turns; `None` within one, where what was said since its beginning
    /// is needed as well.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        let between = self.waiting.is_none()
            && self.run.is_none()
            && self.asking.held.is_empty()
            && !self.idle_due;
        between.then(|| Facts {
            ended: self.ended.clone(),
            agents: self.asking.agents.clone(),
            level: self.level,
            tells_status: self.tells_status,
            ready: self.ready,
            shows_ready: self.shows_ready,
            runs_hooks: self.runs_hooks,
            has_skills: self.has_skills,
            mute: self.mute,
            background: self.background,
            session: self.session,
            version: self.version.clone(),
        })
    }
}

impl From<Facts> for Tracker {
    fn from(facts: Facts) -> Self {
        Self {
            ended: facts.ended,
            asking: Asking {
                agents: facts.agents,
                ..Asking::default()
            },
            level: facts.level,
            tells_status: facts.tells_status,
            ready: facts.ready,
            shows_ready: facts.shows_ready,
            // An earlier version did not write it down.
            runs_hooks: facts.runs_hooks || facts.ready,
            has_skills: facts.has_skills,
            mute: facts.mute,
            background: facts.background,
            session: facts.session,
            version: facts.version,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_taken_up_as_they_were() {
        let facts = Facts {
            ended: VecDeque::from(["p".to_owned()]),
            agents: VecDeque::from([("a".to_owned(), Some(Uuid::from_u128(1)))]),
            level: Level::Rest,
            tells_status: true,
            ready: true,
            shows_ready: true,
            runs_hooks: true,
            has_skills: true,
            mute: true,
            background: 2,
            session: Some(Uuid::from_u128(2)),
            version: Some("2.1.328".to_owned()),
        };
        assert_eq!(Tracker::from(facts.clone()).facts(), Some(facts.clone()));
        let written = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&written).unwrap(), facts);
    }
}
