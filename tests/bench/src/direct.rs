//! The client alone: what a program that drives it by itself would do, with the same arguments,
//! the same environment and the same lines as the broker, and nothing between.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clsess_claude::command::{self, Conversation, StreamSettings};
use clsess_claude::input::{self, Initialize};
use clsess_claude::stream::{Line, State};
use uuid::Uuid;

use crate::children::{Owned, ms};

/// How long it may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// A warm client.
#[derive(Debug)]
pub struct Direct {
    process: Owned,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: String,
}

/// A turn's times in milliseconds, from before its line is written.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Until the `result` line.
    pub result: f64,
    /// Until the client is idle again.
    pub idle: f64,
}

impl Direct {
    /// Starts one in `cwd`; it and the milliseconds until it has answered `initialize`.
    pub fn start(claude: &Path, cwd: &Path, socket: &Path) -> Result<(Self, f64)> {
        let start = Instant::now();
        let mut direct = Self::spawn(claude, cwd, socket, Conversation::New(Uuid::new_v4()))?;
        direct
            .stdin
            .write_all(&input::initialize(&Initialize::default()))?;
        loop {
            if let Some(Line::Response(response)) = direct.next(&["control_response"])? {
                let took = ms(start.elapsed());
                ensure!(response.error.is_none(), "{:?}", response.error);
                return Ok((direct, took));
            }
        }
    }

    /// Resumes a conversation, or begins it, with a prompt that is there from the beginning, and
    /// ends: the milliseconds from its start until the `result` line, and that one's text.
    pub fn once(
        claude: &Path,
        cwd: &Path,
        socket: &Path,
        conversation: Conversation,
        prompt: &str,
    ) -> Result<(f64, String)> {
        let start = Instant::now();
        let mut direct = Self::spawn(claude, cwd, socket, conversation)?;
        direct
            .stdin
            .write_all(&input::initialize(&Initialize::default()))?;
        direct
            .stdin
            .write_all(&input::user(Uuid::new_v4(), prompt))?;
        loop {
            if let Some(Line::Result(result)) = direct.next(&["result"])? {
                let took = ms(start.elapsed());
                ensure!(!result.is_error, "{result:?}");
                direct.end();
                return Ok((took, result.text.unwrap_or_default()));
            }
        }
    }

    fn spawn(claude: &Path, cwd: &Path, socket: &Path, conversation: Conversation) -> Result<Self> {
        let settings = StreamSettings {
            conversation,
            permission_mode: "manual".to_owned(),
            model: None,
            agent: None,
            max_turns: None,
            extra: Vec::new(),
        };
        let mut command = Command::new(claude);
        command
            .args(command::stream_args(&settings))
            .env_clear()
            .envs(command::environment(
                std::env::vars_os(),
                "work",
                socket,
                true,
            ))
            .current_dir(cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Owned::spawn(&mut command)?;
        let stdin = process.child().stdin.take().context("no stdin")?;
        let stdout = process.child().stdout.take().context("no stdout")?;
        Ok(Self {
            process,
            stdin,
            stdout: BufReader::with_capacity(64 * 1024, stdout),
            line: String::new(),
        })
    }

    /// Runs a prompt; its times and the `result`'s text.
    pub fn turn(&mut self, prompt: &str) -> Result<(Turn, String)> {
        let line = input::user(Uuid::new_v4(), prompt);
        let start = Instant::now();
        self.stdin.write_all(&line)?;
        let mut ended = None;
        loop {
            match self.next(&["result", "session_state_changed"])? {
                Some(Line::Result(result)) => {
                    ensure!(!result.is_error, "{result:?}");
                    ended = Some((ms(start.elapsed()), result.text.unwrap_or_default()));
                }
                Some(Line::State(State::Idle)) => {
                    let idle = ms(start.elapsed());
                    // Before the result it is the end of what was before.
                    if let Some((result, text)) = ended {
                        return Ok((Turn { result, idle }, text));
                    }
                }
                _ => {}
            }
        }
    }

    /// Ends it.
    pub fn end(self) {
        drop(self.stdin);
        self.process.end(GRACE);
    }

    /// The next line, read if it has one of these words in it: who has nothing to do with the
    /// others need not read them.
    fn next(&mut self, words: &[&str]) -> Result<Option<Line>> {
        self.line.clear();
        let length = self.stdout.read_line(&mut self.line)?;
        ensure!(length > 0, "the client has ended");
        let has = |word: &&str| self.line.contains(word);
        Ok(if words.iter().any(has) {
            clsess_claude::parse(self.line.as_bytes()).ok()
        } else {
            None
        })
    }
}
