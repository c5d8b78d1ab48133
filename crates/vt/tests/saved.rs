//! A terminal that is saved and restored.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic)] // tests: helpers are not #[test] functions

use clsess_vt::{Size, Terminal};

const SIZE: Size = Size { rows: 24, cols: 80 };

fn fed(bytes: &[u8]) -> Terminal {
    let mut terminal = Terminal::new(SIZE, 1000);
    assert!(!terminal.feed(bytes).lost);
    terminal
}

#[test]
fn a_snapshot_gives_an_equal_terminal() {
    let mut one = fed(b"\x1b]2;title\x07hello \x1b[4:3;9mcurly\x1b[m\r\nworld\x1b[44m\x1b[K\x1b[?2004h\x1b[>1u\x1b[?1049h\x1b[5;5Halt\x1b]8;;http://x\x1b\\link");
    let snapshot = one.snapshot();
    let mut other = fed(&snapshot);
    assert_eq!(
        String::from_utf8_lossy(&other.snapshot()),
        String::from_utf8_lossy(&snapshot)
    );
    assert_eq!(one.text(0), other.text(0));
    println!("{}", String::from_utf8_lossy(&one.undo()).escape_debug());
}

#[test]
fn history_is_saved() {
    let lines: String = (0..500)
        .map(|n| {
            format!(
                "line {n} \x1b[3{}mcolour\x1b[m {}\r\n",
                n % 8,
                "x".repeat(n % 90)
            )
        })
        .collect();
    let mut one = fed(lines.as_bytes());
    let saved = one.saved();
    let mut other = fed(&saved);
    assert_eq!(one.text(1000), other.text(1000));
    assert!(other.saved() == saved);
}
