//! Cells as bytes.

use std::io::Write as _;

use vt100::Cell;

use crate::grid::Grid;
use crate::marks::{FILLER, write_text};
use crate::pen::Pen;
use crate::print::width;

/// What is written, and how the terminal that reads it draws then.
#[derive(Debug, Default)]
pub(crate) struct Brush {
    pub out: Vec<u8>,
    pub pen: Pen,
}

/// The last row of the screen in front that has anything.
pub(crate) fn bottom(grid: &Grid) -> Option<u16> {
    let size = grid.size();
    (0..size.rows).rev().find(|row| {
        let mut cells = (0..size.cols).filter_map(|col| grid.cell(*row, col));
        cells.any(Cell::has_contents)
    })
}

/// Whether a row goes on in the next one.
fn wrapped(grid: &Grid, row: u16) -> bool {
    let last = grid.size().cols - 1;
    let Some(cell) = grid.cell(row, last) else {
        return false;
    };
    // an emoji selector widens what was printed narrow, and that has room behind this row
    let first = grid
        .cell(row + 1, 0)
        .and_then(|c| c.contents().chars().next());
    let wide = first.is_some_and(|c| width(c) > 1);
    row_wrapped(grid, row) && (wide || !is_filler(cell))
}

/// Whether it fills the place that a wide character has left.
pub(crate) fn is_filler(cell: &Cell) -> bool {
    cell.contents().starts_with(FILLER)
}

/// Whether terminals do not agree on how many columns it takes.
fn doubtful(contents: &str) -> bool {
    contents.len() > 1
        && contents.chars().enumerate().any(|(at, c)| {
            let code = u32::from(c);
            matches!(code, 0x200d | 0xfe0e | 0xfe0f | 0x1f1e6..=0x1f1ff | 0x1f3fb..=0x1f3ff)
                || (at > 0 && matches!(code, 0x1100..=0x11ff | 0x0900..=0x0dff | 0x20d0..=0x20ff))
        })
}

impl Brush {
    /// Draws with that from now on.
    pub fn take(&mut self, pen: &Pen) {
        if *pen != self.pen {
            pen.write_after(&self.pen, &mut self.out);
            self.pen = pen.clone();
        }
    }

    pub fn go(&mut self, row: u16, col: u16) {
        let _ = match (row, col) {
            (0, 0) => write!(self.out, "\x1b[H"),
            (_, 0) => write!(self.out, "\x1b[{}H", row + 1),
            _ => write!(self.out, "\x1b[{};{}H", row + 1, col + 1),
        };
    }

    fn moved(&mut self, sequence: char, n: u16) {
        let _ = match n {
            1 => write!(self.out, "\x1b[{sequence}"),
            n => write!(self.out, "\x1b[{n}{sequence}"),
        };
    }

    /// The screen in front, onto a blank one where the cursor is at home. Rows that wrapped are
    /// written so that they wrap.
    pub fn screen(&mut self, grid: &Grid) {
        let mut at = 0;
        let mut joined = false;
        for row in 0..grid.size().rows {
            let joins = wrapped(grid, row) && row + 1 < grid.size().rows;
            if joined || joins || !self.is_blank(grid, row) {
                match row - at {
                    _ if joined => {}
                    0 => {}
                    1 => self.out.extend_from_slice(b"\r\n"),
                    _ => self.go(row, 0),
                }
                self.row(grid, row, joined);
                at = row;
            }
            joined = joins;
        }
    }

    fn is_blank(&self, grid: &Grid, row: u16) -> bool {
        let mut cells = (0..grid.size().cols).filter_map(|col| grid.cell(row, col));
        cells.all(|cell| {
            !cell.has_contents()
                && !cell.is_wide_continuation()
                && cell.bgcolor() == vt100::Color::Default
        })
    }

