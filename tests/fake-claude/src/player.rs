//! The process: what it knows, what it hears, and its main loop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use serde_json::{Value, json};

use crate::lines::Lines;
use crate::log::Log;
use crate::out::Out;
use crate::reader::{Heard, Reader};
use crate::script::{Deaf, Occasion, Script, Step};
use crate::transcript::Transcript;
use crate::turn::Turn;

/// Why steps are not gone on with: the turn was ended from outside.
#[derive(Debug)]
pub struct Over;

/// Whether to go on.
pub type Onward = Result<(), Over>;

/// A user line.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Its uuid.
    pub uuid: Option<String>,
    /// Its content, as it came.
    pub content: Value,
    /// It was told that it is queued.
    pub queued: bool,
}

/// A question that waits.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The request.
    pub request_id: String,
    /// The tool call; none for a bare question.
    pub tool_use_id: Option<String>,
    /// The tool.
    pub tool: String,
    /// Its input.
    pub input: Value,
}

/// See the module.
pub struct Player {
    /// The script's file; it is read anew for each turn.
    pub script: PathBuf,
    pub(crate) log: Arc<Log>,
    pub(crate) out: Out,
    pub(crate) lines: Lines,
    pub(crate) transcript: Transcript,
    pub(crate) reader: Option<Reader>,
    /// Nothing more is to be read.
    pub(crate) no_reading: bool,
    pub(crate) sender: Sender<Heard>,
    pub(crate) inbox: Receiver<Heard>,
    pub(crate) queue: VecDeque<Prompt>,
    pub(crate) turn: Turn,
    pub(crate) pending: Vec<Pending>,
    pub(crate) answers: BTreeMap<String, Value>,
    pub(crate) released: Vec<String>,
    /// The request id of `initialize`.
    pub(crate) asked_ready: String,
    /// Not idle, as far as it has told.
    pub(crate) busy: bool,
    /// It tells its state.
    pub(crate) tells_state: bool,
    pub(crate) deaf: Vec<Deaf>,
    pub(crate) deaf_to_sigterm: Arc<AtomicBool>,
    pub(crate) no_more: bool,
    pub(crate) ended_input: bool,
    /// The exit code at the end of the input.
    pub(crate) last_failed: bool,
    done: BTreeSet<String>,
}

/// What a player is made of.
pub struct Parts {
    /// The script's file.
    pub script: PathBuf,
    /// The log.
    pub log: Arc<Log>,
    /// The names.
    pub lines: Lines,
    /// The conversation.
    pub transcript: Transcript,
    /// For those who tell the player something.
    pub sender: Sender<Heard>,
    /// Where it hears it.
    pub inbox: Receiver<Heard>,
}

impl Player {
    /// A process that has just begun.
    pub fn new(parts: Parts, script: &Script) -> Self {
        let mut player = Self {
            script: parts.script,
            log: parts.log,
            out: Out::default(),
            lines: parts.lines,
            transcript: parts.transcript,
            reader: None,
            no_reading: false,
            sender: parts.sender,
            inbox: parts.inbox,
            queue: VecDeque::new(),
            turn: Turn::default(),
            pending: Vec::new(),
            answers: BTreeMap::new(),
            released: Vec::new(),
            asked_ready: "clsess-initialize".to_owned(),
            busy: false,
            tells_state: std::env::var("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS")
                .is_ok_and(|value| value == "1"),
            deaf: Vec::new(),
            deaf_to_sigterm: Arc::default(),
            no_more: false,
            ended_input: false,
            last_failed: false,
            done: BTreeSet::new(),
        };
        player.out.shape = script.shape.clone();
        player.ignore(&script.ignore);
        player
    }

    /// Lives. `resumed` is whether an interrupted turn is to be run again.
    pub fn run(mut self, resumed: bool) -> ! {
        self.watch_signals();
        if self.occasion(Occasion::Start, "").is_err() {
            self.no_more = false;
        }
        let reading = Reader::start(Arc::clone(&self.log), self.sender.clone());
        match reading {
            Ok(mut reader) => {
                if self.no_reading {
                    reader.stop();
                }
                self.reader = Some(reader);
            }
            Err(error) => fail(&format!("cannot read: {error}")),
        }
        if resumed && let Some((uuid, prompt)) = self.transcript.open.take() {
            self.run_again(uuid, &prompt);
        }
        loop {
            if let Some(prompt) = self.queue.pop_front() {
                self.prompt(prompt);
            } else if self.ended_input && !self.deaf.contains(&Deaf::Eof) {
                self.log.tell("eof", json!({}));
                match self.occasion(Occasion::Eof, "") {
                    // Its steps have been instead of the exit.
                    Ok(true) => self.deaf.push(Deaf::Eof),
                    _ => self.exit(),
                }
            } else {
                // A turn that is ended here has no steps to be gone on with.
                let _ = self.wait();
            }
        }
    }

