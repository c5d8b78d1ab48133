//! Several who look at one session.

use crate::harness::{World, until};
use crate::terminal::{Judge, Size, Terminal};
use crate::{Speaker, USUAL, attach, attach_with, says_size, session, wait_attached};

#[test]
fn two_of_one_size_see_the_same() {
    let Some(world) = World::bare() else { return };
    let speaker = Speaker::session(&world, "work", USUAL);
    let both = [attach(&world, "work", USUAL), attach(&world, "work", USUAL)];
    let mut judge = Judge::new(USUAL);
    for round in 0..50 {
        let said = format!(
            "\x1b[{};{}H\x1b[4{}mround {round}",
            round % 24,
            round,
            round % 8
        );
        speaker.say(&said);
        judge.feed(said.as_bytes());
    }
    for terminal in &both {
        terminal.until_shows("the program", &judge.seen());
    }
}

fn shows(terminal: &Terminal, text: &str) {
    terminal.until_screen(|screen| screen.contains(text));
}

#[test]
fn the_size_is_that_of_whoever_wrote_last() {
    let Some(world) = World::bare() else { return };
    says_size(&world);
    let small = attach(&world, "work", Size(10, 40));
    shows(&small, "10 40");
    let large = attach(&world, "work", Size(30, 100));
    shows(&large, "30 100");
    small.type_in("a");
    shows(&large, "key a.");
    // In a terminal that is larger, the rest is blank.
    shows(&large, "10 40\n");
    large.type_in("b");
    shows(&large, "key b.");
    until("it has the size of the large one", || {
        world.show("work")["size"] == serde_json::json!([30, 100])
    });
    // In one that is smaller, the part that fits.
    for row in 0..4 {
        large.type_in(format!("{row}"));
        shows(&large, &format!("key {row}."));
    }
    let wanted = large.seen().text();
    let fits: Vec<&str> = wanted.lines().take(10).collect();
    small.until_screen(|text| text.lines().eq(fits.iter().copied()));
    // Who is alone decides.
    large.type_in(crate::DETACH);
    assert_eq!(large.exit(), 0);
    until("it has the size of the small one", || {
        world.show("work")["size"] == serde_json::json!([10, 40])
    });
}

#[test]
fn who_only_looks_types_nothing_and_decides_nothing() {
    let Some(world) = World::bare() else { return };
    says_size(&world);
    let writes = attach(&world, "work", USUAL);
    shows(&writes, "24 80");
    let looks = attach_with(&world, &["attach", "-r", "work"], Size(40, 90));
    shows(&looks, "24 80");
    looks.type_in("x");
    looks.resize(Size(41, 91));
    shows(&looks, "24 80");
    writes.type_in("w");
    for terminal in [&writes, &looks] {
        shows(terminal, "key w.");
        let text = terminal.seen().text();
        assert!(!text.contains("key x"), "{text}");
        assert!(!text.contains("41"), "{text}");
    }
    looks.type_in(crate::DETACH);
    assert_eq!(looks.exit(), 0);
    assert!(writes.runs());
}

#[test]
fn who_wants_to_be_alone_detaches_the_others() {
    let Some(world) = World::bare() else { return };
    let speaker = Speaker::session(&world, "work", USUAL);
    let others = [
        attach(&world, "work", USUAL),
        attach(&world, "work", Size(9, 60)),
    ];
    wait_attached(&world, "work", 2);
    let alone = attach_with(&world, &["attach", "-x", "work"], USUAL);
    for other in &others {
        assert_eq!(other.exit(), 0);
        shows(other, "detached from work by another client");
    }
    speaker.say("hello");
    shows(&alone, "hello");
    wait_attached(&world, "work", 1);
}

#[test]
fn a_question_is_answered_once_however_many_look() {
    let Some(world) = World::bare() else { return };
    let ask = world.project().join("ask");
    let heard = world.project().join("heard");
    nix::unistd::mkfifo(&ask, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // What is answered comes as input; the answer of DSR 5 marks its end.
    let script = format!(
        "stty raw -echo; exec 9<>{}; while read -r what <&9; do \
         printf '\\033[c'; IFS= read -rs -d n answer; printf '%s|' \"$answer\" >>{}; done",
        ask.display(),
        heard.display()
    )
    .replace("printf '\\033[c'", "printf '\\033[c\\033[5n'");
    session(&world, "work", USUAL, &script);
    let mut terminals: Vec<Terminal> = Vec::new();
    for (count, viewers) in [0, 1, 3].into_iter().enumerate() {
        while terminals.len() < viewers {
            terminals.push(attach(&world, "work", USUAL));
        }
        wait_attached(&world, "work", viewers as u64);
        // They are live when they show what is said.
        std::fs::write(&ask, "x\n").unwrap();
        let mut answers = String::new();
        until("it is answered", || {
            answers = std::fs::read_to_string(&heard).unwrap_or_default();
            answers.matches('|').count() == count + 1
        });
        let last = answers.split('|').nth(count).unwrap();
        assert_eq!(last.matches("\x1b[?").count(), 1, "{viewers}: {answers:?}");
        assert_eq!(last.matches("\x1b[0").count(), 1, "{viewers}: {answers:?}");
    }
    // Nothing more has come: the next question finds nothing in front of its answer.
    std::fs::write(&ask, "x\n").unwrap();
    until("it is answered", || {
        let answers = std::fs::read_to_string(&heard).unwrap();
        let last = answers.split('|').nth(3).unwrap_or_default();
        last.starts_with("\x1b[?") && last.matches('\x1b').count() == 2
    });
}

#[test]
fn who_looks_goes_on_looking_when_the_program_is_started_again() {
    let Some(world) = World::bare() else { return };
    let began = "echo x >>began; stty raw -echo; printf '\\033[?1049hbegan %d' $(wc -l <began); read -n 1; exit 3";
    session(&world, "work", USUAL, began);
    let both = [attach(&world, "work", USUAL), attach(&world, "work", USUAL)];
    for terminal in &both {
        shows(terminal, "began 1");
    }
    world.clsess(&["restart", "work"]).run().ok();
    for terminal in &both {
        shows(terminal, "began 2");
    }
    both[0].type_in("x");
    for terminal in &both {
        assert_eq!(terminal.exit(), 3);
    }
}
