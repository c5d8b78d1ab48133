//! A private world for each test.
//!
//! A [`World`] is a directory under `/tmp` with a `HOME`, a state directory, a runtime directory
//! and a project directory; and a network namespace with nothing but loopback, in which a
//! `fake-api` answers. Every command of a test runs in that namespace with an environment that
//! was made from nothing. `World::real` has the real Claude Code in its PATH, `World::bare` has
//! no agent, [`World::fake`] has a scripted stand-in. Where one of them cannot be had, the test says
//! `skipped: why` and returns; with `CI=true` that is a failure.
//!
//! When a world is dropped its broker is stopped, and then nothing may be left in the namespace:
//! its inode is the tag that no process can lose. What is left all the same fails the test and is
//! killed, pid by pid.
//!
//! Nothing here sleeps for luck: tests wait for requests and holds of the fake API, for the
//! output and the end of commands, and only where the system tells nobody ([`until`]) for a
//! condition that is looked at again and again. Every wait ends after [`PATIENCE`].

#![allow(dead_code, reason = "no test needs all of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "rules are written as literals"
)]

pub mod broker;
pub mod conversation;
pub mod fake;
pub mod random;
pub mod relay;
pub mod told;
pub mod tools;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The longest wait: many worlds share two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a broker that was told to stop may leave for the kernel to clear away.
const CLEARING: Duration = Duration::from_secs(1);

/// The key the client is given. It opens nothing.
pub const KEY: &str = "sk-ant-made-up-fake-api-0123456789abcdefghij";

/// The command under test.
pub const CLSESS: &str = env!("CARGO_BIN_EXE_clsess");

// ---- the world ----

/// See the module.
pub struct World {
    dir: TempDir,
    /// The scripted Messages API.
    pub api: FakeApi,
    path: String,
    namespace: PathBuf,
    /// Whether the state directory is a disk of its own.
    disk: bool,
    /// The port of the proxy to the API by its own name, where one was wanted.
    provider: OnceLock<u64>,
}

impl World {
    /// With the real Claude Code; `None` where it cannot be had.
    pub fn real() -> Option<Self> {
        Self::real_of(&[])
    }

    /// The same with a version of it.
    pub fn real_of(version: &[&str]) -> Option<Self> {
        let claude = match install("install-claude", version) {
            Ok(claude) => claude,
            Err(why) => return skipped(&why),
        };
        let folder = claude.parent().unwrap();
        Self::new(&format!("{}:/usr/bin:/bin", folder.display()))
    }

    /// Without an agent; `None` where there are no namespaces.
    pub fn bare() -> Option<Self> {
        Self::new("/usr/bin:/bin")
    }

    /// The same, with a disk of so many KiB as the state directory: a tmpfs in a mount namespace,
    /// which only commands of this world see, and the test by [`World::seen`].
    pub fn with_disk(self, kib: u64) -> Option<Self> {
        let path = self.path.clone();
        drop(self);
        let mut world = Self::made(&path, true)?;
        world.disk = true;
        std::fs::create_dir(world.state()).unwrap();
        let size = format!("size={kib}k,mode=700");
        let state = world.state();
        let args = ["-t", "tmpfs", "-o", &size, "tmpfs", state.to_str().unwrap()];
        let done = world.program("mount", &args).run();
        match done.code {
            0 => Some(world),
            _ => skipped(&format!("nothing can be mounted: {}", done.stderr.trim())),
        }
    }

