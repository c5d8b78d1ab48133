//! The conversation on disk: enough of it that it can be resumed, and read by the broker.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

/// A transcript.
#[derive(Debug)]
pub struct Transcript {
    path: PathBuf,
    file: Option<File>,
    session: String,
    /// User lines whose turn had ended when this process began.
    pub ended: BTreeSet<String>,
    /// The last user line, if its turn had not.
    pub open: Option<(String, String)>,
    /// The last user line, which the next one goes on from.
    tip: Option<String>,
}

impl Transcript {
    /// Of this session in this directory, with what is in it.
    pub fn of(session: &str) -> Self {
        let cwd = std::env::current_dir().unwrap_or_default();
        let dash = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let project: String = cwd.to_string_lossy().chars().map(dash).collect();
        let config = std::env::var_os("CLAUDE_CONFIG_DIR").map(PathBuf::from);
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".claude");
        let path = config
            .unwrap_or_else(home)
            .join("projects")
            .join(project)
            .join(format!("{session}.jsonl"));
        let mut transcript = Self {
            path,
            file: None,
            session: session.to_owned(),
            ended: BTreeSet::new(),
            open: None,
            tip: None,
        };
        transcript.load();
        transcript
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.path.is_file()
    }

    fn load(&mut self) {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if line["type"] == "user" && line["promptId"].is_string() {
                self.tip = Some(text(&line["uuid"]));
                self.open = Some((text(&line["uuid"]), text(&line["message"]["content"])));
                continue;
            }
            let said = text(&line["message"]["content"][0]["text"]);
            let reason = &line["message"]["stop_reason"];
            if reason == "end_turn"
                || reason == "stop_sequence"
                || said.starts_with("[Request interrupted")
            {
                self.ended.extend(self.open.take().map(|open| open.0));
            }
        }
    }

    /// A prompt.
    pub fn user(&mut self, uuid: &str, prompt: &Value) {
        let parent = self.tip.replace(uuid.to_owned());
        self.write(json!({
            "type": "user", "uuid": uuid, "parentUuid": parent, "promptId": format!("prompt of {uuid}"),
            "message": {"role": "user", "content": prompt},
        }));
    }

    /// A block of an answer. The file tells the stop reason where the stream does not.
    pub fn assistant(&mut self, message: &Value, stop_reason: &str) {
        let mut message = message.clone();
        message["stop_reason"] = stop_reason.into();
        self.write(json!({"type": "assistant", "message": message}));
    }

    /// A line that the client puts into the conversation by itself.
    pub fn other(&mut self, line: &Value) {
        self.write(json!({"type": "user", "message": line["message"]}));
    }

    fn write(&mut self, mut line: Value) {
        line["isSidechain"] = false.into();
        line["sessionId"] = self.session.as_str().into();
        if self.file.is_none() {
            if let Some(dir) = self.path.parent() {
                let _ = std::fs::create_dir_all(dir);
            }
            let mut options = OpenOptions::new();
            self.file = options.append(true).create(true).open(&self.path).ok();
        }
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(format!("{line}\n").as_bytes())
        {
            eprintln!("fake-claude: the transcript: {error}");
        }
    }
}
