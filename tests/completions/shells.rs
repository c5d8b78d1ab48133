//! Each shell, with a person at it.

use std::path::Path;

use super::harness::{CLSESS, Cmd, World, find, skipped};
use super::terminal::{Size, Terminal};

/// Wide enough for a line and its menu.
const SIZE: Size = Size(24, 100);

/// A label of another broker.
const OTHER: &str = "other";

/// A shell without anybody's own settings, and what is typed in it first.
struct Shell {
    name: &'static str,
    arguments: &'static [&'static str],
    setup: &'static str,
}

const BASH: Shell = Shell {
    name: "bash",
    arguments: &["--norc", "--noprofile"],
    setup: "source <(clsess completions bash); PS1='ready> '",
};

/// With the completion system that finds the file by its first line.
const ZSH: Shell = Shell {
    name: "zsh",
    arguments: &["-f"],
    setup: "fpath=($REPO/completions $fpath); autoload -Uz compinit; compinit -u -D; PS1='ready> '",
};

/// The same, where nothing was installed.
const ZSH_SOURCED: Shell = Shell {
    name: "zsh",
    arguments: &["-f"],
    setup: "autoload -Uz compinit; compinit -u -D; source <(clsess completions zsh); PS1='ready> '",
};

/// Without its suggestions, which stand there before anybody asks.
const FISH: Shell = Shell {
    name: "fish",
    arguments: &["--no-config"],
    setup: "set fish_autosuggestion_enabled 0; clsess completions fish | source; \
            function fish_prompt; echo 'ready> '; end",
};

impl Shell {
    /// Sits down at it, where it is installed.
    fn start(&self, world: &World) -> Option<Terminal> {
        let Some(program) = find(self.name) else {
            return skipped(&format!("there is no {}", self.name));
        };
        let command = self.command(world, program.to_str().unwrap());
        let terminal = Terminal::start(&command, SIZE);
        terminal.type_in(format!("{}; clear\r", self.setup));
        terminal.until_screen(|text| text.starts_with("ready>"));
        Some(terminal)
    }

    fn command(&self, world: &World, program: &str) -> Cmd {
        let bin = Path::new(CLSESS).parent().unwrap();
        world
            .program(program, self.arguments)
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("REPO", env!("CARGO_MANIFEST_DIR"))
            .env("INPUTRC", "/dev/null")
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
    }
}

/// Types the line and a Tab, and looks at what the line is then. Something is typed behind it, which
/// is there when the Tab has been answered.
#[track_caller]
fn completes(terminal: &Terminal, line: &str, whole: &str) {
    terminal.type_in(format!("{line}\t{BEHIND}"));
    terminal.until_screen(|text| typed(text).ends_with(BEHIND));
    let screen = terminal.seen().text();
    let became = typed(&screen).trim_end_matches(BEHIND).trim_end();
    assert_eq!(became, whole, "of {line:?}:\n{screen}");
    // C-u takes it away again.
    terminal.type_in("\x15");
    terminal.until_screen(|text| typed(text).is_empty());
}

const BEHIND: char = '#';

/// The line that is being typed.
fn typed(screen: &str) -> &str {
    let mut lines = screen.lines().rev();
    let line = lines.find_map(|line| line.split_once("ready>"));
    line.map_or("nothing", |(_, line)| line.trim())
}

/// What is typed before a Tab, and what it becomes.
const LINES: [(&str, &str); 15] = [
    ("clsess appr", "clsess approve"),
    ("clsess send wo", "clsess send work"),
    ("clsess send ", "clsess send work"),
    ("clsess kill wo", "clsess kill work"),
    // Of the broker that the line names.
    ("clsess -L other send e", "clsess -L other send elsewhere"),
    (
        "clsess --label=other log e",
        "clsess --label=other log elsewhere",
    ),
    (
        "clsess -L 'other' show e",
        "clsess -L 'other' show elsewhere",
    ),
    ("clsess send --on-b", "clsess send --on-busy"),
    ("clsess send --on-busy=st", "clsess send --on-busy=steer"),
    ("clsess send -f no", "clsess send -f notes.txt"),
    ("clsess send --file=no", "clsess send --file=notes.txt"),
    (
        r"clsess send -f my\ files/p",
        r"clsess send -f my\ files/prompt.md",
    ),
    // There is a file that begins so too.
    ("clsess new x -c my", r"clsess new x -c my\ files/"),
    ("clsess new x -- clses", "clsess new x -- clsess"),
    // Not where a prompt stands.
    ("clsess send work wo", "clsess send work wo"),
];

/// What the lines find.
fn prepare(world: &World) {
    let files = world.project().join("my files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("prompt.md"), "Hi").unwrap();
    for name in ["notes.txt", "my notes.txt"] {
        std::fs::write(world.project().join(name), "").unwrap();
    }
    world.session("work");
    let elsewhere = ["-L", OTHER, "new", "elsewhere"];
    world.clsess(&elsewhere).run().ok();
}

fn stop(world: &World) {
    world.clsess(&["broker", "stop"]).run().ok();
    world.clsess(&["-L", OTHER, "broker", "stop"]).run().ok();
}

fn is_of_use(shell: &Shell) {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    let Some(terminal) = shell.start(&world) else {
        return;
    };
    prepare(&world);
    for (line, whole) in LINES {
        completes(&terminal, line, whole);
    }
    stop(&world);
    // Without a broker there are no names, nothing is said, and none is started.
    completes(&terminal, "clsess send wo", "clsess send wo");
    let screen = terminal.seen().text();
    let ours = |line: &str| line.is_empty() || line.starts_with("ready>");
    assert!(screen.lines().all(ours), "{screen}");
    terminal.type_in("exit\r");
    terminal.exit();
    assert!(world.processes().is_empty(), "{:?}", world.processes());
}

#[test]
fn bash_completes() {
    is_of_use(&BASH);
}

#[test]
fn zsh_completes() {
    is_of_use(&ZSH);
}

#[test]
fn zsh_completes_by_what_it_has_sourced() {
    is_of_use(&ZSH_SOURCED);
}

#[test]
fn fish_completes() {
    is_of_use(&FISH);
}
