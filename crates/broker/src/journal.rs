//! The turns of one session on disk: `turns.jsonl`, a line for each step.
//!
//! A turn is written before anything is done about it. In memory there is only
//! an index; prompts and answers are read from the file when somebody asks. A
//! line that is torn or damaged is skipped and counted, never overwritten.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clsess_proto::{ErrorCode, Failure, LogEntry, Outcome, TurnId, TurnReport};

use crate::disk::private_file;
use crate::session::now_ms;

mod record;

pub use record::{Record, Terms, Totals};

/// The file's name in the session's directory.
pub const FILE: &str = "turns.jsonl";

/// Turns that are kept when the session does not say.
pub const DEFAULT_HISTORY: u32 = 1000;

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
    /// Whether the agent may have had it.
    started: bool,
    ended: Option<Line>,
    /// Whether it is in the totals.
    counted: bool,
    /// Whether nobody asked for it.
    unasked: bool,
}

/// The open journal of a session.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Arc<File>,
    /// Bytes in the file; the next line goes there.
    length: u64,
    /// Oldest first.
    entries: Vec<Entry>,
    /// Where each turn is in `entries`.
    places: HashMap<TurnId, usize>,
    totals: Totals,
    /// Ends that the disk has not taken yet, oldest first: one for each turn at most.
    /// They are written before anything else.
    unwritten: Vec<Record>,
    /// Turns that are kept.
    history: usize,
    /// Lines that could not be read.
    pub damaged: u64,
}

/// A turn that was still open when its broker ended.
#[derive(Clone, Debug)]
pub struct OpenTurn {
    /// Its id.
    pub turn: TurnId,
    /// Whether the agent may have had it.
    pub started: bool,
}

impl Journal {
    /// Opens the journal in the session's directory, made when it is missing.
    ///
    /// # Errors
    /// Of the disk.
    pub fn open(dir: &Path, history: Option<u32>) -> io::Result<Self> {
        Self::open_file(dir.join(FILE), history)
    }

    fn open_file(path: PathBuf, history: Option<u32>) -> io::Result<Self> {
        let file = private_file(&path, |options| options)?;
        let mut journal = Self {
            path,
            file: Arc::new(file),
            length: 0,
            entries: Vec::new(),
            places: HashMap::new(),
            totals: Totals::default(),
            unwritten: Vec::new(),
            history: history.unwrap_or(DEFAULT_HISTORY).max(1) as usize,
            damaged: 0,
        };
        journal.load()?;
        Ok(journal)
    }

    /// Reads the file from its beginning into the index.
    fn load(&mut self) -> io::Result<()> {
        let mut reader = BufReader::new(File::open(&self.path)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if length == 0 {
                break;
            }
            let place = Line {
                offset: self.length,
                length: u32::try_from(length).unwrap_or(u32::MAX),
            };
            self.length += length as u64;
            match serde_json::from_slice(&line) {
                Ok(record) if line.ends_with(b"\n") => self.index(&record, place),
                _ => self.damaged += 1,
            }
        }
        if self.length > 0 && !line_ends(&self.file, self.length)? {
            // A torn line stays as it is; what comes now begins a new one.
            self.file.write_all_at(b"\n", self.length)?;
            self.length += 1;
        }
        Ok(())
    }

    /// Takes a line into the index.
    fn index(&mut self, record: &Record, place: Line) {
        match record {
            Record::Queued { turn, .. } => {
                let entry = self.entry(*turn);
                entry.outcome = Outcome::Queued;
                entry.queued = Some(place);
                // It may be queued again after it ended without having run.
                entry.ended = None;
            }
            Record::Started { turn, .. } | Record::Accepted { turn, .. } => {
                let entry = self.entry(*turn);
                entry.started = true;
                if entry.ended.is_none() {
                    entry.outcome = Outcome::Running;
                }
            }
            Record::Ended { report, .. } => {
                let entry = self.entry(report.turn);
                entry.outcome = report.outcome;
                entry.ended = Some(place);
                entry.unasked = report.origin.is_some();
                if !std::mem::replace(&mut entry.counted, true) {
                    self.totals.turns += 1;
                    self.totals.add(report.usage, report.cost_usd);
                }
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

    fn entry(&mut self, turn: TurnId) -> &mut Entry {
        let next = self.entries.len();
        let place = *self.places.entry(turn).or_insert(next);
        if place == next {
            self.entries.push(Entry {
                turn,
                outcome: Outcome::Unknown,
                queued: None,
                started: false,
                ended: None,
                counted: false,
                unasked: false,
            });
        }
        &mut self.entries[place]
    }

    /// Writes a line. It is safe against the broker's death at once, and against
    /// the machine's when [`Journal::file`] is synced.
    ///
    /// # Errors
    /// Of the disk; what was written of the line is taken back, so that the
    /// journal is as it was.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        while let Some(first) = self.unwritten.first().cloned() {
            self.append(&first)?;
            self.unwritten.remove(0);
        }
        self.append(record)
    }

    /// Writes the end of a turn. What the disk does not take is kept and written
    /// before the next line; the turn has ended either way.
    ///
    /// # Errors
    /// Of the disk, when it is only kept.
    pub fn write_end(&mut self, record: Record) -> io::Result<()> {
        let written = self.write(&record);
        if written.is_err()
            && let Record::Ended { report, .. } = &record
        {
            self.entry(report.turn).outcome = report.outcome;
            self.unwritten.push(record);
        }
        written
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all_at(&line, self.length) {
            // A torn line would be skipped by the reader all the same.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        let place = Line {
            offset: self.length,
            length: u32::try_from(line.len()).unwrap_or(u32::MAX),
        };
        self.length += line.len() as u64;
        self.index(record, place);
        Ok(())
    }

    /// The file, to be synced.
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
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
        match self.read(self.find(turn)?.queued?) {
            Some(Record::Queued { prompt, .. }) => Some(prompt),
            _ => None,
        }
    }

