//! Whether a transcript has all of its conversation.
//!
//! The client resumes whatever has one message left, and says nothing of what is missing
//! (measured, 2.1.328: of 21 kinds of damage it refused those that leave not one). So it is found
//! out before.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, Seek, SeekFrom};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::json::{Raw, array, flag, object, uuid, word};
use crate::record::{Fate, fate};

/// Flaws that are told of one transcript; of more the first ones.
pub const MAX_FLAWS: usize = 16;

/// How a transcript is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is missing.
    Whole,
    /// Not one message is left.
    Unreadable,
    /// Something is missing: what, at most [`MAX_FLAWS`].
    Damaged(Vec<Flaw>),
}

/// What is wrong with a transcript. As text it is the same for as long as the file only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The line of this number, from 1, cannot be read.
    Line(usize),
    /// The last turn that ended is not there.
    Turn(Uuid),
    /// Its answer is not there, or not whole.
    Answer(Uuid),
    /// The conversation goes on from a line that is not there, or from itself.
    Before(Uuid),
    /// The conversation begins at a line that is not the first.
    Begins(Uuid),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number} cannot be read"),
            Self::Turn(turn) => write!(f, "the last turn ({turn}) is gone"),
            Self::Answer(turn) => write!(f, "the answer of the last turn ({turn}) is gone"),
            Self::Before(line) => write!(f, "what was before {line} is gone"),
            Self::Begins(line) => write!(f, "it begins anew with {line}"),
        }
    }
}

/// The fields of a line that its place in the conversation follows from. The others, and so nearly
/// all of the file, are not even decoded.
#[derive(Deserialize)]
#[allow(non_snake_case)] // the client's own spelling
struct Row<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    subtype: Raw<'a>,
    #[serde(borrow)]
    uuid: Raw<'a>,
    #[serde(borrow)]
    parentUuid: Raw<'a>,
    #[serde(borrow)]
    isSidechain: Raw<'a>,
    #[serde(borrow)]
    mergedSendUuids: Raw<'a>,
    #[serde(borrow)]
    promptId: Raw<'a>,
}

/// What is in a transcript.
#[derive(Default)]
struct Rows {
    /// Each line, and the one that it goes on from.
    places: HashMap<Uuid, Option<Uuid>>,
    /// The first line of the conversation, and the last.
    first: Option<Uuid>,
    newest: Option<Uuid>,
    /// Where compactions are: the conversation begins anew there, with a summary.
    compacted: Vec<(Uuid, u64)>,
    messages: usize,
    /// Where the turn that is looked for begins.
    turn: Option<u64>,
}

/// How a transcript is. `last`: the uuid of the line of the last turn that is known to have ended
/// with an answer in this conversation, or its `promptId`. It is read line by line, since it may be long.
///
/// # Errors
/// Of the reader.
pub fn condition(mut text: impl BufRead + Seek, last: Option<Uuid>) -> io::Result<Condition> {
    let mut rows = Rows::default();
    let mut flaws = Vec::new();
    // A line that cannot be read is a flaw if something comes behind it.
    let mut torn = None;
    let mut line = Vec::new();
    let (mut begins, mut number) = (0, 0);
    loop {
        line.clear();
        let length = text.read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            break;
        }
        number += 1;
        if !line.iter().all(u8::is_ascii_whitespace) {
            flaws.extend(torn.take().filter(|_| flaws.len() < MAX_FLAWS));
            if let Err(rest) = rows.read(&line, begins, last)
                && !rows.salvage(line[rest..].trim_ascii(), begins, last)
            {
                torn = Some(Flaw::Line(number));
            }
        }
        begins += length;
    }
    if rows.messages == 0 {
        return Ok(Condition::Unreadable);
    }
    flaws.extend(rows.broken());
    if let Some(last) = last {
        flaws.extend(rows.lost(&mut text, last)?);
    }
    if flaws.is_empty() {
        return Ok(Condition::Whole);
    }
    flaws.truncate(MAX_FLAWS);
    Ok(Condition::Damaged(flaws))
}

/// Whether the lines of a transcript that were written since an agent was idle tell of somebody
/// else's turn, or compaction. All of its own are in the file by then (measured: it writes nothing
/// after `idle`, but for what it is asked or does unasked, which it says). `own`: whether it was
/// given the line of this uuid.
#[must_use]
pub fn has_others(text: &[u8], own: impl Fn(Uuid) -> bool) -> bool {
    text.split(|b| *b == b'\n').any(|line| {
        let Ok(row) = serde_json::from_slice::<Row<'_>>(line) else {
            return false;
        };
        let known = uuid(row.uuid).is_some_and(&own);
        row.in_conversation() && !known && (row.is("user") || row.is_compaction())
    })
}

