//! A journal that is written anew: without the oldest turns, or after a sync that failed.
//!
//! The new file is written beside the old one, synced, read back, and renamed; then the
//! directory is synced, since what is promised from then on stands under the new name. A death
//! on the way leaves the old file or the new one, and both are whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use clsess_proto::Outcome;

use super::{Entry, Journal, Line, Record, TRIM_EVERY};
use crate::disk::{private_file, sync_dir};

impl Journal {
    /// Forgets the oldest turns when there are many more than are kept.
    ///
    /// # Errors
    /// Of the disk; the journal is then as it was, and is not tried again at once.
    pub fn trim(&mut self) -> io::Result<()> {
        // Those that wait do not count: they cannot be forgotten.
        let ended = self.entries.iter().filter(|e| !e.outcome.open()).count();
        if ended < self.trim_at || !self.unwritten.is_empty() {
            return Ok(());
        }
        self.trim_at = ended + TRIM_EVERY;
        self.rewrite(self.entries.len().saturating_sub(self.history))
    }

    /// Writes the turns from this one on anew, and those before it that are open.
    pub(super) fn rewrite(&mut self, keep_from: usize) -> io::Result<()> {
        // A file of somebody else is not replaced.
        self.unchanged()?;
        let beside = self.path.with_extension("new");
        let written = self.write_beside(&beside, keep_from);
        let mut anew = written.inspect_err(|_| {
            // It may hold the last free blocks of the disk.
            let _ = fs::remove_file(&beside);
        })?;
        anew.unwritten = std::mem::take(&mut self.unwritten);
        for record in anew.unwritten.clone() {
            if let Record::Ended { report, .. } = record {
                anew.open -= anew.open_at(Some(report.turn));
                anew.count(&report);
            }
        }
        *self = anew;
        sync_dir(&self.path).inspect_err(|_| self.file.fail())
    }

    fn write_beside(&self, beside: &Path, keep_from: usize) -> io::Result<Self> {
        let file = private_file(beside, |options| options.truncate(true))?;
        self.copy(&file, keep_from)?;
        file.sync_data()?;
        // Read before it is renamed: whatever fails, the journal is as it was.
        let mut anew = Self::load(self.path.clone(), file, self.history)?;
        anew.make_room(0, anew.open)?;
        fs::rename(beside, &self.path)?;
        Ok(anew)
    }

    fn copy(&self, to: &File, keep_from: usize) -> io::Result<()> {
        let (before, recent) = self.entries.split_at(keep_from);
        let open = before.iter().filter(|entry| entry.outcome.open());
        let mut totals = self.totals;
        for entry in open.clone().chain(recent).filter(|entry| entry.counted) {
            if let Some((_, report)) = self.ended(entry) {
                totals = totals.without(&report);
            }
        }
        let mut to = BufWriter::with_capacity(64 * 1024, to);
        line(
            &mut to,
            &Record::Totals {
                turns: totals.turns,
                usage: totals.usage,
                cost_usd: totals.cost_usd,
            },
        )?;
        // A damaged line may be of any turn: it goes with those beside it.
        let from = recent.iter().filter_map(Entry::begins).min().unwrap_or(0);
        let from = if keep_from == 0 { 0 } else { from };
        for damaged in self.damaged.iter().filter(|line| line.offset >= from) {
            self.copy_line(*damaged, &mut to)?;
        }
        for entry in open.chain(recent) {
            self.copy_entry(entry, &mut to)?;
        }
        to.flush()
    }

    fn copy_entry(&self, entry: &Entry, to: &mut impl Write) -> io::Result<()> {
        // It has no place in the index: that it may have run must not be forgotten.
        let turn = entry.turn;
        let (called, line_of) = (entry.called, entry.line);
        let started = entry.started.map(|at| match called || line_of.is_some() {
            true => Record::Accepted {
                turn,
                at,
                called,
                line: line_of,
            },
            false => Record::Started { turn, at },
        });
        // One that waits although it was with the agent was put back, by a limit or by
        // its agent's death.
        let waits = entry.outcome == Outcome::Queued;
        if let Some(started) = started.as_ref().filter(|_| waits) {
            line(to, started)?;
        }
        if let Some(queued) = entry.queued {
            self.copy_line(queued, to)?;
        }
        if let Some(started) = started.as_ref().filter(|_| !waits) {
            line(to, started)?;
        }
        match entry.ended {
            Some(ended) => self.copy_line(ended, to),
            None => Ok(()),
        }
    }

    /// Copies a line as it is. The last one may lack its end.
    fn copy_line(&self, place: Line, to: &mut impl Write) -> io::Result<()> {
        let bytes = self.bytes(place)?;
        to.write_all(&bytes)?;
        if bytes.ends_with(b"\n") {
            return Ok(());
        }
        to.write_all(b"\n")
    }
}

impl Entry {
    /// Where its first line is.
    fn begins(&self) -> Option<u64> {
        let lines = [self.queued, self.ended].into_iter().flatten();
        lines.map(|line| line.offset).min()
    }
}

fn line(to: &mut impl Write, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *to, record)?;
    to.write_all(b"\n")
}
