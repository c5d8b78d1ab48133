//! The turn accounting of the interface, in the orders that were measured (facts 3, 4, 10 to 13),
//! and in any other.
//!
//! `tui/turns.txt` holds scripts and what comes of them, to be read in review. After a change
//! `UPDATE_EXPECTED=1 cargo nextest run -p clsess-claude` writes it again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test

#[path = "tui/script.rs"]
mod script;

use proptest::prelude::*;
use script::{Player, play};

#[test]
fn turns() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tui/turns.txt");
    let scripts = std::fs::read_to_string(path).unwrap();
    let played = play(&scripts);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(path, &played).unwrap();
        return;
    }
    let mut lines = scripts.lines().zip(played.lines());
    let differs = lines.position(|(expected, played)| expected != played);
    let around = |at: usize| {
        let lines: Vec<&str> = played.lines().skip(at.saturating_sub(8)).take(12).collect();
        lines.join("\n")
    };
    assert_eq!(differs.map(around), None, "played otherwise");
    assert_eq!(scripts.lines().count(), played.lines().count());
}

const LINES: &[&str] = &[
    "idle",
    "working",
    "working",
    "done",
    "blocked x",
    "auth x",
    "error API Error: 500 x",
    "clear",
    "begin 1 hello",
    "begin 2 hello",
    "begin 3 other words",
    "withdraw 1",
    "prompt 7 hello",
    "prompt 8 hello",
    "prompt 9 hello there",
    "prompt 9 nothing like it",
    "report 8 done",
    "display 7 m 0 a|",
    "last 7 m 1 b",
    "last 8 n 0 c",
    "display 9 o 5 d",
    "stop 7 a|b",
    "stop 8 c",
    "stop 9 x",
    "stop 9 ",
    "failure 7 rate_limit API Error: 429",
    "tool 7 t1 Bash x",
    "tool @a 8 t2 Bash y",
    "tool-done 7 t1",
    "tools-done 8 t1 t2",
    "ask 7 q1 Bash x",
    "ask @a 8 q2 Bash y",
    "ask @b 8 q3 Bash y",
    "released q1",
    "agent 7 a",
    "agent-done 8 a",
    "session 7 5",
    "registry idle",
    "registry busy",
    "registry waiting",
    "esc",
    "overdue",
    "gone",
];

/// Whatever comes, in whatever order: nothing panics, each turn that was accepted ends once, and
/// what happens to a turn happens between the two (see `script`).
fn any_order(first: &str, lines: &[&str]) {
    let mut player = Player::default();
    player.line(first);
    for line in lines {
        player.line(line);
    }
    player.rest();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn every_accepted_prompt_ends_once(
        first in prop::sample::select(&["idle", "others", "take-up 4 7", "registry idle"][..]),
        lines in prop::collection::vec(prop::sample::select(LINES), 0..60),
    ) {
        any_order(first, &lines);
    }
}
