//! Controls and sequences: those that vt100 does otherwise are said in words that it knows.

use crate::feed::ANYWHERE;
use crate::grid::Grid;
use crate::params::Params;
use crate::pen::Colour;
use crate::{Entered, Fed, Pen, Saved, Size, State, Terminal, draw};

/// Puts the cursor somewhere, whatever the origin; a column behind the last one is the last one.
pub(crate) fn place(grid: &mut Grid, row: u16, col: u16) {
    grid.say(format!("\x1b[{}d\x1b[{}G", row + 1, col + 1).as_bytes());
}

impl Terminal {
    /// Whether vt100 does with a sequence just what terminals do, so that it need not be looked at.
    /// What has to be kept of it is kept then, and for an SGR in any case.
    pub(crate) fn passes(&mut self, params: &Params, last: u8) -> bool {
        if params.bad || params.intermediate != 0 {
            return false;
        }
        if params.prefix != 0 {
            return params.prefix == b'?' && self.only_kept(params, last);
        }
        if last == b'm' {
            return self.sgr(params);
        }
        if params.has_parts() {
            return false;
        }
        let may_wrap = self.reach >= self.size().cols.into();
        let coloured = self.state.pen.bg != Colour::Default;
        let passes = match last {
            b'H' | b'f' => {
                self.reach = usize::from(params.count_at(1) - 1);
                true
            }
            b'G' | b'`' => {
                self.reach = usize::from(params.count_at(0) - 1);
                true
            }
            b'E' | b'F' => {
                self.reach = 0;
                true
            }
            b'C' => {
                self.reach = self.reach.saturating_add(params.count_at(0).into());
                true
            }
            b'K' => true, // behind the last column nothing is erased
            b'A' | b'B' | b'D' | b'X' => !may_wrap,
            b'd' => !may_wrap && !self.state.origin,
            b'J' => !may_wrap && params.raw(0) < 3,
            b'P' | b'@' => !may_wrap && !coloured,
            b'S' => !coloured,
            b'T' => !coloured && params.len() < 2,
            _ => return false,
        };
        if passes {
            // it is not about to wrap; only SGR and modes leave that as it is
            let last_column = usize::from(self.size().cols) - 1;
            if last != b'K' && last != b'S' && last != b'T' && self.reach < ANYWHERE {
                self.reach = self.reach.min(last_column);
            }
            self.state.last = None;
        }
        passes
    }

    /// Private modes that vt100 need not know, or not exactly.
    fn only_kept(&mut self, params: &Params, last: u8) -> bool {
        let on = match last {
            b'h' => true,
            b'l' => false,
            _ => return false,
        };
        let kept = |m: &u16| !matches!(m, 6 | 47 | 1047 | 1048 | 1049);
        if !params.all().iter().all(kept) {
            return false;
        }
        for mode in params.all() {
            self.state.modes.set(*mode, on);
        }
        true
    }

    fn sgr(&mut self, params: &Params) -> bool {
        let mut pen = std::mem::take(&mut self.state.pen);
        let extra = pen.extra.clone();
        let same = pen.apply(params);
        if pen.extra != extra {
            self.state.mark = self.mark_of(&pen);
        }
        self.state.pen = pen;
        same
    }

    /// The mark of a pen's extra attributes.
    pub(crate) fn mark_of(&mut self, pen: &Pen) -> Option<char> {
        if pen.extra == crate::pen::Extra::default() {
            return None;
        }
        if self.grid.kept_mut().marks.full(&pen.extra) {
            self.grid.sweep();
        }
        self.grid.kept_mut().marks.mark(&pen.extra)
    }

    /// Tells vt100 how to draw.
    pub(crate) fn write_pen(&mut self) {
        let mut said = Vec::new();
        self.state.pen.write_plain(&mut said);
        self.grid.say(&said);
    }

    fn set_pen(&mut self, pen: Pen) {
        self.state.mark = self.mark_of(&pen);
        self.state.pen = pen;
        self.write_pen();
    }

