//! What a program writes into its terminal.

use clsess_vt::{Painted, Size, Terminal};

use crate::split::Pieces;

/// A terminal has the same state however its bytes come, and a snapshot gives it to a fresh one.
/// The first two bytes are its size.
pub fn vt(data: &[u8]) {
    let [rows, cols, data @ ..] = data else {
        return;
    };
    let size = Size {
        rows: u16::from(rows % 32),
        cols: u16::from(cols % 100),
    };
    let (pieces, whole) = Pieces::of(data);
    let (mut split, mut at_once) = (Terminal::new(size, 200), Terminal::new(size, 200));
    let mut lost = false;
    for piece in pieces {
        lost |= split.feed(piece).lost;
    }
    lost |= at_once.feed(whole).lost;
    if lost {
        return; // where vt100 is made anew depends on the pieces
    }
    assert_eq!(split.saved(), at_once.saved());
    assert_eq!(split.pending(), at_once.pending());
    let snapshot = at_once.snapshot();
    let mut fresh = Terminal::new(size, 0);
    assert!(!fresh.feed(&snapshot).lost);
    assert_eq!(fresh.snapshot(), snapshot);
    let _ = (at_once.undo(), at_once.text(10), at_once.history(50));
    let mut painted = Painted::default();
    let other = Size { rows: 7, cols: 30 };
    let picture = at_once.paint(other, &mut painted);
    Terminal::new(other, 0).feed(&picture);
    at_once.resize(other);
    at_once.snapshot();
}
