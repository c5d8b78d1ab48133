//! Who makes of an agent's words what they mean: one for each kind of body.

use std::path::Path;

use clsess_claude::registry::registered;
use clsess_claude::tui::prompt::representable;
use clsess_claude::turn::{Facts, Happening, Tracker};
use clsess_claude::wire::Fact;
use clsess_claude::{BadLine, parse, tui};
use clsess_proto::Driver;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::codex::hooks;
use crate::codex::prompt::carried;
use crate::codex::state::State;
use crate::codex::tracker::{self as codex, Stopped};
use crate::codex::transcript;
use crate::driver::codex::{READS, WRITES};
use crate::driver::marks::MARK;
use crate::marks::scan::Piece;
use crate::marks::tracker;

/// See the module.
#[derive(Debug)]
pub(super) enum Ear {
    /// Of a child that speaks lines of JSON.
    Stream(Box<Tracker>),
    /// Of the agent's own interface.
    Tui(Box<tui::Tracker>),
    /// Of a program that marks its prompts.
    Marks(Box<tracker::Tracker>),
    /// Of Codex.
    Codex(Box<codex::Tracker>),
}

/// What one knows between two turns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    tracker: Facts,
    interface: tui::tracker::Facts,
    marks: tracker::Facts,
    codex: codex::Facts,
}

/// What a hook is told.
#[derive(Debug)]
pub(super) struct Told {
    pub hook: Uuid,
    /// Nothing yet where somebody has to decide.
    pub answer: Option<String>,
    /// By it this prompt of ours is not sent.
    pub stopped: Option<(Uuid, Stopped)>,
}

/// A line of [`crate::driver::said`].
#[derive(Deserialize)]
struct Line<'a> {
    id: Option<Uuid>,
    #[serde(borrow)]
    hook: Option<&'a RawValue>,
    report: Option<String>,
    /// Where that ends, where it counts once.
    at: Option<u64>,
    #[serde(borrow)]
    registry: Option<&'a RawValue>,
    #[serde(default)]
    input_box: bool,
}

impl Ear {
    /// For an agent just started.
    pub fn new(driver: Driver) -> Self {
        match driver {
            Driver::Stream | Driver::Oneshot => Self::Stream(Box::new(Tracker::new())),
            Driver::Tui => Self::Tui(Box::default()),
            Driver::Marks => Self::Marks(Box::default()),
            Driver::Codex => Self::Codex(Box::default()),
        }
    }

    /// For one of which an earlier broker knew this much.
    pub fn taken_up(driver: Driver, known: Known) -> Self {
        match driver {
            Driver::Stream | Driver::Oneshot => {
                Self::Stream(Box::new(Tracker::from(known.tracker)))
            }
            Driver::Tui => Self::Tui(Box::new(tui::Tracker::from(known.interface))),
            Driver::Marks => Self::Marks(Box::new(tracker::Tracker::taken_up(known.marks))),
            Driver::Codex => Self::Codex(Box::new(codex::Tracker::taken_up(known.codex))),
        }
    }

    /// Accounts for a line; what is to be told to the hook that it tells of.
    pub fn line(&mut self, line: &[u8], out: &mut Vec<Happening>) -> Result<Option<Told>, BadLine> {
        match self {
            Self::Stream(tracker) => tracker.line(parse(line)?, out),
            Self::Tui(tracker) => return said(tracker, line, out),
            Self::Codex(tracker) => return said_by_codex(tracker, line, out),
            Self::Marks(tracker) => match line.split_first() {
                Some((&MARK, inside)) => tracker.piece(Piece::Mark(inside), out),
                Some((_, bytes)) => tracker.piece(Piece::Other(bytes), out),
                None => return Err(BadLine::Empty),
            },
        }
        Ok(None)
    }

    /// Accounts for what passes on the wire. A stream says the same by itself.
    pub fn wire(&mut self, fact: &Fact, out: &mut Vec<Happening>) {
        if let Self::Tui(tracker) = self {
            tracker.wire(fact, out);
        }
    }

    /// A prompt is given to the agent.
    pub fn begin(&mut self, wire: Uuid) {
        match self {
            // A few turns at a time: there is always room for it.
            Self::Stream(tracker) => drop(tracker.begin(wire)),
            // Known by its text, before it is typed.
            Self::Tui(_) | Self::Codex(_) => {}
            Self::Marks(tracker) => tracker.begin(wire),
        }
    }

