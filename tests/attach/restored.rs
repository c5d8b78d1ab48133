//! A terminal is as it was when `attach` is over, however it ends.

use nix::sys::signal::Signal;
use nix::sys::termios::Termios;

use crate::harness::{World, alive, process_state, send_signal, until};
use crate::terminal::{Seen, Terminal};
use crate::{DETACH, Speaker, USUAL, attach, attach_with, session};

/// Modes of all kinds, and the alternate screen.
const EVERYTHING: &[u8] = b"main\x1b[?1049h\x1b[?1;1000;1002;1003;1004;1006;2004h\x1b[?25l\x1b=\
\x1b[>1u\x1b[>5u\x1b[4 q\x1b[31;44m\x1b[5;9r\x1b[?6h\x1b[4h\x1b[?7l\x1b(0everywhere";

/// How a terminal was before somebody attached in it.
struct Before {
    line: Termios,
    seen: Seen,
}

impl Before {
    fn of(terminal: &Terminal) -> Self {
        Self {
            line: terminal.line_modes(),
            seen: terminal.seen(),
        }
    }

    /// Waits until it is so again.
    #[track_caller]
    fn is_back(&self, what: &str, terminal: &Terminal) {
        terminal.until_seen(what, |seen| seen.modes == self.seen.modes);
        assert_eq!(terminal.line_modes(), self.line, "{what}");
        let pen = |seen: &Seen| seen.cursor.split_once(" wraps").unwrap().1.to_owned();
        assert_eq!(pen(&terminal.seen()), pen(&self.seen), "{what}");
    }
}

/// `attach ARG... work`, in a terminal that a shell had before; it shows what the program has drawn.
fn attached(world: &World, args: &[&str]) -> (Terminal, Before) {
    let (terminal, before) = with_shell(world, args);
    terminal.until_screen(|text| text.contains("⎽"));
    (terminal, before)
}

fn with_shell(world: &World, args: &[&str]) -> (Terminal, Before) {
    let idle = Terminal::start(&world.program("true", &[] as &[&str]), USUAL);
    idle.exit();
    let before = Before::of(&idle);
    let args = [&["attach"], args, &["work"]].concat();
    (attach_with(world, &args, USUAL), before)
}

/// A world with a session `work`, whose program has set every mode, and says what it is told.
fn world() -> Option<(World, Speaker)> {
    let world = World::bare()?;
    let speaker = Speaker::session(&world, "work", USUAL);
    speaker.say(EVERYTHING);
    // What 's' is in the character set of lines: it was drawn to its end.
    speaker.say("s");
    Some((world, speaker))
}

#[test]
fn by_the_key_that_detaches() {
    let Some((world, speaker)) = world() else {
        return;
    };
    for (what, keys) in [
        ("a byte", &[&b"\x1c"[..]][..]),
        ("as kitty sends it", &[b"\x1b[92;5u"]),
        ("as xterm sends it", &[b"\x1b[27;5;92~"]),
        ("in two parts", &[b"\x1b[9", b"2;5u"]),
        ("byte by byte", &[b"\x1b", b"[", b"92;5", b"u"]),
        ("behind text", &[b"text\x1c"]),
        ("behind an arrow", &[b"\x1b[A\x1b[92;5u"]),
    ] {
        let (terminal, before) = attached(&world, &[]);
        assert_ne!(terminal.line_modes(), before.line);
        for keys in keys {
            terminal.type_in(keys);
        }
        assert_eq!(terminal.exit(), 0, "{what}");
        before.is_back(what, &terminal);
        terminal.until_screen(|text| text.contains("[detached from work]"));
        let text = terminal.seen().text();
        // The alternate screen is gone.
        assert!(!text.contains('⎽'), "{what}: {text}");
    }
    // Other keys, of which the last is pasted.
    let (terminal, before) = attached(&world, &["--detach-keys", "C-b d"]);
    terminal.type_in(b"\x1c\x02x\x1b[200~\x02d\x1b[201~");
    speaker.say("s");
    terminal.until_screen(|text| text.contains("⎽⎽") || text.matches('⎽').count() > 1);
    assert!(terminal.runs());
    terminal.type_in(b"\x02");
    terminal.type_in(b"d");
    assert_eq!(terminal.exit(), 0);
    before.is_back("two keys", &terminal);
}

#[test]
fn by_a_signal_to_the_client() {
    let Some((world, _speaker)) = world() else {
        return;
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (terminal, before) = attached(&world, &[]);
        terminal.signal(signal);
        assert_eq!(terminal.exit(), 128 + signal as i32, "{signal}");
        before.is_back(signal.as_str(), &terminal);
    }
}

#[test]
fn by_the_death_of_the_client() {
    let Some((world, _speaker)) = world() else {
        return;
    };
    let (terminal, before) = attached(&world, &[]);
    terminal.signal(Signal::SIGKILL);
    assert_eq!(terminal.exit(), 128 + 9);
    until("its line is as before", || {
        terminal.line_modes() == before.line
    });
    before.is_back("SIGKILL", &terminal);
    crate::wait_attached(&world, "work", 0);
}

