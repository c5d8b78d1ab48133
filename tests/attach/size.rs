//! The program's terminal has the size of the one that looks at it.

use std::path::Path;

use nix::pty::Winsize;
use nix::sys::signal::Signal;

use crate::harness::{World, until};
use crate::terminal::Size;
use crate::{USUAL, attach, says_size};

fn wait_said(file: &Path, wanted: &str) {
    until(wanted, || {
        let said = std::fs::read_to_string(file).unwrap_or_default();
        said.lines().last() == Some(wanted)
    });
}

#[test]
fn a_new_size_reaches_the_program() {
    let Some(world) = World::bare() else { return };
    let said = says_size(&world);
    wait_said(&said, "24 80 0 0");
    let terminal = attach(&world, "work", USUAL);
    terminal.until_screen(|text| text.contains("24 80"));
    for (rows, cols) in [(30, 100), (3, 9), (1, 2), (24, 80), (60, 300)] {
        terminal.resize(Size(rows, cols));
        wait_said(&said, &format!("{rows} {cols} {} {}", cols * 8, rows * 16));
    }
}

/// A terminal loses what does not fit, and does not get it back by itself.
#[test]
fn a_size_that_was_another_one_for_a_moment_is_drawn_anew() {
    let Some(world) = World::bare() else { return };
    let speaker = crate::Speaker::session(&world, "work", USUAL);
    let terminal = attach(&world, "work", USUAL);
    speaker.say("\x1b[2;30Hright\x1b[20;1Hbelow");
    terminal.until_screen(|text| text.contains("right") && text.contains("below"));
    let wanted = terminal.seen();
    terminal.signal(Signal::SIGSTOP);
    terminal.resize(Size(4, 10));
    terminal.resize(USUAL);
    terminal.signal(Signal::SIGCONT);
    terminal.until_shows("it is as it was", &wanted);
}

#[test]
fn pixels_are_told_too() {
    let Some(world) = World::bare() else { return };
    let said = says_size(&world);
    wait_said(&said, "24 80 0 0");
    let terminal = attach(&world, "work", USUAL);
    wait_said(&said, "24 80 640 384");
    let window = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 1000,
        ws_ypixel: 700,
    };
    // Only the font is another one.
    terminal.resize_with(USUAL, window);
    wait_said(&said, "24 80 1000 700");
}
