//! A terminal of this program's own: what runs there is shown to nobody, and told of.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clsess_claude::tui::status::{self, Report, Status};
use clsess_vt::Size;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::children::{Owned, check};

/// What a broker gives an interface that nobody looks at.
const SIZE: Size = Size { rows: 24, cols: 80 };
/// Longer than anything takes that is waited for here.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long what runs there may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Who answers what OSC 7501 asks. All else is answered here, as every terminal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// This terminal.
    All,
    /// Somebody between.
    NoStatus,
}

/// What is told of what runs there.
#[derive(Debug)]
enum Told {
    /// The words were first on the screen then.
    Shown(Instant),
    /// It reports its state.
    Status(Status),
}

/// See the module. What runs there does not outlive it.
#[derive(Debug)]
pub struct Terminal {
    process: Owned,
    master: File,
    told: Receiver<Told>,
    start: Instant,
}

impl Terminal {
    /// Starts a command there, which is to be `setsid -c PROGRAM ARG...`; tells when these words are
    /// on its screen.
    pub fn start(command: &mut Command, words: &str, answers: Answers) -> Result<Self> {
        let window = Winsize {
            ws_row: SIZE.rows,
            ws_col: SIZE.cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&window), None)?;
        // What is begun later gets none of these, and what it makes itself would.
        let (master, slave) = (pty.master.try_clone()?, pty.slave.try_clone()?);
        drop(pty);
        command
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(slave);
        let master = File::from(master);
        let (tells, told) = channel();
        let (reads, words) = (master.try_clone()?, words.to_owned());
        let start = Instant::now();
        let process = Owned::spawn(command)?;
        // It keeps the other end open as long as it is there.
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        // Its end is that of what it reads from.
        thread::spawn(move || serve(reads, &words, answers, &tells));
        Ok(Self {
            process,
            master,
            told,
            start,
        })
    }

    /// Types.
    pub fn type_in(&mut self, keys: &[u8]) -> Result<()> {
        Ok(self.master.write_all(keys)?)
    }

    /// Waits until the words are on the screen; how long after the start that was.
    pub fn shown(&self) -> Result<Duration> {
        loop {
            if let Told::Shown(at) = self.next("shows what it should")? {
                return Ok(at.duration_since(self.start));
            }
        }
    }

    /// Waits until it reports this state.
    pub fn reports(&self, state: &Status) -> Result<()> {
        loop {
            if matches!(self.next("reports its state")?, Told::Status(told) if told == *state) {
                return Ok(());
            }
        }
    }

    fn next(&self, what: &str) -> Result<Told> {
        let told = self.told.recv_timeout(PATIENCE);
        check()?;
        told.with_context(|| format!("nothing in the terminal {what}"))
    }

    /// Ends what runs there by a signal.
    pub fn terminate(self) -> Result<()> {
        let pid = i32::try_from(self.process.id())?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        self.wait();
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(self) {
        self.process.end(GRACE);
    }
}

/// Reads what is written there as long as somebody may write, and answers what is asked.
fn serve(mut master: File, words: &str, answers: Answers, tells: &Sender<Told>) {
    let mut screen = clsess_vt::Terminal::new(SIZE, 0);
    let mut shown = false;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        let at = Instant::now();
        let fed = screen.feed(&buffer[..length]);
        let mut answer = Vec::new();
        // The answer to an interface's last question is taken for the end of all.
        for notice in fed.notices {
            match status::report(&notice.0) {
                Some(Report::Asked) if answers == Answers::All => {
                    answer.extend_from_slice(status::ANSWER);
                }
                // Nobody may want to know any more.
                Some(Report::Status(status)) => drop(tells.send(Told::Status(status))),
                _ => {}
            }
        }
        answer.extend(fed.queries.into_iter().flat_map(|query| query.answer));
        if !answer.is_empty() && master.write_all(&answer).is_err() {
            return;
        }
        if !shown && screen.text(0).contains(words) {
            shown = true;
            let _ = tells.send(Told::Shown(at));
        }
    }
}
