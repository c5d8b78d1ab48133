//! What is measured in: brokers, terminal multiplexers and clients of our own, in a directory
//! that is removed.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clsess_proto::{Hello, Request, ToBroker, frame};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use uuid::Uuid;

use crate::children::{self, run};
use crate::wire::{self, Provider};

/// The session that is sent to.
pub const WORK: &str = "work";
/// Sessions of the well-filled broker and multiplexer.
pub const MANY: usize = 50;

/// Sessions of the broker that is killed.
pub const FEW: usize = 5;
/// Between two of its deaths: one that dies five times in ten seconds is not started by itself.
const APART: Duration = Duration::from_millis(2500);

/// Sessions of a broker in which nearly all sleep.
pub const NAMED: usize = 200;
/// How many of them may be warm.
pub const ROOM: usize = 4;
/// The one of them that falls asleep soon, each time.
pub const SLEEPER: &str = "session-0";

/// The session whose agent is an interface.
pub const FACE: &str = "face";
/// The one that has an interface while somebody is attached.
pub const SWAPPED: &str = "swapped";
/// The one with a child for each turn.
pub const ONCE: &str = "once";
/// The one beside it with a child that stays.
pub const STAYS: &str = "stays";
/// The prompt that begins the conversations that are shown, and what is answered.
pub const FIRST: (&str, &str) = ("the first prompt", "you said: the first prompt");

/// What may be left of something that was told to end.
const CLEARING: Duration = Duration::from_secs(3);
/// How long a session may take to be at rest.
const PATIENCE: Duration = Duration::from_secs(30);

/// An agent that does nothing: what `ls` shows of it is the same.
const STUB: &str = r#"#!/bin/sh
case $1 in --version) echo '2.1.328 (Claude Code)'; exit ;; esac
while read -r line; do
    case $line in
    *'"subtype":"initialize"'*)
        echo '{"type":"control_response","response":{"subtype":"success","request_id":"clsess-initialize","response":{}}}'
        ;;
    esac
done
"#;

/// Which broker, or which multiplexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// With one session.
    One,
    /// With [`MANY`].
    Many,
    /// With [`FEW`]; it is killed now and then.
    Few,
    /// With [`NAMED`], of which [`ROOM`] may be warm.
    Named,
    /// With [`FACE`], [`SWAPPED`], [`ONCE`] and [`STAYS`].
    Shown,
    /// With those at a provider of their own, with a tap and without.
    Wire,
}

