//! What is typed.

use crate::harness::{World, until};
use crate::{USUAL, attach, session};

/// A program that reads nothing until it is told to, and then everything, into a file.
const READS_LATE: &str = "stty raw -echo; printf ready; until [ -e reads ]; do sleep 0.02; done; \
    printf reading; exec cat >heard";

/// So much is typed. No key that detaches is in it.
fn typed() -> Vec<u8> {
    (0..200_000_u32)
        .map(|n| b' ' + u8::try_from(n * 31 % 89).unwrap())
        .collect()
}

#[test]
fn a_program_that_does_not_read_holds_nobody_up_and_misses_nothing() {
    let Some(world) = World::bare() else { return };
    session(&world, "work", USUAL, READS_LATE);
    session(
        &world,
        "other",
        USUAL,
        "stty raw -echo; printf ready; exec cat",
    );
    let (terminal, other) = (
        attach(&world, "work", USUAL),
        attach(&world, "other", USUAL),
    );
    for terminal in [&terminal, &other] {
        terminal.until_screen(|text| text.contains("ready"));
    }
    terminal.type_in(typed());
    // The others, and the session itself, go on.
    other.type_in(" quick");
    other.until_screen(|text| text.contains("quick"));
    let capture = world.clsess(&["capture", "work"]).run().ok();
    assert!(capture.text().starts_with("ready\n"));
    let looks = attach(&world, "work", USUAL);
    looks.until_screen(|text| text.contains("ready"));
    std::fs::write(world.project().join("reads"), "").unwrap();
    terminal.until_screen(|text| text.contains("reading"));
    looks.until_screen(|text| text.contains("reading"));
    let heard = || std::fs::read(world.project().join("heard")).unwrap_or_default();
    until("it has heard all of it", || heard().len() >= 200_000);
    assert!(heard() == typed());
}

#[test]
fn two_type_and_both_are_heard() {
    let Some(world) = World::bare() else { return };
    session(
        &world,
        "work",
        USUAL,
        "stty raw -echo; printf ready; exec cat",
    );
    let both = [attach(&world, "work", USUAL), attach(&world, "work", USUAL)];
    for terminal in &both {
        terminal.until_screen(|text| text.contains("ready"));
    }
    for (terminal, text) in both.iter().zip(["one", "two"]) {
        terminal.type_in(text);
        for terminal in &both {
            terminal.until_screen(|screen| screen.contains(text));
        }
    }
}

/// A character of several bytes, and a sequence, in pieces.
#[test]
fn keys_come_whole_however_they_are_cut() {
    let Some(world) = World::bare() else { return };
    session(
        &world,
        "work",
        USUAL,
        "stty raw -echo; printf 'ready\\033[>1u'; exec cat >heard",
    );
    let terminal = attach(&world, "work", USUAL);
    terminal.until_screen(|text| text.contains("ready"));
    let typed = "ä漢\x1b[92;5:3u\x1b[97;5u\x1b[200~\x1c\x1b[201~\x1bOP\x1b[1;5A\x1b";
    for byte in typed.as_bytes() {
        terminal.type_in([*byte]);
    }
    until("all of it was heard", || {
        std::fs::read(world.project().join("heard")).is_ok_and(|heard| heard == typed.as_bytes())
    });
    assert!(terminal.runs());
}

/// Escape alone, where it may be the beginning of a sequence: nothing follows that would push it.
#[test]
fn a_lone_escape_is_heard_soon() {
    let Some(world) = World::bare() else { return };
    let script = "stty raw -echo; printf 'ready\\033[>1u'; exec cat >heard";
    session(&world, "work", USUAL, script);
    let terminal = attach(&world, "work", USUAL);
    terminal.until_screen(|text| text.contains("ready"));
    let heard = || std::fs::read(world.project().join("heard")).unwrap_or_default();
    for count in 1..5 {
        terminal.type_in("\x1b");
        until("it was heard", || heard() == b"\x1b".repeat(count));
    }
}
