//! Splitting changes nothing, snapshots are exact, and nothing panics outward.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic)] // tests: helpers are not #[test] functions

mod judge;

use clsess_vt::{Painted, Size, Terminal};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn cases(usual: u32) -> u32 {
    let asked = std::env::var("VT_CASES").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn fed(pieces: &[&[u8]], size: Size) -> Terminal {
    let mut terminal = Terminal::new(size, 300);
    for piece in pieces {
        terminal.feed(piece);
    }
    terminal
}

/// Nothing when they are equal, else what is around the first difference.
fn difference(a: &[u8], b: &[u8]) -> String {
    if a == b {
        return String::new();
    }
    let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        let part = &bytes[at.saturating_sub(60).min(bytes.len())..(at + 60).min(bytes.len())];
        String::from_utf8_lossy(part).escape_debug().to_string()
    };
    format!("DIFF {}\nDIFF {}\n", around(a), around(b))
}

/// Snapshot and history are the same however the bytes came, and what is saved restores it.
fn holds(bytes: &[u8], at: usize, size: Size) -> Result<(), TestCaseError> {
    let mut whole = fed(&[bytes], size);
    let at = at % (bytes.len() + 1);
    let mut split = fed(&[&bytes[..at], &bytes[at..]], size);
    let saved = whole.saved();
    prop_assert_eq!(difference(&split.saved(), &saved), "", "split at {}", at);
    prop_assert_eq!(split.pending(), whole.pending());
    prop_assert_eq!(split.whole(), whole.whole());
    let snapshot = whole.snapshot();
    let mut other = fed(&[&snapshot], size);
    prop_assert_eq!(difference(&other.snapshot(), &snapshot), "");
    let mut restored = fed(&[&saved], size);
    prop_assert_eq!(restored.text(400), whole.text(400));
    Ok(())
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        4 => (1_u16..12, 1_u16..24),
        1 => Just((24, 80)),
    ]
    .prop_map(|(rows, cols)| Size { rows, cols })
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0_u32..12).prop_map(|n| n.to_string()),
        2 => (0_u32..30).prop_map(|n| n.to_string()),
        1 => Just(String::new()),
        1 => prop_oneof![Just("65535".to_owned()), Just("99999".into()), Just("1000".into())],
    ]
}

fn numbers() -> impl Strategy<Value = String> {
    prop::collection::vec(number(), 0..4).prop_map(|numbers| numbers.join(";"))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z ]{1,12}",
        1 => "[x]{20,50}",
        2 => "[漢字😀é한]{1,6}",
        1 => prop_oneof![Just("e\u{301}"), Just("\u{200d}"), Just("❤\u{fe0f}"), Just("\u{fffd}"), Just("\u{301}"), Just("\u{ad}")].prop_map(str::to_owned),
        3 => prop_oneof![Just("\r\n"), Just("\n"), Just("\r"), Just("\t"), Just("\x08"), Just("\x0e"), Just("\x0f"), Just("\x0b")].prop_map(str::to_owned),
    ]
}

fn sgr() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        (0_u8..60).prop_map(|n| n.to_string()),
        (90_u8..108).prop_map(|n| n.to_string()),
        Just("0".to_owned()),
        (0_u8..6).prop_map(|n| format!("4:{n}")),
        Just("48;5;100".into()),
        Just("38;2;1;2;3".into()),
        Just("58:2::1:2:3".into()),
        Just("38:2::9:8:7".into()),
        Just("44".into()),
        Just("9".into()),
    ];
    prop::collection::vec(one, 0..3).prop_map(|all| format!("\x1b[{}m", all.join(";")))
}