    /// A path of the world as the test sees it.
    pub fn seen(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        if !self.disk {
            return path.to_owned();
        }
        let root = PathBuf::from(format!("/proc/{}/root", self.api.pid));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// Fills the world's disk. What has begun a page of it can still grow to its end.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.seen(self.state()).join("fill")).unwrap();
        let mut piece = vec![0; 64 * 1024];
        while !piece.is_empty() {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    piece.truncate(piece.len() / 2);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Makes room again.
    pub fn make_room(&self) {
        std::fs::remove_file(self.seen(self.state()).join("fill")).unwrap();
    }

    fn new(path: &str) -> Option<Self> {
        Self::made(path, false)
    }

    fn made(path: &str, mounts: bool) -> Option<Self> {
        let api = match FakeApi::start(mounts) {
            Ok(api) => api,
            Err(why) => return skipped(&why),
        };
        // Short: a socket's path has 107 bytes at most.
        let dir = tempfile::Builder::new()
            .prefix("clsess-t.")
            .tempdir_in("/tmp")
            .unwrap();
        let namespace = std::fs::read_link(format!("/proc/{}/ns/net", api.pid)).unwrap();
        let world = Self {
            dir,
            api,
            path: path.to_owned(),
            namespace,
            disk: false,
            provider: OnceLock::new(),
        };
        for part in ["home", "tmp", "project", "bin"] {
            std::fs::create_dir(world.root().join(part)).unwrap();
        }
        world.trust(&[&world.project()]);
        Some(world)
    }

    /// The directory that holds everything.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// `HOME`.
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// The directory that commands run in. The agent trusts it.
    pub fn project(&self) -> PathBuf {
        self.root().join("project")
    }

    /// `CLSESS_STATE_DIR`.
    pub fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    /// `CLSESS_RUNTIME_DIR`.
    pub fn runtime(&self) -> PathBuf {
        self.root().join("run")
    }

    /// The broker's socket.
    pub fn socket(&self) -> PathBuf {
        self.runtime().join("default.sock")
    }

    /// The directory of a session, as the test sees it.
    pub fn session_dir(&self, name: &str) -> PathBuf {
        let id = self.show(name)["id"].as_str().unwrap().to_owned();
        let sessions = self.state().join("default/sessions");
        self.seen(sessions.join(id))
    }

    /// What the broker logged.
    pub fn log(&self) -> String {
        let path = self.seen(self.state()).join("default/broker.log");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// Writes the agent's own record: it has been used before, and trusts these directories.
    pub fn trust(&self, dirs: &[&Path]) {
        let trusted = dirs.iter().map(|dir| {
            let accepted = json!({"hasTrustDialogAccepted": true});
            (dir.to_str().unwrap().to_owned(), accepted)
        });
        let record = json!({
            "hasCompletedOnboarding": true,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [&KEY[KEY.len() - 20..]], "rejected": []},
            "projects": Value::Object(trusted.collect()),
        });
        std::fs::write(self.home().join(".claude.json"), record.to_string()).unwrap();
    }

    /// Writes the config file.
    pub fn config(&self, text: &str) -> PathBuf {
        let dir = self.home().join(".config/clsess");
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("config.toml");
        std::fs::write(&file, text).unwrap();
        file
    }

    /// A scripted agent in place of Claude Code: a shell script that comes first in the PATH of
    /// commands made from now on. Every agent is asked for `--version` first.
    pub fn scripted_agent(&mut self, script: &str) -> PathBuf {
        self.executable("bin/claude", &format!("#!/bin/sh\n{script}\n"));
        self.path = format!("{}:/usr/bin:/bin", self.root().join("bin").display());
        self.root().join("bin/claude")
    }

    /// Puts a script into the world.
    pub fn executable(&self, name: &str, script: &str) {
        let file = self.root().join(name);
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// The real client with its stdout going through `sed -u`.
    pub fn garbled_agent(&mut self, sed: &str) {
        let (folder, _) = self.path.split_once(':').unwrap();
        let claude = format!("{folder}/claude");
        self.scripted_agent(&format!(
            "[ \"$1\" = --version ] && exec {claude} --version\n{claude} \"$@\" | sed -u '{sed}'"
        ));
    }

    /// A scripted agent that is ready, and then never answers.
    pub fn idle_agent(&mut self) {
        // Its stdout stays open: an agent that closes it is ended.
        self.ready_agent("cat 3>&1 >/dev/null");
    }

    /// A scripted agent that is ready, and then this command.
    pub fn ready_agent(&mut self, then: &str) {
        let ready = concat!(
            "[ \"$1\" = --version ] && { echo '2.1.328 (Claude Code)'; exit; }\n",
            "read -r line\n",
            "id=${line#*\\\"request_id\\\":\\\"}\n",
            "printf '{\"type\":\"control_response\",\"response\":{\"subtype\":\"success\",",
            "\"request_id\":\"%s\",\"response\":{}}}\\n' \"${id%%\\\"*}\"",
        );
        self.scripted_agent(&format!("{ready}\nexec {then}"));
    }

    /// `clsess ARG...`
    pub fn clsess<S: AsRef<OsStr>>(&self, args: &[S]) -> Cmd {
        self.program(CLSESS, args)
    }

    /// Any program, in the same surroundings.
    pub fn program<S: AsRef<OsStr>>(&self, program: &str, args: &[S]) -> Cmd {
        let mut command = Command::new(find("nsenter").expect("nsenter was found before"));
        let pid = self.api.pid.to_string();
        command.args(["-t", &pid]);
        if nix::unistd::geteuid().is_root() {
            command.arg("-n");
        } else {
            command.args(["-U", "-n", "--preserve-credentials"]);
        }
        if self.disk {
            // The directory that it is started in is one of another namespace.
            command.args(["-m", "--", "env", "-C"]).arg(self.project());
        } else {
            command.arg("--");
        }
        command.arg(program).args(args);
        command.env_clear().current_dir(self.project());
        command.envs(self.env());
        Cmd {
            command,
            stdin: Stdin::Nothing,
        }
    }

    /// A script of bash, in which `clsess` is the command under test.
    pub fn shell(&self, script: &str) -> Cmd {
        let bin = Path::new(CLSESS).parent().unwrap();
        let path = format!("{}:{}", bin.display(), self.path);
        self.program("bash", &["-c", script]).env("PATH", path)
    }

    /// The environment of every command.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        vec![
            ("HOME", path(self.home())),
            ("PATH", self.path.clone()),
            ("ANTHROPIC_API_KEY", KEY.to_owned()),
            (
                "ANTHROPIC_BASE_URL",
                format!("http://127.0.0.1:{}", self.api.port),
            ),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
            ("DISABLE_AUTOUPDATER", "1".to_owned()),
            ("CLAUDE_CODE_TMPDIR", path(self.root().join("tmp"))),
            ("CLSESS_STATE_DIR", path(self.state())),
            ("CLSESS_RUNTIME_DIR", path(self.runtime())),
        ]
    }

    /// The command, and what it starts, reaches the API by its own name: `api.anthropic.com`, through a
    /// proxy, by TLS. So do all of a session that is made like this.
    pub fn at_provider(&self, command: Cmd) -> Cmd {
        let port = self.provider.get_or_init(|| {
            let (ca, others) = (self.provider_ca(), self.others_ca());
            let provider = json!({"cmd": "provider", "ca": ca, "others": others});
            let reply = self.api.ask(provider);
            reply["port"].as_u64().unwrap()
        });
        command
            .env_remove("ANTHROPIC_BASE_URL")
            .env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"))
            .env("NODE_EXTRA_CA_CERTS", self.provider_ca())
    }

    /// The certificate of the authority that vouches for the provider, once a command was put there.
    pub fn provider_ca(&self) -> PathBuf {
        self.root().join("provider.pem")
    }

    /// The same of the one that vouches for all other hosts, which the agent does not trust.
    pub fn others_ca(&self) -> PathBuf {
        self.root().join("others.pem")
    }

    /// Makes a session in the project directory.
    pub fn session(&self, name: &str) {
        let done = self.clsess(&["new", name]).run().ok();
        assert_eq!(done.text(), format!("{name}\n"));
    }

    /// `send NAME PROMPT` that must end well; stdout.
    pub fn send(&self, name: &str, prompt: &str) -> String {
        let done = self.clsess(&["send", name, "--", prompt]).run().ok();
        done.text().to_owned()
    }

    /// `show NAME --json`
    pub fn show(&self, name: &str) -> Value {
        self.clsess(&["show", "--json", name]).run().ok().json()
    }

    /// The process of the session's agent. Between two of them it is waited for.
    pub fn agent(&self, name: &str) -> u32 {
        let mut pid = Value::Null;
        until("there is an agent", || {
            pid = self.show(name)["pid"].clone();
            pid.is_number()
        });
        pid_of(&pid)
    }

    /// Waits until so many turns wait in the session.
    pub fn wait_queued(&self, name: &str, count: u64) {
        until(&format!("{count} turns queued"), || {
            self.show(name)["queue"] == count
        });
    }

    /// Waits until the session is in this state.
    pub fn wait_state(&self, name: &str, state: &str) {
        until(&format!("{name} {state}"), || {
            self.show(name)["state"] == state
        });
    }

    /// Waits until such an event is told, of those that are still kept or come.
    pub fn wait_event(&self, mut such: impl FnMut(&Value) -> bool) {
        let events = self.clsess(&["events", "--since", "0"]).spawn();
        events.wait_stdout(|out| {
            let whole = out.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            let lines = out[..whole]
                .split(|b| *b == b'\n')
                .filter(|line| !line.is_empty());
            lines
                .map(|line| serde_json::from_slice(line).unwrap())
                .any(|event| such(&event))
        });
    }

    /// `kill -9` at once of the broker, the holders, their agents and those agents' tools.
    pub fn kill_everything(&self) {
        self.kill_at_once(|world| world.of_clsess());
    }

    /// `kill -9` at once of the broker and the holders.
    pub fn kill_broker_and_holders(&self) {
        self.kill_at_once(|world| {
            let all = world.processes().into_iter();
            all.filter(|(_, line)| of_ours(line))
                .map(|(pid, _)| pid)
                .collect()
        });
    }

    fn kill_at_once(&self, whom: impl Fn(&Self) -> Vec<u32>) {
        let tell = |pids: &[u32], signal| {
            for pid in pids {
                let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
            }
        };
        // Stopped first, so that nobody sees the others go; until none has come meanwhile.
        let mut all = Vec::new();
        until("all of it is stopped", || {
            let before = std::mem::replace(&mut all, whom(self));
            tell(&all, Signal::SIGSTOP);
            all == before
        });
        tell(&all, Signal::SIGKILL);
        // Clients may start another broker as soon as this one is gone.
        until("all of it is gone", || all.iter().all(|pid| !alive(*pid)));
    }

    /// The broker, the holders, and what descends from those.
    fn of_clsess(&self) -> Vec<u32> {
        let all = self.processes();
        let mut found: Vec<u32> = Vec::new();
        loop {
            let more = all.iter().filter(|(pid, line)| {
                let below = || parent(*pid).is_some_and(|parent| found.contains(&parent));
                !found.contains(pid) && (of_ours(line) || below())
            });
            let more: Vec<u32> = more.map(|(pid, _)| *pid).collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    /// Every process in the namespace but the fake API: pid and command line.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let inside = pids.filter(|pid| {
            let namespace = std::fs::read_link(format!("/proc/{pid}/ns/net"));
            *pid != self.api.pid && namespace.is_ok_and(|it| it == self.namespace)
        });
        inside.map(|pid| (pid, command_line(pid))).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let failing = thread::panicking();
        let mut wrong = Vec::new();
        if self.seen(self.state()).join("default/lock").exists() {
            let stopped = self.clsess(&["broker", "stop", "--grace", "5s"]).spawn();
            match stopped.wait_or_give_up() {
                Some(done) if done.code == 0 => {}
                done => wrong.push(format!("`broker stop`: {done:?}")),
            }
        }
        let until = Instant::now() + CLEARING;
        while !self.processes().is_empty() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        for (pid, what) in self.processes() {
            wrong.push(format!("left running: {pid} {what}"));
            send_signal(pid, Signal::SIGKILL);
        }
        if failing || !wrong.is_empty() {
            eprintln!("the broker's log:\n{}", self.log());
            if std::env::var_os("CLSESS_TEST_KEEP").is_some() {
                self.dir.disable_cleanup(true);
                eprintln!("kept: {}", self.dir.path().display());
            }
        }
        if !wrong.is_empty() && !failing {
            panic!("{}", wrong.join("\n"));
        }
        for line in wrong {
            eprintln!("{line}");
        }
    }
}