impl Row<'_> {
    fn is(&self, kind: &str) -> bool {
        word(self.kind).as_deref() == Some(kind)
    }

    fn is_compaction(&self) -> bool {
        self.is("system") && word(self.subtype).as_deref() == Some("compact_boundary")
    }

    /// Whether it is of the main conversation: not of a subagent, and no note beside it.
    fn in_conversation(&self) -> bool {
        let kind = word(self.kind);
        let kinds = ["user", "assistant", "attachment", "system"];
        kind.is_some_and(|kind| kinds.contains(&&*kind)) && flag(self.isSidechain) != Some(true)
    }
}

impl Rows {
    /// Reads a line, which begins at `at`; where in it one begins that cannot be read. Two on one
    /// line are two, as for the client.
    fn read(&mut self, text: &[u8], at: u64, last: Option<Uuid>) -> Result<(), usize> {
        let mut lines = serde_json::Deserializer::from_slice(text).into_iter::<Row<'_>>();
        loop {
            let from = lines.byte_offset();
            let space = text[from..].iter().take_while(|b| b.is_ascii_whitespace());
            let begins = from + space.count();
            match lines.next() {
                None => return Ok(()),
                // serde would also fill it from an array, by position
                Some(Ok(row)) if text[begins] == b'{' => self.add(&row, at, last),
                Some(Ok(_)) => {}
                Some(Err(_)) => return Err(begins),
            }
        }
    }

    fn add(&mut self, row: &Row<'_>, at: u64, last: Option<Uuid>) {
        let id = uuid(row.uuid);
        if row.in_conversation() {
            self.messages += usize::from(row.is("user") || row.is("assistant"));
            if let Some(id) = id {
                self.first.get_or_insert(id);
                self.newest = Some(id);
                if row.is_compaction() {
                    self.compacted.push((id, at));
                }
            }
        }
        if let Some(id) = id {
            self.places
                .entry(id)
                .or_insert_with(|| uuid(row.parentUuid));
        }
        let merged = || array(row.mergedSendUuids).into_iter().map(Some).map(uuid);
        let is_last = |it: Option<Uuid>| last.is_some() && it == last;
        if row.is("user") && (is_last(id) || merged().any(is_last)) {
            self.turn = Some(at);
        } else if row.is("user") && is_last(uuid(row.promptId)) {
            // in the interface all user lines of a turn have it, its tools' results too
            self.turn.get_or_insert(at);
        }
    }

    /// Whether nothing is lost with a line that cannot be read as it should be.
    fn salvage(&mut self, line: &[u8], at: u64, last: Option<Uuid>) -> bool {
        if let Some(line) = line.strip_prefix(b"\xef\xbb\xbf") {
            // A byte order mark, which the client skips.
            let whole = serde_json::from_slice::<&RawValue>(line).ok();
            let row = object::<Row<'_>>(whole);
            row.iter().for_each(|row| self.add(row, at, last));
            return row.is_some();
        }
        match serde_json::from_slice::<IgnoredAny>(line) {
            // A number, say: no line of the client.
            Ok(_) => true,
            // Where it died while it wrote, or the machine before that was on disk: what it wrote
            // next begins a new line. If the line was of the conversation, what follows tells.
            Err(error) => error.is_eof() || line.iter().all(|b| *b == 0),
        }
    }

    /// Where the conversation does not lead from its newest line to its beginning: where its first
    /// line leads as well, which need not be that line (2.1.197 has written the end of the first
    /// turn before the rest of it, in 2 of 30 sessions beside a busy loop).
    fn broken(&self) -> Option<Flaw> {
        let root = match self.root(self.newest?) {
            Ok(root) => root,
            Err(flaw) => return Some(flaw),
        };
        let is_beginning = self.first.and_then(|first| self.root(first).ok()) == Some(root)
            || self.compacted.iter().any(|(it, _)| *it == root);
        (!is_beginning).then_some(Flaw::Begins(root))
    }

    /// The line that goes on from no other, to which this one leads.
    fn root(&self, mut id: Uuid) -> Result<Uuid, Flaw> {
        for _ in 0..self.places.len() {
            match self.places.get(&id).copied().flatten() {
                Some(parent) if self.places.contains_key(&parent) => id = parent,
                Some(_) => return Err(Flaw::Before(id)),
                None => return Ok(id),
            }
        }
        Err(Flaw::Before(id))
    }

    /// What is missing of the turn.
    fn lost(&self, text: &mut (impl BufRead + Seek), turn: Uuid) -> io::Result<Option<Flaw>> {
        let Some(begins) = self.turn else {
            return Ok(Some(Flaw::Turn(turn)));
        };
        if self.compacted.iter().any(|(_, at)| *at > begins) {
            return Ok(None);
        }
        text.seek(SeekFrom::Start(begins))?;
        let whole = matches!(fate(text, turn)?, Fate::Ended(_));
        Ok((!whole).then_some(Flaw::Answer(turn)))
    }
}

#[cfg(test)]
#[path = "condition/tests.rs"]
mod tests;
