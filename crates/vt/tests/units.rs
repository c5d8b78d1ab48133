//! The parts, one by one.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic)] // tests: helpers are not #[test] functions

use clsess_vt::{Painted, Size, Terminal};

const SIZE: Size = Size { rows: 5, cols: 20 };

fn fed(bytes: &str) -> Terminal {
    let mut terminal = Terminal::new(SIZE, 1000);
    assert!(!terminal.feed(bytes.as_bytes()).lost);
    terminal
}

/// The rows that have anything.
fn rows(bytes: &str) -> Vec<String> {
    let text = fed(bytes).text(0);
    text.trim_end().lines().map(str::to_owned).collect()
}

fn answers(bytes: &str) -> Vec<String> {
    let queries = Terminal::new(SIZE, 0).feed(bytes.as_bytes()).queries;
    queries
        .into_iter()
        .map(|query| String::from_utf8(query.answer).unwrap())
        .collect()
}

#[test]
fn what_vt100_does_not_know_is_said_in_its_words() {
    let cases = [
        ("ab\x1bDc", vec!["ab", "  c"]),
        ("ab\x1bEc", vec!["ab", "c"]),
        ("a\x1b[sbc\x1b[uX", vec!["aXc"]),
        ("a\x1b[3ab\x1b[ec", vec!["a   b", "     c"]),
        ("a\x1b[2Ib\x1b[Zc", vec!["a               c"]),
        ("\x1b[3g\x1b[4G\x1bH\ra\tb", vec!["a  b"]),
        ("main\x1b[?1047halt\x1b[?1047lx", vec!["main   x"]),
        ("a\x1b[?1048hbc\x1b[?1048lX", vec!["aXc"]),
        ("abc\r\x1b[4hX\x1b[4lY", vec!["XYbc"]),
        (
            "\x1b[?7labcdefghijklmnopqrstuvwxyz",
            vec!["abcdefghijklmnopqrsz"],
        ),
        ("\x1b(0lqk\x1b(Bq\x0e\x1b)0x\x0fx", vec!["┌─┐q│x"]),
        ("a\x1b[4bb", vec!["aaaaab"]),
        ("\x1b[?6h\x1b[2;3r\x1b[5;1Hx", vec!["", "", "x"]),
        ("a\x1b[2;3r\x1b[3;1Hb\nc", vec!["a", "b", " c"]),
        ("ab\x1b[20hc\nd", vec!["abc", "d"]),
    ];
    for (bytes, expected) in cases {
        assert_eq!(rows(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn questions_are_answered_with_the_state_at_that_point() {
    assert_eq!(answers("\x1b[c"), ["\x1b[?62;22c"]);
    assert_eq!(answers("ab\x1b[6ncd\x1b[6n"), ["\x1b[1;3R", "\x1b[1;5R"]);
    assert_eq!(answers("\x1b[2;4r\x1b[?6h\x1b[2;2H\x1b[6n"), ["\x1b[2;2R"]);
    assert_eq!(
        answers("\x1b[5n\x1b[?u\x1b[>3u\x1b[?u"),
        ["\x1b[0n", "\x1b[?0u", "\x1b[?3u"]
    );
    assert_eq!(
        answers("\x1b[?2004$p\x1b[?2004h\x1b[?2004$p\x1b[?9999$p"),
        ["\x1b[?2004;2$y", "\x1b[?2004;1$y", "\x1b[?9999;0$y"]
    );
    assert_eq!(
        answers("\x1b[18t\x1b[14t\x1b[16t"),
        ["\x1b[8;5;20t", "\x1b[4;80;160t", "\x1b[6;16;8t"]
    );
    assert_eq!(
        answers("\x1b]11;?\x07\x1b]11;#fff\x07\x1b]11;?\x07"),
        ["\x1b]11;rgb:0000/0000/0000\x1b\\", "\x1b]11;#fff\x1b\\"]
    );
    assert_eq!(answers("\x1b]4;1;?\x07"), [""; 0]);
    assert_eq!(
        answers("\x1bP$qm\x1b\\\x1bP+q544e\x1b\\"),
        ["\x1bP0$r\x1b\\", "\x1bP0+r\x1b\\"]
    );
    assert_eq!(answers("\x1b[?996n"), ["\x1b[?997;1n"]);
    assert_eq!(
        answers("\x1b[>q"),
        [format!(
            "\x1bP>|clsess({})\x1b\\",
            env!("CARGO_PKG_VERSION")
        )]
    );
}

#[test]
fn a_question_in_pieces_is_placed_in_both() {
    let mut terminal = Terminal::new(SIZE, 0);
    assert_eq!(terminal.feed(b"abc\x1b[").queries, []);
    assert_eq!(terminal.pending(), b"\x1b[");
    let query = &terminal.feed(b"6nx").queries[0];
    assert_eq!(
        (query.start, query.end, &query.answer[..]),
        (0, 4, &b"\x1b[1;4R"[..])
    );
}

#[test]
fn colours_and_pixels_that_were_told_are_answered() {
    let mut terminal = Terminal::new(SIZE, 0);
    terminal.set_colours([None, Some("rgb:ffff/ffff/ffff"), Some("\x1bbad")]);
    terminal.set_pixels(200, 100);
    let fed = terminal.feed(b"\x1b]11;?\x07\x1b[?996n\x1b[14t");
    let answers: Vec<_> = fed
        .queries
        .iter()
        .map(|q| String::from_utf8_lossy(&q.answer).into_owned())
        .collect();
    assert_eq!(
        answers,
        [
            "\x1b]11;rgb:ffff/ffff/ffff\x1b\\",
            "\x1b[?997;2n",
            "\x1b[4;100;200t"
        ]
    );
}

#[test]
fn bells_and_notices_are_counted() {
    let fed = Terminal::new(SIZE, 0).feed(b"a\x07b\x07\x1b]7501;state=idle\x07\x1b]2;no bell\x07");
    assert_eq!(fed.bells, 2);
    assert_eq!(fed.notices[0].0, b"state=idle");
}

#[test]
fn a_string_that_is_too_long_is_followed_to_its_end() {
    let mut terminal = Terminal::new(SIZE, 0);
    terminal.feed(b"\x1b]52;c;");
    assert!(terminal.whole());
    terminal.feed(&[b'A'; 5000]);
    assert!(!terminal.whole());
    assert!(terminal.pending().len() <= 1);
    terminal.feed(b"more\x1b");
    assert!(!terminal.whole());
    terminal.feed(b"\\text");
    assert!(terminal.whole());
    assert_eq!(terminal.text(0).trim_end(), "text");
}

#[test]
fn huge_numbers_take_no_time() {
    let start = std::time::Instant::now();
    let mut terminal = Terminal::new(
        Size {
            rows: 9999,
            cols: 0,
        },
        0,
    );
    assert_eq!(
        terminal.size(),
        Size {
            rows: 1000,
            cols: 1
        }
    );
    for last in "@ABCDEFGHIJKLMPSTXZ`abdegr".chars() {
        terminal.feed(format!("x\x1b[65535{last}\x1b[99999;99999{last}").as_bytes());
    }
    assert!(start.elapsed().as_secs() < 5);
}

#[test]
fn what_vt100_panics_at_is_no_panic() {
    let mut terminal = Terminal::new(Size { rows: 6, cols: 20 }, 0);
    terminal.feed("\x1b[10;24H❤\u{fe0f}\x1bM\x1b[24;1b".as_bytes());
    terminal.resize(Size { rows: 1, cols: 1 });
    terminal.feed("漢❤\u{fe0f}".as_bytes());
    terminal.snapshot();
}

#[test]
fn history_is_the_last_rows_and_bounded() {
    let mut terminal = Terminal::new(SIZE, 200);
    for n in 0..1000 {
        terminal.feed(format!("line {n}\r\n").as_bytes());
    }
    let text = String::from_utf8(terminal.history(1000)).unwrap();
    let lines: Vec<_> = text.split_terminator("\r\n").collect();
    assert_eq!(
        (lines.len(), lines[0], lines[199]),
        (200, "line 796", "line 995")
    );
    assert_eq!(terminal.history(1), b"line 995\r\n");
    terminal.feed(b"\x1b[3J");
    assert_eq!(terminal.history(10), b"");
    // a wrapped row has no line end
    let mut terminal = fed("0123456789012345678901234\r\n\x1b[31;9mred\r\n\n\n\n\n\n\n");
    let expected = b"0123456789012345678901234\r\n\x1b[9;31mred\x1b[m\r\n";
    assert!(terminal.history(100).starts_with(expected));
}

#[test]
fn undo_leaves_a_plain_terminal() {
    let undo = fed("a\r\nb\x1b[?1049h\x1b[?1003h\x1b[5;5Hfull").undo();
    let undo = String::from_utf8(undo).unwrap();
    for part in [
        "\x1b[?1049l",
        "\x1b[?1003l",
        "\x1b[?2004l",
        "\x1b[?1004l",
        "\x1b[<99u",
        "\x1b[>4;0m",
        "\x1b[?25h",
        "\x1b[r",
        "\x1b[m",
        "\x1b[2H\r\n",
    ] {
        assert!(undo.contains(part), "{part:?}");
    }
}

#[test]
fn a_picture_is_what_fits() {
    let small = Size { rows: 3, cols: 8 };
    let mut terminal = fed("0123456789\r\nab漢漢漢漢\r\nc\r\nd\x1b[2;3H");
    let mut painted = Painted::default();
    let mut viewer = Terminal::new(small, 0);
    viewer.feed(b"old\x1b[?1003h\x1b[44m");
    viewer.feed(&terminal.paint(small, &mut painted));
    assert_eq!(viewer.text(0), "01234567\nab漢漢漢\nc\n");
    terminal.feed(b"\x1b[3;1HCC");
    let again = terminal.paint(small, &mut painted);
    assert!(again.len() < 60, "{}", again.len());
    viewer.feed(&again);
    assert_eq!(viewer.text(0), "01234567\nab漢漢漢\nCC\n");
    let large = Size { rows: 9, cols: 40 };
    let mut viewer = Terminal::new(large, 0);
    viewer.feed(&[b'x'; 360]);
    viewer.feed(&terminal.paint(large, &mut Painted::default()));
    assert_eq!(viewer.text(0).trim_end(), terminal.text(0).trim_end());
}

#[test]
fn marks_are_freed_when_no_cell_has_them() {
    let mut terminal = fed("");
    for n in 0..5000 {
        terminal.feed(format!("\r\x1b]8;;http://x/{n}\x1b\\link\x1b]8;;\x1b\\").as_bytes());
    }
    let snapshot = String::from_utf8(terminal.snapshot()).unwrap();
    assert!(snapshot.contains("http://x/4999"), "{snapshot:?}");
}

#[test]
fn a_programs_own_use_of_the_marks_is_dropped() {
    assert_eq!(rows("a\u{e01f0}b\u{e0fff}c\u{10fffd}d"), ["abcd"]);
    assert_eq!(rows("a\u{fffd}b"), ["a\u{fffd}b"]);
    let mut terminal = Terminal::new(SIZE, 0);
    terminal.feed(b"a\xffb\xe2\x82c");
    assert_eq!(terminal.text(0).trim_end(), "a\u{fffd}b\u{fffd}c");
}

#[test]
fn titles_are_bounded_and_plain() {
    let mut terminal = fed("\x1b]2;a\tb\u{1}c\x07");
    assert_eq!(terminal.title(), Some("abc"));
    terminal.feed(b"\x1b[22;0t\x1b]0;other\x1b\\\x1b[23;0t");
    assert_eq!(terminal.title(), Some("abc"));
}

/// Bytes of the heap that are in use, as the kernel and malloc tell it, roughly.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

#[test]
#[ignore = "alone in its process: cargo test -p clsess-vt --test units -- --ignored"]
fn memory_is_bounded() {
    let size = Size { rows: 24, cols: 80 };
    let before = resident();
    let idle: Vec<_> = (0..100).map(|_| Terminal::new(size, 10_000)).collect();
    let each = (resident() - before) / 100;
    println!("idle: {each}");
    assert!(each < 80 * 1024);
    drop(idle);
    let before = resident();
    let mut full: Vec<_> = (0..10).map(|_| Terminal::new(size, 10_000)).collect();
    let line = format!("{}\r\n", "x".repeat(76));
    for terminal in &mut full {
        (0..12_000).for_each(|_| drop(terminal.feed(line.as_bytes())));
    }
    let each = (resident() - before) / 10;
    println!("10 000 rows: {each}");
    assert!(each < 1_300_000);
}

/// Rows that come and go in one piece are in the history as those that come in many.
#[test]
fn rows_that_pass_over_the_screen_are_in_the_history() {
    for (rows, cols) in [(24, 80), (5, 20), (1, 7), (60, 33)] {
        let lines = (0..3000).map(|n| {
            let words = "some words of it ".repeat(n % 9);
            format!("{n:05} {words}\r\n")
        });
        let odd = "a\r\n\r\n  \r\nb\r";
        let text = format!(
            "x{}{odd}{}\x1b[31mred",
            lines.clone().collect::<String>(),
            "y".repeat(50)
        );
        let size = Size { rows, cols };
        let mut whole = Terminal::new(size, 1000);
        let _ = whole.feed(b"before\x1b[3;4Hmore");
        let _ = whole.feed(text.as_bytes());
        let mut pieces = Terminal::new(size, 1000);
        let _ = pieces.feed(b"before\x1b[3;4Hmore");
        for piece in text.as_bytes().chunks(777) {
            let _ = pieces.feed(piece);
        }
        let (texts, first) = (
            [whole.text(5000), pieces.text(5000)],
            |texts: &[String; 2]| {
                let [one, other] = texts.each_ref().map(|text| text.lines());
                let pairs = one.zip(other);
                let differs = pairs.enumerate().find(|(_, (one, other))| one != other);
                format!("{differs:?}")
            },
        );
        let lines = texts.each_ref().map(|text| text.lines().count());
        assert!(
            texts[0] == texts[1],
            "{rows}x{cols}: {lines:?} {}",
            first(&texts)
        );
        assert!(whole.saved() == pieces.saved(), "{rows}x{cols}");
    }
}
