//! A terminal for tests: what a person sits at.
//!
//! A [`Terminal`] is a PTY in which a command runs as in the shell of its owner. A thread reads what
//! is written there, at once unless it was told to stop, shows it to alacritty's terminal, which
//! answers what is asked as a terminal does, and writes what is typed.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use alacritty_terminal::event::{Event, EventListener, WindowSize};
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::{Config, Term};
use alacritty_terminal::vte::ansi::{Color, NamedColor, Processor, Rgb};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{Termios, tcgetattr};

use crate::harness::{Cmd, PATIENCE, find, send_signal};

/// What runs in the terminal: a shell that starts the command, and stays until nobody needs the
/// terminal any more, as a person's would. It says the command's process and its exit status.
const SHELL: &str = r#"exec 3>&1 4>&2 >&0 2>&0
sh -c 'echo $$ >&3; exec "$@" 3>&- 4>&-' sh "$@"
echo $? >&3
read -r _ <&4"#;

/// A state that nobody wants to find a terminal in.
pub const DIRT: &[u8] = b"old text\r\n\x1b[3;9r\x1b[?1049h\x1b[5;8r\x1b[?6h\x1b[4h\
\x1b[20h\x1b[?7l\x1b[41;1;4;9mXX\x1b[?1;1003;1006;1004;2004h\x1b=\x1b[>5u\x1b[>7u\x1b(0\x0e\x1b)0\
\x1b[3g\x1b[5 q\x1b[?25l\x1b]8;;http://dirt\x1b\\lll\x1b7";

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u16, pub u16);

impl Size {
    /// With pixels, 8 times 16 for each cell.
    fn window(self) -> Winsize {
        Winsize {
            ws_row: self.0,
            ws_col: self.1,
            ws_xpixel: self.1 * 8,
            ws_ypixel: self.0 * 16,
        }
    }
}

impl Dimensions for Size {
    fn total_lines(&self) -> usize {
        self.0.into()
    }
    fn screen_lines(&self) -> usize {
        self.0.into()
    }
    fn columns(&self) -> usize {
        self.1.into()
    }
}

/// All that can be seen of a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Each row's cells: character, colours and flags.
    pub rows: Vec<Vec<String>>,
    /// Where it is, how it looks, and what it writes with.
    pub cursor: String,
    /// The modes that are on.
    pub modes: String,
    /// The window's title.
    pub title: Option<String>,
}

impl Seen {
    /// What is not the same: the first cells, the cursor and the modes.
    pub fn differs(&self, other: &Self) -> Option<String> {
        let mut text = String::new();
        let (size, others) = (self.rows.len(), other.rows.len());
        if size != others {
            let _ = writeln!(text, "{size} rows, not {others}");
        }
        let rows = self.rows.iter().zip(&other.rows).enumerate();
        let cells = rows.flat_map(|(row, (one, two))| {
            let cells = one.iter().zip(two).enumerate();
            cells.map(move |(col, (one, two))| (row, col, one, two))
        });
        for (row, col, one, two) in cells.filter(|it| it.2 != it.3).take(5) {
            let _ = writeln!(text, "row {row} column {col}: {one:?}, not {two:?}");
        }
        for (one, two) in [(&self.cursor, &other.cursor), (&self.modes, &other.modes)] {
            if one != two {
                let _ = writeln!(text, "{one}\n  not {two}");
            }
        }
        if self.title != other.title {
            let _ = writeln!(text, "title {:?}, not {:?}", self.title, other.title);
        }
        (self != other).then_some(text)
    }

    /// The characters, without blanks at the ends of rows.
    pub fn text(&self) -> String {
        let character = |cell: &String| cell.split('|').next().unwrap_or_default().to_owned();
        let row = |row: &Vec<String>| row.iter().map(character).collect::<String>();
        let rows = self.rows.iter().map(row);
        rows.map(|row| row.trim_end().to_owned() + "\n").collect()
    }
}

// ---- what is shown ----

/// What the terminal itself has to do.
#[derive(Default)]
struct Asked {
    title: Option<String>,
    answers: Vec<u8>,
    size: Option<WindowSize>,
}

#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Asked>>);

