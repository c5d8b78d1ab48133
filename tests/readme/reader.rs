//! Somebody at a terminal, who types what is to be typed and waits for the prompt.

use std::path::{Path, PathBuf};

use crate::harness::Cmd;
use crate::terminal::{Size, Terminal};

/// So that nothing of a command is out of sight, or broken into two lines.
const SIZE: Size = Size(100, 250);

/// The prompt: how many commands there were, how the last one has ended, and where this is. No file is
/// completed where the text has a tab.
const PROMPT: &str = "bind 'set disable-completion on'; PS2=; PS1='<\\#:$?:$PWD> '";

/// See the module.
pub struct Reader {
    terminal: Terminal,
    /// Commands so far.
    count: u32,
    /// The lines of the last one.
    lines: usize,
    /// Where it is.
    pub directory: PathBuf,
}

impl Reader {
    /// Sits down at this shell, in which this is said first.
    pub fn new(shell: &Cmd, first: &str) -> Self {
        let terminal = Terminal::start(shell, SIZE);
        terminal.type_in(format!("{}\r{PROMPT}\r", first.trim().replace('\n', "\r")));
        terminal.until_screen(|text| prompt(text).is_some());
        let count = prompt(&terminal.seen().text()).unwrap().count;
        Self {
            terminal,
            count,
            lines: 0,
            directory: PathBuf::new(),
        }
    }

    /// Goes to a directory.
    pub fn goes_to(&mut self, directory: &Path) {
        self.types(&format!("cd '{}'", directory.display()));
        self.ends_well();
    }

    /// Types a command, at a prompt on a clear screen.
    pub fn types(&mut self, command: &str) {
        println!("$ {command}");
        self.terminal.type_in("\x0c");
        self.terminal
            .until_screen(|text| text.starts_with('<') && text.trim_end().lines().count() == 1);
        self.lines = command.lines().count();
        self.terminal.type_in(command.replace('\n', "\r") + "\r");
    }

    /// Presses a key.
    pub fn types_key(&self, key: &str) {
        self.terminal.type_in(key);
    }

    /// Waits for the command's end, which must be a good one; what it has shown.
    pub fn ends_well(&mut self) -> String {
        let (status, shown) = self.ends();
        assert_eq!(status, 0, "it shows:\n{}", self.terminal.seen().text());
        print!("{shown}");
        shown
    }

    /// Ends the command by Ctrl-C.
    pub fn interrupts(&mut self) {
        self.terminal.type_in("\x03");
        let (status, shown) = self.ends();
        print!("{shown}");
        assert_eq!(status, 130, "it shows:\n{}", self.terminal.seen().text());
    }

    fn ends(&mut self) -> (u32, String) {
        self.count += 1;
        let count = self.count;
        self.terminal
            .until_screen(|text| prompt(text).is_some_and(|prompt| prompt.count == count));
        let screen = self.terminal.seen().text();
        let prompt = prompt(&screen).unwrap();
        self.directory = prompt.directory.into();
        let lines: Vec<&str> = screen.trim_end().lines().collect();
        let shown = lines[..lines.len() - 1].iter().skip(self.lines);
        let shown = shown.map(|line| format!("{line}\n")).collect();
        (prompt.status, shown)
    }

    /// Waits until something else has the whole screen.
    pub fn is_elsewhere(&self) {
        self.terminal.until_screen(|text| !text.starts_with('<'));
    }

    /// Whether this is on the screen, below the command.
    pub fn shows(&self, what: &str) -> bool {
        let screen = self.terminal.seen().text();
        let mut shown = screen.lines().skip(self.lines);
        shown.any(|line| line.contains(what))
    }
}

struct Prompt<'a> {
    count: u32,
    status: u32,
    directory: &'a str,
}

/// The prompt at the end of a screen, at which nothing is typed.
fn prompt(screen: &str) -> Option<Prompt<'_>> {
    let line = screen.trim_end().lines().next_back()?;
    let mut parts = line.strip_prefix('<')?.strip_suffix('>')?.splitn(3, ':');
    Some(Prompt {
        count: parts.next()?.parse().ok()?,
        status: parts.next()?.parse().ok()?,
        directory: parts.next()?,
    })
}
