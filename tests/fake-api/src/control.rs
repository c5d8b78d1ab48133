//! The control protocol: one JSON object per line on standard input, one answer line each.
//!
//! Threads do the reading and the writing, so that a harness which is slow on its side never
//! stops the server.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::provider;
use crate::state::{Shared, State};
use crate::step::RuleSpec;
use crate::wire::Kind;

/// How long a `wait_` command waits if it does not say.
const PATIENCE_MS: u64 = 30_000;

/// A command.
#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
enum Command {
    Rule(RuleSpec),
    RulesClear,
    Requests {
        #[serde(default)]
        since: usize,
    },
    WaitRequests(WaitRequests),
    Body {
        index: usize,
        #[serde(default)]
        text: bool,
    },
    Release {
        name: String,
    },
    WaitHold {
        name: String,
        count: Option<usize>,
        timeout_ms: Option<u64>,
    },
    Provider {
        ca: PathBuf,
        others: PathBuf,
    },
    Stats,
    Quit,
}

/// Waits until `count` requests were seen.
#[derive(Debug, Deserialize)]
struct WaitRequests {
    count: usize,
    kind: Option<String>,
    #[serde(default)]
    since: usize,
    #[serde(default)]
    finished: bool,
    timeout_ms: Option<u64>,
}

/// Reads lines from standard input on a thread; the channel ends with the input.
pub fn read_lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Writes lines to standard output on a thread.
#[derive(Clone, Debug)]
pub struct Output(std::sync::mpsc::Sender<Option<String>>);

impl Output {
    /// Starts the thread.
    pub fn start() -> (Self, JoinHandle<()>) {
        let (sender, receiver) = std::sync::mpsc::channel::<Option<String>>();
        let thread = std::thread::spawn(move || {
            let mut out = std::io::stdout().lock();
            while let Ok(Some(line)) = receiver.recv() {
                // Nobody listens any more; the end of the input follows.
                if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
        });
        (Self(sender), thread)
    }

    /// Writes one line.
    pub fn line(&self, value: &Value) {
        // The thread ends early only when nobody listens.
        let _ = self.0.send(Some(value.to_string()));
    }

    /// Lets the thread end once everything is written.
    pub fn end(&self) {
        let _ = self.0.send(None);
    }
}

/// Obeys until the lines end or say `quit`.
pub async fn obey(mut lines: mpsc::UnboundedReceiver<String>, state: &Shared, output: &Output) {
    while let Some(line) = lines.recv().await {
        if line.trim().is_empty() {
            continue;
        }
        let (id, command) = parse(&line);
        match command {
            Ok(Command::Quit) => {
                output.line(&reply(&id, Ok(json!({}))));
                return;
            }
            Ok(Command::WaitRequests(wait)) => {
                let (state, output) = (Rc::clone(state), output.clone());
                tokio::task::spawn_local(async move {
                    output.line(&reply(&id, wait_requests(&state, &wait).await));
                });
            }
            Ok(Command::WaitHold {
                name,
                count,
                timeout_ms,
            }) => {
                let (state, output) = (Rc::clone(state), output.clone());
                let (count, limit) = (count.unwrap_or(1), patience(timeout_ms));
                tokio::task::spawn_local(async move {
                    let enough = || Some(state.waiting(&name)).filter(|n| *n >= count);
                    let found = state.wait(limit, enough).await;
                    let error = || format!("timeout: {} at hold {name:?}", state.waiting(&name));
                    output.line(&reply(
                        &id,
                        found.map(|n| json!({"waiting": n})).ok_or_else(error),
                    ));
                });
            }
            Ok(command) => output.line(&reply(&id, at_once(command, state))),
            Err(error) => output.line(&reply(&id, Err(error))),
        }
    }
}

/// Obeys one line that needs no waiting; for scripts.
pub fn obey_line(line: &str, state: &Shared) -> Result<Value, String> {
    at_once(parse(line).1?, state)
}

fn parse(line: &str) -> (Value, Result<Command, String>) {
    let mut value: Value = match serde_json::from_str(line) {
        Ok(value) => value,
        Err(error) => return (Value::Null, Err(error.to_string())),
    };
    let id = value
        .as_object_mut()
        .and_then(|object| object.remove("id"))
        .unwrap_or_default();
    (
        id,
        serde_json::from_value(value).map_err(|error| error.to_string()),
    )
}

fn reply(id: &Value, result: Result<Value, String>) -> Value {
    match result {
        Ok(mut value) => {
            value["id"] = id.clone();
            value["ok"] = json!(true);
            value
        }
        Err(error) => json!({"id": id, "error": error}),
    }
}

fn patience(timeout_ms: Option<u64>) -> Duration {
    Duration::from_millis(timeout_ms.unwrap_or(PATIENCE_MS))
}

fn at_once(command: Command, state: &Shared) -> Result<Value, String> {
    match command {
        Command::Rule(spec) => Ok(json!({"rule": state.rules.borrow_mut().add(spec)?})),
        Command::RulesClear => {
            state.rules.borrow_mut().clear();
            Ok(json!({}))
        }
        Command::Requests { since } => {
            let log = state.log.borrow();
            Ok(json!({"next": log.next_index(), "requests": log.since(since)}))
        }
        Command::Body { index, text } => {
            let body = state.log.borrow().body(index)?;
            let body = match text {
                true => String::from_utf8(body.to_vec())
                    .map(Value::String)
                    .map_err(|error| error.to_string()),
                false => serde_json::from_slice(&body).map_err(|error| error.to_string()),
            }?;
            Ok(json!({"index": index, "body": body}))
        }
        Command::Release { name } => Ok(json!({"released": state.release(&name)})),
        Command::Provider { ca, others } => {
            Ok(json!({"port": provider::open(&ca, &others, state)?}))
        }
        Command::Stats => Ok(stats(state)),
        Command::WaitRequests(_) | Command::WaitHold { .. } | Command::Quit => {
            Err("not in a script".into())
        }
    }
}

async fn wait_requests(state: &State, wait: &WaitRequests) -> Result<Value, String> {
    if let Some(kind) = &wait.kind {
        Kind::parse(kind).ok_or_else(|| format!("no kind {kind:?}"))?;
    }
    let seen = || {
        let log = state.log.borrow();
        let wanted = log.since(wait.since).iter().filter(|record| {
            let kind = wait.kind.as_deref().is_none_or(|kind| kind == record.kind);
            kind && (!wait.finished || record.done_ms.is_some())
        });
        wanted.count()
    };
    let enough = || Some(seen()).filter(|seen| *seen >= wait.count);
    let found = state.wait(patience(wait.timeout_ms), enough).await;
    found
        .map(|seen| json!({"seen": seen}))
        .ok_or_else(|| format!("timeout: {} of {}", seen(), wait.count))
}

fn stats(state: &State) -> Value {
    let log = state.log.borrow();
    let by_kind = Kind::ALL.map(|kind| {
        let of_kind = log
            .since(0)
            .iter()
            .filter(|record| record.kind == kind.name());
        (kind.name().to_owned(), json!(of_kind.count()))
    });
    json!({
        "connections": state.connections(),
        "requests": log.next_index(),
        "by_kind": Value::Object(by_kind.into_iter().collect()),
        "held": state.held(),
    })
}