impl Listener {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventListener for Listener {
    fn send_event(&self, event: Event) {
        let mut asked = self.asked();
        let answer = match event {
            Event::Title(title) => return asked.title = Some(title),
            Event::ResetTitle => return asked.title = None,
            Event::PtyWrite(text) => text,
            Event::TextAreaSizeRequest(answer) => {
                asked.size.map(|size| answer(size)).unwrap_or_default()
            }
            Event::ColorRequest(_, answer) => answer(Rgb { r: 1, g: 2, b: 3 }),
            _ => return,
        };
        asked.answers.extend_from_slice(answer.as_bytes());
    }
}

/// A terminal's screen without anything behind it.
pub struct Judge {
    term: Term<Listener>,
    parser: Processor,
    listener: Listener,
    size: Size,
}

impl Judge {
    /// An empty one.
    pub fn new(size: Size) -> Self {
        let listener = Listener::default();
        let config = Config {
            kitty_keyboard: true,
            ..Config::default()
        };
        let mut judge = Self {
            term: Term::new(config, &size, listener.clone()),
            parser: Processor::new(),
            listener,
            size,
        };
        judge.resize(size);
        judge
    }

    /// What was written to it.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.term, bytes);
        // A frame that is under way is shown all the same.
        self.parser.stop_sync(&mut self.term);
    }

    fn resize(&mut self, size: Size) {
        self.size = size;
        self.term.resize(size);
        self.listener.asked().size = Some(WindowSize {
            num_lines: size.0,
            num_cols: size.1,
            cell_width: 8,
            cell_height: 16,
        });
    }

    fn answers(&self) -> Vec<u8> {
        std::mem::take(&mut self.listener.asked().answers)
    }

    /// All that can be seen.
    pub fn seen(&self) -> Seen {
        let grid = self.term.grid();
        let row = |row: u16| {
            let line = &grid[Line(row.into())];
            let cols = 0..usize::from(self.size.1);
            cols.map(|col| shown(&line[Column(col)])).collect()
        };
        let cursor = &grid.cursor;
        let with = &cursor.template;
        Seen {
            rows: (0..self.size.0).map(row).collect(),
            cursor: format!(
                "{:?} wraps: {} {} on {} {:?} {:?} {:?}",
                cursor.point,
                cursor.input_needs_wrap,
                colour(with.fg),
                colour(with.bg),
                with.flags,
                with.hyperlink().map(|link| link.uri().to_owned()),
                self.term.cursor_style(),
            ),
            modes: format!("{:?}", self.term.mode()),
            title: self.listener.asked().title.clone(),
        }
    }
}

/// A cell, without what cannot be seen of a blank one.
fn shown(cell: &Cell) -> String {
    let c = match cell.c {
        '\t' | '\0' => ' ',
        c => c,
    };
    let mut flags = cell.flags;
    flags.remove(Flags::LEADING_WIDE_CHAR_SPACER);
    if flags.contains(Flags::WIDE_CHAR_SPACER) {
        return String::new();
    }
    let combined: String = cell.zerowidth().unwrap_or_default().iter().collect();
    let link = cell.hyperlink().map(|link| link.uri().to_owned());
    let visible = Flags::INVERSE | Flags::ALL_UNDERLINES | Flags::STRIKEOUT;
    let blank = c == ' ' && combined.is_empty();
    if blank {
        flags &= visible | Flags::WRAPLINE;
    }
    let ink = match blank && !flags.intersects(visible) {
        true => String::new(),
        false => colour(cell.fg),
    };
    let under = cell.underline_color().map(colour);
    let ground = colour(cell.bg);
    format!("{c}{combined}|{ink}|{ground}|{flags:?}|{under:?}|{link:?}")
}

fn colour(colour: Color) -> String {
    match colour {
        Color::Named(named) if (named as usize) < 16 => format!("i{}", named as usize),
        Color::Named(NamedColor::Foreground | NamedColor::Background) => String::new(),
        Color::Named(named) => format!("{named:?}"),
        Color::Indexed(n) => format!("i{n}"),
        Color::Spec(rgb) => format!("{},{},{}", rgb.r, rgb.g, rgb.b),
    }
}

// ---- the terminal ----

