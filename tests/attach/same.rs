//! Who attaches sees what they would see if they had never been away.

use std::collections::VecDeque;
use std::path::Path;

use crate::harness::World;
use crate::terminal::{DIRT, Judge, Seen, Size, Terminal};
use crate::{DETACH, Speaker, USUAL, attach, wait_attached};

/// Shows state that cannot be seen: said by the program behind the rest.
const PROBES: [&str; 5] = [
    "abc\x1b[5;5Hxyz",
    "\x1b8restored",
    "\x1b[2;3Htop\x1bM\x1bM\x1bMup",
    "\r\tone\ttwo\tthree",
    "\x1b[?1049lmain\x1b8again",
];

/// What real programs have written, with the size of their terminal. Without VS16: it makes an
/// emoji wide, and alacritty leaves those narrow.
fn recordings() -> Vec<(String, Size, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/vt/tests/recordings");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((_, size)) = name.strip_suffix(".bin").and_then(|it| it.split_once('.')) else {
            continue;
        };
        let (rows, cols) = size.split_once('x').unwrap();
        let size = Size(rows.parse().unwrap(), cols.parse().unwrap());
        let mut bytes = std::fs::read(path).unwrap();
        while let Some(at) = bytes.windows(3).position(|it| it == "\u{fe0f}".as_bytes()) {
            bytes.drain(at..at + 3);
        }
        found.push((name, size, bytes));
    }
    assert!(!found.is_empty());
    found.sort_by(|one, two| one.0.cmp(&two.0));
    found
}

/// A program in a session, and the same program in a terminal of its own.
struct Twins {
    told: Speaker,
    told_directly: Speaker,
    direct: Terminal,
    /// What a terminal shows that was fed with the same.
    judge: Judge,
}

impl Twins {
    fn new(world: &World, name: &str, size: Size) -> Self {
        let told_directly = Speaker::new(world, &format!("{name}-direct"));
        let direct = crate::script(world, &told_directly.script());
        Self {
            told: Speaker::session(world, name, size),
            told_directly,
            direct: Terminal::start(&direct, size),
            judge: Judge::new(size),
        }
    }

    /// Both say it; what is to be seen then.
    fn say(&mut self, bytes: &[u8]) -> Seen {
        self.told.say(bytes);
        self.told_directly.say(bytes);
        self.judge.feed(bytes);
        let seen = self.judge.seen();
        self.direct.until_shows("the program alone", &seen);
        seen
    }
}

#[test]
fn who_comes_back_sees_what_real_programs_have_drawn() {
    let Some(world) = World::bare() else { return };
    for (file, size, bytes) in recordings() {
        for (number, cut) in [1, 4, 7, 11, 14, 17].into_iter().enumerate() {
            let at = bytes.len() * cut / 20;
            let what = format!("{file} at {at}");
            let name = format!("s{number}-{}", file.replace('.', "-"));
            let mut twins = Twins::new(&world, &name, size);
            let first = attach(&world, &name, size);
            let seen = twins.say(&bytes[..at]);
            // Inside a sequence, which is shown when it is whole.
            let last = bytes[..at].iter().rposition(|byte| *byte == 0x1b);
            let inside = last.is_some_and(|last| at - last < 40);
            wait_attached(&world, &name, 1);
            if !inside {
                first.until_shows(&format!("{what}, from the beginning"), &seen);
            }
            first.type_in(DETACH);
            assert_eq!(first.exit(), 0, "{what}");
            let command = world.clsess(&["attach", &name]);
            let fresh = Terminal::start(&command, size);
            let dirty = Terminal::start_dirty(&command, size, DIRT);
            if number % 2 == 1 {
                // They get some of what follows live, and some as a picture.
                wait_attached(&world, &name, 2);
            }
            let seen = twins.say(&bytes[at..]);
            let both = |what: &str, seen: &Seen| {
                fresh.until_shows(&format!("{what}, a fresh terminal"), seen);
                dirty.until_shows(&format!("{what}, a dirty terminal"), seen);
            };
            both(&what, &seen);
            for probe in PROBES {
                let seen = twins.say(probe.as_bytes());
                both(&format!("{what}, then {probe:?}"), &seen);
            }
            drop((fresh, dirty));
            world.clsess(&["kill", &name]).run().ok();
        }
    }
}

/// Points between a look and its comparison: what was begun at the look is said by then.
const LATER: usize = 40;

