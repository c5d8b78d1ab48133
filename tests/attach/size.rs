//! The program's terminal has the size of the one that looks at it.

use std::path::Path;

use nix::pty::Winsize;
use nix::sys::signal::Signal;

use crate::harness::{World, until};
use crate::terminal::Size;
use crate::{USUAL, attach, session};

/// Says rows, columns and pixels of its terminal into a file whenever they change.
const SAYS: &str = "import fcntl, signal, struct, sys, termios
def say(*_):
    size = struct.unpack('HHHH', fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    with open(sys.argv[1], 'a') as out:
        print(*size, file=out)
signal.signal(signal.SIGWINCH, say)
say()
print('ready', flush=True)
while True:
    signal.pause()
";

fn wait_said(file: &Path, wanted: &str) {
    until(wanted, || {
        let said = std::fs::read_to_string(file).unwrap_or_default();
        said.lines().last() == Some(wanted)
    });
}

#[test]
fn a_new_size_reaches_the_program() {
    let Some(world) = World::bare() else { return };
    let said = world.project().join("said");
    // A signal that comes just before the shell reads is heard behind that.
    session(
        &world,
        "work",
        USUAL,
        &format!(
            "say() {{ stty size >>{}; }}; trap say WINCH; say; echo ready; \
             while :; do read -r -t 1 || :; done",
            said.display()
        ),
    );
    wait_said(&said, "24 80");
    let terminal = attach(&world, "work", USUAL);
    terminal.until_screen(|text| text.contains("ready"));
    for (rows, cols) in [(30, 100), (3, 9), (1, 2), (24, 80), (60, 300)] {
        terminal.resize(Size(rows, cols));
        wait_said(&said, &format!("{rows} {cols}"));
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
    let said = world.project().join("said");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = world.project().join("says.py");
    std::fs::write(&script, SAYS).unwrap();
    session(
        &world,
        "work",
        USUAL,
        &format!("exec {python} {} {}", script.display(), said.display()),
    );
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
