//! The terminal state of a program in a PTY: bytes to state, and state to bytes.
//!
//! A [`Terminal`] is fed all that a program writes. [`Terminal::snapshot`] gives what makes any
//! modern terminal of the same size show the same and behave the same, so that somebody who comes
//! later, or could not keep up, goes on with the program's own bytes.
//!
//! The cells are vt100's. What vt100 knows under another name is said to it in that name
//! (`control`, `print`); what it has no place for is kept beside it (`modes`, `marks`). When vt100
//! panics its screens are blank and [`Fed::lost`] is set; the panic is caught, but the process's
//! panic hook runs, and whether that prints is the caller's matter.

mod charsets;
mod control;
mod draw;
mod feed;
mod grid;
mod history;
mod marks;
mod modes;
mod paint;
mod params;
mod pen;
mod print;
mod query;
mod scan;
mod snapshot;
mod strings;
mod tabs;
mod undo;

use charsets::Charsets;
use grid::Grid;
use modes::{Kitty, Modes};
use pen::Pen;
use scan::Inside;
use strings::Strings;
use tabs::Tabs;

pub use paint::Painted;

/// Bytes of an unfinished sequence that are kept; a longer one is followed to its end and then
/// forgotten, as no terminal does anything with it that would be kept here.
pub const MAX_PENDING: usize = 4096;

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Rows, 1 to 1000.
    pub rows: u16,
    /// Columns, 1 to 1000.
    pub cols: u16,
}

impl Size {
    /// The size that is used for this one: rows and columns between 1 and 1000.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self {
            rows: self.rows.clamp(1, 1000),
            cols: self.cols.clamp(1, 1000),
        }
    }
}

/// What came of some bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// What asked the terminal something, in order.
    pub queries: Vec<Query>,
    /// How often the bell rang.
    pub bells: usize,
    /// What the program said with OSC 7501, in order; at most 64 of one call.
    pub notices: Vec<Notice>,
    /// The screens were lost: the program should be made to paint again.
    pub lost: bool,
}

/// A question of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Where it begins, in what was pending before the call and the call's bytes behind that.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What this terminal answers to it.
    pub answer: Vec<u8>,
}

/// The inside of an OSC 7501, behind `7501;`; at most [`MAX_PENDING`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice(pub Vec<u8>);

/// What DECSC has saved, but for what vt100 saves itself: the position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Saved {
    row: u16,
    col: u16,
    pen: Pen,
    charsets: Charsets,
    origin: bool,
}

/// How the program went to the alternate screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entered {
    mode: u16,
    /// The last row of the main screen that has anything, then.
    bottom: Option<u16>,
}

/// What is not of vt100 and goes with a reset.
#[derive(Clone, Debug, Default)]
struct State {
    pen: Pen,
    /// The mark of the pen's extra attributes.
    mark: Option<char>,
    modes: Modes,
    charsets: Charsets,
    tabs: Tabs,
    /// Of the main and of the alternate screen.
    kitty: [Kitty; 2],
    saved: [Saved; 2],
    /// First and last row that scroll.
    margins: (u16, u16),
    origin: bool,
    entered: Entered,
    strings: Strings,
    /// The character that was printed last, if nothing came after it.
    last: Option<char>,
}

/// A terminal without a window.
pub struct Terminal {
    grid: Grid,
    state: State,
    history: usize,
    pending: Vec<u8>,
    /// Inside of a sequence that was too long to be kept.
    skipping: Option<Inside>,
    /// The cursor is not behind this column; [`feed::ANYWHERE`] when that is not known.
    reach: usize,
    told: query::Told,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal")
            .field("size", &self.size())
            .field("cursor", &self.grid.cursor())
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// A blank one. Of the rows that scroll off the top of the main screen at most `history` are
    /// kept, and at most 2 KiB a row on average.
    #[must_use]
    pub fn new(size: Size, history: usize) -> Self {
        let size = size.clamped();
        Self {
            grid: Grid::new(size, history),
            state: State::new(size),
            history,
            pending: Vec::new(),
            skipping: None,
            reach: 0,
            told: query::Told::default(),
        }
    }

    /// Its size.
    #[must_use]
    pub fn size(&self) -> Size {
        self.grid.size()
    }

    /// Changes its size, as terminals do on their alternate screen: rows are cut or filled, and not
    /// wrapped anew. The scroll region is the whole screen after it.
    pub fn resize(&mut self, size: Size) {
        let size = size.clamped();
        if size == self.size() {
            return;
        }
        self.grid.resize(size);
        self.state.margins = (0, size.rows - 1);
        self.state.last = None;
        self.reach = feed::ANYWHERE;
        self.state.tabs.resize(size.cols);
        for saved in &mut self.state.saved {
            saved.row = saved.row.min(size.rows - 1);
            saved.col = saved.col.min(size.cols - 1); // as vt100 does
        }
        // its region was that of the old size
        let grid = &mut self.grid;
        let at = grid.cursor();
        grid.say(b"\x1b[r");
        control::place(grid, at.0, at.1);
        if self.alternate() {
            self.state.entered.bottom = self.grid.on_main(|grid| draw::bottom(grid));
        }
    }

    /// The end of what was fed when that is an unfinished sequence or character: it has to be put
    /// behind a snapshot, before the bytes that come next. At most [`MAX_PENDING`] bytes.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Whether something may be put between what was fed and what comes next. It may not inside of
    /// a sequence that is longer than [`MAX_PENDING`].
    #[must_use]
    pub fn whole(&self) -> bool {
        self.skipping.is_none()
    }

    /// The window's title, as the program has set it: at most 4 KiB, without control characters.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.state.strings.title()
    }

    /// Whether the program is on the alternate screen.
    #[must_use]
    pub fn alternate(&self) -> bool {
        self.grid.screen().alternate_screen()
    }

    /// Whether the program wants the cursor keys in their other form (DECCKM).
    #[must_use]
    pub fn application_cursor(&self) -> bool {
        self.grid.screen().application_cursor()
    }

    /// Whether the program wants what is pasted between brackets (mode 2004).
    #[must_use]
    pub fn pastes(&self) -> bool {
        self.grid.screen().bracketed_paste()
    }

    /// Whether the program wants to be told of the focus (mode 1004).
    #[must_use]
    pub fn reports_focus(&self) -> bool {
        self.state.modes.get(1004) == Some(true)
    }

    /// Kitty's keyboard flags that the program asked for.
    #[must_use]
    pub fn kitty_flags(&self) -> u8 {
        self.state.kitty[usize::from(self.alternate())].flags()
    }

    /// xterm's modifyOtherKeys that the program asked for.
    #[must_use]
    pub fn modify_other_keys(&self) -> u8 {
        self.state.modes.modify_other_keys
    }
}

impl State {
    fn new(size: Size) -> Self {
        Self {
            margins: (0, size.rows - 1),
            ..Self::default()
        }
    }
}