    fn exit(&self) -> ! {
        std::process::exit(i32::from(self.last_failed));
    }

    /// SIGTERM ends the client with 143, SIGINT with 0, whatever the player does.
    fn watch_signals(&self) {
        let (log, deaf) = (Arc::clone(&self.log), Arc::clone(&self.deaf_to_sigterm));
        thread::spawn(move || {
            let mut signals = SigSet::empty();
            signals.add(Signal::SIGTERM);
            signals.add(Signal::SIGINT);
            while let Ok(signal) = signals.wait() {
                let ignored = deaf.load(Ordering::SeqCst);
                log.tell(
                    "signal",
                    json!({"name": signal.as_str(), "ignored": ignored}),
                );
                match signal {
                    Signal::SIGINT => std::process::exit(0),
                    _ if ignored => {}
                    _ => std::process::exit(143),
                }
            }
        });
    }

    /// Ignores these, and nothing else.
    pub(crate) fn ignore(&mut self, deaf: &[Deaf]) {
        self.deaf = deaf.to_vec();
        let to_sigterm = deaf.contains(&Deaf::Sigterm);
        self.deaf_to_sigterm.store(to_sigterm, Ordering::SeqCst);
    }

    // ---- what is heard ----

    /// Waits for the next thing that is heard.
    pub(crate) fn wait(&mut self) -> Onward {
        match self.inbox.recv() {
            Ok(heard) => self.heard(heard),
            Err(_) => fail("nothing can be heard"),
        }
    }

    /// Hears what has come meanwhile.
    pub(crate) fn listen(&mut self) -> Onward {
        while let Ok(heard) = self.inbox.try_recv() {
            self.heard(heard)?;
        }
        Ok(())
    }

