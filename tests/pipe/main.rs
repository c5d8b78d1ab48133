//! `clsess pipe`: the plain protocol, as a program sees it that knows nothing else, and what
//! becomes of turns and sessions when something ends. `more.rs`: what goes beyond that protocol.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ending;
#[path = "../harness/mod.rs"]
mod harness;
mod more;
mod readers;
mod turns;

use harness::{CLSESS, Cmd, Done, Running, World};
use serde_json::{Value, json};

/// A `clsess pipe`, and how much of what it says has been heard.
struct Piped {
    running: Running,
    heard: usize,
}

impl Piped {
    /// Begins one that is ready.
    fn begin(world: &World, args: &[&str]) -> Self {
        let mut pipe = Self::start(world, args);
        assert_eq!(pipe.next(), json!({"type": "ready"}));
        pipe
    }

    fn start(world: &World, args: &[&str]) -> Self {
        Self::of(world.clsess(&[&["pipe"], args].concat()))
    }

    fn of(command: Cmd) -> Self {
        let running = command.silent_stdin().spawn();
        Self { running, heard: 0 }
    }

    /// Writes a line.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "lines are written as literals"
    )]
    fn say(&mut self, line: Value) {
        self.write(format!("{line}\n").as_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.running.type_in(bytes);
    }

    fn send(&mut self, prompt: &str) {
        self.say(json!({"cmd": "send", "prompt": prompt}));
    }

    /// The next line.
    fn next(&mut self) -> Value {
        let mut next = Value::Null;
        self.running.wait_stdout(|out| {
            let mut lines = out.split_inclusive(|byte| *byte == b'\n');
            let line = lines.nth(self.heard).filter(|line| line.ends_with(b"\n"));
            if let Some(line) = line {
                next = serde_json::from_slice(line).unwrap();
            }
            line.is_some()
        });
        self.heard += 1;
        next
    }

    /// The next line, which is of this type.
    #[track_caller]
    fn expect(&mut self, kind: &str) -> Value {
        let line = self.next();
        assert_eq!(line["type"], kind, "{line}");
        line
    }

    /// The texts of a turn, and the line at its end.
    fn turn(&mut self) -> (String, Value) {
        let mut texts = String::new();
        loop {
            let line = self.next();
            if line["type"] != "text_delta" {
                return (texts, line);
            }
            texts += line["text"].as_str().unwrap();
        }
    }

    /// Waits for this much of a turn's texts.
    fn texts(&mut self, expected: &str) -> String {
        let mut texts = String::new();
        while texts.len() < expected.len() {
            texts += self.expect("text_delta")["text"].as_str().unwrap();
        }
        assert_eq!(texts, expected);
        texts
    }

    /// The answer to a prompt.
    fn answer(&mut self, prompt: &str) -> String {
        self.send(prompt);
        let (_, end) = self.turn();
        assert_eq!(end["type"], "result", "{end}");
        end["result"].as_str().unwrap().to_owned()
    }

    /// The code of the error that comes next.
    #[track_caller]
    fn error(&mut self) -> String {
        let error = self.expect("error");
        assert!(error["message"].as_str().is_some_and(|it| !it.is_empty()));
        error["code"].as_str().unwrap().to_owned()
    }

    /// The end of stdin; what is said after what was heard, and the end.
    fn end(mut self) -> (Vec<Value>, Done) {
        self.running.end_input();
        self.wait()
    }

    fn wait(self) -> (Vec<Value>, Done) {
        let done = self.running.wait();
        (done.json_lines().split_off(self.heard), done)
    }
}

#[test]
fn a_program_that_knows_only_row_a_passes_its_tests() {
    let Some(world) = World::real() else { return };
    let Some(python) = python() else { return };
    world
        .api
        .rule_repeat("hang for ever", json!([{"text": "late", "hold": "never"}]));
    // Such a program has its agent to itself.
    let begins = format!("exec {CLSESS} pipe -A --timeout 8s row-a-$$");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/row_a.py");
    let args = [
        "-B",
        script,
        "--hangs",
        "hang for ever",
        "sh",
        "-c",
        &begins,
    ];
    let done = world.program(&python, &args).run();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("\nOK\n"), "{}", done.stderr);
}

fn python() -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let files = std::env::split_paths(&path).map(|dir| dir.join("python3"));
    let python = files.into_iter().find(|file| file.is_file());
    if python.is_none() {
        println!("skipped: there is no python3");
    }
    Some(python?.display().to_string())
}

#[test]
fn the_example_of_the_readme_runs() {
    let Some(world) = World::real() else { return };
    let Some(python) = python() else { return };
    let readme = include_str!("../../README.md");
    let example = readme.split_once("```python\n").unwrap().1;
    let example = example.split_once("```").unwrap().0;
    std::fs::write(world.project().join("embed.py"), example).unwrap();
    let shell = format!("{python} -B embed.py && clsess ls");
    let done = world.shell(&shell).run().ok();
    assert_eq!(done.text(), "you said: What does this project do?");
}
