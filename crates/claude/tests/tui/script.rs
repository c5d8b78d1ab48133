//! Scripts for the tracker: lines in, lines out.

use std::collections::BTreeMap;

use clsess_claude::registry::registered;
use clsess_claude::tui::status::Kind;
use clsess_claude::tui::{Reply, Status, Tracker, Verdict, hooks};
use clsess_claude::turn::Happening;
use serde_json::{Value, json};
use uuid::Uuid;

/// `1` is 00000001-0000-4000-8000-000000000000.
pub fn id(number: &str) -> Uuid {
    let number: u128 = number.parse().unwrap_or_default();
    Uuid::from_u128((number << 96) | 0x4000_8000_0000_0000_0000)
}

fn number(uuid: Uuid) -> String {
    (uuid.as_u128() >> 96).to_string()
}

/// A tracker, and what may still happen to the turns it was told of.
pub struct Player {
    tracker: Tracker,
    /// Begun and not ended, and whether they were accepted.
    open: BTreeMap<Uuid, bool>,
    questions: Vec<String>,
    unasked: bool,
}

/// Scripts, each behind its name, with what came of each line in the place of what is there.
pub fn play(scripts: &str) -> String {
    let mut player = Player::default();
    let mut played = Vec::new();
    for line in scripts.lines().filter(|line| !line.starts_with('>')) {
        played.push(line.to_owned());
        match line {
            "" => player = Player::default(),
            line if line.starts_with('#') => {}
            line => played.extend(player.line(line)),
        }
    }
    played.join("\n") + "\n"
}

/// One whose conversation has begun.
fn begun(mut tracker: Tracker) -> Tracker {
    let call = json!({"hook_event_name": "SessionStart", "source": "startup"}).to_string();
    let call = hooks::parse(call.as_bytes()).unwrap();
    let mut out = Vec::new();
    tracker.hook("start", call, &mut out);
    assert!(out.is_empty());
    tracker
}

impl Default for Player {
    fn default() -> Self {
        Self {
            tracker: begun(Tracker::default()),
            open: BTreeMap::new(),
            questions: Vec::new(),
            unasked: false,
        }
    }
}

