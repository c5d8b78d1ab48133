//! `kill -9` of the broker under a program that draws all the time, with clients attached.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::sys::termios::LocalFlags;

use crate::drawing::Drawing;
use crate::harness::{World, send_signal, until};
use crate::terminal::{Judge, Size, Terminal};
use crate::{Speaker, USUAL, attach, session};

/// How often when nothing else is said.
const FEW: usize = 5;
/// From one to the next: a broker that dies five times in ten seconds is not started by itself.
const APART: Duration = Duration::from_millis(2200);

fn deaths() -> usize {
    let deaths = std::env::var("CLSESS_DEATHS");
    deaths.map_or(FEW, |deaths| deaths.parse().unwrap())
}

/// Kills it so often, each some time after the one before; `then` is done after each.
fn kill_often(world: &World, mut then: impl FnMut(usize)) {
    let mut next = Instant::now() + APART;
    for death in 0..deaths() {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next = Instant::now() + APART;
        world.kill_broker();
        then(death);
    }
}

#[test]
fn all_screens_are_right_and_the_program_is_the_same() {
    let Some(world) = World::bare() else { return };
    let drawing = Drawing::session(&world, "work", USUAL);
    let program = world.agent("work");
    let terminals: Vec<Terminal> = (0..3).map(|_| attach(&world, "work", USUAL)).collect();
    kill_often(&world, |death| {
        assert_eq!(world.agent("work"), program, "death {death}");
        let drawn = drawing.drawn();
        // Each goes on.
        let read: Vec<u64> = terminals.iter().map(Terminal::read).collect();
        for (terminal, read) in terminals.iter().zip(read) {
            until("it is drawn in", || terminal.read() > read + 500);
        }
        until("the program draws", || drawing.drawn() > drawn);
    });
    drawing.stop();
    let wanted = drawing.seen_directly(USUAL);
    for (number, terminal) in terminals.iter().enumerate() {
        terminal.until_shows(&format!("terminal {number}"), &wanted);
    }
    attach(&world, "work", USUAL).until_shows("one that comes after it", &wanted);
}

/// Lines with numbers, as fast as they are taken, until there is a file `stop`.
const NUMBERS: &str = "stty raw -echo; exec 9<>/dev/null; n=0; mkfifo tick; exec 9<>tick; \
    until [ -e stop ]; do n=$((n + 1)); printf 'line %d\\r\\n' $n; \
    (( n % 20 )) || read -rt 0.02 -u 9; done; \
    printf 'the end'; exec sleep 1000000";

#[test]
fn no_line_is_lost_and_none_comes_twice() {
    let Some(world) = World::bare() else { return };
    let size = Size(20, 40);
    session(&world, "work", size, NUMBERS);
    let program = world.agent("work");
    let terminals: Vec<Terminal> = (0..3).map(|_| attach(&world, "work", size)).collect();
    let mut seen = 0;
    let mut look = || {
        let done = world
            .clsess(&["capture", "--history", "9999", "work"])
            .run();
        let text = done.ok().text().to_owned();
        let lines = text.lines().filter_map(|line| line.strip_prefix("line "));
        let numbers: Vec<u64> = lines.map(|number| number.parse().unwrap()).collect();
        assert!(numbers.len() > 10, "{text}");
        let in_a_row = numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let wrong = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]);
        assert!(in_a_row, "{wrong:?}");
        // It goes on where the last look has ended.
        assert!(numbers[0] <= seen + 1, "{} behind {seen}", numbers[0]);
        seen = *numbers.last().unwrap();
        text
    };
    kill_often(&world, |_| drop(look()));
    assert_eq!(world.agent("work"), program);
    std::fs::write(world.project().join("stop"), "").unwrap();
    for terminal in &terminals {
        terminal.until_screen(|text| text.contains("the end"));
    }
    let text = look();
    let last: Vec<&str> = text.lines().rev().take(20).collect();
    for terminal in &terminals {
        let shown = terminal.seen().text();
        assert!(shown.lines().rev().eq(last.iter().copied()), "{shown}");
    }
}

/// A broker dies while the program is inside a sequence, a character, a question.
#[test]
fn what_a_death_cuts_is_whole() {
    let Some(world) = World::bare() else { return };
    let speaker = Speaker::session(&world, "work", USUAL);
    let terminal = attach(&world, "work", USUAL);
    let mut judge = Judge::new(USUAL);
    for (first, second) in [
        (&b"one \x1b[3"[..], &b"1mred"[..]),
        (b" \xe6\xbc", b"\xa2"),
        (b"\x1b]2;ti", b"tle\x1b\\ two"),
        (b"\x1b", b"[c three"),
    ] {
        speaker.say(first);
        judge.feed(first);
        terminal.until_screen(|text| text == judge.seen().text());
        std::thread::sleep(APART);
        world.kill_broker();
        speaker.say(second);
        judge.feed(second);
        terminal.until_shows(&format!("{:?}", first.escape_ascii()), &judge.seen());
    }
}

/// An upgrade is a death that was told beforehand.
#[test]
fn an_upgrade_is_not_noticed() {
    let Some(world) = World::bare() else { return };
    let speaker = Speaker::session(&world, "work", USUAL);
    let program = world.agent("work");
    let terminal = attach(&world, "work", USUAL);
    speaker.say("before");
    terminal.until_screen(|text| text.contains("before"));
    let broker = world.broker();
    world.clsess(&["broker", "upgrade", "--force"]).run().ok();
    assert_ne!(world.broker(), broker);
    speaker.say(" and after");
    terminal.until_screen(|text| text.contains("before and after"));
    assert_eq!(world.agent("work"), program);
    terminal.type_in(crate::DETACH);
    assert_eq!(terminal.exit(), 0);
}

/// While there is no broker, what is typed waits for the next one, as it was typed.
#[test]
fn what_is_typed_meanwhile_is_for_the_program() {
    let Some(world) = World::bare() else { return };
    session(
        &world,
        "work",
        USUAL,
        "stty raw -echo; printf ready; exec cat -v",
    );
    let terminal = attach(&world, "work", USUAL);
    terminal.until_screen(|text| text.contains("ready"));
    let lock = File::open(world.state().join("default/lock")).unwrap();
    let inode = format!(":{} ", lock.metadata().unwrap().ino());
    // In line before any other broker.
    let waits = thread::spawn(|| Flock::lock(lock, FlockArg::LockExclusive).unwrap());
    until("it waits for the lock", || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let waits = |line: &str| line.contains("->") && line.contains(&inode);
        locks.lines().any(waits)
    });
    send_signal(world.broker(), Signal::SIGKILL);
    let held = waits.join().unwrap();
    until("Ctrl-C would work", || {
        terminal.line_modes().local_flags.contains(LocalFlags::ISIG)
    });
    terminal.type_in("one\rtwo");
    drop(held);
    terminal.until_screen(|text| text.contains("two"));
    assert!(terminal.seen().text().starts_with("readyone^Mtwo\n"));
}
