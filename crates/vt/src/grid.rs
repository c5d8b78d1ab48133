//! The cells: vt100, and what is said to it.
//!
//! It is asked for the cells, the cursor and the rows that scrolled off, and for nothing else. It
//! never gets an unfinished sequence, so that anything can be said to it at any time.

use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};

use vt100::capture::RowContents;
use vt100::{Cell, Parser, Screen};

use crate::Size;
use crate::history::History;
use crate::marks::{self, Marks};

/// Rows that vt100 itself keeps, so that a screen that grows gets its rows back.
pub(crate) const OWN_ROWS: usize = 100;

/// What vt100 tells, and what is needed to understand it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub history: History,
    pub marks: Marks,
    cols: u16,
}

impl vt100::Callbacks for Kept {
    fn on_scroll(&mut self, row: RowContents<'_>, alternate: bool) {
        if !alternate {
            self.history.scrolled(&row, &self.marks, self.cols);
        }
    }
}

/// vt100 and its size.
pub(crate) struct Grid {
    parser: Parser<Kept>,
    size: Size,
    most: usize,
    /// vt100 has panicked, and its screens were lost.
    pub lost: bool,
}

impl Grid {
    pub fn new(size: Size, most: usize) -> Self {
        let own = most.min(OWN_ROWS);
        let kept = Kept {
            history: History::new(most - own),
            marks: Marks::default(),
            cols: size.cols,
        };
        Self {
            parser: parser(size, own, kept),
            size,
            most,
            lost: false,
        }
    }

    /// Feeds vt100. Its screens are blank when that panics.
    pub fn say(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let said = catch_unwind(AssertUnwindSafe(|| self.parser.process(bytes)));
        if said.is_err() {
            self.lose();
        }
    }

    fn lose(&mut self) {
        let kept = std::mem::take(self.parser.callbacks_mut());
        self.parser = parser(self.size, self.most.min(OWN_ROWS), kept);
        self.lost = true;
    }

    pub fn resize(&mut self, size: Size) {
        self.size = size;
        let (rows, cols) = numbers(size);
        let parser = &mut self.parser;
        parser.callbacks_mut().cols = size.cols;
        let done = catch_unwind(AssertUnwindSafe(|| parser.set_size(rows, cols)));
        if done.is_err() {
            self.lose();
        }
    }

    pub fn size(&self) -> Size {
        self.size
    }

    pub fn screen(&self) -> &Screen {
        self.parser.screen()
    }

    pub fn kept(&self) -> &Kept {
        self.parser.callbacks()
    }

    pub fn kept_mut(&mut self) -> &mut Kept {
        self.parser.callbacks_mut()
    }

    pub fn cell(&self, row: u16, col: u16) -> Option<&Cell> {
        self.screen().cell(row, col)
    }

    /// Row and column, which is the number of columns when the next character wraps.
    pub fn cursor(&self) -> (u16, u16) {
        self.screen().cursor_position()
    }

    /// Whether the next character wraps.
    pub fn wraps(&self) -> bool {
        self.cursor().1 >= self.size.cols
    }

    /// Everything but the row of the cursor, which is blank and at the bottom, goes into the history:
    /// vt100's own is empty then, and so is the screen, at whose top the cursor is.
    pub fn push_out(&mut self) {
        self.say(&vec![b'\n'; usize::from(self.size.rows) - 1]);
        // it tells of the rows that it forgets
        self.say(b"\x1b[3J\x1b[H");
    }

    /// Forgets the rows that have scrolled off.
    pub fn clear_history(&mut self) {
        self.kept_mut().history.clear();
        self.on_main(|grid| grid.parser.screen_mut().clear_scrollback());
    }

    /// With the main screen in front; neither screen changes by that.
    pub fn on_main<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        if !self.screen().alternate_screen() {
            return act(self);
        }
        self.say(b"\x1b[?47l");
        let result = act(self);
        self.say(b"\x1b[?47h");
        result
    }

    /// Goes through vt100's own history, the oldest row first: what is read is row 0.
    pub fn own_history(&mut self, rows: usize, mut read: impl FnMut(&Self)) {
        self.on_main(|grid| {
            let screen = grid.parser.screen_mut();
            let most = rows.min(screen.scrollback_len());
            for offset in (1..=most).rev() {
                grid.parser.screen_mut().set_scrollback(offset);
                read(grid);
            }
            grid.parser.screen_mut().set_scrollback(0);
        });
    }

    /// How many rows vt100 itself keeps of those that have scrolled off.
    pub fn own_rows(&mut self) -> usize {
        self.on_main(|grid| grid.screen().scrollback_len())
    }

    /// Frees the marks that no cell has.
    pub fn sweep(&mut self) {
        let mut used = vec![false; marks::MOST];
        let mut note = |c: char| {
            if let Some(used) = marks::number(c).and_then(|n| used.get_mut(n)) {
                *used = true;
            }
        };
        let size = self.size;
        let mut look = |grid: &Self, rows: u16| {
            let cells = (0..rows).flat_map(|row| (0..size.cols).map(move |col| (row, col)));
            for cell in cells.filter_map(|(row, col)| grid.cell(row, col)) {
                cell.contents().chars().for_each(&mut note);
            }
        };
        look(self, size.rows);
        self.own_history(usize::MAX, |grid| look(grid, 1));
        self.on_main(|grid| look(grid, size.rows));
        self.kept_mut().marks.keep(&used);
    }
}

fn numbers(size: Size) -> (NonZeroU16, NonZeroU16) {
    let number = |n| NonZeroU16::new(n).unwrap_or(NonZeroU16::MIN);
    (number(size.rows), number(size.cols))
}

fn parser(size: Size, own: usize, kept: Kept) -> Parser<Kept> {
    let (rows, cols) = numbers(size);
    Parser::new_with_callbacks(rows, cols, own, kept)
}