struct State {
    judge: Judge,
    /// What is to be typed.
    typed: VecDeque<u8>,
    reads: bool,
    /// Bytes that were read.
    read: u64,
    /// Nobody has the other end any more, or nobody wants this one.
    over: bool,
    exit: Option<i32>,
}

struct Shared {
    master: OwnedFd,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// See the module. Dropped, everything in it is killed.
pub struct Terminal {
    /// The command's process.
    pub pid: u32,
    shared: Arc<Shared>,
    wake: PipeWriter,
    shell: Child,
    /// Its end lets the shell go.
    _holds: PipeWriter,
    thread: Option<JoinHandle<()>>,
}

impl Terminal {
    /// A terminal of this size in which the command runs.
    pub fn start(command: &Cmd, size: Size) -> Self {
        Self::start_dirty(command, size, b"")
    }

    /// The same, to which this was written before.
    pub fn start_dirty(command: &Cmd, size: Size, before: &[u8]) -> Self {
        let pty = openpty(Some(&size.window()), None).unwrap();
        rustix::io::ioctl_fionbio(&pty.master, true).unwrap();
        let (said, says) = std::io::pipe().unwrap();
        let (held, holds) = std::io::pipe().unwrap();
        let command = command.command();
        let mut shell = Command::new(find("setsid").expect("setsid, which is nsenter's neighbour"));
        shell.args(["-c", "sh", "-c", SHELL, "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        shell.env_clear();
        let env = command.get_envs();
        shell.envs(env.filter_map(|(name, value)| Some((name, value?))));
        shell.current_dir(command.get_current_dir().unwrap());
        // The shell finds the terminal as its stdin, and its two pipes as what else it has.
        shell
            .stdin(pty.slave)
            .stdout(says)
            .stderr(Stdio::from(held));
        let shell_process = shell.spawn().unwrap();
        drop(shell);
        let mut judge = Judge::new(size);
        judge.feed(before);
        judge.listener.asked().title = None;
        let shared = Arc::new(Shared {
            master: pty.master,
            state: Mutex::new(State {
                judge,
                typed: VecDeque::new(),
                reads: true,
                read: 0,
                over: false,
                exit: None,
            }),
            changed: Condvar::new(),
        });
        let (woken, wake) = std::io::pipe().unwrap();
        let serves = Arc::clone(&shared);
        let thread = thread::spawn(move || serve(&serves, woken));
        let mut said = BufReader::new(said);
        let pid = line(&mut said).expect("the shell says the command's process");
        let tells = Arc::clone(&shared);
        thread::spawn(move || {
            let status = line(&mut said);
            tells.change(|state| state.exit = status.or(state.exit));
        });
        Self {
            pid: u32::try_from(pid).unwrap(),
            shared,
            wake,
            shell: shell_process,
            _holds: holds,
            thread: Some(thread),
        }
    }

    /// Types.
    pub fn type_in(&self, bytes: impl AsRef<[u8]>) {
        self.shared
            .change(|state| state.typed.extend(bytes.as_ref()));
        self.wake();
    }

    fn wake(&self) {
        let _ = (&self.wake).write_all(b"x");
    }

    /// Reads nothing more of what is written to it.
    pub fn stop_reading(&self) {
        self.shared.change(|state| state.reads = false);
    }

    /// Reads again.
    pub fn go_on_reading(&self) {
        self.shared.change(|state| state.reads = true);
        self.wake();
    }

    /// Gives it another size.
    pub fn resize(&self, size: Size) {
        self.resize_with(size, size.window());
    }

    /// The same, with any pixels.
    pub fn resize_with(&self, size: Size, window: Winsize) {
        self.shared.change(|state| state.judge.resize(size));
        let window = rustix::termios::Winsize {
            ws_row: window.ws_row,
            ws_col: window.ws_col,
            ws_xpixel: window.ws_xpixel,
            ws_ypixel: window.ws_ypixel,
        };
        rustix::termios::tcsetwinsize(&self.shared.master, window).unwrap();
    }

    /// Its size.
    pub fn size(&self) -> Size {
        self.shared.state().judge.size
    }

    /// The modes of its line.
    pub fn line_modes(&self) -> Termios {
        tcgetattr(&self.shared.master).unwrap()
    }

    /// Sends the command a signal.
    pub fn signal(&self, signal: Signal) {
        assert_eq!(self.shared.state().exit, None, "it has ended");
        send_signal(self.pid, signal);
    }

    /// Whether the command runs.
    pub fn runs(&self) -> bool {
        self.shared.state().exit.is_none()
    }

    /// The command's exit status, as a shell has it. Waits for it.
    #[track_caller]
    pub fn exit(&self) -> i32 {
        let mut exit = None;
        self.look("its command ends", |state| {
            exit = state.exit;
            exit.is_some()
        });
        exit.unwrap()
    }

    /// Bytes that were written to it, and read.
    pub fn read(&self) -> u64 {
        self.shared.state().read
    }

    /// What can be seen now.
    pub fn seen(&self) -> Seen {
        self.shared.state().judge.seen()
    }

    /// Waits until the screen's text is such.
    #[track_caller]
    pub fn until_screen(&self, mut such: impl FnMut(&str) -> bool) {
        self.until_seen("such a screen", |seen| such(&seen.text()));
    }

    /// Waits until what can be seen is such.
    #[track_caller]
    pub fn until_seen(&self, what: &str, mut such: impl FnMut(&Seen) -> bool) {
        self.look(what, |state| such(&state.judge.seen()));
    }

    /// Waits until it shows just this.
    #[track_caller]
    pub fn until_shows(&self, what: &str, wanted: &Seen) {
        let mut differs = None;
        let came = self.looks(|state| {
            differs = state.judge.seen().differs(wanted);
            differs.is_none()
        });
        let differs = differs.unwrap_or_default();
        assert!(came, "{what}:\n{differs}{}", self.seen().text());
    }

    /// Waits until it shows what another one does, which may go on moving meanwhile.
    #[track_caller]
    pub fn until_same(&self, what: &str, other: &Self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let (seen, wanted) = (self.seen(), other.seen());
            let Some(differs) = seen.differs(&wanted) else {
                return;
            };
            assert!(Instant::now() < end, "{what}:\n{differs}{}", seen.text());
            // Either of them may be the one that is behind.
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn look(&self, what: &str, so: impl FnMut(&mut State) -> bool) {
        let came = self.looks(so);
        let seen = self.seen();
        assert!(
            came,
            "never came: {what}; {} {}\n{}",
            seen.cursor,
            seen.modes,
            seen.text()
        );
    }

    fn looks(&self, mut so: impl FnMut(&mut State) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        let mut state = self.shared.state();
        while !so(&mut state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.runs() {
            send_signal(self.pid, Signal::SIGKILL);
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        self.shared.change(|state| state.over = true);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A number that the shell says.
fn line(said: &mut BufReader<PipeReader>) -> Option<i32> {
    let mut line = String::new();
    said.read_line(&mut line).ok()?;
    line.trim().parse().ok()
}

/// Reads and writes until it is over.
fn serve(shared: &Shared, mut woken: PipeReader) {
    let mut master = File::from(shared.master.try_clone().unwrap());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut wanted = PollFlags::empty();
        {
            let state = shared.state();
            if state.over {
                return;
            }
            wanted.set(PollFlags::POLLIN, state.reads);
            wanted.set(PollFlags::POLLOUT, !state.typed.is_empty());
        }
        // A master that nobody has the other end of is always ready, so it is not asked for nothing.
        let mut ready = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
        if !wanted.is_empty() {
            ready.push(PollFd::new(shared.master.as_fd(), wanted));
        }
        let _ = poll(&mut ready, PollTimeout::NONE);
        if ready[0].any() == Some(true) {
            let _ = woken.read(&mut [0; 64]);
        }
        let mut state = shared.state();
        if state.reads {
            match master.read(&mut buffer) {
                Ok(n @ 1..) => {
                    state.read += n as u64;
                    state.judge.feed(&buffer[..n]);
                    let answers = state.judge.answers();
                    state.typed.extend(answers);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => state.over = true,
            }
        }
        let (typed, _) = state.typed.as_slices();
        if let Ok(n) = master.write(typed) {
            state.typed.drain(..n);
        }
        drop(state);
        shared.changed.notify_all();
    }
}
