//! Snapshots, in a real terminal.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic)] // tests: helpers are not #[test] functions

mod judge;

use std::thread;

use clsess_vt::Size;
use judge::same;

const SIZE: Size = Size { rows: 24, cols: 80 };
const SMALL: Size = Size { rows: 10, cols: 20 };

macro_rules! cases {
    ($($name:ident: $bytes:expr;)*) => {$(
        #[test]
        fn $name() {
            same($bytes.as_bytes(), SIZE);
            same($bytes.as_bytes(), SMALL);
        }
    )*};
}

cases! {
    nothing: "";
    text: "hello\r\nworld";
    full_row: "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234";
    about_to_wrap: "01234567890123456789";
    about_to_wrap_in_colour: "\x1b[31;44m01234567890123456789";
    backspace_at_the_margin: "01234567890123456789\x08X";
    up_at_the_margin: "\n01234567890123456789\x1b[AX";
    erase_at_the_margin: "01234567890123456789\x1b[K";
    erase_at_the_margin_and_on: "01234567890123456789\x1b[Kx";
    extras: "\x1b[9mstrike\x1b[29m \x1b[4:3mcurly\x1b[58:2::1:2:3mcolour\x1b[58;5;9mindexed\x1b[59;4:5mdashed\x1b[m \x1b[8mhidden\x1b[28m";
    bold_and_dim: "\x1b[1mb\x1b[2mboth\x1b[22mnone\x1b[2;1mx";
    link: "a\x1b]8;id=1;http://x/y\x1b\\link\x1b]8;;\x1b\\b\x1b]8;;http://open\x07open";
    wide: "漢字テスト한글 end\r\n😀🚀 smile";
    wide_at_the_margin: "0123456789012345678漢字 after";
    wide_overwritten: "漢字漢字\x1b[1;2Hx\x1b[1;5Hy";
    combining: "e\u{301} n\u{303} x\u{308} end";
    zwj: "👩\u{200d}💻 end";
    replaced: "a\u{FFFD}b";
    region: "a\r\nb\r\nc\r\nd\r\ne\r\nf\x1b[2;4r\x1b[4;1H\n\nx";
    region_and_index: "a\r\nb\r\nc\r\nd\r\ne\x1b[2;4r\x1b[2;1H\x1bMx\x1b[4;3H\x1bDy\x1bEz";
    origin: "\x1b[3;8r\x1b[?6h\x1b[2;2Hx\x1b[4dy\x1b[9;1Hz";
    bad_region: "abc\x1b[8;3rx\x1b[5;5rz";
    insert_mode: "abcdefghij\x1b[1;3H\x1b[4hXY";
    insert_at_margin: "01234567890123456789\r\nabcdef\x1b[1;20HZ\x1b[4hXY";
    no_autowrap: "\x1b[?7l01234567890123456789abc";
    no_autowrap_and_back: "\x1b[?7l01234567890123456789abc\x1b[?7hX";
    graphics: "\x1b(0lqqk\x1b(Bq\x1b)0\x0eqq\x0fq\x0e";
    tabs: "\x1b[3g\x1b[1;5H\x1bH\x1b[1;11H\x1bH\ra\tb\tc\x1b[Zd\x1b[2Ie";
    tab_back: "a\tb\x1b[2Zc\x1b[Id";
    bce_erase: "\x1b[44mx\x1b[K\r\n\x1b[3Xy\x1b[1K\x1b[5;1H\x1b[J\x1b[41m\x1b[1J";
    bce_insert: "abcdefghij\x1b[1;3H\x1b[44m\x1b[2@\x1b[1;8H\x1b[2P";
    bce_lines: "a\r\nb\r\nc\r\nd\x1b[44m\x1b[2;1H\x1b[L\x1b[4;1H\x1b[2M";
    bce_scroll: "a\r\nb\r\nc\x1b[44m\x1b[2S\x1b[T\x1b[1;1H\x1bM";
    bce_line_feed: "a\x1b[999;1Hb\x1b[44m\n\n";
    bce_wrap: "a\x1b[999;1H\x1b[44m012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
    bce_wide_wrap: "\x1b[44m0123456789012345678漢字";
    saved: "\x1b[5;5H\x1b[31m\x1b(0\x1b7\x1b[m\x1b(B\x1b[1;1Hx";
    saved_at_margin: "01234567890123456789\x1b7\x1b[5;5Hx";
    alternate: "main\x1b[31m\x1b[?1049halt\x1b[5;5Hx";
    alternate_and_back: "main\x1b[31m\x1b[?1049halt\x1b[5;5Hx\x1b[?1049ly";
    alternate_region: "\x1b[3;7r\x1b[4;4Hx\x1b[?1049hy\x1b[2;5r\x1b[?1049lz";
    alternate_saved: "ab\x1b[?1049h\x1b[3;3H\x1b[32m\x1b7\x1b[mx";
    kitty: "\x1b[>1u\x1b[>3u\x1b[?1049h\x1b[>7u";
    kitty_of_the_other: "\x1b[?1049h\x1b[>7u\x1b[>5u\x1b[?1049l\x1b[=3u";
    kitty_popped: "\x1b[>1u\x1b[>3u\x1b[<u";
    modes: "\x1b[?1;1002;1006;1004;2004h\x1b=\x1b[?25l\x1b[3 q";
    more_modes: "\x1b[?1000h\x1b[?1005h\x1b[?1007l\x1b[20h";
    title: "\x1b]0;one\x07\x1b[22;0t\x1b]2;two\x1b\\";
    repeat: "ab\x1b[5b";
    repeat_later: "ab\x1b[31m";
    align: "x\x1b#8\x1b[H";
    reset: "\x1b[?1049h\x1b[31mxx\x1bcx";
    scrolled: "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8\r\n9\r\n10\r\n11\r\n12\r\n13\r\n";
    relative: "\x1b[5;5Ha\x1b[3ab\x1b[2ec\x1b[3`d\x1b[E\x1b[3Ge";
    saved_by_s: "\x1b[3;3H\x1b[s\x1b[5;5Hx\x1b[uy";
    sync: "\x1b[?2026hin a frame";
    erased_wrapped: "01234567890123456789abc\x1b[2;1H\x1b[K";
    inverse_blank: "\x1b[7m   \x1b[4m  \x1b[m";
}

mod recordings;

/// Whether this widens what is before it is a matter of taste.
fn without_taste(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes)
        .replace('\u{fe0f}', "")
        .into_bytes()
}

#[test]
fn small_recordings_from_everywhere() {
    let small = recordings::all()
        .into_iter()
        .filter(|(_, _, bytes)| bytes.len() <= 4096);
    thread::scope(|scope| {
        for (name, size, bytes) in small {
            scope.spawn(move || {
                if let Err(error) = judge::same_from_everywhere(&without_taste(&bytes), size) {
                    panic!("{name} {error}");
                }
            });
        }
    });
}

#[test]
fn recordings_from_anywhere() {
    for (name, size, bytes) in recordings::all() {
        let bytes = without_taste(&bytes);
        same(&bytes, size);
        for at in recordings::places(&bytes).into_iter().step_by(3) {
            if let Err(error) = judge::same_from(&bytes, at, size, true) {
                panic!("{name} at {at}: {error}");
            }
        }
    }
}
