//! The turns of one session on disk: `turns.jsonl`, a line for each step.
//!
//! A turn is written before anything is done about it. In memory there is only
//! an index; prompts and answers are read from the file when somebody asks.
//!
//! What is promised:
//!
//! - A line that was written is safe from the broker's death at once, and from the machine's
//!   when a later sync of [`Journal::file`] has succeeded. After one that failed, no other one of
//!   this file does, and all lines are written to a new one before another prompt is taken: the
//!   kernel tells a failure once, and may have dropped what it could not write (`rewrite`).
//! - A turn that was taken in can be ended on a full disk, as long as its end has no answer: the room
//!   for that is set aside before (`make_room`), where the filesystem can. So what was refused or
//!   taken back does not run with the next broker.
//! - What stands in the file is never overwritten. A line that is torn or damaged is skipped and
//!   counted; a torn one at the end is closed by the next line that is written, so that opening a
//!   journal changes nothing. Damaged lines go when the turns beside them are forgotten.
//! - A file that somebody else writes, shortens, removes or replaces takes no line more
//!   (`unchanged`).
//! - The order is that of the lines; times in them are only shown. A clock may be set back.
//! - A turn that was with the agent and has ended stays so, whatever stands behind its end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clsess_proto::{ErrorCode, Failure, LogEntry, Outcome, TurnId, TurnReport};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use uuid::Uuid;

use crate::disk::{Synced, private_file};

mod record;
mod rewrite;

pub use record::{Record, Terms, Totals};

/// The file's name in the session's directory.
pub const FILE: &str = "turns.jsonl";

/// Turns that are kept when the session does not say.
pub const DEFAULT_HISTORY: u32 = 1000;

/// Turns that have ended meanwhile when old ones are forgotten, at least: the file is rewritten
/// seldom, also when that fails.
const TRIM_EVERY: usize = 64;

/// Bytes that are set aside behind the last line for the end of each open turn: of one without an
/// answer. Measured: 504 at most, where a full disk is why.
const END_ROOM: u64 = 1024;

/// Bytes by which the room behind the last line grows.
const ROOM_STEP: u64 = 16 * 1024;

/// Answered turns that are read from the end to find one of a certain conversation: those after it
/// were put into others, or are of another one.
const MAX_LOOKS: usize = 16;

/// Ends of turns that nobody asked for which are kept while the disk takes none; of more than
/// these only the event tells. Those of asked turns are bounded by the queue, since no prompt
/// is taken meanwhile.
const MAX_UNWRITTEN: usize = 1000;

/// Where a line is in the file.
#[derive(Clone, Copy, Debug)]
struct Line {
    offset: u64,
    length: u32,
}

/// A turn as the index knows it.
#[derive(Clone, Debug)]
struct Entry {
    turn: TurnId,
    outcome: Outcome,
    queued: Option<Line>,
    /// When the agent was given it, if it may have had it.
    started: Option<u64>,
    ended: Option<Line>,
    /// Whether its end is in the totals: also one that the disk has not taken yet.
    counted: bool,
    /// Whether nobody asked for it.
    unasked: bool,
    /// Whether a tool was called in it.
    called: bool,
    /// By which the agent's transcript knows it.
    line: Option<Uuid>,
}

/// The open journal of a session.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Arc<Synced>,
    /// Bytes in the file; the next line goes there.
    length: u64,
    /// What goes before it: the end of a torn line.
    between: &'static [u8],
    /// Up to here the disk has room for more, as far as this process knows.
    room: u64,
    /// Oldest first.
    entries: Vec<Entry>,
    /// Where each turn is in `entries`.
    places: HashMap<TurnId, usize>,
    /// How many of them have not ended.
    open: u64,
    totals: Totals,
    /// Ends that the disk has not taken yet, oldest first: one for each turn at most.
    /// They are written before anything else.
    unwritten: Vec<Record>,
    /// Turns that are kept.
    history: usize,
    /// So many have ended when old ones are forgotten next.
    trim_at: usize,
    /// Lines that could not be read.
    damaged: Vec<Line>,
}

