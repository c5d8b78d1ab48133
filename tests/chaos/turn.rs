//! A prompt that is like no other, and what the model makes of it.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::driver::{Ability, Driver};
use crate::harness::World;
use crate::harness::random::{Random, mixed};

/// What prompts end with: each must reach the model byte for byte.
const ENDS: [&str; 8] = [
    "",
    " ",
    "\n",
    "\t\n",
    ": é ☃",
    " /compact",
    "\n\n- a\n- b",
    " @x !y",
];

/// What is said in a turn before its tool is used. No part of the answer.
const BEFORE_A_TOOL: &str = "first something else";

/// How the model, or what is between, takes a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// It answers.
    Answers,
    /// It uses a tool that needs no permission, and answers.
    Tool,
    /// An error of this status, then the answer.
    ErrorOnce(u16),
    /// The connection ends in the middle of the answer, which then comes whole.
    Cut,
    /// The provider breaks its answer off by an error; then it comes whole.
    ErrorEvent,
    /// An error of this status, again and again.
    ErrorLasting(u16),
    /// It uses a tool that needs a permission, and answers.
    Asks,
}

/// A prompt, its answer, and how it comes.
#[derive(Clone, Debug)]
pub struct Turn {
    /// What the prompt begins with: in no other prompt.
    pub token: String,
    /// See the name.
    pub prompt: String,
    /// It cannot be guessed from the prompt.
    pub answer: String,
    /// See the name.
    pub script: Script,
    /// The file that the tool adds a line to, where it needs a permission.
    pub file: PathBuf,
    /// Into the agent's interface.
    pub is_typed: bool,
    /// What broke off is not known to have, and its words stand in front of the whole answer.
    pub twice: bool,
    /// The number of its rule.
    pub rule: u64,
    /// Between two pieces of what the model says, in milliseconds.
    delay: u64,
}

impl Turn {
    /// A new one, which the fake API knows.
    pub fn new(world: &World, random: &mut Random, script: Script, driver: &Driver) -> Self {
        let number = random.number();
        let token = format!("p{number:016x}");
        let prompts = ENDS.map(|end| format!("{token} is what I say{end}"));
        let carried = prompts.iter().filter(|it| (driver.carries)(it) == Some(it));
        let carried: Vec<&String> = carried.collect();
        let mut turn = Self {
            prompt: random.one_of(&carried).clone(),
            answer: format!("and {:016x} is the answer", mixed(!number)),
            file: world.project().join(&token),
            is_typed: !driver.has(Ability::TellsRetries),
            twice: !driver.has(Ability::TellsRetries)
                && matches!(script, Script::Cut | Script::ErrorEvent),
            token,
            script,
            rule: 0,
            delay: random.below(8),
        };
        turn.is_answered(world, matches!(script, Script::ErrorLasting(_)));
        turn
    }

    /// It may be given to a second agent, when the first one dies: the model answers that one too.
    pub fn may_run_again(&mut self, world: &World) {
        self.is_answered(world, true);
    }

    fn is_answered(&mut self, world: &World, repeat: bool) {
        let rule = json!({
            "cmd": "rule",
            "match": self.token,
            "respond": self.steps(self.delay),
            "repeat": repeat,
        });
        self.rule = world.api.ask(rule)["rule"].as_u64().unwrap();
    }

    fn steps(&self, delay: u64) -> Value {
        let slowly = |mut more: Value| {
            more["text"] = json!(self.answer);
            more["delta_bytes"] = json!(self.answer.len().div_ceil(10));
            more["delay_ms"] = json!(delay);
            more
        };
        let answer = slowly(json!({}));
        let uses = |command: String| {
            let tool = json!({"tool": {"name": "Bash", "input": {"command": command}}});
            json!({"blocks": [{"text": BEFORE_A_TOOL}, tool], "delay_ms": delay})
        };
        match self.script {
            Script::Answers => json!([answer]),
            Script::Tool => json!([uses(format!("echo {}", self.token)), answer]),
            Script::Asks => {
                let file = self.file.display();
                json!([uses(format!("echo once >> {file}")), answer])
            }
            Script::ErrorOnce(status) => json!([{"status": status}, answer]),
            Script::Cut => json!([slowly(json!({"cut_after": 4})), answer]),
            Script::ErrorEvent => json!([slowly(json!({"error_after": 4})), answer]),
            Script::ErrorLasting(status) => json!([{"status": status}]),
        }
    }

    /// The step of its rule that is the answer, if it ever comes to one.
    pub fn answering(&self) -> Option<String> {
        let step = match self.script {
            Script::Answers => 0,
            Script::ErrorLasting(_) => return None,
            _ => 1,
        };
        Some(format!("rule {} step {step}", self.rule))
    }

    /// All that is said in it.
    pub fn texts(&self) -> String {
        match self.script {
            Script::Tool | Script::Asks => format!("{BEFORE_A_TOOL}\n\n{}\n", self.answer),
            _ => format!("{}\n", self.answer),
        }
    }

    /// How it ends when nothing else happens to it: the exit code of `send`.
    pub fn code(&self) -> i32 {
        match self.script {
            Script::ErrorLasting(401) => 8,
            Script::ErrorLasting(429 | 529) => 7,
            Script::ErrorLasting(_) => 1,
            _ => 0,
        }
    }
}