    /// The line that queued a turn.
    #[must_use]
    pub fn queued(&self, turn: TurnId) -> Option<Record> {
        self.read(self.find(turn)?.queued?)
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
        }) = entry.queued.and_then(|line| self.read(line))
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
            Some(Record::Ended { at, report }) => Some((at, *report)),
            _ => None,
        }
    }

    /// Whether the agent may have had the prompt of a turn.
    #[must_use]
    pub fn started(&self, turn: TurnId) -> bool {
        self.find(turn).is_some_and(|entry| entry.started)
    }

    /// The turns that have not ended, oldest first.
    #[must_use]
    pub fn open_turns(&self) -> Vec<OpenTurn> {
        self.entries
            .iter()
            .filter(|entry| entry.outcome.open())
            .map(|entry| OpenTurn {
                turn: entry.turn,
                started: entry.outcome == Outcome::Running,
            })
            .collect()
    }

    /// Forgets the oldest turns when there are many more than are kept: writes
    /// the rest anew beside the file and renames it.
    ///
    /// # Errors
    /// Of the disk; the journal is then as it was.
    pub fn trim(&mut self) -> io::Result<()> {
        // Twice as many, so that the file is rewritten seldom. Those that wait do not
        // count: they cannot be forgotten.
        let ended = self.entries.iter().filter(|e| !e.outcome.open()).count();
        if ended < self.history.saturating_mul(2).max(64) || !self.unwritten.is_empty() {
            return Ok(());
        }
        let keep_from = self.entries.len() - self.history;
        let kept = || {
            let open_before = self
                .entries
                .iter()
                .take(keep_from)
                .filter(|e| e.outcome.open());
            open_before.chain(self.entries.iter().skip(keep_from))
        };
        let mut totals = self.totals;
        for report in kept().filter_map(|entry| match self.read(entry.ended?) {
            Some(Record::Ended { report, .. }) => Some(report),
            _ => None,
        }) {
            totals = totals.without(&report);
        }
        let beside = self.path.with_extension("new");
        let mut file = private_file(&beside, |options| options.truncate(true))?;
        let mut first = serde_json::to_vec(&Record::Totals {
            turns: totals.turns,
            usage: totals.usage,
            cost_usd: totals.cost_usd,
        })?;
        first.push(b'\n');
        file.write_all(&first)?;
        for entry in kept() {
            if let Some(queued) = entry.queued {
                file.write_all(&self.bytes(queued)?)?;
            }
            if entry.started {
                // It has no place in the index: that it may have run must not be forgotten.
                let turn = entry.turn;
                serde_json::to_writer(&file, &Record::Started { turn, at: now_ms() })?;
                file.write_all(b"\n")?;
            }
            if let Some(ended) = entry.ended {
                file.write_all(&self.bytes(ended)?)?;
            }
        }
        file.sync_data()?;
        drop(file);
        // Read before it is renamed: whatever fails, the journal is as it was.
        let mut trimmed = Self::open_file(beside, u32::try_from(self.history).ok())?;
        std::fs::rename(&trimmed.path, &self.path)?;
        trimmed.path = std::mem::take(&mut self.path);
        *self = trimmed;
        Ok(())
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

/// Whether the last of `length` bytes is the end of a line.
fn line_ends(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, length - 1)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests;
