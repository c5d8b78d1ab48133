//! The lines of a journal, and what their sums are made of.

use clsess_proto::{OnCrash, OnLimit, OnQuestion, TurnId, TurnReport, Usage};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use crate::session::now_ms;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A turn is to be run.
    Queued {
        /// Its id.
        turn: TurnId,
        /// When, in milliseconds of Unix time.
        at: u64,
        /// The prompt.
        prompt: String,
        /// On what terms.
        #[serde(flatten)]
        terms: Terms,
    },
    /// The prompt is being given to the agent.
    Started {
        /// Its id.
        turn: TurnId,
        /// When.
        at: u64,
    },
    /// The agent has acknowledged it.
    Accepted {
        /// Its id.
        turn: TurnId,
        /// When.
        at: u64,
        /// Whether a tool was called in it by now, and so may have started.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        called: bool,
        /// By which the agent's transcript knows it, where that is not the line's own uuid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<Uuid>,
    },
    /// It has ended.
    Ended {
        /// When.
        at: u64,
        /// How, and with what answer.
        #[serde(flatten)]
        report: Box<TurnReport>,
    },
    /// Sums of turns that are no longer in the file.
    Totals {
        /// How many.
        turns: u64,
        /// Their tokens.
        usage: Usage,
        /// What they cost.
        cost_usd: f64,
    },
}

impl Record {
    /// The turn that it is of.
    #[must_use]
    pub fn turn(&self) -> Option<TurnId> {
        match self {
            Self::Queued { turn, .. }
            | Self::Started { turn, .. }
            | Self::Accepted { turn, .. } => Some(*turn),
            Self::Ended { report, .. } => Some(report.turn),
            Self::Totals { .. } => None,
        }
    }
}

/// On what terms a turn is run: as in the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Milliseconds from its start until it is interrupted; 0: none.
    pub timeout_ms: u64,
    /// What becomes of questions.
    pub on_question: OnQuestion,
    /// What becomes of it when a limit refuses it.
    #[serde(default)]
    pub on_limit: OnLimit,
    /// When it is given up, in milliseconds of Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<u64>,
    /// Whether it goes before those that wait.
    #[serde(default)]
    pub first: bool,
    /// How often its line has got another uuid: a limit has refused it, or the agent has died in
    /// it, and the client takes the one that it had for one that it has run.
    #[serde(default)]
    pub attempt: u32,
    /// What becomes of it when the agent dies after a tool has started.
    #[serde(default)]
    pub on_crash: OnCrash,
    /// How often the agent has died in it.
    #[serde(default)]
    pub deaths: u32,
    /// The uuid of the line that the agent had when it died last, if that has begun a turn in
    /// the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Uuid>,
}

impl Terms {
    /// The uuid of its line: the agent runs none twice, so each attempt has its own.
    #[must_use]
    pub fn wire(&self, turn: TurnId) -> Uuid {
        match self.attempt {
            0 => turn.0,
            n => Uuid::new_v5(&turn.0, &n.to_be_bytes()),
        }
    }

    /// Whether it is to be given up by now.
    #[must_use]
    pub fn overdue(&self) -> bool {
        self.deadline_at.is_some_and(|at| at <= now_ms())
    }

    /// When it is given up.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let left = self.deadline_at?.saturating_sub(now_ms());
        Some(Instant::now() + Duration::from_millis(left))
    }
}

/// What all turns of a session come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Turns that have ended.
    pub turns: u64,
    /// Their tokens.
    pub usage: Usage,
    /// What they cost, in US dollars.
    pub cost_usd: f64,
}

impl Totals {
    /// With one more.
    pub(super) fn add(&mut self, usage: Option<Usage>, cost_usd: Option<f64>) {
        let usage = usage.unwrap_or_default();
        self.usage.input_tokens += usage.input_tokens;
        self.usage.output_tokens += usage.output_tokens;
        self.usage.cache_creation_input_tokens += usage.cache_creation_input_tokens;
        self.usage.cache_read_input_tokens += usage.cache_read_input_tokens;
        self.cost_usd += cost_usd.unwrap_or_default();
    }

    /// As if it had not been.
    pub(super) fn without(mut self, report: &TurnReport) -> Self {
        let usage = report.usage.unwrap_or_default();
        let less = |from: &mut u64, by: u64| *from = from.saturating_sub(by);
        less(&mut self.turns, 1);
        less(&mut self.usage.input_tokens, usage.input_tokens);
        less(&mut self.usage.output_tokens, usage.output_tokens);
        less(
            &mut self.usage.cache_creation_input_tokens,
            usage.cache_creation_input_tokens,
        );
        less(
            &mut self.usage.cache_read_input_tokens,
            usage.cache_read_input_tokens,
        );
        self.cost_usd -= report.cost_usd.unwrap_or_default();
        self
    }
}
