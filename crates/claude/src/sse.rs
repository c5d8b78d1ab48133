//! The Messages API's stream of events (`text/event-stream`) and what its events say.
//!
//! Bytes go in as they come from the network, events come out. Lines end with LF, CRLF or CR, a
//! blank line ends an event, and what has not ended so is no event. An event without data is
//! none either; comments, `id` and `retry` are passed over. Invalid UTF-8 becomes U+FFFD.

mod read;

use std::mem::take;

pub use read::{Delta, Message, read};

/// Bytes of an event: its name, its data, and the line that is being read. A longer one is
/// skipped up to the blank line behind it, and counted; the events after it are read.
pub const MAX_EVENT: usize = 16 << 20;

/// An idle buffer that once held a long event gives its memory back.
const KEEP: usize = 256 * 1024;

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Its `event` field; empty when there was none.
    pub name: String,
    /// Its `data` lines, with LF between them.
    pub data: String,
}

/// Splits a stream into events, however the bytes arrive.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    name: Vec<u8>,
    data: Vec<u8>,
    /// There was a `data` line, be it an empty one.
    has_data: bool,
    /// What has come of a line that has not ended; nothing of a comment.
    line: Vec<u8>,
    place: Place,
    /// The last byte was the CR of a line end, so an LF now belongs to it.
    after_cr: bool,
    /// The event has become too long.
    skipping: bool,
    skipped: u64,
}

/// Where in a line the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the beginning of the stream, where so many bytes of a [`BOM`] were.
    Bom(usize),
    Start,
    Inside,
    Comment,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// For a stream that begins.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(MAX_EVENT)
    }

    /// The same with another limit than [`MAX_EVENT`].
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            name: Vec::new(),
            data: Vec::new(),
            has_data: false,
            line: Vec::new(),
            place: Place::Bom(0),
            after_cr: false,
            skipping: false,
            skipped: 0,
        }
    }

    /// Takes a piece of the stream, and appends the events that it completes.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<SseEvent>) {
        let mut rest = self.past_bom(bytes);
        while let Some(&first) = rest.first() {
            if take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
            let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.piece(piece);
            rest = after;
            if let Some((end, after)) = after.split_first() {
                self.after_cr = *end == b'\r';
                self.line_end(out);
                rest = after;
            }
        }
    }

    /// The stream is over. Whether it broke off inside an event, which then is none; the next
    /// stream begins.
    pub fn end(&mut self) -> bool {
        let unfinished =
            self.skipping || self.has_data || !self.name.is_empty() || self.place == Place::Inside;
        *self = Self {
            skipped: self.skipped,
            ..Self::with_limit(self.limit)
        };
        unfinished
    }

    /// How many events were too long.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How many bytes of an unfinished event are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.name.len() + self.data.len() + self.line.len()
    }

    /// Passes over a byte order mark at the beginning, which may come in pieces too.
    fn past_bom<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let (Place::Bom(had), Some(&byte)) = (self.place, bytes.first()) {
            if byte == BOM[had] {
                bytes = &bytes[1..];
                self.place = match had + 1 {
                    3 => Place::Start,
                    had => Place::Bom(had),
                };
            } else {
                self.place = Place::Start;
                self.piece(&BOM[..had]);
            }
        }
        bytes
    }

    /// Keeps a piece of a line, if there is room.
    fn piece(&mut self, piece: &[u8]) {
        let Some(&first) = piece.first() else { return };
        if self.place == Place::Start {
            self.place = match first {
                b':' => Place::Comment,
                _ => Place::Inside,
            };
        }
        if self.place == Place::Comment || self.skipping {
            return;
        }
        if piece.len() > self.limit - self.kept() {
            self.skipping = true;
            self.skipped += 1;
            self.forget();
            return;
        }
        self.line.extend_from_slice(piece);
    }

    fn line_end(&mut self, out: &mut Vec<SseEvent>) {
        match std::mem::replace(&mut self.place, Place::Start) {
            Place::Inside if !self.skipping => self.field(),
            Place::Inside | Place::Comment => {}
            Place::Bom(_) | Place::Start => self.blank(out),
        }
    }

    /// A line is whole: a field's name, and after a colon and at most one space its value.
    fn field(&mut self) {
        let line = take(&mut self.line);
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => value.clone_into(&mut self.name),
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            _ => {}
        }
        self.line = line;
        self.line.clear();
    }

    /// A blank line: the event is whole.
    fn blank(&mut self, out: &mut Vec<SseEvent>) {
        if self.has_data {
            out.push(SseEvent {
                name: string(take(&mut self.name)),
                data: string(take(&mut self.data)),
            });
        }
        self.skipping = false;
        self.forget();
    }

    fn forget(&mut self) {
        self.name = Vec::new();
        self.data = Vec::new();
        self.has_data = false;
        self.line.clear();
        self.line.shrink_to(KEEP);
    }
}

fn string(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned())
}
