//! How characters look: what SGR and OSC 8 set, and the sequences that set it again.

use std::io::Write as _;
use std::sync::Arc;

use vt100::{Cell, Color};

use crate::params::Params;

/// A link of OSC 8: its parameters and its address.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub params: Vec<u8>,
    pub uri: Vec<u8>,
}

/// What a cell of vt100 has no room for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Extra {
    /// 2 to 5: double, curly, dotted, dashed; 0 where it is none of these.
    pub underline: u8,
    pub underline_colour: Colour,
    pub strike: bool,
    pub blink: bool,
    pub hidden: bool,
    pub overline: bool,
    /// Bold and dim at once.
    pub dim_too: bool,
    pub link: Option<Arc<Link>>,
}

/// A colour that can be a key of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Colour {
    #[default]
    Default,
    Index(u8),
    Rgb(u8, u8, u8),
}

impl From<Color> for Colour {
    fn from(color: Color) -> Self {
        match color {
            Color::Default => Self::Default,
            Color::Idx(n) => Self::Index(n),
            Color::Rgb(r, g, b) => Self::Rgb(r, g, b),
        }
    }
}

/// All of how a character looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pen {
    pub fg: Colour,
    pub bg: Colour,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underline: bool,
    pub inverse: bool,
    pub extra: Extra,
}

impl Pen {
    /// How a cell looks, but for the extra ones. A cell without contents has only a background.
    pub fn of(cell: &Cell) -> Self {
        let bg = cell.bgcolor().into();
        if !cell.has_contents() {
            return Self {
                bg,
                ..Self::default()
            };
        }
        Self {
            fg: cell.fgcolor().into(),
            bg,
            bold: cell.bold(),
            dim: cell.dim(),
            italic: cell.italic(),
            underline: cell.underline(),
            inverse: cell.inverse(),
            extra: Extra::default(),
        }
    }

    /// With the extra ones of a mark.
    pub fn with(mut self, extra: &Extra) -> Self {
        self.dim |= extra.dim_too;
        self.extra = extra.clone();
        self
    }

    /// Only the background, which is what erasing leaves.
    pub fn background(&self) -> Self {
        Self {
            bg: self.bg,
            ..Self::default()
        }
    }

    /// Obeys an SGR. Whether vt100 does just the same with it.
    pub fn apply(&mut self, params: &Params) -> bool {
        let mut same = !params.has_parts();
        if params.len() == 0 {
            self.reset();
        }
        let mut groups = params.groups();
        while let Some(group) = groups.next() {
            let known = match group {
                [n @ (38 | 48 | 58)] => {
                    let colour = colour(&mut groups);
                    let whole = colour.is_some();
                    self.colour(*n, colour);
                    whole && *n != 58
                }
                [n @ (38 | 48 | 58), parts @ ..] => {
                    self.colour(*n, colour_of(parts));
                    true
                }
                [4, style] => {
                    self.underline = *style != 0;
                    self.extra.underline = u8::try_from(*style).map_or(0, styled);
                    true
                }
                [n] => self.single(*n),
                _ => false,
            };
            same &= known;
        }
        // vt100 has either
        let both = self.bold && self.dim;
        same &= !both && !self.extra.dim_too;
        self.extra.dim_too = both;
        same
    }

    fn reset(&mut self) {
        let link = self.extra.link.take();
        *self = Self::default();
        self.extra.link = link;
    }

    fn colour(&mut self, of: u16, colour: Option<Colour>) {
        let Some(colour) = colour else { return };
        match of {
            38 => self.fg = colour,
            48 => self.bg = colour,
            _ => self.extra.underline_colour = colour,
        }
    }

    /// Whether vt100 knows it.
    fn single(&mut self, n: u16) -> bool {
        let small = u8::try_from(n).unwrap_or(u8::MAX);
        match small {
            0 => self.reset(),
            1 => self.bold = true,
            2 => self.dim = true,
            3 => self.italic = true,
            4 => (self.underline, self.extra.underline) = (true, 0),
            7 => self.inverse = true,
            22 => (self.bold, self.dim) = (false, false),
            23 => self.italic = false,
            24 => (self.underline, self.extra.underline) = (false, 0),
            27 => self.inverse = false,
            30..=37 => self.fg = Colour::Index(small - 30),
            39 => self.fg = Colour::Default,
            40..=47 => self.bg = Colour::Index(small - 40),
            49 => self.bg = Colour::Default,
            90..=97 => self.fg = Colour::Index(small - 82),
            100..=107 => self.bg = Colour::Index(small - 92),
            _ => return self.extra_one(small),
        }
        true
    }

    fn extra_one(&mut self, n: u8) -> bool {
        let extra = &mut self.extra;
        match n {
            5 | 6 => extra.blink = true,
            25 => extra.blink = false,
            8 => extra.hidden = true,
            28 => extra.hidden = false,
            9 => extra.strike = true,
            29 => extra.strike = false,
            21 => (self.underline, extra.underline) = (true, 2),
            53 => extra.overline = true,
            55 => extra.overline = false,
            59 => extra.underline_colour = Colour::Default,
            _ => {}
        }
        false
    }

