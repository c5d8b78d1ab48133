//! The judge: alacritty's terminal, which is independent of vt100.
//!
//! Where terminals differ among themselves, and alacritty is not the one that is followed:
//! - a cell that HT went over holds a tab there: it is a blank here;
//! - SGR 21 is double underline (as in xterm, kitty, VTE); alacritty ends bold with it;
//! - emoji with VS16 take two columns (as in kitty and vt100); alacritty leaves them narrow;
//! - alacritty keeps in a cell that its row wrapped, and moves it along with ICH and DCH;
//! - alacritty's ED 1 in the second row leaves the first one;
//! - alacritty's DCH of more than the row has blanks cells in front of the cursor in colour;
//! - alacritty's DECSC saves the character sets, but not which one SO and SI have chosen;
//! - alacritty's ECH on the second half of a wide character leaves the first;
//! - of rows that were erased with a background before it became wider, alacritty's ED leaves it;
//! - IL and DL put the cursor into the first column (as in xterm, kitty, VTE);
//! - `CSI ! p`, 47, 1047 and 1048 are not known to alacritty.
#![allow(dead_code)]

use std::cell::RefCell;
use std::rc::Rc;

use alacritty_terminal::event::{Event, EventListener};
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::{Config, Term};
use alacritty_terminal::vte::ansi::{Color, NamedColor, Processor};
use clsess_vt::{Size, Terminal};

#[derive(Clone, Default)]
struct Heard(Rc<RefCell<Option<String>>>);

impl EventListener for Heard {
    fn send_event(&self, event: Event) {
        match event {
            Event::Title(title) => *self.0.borrow_mut() = Some(title),
            Event::ResetTitle => *self.0.borrow_mut() = None,
            _ => {}
        }
    }
}

struct Dim(Size);

impl Dimensions for Dim {
    fn total_lines(&self) -> usize {
        self.0.rows.into()
    }
    fn screen_lines(&self) -> usize {
        self.0.rows.into()
    }
    fn columns(&self) -> usize {
        self.0.cols.into()
    }
}

/// A real terminal.
pub struct Judge {
    term: Term<Heard>,
    parser: Processor,
    heard: Heard,
    size: Size,
    /// Whether it is looked at which rows wrapped.
    wraps: bool,
}

/// All that can be seen of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub rows: Vec<String>,
    pub cursor: String,
    pub modes: String,
    pub title: Option<String>,
}

impl Judge {
    pub fn new(size: Size, wraps: bool) -> Self {
        let heard = Heard::default();
        let config = Config {
            kitty_keyboard: true,
            ..Config::default()
        };
        Self {
            term: Term::new(config, &Dim(size), heard.clone()),
            parser: Processor::new(),
            heard,
            size,
            wraps,
        }
    }

    pub fn resize(&mut self, size: Size) {
        self.size = size;
        self.term.resize(Dim(size));
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.term, bytes);
        self.parser.stop_sync(&mut self.term);
    }

    fn cell(cell: &Cell, last: bool) -> String {
        let c = match cell.c {
            '\t' | '\0' => ' ',
            c => c,
        };
        let mut flags = cell.flags;
        // the last cell before a wide character that did not fit is drawn by the wrap itself
        flags.remove(Flags::LEADING_WIDE_CHAR_SPACER);
        // it goes along with a cell that is moved, where it means nothing
        flags.set(Flags::WRAPLINE, last && flags.contains(Flags::WRAPLINE));
        if flags.contains(Flags::WIDE_CHAR_SPACER) {
            return "<".into();
        }
        let zero: String = cell.zerowidth().unwrap_or_default().iter().collect();
        let link = cell.hyperlink().map(|link| link.uri().to_owned());
        let blank = c == ' ' && zero.is_empty();
        let shows = Flags::INVERSE | Flags::ALL_UNDERLINES | Flags::STRIKEOUT | Flags::WRAPLINE;
        if blank {
            flags &= shows; // the rest of a blank cannot be seen
        }
        let seen_fg = !blank || flags.intersects(shows & !Flags::WRAPLINE);
        format!(
            "{c}{zero}|{}|{}|{flags:?}|{:?}|{link:?}",
            if seen_fg {
                colour(cell.fg)
            } else {
                String::new()
            },
            colour(cell.bg),
            cell.underline_color().map(colour),
        )
    }

    pub fn seen(&self) -> Seen {
        let grid = self.term.grid();
        let row = |row: i32| -> String {
            let cells = (0..usize::from(self.size.cols)).map(|col| {
                Self::cell(
                    &grid[Line(row)][Column(col)],
                    self.wraps && col + 1 == usize::from(self.size.cols),
                )
            });
            cells.collect::<Vec<_>>().join(" ")
        };
        let cursor = &grid.cursor;
        let template = &cursor.template;
        Seen {
            rows: (0..i32::from(self.size.rows)).map(row).collect(),
            cursor: format!(
                "{:?} {} {} {} {:?} {:?} {:?} {:?}",
                cursor.point,
                cursor.input_needs_wrap,
                colour(template.fg),
                colour(template.bg),
                template.flags,
                template.underline_color(),
                template.hyperlink().map(|l| l.uri().to_owned()),
                self.term.cursor_style(),
            ),
            modes: format!("{:?}", self.term.mode()),
            title: self.heard.0.borrow().clone(),
        }
    }
}

