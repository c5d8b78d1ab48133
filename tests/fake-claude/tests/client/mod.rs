//! The stand-in as a child process.

#![allow(dead_code, reason = "no test needs all of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "scripts are written as literals"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A running stand-in. Its waits have an end with those of the test runner.
pub struct Client {
    pub dir: TempDir,
    pub child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// One that has ended.
pub struct Ended {
    pub lines: Vec<Vec<u8>>,
    pub code: i64,
    pub stderr: String,
}

pub fn path(name: &str, ending: &str) -> PathBuf {
    let dir = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../crates/claude/fixtures/2.1.328"
    );
    Path::new(dir).join(format!("{name}.{ending}"))
}

pub fn fixture(name: &str, ending: &str) -> Vec<u8> {
    std::fs::read(path(name, ending)).unwrap()
}

impl Client {
    pub fn start(script: Value, args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), script, args, &[])
    }

    /// In a directory that another process may have used before.
    pub fn start_in(dir: TempDir, script: Value, args: &[&str], env: &[(&str, &str)]) -> Self {
        let file = dir.path().join("script.json");
        std::fs::write(&file, script.to_string()).unwrap();
        // there before the process is, so that it can be watched
        let mut events = std::fs::OpenOptions::new();
        events.append(true).create(true);
        events.open(dir.path().join("events.ndjson")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_fake-claude"))
            .arg("--script")
            .arg(&file)
            .args(args)
            .current_dir(dir.path())
            .env_clear()
            .env("HOME", dir.path())
            .env("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "1")
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            dir,
        }
    }

    pub fn write(&mut self, line: &Value) {
        self.write_bytes(format!("{line}\n").as_bytes());
    }

    pub fn write_bytes(&mut self, bytes: &[u8]) {
        self.try_write(bytes).unwrap();
    }

    pub fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stdin.as_mut().unwrap().write_all(bytes)
    }

    /// A prompt under the uuid of this number.
    pub fn prompt(&mut self, number: u32, prompt: &str) {
        self.write(&json!({
            "type": "user", "uuid": uuid(number), "client_composed": true,
            "message": {"role": "user", "content": prompt},
        }));
    }

    pub fn interrupt(&mut self) {
        let request = json!({"subtype": "interrupt"});
        self.write(&json!({"type": "control_request", "request_id": "i", "request": request}));
    }

    pub fn close(&mut self) {
        self.stdin = None;
    }

    pub fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.stdout.read_until(b'\n', &mut line).unwrap();
        assert!(!line.is_empty(), "it has ended: {}", self.events());
        line
    }

    /// The next line that is such.
    pub fn until(&mut self, such: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = serde_json::from_slice(&self.line()).unwrap();
            if such(&line) {
                return line;
            }
        }
    }

    pub fn idle(&mut self) {
        self.until(|line| line["state"] == "idle");
    }

    pub fn events(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("events.ndjson")).unwrap()
    }

    pub fn finish(self) -> (Vec<Vec<u8>>, i64) {
        let ended = self.finish_with_stderr();
        assert_eq!(ended.stderr, "");
        (ended.lines, ended.code)
    }

    pub fn finish_with_stderr(mut self) -> Ended {
        self.close();
        self.end()
    }

    /// Its end, which comes without that of its input.
    pub fn end(&mut self) -> Ended {
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).unwrap();
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap());
        let lines = rest.split_inclusive(|byte| *byte == b'\n');
        Ended {
            lines: lines.map(<[u8]>::to_vec).collect(),
            code: code.into(),
            stderr,
        }
    }
}

pub fn uuid(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// Waits until there is an event of this name.
pub fn wait_event(client: &Client, name: &str) {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
    let file = client.dir.path().join("events.ndjson");
    inotify.add_watch(&file, AddWatchFlags::IN_MODIFY).unwrap();
    let sign = format!("\"event\":\"{name}\"");
    while !client.events().contains(&sign) {
        let mut ready = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        assert_ne!(poll(&mut ready, 30_000_u16), Ok(0), "never came: {name}");
        inotify.read_events().unwrap();
    }
}

/// Lets it go on.
pub fn release(client: &Client, name: &str) {
    let fifo = client.dir.path().join(format!("hold.{name}"));
    let mut fifo = std::fs::OpenOptions::new().write(true).open(fifo).unwrap();
    fifo.write_all(b"x").unwrap();
}