/// Says why a test is not run; in CI that is a failure.
pub fn skipped<T>(why: &str) -> Option<T> {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "in CI this must not be skipped: {why}");
    println!("skipped: {why}");
    None
}

/// The path of a real client, installed on first need by this script in `tests`.
pub fn install(script: &str, version: &[&str]) -> Result<PathBuf, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(script);
    let output = Command::new(path).args(version).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code() {
        Some(0) => Ok(PathBuf::from(
            String::from_utf8(output.stdout).unwrap().trim(),
        )),
        Some(3) => Err(said),
        code => panic!("{script}: {code:?} {said}"),
    }
}

/// Finds a system program.
pub fn find(name: &str) -> Option<PathBuf> {
    let dirs = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let files = dirs.iter().map(|dir| Path::new(dir).join(name));
    files.into_iter().find(|file| file.is_file())
}

/// Whether a command line is that of a broker or a holder.
fn of_ours(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    matches!(words.as_slice(), [program, "holder" | "broker", ..] if program.ends_with("clsess"))
}

fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// A process that was told.
pub fn pid_of(value: &Value) -> u32 {
    let pid = value.as_u64().unwrap_or_else(|| panic!("no pid: {value}"));
    u32::try_from(pid).unwrap()
}

/// The letter of a process's state; `None` when there is no such process.
pub fn process_state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether there is such a process, and it is not a zombie.
pub fn alive(pid: u32) -> bool {
    process_state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Sends a signal; that the process is gone is fine.
pub fn send_signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal);
}

