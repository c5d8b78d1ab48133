//! Rows that have left the top of the main screen, as bytes.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use vt100::capture::{BasicFormattedCaptureState, RowContents};

use crate::marks::{self, Marks};
use crate::params::Params;
use crate::pen::Pen;

/// Bytes of a piece.
const PIECE: usize = 64 * 1024;
/// Bytes that a row may take on average; history is bounded by rows and by rows times this.
const PER_ROW: usize = 2048;

/// A row's end: it wrapped into the next one, or not.
const WRAPPED: u8 = 0x0b;
const ENDED: u8 = b'\n';

/// Rows, each of which begins and ends with default attributes.
#[derive(Debug, Default)]
pub(crate) struct History {
    most: usize,
    rows: usize,
    bytes: usize,
    pieces: VecDeque<Piece>,
    /// For the next row, so that it need not be allocated.
    text: Vec<u8>,
}

#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    rows: usize,
    /// Where the first row that is still wanted begins.
    start: usize,
}

impl History {
    /// At most so many rows.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    pub fn clear(&mut self) {
        *self = Self::new(self.most);
    }

    /// Takes a row that falls off vt100's own, shorter history.
    pub fn scrolled(&mut self, row: &RowContents<'_>, marks: &Marks, cols: u16) {
        if self.most == 0 {
            return;
        }
        let mut state = BasicFormattedCaptureState::new();
        let mut text = Text(std::mem::take(&mut self.text));
        let _ = row.write_formatted_basic(&mut text, &mut state);
        let text = String::from_utf8(text.0).unwrap_or_default();
        // what it would write next tells whether the row wrapped
        let mut first = First(None);
        let _ = row.write_formatted_basic(&mut first, &mut state);
        let wrapped = first.0.is_some_and(|c| c != '\n') && width(&text) >= cols.into();
        let plain = text.is_ascii() && !text.as_bytes().contains(&0x1b);
        self.push(
            |out| match plain {
                true => out.extend_from_slice(text.as_bytes()),
                false => transcode(&text, marks, out),
            },
            wrapped,
        );
        self.text = text.into_bytes();
        self.text.clear();
    }

    /// Takes a line of printable ASCII, as rows of so many columns.
    pub fn push_text(&mut self, line: &[u8], cols: usize) {
        if self.most == 0 {
            return;
        }
        let mut rest = line;
        while rest.len() > cols {
            let (row, after) = rest.split_at(cols);
            self.push(|out| out.extend_from_slice(row), true);
            rest = after;
        }
        self.push(|out| out.extend_from_slice(rest), false);
    }

    /// Takes a row that `write` writes.
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>), wrapped: bool) {
        let fresh = self
            .pieces
            .back()
            .is_none_or(|p| p.bytes.len() >= PIECE - 1024);
        if fresh {
            if let Some(piece) = self.pieces.back_mut() {
                piece.bytes.shrink_to_fit();
            }
            self.pieces.push_back(Piece::default());
        }
        let Some(piece) = self.pieces.back_mut() else {
            return;
        };
        let before = piece.bytes.len();
        write(&mut piece.bytes);
        piece.bytes.push(if wrapped { WRAPPED } else { ENDED });
        piece.rows += 1;
        self.rows += 1;
        self.bytes += piece.bytes.len() - before;
        while self.rows > self.most || self.bytes > (self.most * PER_ROW).max(PIECE) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let alone = self.pieces.len() == 1;
        let Some(piece) = self.pieces.front_mut() else {
            return;
        };
        let rest = &piece.bytes[piece.start..];
        let end = memchr::memchr2(WRAPPED, ENDED, rest);
        let length = end.map_or(rest.len(), |end| end + 1);
        piece.start += length;
        piece.rows = piece.rows.saturating_sub(1);
        self.rows -= 1;
        self.bytes -= length;
        if piece.rows == 0 && !alone {
            self.pieces.pop_front();
        } else if piece.start > PIECE / 2 && alone {
            piece.bytes.drain(..piece.start);
            piece.start = 0;
        }
    }

    /// The last rows: each with whether it wrapped.
    pub fn last(&self, rows: usize) -> impl Iterator<Item = (&[u8], bool)> {
        let all = self.pieces.iter().flat_map(|piece| {
            piece.bytes[piece.start..].split_inclusive(|b| matches!(*b, WRAPPED | ENDED))
        });
        let skipped = self.rows.saturating_sub(rows);
        all.skip(skipped).filter_map(|row| {
            let (end, row) = row.split_last()?;
            Some((row, *end == WRAPPED))
        })
    }
}

/// Faster than a string, for the cells come one by one.
struct Text(Vec<u8>);

impl Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        match s.as_bytes() {
            [byte] => self.0.push(*byte),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }
}

/// Only the first thing that is written.
struct First(Option<char>);

impl Write for First {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0 = self.0.or(s.chars().next());
        if s.is_empty() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// From vt100's form of a row to ours: marks become SGR and OSC 8.
fn transcode(text: &str, marks: &Marks, out: &mut Vec<u8>) {
    let (mut pen, mut written) = (Pen::default(), Pen::default());
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("\x1b[") {
            let (inside, after) = after.split_once('m').unwrap_or((after, ""));
            pen.apply(&Params::read(inside.as_bytes()));
            rest = after;
            continue;
        }
        // all up to the next sequence, or one character and those of no width behind it
        let plain = rest.bytes().position(|b| b == 0x1b || b >= 0x80);
        let plain = plain.unwrap_or(rest.len());
        // the last one may have a mark behind it
        let length = match plain {
            _ if plain == rest.len() || rest.as_bytes()[plain] == 0x1b => plain,
            2.. => plain - 1,
            _ => rest
                .char_indices()
                .skip(1)
                .find(|(_, c)| !follows(*c))
                .map_or(rest.len(), |it| it.0),
        };
        let (cells, after) = rest.split_at(length.max(1));
        let extra = cells.chars().find_map(|c| marks.extra(c));
        let own = match extra {
            Some(extra) => pen.clone().with(extra),
            None => pen.clone(),
        };
        own.write_after(&written, out);
        written = own;
        marks::write_text(cells, out);
        rest = after;
    }
    Pen::default().write_after(&written, out);
}

/// How many columns a row in vt100's form takes.
fn width(text: &str) -> usize {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default();
    let rest = parts.map(|part| part.split_once('m').map_or("", |(_, text)| text));
    let chars = std::iter::once(first).chain(rest).flat_map(str::chars);
    chars.map(|c| usize::from(crate::print::width(c))).sum()
}

fn follows(c: char) -> bool {
    use unicode_width::UnicodeWidthChar as _;
    !c.is_control() && c.width() == Some(0)
}