    /// A control character.
    pub(crate) fn control(&mut self, control: u8, fed: &mut Fed) {
        match control {
            0x07 => {
                fed.bells += 1;
                return;
            }
            0x08 => self.back(1),
            0x09 => self.tab(1),
            0x0a..=0x0c => self.line_feed(),
            0x0d => self.grid.say(b"\r"),
            0x0e | 0x0f => {
                self.state.charsets.shift(usize::from(control == 0x0e));
                return;
            }
            _ => return,
        }
        self.state.last = None;
    }

    fn back(&mut self, count: u16) {
        self.before_margin();
        self.grid.say(format!("\x1b[{count}D").as_bytes());
    }

    fn tab(&mut self, count: u16) {
        let (_, col) = self.grid.cursor();
        let cols = self.size().cols;
        if col < cols {
            let to = self.state.tabs.next(col, count, cols);
            self.grid.say(format!("\x1b[{}G", to + 1).as_bytes());
        }
    }

    fn back_tab(&mut self, count: u16) {
        self.before_margin();
        let to = self.state.tabs.back(self.grid.cursor().1, count);
        self.grid.say(format!("\x1b[{}G", to + 1).as_bytes());
    }

    /// A cursor that is about to wrap is in the last column for everything but text.
    fn before_margin(&mut self) {
        if self.grid.wraps() {
            self.grid.say(b"\x1b[C");
        }
    }

    /// LF, VT, FF and IND.
    pub(crate) fn line_feed(&mut self) {
        let newline = self.state.modes.newline;
        self.index();
        if newline {
            self.grid.say(b"\r");
        }
    }

    fn index(&mut self) {
        let (row, _) = self.grid.cursor();
        self.grid.say(b"\n");
        if row == self.state.margins.1 {
            self.fill(row, 1);
        }
    }

    fn reverse_index(&mut self) {
        let (row, _) = self.grid.cursor();
        self.before_margin();
        if row == self.state.margins.0 {
            self.grid.say(b"\x1b[T");
            self.fill(row, 1);
        } else {
            self.grid.say(b"\x1b[A");
        }
    }

    /// Gives rows that have come in blank the background, as terminals do.
    fn fill(&mut self, row: u16, count: u16) {
        if self.state.pen.bg == Colour::Default {
            return;
        }
        let mut said = String::new();
        for row in row..row.saturating_add(count).min(self.size().rows) {
            said += &format!("\x1b[{}d\x1b[2K", row + 1);
        }
        said += &format!("\x1b[{}d", self.grid.cursor().0 + 1);
        self.grid.say(said.as_bytes());
    }

