//! What the accounting knows between two turns, to be written down and taken up again.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Tracker;

/// What a [`Tracker`] knows when no turn is open: enough to go on with the same client process
/// from the next line on. A field that is missing is taken as not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    done: VecDeque<Uuid>,
    agents: VecDeque<(String, Option<Uuid>)>,
    busy: bool,
    tells_state: bool,
    tells_uuids: bool,
    session: Option<Uuid>,
    version: Option<String>,
    total_cost: Option<f64>,
}

impl Tracker {
    /// What is known between two turns; `None` within one, where the lines that have come since
    /// its beginning are needed as well.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        let between = self.asked.is_empty()
            && self.run.is_none()
            && self.questions.is_empty()
            && !self.idle_due;
        between.then(|| Facts {
            done: self.done.clone(),
            agents: self.agents.clone(),
            busy: self.busy,
            tells_state: self.tells_state,
            tells_uuids: self.tells_uuids,
            session: self.session,
            version: self.version.clone(),
            total_cost: self.total_cost,
        })
    }
}

impl From<Facts> for Tracker {
    fn from(facts: Facts) -> Self {
        Self {
            done: facts.done,
            agents: facts.agents,
            busy: facts.busy,
            tells_state: facts.tells_state,
            tells_uuids: facts.tells_uuids,
            session: facts.session,
            version: facts.version,
            total_cost: facts.total_cost,
            ..Self::default()
        }
    }
}
