//! Tab stops.

use std::io::Write as _;

/// Where HT stops; none while they are every eight columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tabs {
    own: Option<Vec<bool>>,
}

impl Tabs {
    /// Whether they are every eight columns.
    pub fn usual(&self) -> bool {
        self.own.is_none()
    }

    fn stops(&self, col: u16) -> bool {
        match &self.own {
            Some(own) => own
                .get(usize::from(col))
                .copied()
                .unwrap_or(col.is_multiple_of(8)),
            None => col.is_multiple_of(8),
        }
    }

    /// The column that HT goes to, `count` times.
    pub fn next(&self, col: u16, count: u16, cols: u16) -> u16 {
        let stops = (col.saturating_add(1)..cols).filter(|col| self.stops(*col));
        let at = stops.take(count.into()).enumerate().last();
        match at {
            Some((n, col)) if n + 1 == usize::from(count) => col,
            _ => cols - 1,
        }
    }

    /// The column that CBT goes to, `count` times.
    pub fn back(&self, col: u16, count: u16) -> u16 {
        let stops = (0..col).rev().filter(|col| self.stops(*col));
        let at = stops.take(count.into()).enumerate().last();
        match at {
            Some((n, col)) if n + 1 == usize::from(count) => col,
            _ => 0,
        }
    }

    /// Sets or clears the stop of a column.
    pub fn set(&mut self, col: u16, on: bool, cols: u16) {
        let at = usize::from(col);
        if self.stops(col) == on {
            return;
        }
        let usual = || (0..cols).map(|col| col.is_multiple_of(8)).collect();
        let own = self.own.get_or_insert_with(usual);
        for col in own.len()..=at {
            own.push(col.is_multiple_of(8));
        }
        own[at] = on;
        self.forget_usual();
    }

    fn forget_usual(&mut self) {
        let own = self.own.iter().flatten().enumerate();
        if own
            .into_iter()
            .all(|(col, on)| *on == (col.is_multiple_of(8)))
        {
            self.own = None;
        }
    }

    /// Columns that go take their stops along, those that come have the usual ones.
    pub fn resize(&mut self, cols: u16) {
        if let Some(own) = &mut self.own {
            own.truncate(cols.into());
        }
        self.forget_usual();
    }

    /// Clears all.
    pub fn clear(&mut self, cols: u16) {
        self.own = Some(vec![false; cols.into()]);
    }

    /// Writes what sets them, from any; the cursor moves.
    pub fn write(&self, cols: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[3g");
        for col in (0..cols).filter(|col| self.stops(*col)) {
            let _ = write!(out, "\x1b[{}G\x1bH", col + 1);
        }
        if self.usual() {
            // where it is known: for the columns, too, that the terminal may get
            out.extend_from_slice(b"\x1b[?5W");
        }
    }
}