    /// A prompt is about to be typed, where it is. `other_stop_hooks`: as the tracker's.
    pub fn types(&mut self, wire: Uuid, prompt: &str, other_stop_hooks: bool) {
        match self {
            Self::Tui(tracker) => {
                tracker.has_other_stop_hooks(other_stop_hooks);
                let prompt = representable(prompt).unwrap_or(prompt);
                let _ = tracker.begin(wire, prompt);
            }
            Self::Codex(tracker) => tracker.begin(wire, carried(prompt).unwrap_or(prompt)),
            _ => {}
        }
    }

    /// Whether the last prompt may come twice.
    pub fn is_retyped(&mut self, retyped: bool) {
        if let Self::Tui(tracker) = self {
            tracker.is_retyped(retyped);
        }
    }

    /// Whether hooks are on their way that were begun before what comes now.
    pub fn more_comes(&mut self, more: bool) {
        if let Self::Tui(tracker) = self {
            tracker.more_comes(more);
        }
    }

    /// Whether nobody else has typed since then.
    pub fn is_alone(&mut self, alone: bool) {
        match self {
            Self::Tui(tracker) => tracker.is_alone(alone),
            Self::Codex(tracker) => tracker.is_alone(alone),
            _ => {}
        }
    }

    /// A turn runs whose beginning is not heard again.
    pub fn goes_on(&mut self, wire: Uuid, line: Option<Uuid>) {
        match self {
            Self::Stream(_) => {}
            Self::Tui(tracker) => tracker.take_up(wire, line.map(|line| line.to_string())),
            Self::Marks(tracker) => tracker.goes_on(wire),
            Self::Codex(tracker) => tracker.goes_on(wire),
        }
    }

    /// Whether that was not heard to be taken.
    pub fn is_typed(&self, wire: Uuid) -> bool {
        match self {
            Self::Tui(tracker) => tracker.typed() == Some(wire),
            Self::Codex(tracker) => tracker.typed() == Some(wire),
            _ => false,
        }
    }

    /// It is not.
    pub fn does_not_type(&mut self, wire: Uuid) {
        match self {
            Self::Stream(_) => {}
            Self::Tui(tracker) => tracker.withdraw(wire),
            Self::Marks(tracker) => tracker.withdraw(wire),
            Self::Codex(tracker) => tracker.withdraw(wire),
        }
    }

    /// The running turn is told to end.
    pub fn interrupted(&mut self) {
        match self {
            Self::Stream(_) => {}
            Self::Tui(tracker) => tracker.interrupted(),
            Self::Marks(tracker) => tracker.interrupted(),
            Self::Codex(tracker) => tracker.interrupted(),
        }
    }

    /// Of a program: how many prompts it has shown, and whether it waits at one.
    pub fn prompts(&self) -> Option<(u64, bool)> {
        match self {
            Self::Marks(tracker) => Some(tracker.prompts()),
            _ => None,
        }
    }

    /// As that of [`tracker::Tracker`].
    pub fn is_untouched(&self) -> bool {
        matches!(self, Self::Marks(tracker) if tracker.is_untouched())
    }

    /// As that of [`tracker::Tracker`].
    pub fn is_unsure(&mut self) -> bool {
        match self {
            Self::Marks(tracker) => tracker.is_unsure(),
            Self::Codex(tracker) => {
                tracker.is_unsure();
                true
            }
            _ => false,
        }
    }

    /// As that of [`codex::Tracker`].
    pub fn types_again(&mut self) -> bool {
        match self {
            Self::Codex(tracker) => tracker.types_again(),
            _ => false,
        }
    }

    /// The prompt that was not run after all, once.
    pub fn not_run(&mut self) -> Option<Uuid> {
        match self {
            Self::Marks(tracker) => tracker.not_run(),
            _ => None,
        }
    }

    /// Prompts that are with the agent.
    pub fn open(&self) -> usize {
        match self {
            Self::Stream(tracker) => tracker.open().count(),
            Self::Tui(tracker) => tracker.open().count(),
            Self::Marks(tracker) => tracker.open(),
            Self::Codex(tracker) => tracker.open(),
        }
    }

