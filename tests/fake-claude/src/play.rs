//! Steps, one after the other.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::lines::Lines;
use crate::out::die;
use crate::player::{Onward, Player, fail};
use crate::reader::Heard;
use crate::script::{Deaf, Failing, FullFailing, Grandchild, Lifecycle, Pipe, Raw, Replay, Step};

impl Player {
    /// Does all of them, unless the turn is ended from outside.
    pub(crate) fn steps(&mut self, steps: &[Step]) -> Onward {
        for step in steps {
            self.listen()?;
            self.step(step)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Onward {
        match step {
            Step::Say(words) => self.say(words)?,
            Step::Ask(ask) => self.ask(ask)?,
            Step::Await(ids) => self.answered(ids)?,
            Step::Hold(name) => self.hold(name)?,
            Step::Sleep(ms) => self.sleep(Duration::from_millis(*ms))?,
            Step::Repeat(repeat) => {
                for _ in 0..repeat.times {
                    self.steps(&repeat.steps)?;
                }
            }
            Step::Hang => self.hang(),
            Step::NoMore => self.no_more = true,
            Step::Mark(name) => self.log.tell("mark", json!({"name": name})),
            Step::Ignore(deaf) => self.ignore(deaf),
            Step::Crash(crash) => self.out.arm(crash.clone()),
            Step::Exit(code) => std::process::exit(*code),
            Step::Signal(name) => die(name),
            Step::Close(pipe) => self.close(*pipe),
            Step::StopReading => self.stop_reading(),
            Step::Grandchild(grandchild) => self.grandchild(*grandchild),
            Step::Raw(_)
            | Step::Replay(_)
            | Step::Write(_)
            | Step::Hex(_)
            | Step::Fill(_)
            | Step::Stderr(_)
            | Step::Shape(_) => self.bytes(step),
            _ => self.part(step),
        }
        Ok(())
    }

    /// The parts of a true turn that wait for nothing.
    fn part(&mut self, step: &Step) {
        match step {
            Step::Begin => self.begin(),
            Step::Init => self.say_init(),
            Step::Delta(text) => self.delta(text),
            Step::Said(text) => {
                self.delta(text);
                self.end_text("end_turn");
            }
            Step::Thinking(text) => self.think(text),
            Step::Tool(tool) => self.tool(tool),
            Step::TakeBack(id) => self.take_back(id),
            Step::State(state) => self.say_state(state),
            Step::Lifecycle(Lifecycle::Ours(state)) => {
                let uuid = self.turn.uuid.clone();
                self.say_lifecycle(uuid.as_deref(), state);
                self.told_over(state);
            }
            Step::Lifecycle(Lifecycle::Of { state, uuid }) => {
                self.say_lifecycle(Some(uuid), state);
            }
            Step::Result(changes) => self.result(changes),
            Step::End => self.end(),
            Step::Error(Failing::Kind(kind)) => self.fail_turn(&FullFailing {
                kind: *kind,
                text: None,
                retries: false,
            }),
            Step::Error(Failing::Full(failing)) => self.fail_turn(failing),
            Step::Interrupted => self.interrupted(None),
            Step::Unasked(unasked) => self.unasked(unasked),
            Step::Background(count) => {
                let task = |at| json!({"task_id": format!("task{at}"), "task_type": "local_agent"});
                let tasks: Vec<Value> = (0..*count).map(task).collect();
                let line = json!({"type": "system", "subtype": "background_tasks_changed", "tasks": tasks});
                self.out.line(&line);
            }
            Step::RateLimit(info) => {
                let line = json!({"type": "rate_limit_event", "rate_limit_info": info});
                self.out.line(&line);
            }
            Step::Ready => {
                let id = self.asked_ready.clone();
                let line = self.lines.ready(&id);
                self.out.line(&line);
            }
            Step::Refuse(error) => self.out.line(&Lines::refusal(&self.asked_ready, error)),
            _ => {}
        }
    }

    // ---- bytes ----

    fn bytes(&mut self, step: &Step) {
        match step {
            Step::Raw(raw) => self.raw(raw),
            Step::Replay(replay) => self.replay(replay),
            Step::Write(text) => {
                let text = self.filled_in(text);
                self.out.bytes(text.as_bytes());
            }
            Step::Hex(digits) => self.out.bytes(&from_hex(digits)),
            Step::Fill(fill) => self.out.bytes(&fill.bytes()),
            Step::Stderr(fill) => {
                // Nobody may be there to read it.
                let _ = std::io::stderr().write_all(&fill.bytes());
            }
            Step::Shape(shape) => self.out.shape = shape.clone(),
            _ => {}
        }
    }

    /// `$UUID` and `$SESSION` are those of this turn.
    fn filled_in(&self, text: &str) -> String {
        text.replace("$UUID", self.turn.uuid.as_deref().unwrap_or_default())
            .replace("$SESSION", &self.lines.session)
    }

    fn raw(&mut self, raw: &Raw) {
        let lines = match raw {
            Raw::Text(line) => vec![line.clone()],
            Raw::Object(line) => vec![Value::from(line.clone()).to_string()],
            Raw::Lines(lines) => {
                let text =
                    |line: &Value| line.as_str().map_or_else(|| line.to_string(), Into::into);
                lines.iter().map(text).collect()
            }
        };
        for line in lines {
            let line = self.filled_in(&line);
            self.out.text_line(&line);
        }
    }

    fn replay(&mut self, replay: &Replay) {
        let text = std::fs::read_to_string(&replay.file)
            .unwrap_or_else(|error| fail(&format!("{}: {error}", replay.file)));
        let to = replay.to.unwrap_or(usize::MAX);
        for line in text.lines().take(to).skip(replay.from) {
            let mut line = line.to_owned();
            if let (Some(recorded), Some(uuid)) = (&replay.uuid, &self.turn.uuid) {
                line = line.replace(recorded, uuid);
            }
            let value: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(session) = value["session_id"].as_str() {
                line = line.replace(session, &self.lines.session);
            }
            self.out.text_line(&line);
        }
    }

    // ---- time ----

    fn hold(&mut self, name: &str) -> Onward {
        let path = self.script.with_file_name(format!("hold.{name}"));
        if !path.exists()
            && let Err(error) = nix::unistd::mkfifo(&path, Mode::S_IRWXU)
        {
            fail(&format!("{}: {error}", path.display()));
        }
        // Open for both, so that it is open before anybody hears of it.
        let mut fifo = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap_or_else(|error| fail(&format!("{}: {error}", path.display())));
        self.log.tell("hold", json!({"name": name}));
        let (sender, released) = (self.sender.clone(), name.to_owned());
        thread::spawn(move || {
            if fifo.read_exact(&mut [0]).is_ok() {
                let _ = sender.send(Heard::Released(released));
            }
        });
        loop {
            if let Some(at) = self.released.iter().position(|it| it == name) {
                self.released.remove(at);
                return Ok(());
            }
            self.wait()?;
        }
    }

    /// Reads what comes and does nothing about it, until the input ends.
    fn hang(&mut self) -> ! {
        self.log.tell("hang", json!({}));
        loop {
            let ended = self.ended_input || matches!(self.inbox.recv(), Ok(Heard::End) | Err(_));
            self.ended_input |= ended;
            if ended && self.deaf.contains(&Deaf::Eof) {
                thread::park();
            } else if ended {
                std::process::exit(0);
            }
        }
    }

    // ---- the process ----

    fn close(&mut self, pipe: Pipe) {
        let nothing = OpenOptions::new().read(true).write(true).open("/dev/null");
        let nothing = nothing.unwrap_or_else(|error| fail(&format!("/dev/null: {error}")));
        let closed = match pipe {
            Pipe::Stdin => {
                self.stop_reading();
                nix::unistd::dup2_stdin(&nothing)
            }
            Pipe::Stdout => {
                self.out.close();
                nix::unistd::dup2_stdout(&nothing)
            }
            Pipe::Stderr => nix::unistd::dup2_stderr(&nothing),
        };
        if let Err(error) = closed {
            fail(&format!("cannot close {pipe:?}: {error}"));
        }
        self.log.tell("closed", json!({}));
    }

    fn stop_reading(&mut self) {
        self.no_reading = true;
        if let Some(reader) = &mut self.reader {
            reader.stop();
        }
        self.log.tell("stopped_reading", json!({}));
    }

    #[allow(clippy::zombie_processes, reason = "it is to outlive this process")]
    fn grandchild(&mut self, grandchild: Grandchild) {
        let trap = if grandchild.stubborn {
            "trap '' TERM; "
        } else {
            ""
        };
        let mut command = Command::new("/bin/sh");
        let setsid = if grandchild.setsid { "setsid " } else { "" };
        command.args(["-c", &format!("{trap}exec {setsid}sleep 1000")]);
        command.stdin(Stdio::null());
        if !grandchild.pipes {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        // Its environment is another's business; its name says whose it is.
        let child = command.arg0("fake-claude-grandchild").spawn();
        let child = child.unwrap_or_else(|error| fail(&format!("/bin/sh: {error}")));
        self.log.tell("grandchild", json!({"child": child.id()}));
    }
}

fn from_hex(digits: &str) -> Vec<u8> {
    let digits: String = digits.split_whitespace().collect();
    let pair = |at: usize| {
        let pair = digits.get(at..at + 2).unwrap_or_default();
        u8::from_str_radix(pair, 16).unwrap_or_else(|_| fail(&format!("no bytes: {digits}")))
    };
    (0..digits.len()).step_by(2).map(pair).collect()
}
