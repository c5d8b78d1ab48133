//! What Codex says, as it was recorded, and what it means.

use std::path::Path;

use clsess_claude::turn::{Happening, Outcome};
use serde_json::{Value, json};
use uuid::Uuid;

use super::hooks::{Call, Event, arguments, parse};
use super::prompt::{Why, carried, typed};
use super::sha256::hex;
use super::state::State;
use super::tracker::{Reply, Stopped, Tracker};
use super::transcript::error_in;

const WIRE: Uuid = Uuid::from_u128(1);

/// A Codex that is ready, and what came of all that it says.
struct Heard {
    tracker: Tracker,
    at: u64,
    /// Its transcript says why a turn has failed.
    knows: bool,
    told: Vec<String>,
}

impl Heard {
    fn new() -> Self {
        let mut heard = Self {
            tracker: Tracker::default(),
            at: 0,
            knows: true,
            told: Vec::new(),
        };
        heard.says("idle");
        let mut out = Vec::new();
        heard.tracker.reads(&mut out);
        heard.tell(out);
        assert_eq!(heard.told(), ["ready"]);
        heard
    }

    fn says(&mut self, state: &str) {
        self.at += 1;
        let state = State::read(format!("state={state}:app=codex").as_bytes()).unwrap();
        let mut out = Vec::new();
        let knows = self.knows;
        let why = |_: &Path, turn: &str| knows.then(|| format!("why {turn}"));
        self.tracker.report((state, self.at), why, &mut out);
        self.tell(out);
    }

    fn looks_up(&mut self, last: bool) {
        let knows = self.knows;
        let why = |_: &Path, turn: &str| knows.then(|| format!("why {turn}"));
        let mut out = Vec::new();
        self.tracker.looks_up(why, last, &mut out);
        self.tell(out);
    }

    fn hook(&mut self, name: &str, more: &Value) -> Reply {
        let mut hook = json!({"session_id": Uuid::from_u128(7), "transcript_path": "/t",
            "cwd": "/", "model": "m", "turn_id": "t1", "hook_event_name": name});
        let more = more.as_object().unwrap().clone();
        hook.as_object_mut().unwrap().extend(more);
        let mut out = Vec::new();
        let call = parse(hook.to_string().as_bytes()).unwrap();
        let reply = self.tracker.hook(call, &mut out);
        self.tell(out);
        reply
    }

    fn prompt(&mut self, prompt: &str) -> Reply {
        self.hook("UserPromptSubmit", &json!({ "prompt": prompt }))
    }

    fn stop(&mut self, said: Option<&str>) {
        let reply = self.hook("Stop", &json!({ "last_assistant_message": said }));
        assert_eq!((reply.answer.as_str(), reply.stopped), ("", None));
    }