/// A turn that was still open when its broker ended.
#[derive(Clone, Debug)]
pub struct OpenTurn {
    /// Its id.
    pub turn: TurnId,
    /// When the agent was given it, in milliseconds of Unix time; absent: it was not.
    pub started: Option<u64>,
}

impl Journal {
    /// Opens the journal in the session's directory, made when it is missing. Nothing in it is
    /// changed.
    ///
    /// # Errors
    /// Of the disk.
    pub fn open(dir: &Path, history: Option<u32>) -> io::Result<Self> {
        let path = dir.join(FILE);
        let file = private_file(&path, |options| options)?;
        Self::load(path, file, history.unwrap_or(DEFAULT_HISTORY) as usize)
    }

    /// Opens one that is only read: of a session that was killed, wherever it may be.
    ///
    /// # Errors
    /// Of the disk.
    pub fn read_only(dir: &Path) -> io::Result<Self> {
        let path = dir.join(FILE);
        let mut options = File::options();
        let file = options
            .read(true)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)?;
        Self::load(path, file, DEFAULT_HISTORY as usize)
    }

    /// Reads the file from its beginning into an index.
    fn load(path: PathBuf, file: File, history: usize) -> io::Result<Self> {
        let mut journal = Self {
            path,
            file: Arc::new(Synced::new(file)),
            length: 0,
            between: b"",
            room: 0,
            entries: Vec::new(),
            places: HashMap::new(),
            open: 0,
            totals: Totals::default(),
            unwritten: Vec::new(),
            history: history.max(1),
            trim_at: history.saturating_mul(2).max(TRIM_EVERY),
            damaged: Vec::new(),
        };
        let file = Arc::clone(&journal.file);
        let mut reader = BufReader::with_capacity(64 * 1024, &**file);
        reader.rewind()?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if length == 0 {
                return Ok(journal);
            }
            let place = Line {
                offset: journal.length,
                length: u32::try_from(length).unwrap_or(u32::MAX),
            };
            journal.length += length as u64;
            // What is torn becomes a line of its own; if it lacks nothing but its end, a whole one.
            journal.between = if line.ends_with(b"\n") { b"" } else { b"\n" };
            match serde_json::from_slice(&line) {
                Ok(record) => journal.index(&record, place),
                Err(_) => journal.damaged.push(place),
            }
        }
    }

    /// Takes a line into the index.
    fn index(&mut self, record: &Record, place: Line) {
        let turn = record.turn();
        let before = self.open_at(turn);
        self.take(record, place);
        self.open = self.open + self.open_at(turn) - before;
    }

    /// 1 if the turn has not ended.
    fn open_at(&self, turn: Option<TurnId>) -> u64 {
        let outcome = turn.and_then(|turn| self.outcome(turn));
        outcome.is_some_and(Outcome::open).into()
    }

    fn take(&mut self, record: &Record, place: Line) {
        match record {
            Record::Queued { turn, .. } => {
                let entry = self.entry(*turn);
                let ended = !entry.outcome.open() && entry.counted;
                if ended && !entry.may_run_again() {
                    entry.queued.get_or_insert(place);
                    return;
                }
                entry.outcome = Outcome::Queued;
                entry.queued = Some(place);
                if ended {
                    self.uncount(*turn);
                    let entry = self.entry(*turn);
                    (entry.ended, entry.counted) = (None, false);
                }
            }
            Record::Started { turn, at } | Record::Accepted { turn, at, .. } => {
                let entry = self.entry(*turn);
                if let Record::Accepted { called, line, .. } = record {
                    entry.called |= called;
                    entry.line = line.or(entry.line);
                } else {
                    entry.line = None;
                }
                if entry.started.is_none() || matches!(record, Record::Started { .. }) {
                    entry.started = Some(*at);
                }
                if !entry.counted {
                    entry.outcome = Outcome::Running;
                }
            }
            Record::Ended { report, .. } => {
                // Of several the last one counts, as it is the one that is shown. One that was
                // counted before the disk had it has no line yet.
                if self.entry(report.turn).ended.is_some() {
                    self.uncount(report.turn);
                }
                self.count(report);
                self.entry(report.turn).ended = Some(place);
            }
            Record::Totals {
                turns,
                usage,
                cost_usd,
            } => {
                self.totals.turns += turns;
                self.totals.add(Some(*usage), Some(*cost_usd));
            }
        }
    }

    /// Takes the end of a turn into the index, all but its place.
    fn count(&mut self, report: &TurnReport) {
        let entry = self.entry(report.turn);
        entry.outcome = report.outcome;
        entry.unasked = report.origin.is_some();
        if !std::mem::replace(&mut entry.counted, true) {
            self.totals.turns += 1;
            self.totals.add(report.usage, report.cost_usd);
        }
    }

    /// Takes the end of a turn out of the totals.
    fn uncount(&mut self, turn: TurnId) {
        let old = self.find(turn).and_then(|entry| self.ended(entry));
        if let Some((_, report)) = old {
            self.totals = self.totals.without(&report);
            self.entry(turn).counted = false;
        }
    }

    fn entry(&mut self, turn: TurnId) -> &mut Entry {
        let next = self.entries.len();
        let place = *self.places.entry(turn).or_insert(next);
        if place == next {
            self.entries.push(Entry {
                turn,
                outcome: Outcome::Unknown,
                queued: None,
                started: None,
                ended: None,
                counted: false,
                unasked: false,
                called: false,
                line: None,
            });
        }
        &mut self.entries[place]
    }

    /// Writes a line, behind the ends that the disk has not taken yet.
    ///
    /// # Errors
    /// Of the disk; the line is then not in the journal.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        self.catch_up()?;
        self.append(record)
    }

    /// Writes the end of a turn. What the disk does not take is kept and written
    /// before the next line; the turn has ended either way.
    ///
    /// # Errors
    /// Of the disk, when it is only kept.
    pub fn write_end(&mut self, record: Record) -> io::Result<()> {
        // It needs no other turn's end before it, and may fit where that one does not.
        let caught_up = self.catch_up();
        let written = self.append(&record);
        if written.is_err()
            && let Record::Ended { report, .. } = &record
        {
            let unasked = |record: &&Record| match record {
                Record::Ended { report, .. } => report.origin.is_some(),
                _ => false,
            };
            if report.origin.is_some()
                && self.unwritten.iter().filter(unasked).count() >= MAX_UNWRITTEN
            {
                return written;
            }
            let before = self.open_at(Some(report.turn));
            self.count(report);
            self.open -= before;
            self.unwritten.push(record);
        }
        written.and(caught_up)
    }

    /// Ends of turns that the disk has not taken yet.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.unwritten.len()
    }

    /// Writes the ends that the disk has not taken yet, and what a failed sync may have lost.
    ///
    /// # Errors
    /// Of the disk; those that it has not taken are kept.
    pub fn catch_up(&mut self) -> io::Result<()> {
        if self.file.failed() {
            self.rewrite(0)?;
        }
        while let Some(first) = self.unwritten.first().cloned() {
            self.append(&first)?;
            self.unwritten.remove(0);
        }
        Ok(())
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        self.unchanged()?;
        let mut line = self.between.to_vec();
        let begins = line.len();
        serde_json::to_writer(&mut line, record)?;
        line.push(b'\n');
        // An end that fits into what was set aside for it asks for nothing. For one that nobody
        // asked for nothing was.
        let (length, open) = (line.len() as u64, self.open);
        match record {
            Record::Ended { report, .. } if length <= END_ROOM && report.origin.is_none() => {}
            Record::Queued { .. } => self.make_room(length, open + 1)?,
            _ => self.make_room(length, open)?,
        }
        if let Err(error) = self.file.write_all_at(&line, self.length) {
            self.take_back();
            return Err(error);
        }
        let place = Line {
            offset: self.length + begins as u64,
            length: u32::try_from(line.len() - begins).unwrap_or(u32::MAX),
        };
        self.length += line.len() as u64;
        self.between = b"";
        self.index(record, place);
        Ok(())
    }

    /// Sees to it that there is room for a line and, behind it, for the ends of open turns: on a
    /// disk that is nearly full a line is refused before it is begun.
    fn make_room(&mut self, line: u64, open: u64) -> io::Result<()> {
        let end = self.length + line + open * END_ROOM;
        if end <= self.room {
            return Ok(());
        }
        let grown = end.next_multiple_of(ROOM_STEP);
        match set_aside(&self.file, self.length, grown) {
            Err(errno @ (Errno::ENOSPC | Errno::EDQUOT)) => Err(errno.into()),
            Err(Errno::EINTR) => Ok(()),
            // One that cannot do it is not asked each time.
            Err(_) => {
                self.room = u64::MAX;
                Ok(())
            }
            Ok(()) => {
                self.room = grown;
                Ok(())
            }
        }
    }

    /// Whether the file is as this process has left it.
    fn unchanged(&self) -> io::Result<()> {
        let meta = self.file.metadata()?;
        let why = match meta.len() {
            _ if meta.nlink() == 0 => "was removed or replaced",
            length if length < self.length => "was shortened",
            length if length > self.length => "is written",
            _ => return Ok(()),
        };
        let message = format!("{} {why} by something else", self.path.display());
        Err(io::Error::other(message))
    }

    /// Takes back what there is of a line that could not be written whole.
    fn take_back(&mut self) {
        // What was set aside goes with it.
        self.room = 0;
        // Where even that fails it stays, as a damaged line: its turn has been refused, so it must
        // not count if it lacks nothing but its end.
        if self.file.set_len(self.length).is_err()
            && let Ok(meta) = self.file.metadata()
            && meta.len() > self.length
        {
            self.damaged.push(Line {
                offset: self.length,
                length: u32::try_from(meta.len() - self.length).unwrap_or(u32::MAX),
            });
            self.length = meta.len();
            self.between = b"#\n";
        }
    }

    /// The file, to be synced.
    #[must_use]
    pub fn file(&self) -> Arc<Synced> {
        Arc::clone(&self.file)
    }

    /// Lines that could not be read.
    #[must_use]
    pub fn damaged(&self) -> usize {
        self.damaged.len()
    }

    /// Whether there is nothing in it that anybody asked for, or could have.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.damaged.is_empty() && self.entries.iter().all(|entry| entry.unasked)
    }

    /// What all turns come to.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// How a turn stands, if it is known.
    #[must_use]
    pub fn outcome(&self, turn: TurnId) -> Option<Outcome> {
        self.find(turn).map(|entry| entry.outcome)
    }

    /// The turn that `selector` means: an id, a unique beginning of one of at
    /// least four characters, or `-1` for the last that was asked for, `-2` and so on.
    ///
    /// # Errors
    /// [`ErrorCode::NoSuchTurn`]: which turn is meant is not clear, or there is none.
    pub fn select(&self, selector: &str) -> Result<TurnId, Failure> {
        self.selected(selector)
            .map_err(|message| Failure::new(ErrorCode::NoSuchTurn, message))
    }

    fn selected(&self, selector: &str) -> Result<TurnId, String> {
        if let Some(back) = selector.strip_prefix('-') {
            let back: usize = back
                .parse()
                .map_err(|_| format!("{selector} is not a turn"))?;
            let mut asked = self.entries.iter().filter(|entry| !entry.unasked);
            let count = asked.clone().count();
            let turn = back.checked_sub(1).and_then(|n| asked.nth_back(n));
            return turn
                .map(|entry| entry.turn)
                .ok_or_else(|| format!("there is no turn {selector}, only {count}"));
        }
        if let Ok(turn) = selector.parse::<TurnId>() {
            return self
                .find(turn)
                .map(|entry| entry.turn)
                .ok_or_else(|| format!("there is no turn {selector}"));
        }
        if selector.len() < 4 {
            return Err(format!(
                "{selector} is not a turn: give its id, four characters or more of it, or -1, -2 ..."
            ));
        }
        let mut found = self
            .entries
            .iter()
            .filter(|entry| entry.turn.to_string().starts_with(selector));
        match (found.next(), found.next()) {
            (Some(entry), None) => Ok(entry.turn),
            (None, _) => Err(format!("there is no turn {selector}")),
            (Some(_), Some(_)) => Err(format!("several turns begin with {selector}")),
        }
    }

    /// The prompt of a turn.
    #[must_use]
    pub fn prompt(&self, turn: TurnId) -> Option<String> {
        match self.queued(turn)? {
            Record::Queued { prompt, .. } => Some(prompt),
            _ => None,
        }
    }

    /// The line that queued a turn: of this one, whatever has become of the file.
    #[must_use]
    pub fn queued(&self, turn: TurnId) -> Option<Record> {
        let record = self.read(self.find(turn)?.queued?)?;
        matches!(&record, Record::Queued { turn: of, .. } if *of == turn).then_some(record)
    }

    /// How a turn ended.
    #[must_use]
    pub fn report(&self, turn: TurnId) -> Option<TurnReport> {
        self.ended(self.find(turn)?).map(|(_, report)| report)
    }

    /// The turns behind `after`, or the last `last` of them, oldest first: as many as fit
    /// into `bytes` of the file, but one at least; and whether there are more.
    #[must_use]
    pub fn log(
        &self,
        after: Option<TurnId>,
        last: Option<u64>,
        bytes: u64,
    ) -> (Vec<LogEntry>, bool) {
        let from = match after {
            // One that is forgotten by now was before all that is kept.
            Some(turn) => self.places.get(&turn).map_or(0, |at| at + 1),
            None => last.map_or(0, |last| {
                let last = usize::try_from(last).unwrap_or(usize::MAX);
                self.entries.len().saturating_sub(last)
            }),
        };
        let mut read = 0;
        let mut turns = Vec::new();
        for entry in &self.entries[from.min(self.entries.len())..] {
            let lines = [entry.queued, entry.ended].into_iter().flatten();
            read += lines.map(|line| u64::from(line.length)).sum::<u64>();
            if read > bytes && !turns.is_empty() {
                return (turns, true);
            }
            turns.push(self.log_entry(entry));
        }
        (turns, false)
    }

    /// A turn as the log shows it.
    #[must_use]
    pub fn logged(&self, turn: TurnId) -> Option<LogEntry> {
        self.find(turn).map(|entry| self.log_entry(entry))
    }

    fn log_entry(&self, entry: &Entry) -> LogEntry {
        let (mut at, mut prompt) = (0, None);
        if let Some(Record::Queued {
            at: sent,
            prompt: text,
            ..
        }) = self.queued(entry.turn)
        {
            (at, prompt) = (sent, Some(text));
        }
        let ended = self.ended(entry);
        let began = ended
            .as_ref()
            .map(|(at, report)| at - report.duration_ms.unwrap_or(0).min(*at));
        let report = ended.map(|(_, report)| report);
        let report = report.as_ref();
        LogEntry {
            turn: entry.turn,
            at: if at > 0 { at } else { began.unwrap_or(0) },
            prompt,
            answer: report.and_then(|report| report.answer.clone()),
            outcome: entry.outcome,
            error: report.and_then(|report| report.error.clone()),
            cost_usd: report.and_then(|report| report.cost_usd),
            duration_ms: report.and_then(|report| report.duration_ms),
            steered_into: report.and_then(|report| report.steered_into),
            origin: report.and_then(|report| report.origin.clone()),
        }
    }

    /// When and how a turn ended.
    fn ended(&self, entry: &Entry) -> Option<(u64, TurnReport)> {
        let unwritten = self.unwritten.iter().find_map(|record| match record {
            Record::Ended { report, .. } if report.turn == entry.turn => Some(record.clone()),
            _ => None,
        });
        match unwritten.or_else(|| self.read(entry.ended?)) {
            Some(Record::Ended { at, report }) if report.turn == entry.turn => Some((at, *report)),
            _ => None,
        }
    }

    /// The line of the last asked turn that has ended with an answer of its own in a conversation
    /// of the agent.
    #[must_use]
    pub fn last_answered(&self, conversation: Uuid) -> Option<Uuid> {
        let answered = |entry: &&Entry| entry.outcome == Outcome::Completed && !entry.unasked;
        let mut last = self.entries.iter().rev().filter(answered).take(MAX_LOOKS);
        last.find_map(|entry| {
            let (_, report) = self.ended(entry)?;
            let of_it = report.agent_session_id == Some(conversation);
            // The agent writes nothing down of an answer that is empty.
            let says = report
                .answer
                .as_ref()
                .is_some_and(|answer| !answer.is_empty());
            match self.queued(entry.turn)? {
                Record::Queued { terms, .. } if of_it && says && report.steered_into.is_none() => {
                    Some(entry.line.unwrap_or_else(|| terms.wire(entry.turn)))
                }
                _ => None,
            }
        })
    }

    /// Whether the agent may have had the prompt of a turn.
    #[must_use]
    pub fn started(&self, turn: TurnId) -> bool {
        self.find(turn).is_some_and(|entry| entry.started.is_some())
    }

    /// By which the agent's transcript knows a turn, where that is not the uuid of its line.
    #[must_use]
    pub fn line(&self, turn: TurnId) -> Option<Uuid> {
        self.find(turn)?.line
    }

    /// Whether a tool was called in a turn.
    #[must_use]
    pub fn called(&self, turn: TurnId) -> bool {
        self.find(turn).is_some_and(|entry| entry.called)
    }

    /// The turns that were taken back at this moment or later while they waited, for the first
    /// agent or, after its death, for another one; oldest first.
    #[must_use]
    pub fn taken_back_since(&self, at_ms: u64) -> Vec<TurnId> {
        let such = |entry: &&Entry| {
            let outcome = match entry.started {
                None => Outcome::Cancelled,
                Some(_) => Outcome::Interrupted,
            };
            let since = |(at, report): (u64, TurnReport)| {
                at >= at_ms && (entry.started.is_none() || report.agent_deaths > 0)
            };
            entry.outcome == outcome && self.ended(entry).is_some_and(since)
        };
        self.entries.iter().filter(such).map(|it| it.turn).collect()
    }

    /// The turn that was with the agent at this moment and was interrupted since.
    #[must_use]
    pub fn interrupted_since(&self, at_ms: u64) -> Option<TurnId> {
        let such = |entry: &&Entry| {
            let ran = entry.started.is_some_and(|at| at <= at_ms);
            let interrupted = ran && entry.outcome == Outcome::Interrupted && !entry.unasked;
            interrupted && self.ended(entry).is_some_and(|(at, _)| at >= at_ms)
        };
        self.entries.iter().rev().find(such).map(|it| it.turn)
    }

    /// The turns that have not ended: those that wait as they came, and then those that the agent was
    /// given as it was given them. One that came later may have been put into one that began earlier.
    #[must_use]
    pub fn open_turns(&self) -> Vec<OpenTurn> {
        let open = self.entries.iter().filter(|entry| entry.outcome.open());
        let open = open.map(|entry| OpenTurn {
            turn: entry.turn,
            started: entry.started.filter(|_| entry.outcome == Outcome::Running),
        });
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|open| open.started);
        open
    }

    fn find(&self, turn: TurnId) -> Option<&Entry> {
        self.entries.get(*self.places.get(&turn)?)
    }

    fn read(&self, line: Line) -> Option<Record> {
        serde_json::from_slice(&self.bytes(line).ok()?).ok()
    }

    fn bytes(&self, line: Line) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; line.length as usize];
        self.file.read_exact_at(&mut bytes, line.offset)?;
        Ok(bytes)
    }
}

/// Gives a file blocks without making it longer.
fn set_aside(file: &File, from: u64, to: u64) -> Result<(), Errno> {
    let [from, to] = [from, to].map(|at| i64::try_from(at).map_err(|_| Errno::EFBIG));
    let (from, to) = (from?, to?);
    fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, to - from)
}

impl Entry {
    /// Whether its id is as good as new: it has ended, and never reached the agent, for a reason
    /// that may be gone.
    fn may_run_again(&self) -> bool {
        matches!(self.outcome, Outcome::Failed | Outcome::Cancelled) && self.started.is_none()
    }
}

#[cfg(test)]
mod tests;
