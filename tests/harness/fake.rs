//! The stand-in for Claude Code, for what the real one cannot be made to do. Its script is
//! described in `tests/fake-claude/src/main.rs`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::{Value, json};

use super::{PATIENCE, World, program_of};

/// Its script, and what it tells of itself.
pub struct FakeAgent {
    dir: PathBuf,
    script: Mutex<Value>,
}

impl World {
    /// With the stand-in as its agent; `None` where there are no namespaces.
    pub fn fake(script: Value) -> Option<(Self, FakeAgent)> {
        let mut world = Self::bare()?;
        let agent = world.fake_agent(script);
        Some((world, agent))
    }

    /// Puts the stand-in first in the PATH of commands made from now on.
    pub fn fake_agent(&mut self, script: Value) -> FakeAgent {
        let dir = self.root().join("fake");
        std::fs::create_dir(&dir).unwrap();
        let agent = FakeAgent {
            script: Mutex::new(script),
            dir,
        };
        agent.write();
        for file in ["events.ndjson", "input.ndjson"] {
            std::fs::write(agent.dir.join(file), "").unwrap();
        }
        self.scripted_agent(&format!(
            "exec {} --script {} \"$@\"",
            program_of("fake-claude").display(),
            agent.dir.join("script.json").display()
        ));
        agent
    }
}

impl FakeAgent {
    fn write(&self) {
        // Renamed into place: the stand-in may be reading it.
        let script = self.script.lock().unwrap().to_string();
        let file = self.dir.join("script.json");
        std::fs::write(self.dir.join("script.new"), script).unwrap();
        std::fs::rename(self.dir.join("script.new"), file).unwrap();
    }

    /// Adds a rule. It is the newest one.
    pub fn add(&self, rule: Value) {
        let mut script = self.script.lock().unwrap();
        if script["rules"].is_null() {
            script["rules"] = json!([]);
        }
        script["rules"].as_array_mut().unwrap().push(rule);
        drop(script);
        self.write();
    }

    /// Prompts that contain `pattern` are answered by these steps, and by what is missing of the
    /// turn after them.
    pub fn rule(&self, pattern: &str, steps: Value) {
        self.add(json!({"match": pattern, "steps": steps}));
    }

    fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.dir.join(file)).unwrap()
    }

    /// All that was written to all processes, byte for byte.
    pub fn input(&self) -> Vec<u8> {
        self.read("input.ndjson")
    }

    /// The whole lines of it.
    pub fn inputs(&self) -> Vec<Value> {
        lines(&self.input())
    }

    /// The prompts that were written.
    pub fn prompts(&self) -> Vec<String> {
        let user = |line: &Value| {
            let content = line["message"]["content"].as_str()?;
            (line["type"] == "user").then(|| content.to_owned())
        };
        self.inputs().iter().filter_map(user).collect()
    }

    /// What happened.
    pub fn events(&self) -> Vec<Value> {
        lines(&self.read("events.ndjson"))
    }

    /// The events of this name.
    pub fn told(&self, event: &str) -> Vec<Value> {
        let mut events = self.events();
        events.retain(|line| line["event"] == event);
        events
    }

    /// Waits until so many events are such; the last of them.
    pub fn wait_such(&self, count: usize, such: impl Fn(&Value) -> bool) -> Value {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
        let file = self.dir.join("events.ndjson");
        inotify.add_watch(&file, AddWatchFlags::IN_MODIFY).unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            let mut found = self.events();
            found.retain(&such);
            if found.len() >= count {
                return found.swap_remove(count - 1);
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never came: {:?}", self.events());
            let mut ready = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut ready, PollTimeout::try_from(left).unwrap());
            let _ = inotify.read_events();
        }
    }

    /// Waits until so many events of this name have come; the last of them.
    pub fn wait(&self, event: &str, count: usize) -> Value {
        self.wait_such(count, |line| line["event"] == event)
    }

    /// Waits until the agent has come to this hold so many times.
    pub fn wait_hold(&self, name: &str, count: usize) {
        self.wait_such(count, |line| {
            line["event"] == "hold" && line["name"] == name
        });
    }

    /// Lets the agent that stands at this hold go on.
    pub fn release(&self, name: &str) {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let mut fifo = options
            .open(self.dir.join(format!("hold.{name}")))
            .unwrap_or_else(|error| panic!("nobody stands at {name}: {error}"));
        fifo.write_all(b"x").unwrap();
    }
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let whole = bytes.split_inclusive(|byte| *byte == b'\n');
    let whole = whole.filter(|line| line.ends_with(b"\n"));
    whole
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}
