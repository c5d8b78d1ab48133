//! The client's own interface alone, in a terminal of this program: with the arguments and the
//! environment that a broker would give it, and hooks that do as little as can be.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clsess_claude::command::{self, TuiSettings};
use clsess_claude::tui::{Status, settings};
use serde_json::Value;
use uuid::Uuid;

use crate::children::{check, ms};
use crate::terminal::{Answers, Terminal};
use crate::world::{World, find};

/// The word by which this program is a hook.
pub const HOOK: &str = "hook";
/// The key that detaches.
const DETACH: &[u8] = b"\x1c";
/// Longer than a turn takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A hook: of all of them only `Stop` tells anybody, and waits for nothing.
///
/// # Errors
/// When it cannot read, or nobody is there to be told.
pub fn hook(socket: &Path) -> Result<()> {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let event: Value = serde_json::from_slice(&input)?;
    if event["hook_event_name"] == "Stop" {
        UnixStream::connect(socket)?.write_all(&input)?;
    }
    Ok(())
}

/// A warm interface.
#[derive(Debug)]
pub struct Interface {
    terminal: Terminal,
    /// Its `Stop` hooks: when each came, and what it says.
    stops: Receiver<(Instant, Vec<u8>)>,
}

impl Interface {
    /// Starts one, on a new conversation.
    pub fn start(world: &World) -> Result<Self> {
        let socket = world.stops();
        let listener = UnixListener::bind(&socket).context(socket.display().to_string())?;
        let (tells, stops) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let at = Instant::now();
                let mut said = Vec::new();
                let read = stream.and_then(|mut stream| stream.read_to_end(&mut said));
                if read.is_err() || tells.send((at, said)).is_err() {
                    return;
                }
            }
        });
        let this = std::env::current_exe()?;
        let this = this.to_str().context("a path that is not UTF-8")?;
        let socket = socket.to_str().context("HOME is not UTF-8")?;
        std::fs::write(
            world.settings(),
            settings::settings(this, &[HOOK, socket], true),
        )?;
        let mut command = interface(world, Uuid::new_v4(), false)?;
        let terminal = Terminal::start(&mut command, "Claude Code", Answers::All)?;
        terminal.reports(&Status::Idle)?;
        Ok(Self { terminal, stops })
    }

    /// Pastes and enters a prompt; the milliseconds until `Stop`, and the answer.
    pub fn turn(&mut self, prompt: &str) -> Result<(f64, String)> {
        let keys = format!("\x1b[200~{prompt}\x1b[201~\r");
        let start = Instant::now();
        self.terminal.type_in(keys.as_bytes())?;
        let stop = self.stops.recv_timeout(PATIENCE);
        check()?;
        let (at, said) = stop.context("the interface's turn does not end")?;
        // What it does behind that is not in the next measurement.
        self.terminal.reports(&Status::Done)?;
        let said: Value = serde_json::from_slice(&said)?;
        let answer = said["last_assistant_message"].as_str().unwrap_or_default();
        Ok((ms(at.duration_since(start)), answer.to_owned()))
    }

    /// Ends it.
    pub fn end(self) {
        // One that is gone already has ended, too.
        let _ = self.terminal.terminate();
    }
}

/// `claude --resume`: the milliseconds until these words of the conversation are on the screen. It is
/// ended again outside of the time.
pub fn resume(world: &World, conversation: Uuid, words: &str) -> Result<f64> {
    let mut command = interface(world, conversation, true)?;
    let terminal = Terminal::start(&mut command, words, Answers::All)?;
    let shown = terminal.shown()?;
    terminal.terminate()?;
    Ok(ms(shown))
}

/// `clsess attach`: the same. It is detached again.
pub fn attach(world: &World, name: &str, words: &str) -> Result<f64> {
    let mut terminal = Terminal::start(&mut world.attach(name)?, words, Answers::NoStatus)?;
    let shown = terminal.shown()?;
    terminal.type_in(DETACH)?;
    terminal.wait();
    Ok(ms(shown))
}

/// An interface as a broker starts it, for a terminal.
fn interface(world: &World, conversation: Uuid, resume: bool) -> Result<Command> {
    let settings = TuiSettings {
        conversation,
        resume,
        permission_mode: "manual".to_owned(),
        model: None,
        agent: None,
        system_prompt: None,
        append_system_prompt: None,
        settings: world.settings(),
        extra: Vec::new(),
    };
    ensure!(settings.settings.is_file(), "the hooks were not written");
    // Its editor is never opened.
    let (editor, door) = ("true".as_ref(), "");
    let own = std::env::vars_os();
    let environment = command::tui_environment(own, "work", &world.socket(), editor, door);
    let mut command = Command::new(find("setsid").context("no setsid in the PATH")?);
    command
        .arg("-c")
        .arg(&world.claude)
        .args(command::tui_args(&settings))
        .env_clear()
        .envs(environment)
        .current_dir(world.project());
    Ok(command)
}
