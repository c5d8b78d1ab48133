//! Marks: what a cell of vt100 has no room for, as a zero-width character behind its own one.
//!
//! vt100 carries characters of no width with their cell through every scroll, insert and resize.
//! A mark is one of the unassigned, default-ignorable U+E01F0..=U+E0FFF, and stands for a set of
//! extra attributes in a table. Marks never leave the crate.

use std::collections::HashMap;

use vt100::Cell;

use crate::pen::{Extra, Pen};

const FIRST: u32 = 0xE01F0;

/// How many sets of extra attributes the cells of both screens can have at once; a further one
/// looks plain.
pub(crate) const MOST: usize = 1024;

/// Stands for U+FFFD, which vt100 drops.
pub(crate) const REPLACED: char = '\u{10FFFD}';
/// Fills the last column that a wide character has left, as terminals do.
pub(crate) const FILLER: char = '\u{10FFFC}';

/// The table.
#[derive(Debug, Default, Clone)]
pub(crate) struct Marks {
    sets: Vec<Option<Extra>>,
    numbers: HashMap<Extra, usize>,
    /// A search for free places that found few is not repeated before so many new sets.
    tired: usize,
}

/// The mark's number.
pub(crate) fn number(c: char) -> Option<usize> {
    let number = u32::from(c).checked_sub(FIRST)?;
    (number <= 0xE0FFF - FIRST).then_some(number as usize)
}

impl Marks {
    /// The mark of a set, if there is room.
    pub fn mark(&mut self, extra: &Extra) -> Option<char> {
        if let Some(number) = self.numbers.get(extra) {
            return char_of(*number);
        }
        let number = match self.sets.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.sets.len() < MOST => {
                self.sets.push(None);
                self.sets.len() - 1
            }
            None => return None,
        };
        self.sets[number] = Some(extra.clone());
        self.numbers.insert(extra.clone(), number);
        char_of(number)
    }

    /// There is no room for a new set, and looking for what is not used any more is worth it.
    pub fn full(&mut self, extra: &Extra) -> bool {
        if self.numbers.len() < MOST || self.numbers.contains_key(extra) {
            return false;
        }
        self.tired = self.tired.saturating_sub(1);
        self.tired == 0
    }

    /// Frees the sets that are not used.
    pub fn keep(&mut self, used: &[bool]) {
        for (number, set) in self.sets.iter_mut().enumerate() {
            if !used.get(number).copied().unwrap_or(false) {
                set.take();
            }
        }
        self.numbers
            .retain(|_, number| self.sets[*number].is_some());
        let free = MOST - self.numbers.len();
        self.tired = if free < MOST / 8 { MOST } else { 0 };
    }

    /// The set of a mark.
    pub fn extra(&self, c: char) -> Option<&Extra> {
        self.sets.get(number(c)?)?.as_ref()
    }

    /// How a cell looks.
    pub fn pen(&self, cell: &Cell) -> Pen {
        let pen = Pen::of(cell);
        let contents = cell.contents();
        if contents.len() < 5 {
            return pen;
        }
        match contents.chars().find_map(|c| self.extra(c)) {
            Some(extra) => pen.with(extra),
            None => pen,
        }
    }
}

fn char_of(number: usize) -> Option<char> {
    char::from_u32(FIRST + u32::try_from(number).ok()?)
}

/// Writes a cell's characters, without mark and stand-ins.
pub(crate) fn write_text(contents: &str, out: &mut Vec<u8>) {
    if contents.is_ascii() {
        out.extend_from_slice(contents.as_bytes());
        return;
    }
    for c in contents.chars() {
        let c = match c {
            REPLACED => '\u{FFFD}',
            FILLER => ' ',
            c if number(c).is_some() => continue,
            c => c,
        };
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}