    fn tell(&mut self, out: Vec<Happening>) {
        let whose = |asked: Option<Uuid>| if asked.is_some() { "ours" } else { "theirs" };
        let told = out.into_iter().filter_map(|it| match it {
            Happening::Ready(_) => Some("ready".to_owned()),
            Happening::Idle => Some("idle".to_owned()),
            Happening::TurnStarted { asked } => Some(format!("{} begins", whose(asked))),
            Happening::TurnEnded { asked, end } => {
                let how = match end.outcome {
                    Outcome::Completed => "completed",
                    Outcome::Failed => "failed",
                    Outcome::Interrupted => "interrupted",
                };
                let error = end.error.map(|error| error.text).unwrap_or_default();
                Some(format!("{} {how} {:?} {error}", whose(asked), end.answer))
            }
            _ => None,
        });
        self.told.extend(told);
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

#[test]
fn an_answer_is_what_stop_says_once_it_is_done() {
    let mut heard = Heard::new();
    heard.tracker.begin(WIRE, "ask");
    heard.says("working");
    assert_eq!(heard.prompt("ask").stopped, None);
    heard.stop(Some(" an\nswer\n"));
    assert_eq!(heard.told(), ["ours begins"]);
    assert!(heard.tracker.facts().is_none());
    heard.says("done");
    assert_eq!(heard.told(), [r#"ours completed " an\nswer\n" "#, "idle"]);
    // Told before what runs, and not of it.
    heard.tracker.begin(WIRE, "again");
    heard.prompt("again");
    heard.says("idle");
    assert_eq!(heard.told(), ["ours begins"]);
    heard.says("working");
    heard.stop(None);
    heard.says("done");
    assert_eq!(heard.told(), [r#"ours completed "" "#, "idle"]);
}

#[test]
fn a_turn_without_an_answer_has_failed_or_was_interrupted() {
    for (state, expected) in [
        ("error", r#"ours failed "" why t1"#),
        ("idle", r#"ours interrupted "" "#),
        (
            "done",
            r#"ours failed "" Codex has ended the turn without an answer"#,
        ),
    ] {
        let mut heard = Heard::new();
        heard.tracker.begin(WIRE, "ask");
        heard.prompt("ask");
        heard.says("working");
        heard.says("blocked");
        heard.says("working");
        assert_eq!(heard.told(), ["ours begins"]);
        heard.says(state);
        assert_eq!(heard.told(), [expected, "idle"]);
    }
}

#[test]
fn why_a_turn_has_failed_is_waited_for() {
    let mut heard = Heard::new();
    let fails = |heard: &mut Heard| {
        heard.knows = false;
        heard.tracker.begin(WIRE, "ask");
        heard.prompt("ask");
        heard.says("working");
        heard.says("error");
        assert_eq!(heard.told(), ["ours begins"]);
        assert_eq!(heard.tracker.failed_in(), Some(Path::new("/t")));
    };
    let (known, unknown) = (
        r#"ours failed "" why t1"#,
        r#"ours failed "" Codex says that the turn has failed"#,
    );
    fails(&mut heard);
    heard.looks_up(false);
    assert!(heard.told().is_empty() && heard.tracker.is_due());
    heard.knows = true;
    heard.looks_up(false);
    assert_eq!(heard.told(), [known, "idle"]);
    assert!(!heard.tracker.is_due() && heard.tracker.facts().is_some());
    // Not for ever, and not when something else comes.
    fails(&mut heard);
    heard.looks_up(true);
    assert_eq!(heard.told(), [unknown, "idle"]);
    fails(&mut heard);
    heard.says("idle");
    assert_eq!(heard.told(), [unknown, "idle"]);
    fails(&mut heard);
    heard.prompt("a person's");
    assert_eq!(heard.told(), [unknown, "theirs begins"]);
    heard.looks_up(true);
    assert!(heard.told().is_empty());
}

#[test]
fn what_is_not_our_prompt_is_stopped_or_somebody_elses() {
    let stopped = |reply: Reply| {
        assert_eq!(reply.stopped.is_some(), reply.answer.contains("block"));
        reply.stopped.map(|(_, why)| why)
    };
    let mut heard = Heard::new();
    heard.tracker.begin(WIRE, "ask");
    heard.tracker.is_alone(true);
    assert_eq!(stopped(heard.prompt("as")), Some(Stopped::Altered));
    heard.tracker.begin(WIRE, "ask");
    heard.tracker.is_alone(false);
    assert_eq!(stopped(heard.prompt("draft ask")), Some(Stopped::Altered));
    heard.tracker.begin(WIRE, "ask");
    heard.tracker.interrupted();
    assert_eq!(stopped(heard.prompt("ask")), Some(Stopped::TakenBack));
    assert_eq!(heard.told(), [""; 0]);
    heard.tracker.begin(WIRE, "ask");
    assert_eq!(stopped(heard.prompt("theirs")), None);
    assert_eq!(stopped(heard.prompt("ask")), Some(Stopped::Early));
    heard.says("working");
    heard.stop(Some("a"));
    heard.says("done");
    assert_eq!(
        heard.told(),
        ["theirs begins", r#"theirs completed "a" "#, "idle"]
    );
}

#[test]
fn a_later_broker_hears_a_report_once_and_sends_a_prompt_once() {
    let mut heard = Heard::new();
    let facts = heard.tracker.facts().unwrap();
    let facts = serde_json::from_value(serde_json::to_value(&facts).unwrap()).unwrap();
    heard.tracker = Tracker::taken_up(facts);
    heard.at = 0;
    heard.tracker.begin(WIRE, "ask");
    heard.says("error");
    heard.tracker.is_unsure();
    assert!(heard.tracker.is_due() && heard.tracker.types_again() && !heard.tracker.is_due());
    assert_eq!(heard.prompt("ask").stopped, None);
    heard.says("working");
    heard.stop(Some("a"));
    heard.says("done");
    assert_eq!(
        heard.told(),
        ["ours begins", r#"ours completed "a" "#, "idle"]
    );
    assert!(heard.prompt("ask").answer.contains("block"));
    assert_eq!(heard.prompt("ask").answer, "");
    assert_eq!(heard.told(), ["theirs begins"]);
}

#[test]
fn prompts_that_would_not_arrive_are_refused() {
    for (prompt, expected) in [
        ("a\n\n", Ok("a")),
        ("a\n\tb  c", Ok("a\n\tb  c")),
        ("/quit", Ok("/quit")),
        (" a", Err(Why::Ends)),
        ("a\n \n", Err(Why::Ends)),
        ("a\u{1b}[201~", Err(Why::Control('\u{1b}'))),
        ("a\r\n", Err(Why::Control('\r'))),
        ("a\0", Err(Why::Control('\0'))),
    ] {
        assert_eq!(carried(prompt), expected, "{prompt:?}");
    }
    assert_eq!(carried(&"a".repeat(1024 * 1024 + 1)), Err(Why::TooLong));
    assert_eq!(typed("a\nb", false), b"\x15\x1b[200~ a\nb \x1b[201~\r");
    assert!(typed("a", true).starts_with(b"\x15\x15"));
}

#[test]
fn hooks_are_read_and_trusted() {
    let call = parse(br#"{"hook_event_name":"PreToolUse","tool_name":"x"}"#).unwrap();
    let (turn_id, event) = (String::new(), Event::Other);
    let (session_id, transcript_path) = (None, None);
    let other = Call {
        session_id,
        transcript_path,
        turn_id,
        event,
    };
    assert_eq!(call, other);
    assert!(parse(b"[]").is_err());
    let arguments = arguments(&["/a b/it's", "hook"]);
    let prompt = r#"hooks.UserPromptSubmit=[{hooks=[{type="command",command="'/a b/it'\\''s' 'hook' || exit 2",timeout=600}]}]"#;
    assert!(arguments.contains(&prompt.to_owned()), "{arguments:?}");
    let line = br#"{"type":"event_msg","payload":{"type":"task_complete","turn_id":"t","last_agent_message":null,"error":{"message":"no"}}}"#;
    assert_eq!(error_in(line, "t").as_deref(), Some("no"));
    assert_eq!(error_in(line, "u"), None);
}

#[test]
fn sums_are_those_of_the_standard() {
    for (text, sum) in [
        (
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ] {
        assert_eq!(hex(text.as_bytes()), sum);
    }
}