/// Looks until it is so. For what the system tells nobody.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "never came: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

// ---- commands ----

enum Stdin {
    Nothing,
    Bytes(Vec<u8>),
    Open,
    Is(OwnedFd),
}

/// A command that has not been started.
pub struct Cmd {
    command: Command,
    stdin: Stdin,
}

impl Cmd {
    /// Gives it these bytes as stdin; it has an empty one otherwise.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Gives it a stdin that stays open and silent.
    pub fn silent_stdin(mut self) -> Self {
        self.stdin = Stdin::Open;
        self
    }

    /// Gives it this descriptor as stdin.
    pub fn stdin_is(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.stdin = Stdin::Is(descriptor.into());
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable away.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it there.
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// As the system starts it.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Runs it to its end.
    pub fn run(self) -> Done {
        self.spawn().wait()
    }

    /// Starts it.
    pub fn spawn(mut self) -> Running {
        let (stdin, bytes) = match self.stdin {
            Stdin::Nothing => (Stdio::null(), None),
            Stdin::Bytes(bytes) => (Stdio::piped(), Some(bytes)),
            Stdin::Open => (Stdio::piped(), None),
            Stdin::Is(descriptor) => (descriptor.into(), None),
        };
        self.command.stdin(stdin);
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let pid = child.id();
        let input = child.stdin.take();
        let output = Arc::new(Output::default());
        collect(&output, child.stdout.take().unwrap(), |state| {
            &mut state.stdout
        });
        collect(&output, child.stderr.take().unwrap(), |state| {
            &mut state.stderr
        });
        let open = match (bytes, input) {
            (Some(bytes), Some(mut input)) => {
                // It may end without having read all of it.
                thread::spawn(move || input.write_all(&bytes));
                None
            }
            (_, input) => input,
        };
        let reaped = Arc::clone(&output);
        thread::spawn(move || {
            let status = child.wait().unwrap();
            let code = status.code().unwrap_or_else(|| -status.signal().unwrap());
            reaped.change(|state| state.code = Some(code));
        });
        Running {
            pid,
            output,
            stdin: open,
        }
    }
}

#[derive(Default)]
struct Output {
    state: Mutex<OutputState>,
    changed: Condvar,
}

#[derive(Default)]
struct OutputState {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    closed: u32,
    code: Option<i32>,
}

impl Output {
    fn state(&self) -> MutexGuard<'_, OutputState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut OutputState)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

fn collect(
    output: &Arc<Output>,
    mut pipe: impl Read + Send + 'static,
    place: fn(&mut OutputState) -> &mut Vec<u8>,
) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = pipe.read(&mut buffer) {
            output.change(|state| place(state).extend_from_slice(&buffer[..n]));
        }
        output.change(|state| state.closed += 1);
    });
}

