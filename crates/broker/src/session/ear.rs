//! Who makes of an agent's words what they mean: one for each kind of body.

use clsess_claude::turn::{Facts, Happening, Tracker};
use clsess_claude::{BadLine, parse, tui};
use clsess_proto::Driver;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// See the module.
#[derive(Debug)]
pub(super) enum Ear {
    /// Of a child that speaks lines of JSON.
    Stream(Box<Tracker>),
    /// Of the agent's own interface.
    Tui(Box<tui::Tracker>),
}

/// What a hook is told.
#[derive(Debug)]
pub(super) struct Told {
    pub hook: Uuid,
    pub answer: String,
    /// By it this prompt of ours is not sent.
    pub stopped: Option<Uuid>,
}

/// A line of [`crate::driver::said`].
#[derive(Deserialize)]
struct Line<'a> {
    id: Option<Uuid>,
    #[serde(borrow)]
    hook: Option<&'a RawValue>,
    report: Option<String>,
}

impl Ear {
    /// For an agent just started.
    pub fn new(driver: Driver) -> Self {
        match driver {
            Driver::Stream => Self::Stream(Box::new(Tracker::new())),
            Driver::Tui => Self::Tui(Box::default()),
        }
    }

    /// For one of which an earlier broker knew this much.
    pub fn taken_up(driver: Driver, facts: Facts) -> Self {
        match driver {
            Driver::Stream => Self::Stream(Box::new(Tracker::from(facts))),
            Driver::Tui => Self::Tui(Box::default()),
        }
    }

    /// Accounts for a line; the answer to a hook, where it is one that is answered at once.
    pub fn line(&mut self, line: &[u8], out: &mut Vec<Happening>) -> Result<Option<Told>, BadLine> {
        match self {
            Self::Stream(tracker) => tracker.line(parse(line)?, out),
            Self::Tui(tracker) => return said(tracker, line, out),
        }
        Ok(None)
    }

    /// A prompt is given to the agent.
    pub fn begin(&mut self, wire: Uuid) {
        match self {
            // A few turns at a time: there is always room for it.
            Self::Stream(tracker) => drop(tracker.begin(wire)),
            // Known by its text, before it is typed.
            Self::Tui(_) => {}
        }
    }

    /// A prompt is about to be typed, where it is.
    pub fn types(&mut self, wire: Uuid, prompt: &str) {
        if let Self::Tui(tracker) = self {
            let _ = tracker.begin(wire, prompt);
        }
    }

    /// It is not.
    pub fn does_not_type(&mut self, wire: Uuid) {
        if let Self::Tui(tracker) = self {
            tracker.withdraw(wire);
        }
    }

    /// The running turn is told to end.
    pub fn interrupted(&mut self) {
        if let Self::Tui(tracker) = self {
            tracker.interrupted();
        }
    }

    /// Prompts that are with the agent.
    pub fn open(&self) -> usize {
        match self {
            Self::Stream(tracker) => tracker.open().count(),
            Self::Tui(tracker) => tracker.open().count(),
        }
    }

    /// What a later broker has to know, when nothing is open.
    pub fn facts(&self) -> Option<Facts> {
        match self {
            Self::Stream(tracker) => tracker.facts(),
            Self::Tui(tracker) => tracker.open().next().is_none().then(Facts::default),
        }
    }

    /// As that of both.
    pub fn gone_with_results(&mut self, out: &mut Vec<Happening>) {
        match self {
            Self::Stream(tracker) => tracker.gone_with_results(out),
            Self::Tui(tracker) => tracker.gone_with_results(out),
        }
    }

    /// Whether something is on its way that takes milliseconds.
    pub fn is_due(&self) -> bool {
        matches!(self, Self::Tui(tracker) if tracker.is_due())
    }

    /// It did not come.
    pub fn overdue(&mut self, out: &mut Vec<Happening>) {
        if let Self::Tui(tracker) = self {
            tracker.overdue(out);
        }
    }
}

fn said(
    tracker: &mut tui::Tracker,
    line: &[u8],
    out: &mut Vec<Happening>,
) -> Result<Option<Told>, BadLine> {
    let line: Line<'_> =
        serde_json::from_slice(line).map_err(|error| BadLine::Json(error.to_string()))?;
    if let Some(tui::Report::Status(status)) = line
        .report
        .and_then(|report| tui::status::report(report.as_bytes()))
    {
        tracker.status(&status, out);
    }
    let (Some(id), Some(hook)) = (line.id, line.hook) else {
        return Ok(None);
    };
    let call = tui::hooks::parse(hook.get().as_bytes())?;
    let reply = tracker.hook(&id.to_string(), call, out);
    let stopped = match reply {
        tui::Reply::Prompt(tui::Verdict::Altered(wire) | tui::Verdict::Early(wire)) => Some(wire),
        _ => None,
    };
    Ok(reply.answer().map(|answer| Told {
        hook: id,
        answer,
        stopped,
    }))
}
