//! A terminal back to its shell, and the screen as text.

use std::io::Write as _;

use crate::Terminal;
use crate::draw::{self, Brush};
use crate::modes::{write_input_off, write_kitty_off};
use crate::snapshot::write_plain;
use crate::tabs::Tabs;

impl Terminal {
    /// Gives a terminal that shows this one back to a shell: on the main screen, with every mode off
    /// that could be on, and the cursor on a fresh line below what is there. The title is left.
    #[must_use]
    pub fn undo(&self) -> Vec<u8> {
        let mut out = b"\x18".to_vec();
        write_kitty_off(&mut out);
        let bottom = if self.alternate() {
            out.extend_from_slice(b"\x1b[?1049l");
            write_kitty_off(&mut out);
            self.state.entered.bottom
        } else {
            draw::bottom(&self.grid)
        };
        write_plain(&mut out);
        write_input_off(&mut out);
        self.state.strings.write_undo(&mut out);
        if !self.state.tabs.usual() {
            Tabs::default().write(self.size().cols, &mut out);
        }
        match bottom {
            Some(row) => {
                let _ = write!(out, "\x1b[{}H\r\n", row + 1);
            }
            None => out.extend_from_slice(b"\x1b[H"),
        }
        out.extend_from_slice(b"\x1b[?2026l\x1b[?25h");
        out
    }

    /// The screen in front and so many rows above it as text: a line a row, blanks at its end cut.
    pub fn text(&mut self, history_rows: usize) -> String {
        let lines = self.ansi(history_rows);
        let mut out = String::with_capacity(lines.len());
        for line in String::from_utf8_lossy(&lines).split_inclusive('\n') {
            let plain = without_sequences(line.trim_end_matches('\n'));
            out += plain.trim_end_matches(' ');
            out.push('\n');
        }
        out
    }

    /// The same with SGR and links. Each line begins and ends with default attributes.
    pub fn ansi(&mut self, history_rows: usize) -> Vec<u8> {
        let cols = self.size().cols;
        let mut brush = Brush::default();
        let own = self.grid.own_rows().min(history_rows);
        for (row, _) in self.grid.kept().history.last(history_rows - own) {
            brush.out.extend_from_slice(row);
            brush.out.push(b'\n');
        }
        self.grid.own_history(own, |grid| {
            brush.line(grid, 0, cols);
            brush.out.push(b'\n');
        });
        for row in 0..self.size().rows {
            brush.line(&self.grid, row, cols);
            brush.out.push(b'\n');
        }
        brush.out
    }
}

/// Without the SGR and OSC 8 that we write ourselves.
fn without_sequences(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\x1b') {
        out += &rest[..at];
        rest = &rest[at..];
        let end = match rest.starts_with("\x1b]") {
            true => rest.find("\x1b\\").map(|end| end + 2),
            false => rest.find('m').map(|end| end + 1),
        };
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    out + rest
}
