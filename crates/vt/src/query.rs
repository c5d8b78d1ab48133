//! What a program asks its terminal, and what this one answers when there is no other.

use std::fmt::Write as _;

use crate::params::Params;
use crate::strings::colour_name;
use crate::{Fed, Query, Size, Terminal};

const COLOURS: [&str; 3] = [
    "rgb:d0d0/d0d0/d0d0",
    "rgb:0000/0000/0000",
    "rgb:d0d0/d0d0/d0d0",
];

/// What an attached terminal has told of itself.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    width: u16,
    height: u16,
    colours: [Option<String>; 3],
}

impl Default for Told {
    fn default() -> Self {
        Self {
            width: 8,
            height: 16,
            colours: [const { None }; 3],
        }
    }
}

impl Terminal {
    /// How large the window is in pixels, as the PTY says it; 0 where that is not known.
    pub fn set_pixels(&mut self, width: u16, height: u16) {
        let Size { rows, cols } = self.size();
        if width >= cols && height >= rows {
            self.told.width = width / cols;
            self.told.height = height / rows;
        }
    }

    /// Colours that a real terminal has told in answer to OSC 10, 11 and 12 (`rgb:ffff/ffff/ffff`):
    /// of text, background and cursor. None, or one that is no colour, leaves what was told before.
    pub fn set_colours(&mut self, colours: [Option<&str>; 3]) {
        for (told, new) in self.told.colours.iter_mut().zip(colours) {
            if let Some(name) = new.and_then(|name| colour_name(name.as_bytes())) {
                *told = Some(name);
            }
        }
    }

    fn colour(&self, which: usize) -> &str {
        let set = self.state.strings.colours[which].as_deref();
        let told = self.told.colours[which].as_deref();
        set.or(told).unwrap_or(COLOURS[which])
    }

    pub(crate) fn query_colour(&self, which: usize, at: (usize, usize), fed: &mut Fed) {
        let answer = format!("\x1b]{};{}\x1b\\", 10 + which, self.colour(which));
        ask(fed, at, answer);
    }

    /// DECRQSS and XTGETTCAP: nothing of that is told.
    pub(crate) fn query_dcs(&self, inside: &[u8], at: (usize, usize), fed: &mut Fed) {
        if inside.starts_with(b"$q") {
            ask(fed, at, "\x1bP0$r\x1b\\".into());
        } else if inside.starts_with(b"+q") {
            ask(fed, at, "\x1bP0+r\x1b\\".into());
        }
    }

    /// Answers a CSI, if it asks something.
    pub(crate) fn query(&self, params: &Params, last: u8, at: (usize, usize), fed: &mut Fed) {
        let first = params.raw(0);
        let answer = match (params.prefix, params.intermediate, last) {
            (0, 0, b'c') if first == 0 => "\x1b[?62;22c".into(),
            (b'>', 0, b'c') if first == 0 => "\x1b[>1;0;0c".into(),
            (b'=', 0, b'c') if first == 0 => "\x1bP!|00000000\x1b\\".into(),
            (b'>', 0, b'q') if first == 0 => {
                format!("\x1bP>|clsess({})\x1b\\", env!("CARGO_PKG_VERSION"))
            }
            (0, 0, b'n') if first == 5 => "\x1b[0n".into(),
            (0 | b'?', 0, b'n') if first == 6 => self.position(params.prefix),
            (b'?', 0, b'n') if first == 996 => self.theme(),
            (b'?', 0, b'u') => format!("\x1b[?{}u", self.kitty_flags()),
            (b'?', 0, b'm') if first == 4 => format!("\x1b[>4;{}m", self.modify_other_keys()),
            (b'?', b'$', b'p') => format!("\x1b[?{first};{}$y", self.state_of(first)),
            (0, b'$', b'p') => format!("\x1b[{first};{}$y", self.ansi_state_of(first)),
            (0, 0, b't') => match self.window_size(first) {
                Some(answer) => answer,
                None => return,
            },
            _ => return,
        };
        ask(fed, at, answer);
    }

    fn position(&self, prefix: u8) -> String {
        let (row, col) = self.grid.cursor();
        let top = if self.state.origin {
            self.state.margins.0
        } else {
            0
        };
        let (row, col) = (row.saturating_sub(top) + 1, (col + 1).min(self.size().cols));
        let mark = if prefix == b'?' { "?" } else { "" };
        let mut answer = format!("\x1b[{mark}{row};{col}");
        let _ = write!(answer, "{}R", if prefix == b'?' { ";1" } else { "" });
        answer
    }

    /// Dark is 1 and light is 2, after the background.
    fn theme(&self) -> String {
        let parts = self.colour(1).trim_start_matches("rgb:").split('/');
        let shade = |part: &str| {
            let value = u32::from_str_radix(part, 16).unwrap_or(0);
            let most = 16_u32.saturating_pow(part.len().min(4) as u32) - 1;
            value * 100 / most.max(1)
        };
        let light = parts.map(shade).sum::<u32>() > 150;
        format!("\x1b[?997;{}n", if light { 2 } else { 1 })
    }

    fn window_size(&self, what: u16) -> Option<String> {
        let Size { rows, cols } = self.size();
        let (width, height) = (u32::from(self.told.width), u32::from(self.told.height));
        match what {
            14 => {
                let (height, width) = (height * u32::from(rows), width * u32::from(cols));
                Some(format!("\x1b[4;{height};{width}t"))
            }
            16 => Some(format!("\x1b[6;{height};{width}t")),
            18 => Some(format!("\x1b[8;{rows};{cols}t")),
            _ => None,
        }
    }

    /// 1 is set, 2 is reset, 0 is not known.
    fn state_of(&self, mode: u16) -> u8 {
        let on = match mode {
            6 => Some(self.state.origin),
            47 | 1047 | 1049 => Some(self.alternate()),
            _ => self.state.modes.get(mode),
        };
        told(on)
    }

    fn ansi_state_of(&self, mode: u16) -> u8 {
        told(match mode {
            4 => Some(self.state.modes.insert),
            20 => Some(self.state.modes.newline),
            _ => None,
        })
    }
}

fn told(on: Option<bool>) -> u8 {
    match on {
        Some(true) => 1,
        Some(false) => 2,
        None => 0,
    }
}

fn ask(fed: &mut Fed, at: (usize, usize), answer: String) {
    // one sequence can ask several things
    if let Some(query) = fed.queries.last_mut().filter(|query| query.start == at.0) {
        query.answer.extend_from_slice(answer.as_bytes());
        return;
    }
    fed.queries.push(Query {
        start: at.0,
        end: at.1,
        answer: answer.into_bytes(),
    });
}