fn sequence() -> impl Strategy<Value = String> {
    let last = prop::sample::select(
        "ABCDEFGHIJKLMPSTXZ@`abdefghlrsu"
            .chars()
            .collect::<Vec<_>>(),
    );
    let mode = prop::sample::select(vec![
        1, 5, 6, 7, 12, 25, 47, 1000, 1004, 1006, 1007, 1047, 1048, 1049, 2004, 2026, 2031,
    ]);
    let escape = prop::sample::select(vec![
        "7", "8", "D", "E", "M", "H", "=", ">", "(0", "(B", ")0", "#8", "n", "o",
    ]);
    prop_oneof![
        6 => (numbers(), last).prop_map(|(n, last)| format!("\x1b[{n}{last}")),
        2 => (mode, any::<bool>()).prop_map(|(m, on)| format!("\x1b[?{m}{}", if on { 'h' } else { 'l' })),
        1 => prop_oneof![Just("\x1b[4h"), Just("\x1b[4l"), Just("\x1b[20h"), Just("\x1b[!p"), Just("\x1b[3 q")].prop_map(str::to_owned),
        3 => escape.prop_map(|e| format!("\x1b{e}")),
        1 => (0_u8..8, prop::sample::select(vec!['<', '>', '='])).prop_map(|(n, p)| format!("\x1b[{p}{n}u")),
        1 => prop_oneof![Just("\x1b]8;;http://a\x1b\\"), Just("\x1b]8;;\x07"), Just("\x1b]2;t\x07"), Just("\x1b[22t"), Just("\x1b[23t"), Just("\x1b]11;#123\x07"), Just("\x1b[>4;2m")].prop_map(str::to_owned),
        2 => (number(), number()).prop_map(|(a, b)| format!("\x1b[{a};{b}r")),
    ]
}

fn stream() -> impl Strategy<Value = String> {
    let part = prop_oneof![4 => text(), 3 => sequence(), 2 => sgr()];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(400), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequences(bytes in stream(), at in any::<usize>(), size in size()) {
        holds(bytes.as_bytes(), at, size)?;
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<usize>(), size in size()) {
        holds(&bytes, at, size)?;
    }

    #[test]
    fn any_sequences_with_resizes(parts in prop::collection::vec((stream(), size()), 1..5)) {
        let mut terminal = Terminal::new(Size { rows: 5, cols: 9 }, 50);
        for (bytes, size) in &parts {
            terminal.feed(bytes.as_bytes());
            terminal.resize(*size);
            let snapshot = terminal.snapshot();
            let mut other = fed(&[&snapshot], *size);
            prop_assert_eq!(difference(&other.snapshot(), &snapshot), "");
            let _ = terminal.undo();
            terminal.paint(Size { rows: 4, cols: 7 }, &mut Default::default());
        }
    }
}

/// What the tests above have found once.
#[test]
fn sequences_that_were_found() {
    let found = [
        // narrow at the end of a row where a wide one had no room, and then widened by its selector
        ((2, 11), "  aAAa a  한a한\r❤\u{fe0f}"),
        ((2, 11), "❤\u{fe0f}Aaaa  aAA   aAAa a  한a한\r❤\u{fe0f}"),
        // a control of C1 where the row may wrap
        ((1, 13), "\r      \0           \0 \0\0  \0 \u{80} \u{80}"),
        // what was saved is outside of the scroll region, with origin mode
        ((5, 9), "\x1b[?6h\x1b[5d\x1b7\x1b[0;2r\x1b8"),
    ];
    for ((rows, cols), bytes) in found {
        for at in 0..=bytes.len() {
            if let Err(error) = holds(bytes.as_bytes(), at, Size { rows, cols }) {
                panic!("{bytes:?} at {at}: {error}");
            }
        }
    }
}

/// What its own erasing leaves there of before it has grown.
#[test]
fn nothing_is_left_on_a_real_terminal() {
    let (small, large) = (Size { rows: 5, cols: 10 }, Size { rows: 5, cols: 12 });
    let red = b"\x1b[41m\x1b[H\x1b[J\x1b[m";
    for alternate in [&b""[..], b"\x1b[?1049h"] {
        let mut terminal = fed(&[alternate, b"x"], large);
        let larger = Size { rows: 9, cols: 40 };
        let picture = fed(&[alternate, b"x"], larger).paint(large, &mut Painted::default());
        for bytes in [terminal.snapshot(), picture] {
            let mut grown = judge::Judge::new(small, true);
            for screen in [red, alternate, red] {
                grown.feed(screen);
            }
            grown.resize(large);
            grown.feed(&bytes);
            let mut fresh = judge::Judge::new(large, true);
            fresh.feed(&bytes);
            assert_eq!(grown.seen(), fresh.seen());
        }
    }
}

