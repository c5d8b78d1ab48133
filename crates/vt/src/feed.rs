//! Bytes in: what vt100 does just as terminals do goes on to it in long runs, the rest is looked at.

use std::mem::take;

use crate::grid::OWN_ROWS;
use crate::params::Params;
use crate::pen::{Colour, Pen};
use crate::scan::{self, ESC, Found, Inside};
use crate::{Fed, MAX_PENDING, Terminal};

/// A column that the cursor is never behind.
pub(crate) const ANYWHERE: usize = usize::MAX;

/// Bytes of a run of plain text in which lines may be passed over.
const LONG: usize = 16 * 1024;

/// The lines of a run that are passed over.
#[derive(Clone, Copy)]
struct Passing {
    start: usize,
    end: usize,
}

/// A piece of input, and what of it vt100 has not got yet.
struct Input<'a> {
    bytes: &'a [u8],
    /// Where that begins.
    from: usize,
    at: usize,
}

impl Terminal {
    /// Takes what the program wrote, in pieces as they come; never panics.
    pub fn feed(&mut self, bytes: &[u8]) -> Fed {
        let mut fed = Fed::default();
        if self.pending.is_empty() {
            self.run(bytes, &mut fed);
        } else {
            let mut all = take(&mut self.pending);
            all.extend_from_slice(bytes);
            self.run(&all, &mut fed);
        }
        fed.lost = take(&mut self.grid.lost);
        if fed.lost {
            self.found_lost();
        }
        fed
    }

    /// vt100 was made anew: what it has to know is said to it again.
    fn found_lost(&mut self) {
        let size = self.size();
        self.state.margins = (0, size.rows - 1);
        self.state.origin = false;
        self.state.saved = Default::default();
        self.state.last = None;
        if self.state.entered.mode != 0 {
            self.grid.say(b"\x1b[?47h");
        }
        self.write_pen();
    }

    fn run(&mut self, bytes: &[u8], fed: &mut Fed) {
        let start = self.skip(bytes);
        let mut input = Input {
            bytes,
            from: start,
            at: start,
        };
        while input.at < bytes.len() {
            let rest = &bytes[input.at..];
            let plain = scan::plain(rest);
            if plain > 0 {
                self.plain(&mut input, plain);
            } else if rest[0] == ESC {
                if !self.sequence(&mut input, fed) {
                    return;
                }
            } else if rest[0] < 0x80 {
                self.flush(&mut input);
                self.control(rest[0], fed);
                self.look();
                input.past(1);
            } else if !self.characters(&mut input) {
                return;
            }
        }
        self.flush(&mut input);
    }