/// A command that runs. Dropped, it is killed.
pub struct Running {
    /// Its process.
    pub pid: u32,
    output: Arc<Output>,
    stdin: Option<ChildStdin>,
}

impl Running {
    /// Waits for its end, and the end of its output.
    pub fn wait(self) -> Done {
        let pid = self.pid;
        self.wait_or_give_up()
            .unwrap_or_else(|| panic!("process {pid} does not end, or its output stays open"))
    }

    fn wait_or_give_up(self) -> Option<Done> {
        let mut done = None;
        self.look(|state| {
            if state.closed == 2
                && let Some(code) = state.code
            {
                done = Some(Done {
                    code,
                    stdout: std::mem::take(&mut state.stdout),
                    stderr: String::from_utf8_lossy(&state.stderr).into_owned(),
                });
            }
            done.is_some()
        });
        done
    }

    /// Waits until its stdout is such.
    pub fn wait_stdout(&self, mut such: impl FnMut(&[u8]) -> bool) {
        let came = self.look(|state| such(&state.stdout));
        let seen = String::from_utf8_lossy(&self.output.state().stdout).into_owned();
        assert!(came, "stdout stays {seen:?}");
    }

    /// Writes to its stdin, which [`Cmd::silent_stdin`] left open.
    pub fn type_in(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("an open stdin");
        stdin.write_all(bytes).unwrap();
    }