#[test]
fn by_the_end_of_the_program() {
    let Some(world) = World::bare() else { return };
    for (name, end, status, detail) in [
        ("exits", "exit 0", 0, "exit 0"),
        ("fails", "exit 7", 7, "exit 7"),
        ("dies", "kill -TERM $$", 128 + 15, "signal 15"),
    ] {
        let script =
            "stty raw -echo; printf '\\033[?1049h\\033[?1000h\\033[>1u\\033[?25lhere'; read -n 1";
        session(&world, name, USUAL, &format!("{script}; {end}"));
        let terminal = attach(&world, name, USUAL);
        let idle = Terminal::start(&world.program("true", &[] as &[&str]), USUAL);
        idle.exit();
        let before = Before::of(&idle);
        terminal.until_screen(|text| text.contains("here"));
        terminal.type_in("x");
        assert_eq!(terminal.exit(), status, "{name}");
        before.is_back(name, &terminal);
        let wait = ["wait", "--json", "--for", "exit", name];
        let waited = world.clsess(&wait).run().ok().json();
        assert_eq!(waited["sessions"][0]["detail"], detail, "{name}");
        // Who comes too late is told the same.
        assert_eq!(attach(&world, name, USUAL).exit(), status, "{name}");
    }
}

#[test]
fn by_the_end_of_the_session() {
    let Some((world, _speaker)) = world() else {
        return;
    };
    let (terminal, before) = attached(&world, &[]);
    world.clsess(&["kill", "work"]).run().ok();
    assert_eq!(terminal.exit(), 10);
    before.is_back("kill", &terminal);
    assert!(!world.log().contains("ERROR"), "{}", world.log());
    terminal.until_screen(|text| text.contains("work was killed"));
}

#[test]
fn by_the_end_of_the_broker() {
    let Some((world, _speaker)) = world() else {
        return;
    };
    let (terminal, before) = attached(&world, &[]);
    world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(terminal.exit(), 11);
    before.is_back("broker stop", &terminal);
    terminal.until_screen(|text| text.contains("the broker was stopped"));
}

#[test]
fn for_as_long_as_the_client_is_stopped() {
    let Some((world, speaker)) = world() else {
        return;
    };
    let (terminal, before) = attached(&world, &[]);
    let shown = terminal.seen();
    terminal.signal(Signal::SIGTSTP);
    until("it is stopped", || process_state(terminal.pid) == Some('T'));
    before.is_back("SIGTSTP", &terminal);
    // The program goes on meanwhile.
    speaker.say("ss");
    terminal.signal(Signal::SIGCONT);
    terminal.until_seen("what it draws is there", |seen| seen.modes == shown.modes);
    terminal.until_screen(|text| text.matches('⎽').count() > 1);
    terminal.type_in(DETACH);
    assert_eq!(terminal.exit(), 0);
    before.is_back("SIGCONT", &terminal);
}

#[test]
fn after_a_broker_that_died() {
    let Some((world, speaker)) = world() else {
        return;
    };
    let (terminal, before) = attached(&world, &[]);
    let shown = terminal.seen();
    let program = world.agent("work");
    world.kill_broker();
    speaker.say("ss");
    terminal.until_screen(|text| text.matches('⎽').count() > 1);
    terminal.until_seen("the same modes", |seen| seen.modes == shown.modes);
    assert_eq!(world.agent("work"), program);
    terminal.type_in(DETACH);
    assert_eq!(terminal.exit(), 0);
    before.is_back("with the next broker", &terminal);
}

/// Its own guard: nobody else is there.
#[test]
fn when_there_is_no_broker_any_more() {
    let Some((world, _speaker)) = world() else {
        return;
    };
    let (terminal, before) = attached(&world, &[]);
    let (state, away) = (world.state(), world.root().join("away"));
    let broker = world.broker();
    std::fs::rename(&state, &away).unwrap();
    std::fs::write(&state, "").unwrap();
    send_signal(broker, Signal::SIGKILL);
    let exit = terminal.exit();
    assert!(exit > 0 && exit < 128, "{exit}");
    before.is_back("no broker", &terminal);
    std::fs::remove_file(&state).unwrap();
    std::fs::rename(&away, &state).unwrap();
    assert!(alive(world.agent("work")));
}

/// A broker that hangs cannot give anything back.
#[test]
fn when_the_broker_hangs() {
    let Some((world, _speaker)) = world() else {
        return;
    };
    let terminals = [(); 2].map(|()| attached(&world, &[]));
    let broker = world.broker();
    send_signal(broker, Signal::SIGSTOP);
    until("it is stopped", || process_state(broker) == Some('T'));
    let (terminal, before) = &terminals[0];
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.exit(), 128 + 15);
    before.is_back("SIGTERM", terminal);
    let (terminal, before) = &terminals[1];
    terminal.signal(Signal::SIGTSTP);
    until("it is stopped", || process_state(terminal.pid) == Some('T'));
    before.is_back("SIGTSTP", terminal);
    send_signal(broker, Signal::SIGCONT);
}