    /// Goes on in a sequence that was too long. Where the first byte behind it is.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let end = match self.skipping {
            None => return 0,
            Some(Inside::Sequence) => scan::sequence_end(bytes),
            Some(Inside::Text(kind)) => scan::string_end(bytes, kind).map(|(_, after)| after),
        };
        if let Some(end) = end {
            self.skipping = None;
            return end;
        }
        // an ESC at the end may be half of the ST
        let half = bytes.last() == Some(&ESC);
        if half {
            self.pending = vec![ESC];
        }
        bytes.len()
    }

    fn flush(&mut self, input: &mut Input<'_>) {
        self.grid.say(&input.bytes[input.from..input.at]);
        input.from = input.at;
    }

    /// Printable ASCII, CR and LF.
    fn plain(&mut self, input: &mut Input<'_>, length: usize) {
        let length = match self.passes_over(&input.bytes[input.at..input.at + length]) {
            Some(lines) => {
                self.flush(input);
                self.pass_over(&input.bytes[input.at..input.at + length], lines);
                input.past(lines.end);
                length - lines.end
            }
            None => length,
        };
        let run = &input.bytes[input.at..input.at + length];
        if self.ordinary() && (self.uncoloured() || self.within_row(run)) {
            input.at += length;
            self.printed(run);
            return;
        }
        self.flush(input);
        self.print_plain(run);
        self.look();
        input.past(length);
    }

    /// The lines of a long run that come and go: they will be in the history, and on no screen that
    /// anybody sees. Lines before them bring the cursor to the bottom, and push out what is below
    /// it; lines behind them fill the screen, and vt100's own history.
    fn passes_over(&self, run: &[u8]) -> Option<Passing> {
        let rows = usize::from(self.size().rows);
        if run.len() < LONG
            || !self.ordinary()
            || self.alternate()
            || self.state.pen != Pen::default()
            || self.state.margins != (0, self.size().rows - 1)
        {
            return None;
        }
        let mut ends = memchr::memchr_iter(b'\n', run);
        let start = ends.nth(rows)? + 1;
        let mut last = memchr::memrchr_iter(b'\n', run);
        let end = last.nth(rows + OWN_ROWS)? + 1;
        if end <= start {
            return None;
        }
        let lines = run.get(start - 2..end)?;
        // each of them ends with CR and LF, and has none of them inside
        let whole = lines.starts_with(b"\r\n")
            && lines[2..]
                .split_inclusive(|byte| *byte == b'\n')
                .all(|line| {
                    line.ends_with(b"\r\n") && memchr::memchr(b'\r', line) == Some(line.len() - 2)
                });
        whole.then_some(Passing { start, end })
    }

    fn pass_over(&mut self, run: &[u8], lines: Passing) {
        self.grid.say(&run[..lines.start]);
        if self.grid.cursor() != (self.size().rows - 1, 0) {
            // it was moved by a panic of vt100's: nothing is passed over
            self.grid.say(&run[lines.start..lines.end]);
        } else {
            self.grid.push_out();
            let cols = usize::from(self.size().cols);
            let history = &mut self.grid.kept_mut().history;
            for line in run[lines.start..lines.end].split_inclusive(|byte| *byte == b'\n') {
                history.push_text(&line[..line.len() - 2], cols);
            }
        }
        self.reach = 0;
    }

    /// What vt100 will print is counted.
    fn printed(&mut self, run: &[u8]) {
        let Some(last) = run.last() else { return };
        match last {
            b'\r' => self.reach = 0,
            b'\n' if run.ends_with(b"\r\n") => self.reach = 0,
            _ => self.reach = self.reach.saturating_add(run.len()),
        }
        self.state.last = (*last >= 0x20).then_some(char::from(*last));
    }

    /// Whether text does not go beyond the row that the cursor is in.
    fn within_row(&self, run: &[u8]) -> bool {
        let end = self.reach.saturating_add(run.len());
        end <= self.size().cols.into() && !run.contains(&b'\n')
    }

    /// Finds out where the cursor is.
    fn look(&mut self) {
        self.reach = self.grid.cursor().1.into();
    }

    /// Whether vt100 prints as terminals do, but for rows that scroll in coloured.
    fn ordinary(&self) -> bool {
        let state = &self.state;
        state.mark.is_none()
            && state.modes.autowrap
            && !state.modes.insert
            && !state.modes.newline
            && !state.charsets.maps()
    }

    fn uncoloured(&self) -> bool {
        self.state.pen.bg == Colour::Default
    }

    /// Text that is not ASCII, and vt100 prints it as terminals do.
    fn passes_text(&mut self, run: &[u8]) -> bool {
        // characters of no more columns than bytes, and none that `print` looks at
        let special = |b: &u8| matches!(b, 0xc2 | 0xcc..=0xcd | 0xe2 | 0xef | 0xf3 | 0xf4);
        if !self.ordinary() || !self.within_row(run) {
            return false;
        }
        let Ok(text) = std::str::from_utf8(run) else {
            return false;
        };
        if run.iter().any(special) && !text.chars().all(usual) {
            return false;
        }
        self.reach += run.len();
        let last = text.chars().rev().find(|c| crate::print::width(*c) > 0);
        self.state.last = last.or(self.state.last);
        true
    }

    /// Bytes that are not ASCII. Whether there is anything behind them.
    fn characters(&mut self, input: &mut Input<'_>) -> bool {
        let run = &input.bytes[input.at..];
        let run = &run[..scan::text(run)];
        if self.passes_text(run) {
            input.at += run.len();
            return true;
        }
        self.flush(input);
        self.reach = ANYWHERE;
        let last = input.at + run.len() == input.bytes.len();
        for piece in run.utf8_chunks() {
            self.print(piece.valid());
            let bad = piece.invalid();
            if bad.is_empty() {
                continue;
            }
            if last && input.bytes.ends_with(bad) && unfinished(bad) {
                // the pieces are in order: it is the end of the bytes only if nothing is behind it
                let end = bad.as_ptr_range().end == input.bytes.as_ptr_range().end;
                if end {
                    self.pending = bad.to_vec();
                    return false;
                }
            }
            self.put('\u{FFFD}');
        }
        self.look();
        input.past(run.len());
        true
    }

    /// What begins with an ESC. Whether it is whole.
    fn sequence(&mut self, input: &mut Input<'_>, fed: &mut Fed) -> bool {
        let rest = &input.bytes[input.at..];
        let (length, inside) = match scan::sequence(rest) {
            Found::Unfinished(inside) => {
                self.flush(input);
                if rest.len() > MAX_PENDING {
                    self.skipping = Some(inside);
                    if rest.last() == Some(&ESC) {
                        self.pending = vec![ESC];
                    }
                } else {
                    self.pending = rest.to_vec();
                }
                return false;
            }
            Found::Csi(length, inside, last) => {
                let params = Params::read(inside);
                if !params.controls && self.passes(&params, last) {
                    input.at += length;
                    return true;
                }
                self.flush(input);
                self.obey(inside, fed);
                let at = (input.at, input.at + length);
                self.csi(&params, last, at, fed);
                (length, None)
            }
            Found::Escape(length, inside) => {
                self.flush(input);
                self.obey(inside, fed);
                self.escape(inside);
                (length, None)
            }
            Found::Text(length, kind, inside) => {
                self.flush(input);
                let at = (input.at, input.at + length);
                self.string(kind, inside, at, fed);
                (length, None)
            }
            Found::Broken(length) => {
                self.flush(input);
                (length, Some(&rest[1..length]))
            }
        };
        if let Some(inside) = inside {
            self.obey(inside, fed);
        }
        self.look();
        input.past(length);
        true
    }

    /// Obeys the controls inside of a sequence.
    fn obey(&mut self, inside: &[u8], fed: &mut Fed) {
        for control in scan::controls(inside) {
            self.control(control, fed);
        }
    }
}

impl Input<'_> {
    /// Past some bytes that vt100 does not get.
    fn past(&mut self, length: usize) {
        self.at += length;
        self.from = self.at;
    }
}

/// Whether a character is none that has to be looked at.
fn usual(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{FE0F}' | '\u{FFFD}' | '\u{10FFFC}'..)
        && crate::marks::number(c).is_none()
}

/// Whether it is the beginning of a character of UTF-8.
fn unfinished(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