    /// Ends its stdin.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        self.output.state().code.is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        assert!(self.runs(), "it has ended");
        send_signal(self.pid, signal);
    }

    /// Looks at each change until it is so; false when it never is.
    fn look(&self, mut so: impl FnMut(&mut OutputState) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        let mut state = self.output.state();
        while !so(&mut state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .output
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.runs() {
            send_signal(self.pid, Signal::SIGKILL);
            self.look(|state| state.code.is_some());
        }
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Done {
    /// Its exit code; the negative number of the signal that ended it.
    pub code: i32,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it wrote for people.
    pub stderr: String,
}

impl Done {
    /// Insists on exit code 0.
    pub fn ok(self) -> Self {
        self.fails(0)
    }

    /// Insists on this exit code.
    pub fn fails(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            code,
            "stdout: {:.2000}\nstderr: {}",
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }

    /// stdout as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// stdout as one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// stdout as a JSON value a line.
    pub fn json_lines(&self) -> Vec<Value> {
        let lines = self.text().lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

// ---- the fake API ----

/// The scripted Messages API, alone in its namespace. Its commands are described in
/// `tests/fake-api/src/main.rs`.
pub struct FakeApi {
    /// Its process: the namespace's tag.
    pub pid: u32,
    /// Where it listens.
    pub port: u64,
    talk: Mutex<Talk>,
}

struct Talk {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next: u64,
}

impl FakeApi {
    fn start(mounts: bool) -> Result<Self, String> {
        let unshare = find("unshare").ok_or("`unshare` is not installed")?;
        find("nsenter").ok_or("`nsenter` is not installed")?;
        let user = (!nix::unistd::geteuid().is_root()).then_some("-r");
        let mut child = Command::new(unshare)
            .arg("-n")
            .args(user)
            .args(mounts.then_some("-m"))
            .arg("--")
            .arg(program_of("fake-api"))
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut talk = Talk {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            next: 0,
        };
        let mut line = String::new();
        talk.output.read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut said = String::new();
            let mut stderr = talk.child.stderr.take().unwrap();
            stderr.read_to_string(&mut said).unwrap();
            let _ = talk.child.wait();
            return Err(format!("no loopback-only namespace: {}", said.trim()));
        }
        let hello: Value = serde_json::from_str(&line).unwrap();
        Ok(Self {
            pid: pid_of(&hello["pid"]),
            port: hello["port"].as_u64().unwrap(),
            talk: Mutex::new(talk),
        })
    }

    /// Sends a command; its answer, which must be a good one.
    pub fn ask(&self, mut command: Value) -> Value {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        talk.next += 1;
        command["id"] = json!(talk.next);
        writeln!(talk.input, "{command}").unwrap();
        let mut line = String::new();
        talk.output.read_line(&mut line).unwrap();
        let reply: Value = serde_json::from_str(&line).unwrap();
        let shown = command.to_string();
        assert_eq!(reply["id"], talk.next, "{reply}");
        assert_eq!(reply["ok"], true, "{reply} to {shown:.300}");
        reply
    }

    /// Prompts that contain `pattern` are answered by these steps.
    pub fn rule(&self, pattern: &str, respond: Value) {
        self.ask(json!({"cmd": "rule", "match": pattern, "respond": respond}));
    }

    /// The same; the last step is repeated for every further request of the turn.
    pub fn rule_repeat(&self, pattern: &str, respond: Value) {
        self.ask(json!({"cmd": "rule", "match": pattern, "respond": respond, "repeat": true}));
    }

    /// Prompts that contain `pattern` are answered by this text.
    pub fn answer(&self, pattern: &str, text: &str) {
        self.rule(pattern, json!([{"text": text}]));
    }

    /// The requests of the main conversations from number `since` on.
    pub fn main_requests(&self, since: u64) -> Vec<Value> {
        let reply = self.ask(json!({"cmd": "requests", "since": since}));
        let all = reply["requests"].as_array().unwrap();
        let main = all.iter().filter(|request| request["kind"] == "main");
        main.cloned().collect()
    }

    /// The number that the next request will have.
    pub fn next(&self) -> u64 {
        let reply = self.ask(json!({"cmd": "stats"}));
        reply["requests"].as_u64().unwrap()
    }

    /// The prompts of the main requests from number `since` on.
    pub fn prompts(&self, since: u64) -> Vec<String> {
        let requests = self.main_requests(since);
        let prompt = |request: &Value| request["prompt"].as_str().unwrap().to_owned();
        requests.iter().map(prompt).collect()
    }

    /// Waits until so many requests of the main conversations have come.
    pub fn wait_main(&self, count: u64) {
        self.ask(json!({
            "cmd": "wait_requests", "kind": "main", "count": count, "timeout_ms": patience_ms()
        }));
    }

    /// Waits until so many answers stand still at this hold.
    pub fn wait_hold(&self, name: &str, count: u64) {
        self.ask(json!({
            "cmd": "wait_hold", "name": name, "count": count, "timeout_ms": patience_ms()
        }));
    }

    /// Lets the answers at this hold go on.
    pub fn release(&self, name: &str) {
        self.ask(json!({"cmd": "release", "name": name}));
    }

    /// The body of request number `index`.
    pub fn body(&self, index: u64) -> Value {
        self.ask(json!({"cmd": "body", "index": index}))["body"].clone()
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        let talk = self.talk.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = talk.child.kill();
        let _ = talk.child.wait();
    }
}

fn patience_ms() -> u128 {
    PATIENCE.as_millis()
}

/// A program of the tests beside the command under test; built where it is missing.
fn program_of(package: &str) -> PathBuf {
    let file = Path::new(CLSESS).with_file_name(package);
    if !file.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", package]);
        if file.parent().is_some_and(|dir| dir.ends_with("release")) {
            build.arg("--release");
        }
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success(), "cargo build {package}");
    }
    file
}
