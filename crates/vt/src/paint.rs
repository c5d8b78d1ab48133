//! A picture of the screen for a terminal of another size.

use std::io::Write as _;

use crate::draw::Brush;
use crate::modes::write_kitty_off;
use crate::snapshot::{write_blank, write_known};
use crate::{Size, Terminal};

/// What a viewer of another size shows already.
#[derive(Debug, Default)]
pub struct Painted {
    size: Option<Size>,
    alternate: bool,
    modes: Vec<u8>,
    rows: Vec<Vec<u8>>,
}

impl Terminal {
    /// The top left part of the screen, as far as it fits, for a terminal of that size: the rows that
    /// have changed since `painted`, which is the default for one that shows nothing yet. Its modes
    /// are the program's, but for those that say how to print; outside of the screen it is blank.
    pub fn paint(&mut self, size: Size, painted: &mut Painted) -> Vec<u8> {
        let size = size.clamped();
        let mut brush = Brush::default();
        let alternate = self.alternate();
        let anew = painted.size != Some(size) || painted.alternate != alternate;
        if anew {
            *painted = Painted {
                size: Some(size),
                alternate,
                ..Painted::default()
            };
            write_known(&mut brush.out);
            if alternate {
                brush.out.extend_from_slice(b"\x1b[?1049h");
            }
            brush.out.extend_from_slice(b"\x1b[?7l");
            write_blank(size.rows, &mut brush.out);
            painted.rows = vec![Vec::new(); size.rows.into()];
        } else {
            brush.out.extend_from_slice(b"\x1b[?2026h\x1b[?25l");
        }
        let start = brush.out.len();
        self.paint_modes(painted, anew, &mut brush.out);
        self.paint_rows(size, painted, &mut brush.out);
        let changed = brush.out.len() > start || anew;
        self.paint_cursor(size, &mut brush.out);
        brush.out.extend_from_slice(b"\x1b[?2026l");
        if !changed {
            // the cursor alone
            brush.out.clear();
            self.paint_cursor(size, &mut brush.out);
        }
        brush.out
    }

    fn paint_modes(&self, painted: &mut Painted, anew: bool, out: &mut Vec<u8>) {
        let mut modes = Vec::new();
        write_kitty_off(&mut modes);
        self.state.kitty[usize::from(self.alternate())].write(&mut modes);
        self.state.modes.write_input(&mut modes);
        if modes != painted.modes {
            if !anew {
                crate::modes::write_input_off(out);
            }
            out.extend_from_slice(&modes);
            painted.modes = modes;
        }
    }

    fn paint_rows(&self, size: Size, painted: &mut Painted, out: &mut Vec<u8>) {
        let rows = size.rows.min(self.size().rows);
        for row in 0..rows {
            let mut brush = Brush::default();
            brush.line(&self.grid, row, size.cols.min(self.size().cols));
            let shown = painted.rows.get_mut(usize::from(row));
            if let Some(shown) = shown.filter(|shown| **shown != brush.out) {
                let _ = write!(out, "\x1b[{}H\x1b[2K", row + 1);
                out.extend_from_slice(&brush.out);
                *shown = brush.out;
            }
        }
    }

    fn paint_cursor(&self, size: Size, out: &mut Vec<u8>) {
        let (row, col) = self.grid.cursor();
        let col = col.min(self.size().cols - 1);
        let inside = row < size.rows && col < size.cols;
        if inside {
            let _ = write!(out, "\x1b[{};{}H", row + 1, col + 1);
        }
        let visible = self.state.modes.visible && inside;
        out.extend_from_slice(if visible { b"\x1b[?25h" } else { b"\x1b[?25l" });
    }
}