    /// What a later broker has to know, when nothing is open.
    pub fn facts(&self) -> Option<Known> {
        let mut known = Known::default();
        match self {
            Self::Stream(tracker) => known.tracker = tracker.facts()?,
            Self::Tui(tracker) => known.interface = tracker.facts()?,
            Self::Marks(tracker) => known.marks = tracker.facts()?,
            Self::Codex(tracker) => known.codex = tracker.facts()?,
        }
        Some(known)
    }

    /// As that of [`tui::Tracker`].
    pub fn runs_no_hooks(&self) -> bool {
        matches!(self, Self::Tui(tracker) if tracker.runs_no_hooks())
    }

    /// As that of [`codex::Tracker`].
    pub fn failed_in(&self) -> Option<&Path> {
        match self {
            Self::Codex(tracker) => tracker.failed_in(),
            _ => None,
        }
    }

    /// As that of both.
    pub fn gone_with_results(&mut self, out: &mut Vec<Happening>) {
        match self {
            Self::Stream(tracker) => tracker.gone_with_results(out),
            Self::Tui(tracker) => tracker.gone_with_results(out),
            Self::Codex(tracker) => tracker.looks_up(transcript::error, true, out),
            // What has not ended by then never does.
            Self::Marks(_) => {}
        }
    }

    /// Whether something is on its way that takes milliseconds.
    pub fn is_due(&self) -> bool {
        match self {
            Self::Tui(tracker) => tracker.is_due(),
            Self::Codex(tracker) => tracker.is_due(),
            _ => false,
        }
    }

    /// It did not come.
    pub fn overdue(&mut self, out: &mut Vec<Happening>) {
        match self {
            Self::Tui(tracker) => tracker.overdue(out),
            Self::Codex(tracker) => tracker.looks_up(transcript::error, true, out),
            Self::Stream(_) | Self::Marks(_) => {}
        }
    }
}

fn said(
    tracker: &mut tui::Tracker,
    line: &[u8],
    out: &mut Vec<Happening>,
) -> Result<Option<Told>, BadLine> {
    let line = read(line)?;
    if let Some(tui::Report::Status(status)) = line
        .report
        .and_then(|report| tui::status::report(report.as_bytes()))
    {
        tracker.status(&status, out);
    }
    if let Some(entry) = line.registry.and_then(|it| registered(it.get().as_bytes())) {
        tracker.registry(&entry, out);
    }
    if line.input_box {
        tracker.shows_input_box(out);
    }
    let (Some(id), Some(hook)) = (line.id, line.hook) else {
        return Ok(None);
    };
    let call = tui::hooks::parse(hook.get().as_bytes())?;
    let reply = tracker.hook(&id.to_string(), call, out);
    let stopped = match reply {
        tui::Reply::Prompt(tui::Verdict::Altered(wire)) => Some((wire, Stopped::Altered)),
        tui::Reply::Prompt(tui::Verdict::Early(wire)) => Some((wire, Stopped::Early)),
        _ => None,
    };
    Ok(Some(Told {
        hook: id,
        answer: reply.answer(),
        stopped,
    }))
}

fn said_by_codex(
    tracker: &mut codex::Tracker,
    line: &[u8],
    out: &mut Vec<Happening>,
) -> Result<Option<Told>, BadLine> {
    let line = read(line)?;
    match (line.report.as_deref(), line.at) {
        (Some(READS), _) => tracker.reads(out),
        (Some(WRITES), _) => tracker.looks_up(transcript::error, false, out),
        (Some(report), Some(at)) => {
            if let Some(state) = State::read(report.as_bytes()) {
                tracker.report((state, at), transcript::error, out);
            }
        }
        _ => {}
    }
    let (Some(id), Some(hook)) = (line.id, line.hook) else {
        return Ok(None);
    };
    let call = hooks::parse(hook.get().as_bytes());
    let call = call.map_err(|error| BadLine::Json(error.to_string()))?;
    let reply = tracker.hook(call, out);
    Ok(Some(Told {
        hook: id,
        answer: Some(reply.answer),
        stopped: reply.stopped,
    }))
}

fn read(line: &[u8]) -> Result<Line<'_>, BadLine> {
    if line.trim_ascii().is_empty() {
        return Err(BadLine::Empty);
    }
    serde_json::from_slice(line).map_err(|error| BadLine::Json(error.to_string()))
}