/// A look at every byte of the small recordings with `CLSESS_EVERYWHERE`, else at some. What is
/// hidden then is shown by the tests of `clsess-vt`, at every byte, too.
#[test]
fn who_comes_at_any_byte_sees_what_is_there() {
    let Some(world) = World::bare() else { return };
    let everywhere = std::env::var_os("CLSESS_EVERYWHERE").is_some();
    let small = recordings().into_iter().filter(|it| it.2.len() <= 4096);
    for (file, size, bytes) in small {
        let name = file.replace('.', "-");
        let speaker = Speaker::session(&world, &name, size);
        let mut judge = Judge::new(size);
        let step = if everywhere { 1 } else { 97 };
        let mut looking = VecDeque::new();
        let (mut said, mut looks) = (0, (0..bytes.len()).step_by(step).peekable());
        while said < bytes.len() || !looking.is_empty() {
            if looks.next_if_eq(&said).is_some() {
                let terminal = Terminal::start(&world.clsess(&["attach", &name]), size);
                wait_attached(&world, &name, looking.len() as u64 + 1);
                looking.push_back((said, terminal));
            }
            let due = looking.front().map(|(from, _)| from + LATER);
            let next = due.into_iter().chain(looks.peek().copied()).min();
            let next = next.unwrap_or(bytes.len()).max(said + 1).min(bytes.len());
            speaker.say(&bytes[said..next]);
            judge.feed(&bytes[said..next]);
            said = next;
            while let Some((from, terminal)) = looking.pop_front() {
                // The judge takes the first half of an ST for all of it.
                let half = bytes[said - 1] == 0x1b;
                if said < bytes.len() && (half || from + LATER > said) {
                    looking.push_front((from, terminal));
                    break;
                }
                terminal.until_shows(&format!("{file} from {from} to {said}"), &judge.seen());
                terminal.type_in(DETACH);
                assert_eq!(terminal.exit(), 0, "{file} from {from}");
            }
        }
        world.clsess(&["kill", &name]).run().ok();
    }
}

#[test]
fn a_program_goes_on_while_nobody_looks() {
    let Some(world) = World::bare() else { return };
    let mut twins = Twins::new(&world, "work", USUAL);
    let mut seen = twins.say(b"one\r\n");
    for round in 0..5 {
        let terminal = attach(&world, "work", USUAL);
        terminal.until_shows("back again", &seen);
        seen = twins.say(format!("\x1b[{};{}H\x1b[3{round}mlive", 3 * round, round).as_bytes());
        terminal.until_shows("live", &seen);
        terminal.type_in(DETACH);
        assert_eq!(terminal.exit(), 0);
        seen = twins.say(format!("alone {round}\r\n\x1b[?1h\x1b[?2004h").as_bytes());
    }
    let terminal = attach(&world, "work", USUAL);
    terminal.until_shows("at last", &seen);
    assert!(terminal.seen().text().contains("alone 4"));
}

/// The terminal that somebody detaches in is attached again.
#[test]
fn the_same_terminal_is_good_for_another_look() {
    let Some(world) = World::bare() else { return };
    let mut twins = Twins::new(&world, "work", USUAL);
    let seen = twins.say("\x1b]2;title\x07\x1b[?1049h\x1b[>1u漢字\x1b[31m\x1b[5;9r".as_bytes());
    let clsess = crate::harness::CLSESS;
    let again = world.program(
        "bash",
        &[
            "-c",
            &format!("{clsess} attach work; read -r; exec {clsess} attach work"),
        ],
    );
    let terminal = Terminal::start(&again, USUAL);
    terminal.until_shows("at first", &seen);
    terminal.type_in(DETACH);
    terminal.until_screen(|text| text.contains("detached from work"));
    terminal.type_in("\n");
    terminal.until_shows("again", &seen);
    terminal.type_in(DETACH);
    assert_eq!(terminal.exit(), 0);
}

/// What has scrolled away while nobody looked is told by `capture`.
#[test]
fn the_history_has_every_line() {
    let Some(world) = World::bare() else { return };
    let speaker = Speaker::session(&world, "work", USUAL);
    let lines: String = (0..3000).map(|n| format!("line {n}\r\n")).collect();
    let terminal = attach(&world, "work", USUAL);
    speaker.say(&lines);
    terminal.until_screen(|text| text.contains("line 2999"));
    let capture = ["capture", "--history", "9999", "work"];
    let done = world.clsess(&capture).run().ok();
    let said: Vec<&str> = done.text().lines().collect();
    let wanted: Vec<String> = (0..3000).map(|n| format!("line {n}")).collect();
    assert_eq!(said[..3000], wanted);
}
