//! The state as bytes.

use std::io::Write as _;

use crate::draw::{Brush, is_filler, row_wrapped};
use crate::grid::Grid;
use crate::modes::{write_input_off, write_kitty_off};
use crate::pen::Pen;
use crate::{Saved, Terminal, charsets};

/// What makes any state of a terminal a known one: on the main screen, all modes off. CAN ends a
/// sequence that was broken off.
pub(crate) fn write_known(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x18\x1b[?2026h\x1b[?25l\x1b[?1049l");
    write_plain(out);
    write_input_off(out);
}

/// What makes printing plain.
pub(crate) fn write_plain(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b[m\x1b]8;;\x1b\\");
    out.extend_from_slice(charsets::ASCII);
    out.extend_from_slice(b"\x1b[?6l\x1b[r\x1b[4l\x1b[?7h");
}

/// Makes a terminal of so many rows blank, whose printing is plain, with the cursor at home. Row by
/// row as well: what was erased with a background there before the terminal became wider,
/// alacritty 0.26 keeps below the cursor's row when all is erased at once (`Row::reset` looks at the
/// last cell).
pub(crate) fn write_blank(rows: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b[H\x1b[J");
    for row in 2..=rows {
        let _ = write!(out, "\x1b[{row}H\x1b[K");
    }
    out.extend_from_slice(b"\x1b[H");
}

impl Terminal {
    /// The state as bytes that give it to any terminal of this size, whatever state that is in. What
    /// is pending is not in it.
    pub fn snapshot(&mut self) -> Vec<u8> {
        let (row, col) = self.grid.cursor();
        if col >= self.size().cols && !behind_something(&self.grid, row) {
            // a cursor gets there only by printing
            self.wrap_at(row);
        }
        let mut brush = Brush::default();
        write_known(&mut brush.out);
        self.write_other(&mut brush);
        write_kitty_off(&mut brush.out);
        self.state.strings.write(&mut brush.out);
        self.state.tabs.write(self.size().cols, &mut brush.out);
        write_blank(self.size().rows, &mut brush.out);
        self.grid.on_main(|grid| brush.screen(grid));
        self.write_saved(&mut brush, 0);
        self.state.kitty[0].write(&mut brush.out);
        if self.alternate() {
            self.write_alternate(&mut brush);
        }
        self.write_modes(&mut brush.out);
        self.write_cursor(&mut brush);
        self.write_end(&mut brush);
        brush.out
    }

    /// What the alternate screen keeps while the main one is in front: keyboard flags, and the
    /// saved cursor.
    fn write_other(&self, brush: &mut Brush) {
        brush.out.extend_from_slice(b"\x1b[?1049h");
        write_kitty_off(&mut brush.out);
        if !self.alternate() {
            self.state.kitty[1].write(&mut brush.out);
            let saved = &self.state.saved[1];
            if saved.origin {
                brush.out.extend_from_slice(b"\x1b[?6h");
            }
            brush.go(saved.row, saved.col.min(self.size().cols - 1));
            brush.take(&saved.pen);
            saved.charsets.write(&mut brush.out);
            brush.out.extend_from_slice(b"\x1b7");
        }
        brush.out.extend_from_slice(b"\x1b[?1049l");
        write_plain(&mut brush.out);
        brush.pen = Pen::default();
    }

    fn write_alternate(&mut self, brush: &mut Brush) {
        let mode = match self.state.entered.mode {
            0 => 1049,
            mode => mode,
        };
        // this one saves the cursor itself, and it is where it was saved
        let _ = write!(brush.out, "\x1b[?{mode}h");
        write_plain(&mut brush.out);
        brush.pen = Pen::default();
        write_blank(self.size().rows, &mut brush.out);
        brush.screen(&self.grid);
        self.write_saved(brush, 1);
        self.state.kitty[1].write(&mut brush.out);
    }

    /// What DECSC has saved of a screen, which is in front there.
    fn write_saved(&mut self, brush: &mut Brush, screen: usize) {
        let saved = self.state.saved[screen].clone();
        let Saved { row, col, .. } = saved;
        if saved.origin {
            brush.out.extend_from_slice(b"\x1b[?6h");
        }
        let put = |grid: &Grid, brush: &mut Brush| {
            let cols = grid.size().cols;
            if col >= cols && behind_something(grid, row) {
                brush.behind(grid, row, col, row);
            } else {
                brush.go(row, col.min(cols - 1));
            }
        };
        match screen {
            0 => self.grid.on_main(|grid| put(grid, brush)),
            _ => put(&self.grid, brush),
        }
        brush.take(&saved.pen);
        saved.charsets.write(&mut brush.out);
        brush.out.extend_from_slice(b"\x1b7");
        if screen == 0 && self.alternate() {
            return; // 1049 saves it again
        }
        brush.out.extend_from_slice(charsets::ASCII);
        if saved.origin {
            brush.out.extend_from_slice(b"\x1b[?6l");
        }
    }

    fn write_modes(&self, out: &mut Vec<u8>) {
        self.state.modes.write_input(out);
        let (top, bottom) = self.state.margins;
        if (top, bottom) != (0, self.size().rows - 1) {
            let _ = write!(out, "\x1b[{};{}r", top + 1, bottom + 1);
        }
        if self.state.origin {
            out.extend_from_slice(b"\x1b[?6h");
        }
    }

    fn write_cursor(&self, brush: &mut Brush) {
        let (row, col) = self.grid.cursor();
        let top = match self.state.origin {
            true => self.state.margins.0,
            false => 0,
        };
        let from_row = row.saturating_sub(top);
        if col >= self.size().cols || self.repeats(row, col) {
            brush.behind(&self.grid, row, col, from_row);
        } else {
            brush.go(from_row, col);
        }
    }

    /// Whether the character before the cursor may be repeated.
    fn repeats(&self, row: u16, col: u16) -> bool {
        let (Some(last), true) = (self.state.last, col > 0) else {
            return false;
        };
        let cell = |col| self.grid.cell(row, col);
        let wide = cell(col - 1).is_some_and(vt100::Cell::is_wide_continuation) && col > 1;
        cell(col - 1 - u16::from(wide)).is_some_and(|cell| cell.contents().starts_with(last))
    }

    fn write_end(&self, brush: &mut Brush) {
        let modes = &self.state.modes;
        if modes.insert {
            brush.out.extend_from_slice(b"\x1b[4h");
        }
        if !modes.autowrap {
            brush.out.extend_from_slice(b"\x1b[?7l");
        }
        if modes.visible {
            brush.out.extend_from_slice(b"\x1b[?25h");
        }
        brush.take(&self.state.pen);
        self.state.charsets.write(&mut brush.out);
        if !modes.sync {
            brush.out.extend_from_slice(b"\x1b[?2026l");
        }
    }

    /// The last rows that have scrolled off the main screen, to be printed into a main screen before
    /// a snapshot: SGR and links only, CRLF behind each row that did not wrap, and default attributes
    /// at the end. What is still on the screen then has to be scrolled off it, or the snapshot erases
    /// it: see [`Terminal::recall`].
    pub fn history(&mut self, rows: usize) -> Vec<u8> {
        self.written_history(rows).0
    }

    /// The bytes, how many rows, and whether the last one wrapped.
    fn written_history(&mut self, rows: usize) -> (Vec<u8>, usize, bool) {
        let own = self.grid.own_rows().min(rows);
        let mut brush = Brush::default();
        let (mut count, mut last) = (0, false);
        for (row, wrapped) in self.grid.kept().history.last(rows - own) {
            begin_line(&mut brush.out, last && row.is_empty());
            brush.out.extend_from_slice(row);
            end_line(&mut brush.out, wrapped);
            (count, last) = (count + 1, wrapped);
        }
        let cols = self.size().cols;
        self.grid.own_history(own, |grid| {
            let wrapped = row_wrapped(grid, 0);
            let at = brush.out.len();
            brush.line(grid, 0, cols);
            if last && brush.out.len() == at {
                begin_line(&mut brush.out, true);
            }
            end_line(&mut brush.out, wrapped);
            (count, last) = (count + 1, wrapped);
        });
        (brush.out, count, last)
    }

    /// The history for a terminal of this size in any state: printed into its main screen, and
    /// scrolled off it. A snapshot has to follow.
    pub fn recall(&mut self, rows: usize) -> Vec<u8> {
        let (said, count, wrapped) = self.written_history(rows);
        let mut out = Vec::with_capacity(said.len() + 256);
        if count == 0 {
            return out;
        }
        write_known(&mut out);
        write_blank(self.size().rows, &mut out);
        out.extend_from_slice(&said);
        if wrapped {
            out.extend_from_slice(b"\r\n");
        }
        let rows = self.size().rows;
        let left = count.min(usize::from(rows) - 1);
        let _ = write!(out, "\x1b[{rows}H");
        out.resize(out.len() + left, b'\n');
        out
    }

    /// What a fresh terminal of this size has to be fed to equal this one: history and snapshot.
    pub fn saved(&mut self) -> Vec<u8> {
        let mut out = self.recall(self.history);
        out.extend(self.snapshot());
        out
    }
}

/// Whether there is anything in the last column.
fn behind_something(grid: &Grid, row: u16) -> bool {
    let last = grid.cell(row, grid.size().cols - 1);
    last.is_some_and(|cell| {
        (cell.has_contents() && !is_filler(cell)) || cell.is_wide_continuation()
    })
}

/// A blank row behind one that wrapped is reached in no other way.
fn begin_line(out: &mut Vec<u8>, blank: bool) {
    end_line(out, !blank);
}

fn end_line(out: &mut Vec<u8>, wrapped: bool) {
    if !wrapped {
        out.extend_from_slice(b"\r\n");
    }
}