impl Player {
    /// Plays a line.
    pub fn line(&mut self, line: &str) -> Vec<String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut out = Vec::new();
        let mut lines = Vec::new();
        match verb {
            "turn" => {
                let words: Vec<&str> = rest.splitn(3, ' ').collect();
                let [turn, prompt, text] = words[..] else {
                    panic!("no turn: {rest}")
                };
                for line in [
                    "idle".to_owned(),
                    format!("begin {turn} {text}"),
                    format!("prompt {prompt} {text}"),
                    "working".to_owned(),
                ] {
                    self.line(&line);
                }
            }
            "others" => self.tracker = begun(Tracker::new(true)),
            "no-hooks" => self.tracker = Tracker::default(),
            "begin" => {
                let (turn, prompt) = rest.split_once(' ').unwrap_or((rest, ""));
                let known = self.open.contains_key(&id(turn));
                let took = self.tracker.begin(id(turn), &text(prompt));
                match took {
                    true if !known => drop(self.open.insert(id(turn), false)),
                    true => {}
                    false => lines.push("> refused".to_owned()),
                }
            }
            "withdraw" => {
                self.tracker.withdraw(id(rest));
                if self.open.get(&id(rest)) == Some(&false) {
                    self.open.remove(&id(rest));
                }
            }
            "alone" => self.tracker.is_alone(true),
            "take-up" => {
                let (turn, prompt) = rest.split_once(' ').unwrap_or((rest, ""));
                self.tracker.take_up(id(turn), Some(id(prompt).to_string()));
                self.open.insert(id(turn), true);
            }
            "esc" => self.tracker.interrupted(),
            "released" => self.tracker.released(rest, &mut out),
            "overdue" => {
                self.tracker.overdue(&mut out);
                assert!(!self.tracker.is_due());
            }
            "gone" => self.tracker.gone_with_results(&mut out),
            "registry" => {
                let entry = json!({"pid": 1, "version": "2.1.197", "status": rest});
                let entry = registered(entry.to_string().as_bytes()).unwrap();
                self.tracker.registry(&entry, &mut out);
            }
            "idle" | "working" | "done" | "error" | "blocked" | "auth" | "clear" => {
                self.tracker.status(&status(verb, rest), &mut out);
            }
            _ => lines.extend(self.hook(verb, rest, &mut out)),
        }
        for happening in &out {
            self.watch(happening);
        }
        lines.extend(out.iter().map(|happening| format!("> {}", show(happening))));
        self.same();
        if self.tracker.is_due() {
            lines.push("> (due)".to_owned());
        }
        lines
    }

    /// A hook: its event, `@agent` or nothing, the prompt's number, and what it is about.
    fn hook(&mut self, verb: &str, rest: &str, out: &mut Vec<Happening>) -> Option<String> {
        let mut words = rest.split(' ').peekable();
        let agent = words.next_if(|word| word.starts_with('@'));
        let prompt = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let after = |at: usize| text(&words.get(at..).unwrap_or_default().join(" "));
        let (event, fields) = match verb {
            "prompt" => ("UserPromptSubmit", json!({"prompt": after(0)})),
            "report" => (
                "UserPromptSubmit",
                json!({"prompt": after(0), "source": "system"}),
            ),
            "display" | "last" => (
                "MessageDisplay",
                json!({"message_id": word(0), "index": word(1).parse::<u64>().unwrap_or(0),
                    "final": verb == "last", "delta": after(2)}),
            ),
            "stop" => (
                "Stop",
                json!({"last_assistant_message": after(0), "background_tasks": []}),
            ),
            "failure" => (
                "StopFailure",
                json!({"error": word(0), "last_assistant_message": after(1)}),
            ),
            "tool" => (
                "PreToolUse",
                json!({"tool_use_id": word(0), "tool_name": word(1), "tool_input": {"command": after(2)}}),
            ),
            "tool-done" => ("PostToolUse", json!({"tool_use_id": word(0)})),
            "tools-done" => (
                "PostToolBatch",
                json!({"tool_calls": words.iter().map(|id| json!({"tool_use_id": id})).collect::<Vec<_>>()}),
            ),
            "ask" => (
                "PermissionRequest",
                json!({"tool_name": word(1), "tool_input": {"command": after(2)}}),
            ),
            "agent" => ("SubagentStart", json!({"agent_id": word(0)})),
            "agent-done" => ("SubagentStop", json!({"agent_id": word(0)})),
            "session" => (
                "SessionStart",
                json!({"session_id": id(word(0)), "source": "clear"}),
            ),
            other => panic!("no such line: {other}"),
        };
        let mut body = json!({"hook_event_name": event, "prompt_id": id(prompt)});
        if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
            body.extend(fields);
            body.extend(agent.map(|agent| ("agent_id".to_owned(), json!(agent[1..]))));
        }
        let hook = hooks::parse(body.to_string().as_bytes()).unwrap();
        let held = if verb == "ask" { word(0) } else { "h" };
        match self.tracker.hook(held, hook, out) {
            Reply::Nothing => None,
            Reply::Held => Some("> held".to_owned()),
            Reply::Prompt(verdict) => {
                if let Verdict::Altered(uuid) | Verdict::Early(uuid) = verdict {
                    assert_eq!(self.open.remove(&uuid), Some(false));
                }
                Some(match verdict {
                    Verdict::Ours(uuid) => format!("> ours {}", number(uuid)),
                    Verdict::Altered(uuid) => format!("> altered {}", number(uuid)),
                    Verdict::Again => "> again".to_owned(),
                    Verdict::Early(uuid) => format!("> early {}", number(uuid)),
                    Verdict::Theirs => "> theirs".to_owned(),
                })
            }
        }
    }

    /// Whatever comes: in the end nothing is open that was accepted.
    pub fn rest(&mut self) {
        self.line("done");
        self.line("overdue");
        assert!(
            self.open.values().all(|accepted| !accepted),
            "{:?}",
            self.open
        );
        assert!(!self.unasked && self.questions.is_empty());
    }

    fn same(&self) {
        let mut open: Vec<_> = self.tracker.open().collect();
        open.sort_unstable();
        assert!(open.iter().eq(self.open.keys()), "{open:?} {:?}", self.open);
    }

    /// A turn that something happens to was begun, and has not ended; each ends once.
    fn watch(&mut self, happening: &Happening) {
        let asked = match happening {
            Happening::TurnStarted { asked }
            | Happening::MessageStart { asked, .. }
            | Happening::Text { asked, .. }
            | Happening::Said { asked, .. }
            | Happening::Tool { asked, .. }
            | Happening::ToolResult { asked, .. }
            | Happening::TurnEnded { asked, .. } => *asked,
            Happening::Accepted { uuid, .. } | Happening::Begun { uuid } => Some(*uuid),
            _ => None,
        };
        if let Some(uuid) = asked {
            assert!(self.open.contains_key(&uuid), "not open: {happening:?}");
        }
        match happening {
            Happening::Accepted { uuid, .. } => {
                assert_eq!(self.open.insert(*uuid, true), Some(false), "accepted twice");
            }
            Happening::TurnStarted { asked: None } => {
                assert!(!std::mem::replace(&mut self.unasked, true), "begun twice");
            }
            Happening::TurnEnded { asked: None, .. } => {
                assert!(std::mem::take(&mut self.unasked), "ended and not begun");
            }
            Happening::TurnEnded {
                asked: Some(uuid), ..
            } => {
                assert_eq!(self.open.remove(uuid), Some(true), "ended unaccepted");
            }
            Happening::Question(question) => {
                self.questions.push(question.line.request_id.clone());
            }
            Happening::QuestionGone { request_id } => {
                let at = self.questions.iter().position(|it| it == request_id);
                self.questions.remove(at.expect("gone before it was told"));
            }
            Happening::Idle => assert!(!self.unasked && !self.open.values().any(|it| *it)),
            _ => {}
        }
    }
}

