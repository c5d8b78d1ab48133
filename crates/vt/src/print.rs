//! Printing where vt100 does not do as terminals do: attributes that it has no room for, coloured
//! rows that scroll in, insert mode, no autowrap, character sets, wide characters at the margin.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::control::place;
use crate::marks::{self, FILLER, REPLACED};
use crate::pen::Colour;
use crate::{Pen, Terminal, draw};

const EMOJI: char = '\u{FE0F}';

impl Terminal {
    /// Printable ASCII, CR and LF.
    pub(crate) fn print_plain(&mut self, run: &[u8]) {
        for piece in run.split_inclusive(|b| matches!(b, b'\r' | b'\n')) {
            let (text, end) = match piece.split_last() {
                Some((end @ (b'\r' | b'\n'), text)) => (text, Some(*end)),
                _ => (piece, None),
            };
            if let Ok(text) = std::str::from_utf8(text) {
                self.print(text);
            }
            match end {
                Some(b'\r') => self.grid.say(b"\r"),
                Some(_) => self.line_feed(),
                None => continue,
            }
            self.state.last = None;
        }
    }

    /// Any characters but controls.
    pub(crate) fn print(&mut self, text: &str) {
        let state = &self.state;
        if !state.modes.autowrap || state.modes.insert || state.charsets.maps() {
            text.chars().for_each(|c| self.put(c));
            return;
        }
        let (_, col) = self.grid.cursor();
        let fits = usize::from(col) + 2 * text.len() <= usize::from(self.size().cols);
        let known = !text.bytes().any(|b| matches!(b, 0xef | 0xf3 | 0xf4));
        let ascii = text.is_ascii() && state.pen.bg == Colour::Default;
        if state.mark.is_none() && known && (fits || ascii) {
            self.grid.say(text.as_bytes());
            let last = text
                .chars()
                .rev()
                .find(|c| !c.is_control() && width(*c) > 0);
            self.state.last = last.or(self.state.last);
            return;
        }
        self.walk(text);
    }

    /// Character by character, but said to vt100 together as far as that goes.
    fn walk(&mut self, text: &str) {
        let cols = self.size().cols;
        let coloured = self.state.pen.bg != Colour::Default;
        let mut said = String::with_capacity(text.len() * 2);
        let mut col = self.grid.cursor().1;
        // the controls of C1 do nothing, and take no room
        for c in text.chars().filter(|c| !c.is_control()) {
            let width = width(c);
            let wraps = col.saturating_add(width) > cols;
            let special = matches!(c, '\u{FFFD}' | EMOJI | REPLACED | FILLER)
                || marks::number(c).is_some()
                || width > cols
                || (wraps && (coloured || width > 1));
            if special {
                self.grid.say(said.as_bytes());
                said.clear();
                self.put(c);
                col = self.grid.cursor().1;
                continue;
            }
            said.push(c);
            if width > 0 {
                said.extend(self.state.mark);
                self.state.last = Some(c);
                col = if wraps { width } else { col + width };
            }
        }
        self.grid.say(said.as_bytes());
    }

    /// One character, with all care.
    pub(crate) fn put(&mut self, c: char) {
        let c = match self.state.charsets.map(c) {
            '\u{FFFD}' => REPLACED,
            REPLACED | FILLER => return,
            c if marks::number(c).is_some() => return,
            c if c.is_control() => return,
            c => c,
        };
        let (width, size) = (width(c), self.size());
        if width == 0 {
            self.combine(c);
            return;
        }
        if width > size.cols {
            return;
        }
        self.state.last = Some(c);
        let (row, col) = self.grid.cursor();
        if col + width > size.cols {
            if self.state.modes.autowrap {
                self.put_wrapping(c, row, col);
                return;
            }
            if width > 1 {
                return;
            }
            self.grid.say(b"\x1b[C");
        }
        if self.state.modes.insert {
            self.grid.say(format!("\x1b[{width}@").as_bytes());
        }
        self.say_char(c);
    }

    fn say_char(&mut self, c: char) {
        let said: String = [Some(c), self.state.mark].into_iter().flatten().collect();
        self.grid.say(said.as_bytes());
    }

    /// A character for which there is no room in its row.
    fn put_wrapping(&mut self, c: char, row: u16, col: u16) {
        let size = self.size();
        if col < size.cols {
            self.say_char(FILLER);
        }
        let scrolls = row == self.state.margins.1;
        if self.state.modes.insert && !scrolls && row + 1 < size.rows {
            self.insert_below(row, width(c));
        }
        self.say_char(c);
        if scrolls && self.state.pen.bg != Colour::Default && !self.grid.wraps() {
            self.grid.say(b"\x1b[K");
        }
    }

    /// Makes room at the beginning of the next row; the cursor stays behind the last column.
    fn insert_below(&mut self, row: u16, width: u16) {
        place(&mut self.grid, row + 1, 0);
        self.grid.say(format!("\x1b[{width}@").as_bytes());
        self.wrap_at(row);
    }

    /// Puts the cursor behind the last column of a row, by printing what is there.
    pub(crate) fn wrap_at(&mut self, row: u16) {
        let cols = self.size().cols;
        let wide = self
            .grid
            .cell(row, cols - 1)
            .is_some_and(vt100::Cell::is_wide_continuation);
        let col = cols - 1 - u16::from(wide);
        let Some(cell) = self.grid.cell(row, col) else {
            return;
        };
        let mut said = Vec::new();
        Pen::of(cell).write_plain(&mut said);
        match cell.contents() {
            contents if contents.is_empty() || draw::is_filler(cell) => said.push(b' '),
            contents => said.extend_from_slice(contents.as_bytes()),
        }
        self.state.pen.write_plain(&mut said);
        place(&mut self.grid, row, col);
        self.grid.say(&said);
    }

    /// A character that belongs to the one before it.
    fn combine(&mut self, c: char) {
        let (row, col) = self.grid.cursor();
        let before = match col.checked_sub(1) {
            Some(col) => self.grid.cell(row, col),
            None => return,
        };
        let Some(cell) = before else { return };
        if c != EMOJI || cell.is_wide_continuation() || cell.is_wide() {
            self.grid.say(c.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
        let base: String = cell
            .contents()
            .chars()
            .filter(|c| marks::number(*c).is_none())
            .collect();
        let mark = cell
            .contents()
            .chars()
            .find(|c| marks::number(*c).is_some());
        let widened = format!("{base}{c}");
        if widened.width() < 2 {
            self.grid.say(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else if col < self.size().cols {
            let said: String = "\x1b[D"
                .chars()
                .chain(widened.chars())
                .chain(mark)
                .collect();
            self.grid.say(said.as_bytes());
        }
        // in the last column there is no room, and vt100 cannot move it
    }
}

/// How many columns vt100 gives a character.
pub(crate) fn width(c: char) -> u16 {
    u16::try_from(c.width().unwrap_or(1).min(2)).unwrap_or(1)
}