impl Size {
    fn label(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Many => "many",
            Self::Few => "few",
            Self::Named => "named",
            Self::Shown => "shown",
            Self::Wire => "wire",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct World {
    root: PathBuf,
    clsess: PathBuf,
    /// The real client.
    pub claude: PathBuf,
    /// Absent where it cannot be had.
    pub tmux: Option<PathBuf>,
    /// What was started and lives by itself.
    daemons: Vec<Pid>,
    /// When a broker was killed last.
    killed: Option<Instant>,
}

impl World {
    /// Makes the directories; nothing is started yet.
    pub fn new(clsess: PathBuf) -> Result<Self> {
        let base = std::env::var("ANTHROPIC_BASE_URL").unwrap_or_default();
        ensure!(
            base.starts_with("http://127.0.0.1:"),
            "the client would speak to {base:?}"
        );
        // Whatever becomes of this program, `fake-api run` removes it.
        let home = std::env::home_dir().context("no HOME")?;
        let root = home.join("bench.XXXXXX");
        let root = nix::unistd::mkdtemp(&root).with_context(|| root.display().to_string())?;
        let mut world = Self {
            root,
            clsess,
            claude: PathBuf::new(),
            tmux: find("tmux"),
            daemons: Vec::new(),
            killed: None,
        };
        world.claude = find("claude").context("no claude in the PATH")?;
        for dir in ["project", "tmux"] {
            std::fs::create_dir(world.root.join(dir))?;
        }
        std::fs::write(world.stub(), STUB)?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(world.stub(), executable)?;
        let config = format!("[agent]\npath = {:?}\n", world.stub());
        std::fs::write(world.root.join("stub.toml"), config)?;
        world.trust(&home)?;
        Ok(world)
    }

    /// Nobody is there whom an interface could ask whether it may trust the directory.
    fn trust(&self, home: &Path) -> Result<()> {
        let file = home.join(".claude.json");
        let mut record: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        let project = self.project().canonicalize()?;
        let project = project.to_str().context("HOME is not UTF-8")?;
        record["projects"][project]["hasTrustDialogAccepted"] = true.into();
        Ok(std::fs::write(&file, record.to_string())?)
    }

    fn stub(&self) -> PathBuf {
        self.root.join("stub")
    }

    /// The directory that everything runs in.
    pub fn project(&self) -> PathBuf {
        self.root.join("project")
    }

    /// Where the broker's socket would be; for the environment of clients.
    pub fn socket(&self) -> PathBuf {
        self.root.join("run/one.sock")
    }

    /// A socket of this program.
    pub fn stops(&self) -> PathBuf {
        self.root.join("stops.sock")
    }

    /// The settings of the interfaces that this program starts.
    pub fn settings(&self) -> PathBuf {
        self.root.join("hooks.json")
    }

    /// A command in the project directory. Its broker's places are ours.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.project())
            .env("CLSESS_STATE_DIR", self.root.join("state"))
            .env("CLSESS_RUNTIME_DIR", self.root.join("run"))
            .env_remove("CLSESS_SOCKET")
            .env_remove("CLSESS_CONFIG");
        command
    }

    /// `clsess -L SIZE ARG...`
    pub fn clsess(&self, size: Size, args: &[&str]) -> Command {
        let mut command = self.command(&self.clsess);
        command.args(["-L", size.label()]).args(args);
        command
    }

    /// `tmux -L SIZE ARG...`, where there is one.
    pub fn tmux(&self, size: Size, args: &[&str]) -> Option<Command> {
        let mut command = self.command(self.tmux.as_ref()?);
        command
            .env("TMUX_TMPDIR", self.root.join("tmux"))
            .env_remove("TMUX")
            .args(["-f", "/dev/null", "-L", size.label()])
            .args(args);
        Some(command)
    }

    /// The broker with the one session that is sent to.
    pub fn begin_one(&mut self) -> Result<()> {
        self.begin_broker(Size::One)?;
        run(&mut self.clsess(Size::One, &["new", "--trust", WORK]))?;
        Ok(())
    }

    /// The broker with many sessions.
    pub fn begin_many(&mut self) -> Result<()> {
        self.begin_with_stubs(Size::Many, MANY)
    }

    /// The broker that is killed.
    pub fn begin_few(&mut self) -> Result<()> {
        self.begin_with_stubs(Size::Few, FEW)
    }

    fn begin_with_stubs(&mut self, size: Size, sessions: usize) -> Result<()> {
        self.begin_broker(size)?;
        let config = self.root.join("stub.toml").display().to_string();
        for number in 0..sessions {
            let name = format!("session-{number}");
            let new = ["--config", &config, "new", "--trust", &name];
            run(&mut self.clsess(size, &new))?;
        }
        Ok(())
    }

    /// Kills the broker with few sessions; how long until another one answers.
    pub fn kill_broker(&mut self) -> Result<Duration> {
        if let Some(killed) = self.killed {
            children::pause(APART.saturating_sub(killed.elapsed()))?;
        }
        let broker = self.broker(Size::Few)?;
        kill(broker, Signal::SIGKILL)?;
        let killed = Instant::now();
        self.killed = Some(killed);
        loop {
            // A broker that is just dying may still answer.
            if let Some(pid) = self.who_answers().filter(|pid| *pid != broker) {
                let took = killed.elapsed();
                self.daemons.retain(|pid| *pid != broker);
                self.daemons.push(pid);
                return Ok(took);
            }
            ensure!(killed.elapsed() < PATIENCE, "no other broker answers");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The process of the broker with few sessions, when it answers.
    fn who_answers(&self) -> Option<Pid> {
        let mut stream = UnixStream::connect(self.root.join("run/few.sock")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let status = ToBroker::Request {
            id: 1,
            first_asked: None,
            request: Box::new(Request::Status {}),
        };
        for message in [ToBroker::Hello(Hello::client()), status] {
            stream.write_all(&frame::to_wire(&message).ok()?).ok()?;
        }
        let mut heard = || frame::decode::<Value>(&frame::read(&mut stream).ok()??).ok();
        heard()?;
        pid_of(&heard()?["reply"], "pid").ok()
    }

    fn begin_broker(&mut self, size: Size) -> Result<()> {
        run(&mut self.clsess(size, &["broker", "start"]))?;
        let pid = self.broker(size)?;
        self.daemons.push(pid);
        Ok(())
    }

    /// The broker with [`NAMED`] sessions: one that is made and has had a turn, and copies of what
    /// is written of it, with conversations of their own that have not begun.
    pub fn begin_named(&mut self) -> Result<()> {
        let config = self.root.join("named.toml");
        let text = format!("[defaults]\nmax_warm = {ROOM}\nidle_sleep = '100ms'\n");
        std::fs::write(&config, text)?;
        let config = config.display().to_string();
        let new = ["--config", &config, "new", "--trust", SLEEPER];
        run(&mut self.clsess(Size::Named, &new))?;
        run(&mut self.clsess(Size::Named, &["send", SLEEPER, "the first prompt"]))?;
        run(&mut self.clsess(Size::Named, &["broker", "stop"]))?;
        let sessions = self.root.join("state/named/sessions");
        let mut dirs = std::fs::read_dir(&sessions)?;
        let first = dirs.next().context("no session")??.path();
        for number in 1..NAMED {
            self.copy(&first, &sessions, number)?;
        }
        self.begin_broker(Size::Named)
    }

    fn copy(&self, first: &Path, sessions: &Path, number: usize) -> Result<()> {
        let mut session: Value =
            serde_json::from_slice(&std::fs::read(first.join("session.json"))?)?;
        let id = Uuid::new_v4().to_string();
        let dir = sessions.join(&id);
        session["name"] = format!("session-{number}").into();
        session["id"] = id.into();
        session["agent_session_id"] = Uuid::new_v4().to_string().into();
        session["began"] = false.into();
        let settings = session["settings"].as_object_mut().context("no settings")?;
        settings.remove("idle_sleep_ms");
        let mut made = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut made, 0o700).create(&dir)?;
        std::fs::copy(first.join("env"), dir.join("env"))?;
        std::fs::copy(first.join("session.json"), dir.join("session.json"))?;
        Ok(std::fs::write(
            dir.join("session.json"),
            session.to_string(),
        )?)
    }

    /// Waits until the session sleeps.
    pub fn wait_asleep(&self, name: &str) -> Result<()> {
        self.wait_state(Size::Named, name, "asleep")
    }

    /// The processes of the agents of all named sessions, and of their holders.
    pub fn warm(&self) -> Result<Vec<(Pid, Pid)>> {
        let ls = run(&mut self.clsess(Size::Named, &["ls", "--json"]))?;
        let ls: Value = serde_json::from_str(&ls)?;
        let rows = ls["sessions"].as_array().context("no sessions")?.iter();
        let warm = rows.filter(|row| row["state"] != "asleep");
        warm.map(|row| {
            let name = row["name"].as_str().context("no name")?;
            let show = run(&mut self.clsess(Size::Named, &["show", "--json", name]))?;
            let show = serde_json::from_str(&show)?;
            Ok((pid_of(&show, "pid")?, pid_of(&show, "holder_pid")?))
        })
        .collect()
    }

    /// The broker whose sessions have interfaces, each with one turn behind it.
    pub fn begin_shown(&mut self) -> Result<()> {
        self.begin_broker(Size::Shown)?;
        for (name, driver) in [
            (FACE, "tui"),
            (SWAPPED, "stream"),
            (ONCE, "oneshot"),
            (STAYS, "stream"),
        ] {
            let new = ["new", "--trust", name, "--driver", driver];
            run(&mut self.clsess(Size::Shown, &new))?;
            run(&mut self.clsess(Size::Shown, &["send", name, FIRST.0]))?;
        }
        Ok(())
    }

    /// The broker with taps, each of its sessions with one turn behind it.
    pub fn begin_wire(&mut self, provider: &Provider) -> Result<()> {
        self.begin_broker(Size::Wire)?;
        for (pair, driver, by_name) in wire::PAIRS {
            for (what, tap) in pair {
                let name = wire::name(what);
                let new = ["new", "--trust", &name, "--driver", driver, "--tap", tap];
                let mut new = self.clsess(Size::Wire, &new);
                provider.found(&mut new, by_name);
                run(&mut new)?;
                run(&mut self.clsess(Size::Wire, &["send", &name, FIRST.0]))?;
            }
        }
        Ok(())
    }

    /// Where who vouches for the provider is written.
    pub fn authority(&self) -> PathBuf {
        self.root.join("provider.pem")
    }

    /// `setsid -c clsess attach NAME`, for a terminal.
    pub fn attach(&self, name: &str) -> Result<Command> {
        let mut command = self.command(&find("setsid").context("no setsid in the PATH")?);
        command.arg("-c").arg(&self.clsess);
        command.args(["-L", Size::Shown.label(), "attach", name]);
        command.env("TERM", "xterm-256color");
        Ok(command)
    }

    /// Waits until a session is at rest, with such an agent.
    pub fn wait_rests(&self, size: Size, name: &str, driver: &str) -> Result<()> {
        let so = |show: &Value| {
            // With a detail its next child is not there yet.
            show["state"] == "idle" && show["driver"] == driver && show["detail"].is_null()
        };
        self.wait_show(size, name, "at rest", so)
    }

    /// A multiplexer with one session, and some with many.
    pub fn begin_tmux(&mut self) -> Result<()> {
        for (size, count) in [(Size::One, 1), (Size::Many, MANY), (Size::Named, NAMED)] {
            for number in 0..count {
                let name = format!("session-{number}");
                let new = ["new-session", "-d", "-s", &name, "cat"];
                let Some(mut command) = self.tmux(size, &new) else {
                    return Ok(());
                };
                run(&mut command)?;
            }
            let asked = self.tmux(size, &["display-message", "-p", "#{pid}"]);
            let pid = run(&mut asked.context("no tmux")?)?;
            self.daemons.push(Pid::from_raw(pid.trim().parse()?));
        }
        Ok(())
    }

    /// The broker's process.
    pub fn broker(&self, size: Size) -> Result<Pid> {
        let status = run(&mut self.clsess(size, &["broker", "status", "--json"]))?;
        pid_of(&serde_json::from_str(&status)?, "pid")
    }

    /// The process that holds the agent of the session.
    pub fn holder(&self) -> Result<Pid> {
        let show = run(&mut self.clsess(Size::One, &["show", "--json", WORK]))?;
        pid_of(&serde_json::from_str(&show)?, "holder_pid")
    }

    /// Waits until the session is at rest.
    pub fn wait_idle(&self) -> Result<()> {
        self.wait_state(Size::One, WORK, "idle")
    }

    fn wait_state(&self, size: Size, name: &str, state: &str) -> Result<()> {
        self.wait_show(size, name, state, |show| show["state"] == state)
    }

    fn wait_show(
        &self,
        size: Size,
        name: &str,
        what: &str,
        so: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let show = run(&mut self.clsess(size, &["show", "--json", name]))?;
            let show: Value = serde_json::from_str(&show)?;
            if so(&show) {
                return Ok(());
            }
            ensure!(Instant::now() < until, "it is not {what}: {show}");
            children::pause(Duration::from_millis(10))?;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for size in [
            Size::One,
            Size::Many,
            Size::Few,
            Size::Named,
            Size::Shown,
            Size::Wire,
        ] {
            let stop = self.clsess(size, &["broker", "stop", "--grace", "2s"]);
            let kill = self.tmux(size, &["kill-server"]);
            for mut command in std::iter::once(stop).chain(kill) {
                // One that does not do it is found below.
                let _ = command
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
            }
        }
        let until = Instant::now() + CLEARING;
        while self.daemons.iter().any(lives) && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        for pid in self.daemons.iter().filter(|pid| lives(pid)) {
            eprintln!("bench: {pid} did not end when it was told to");
            let _ = kill(*pid, Signal::SIGKILL);
        }
        if let Err(error) = std::fs::remove_dir_all(&self.root) {
            eprintln!("bench: {}: {error}", self.root.display());
        }
    }
}

/// Whether a process has not ended; one that nobody has reaped yet has.
fn lives(pid: &Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
    state.is_some_and(|state| state != b'Z')
}

fn pid_of(object: &Value, field: &str) -> Result<Pid> {
    let pid = object[field]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok());
    pid.map(Pid::from_raw)
        .ok_or_else(|| anyhow!("no {field} in {object}"))
}

/// Finds a program in the PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let files = std::env::split_paths(&path).map(|dir| dir.join(name));
    files.into_iter().find(|file| file.is_file())
}