fn colour(colour: Color) -> String {
    match colour {
        Color::Named(named) if (named as usize) < 16 => format!("i{}", named as usize),
        Color::Named(NamedColor::Foreground | NamedColor::Background) => String::new(),
        Color::Named(named) => format!("{named:?}"),
        Color::Indexed(n) => format!("i{n}"),
        Color::Spec(rgb) => format!("{},{},{}", rgb.r, rgb.g, rgb.b),
    }
}

/// A state that nobody wants. It has no title: where the program has none, the viewer's own is left.
pub const NASTY: &[u8] = b"old text\r\n\x1b[3;9r\x1b[?1049h\x1b[5;8r\x1b[?6h\x1b[4h\x1b[20h\x1b[?7l\x1b[41;1;4;9mXX\x1b[?1;1003;1006;1004;2004h\x1b=\x1b[>5u\x1b[>7u\x1b(0\x0e\x1b)0\x1b[3g\x1b[5 q\x1b[?25l\x1b]8;;http://nasty\x1b\\lll\x1b7";

/// What shows the state that cannot be seen: each is fed to both behind the rest.
pub const PROBES: &[&[u8]] = &[
    b"abc\x1b[5;5Hxyz",
    b"\x1b8restored",
    b"\r\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\nbelow",
    b"\x1b[2;3Htop\x1bM\x1bM\x1bMup",
    b"\r\tone\ttwo\tthree",
    b"\x1b[?1049lmain\x1b8again",
    b"\x1b[?1049hqq\x1b[?1049lmain",
    b"\x1b[<1u\x1b[4llq\x0f",
    b"\x1b[23;0;0t",
];

fn differs(a: &Seen, b: &Seen) -> Option<String> {
    for (n, (a, b)) in a.rows.iter().zip(&b.rows).enumerate() {
        if a != b {
            let cells = a.split(' ').zip(b.split(' ')).enumerate();
            let first: Vec<_> = cells.filter(|(_, (a, b))| a != b).take(3).collect();
            return Some(format!("row {n}: {first:?}"));
        }
    }
    if a != b {
        let mut text = String::new();
        for (a, b) in [(&a.cursor, &b.cursor), (&a.modes, &b.modes)] {
            if a != b {
                text += &format!("{a}\n  {b}\n");
            }
        }
        return Some(format!("{text}{:?} {:?}", a.title, b.title));
    }
    None
}

/// Holds a snapshot to the bytes themselves; the bytes behind `at` are fed live. With
/// `wraps` the same rows must have wrapped, too.
pub fn same_from(bytes: &[u8], at: usize, size: Size, wraps: bool) -> Result<(), String> {
    let mut terminal = Terminal::new(size, 0);
    let fed = terminal.feed(&bytes[..at]);
    if fed.lost {
        return Err("lost".into());
    }
    let mut taken = terminal.snapshot();
    taken.extend_from_slice(terminal.pending());
    let say = |what: &str, difference: String| {
        Err(format!(
            "{what}: {difference}\n  {}\n  => {}",
            String::from_utf8_lossy(&bytes[..at.min(3000)]).escape_debug(),
            String::from_utf8_lossy(&taken).escape_debug()
        ))
    };
    for probe in std::iter::once(&b""[..]).chain(PROBES.iter().copied()) {
        let mut direct = Judge::new(size, wraps);
        direct.feed(bytes);
        direct.feed(probe);
        let mut late = Judge::new(size, wraps);
        late.feed(NASTY);
        late.heard.0.borrow_mut().take();
        // At once: the judge loses a blank behind a character that comes in two pieces (vte 0.15).
        late.feed(&[&taken, &bytes[at..], probe].concat());
        if let Some(difference) = differs(&direct.seen(), &late.seen()) {
            return say(
                &format!("probe {}", String::from_utf8_lossy(probe).escape_debug()),
                difference,
            );
        }
    }
    Ok(())
}

/// The same at every byte, with one byte fed at a time. Each place has another probe.
pub fn same_from_everywhere(bytes: &[u8], size: Size) -> Result<(), String> {
    let probes: Vec<&[u8]> = std::iter::once(&b""[..])
        .chain(PROBES.iter().copied())
        .collect();
    let seen = |pieces: &[&[u8]], nasty: bool| {
        let mut judge = Judge::new(size, true);
        if nasty {
            judge.feed(NASTY);
            judge.heard.0.borrow_mut().take();
        }
        // At once: the judge loses a blank behind a character that comes in two pieces (vte 0.15).
        judge.feed(&pieces.concat());
        judge.seen()
    };
    let direct: Vec<Seen> = probes
        .iter()
        .map(|probe| seen(&[bytes, probe], false))
        .collect();
    let mut terminal = Terminal::new(size, 0);
    for at in 0..=bytes.len() {
        let (before, rest) = bytes.split_at(at);
        if let Some(last) = before.last()
            && terminal.feed(&[*last]).lost
        {
            return Err(format!("lost at {at}"));
        }
        let mut taken = terminal.snapshot();
        taken.extend_from_slice(terminal.pending());
        let probe = at % probes.len();
        let late = seen(&[&taken, rest, probes[probe]], true);
        if let Some(difference) = differs(&direct[probe], &late) {
            let probe = String::from_utf8_lossy(probes[probe]);
            return Err(format!(
                "at {at}, probe {}: {difference}",
                probe.escape_debug()
            ));
        }
    }
    Ok(())
}

pub fn same(bytes: &[u8], size: Size) {
    if let Err(error) = same_from(bytes, bytes.len(), size, true) {
        panic!("{size:?} {error}");
    }
}