    /// Writes what makes `from` this.
    pub fn write_after(&self, from: &Self, out: &mut Vec<u8>) {
        if self.extra.link != from.extra.link {
            write_link(self.extra.link.as_deref(), out);
        }
        if !self.differs(from) {
            return;
        }
        out.extend_from_slice(b"\x1b[");
        let fewer = from.flags() & !self.flags() != 0
            || (from.extra.underline != self.extra.underline && from.underline)
            || !self.differs(&Self::default());
        if fewer {
            out.extend_from_slice(b"0;");
            self.write_more(&Self::default(), out);
        } else {
            self.write_more(from, out);
        }
        out.pop();
        if out.ends_with(b"[0") {
            out.pop();
        }
        out.push(b'm');
    }

    /// For vt100: without what it does not know.
    pub fn write_plain(&self, out: &mut Vec<u8>) {
        let plain = Self {
            extra: Extra::default(),
            dim: self.dim && !self.bold,
            ..self.clone()
        };
        out.extend_from_slice(b"\x1b[m");
        plain.write_after(&Self::default(), out);
    }

    /// Whether anything but the link is another one.
    fn differs(&self, other: &Self) -> bool {
        let without = |pen: &Self| Self {
            extra: Extra {
                link: None,
                ..pen.extra.clone()
            },
            ..pen.clone()
        };
        without(self) != without(other)
    }

    fn flags(&self) -> u16 {
        let extra = &self.extra;
        let all = [
            self.bold,
            self.dim,
            self.italic,
            self.underline,
            self.inverse,
            extra.strike,
            extra.blink,
            extra.hidden,
            extra.overline,
        ];
        all.iter().fold(0, |bits, on| (bits << 1) | u16::from(*on))
    }

    fn write_more(&self, base: &Self, out: &mut Vec<u8>) {
        let (extra, was) = (&self.extra, &base.extra);
        let codes = [
            (self.bold && !base.bold, "1;"),
            (self.dim && !base.dim, "2;"),
            (self.italic && !base.italic, "3;"),
            (extra.blink && !was.blink, "5;"),
            (self.inverse && !base.inverse, "7;"),
            (extra.hidden && !was.hidden, "8;"),
            (extra.strike && !was.strike, "9;"),
            (extra.overline && !was.overline, "53;"),
        ];
        for (on, code) in codes {
            if on {
                out.extend_from_slice(code.as_bytes());
            }
        }
        if self.underline && (!base.underline || extra.underline != was.underline) {
            match extra.underline {
                0 => out.extend_from_slice(b"4;"),
                style => out.extend_from_slice(&[b'4', b':', b'0' + style, b';']),
            }
        }
        if self.fg != base.fg {
            write_colour(self.fg, 30, out);
        }
        if self.bg != base.bg {
            write_colour(self.bg, 40, out);
        }
        if extra.underline_colour != was.underline_colour {
            write_underline_colour(extra.underline_colour, out);
        }
    }
}

fn styled(style: u8) -> u8 {
    match style {
        2..=5 => style,
        _ => 0,
    }
}

fn byte(group: Option<&[u16]>) -> Option<u8> {
    match group {
        Some([n]) => u8::try_from(*n).ok(),
        _ => None,
    }
}

/// `5;n` or `2;r;g;b`.
fn colour<'a>(groups: &mut impl Iterator<Item = &'a [u16]>) -> Option<Colour> {
    match groups.next() {
        Some([5]) => byte(groups.next()).map(Colour::Index),
        Some([2]) => {
            let (r, g, b) = (groups.next(), groups.next(), groups.next());
            Some(Colour::Rgb(byte(r)?, byte(g)?, byte(b)?))
        }
        _ => None,
    }
}

/// `5:n`, `2:r:g:b` or `2:space:r:g:b`.
fn colour_of(parts: &[u16]) -> Option<Colour> {
    let small = |n: &u16| u8::try_from(*n).ok();
    match parts {
        [5, n, ..] => small(n).map(Colour::Index),
        [2, r, g, b] | [2, _, r, g, b, ..] => Some(Colour::Rgb(small(r)?, small(g)?, small(b)?)),
        _ => None,
    }
}

fn write_colour(colour: Colour, base: u8, out: &mut Vec<u8>) {
    let _ = match colour {
        Colour::Default => write!(out, "{};", base + 9),
        Colour::Index(n @ 0..8) => write!(out, "{};", base + n),
        Colour::Index(n @ 8..16) => write!(out, "{};", base + 52 + n),
        Colour::Index(n) => write!(out, "{};5;{n};", base + 8),
        Colour::Rgb(r, g, b) => write!(out, "{};2;{r};{g};{b};", base + 8),
    };
}

fn write_underline_colour(colour: Colour, out: &mut Vec<u8>) {
    let _ = match colour {
        Colour::Default => write!(out, "59;"),
        Colour::Index(n) => write!(out, "58:5:{n};"),
        Colour::Rgb(r, g, b) => write!(out, "58:2::{r}:{g}:{b};"),
    };
}

fn write_link(link: Option<&Link>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b]8;");
    if let Some(link) = link {
        out.extend_from_slice(&link.params);
        out.push(b';');
        out.extend_from_slice(&link.uri);
    } else {
        out.push(b';');
    }
    out.extend_from_slice(b"\x1b\\");
}
