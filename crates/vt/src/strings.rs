//! OSC and DCS: the title, links, colours, notices.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use crate::pen::Link;
use crate::scan::Kind;
use crate::{Fed, Notice, Terminal};

/// Titles on the stack; xterm has as many.
const TITLES: usize = 10;
/// A longer address is no link, as in VTE.
const URI: usize = 2083;
/// Notices of one call.
const NOTICES: usize = 64;
/// A colour's name.
const COLOUR: usize = 64;

/// What strings have set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Strings {
    title: Option<String>,
    titles: Vec<Option<String>>,
    /// OSC 4, by number.
    palette: BTreeMap<u8, String>,
    /// OSC 10, 11 and 12.
    pub(crate) colours: [Option<String>; 3],
}

impl Strings {
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    pub fn push_title(&mut self) {
        if self.titles.len() == TITLES {
            self.titles.remove(0);
        }
        self.titles.push(self.title.clone());
    }

    pub fn pop_title(&mut self) {
        if let Some(title) = self.titles.pop() {
            self.title = title;
        }
    }

    fn set_title(&mut self, title: &[u8]) {
        let title = String::from_utf8_lossy(title);
        self.title = Some(title.chars().filter(|c| !c.is_control()).collect());
    }

    fn set_palette(&mut self, inside: &[u8]) {
        let mut parts = inside.split(|b| *b == b';');
        while let (Some(number), Some(name)) = (parts.next(), parts.next()) {
            if let (Some(number), Some(name)) = (number_of(number), colour_name(name)) {
                self.palette.insert(number, name);
            }
        }
    }

    fn reset_palette(&mut self, inside: Option<&[u8]>) {
        let Some(inside) = inside.filter(|inside| !inside.is_empty()) else {
            self.palette.clear();
            return;
        };
        for number in inside.split(|b| *b == b';').filter_map(number_of) {
            self.palette.remove(&number);
        }
    }

    /// Writes what sets title and colours.
    pub fn write(&self, out: &mut Vec<u8>) {
        for title in &self.titles {
            // none: the one that the viewer has by itself
            if let Some(title) = title {
                write_title(title, out);
            }
            out.extend_from_slice(b"\x1b[22;2t");
        }
        if let Some(title) = self.title.as_deref() {
            write_title(title, out);
        }
        for (number, name) in &self.palette {
            let _ = write!(out, "\x1b]4;{number};{name}\x1b\\");
        }
        for (number, name) in (10..).zip(&self.colours) {
            if let Some(name) = name {
                let _ = write!(out, "\x1b]{number};{name}\x1b\\");
            }
        }
    }

    /// Writes what gives the terminal its own colours back, as far as they were changed.
    pub fn write_undo(&self, out: &mut Vec<u8>) {
        if !self.palette.is_empty() {
            out.extend_from_slice(b"\x1b]104\x1b\\");
        }
        for (number, name) in (110..).zip(&self.colours) {
            if name.is_some() {
                let _ = write!(out, "\x1b]{number}\x1b\\");
            }
        }
    }
}

fn write_title(title: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b]2;");
    out.extend_from_slice(title.as_bytes());
    out.extend_from_slice(b"\x1b\\");
}

fn number_of(bytes: &[u8]) -> Option<u8> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A colour as XParseColor reads it, if it can be said again without harm.
pub(crate) fn colour_name(bytes: &[u8]) -> Option<String> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"#:/.-, ".contains(b);
    let fits = !bytes.is_empty() && bytes.len() <= COLOUR && bytes.iter().all(plain);
    fits.then(|| String::from_utf8_lossy(bytes).into_owned())
}

impl Terminal {
    /// A whole string.
    pub(crate) fn string(&mut self, kind: Kind, inside: &[u8], at: (usize, usize), fed: &mut Fed) {
        match kind {
            Kind::Osc => self.osc(inside, at, fed),
            Kind::Dcs => self.query_dcs(inside, at, fed),
            Kind::Other => {}
        }
    }

    fn osc(&mut self, inside: &[u8], at: (usize, usize), fed: &mut Fed) {
        let mut parts = inside.splitn(2, |b| *b == b';');
        let (number, rest) = (parts.next().unwrap_or_default(), parts.next());
        let strings = &mut self.state.strings;
        match (number, rest) {
            (b"0" | b"2", Some(title)) => strings.set_title(title),
            (b"4", Some(rest)) => strings.set_palette(rest),
            (b"104", rest) => strings.reset_palette(rest),
            (b"8", Some(rest)) => self.link(rest),
            (b"10" | b"11" | b"12", Some(rest)) => {
                let first = usize::from(number[1] - b'0');
                self.colours(first, rest, at, fed);
            }
            (b"110" | b"111" | b"112", _) => {
                strings.colours[usize::from(number[2] - b'0')] = None;
            }
            (b"7501", Some(rest)) if fed.notices.len() < NOTICES => {
                fed.notices.push(Notice(rest.to_vec()));
            }
            _ => {}
        }
    }

    /// Colours of text, background and cursor, from one of them on.
    fn colours(&mut self, first: usize, rest: &[u8], at: (usize, usize), fed: &mut Fed) {
        for (which, name) in (first..3).zip(rest.split(|b| *b == b';')) {
            if name == b"?" {
                self.query_colour(which, at, fed);
            } else if let Some(name) = colour_name(name) {
                self.state.strings.colours[which] = Some(name);
            }
        }
    }

    fn link(&mut self, rest: &[u8]) {
        let Some(end) = rest.iter().position(|b| *b == b';') else {
            return;
        };
        let (params, uri) = (&rest[..end], &rest[end + 1..]);
        let fits = rest.len() <= URI && rest.iter().all(|b| *b >= 0x20 && *b != 0x7f);
        let fits = fits && std::str::from_utf8(rest).is_ok();
        let mut pen = std::mem::take(&mut self.state.pen);
        pen.extra.link = (fits && !uri.is_empty()).then(|| {
            Arc::new(Link {
                params: params.to_vec(),
                uri: uri.to_vec(),
            })
        });
        self.state.mark = self.mark_of(&pen);
        self.state.pen = pen;
    }
}
