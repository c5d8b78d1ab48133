//! A terminal that does not read holds nobody up.

use crate::harness::{World, until};
use crate::{DETACH, Speaker, USUAL, attach, session};

/// A program that writes 20 MB when it is told to, and then says so.
const WRITES: &str = "stty raw -echo; echo ready; read -rn 1; \
    head -c 20000000 /dev/zero | tr '\\0' x | fold -w 79; printf '\\r\\nall of it'; \
    touch written; read -rn 1";
/// Bytes of that: so many lines have an end.
const WRITTEN: u64 = 20_000_000 + 20_000_000 / 79;

#[test]
fn nobody_waits_for_a_terminal_that_does_not_read() {
    let Some(world) = World::bare() else { return };
    session(&world, "work", USUAL, WRITES);
    let slow = attach(&world, "work", USUAL);
    let other = attach(&world, "work", USUAL);
    for terminal in [&slow, &other] {
        terminal.until_screen(|text| text.contains("ready"));
    }
    slow.stop_reading();
    let (slow_before, before) = (slow.read(), other.read());
    other.type_in("x");
    until("the program has written all of it", || {
        world.project().join("written").exists()
    });
    other.until_screen(|text| text.contains("all of it"));
    // What it could not take in time it has seen as pictures.
    assert!(other.read() > before);
    assert_eq!(slow.read(), slow_before);
    slow.go_on_reading();
    slow.until_shows("the slow one reads again", &other.seen());
    let caught_up = slow.read() - slow_before;
    assert!(caught_up < WRITTEN / 10, "{caught_up} bytes to catch up");
}

/// One that reads gets every byte.
#[test]
fn who_reads_gets_all_of_it_beside_one_who_does_not() {
    let Some(world) = World::bare() else { return };
    let speaker = Speaker::session(&world, "work", USUAL);
    let (slow, other) = (attach(&world, "work", USUAL), attach(&world, "work", USUAL));
    speaker.say("ready\r\n");
    for terminal in [&slow, &other] {
        terminal.until_screen(|text| text.contains("ready"));
    }
    slow.stop_reading();
    // Who has just come gets the screen, and a moment later the screen once more behind the history.
    for round in 0..3 {
        speaker.say(format!("steady {round}\r\n"));
        other.until_screen(|text| text.contains(&format!("steady {round}")));
    }
    let before = other.read();
    // Not faster than it is read.
    let mut said = 0;
    for round in 0..300 {
        let text = format!("{}round {round}\r\n", "x".repeat(3000));
        said += text.len() as u64;
        speaker.say(text);
        other.until_screen(|text| text.contains(&format!("xround {round}\n")));
    }
    assert_eq!(other.read() - before, said);
    slow.go_on_reading();
    slow.until_shows("the slow one reads again", &other.seen());
}

/// The client is stopped, which the broker does not need.
#[test]
fn a_stopped_client_does_not_matter() {
    let Some(world) = World::bare() else { return };
    let speaker = Speaker::session(&world, "work", USUAL);
    let terminal = attach(&world, "work", USUAL);
    speaker.say("one\r\n");
    terminal.until_screen(|text| text.contains("one"));
    terminal.signal(nix::sys::signal::Signal::SIGSTOP);
    speaker.say("two\r\n");
    terminal.until_screen(|text| text.contains("two"));
    terminal.signal(nix::sys::signal::Signal::SIGCONT);
    terminal.type_in(DETACH);
    assert_eq!(terminal.exit(), 0);
}

/// A terminal that will never read again does not keep its client.
#[test]
fn who_does_not_read_can_be_detached() {
    let Some(world) = World::bare() else { return };
    session(
        &world,
        "work",
        USUAL,
        &WRITES.replace("20000000", "2000000"),
    );
    let slow = attach(&world, "work", USUAL);
    slow.until_screen(|text| text.contains("ready"));
    slow.stop_reading();
    slow.type_in("x");
    until("the program has written all of it", || {
        world.project().join("written").exists()
    });
    slow.type_in(DETACH);
    crate::wait_attached(&world, "work", 0);
    slow.go_on_reading();
    assert_eq!(slow.exit(), 0);
}

/// What the program asks does not wait for a terminal that will not read it.
#[test]
fn a_question_is_answered_though_nobody_reads_it() {
    let Some(world) = World::bare() else { return };
    let script = "stty raw -echo; printf ready; read -rn 1; head -c 100000 /dev/zero | tr '\\0' x; \
        printf '\\033[c'; head -c 400000 /dev/zero | tr '\\0' x; printf '\\033[5n'; \
        IFS= read -rs -d n answers; printf %s \"$answers\" >answers; touch answered; \
        printf '\\033[2J\\033[Hgo on'; exec sleep 1000000";
    session(&world, "work", USUAL, script);
    let slow = attach(&world, "work", USUAL);
    slow.until_screen(|text| text.contains("ready"));
    slow.stop_reading();
    slow.type_in("x");
    until("both are answered", || {
        world.project().join("answered").exists()
    });
    let answers = std::fs::read_to_string(world.project().join("answers")).unwrap();
    assert_eq!(answers.matches("\x1b[?").count(), 1, "{answers:?}");
    assert_eq!(answers.matches("\x1b[0").count(), 1, "{answers:?}");
    slow.go_on_reading();
    slow.until_screen(|text| text.contains("go on"));
}