    /// A row whose first column the cursor is at; or it is behind the row before, and wraps.
    fn row(&mut self, grid: &Grid, row: u16, joined: bool) {
        let cols = grid.size().cols;
        let pens = &grid.kept().marks;
        let first = grid.cell(row, 0);
        if joined && first.is_some_and(|cell| !cell.has_contents()) {
            self.take(&Pen::default());
            self.out.extend_from_slice(b" \x08\x1b[X");
        }
        // the column that the cursor is at, when that is certain
        let mut at = Some(0);
        let mut col = 0;
        while let Some(cell) = grid.cell(row, col).filter(|_| col < cols) {
            let width = 1 + u16::from(cell.is_wide());
            let shown = cell.has_contents() && col + width <= cols;
            let skipped = is_filler(cell) && col + 1 == cols && wrapped(grid, row);
            if skipped {
                self.reach(at, col);
                col += 1;
            } else if shown {
                self.reach(at, col);
                self.take(&pens.pen(cell));
                write_text(cell.contents(), &mut self.out);
                col += width;
                at = (!doubtful(cell.contents())).then_some(col);
            } else {
                let pen = Pen::of(cell).background();
                let end = self.erased(grid, row, col, &pen);
                if pen != Pen::default() {
                    self.reach(at, col);
                    self.take(&pen);
                    match end == cols {
                        true => self.out.extend_from_slice(b"\x1b[K"),
                        false => self.moved('X', end - col),
                    }
                    at = Some(col);
                }
                col = end;
            }
        }
    }

    /// Where a run of blank cells of one background ends.
    fn erased(&self, grid: &Grid, row: u16, from: u16, pen: &Pen) -> u16 {
        let cols = grid.size().cols;
        let same = |col: &u16| {
            grid.cell(row, *col)
                .is_some_and(|cell| !cell.has_contents() && Pen::of(cell).bg == pen.bg)
        };
        (from + 1..cols).find(|col| !same(col)).unwrap_or(cols)
    }

    fn reach(&mut self, at: Option<u16>, col: u16) {
        match at {
            Some(at) if at == col => {}
            Some(at) => self.moved('C', col - at),
            None => {
                let _ = write!(self.out, "\x1b[{}G", col + 1);
            }
        }
    }

    /// Puts the cursor behind the last column of a row, where it is about to wrap, or behind any
    /// other column, by printing what is there.
    pub fn behind(&mut self, grid: &Grid, row: u16, col: u16, from_row: u16) {
        let mut at = col - 1;
        if grid.cell(row, at).is_some_and(Cell::is_wide_continuation) && at > 0 {
            at -= 1;
        }
        self.go(from_row, at);
        let Some(cell) = grid.cell(row, at) else {
            return;
        };
        self.take(&grid.kept().marks.pen(cell));
        match cell.contents() {
            "" => self.out.push(b' '),
            contents => write_text(contents, &mut self.out),
        }
    }

    /// A row by itself, up to a column and without a blank end, for lines of text. The attributes
    /// are default before and after it.
    pub fn line(&mut self, grid: &Grid, row: u16, cols: u16) {
        let pens = &grid.kept().marks;
        let mut col = 0;
        let mut blanks = 0;
        while let Some(cell) = grid.cell(row, col).filter(|_| col < cols) {
            let width = 1 + u16::from(cell.is_wide());
            let pen = pens.pen(cell);
            if !cell.has_contents() && pen == Pen::default() || col + width > cols {
                blanks += 1;
                col += 1;
                continue;
            }
            if blanks > 0 {
                self.take(&Pen::default());
                self.out.resize(self.out.len() + blanks, b' ');
                blanks = 0;
            }
            self.take(&pen);
            match cell.contents() {
                "" => self.out.push(b' '),
                contents => write_text(contents, &mut self.out),
            }
            col += width;
        }
        self.take(&Pen::default());
    }
}

/// Whether a row by itself is full and wrapped.
pub(crate) fn row_wrapped(grid: &Grid, row: u16) -> bool {
    let last = grid.cell(row, grid.size().cols - 1);
    grid.screen().row_wrapped(row)
        && last.is_some_and(|cell| cell.has_contents() || cell.is_wide_continuation())
}