    /// `ESC` and one byte, or intermediates and one byte.
    pub(crate) fn escape(&mut self, inside: &[u8]) {
        if !matches!(inside, [b'('..=b'+', _] | b"n" | b"o") {
            self.state.last = None;
        }
        match inside {
            b"7" => self.save(),
            b"8" => self.restore(),
            b"D" => self.index(),
            b"E" => {
                self.index();
                self.grid.say(b"\r");
            }
            b"M" => self.reverse_index(),
            b"H" => {
                let (cols, col) = (self.size().cols, self.grid.cursor().1);
                self.state.tabs.set(col.min(cols - 1), true, cols);
            }
            b"c" => self.reset(),
            b"=" => self.state.modes.keypad = true,
            b">" => self.state.modes.keypad = false,
            b"n" => self.state.charsets.shift(2),
            b"o" => self.state.charsets.shift(3),
            b"#8" => self.align(),
            [intermediate @ b'('..=b'+', set] => self.state.charsets.designate(*intermediate, *set),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.grid.say(b"\x1bc");
        self.grid.clear_history();
        self.state = State::new(self.size());
    }

    /// `ESC # 8`: a screen of Es.
    fn align(&mut self) {
        let Size { rows, cols } = self.size();
        self.set_origin(false);
        self.region(0, rows - 1);
        let row = "E".repeat(cols.into());
        let mut said = String::from("\x1b[m");
        for at in 1..=rows {
            said += &format!("\x1b[{at}H\x1b[K{row}");
        }
        said += "\x1b[H";
        self.grid.say(said.as_bytes());
        self.write_pen();
    }

    /// `CSI ! p`.
    fn soft_reset(&mut self) {
        let (row, col) = self.grid.cursor();
        self.state.modes.soft_reset();
        self.set_origin(false);
        self.region(0, self.size().rows - 1);
        self.grid.say(b"\x1b7"); // where the scroll region has put it, at home
        place(&mut self.grid, row, col);
        self.state.charsets = Default::default();
        let link = self.state.pen.extra.link.take();
        let mut pen = Pen::default();
        pen.extra.link = link;
        self.set_pen(pen);
        self.state.saved[usize::from(self.alternate())] = Saved::default();
    }

    fn region(&mut self, top: u16, bottom: u16) {
        self.state.margins = (top, bottom);
        self.grid
            .say(format!("\x1b[{};{}r\x1b[H", top + 1, bottom + 1).as_bytes());
    }

    fn set_origin(&mut self, on: bool) {
        self.state.origin = on;
        self.grid.say(if on { b"\x1b[?6h" } else { b"\x1b[?6l" });
    }

    /// DECSC. vt100 keeps the position, and whether it is about to wrap.
    fn save(&mut self) {
        let (row, col) = self.grid.cursor();
        self.grid.say(b"\x1b7");
        self.state.saved[usize::from(self.alternate())] = Saved {
            row,
            col,
            pen: self.state.pen.clone(),
            charsets: self.state.charsets,
            origin: self.state.origin,
        };
    }

    /// DECRC. What was never saved is the home position and no attributes. With origin mode the
    /// cursor stays inside of the scroll region, as in xterm.
    fn restore(&mut self) {
        let saved = self.state.saved[usize::from(self.alternate())].clone();
        self.grid.say(b"\x1b8");
        self.state.origin = saved.origin;
        let (top, bottom) = self.state.margins;
        let (row, col) = self.grid.cursor();
        if saved.origin && !(top..=bottom).contains(&row) {
            let col = col.min(self.size().cols - 1);
            place(&mut self.grid, row.clamp(top, bottom), col);
        }
        self.state.charsets = saved.charsets;
        self.set_pen(saved.pen);
    }

    /// Goes to a screen. Cursor, scroll region and origin are those of both.
    fn switch(&mut self, alternate: bool, mode: u16) {
        if alternate == self.alternate() {
            return;
        }
        let (row, col) = self.grid.cursor();
        self.state.entered = match alternate {
            true => Entered {
                mode,
                bottom: draw::bottom(&self.grid),
            },
            false => Entered::default(),
        };
        self.grid.say(if alternate {
            b"\x1b[?47h"
        } else {
            b"\x1b[?47l"
        });
        let (top, bottom) = self.state.margins;
        self.grid
            .say(format!("\x1b[{};{}r", top + 1, bottom + 1).as_bytes());
        self.set_origin(self.state.origin);
        place(&mut self.grid, row, col);
    }

    fn private_mode(&mut self, mode: u16, on: bool) {
        match (mode, on) {
            (6, _) => self.set_origin(on),
            (47, _) => self.switch(on, mode),
            (1047, true) => self.switch(true, mode),
            (1047, false) => {
                if self.alternate() {
                    self.grid.say(b"\x1b[2J");
                }
                self.switch(false, mode);
            }
            (1048, true) => self.save(),
            (1048, false) => self.restore(),
            (1049, true) if !self.alternate() => {
                self.save();
                self.switch(true, mode);
                self.grid.say(b"\x1b[2J");
            }
            (1049, false) if self.alternate() => {
                self.switch(false, mode);
                self.restore();
            }
            (1049, _) => {} // as in alacritty and kitty; others restore the cursor
            _ => self.state.modes.set(mode, on),
        }
    }

    /// A CSI that does not pass.
    pub(crate) fn csi(&mut self, params: &Params, last: u8, at: (usize, usize), fed: &mut Fed) {
        if params.bad {
            return;
        }
        match (params.prefix, params.intermediate, last) {
            (0, 0, b'm') => {
                if params.controls {
                    self.sgr(params); // else it was obeyed when it did not pass
                }
                self.write_pen();
                return;
            }
            (0, 0, b'b') => {
                self.repeat(params.count_at(0));
                return;
            }
            (0, 0, _) => self.plain_csi(params, last),
            (b'?', 0, b'h' | b'l') => {
                for mode in params.all() {
                    self.private_mode(*mode, last == b'h');
                }
            }
            (b'?', 0, b'J' | b'K') => self.erase(params.raw(0), last),
            (b'?', 0, b'W') if params.raw(0) == 5 => self.state.tabs = Default::default(),
            (0, b'!', b'p') => self.soft_reset(),
            (0, b' ', b'q') => self.style(params.raw(0)),
            (b'>', 0, b'm') if params.raw(0) == 4 => {
                let level = if params.len() > 1 { params.raw(1) } else { 0 };
                self.state.modes.modify_other_keys = u8::try_from(level.min(3)).unwrap_or(0);
            }
            (b'>', 0, b'n') if params.raw(0) == 4 => self.state.modes.modify_other_keys = 0,
            (b'<' | b'=' | b'>', 0, b'u') => self.kitty(params),
            _ => {}
        }
        if !(params.prefix == 0 && matches!(last, b'h' | b'l')) {
            self.state.last = None;
        }
        self.query(params, last, at, fed);
    }

    fn kitty(&mut self, params: &Params) {
        let kitty = &mut self.state.kitty[usize::from(self.grid.screen().alternate_screen())];
        match params.prefix {
            b'>' => kitty.push(params.raw(0)),
            b'<' => kitty.pop(params.count_at(0)),
            _ => kitty.change(params.raw(0), params.raw(1)),
        }
    }

    fn style(&mut self, style: u16) {
        if let Ok(style @ 0..=6) = u8::try_from(style) {
            self.state.modes.style = style;
        }
    }

    fn plain_csi(&mut self, params: &Params, last: u8) {
        let n = params.count_at(0);
        match last {
            b'A' | b'B' | b'X' | b'P' | b'@' | b'L' | b'M' => self.before_margin(),
            b'C' | b'a' | b'e' => self.before_margin(),
            _ => {}
        }
        match last {
            b'A' | b'B' | b'C' => self.say_csi(n, last),
            b'a' => self.say_csi(n, b'C'),
            b'e' => self.say_csi(n, b'B'),
            b'D' => self.back(n),
            b'G' | b'`' => self.say_csi(n, b'G'),
            b'E' | b'F' => self.say_csi(n, last),
            b'H' | b'f' => {
                let said = format!("\x1b[{};{}H", n, params.count_at(1));
                self.grid.say(said.as_bytes());
            }
            b'd' => self.row(n),
            b'I' => self.tab(n),
            b'Z' => self.back_tab(n),
            b'J' | b'X' => self.erase(params.raw(0), last),
            b'@' | b'P' => self.shift_cells(n, last),
            b'L' | b'M' => self.shift_rows(n, last),
            b'S' | b'T' if params.len() < 2 => self.scroll(n, last),
            b'^' => self.scroll(n, b'T'),
            b'r' => self.margins(params),
            b's' => self.save(),
            b'u' => self.restore(),
            b'g' => self.clear_tab(params.raw(0)),
            b'h' | b'l' => {
                for mode in params.all() {
                    match mode {
                        4 => self.state.modes.insert = last == b'h',
                        20 => self.state.modes.newline = last == b'h',
                        _ => {}
                    }
                }
            }
            b't' => self.window(params),
            _ => {}
        }
    }

    fn say_csi(&mut self, n: u16, last: u8) {
        self.grid
            .say(format!("\x1b[{n}{}", char::from(last)).as_bytes());
    }

    /// VPA, which counts from the origin.
    fn row(&mut self, n: u16) {
        self.before_margin();
        let (top, bottom) = self.state.margins;
        let row = match self.state.origin {
            true => (n - 1).saturating_add(top).min(bottom) + 1,
            false => n,
        };
        self.say_csi(row, b'd');
    }

    /// ED, ECH, and DECSED and DECSEL. A cursor that is about to wrap is in the last column for ED,
    /// and still wraps.
    fn erase(&mut self, n: u16, last: u8) {
        if last == b'J' && n == 3 {
            self.grid.clear_history();
            return;
        }
        if last == b'K' {
            self.grid.say(format!("\x1b[{n}K").as_bytes());
            return;
        }
        let wraps = self.grid.wraps();
        self.before_margin();
        self.say_csi(n, last);
        if wraps && last == b'J' {
            let row = self.grid.cursor().0;
            self.wrap_at(row);
        }
    }

    /// ICH and DCH.
    fn shift_cells(&mut self, n: u16, last: u8) {
        let (cols, col) = (self.size().cols, self.grid.cursor().1);
        self.say_csi(n, last);
        if self.state.pen.bg == Colour::Default {
            return;
        }
        let n = n.min(cols - col);
        let from = if last == b'@' { col } else { cols - n };
        let said = format!("\x1b[{}G\x1b[{n}X\x1b[{}G", from + 1, col + 1);
        self.grid.say(said.as_bytes());
    }

    /// IL and DL: nothing outside of the scroll region; the cursor goes to the first column.
    fn shift_rows(&mut self, n: u16, last: u8) {
        let row = self.grid.cursor().0;
        let (top, bottom) = self.state.margins;
        if !(top..=bottom).contains(&row) {
            return;
        }
        self.grid.say(b"\r");
        self.say_csi(n, last);
        let n = n.min(bottom - row + 1);
        self.fill(if last == b'L' { row } else { bottom + 1 - n }, n);
    }

    /// SU and SD.
    fn scroll(&mut self, n: u16, last: u8) {
        self.say_csi(n, last);
        let (top, bottom) = self.state.margins;
        let n = n.min(bottom - top + 1);
        self.fill(if last == b'T' { top } else { bottom + 1 - n }, n);
    }

    /// DECSTBM: one that cannot be is ignored.
    fn margins(&mut self, params: &Params) {
        let rows = self.size().rows;
        let top = params.count_at(0);
        let bottom = match params.raw(1) {
            0 => rows,
            bottom => bottom.min(rows),
        };
        if top < bottom {
            self.region(top - 1, bottom - 1);
        }
    }

    fn clear_tab(&mut self, which: u16) {
        let cols = self.size().cols;
        match which {
            0 => {
                let col = self.grid.cursor().1.min(cols - 1);
                self.state.tabs.set(col, false, cols);
            }
            3 => self.state.tabs.clear(cols),
            _ => {}
        }
    }

    /// REP, right behind a character; never more of them than the screen has cells.
    fn repeat(&mut self, n: u16) {
        let Some(c) = self.state.last else { return };
        let Size { rows, cols } = self.size();
        let most = usize::from(rows) * usize::from(cols);
        let c = if c == crate::marks::REPLACED {
            '\u{FFFD}'
        } else {
            c
        };
        let text: String = std::iter::repeat_n(c, most.min(n.into())).collect();
        // what was shown is repeated, not mapped again
        let charsets = std::mem::take(&mut self.state.charsets);
        self.print(&text);
        self.state.charsets = charsets;
    }

    /// What the title's stack is for.
    fn window(&mut self, params: &Params) {
        match (params.raw(0), params.raw(1)) {
            (22, 0 | 2) => self.state.strings.push_title(),
            (23, 0 | 2) => self.state.strings.pop_title(),
            _ => {}
        }
    }
}