mod recordings;

#[test]
fn recordings_are_the_same_in_pieces() {
    for (name, size, bytes) in recordings::all() {
        for at in recordings::places(&bytes) {
            if let Err(error) = holds(&bytes, at, size) {
                panic!("{name} at {at}: {error}");
            }
        }
    }
}

/// The same programs each time, or those of `CLSESS_TEST_SEED`: the judge has oddities that nobody
/// knows of yet, as every terminal has (the last one found: ECH on the second half of a wide
/// character leaves the first).
fn seed() -> RngSeed {
    let named = std::env::var("CLSESS_TEST_SEED").ok();
    RngSeed::Fixed(named.and_then(|seed| seed.parse().ok()).unwrap_or(1))
}

/// What full-screen programs send: the cursor is put before something is drawn, lines are inserted
/// in the first column, and there is no pending wrap when a row is erased.
fn drawn() -> impl Strategy<Value = String> {
    let put = (1_u16..11, 1_u16..21).prop_map(|(row, col)| format!("\x1b[{row};{col}H"));
    let act = prop_oneof![
        text().prop_filter("taste", |t| !t
            .contains(['\u{fe0f}', '\t', '\u{ad}', '\x0b', '\x08', '\x0e', '\x0f'])
            && !t.starts_with('\u{301}')
            && !t.starts_with('\u{200d}')),
        (
            1_u8..5,
            prop::sample::select(vec!['K', 'X', 'P', '@', 'S', 'T', 'C', 'E', 'F'])
        )
            .prop_map(|(n, last)| match last {
                'K' => format!("\x1b[{}K", n % 3),
                'P' => "\x1b[P".to_owned(), // alacritty blanks cells on the left, too, near the margin
                'E' | 'F' => format!("\x1b[r\x1b[{n}{last}"),
                last => format!("\x1b[{n}{last}"),
            }),
        (1_u8..5, prop::sample::select(vec!['L', 'M']))
            .prop_map(|(n, last)| format!("\r\x1b[{n}{last}")),
        prop_oneof![Just("\x1b[J"), Just("\x1b[2J")].prop_map(str::to_owned), // alacritty forgets a row in ED 1
        prop_oneof![
            Just("\x1b[?1049h"),
            Just("\x1b[?1049l"),
            Just("\x1b7"),
            Just("\x1b8"),
            Just("\x1bM"),
            Just("\x1bD"),
            Just("\n")
        ]
        .prop_map(str::to_owned),
        (1_u16..6, 5_u16..11).prop_map(|(top, bottom)| format!("\x1b[{top};{bottom}r")),
        prop_oneof![
            Just("\x1b[?25l"),
            Just("\x1b[?2004h"),
            Just("\x1b[>1u"),
            Just("\x1b[<u"),
            Just("\x1b(0"),
            Just("\x1b(B"),
            Just("\x1b]8;;http://a\x1b\\"),
            Just("\x1b]8;;\x1b\\")
        ]
        .prop_map(str::to_owned),
    ];
    let looks = sgr().prop_filter("taste", |s| {
        !["21", "53", "55", "5m", "6m", "25", "5;", "6;"]
            .iter()
            .any(|n| s.contains(n))
    });
    let step = (looks, put, act).prop_map(|(sgr, put, act)| format!("{sgr}{put}{act}"));
    prop::collection::vec(step, 0..15).prop_map(|steps| steps.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(150),
        failure_persistence: None,
        rng_seed: seed(),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_real_terminal_agrees(bytes in drawn(), at in any::<prop::sample::Index>()) {
        let size = Size { rows: 10, cols: 20 };
        let at = at.index(bytes.len() + 1);
        let result = judge::same_from(bytes.as_bytes(), at, size, false);
        prop_assert!(result.is_ok(), "{}", result.unwrap_err());
    }
}