fn status(verb: &str, rest: &str) -> Status {
    let message = rest.to_owned();
    match verb {
        "idle" => Status::Idle,
        "working" => Status::Working,
        "done" => Status::Done,
        "error" => Status::Error { message },
        "clear" => Status::Clear,
        "auth" => Status::Blocked {
            kind: Kind::Auth,
            message,
        },
        _ => Status::Blocked {
            kind: Kind::Permission,
            message,
        },
    }
}

/// `|` is a newline, as a line has none.
fn text(text: &str) -> String {
    text.replace('|', "\n")
}

fn show(happening: &Happening) -> String {
    let of = |asked: &Option<Uuid>| asked.map_or_else(|| "-".to_owned(), number);
    let line = match happening {
        Happening::Ready(_) => "ready".to_owned(),
        Happening::Version(version) => format!("version {version}"),
        Happening::Accepted { uuid, .. } => format!("accepted {}", number(*uuid)),
        Happening::Begun { uuid } => format!("begun {}", number(*uuid)),
        Happening::TurnStarted { asked } => format!("[{}] started", of(asked)),
        Happening::MessageStart { asked, again } => {
            format!(
                "[{}] message{}",
                of(asked),
                if *again { " again" } else { "" }
            )
        }
        Happening::Text { asked, delta } => format!("[{}] text {delta}", of(asked)),
        Happening::Said { asked, text } => format!("[{}] said {text}", of(asked)),
        Happening::Tool {
            asked,
            subagent,
            id,
            ..
        } => {
            format!(
                "[{}] tool {id}{}",
                of(asked),
                if *subagent { " of an agent" } else { "" }
            )
        }
        Happening::ToolResult {
            asked,
            id,
            is_error,
            ..
        } => {
            format!(
                "[{}] result {id}{}",
                of(asked),
                if *is_error { " failed" } else { "" }
            )
        }
        Happening::Question(question) => format!(
            "[{}] question {} {:?} of {:?}: {} {}",
            of(&question.asked),
            question.line.request_id,
            question.kind,
            question.line.tool_use_id.as_deref().unwrap_or_default(),
            question.line.tool,
            question.line.description.as_deref().unwrap_or_default(),
        ),
        Happening::QuestionGone { request_id } => format!("gone {request_id}"),
        Happening::Conversation { id } => format!("conversation {}", number(*id)),
        Happening::TurnEnded { asked, end } => {
            let error = end.error.as_ref();
            let error = error.map(|error| format!(" {} {:?}", error.kind.name(), error.status));
            let elsewhere = end
                .known_already
                .then(|| end.prompt_id.map_or_else(String::new, number));
            let elsewhere = elsewhere.map(|prompt| format!(" in the transcript of {prompt}"));
            format!(
                "[{}] ended {:?}{}{}{}{}: {} of {:?}",
                of(asked),
                end.outcome,
                error.unwrap_or_default(),
                elsewhere.unwrap_or_default(),
                if end.corrected { " corrected" } else { "" },
                match end.continued {
                    0 => String::new(),
                    times => format!(" continued {times}"),
                },
                end.answer,
                end.texts,
            )
        }
        Happening::Idle => "idle".to_owned(),
        Happening::Running => "running".to_owned(),
        other => format!("{other:?}"),
    };
    line.replace('\n', "|")
}