    /// Hears what comes in this time.
    pub(crate) fn sleep(&mut self, time: Duration) -> Onward {
        let until = std::time::Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if let Ok(heard) = self.inbox.recv_timeout(left) {
                self.heard(heard)?;
            }
        }
    }

    fn heard(&mut self, heard: Heard) -> Onward {
        match heard {
            Heard::End => self.ended_input = true,
            Heard::Released(name) => self.released.push(name),
            Heard::Line(line) => {
                let line = line.trim_ascii();
                if line.is_empty() {
                    return Ok(());
                }
                match serde_json::from_slice::<Value>(line) {
                    Ok(line) => return self.input(&line),
                    Err(_) => fail_reading(&format!(
                        "Error parsing streaming input line (type=unknown, {} chars): SyntaxError",
                        String::from_utf8_lossy(line).encode_utf16().count()
                    )),
                }
            }
        }
        Ok(())
    }

    fn input(&mut self, line: &Value) -> Onward {
        match line["type"].as_str() {
            Some("user") => self.user(line),
            Some("control_request") => {
                let id = line["request_id"].as_str().unwrap_or_default();
                return self.request(id, &line["request"]);
            }
            Some("control_response") => {
                let response = &line["response"];
                self.log.tell("answer", json!({"response": response}));
                if let Some(id) = response["request_id"].as_str() {
                    self.answers.insert(id.to_owned(), response.clone());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn user(&mut self, line: &Value) {
        let role = line["message"]["role"].as_str().unwrap_or("undefined");
        if role != "user" {
            fail_reading(&format!(
                "Error: Expected message role 'user', got '{role}'"
            ));
        }
        let uuid = line["uuid"].as_str().map(str::to_owned);
        if uuid.is_some() && uuid == self.turn.uuid && self.turn.runs() {
            self.log.tell("absorbed", json!({"uuid": uuid}));
            return;
        }
        let queued = self.turn.runs();
        if queued && let Some(uuid) = &uuid {
            let line = self.lines.lifecycle(uuid, "queued");
            self.out.line(&line);
        }
        self.queue.push_back(Prompt {
            uuid,
            content: line["message"]["content"].clone(),
            queued,
        });
    }

    fn request(&mut self, id: &str, request: &Value) -> Onward {
        let reply = match request["subtype"].as_str().unwrap_or_default() {
            "initialize" => {
                id.clone_into(&mut self.asked_ready);
                if !self.occasion(Occasion::Initialize, "")? {
                    let line = self.lines.ready(id);
                    self.out.line(&line);
                }
                return Ok(());
            }
            "interrupt" => return self.interrupt(id),
            "get_status" => self.lines.status_report(id),
            "set_permission_mode" => {
                let mode = request["mode"].as_str().unwrap_or_default();
                mode.clone_into(&mut self.lines.mode);
                Lines::success(id, json!({"mode": mode}))
            }
            "cancel_async_message" => {
                let uuid = request["message_uuid"].as_str().unwrap_or_default();
                let before = self.queue.len();
                self.queue
                    .retain(|prompt| prompt.uuid.as_deref() != Some(uuid));
                let cancelled = self.queue.len() < before;
                if cancelled {
                    let line = self.lines.lifecycle(uuid, "cancelled");
                    self.out.line(&line);
                }
                Lines::success(id, json!({"cancelled": cancelled, "message_uuid": uuid}))
            }
            other => {
                let error = format!("Unsupported control request subtype: {other}");
                let mut line = Lines::refusal(id, &error);
                line["response"]["error_code"] = "unsupported_request".into();
                line
            }
        };
        self.out.line(&reply);
        Ok(())
    }

    fn interrupt(&mut self, id: &str) -> Onward {
        if self.deaf.contains(&Deaf::Interrupt) {
            self.log.tell("interrupt", json!({"ignored": true}));
            return Ok(());
        }
        self.log.tell("interrupt", json!({"ignored": false}));
        if self.occasion(Occasion::Interrupt, "")? {
            return Ok(());
        }
        if self.turn.runs() {
            self.interrupted(Some(id));
            return Err(Over);
        }
        let line = Lines::success(id, json!({"still_queued": []}));
        self.out.line(&line);
        Ok(())
    }

    // ---- turns ----

    /// Does the steps of the rule for an occasion; whether there was one.
    fn occasion(&mut self, on: Occasion, prompt: &str) -> Result<bool, Over> {
        let Some(steps) = self.rule(on, prompt) else {
            return Ok(false);
        };
        self.steps(&steps)?;
        Ok(true)
    }

    fn rule(&mut self, on: Occasion, prompt: &str) -> Option<Vec<Step>> {
        let script = Script::read(&self.script).unwrap_or_else(|error| fail(&error));
        let dir = self.script.parent().map(PathBuf::from).unwrap_or_default();
        let (number, rule) = script.rule(on, prompt, &dir)?;
        self.log.tell("rule", json!({"rule": number}));
        Some(rule.steps.clone())
    }

    fn prompt(&mut self, prompt: Prompt) {
        if let Some(uuid) = &prompt.uuid {
            if self.done.contains(uuid) {
                self.log.tell("absorbed", json!({"uuid": uuid}));
                return self.say_idle();
            }
            if self.transcript.ended.contains(uuid) {
                self.log.tell("absorbed", json!({"uuid": uuid}));
                let line = self.lines.lifecycle(uuid, "completed");
                self.out.line(&line);
                return self.say_idle();
            }
        }
        let text = words(&prompt.content);
        let uuid = prompt.uuid.clone().unwrap_or_else(|| self.lines.uuid());
        self.transcript.user(&uuid, &prompt.content);
        self.turn = Turn::asked(prompt.uuid, text.clone(), prompt.queued);
        let shown: String = text.chars().take(200).collect();
        self.log
            .tell("turn", json!({"uuid": uuid, "prompt": shown}));
        self.play(&text);
        self.done.insert(uuid);
    }

    /// A turn in which an earlier process died. Its line has been in the transcript, and the
    /// client goes on under a uuid of its own.
    fn run_again(&mut self, uuid: String, prompt: &str) {
        self.turn = Turn::asked(Some(uuid.clone()), prompt.to_owned(), true);
        self.turn.own = Some(self.lines.uuid());
        self.log.tell(
            "turn",
            json!({"uuid": uuid, "prompt": prompt, "again": true}),
        );
        self.play(prompt);
        self.done.insert(uuid);
    }

    /// The rule's steps, and what is missing after them.
    fn play(&mut self, prompt: &str) {
        self.no_more = false;
        let done = match self.rule(Occasion::Prompt, prompt) {
            Some(steps) => self.steps(&steps),
            None => Ok(()),
        };
        if done.is_ok() && !self.no_more {
            self.end();
        }
        self.log.tell("turn_done", json!({"uuid": self.turn.uuid}));
    }
}

/// The words of a user line.
fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts = blocks.iter().filter_map(|block| block["text"].as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// As the client ends that was written nonsense to.
fn fail_reading(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(1);
}

/// The script or the machine is wrong, and no test may take that for the client's own doing.
pub fn fail(message: &str) -> ! {
    eprintln!("fake-claude: {message}");
    std::process::exit(70);
}
