//! The lines of a true turn: those that the real client printed, with other names and texts.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::script::{Changes, ErrorName};

macro_rules! recordings {
    ($($name:ident)*) => {
        /// What the real client printed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, reason = "the names of files")]
        enum Recording { $($name),* }

        impl Recording {
            fn text(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!(
                        "../../../crates/claude/fixtures/2.1.328/", stringify!($name), ".ndjson"
                    ))),*
                }
            }
        }
    };
}

recordings! {
    control interrupt_stream not_logged_in permission_deny permission_deny_interrupt plain
    retry_429 retry_500 retry_529 subagent_background unauthorized unknown_resume
}

/// What each line of the process needs to know.
#[derive(Debug)]
pub struct Lines {
    /// The conversation.
    pub session: String,
    /// What the client calls itself.
    pub version: String,
    /// The permission mode, as the client names it.
    pub mode: String,
    /// The names that were given.
    numbers: u64,
    results: u64,
    cost: f64,
    read: HashMap<Recording, Vec<Value>>,
}

/// One message of the model.
#[derive(Clone, Debug)]
pub struct Message {
    /// `msg_0001`.
    pub id: String,
    /// The number of its next block.
    pub index: u64,
}

impl Lines {
    /// For a process.
    pub fn new(session: String, version: String, mode: String) -> Self {
        Self {
            session,
            version,
            mode,
            numbers: 0,
            results: 0,
            cost: 0.0,
            read: HashMap::new(),
        }
    }

    /// A name that nothing else has.
    pub fn uuid(&mut self) -> String {
        self.numbers += 1;
        let (process, number) = (std::process::id(), self.numbers);
        format!("{process:08x}-fa6e-4000-8000-{number:012x}")
    }

    /// The first recorded line that is such, under new names.
    fn like(&mut self, recording: Recording, such: impl Fn(&Value) -> bool) -> Value {
        let lines = self.read.entry(recording).or_insert_with(|| {
            let lines = recording.text().lines();
            lines
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect()
        });
        let found = lines.iter().find(|line| such(line)).cloned();
        let mut line = found.unwrap_or_else(|| json!({"type": "missing in the recording"}));
        if line["uuid"].is_string() {
            line["uuid"] = self.uuid().into();
        }
        if line["session_id"].is_string() {
            line["session_id"] = self.session.as_str().into();
        }
        line
    }

    // ---- control ----

    /// The good answer to `initialize`.
    pub fn ready(&mut self, request_id: &str) -> Value {
        let is = |line: &Value| line["response"]["request_id"] == "clsess-initialize";
        let mut line = self.like(Recording::control, is);
        line["response"]["request_id"] = request_id.into();
        let answer = &mut line["response"]["response"];
        answer["pid"] = std::process::id().into();
        answer["claude_code_version"] = self.version.as_str().into();
        answer["current_permission_mode"] = self.mode.as_str().into();
        line
    }

    /// The answer to `get_status`.
    pub fn status_report(&mut self, request_id: &str) -> Value {
        let is = |line: &Value| line["response"]["request_id"] == "clsess-status";
        let mut line = self.like(Recording::control, is);
        line["response"]["request_id"] = request_id.into();
        line
    }

    /// A good answer to a request.
    pub fn success(request_id: &str, response: Value) -> Value {
        let mut line = json!({"type": "control_response", "response": {
            "subtype": "success", "request_id": request_id,
        }});
        line["response"]["response"] = response;
        line
    }

    /// A bad answer to a request.
    pub fn refusal(request_id: &str, error: &str) -> Value {
        json!({"type": "control_response", "response": {
            "subtype": "error", "request_id": request_id, "error": error,
        }})
    }

    /// A question.
    pub fn question(request_id: &str, request: &Value) -> Value {
        json!({"type": "control_request", "request_id": request_id, "request": request})
    }

    // ---- the turn ----

    /// `session_state_changed`.
    pub fn state(&mut self, state: &str) -> Value {
        let is = |line: &Value| line["subtype"] == "session_state_changed";
        let mut line = self.like(Recording::plain, is);
        line["state"] = state.into();
        line
    }

    /// `command_lifecycle`.
    pub fn lifecycle(&mut self, uuid: &str, state: &str) -> Value {
        let mut line = self.like(Recording::plain, |line| line["type"] == "command_lifecycle");
        line["command_uuid"] = uuid.into();
        line["state"] = state.into();
        line
    }

    /// `system/init`.
    pub fn init(&mut self, uuid: Option<&str>) -> Value {
        let mut line = self.like(Recording::plain, |line| line["subtype"] == "init");
        let cwd = std::env::current_dir().unwrap_or_default();
        line["cwd"] = cwd.to_string_lossy().into();
        line["original_cwd"] = line["cwd"].clone();
        line["permissionMode"] = self.mode.as_str().into();
        line["claude_code_version"] = self.version.as_str().into();
        name(&mut line, uuid);
        line
    }

    /// `system/status`, `requesting`.
    pub fn requesting(&mut self, uuid: Option<&str>) -> Value {
        let mut line = self.like(Recording::plain, |line| line["subtype"] == "status");
        name(&mut line, uuid);
        line
    }

    /// A new message.
    pub fn message(&mut self) -> Message {
        self.numbers += 1;
        Message {
            id: format!("msg_{:04}", self.numbers),
            index: 0,
        }
    }

    /// `message_start`. Only the turn's first one names the user line.
    pub fn message_start(&mut self, message: &Message, uuid: Option<&str>) -> Value {
        let mut line = self.event_line("message_start", message);
        line["event"]["message"]["id"] = message.id.as_str().into();
        name(&mut line, uuid);
        line
    }

    /// `content_block_start`, `content_block_delta`, `content_block_stop`, `message_delta`,
    /// `message_stop`, with these fields.
    pub fn event(&mut self, kind: &str, message: &Message, fields: Value) -> Value {
        let mut line = self.event_line(kind, message);
        if line["event"]["index"].is_number() {
            line["event"]["index"] = message.index.into();
        }
        if let (Value::Object(event), Value::Object(fields)) = (&mut line["event"], fields) {
            event.extend(fields);
        }
        line
    }

    fn event_line(&mut self, kind: &str, message: &Message) -> Value {
        let mut line = self.like(Recording::plain, |line| line["event"]["type"] == kind);
        line["api_message_id"] = message.id.as_str().into();
        line
    }

    /// The end of a message that was cut by an interrupt.
    pub fn abandoned(&mut self, message: &Message) -> [Value; 2] {
        let mut last = self.like(Recording::interrupt_stream, |line| {
            line["event"]["type"] == "message_delta"
        });
        last["api_message_id"] = message.id.as_str().into();
        let mut stop = self.event("message_stop", message, json!({}));
        stop["abandoned_blocks"] =
            json!({"api_message_id": message.id, "from_block_index": message.index + 1});
        [last, stop]
    }

    /// A finished block.
    pub fn assistant(&mut self, message: &Message, block: &Value, uuid: Option<&str>) -> Value {
        let mut line = self.like(Recording::control, |line| line["type"] == "assistant");
        line["message"]["id"] = message.id.as_str().into();
        line["message"]["content"] = json!([block]);
        name(&mut line, uuid);
        line
    }

    /// A tool's result.
    pub fn tool_result(&mut self, tool_use_id: &str, content: &str, is_error: bool) -> Value {
        let mut line = self.like(Recording::permission_deny, |line| line["type"] == "user");
        let mut block = json!({
            "type": "tool_result", "content": content, "tool_use_id": tool_use_id,
        });
        if is_error {
            block["is_error"] = true.into();
        }
        line["message"]["content"] = json!([block]);
        line["tool_use_result"] = content.into();
        line["tool_result_meta"] = json!([{"id": tool_use_id}]);
        line
    }

    /// `[Request interrupted by user]`, or `… for tool use]`.
    pub fn interrupted(&mut self, tool: bool) -> Value {
        let mut line = self.like(Recording::interrupt_stream, |line| line["type"] == "user");
        if tool {
            let text = "[Request interrupted by user for tool use]";
            line["message"]["content"][0]["text"] = text.into();
        }
        line
    }

    /// What the model is told of a tool that was rejected for good.
    pub fn rejection(&mut self) -> String {
        let line = self.like(Recording::permission_deny_interrupt, |line| {
            line["type"] == "user"
        });
        let text = &line["message"]["content"][0]["content"];
        text.as_str().unwrap_or_default().to_owned()
    }

    // ---- results ----

    /// Of a turn that went well.
    pub fn result(&mut self, uuid: Option<&str>, text: &str, messages: u64) -> Value {
        let mut line = self.like(Recording::control, |line| line["type"] == "result");
        line["result"] = text.into();
        line["num_turns"] = messages.into();
        self.account(&mut line, uuid);
        line
    }

    /// Of a turn that was interrupted while it spoke, or while a tool waited.
    pub fn result_interrupted(&mut self, uuid: Option<&str>, tool: bool) -> Value {
        let recording = if tool {
            Recording::permission_deny_interrupt
        } else {
            Recording::interrupt_stream
        };
        let mut line = self.like(recording, |line| line["type"] == "result");
        self.account(&mut line, uuid);
        line
    }

    /// `api_retry` lines, the client's own message, and the result of a turn that failed.
    pub fn failed(
        &mut self,
        error: ErrorName,
        text: Option<&str>,
        uuid: Option<&str>,
    ) -> (Vec<Value>, Value, Value) {
        let recording = match error {
            ErrorName::RateLimited => Recording::retry_429,
            ErrorName::Overloaded => Recording::retry_529,
            ErrorName::Unauthorized => Recording::unauthorized,
            ErrorName::NotLoggedIn => Recording::not_logged_in,
            ErrorName::Server => Recording::retry_500,
        };
        let retries = (1..)
            .map(|attempt| {
                self.like(recording, |line| {
                    line["subtype"] == "api_retry" && line["attempt"] == attempt
                })
            })
            .take_while(|line| line["subtype"] == "api_retry")
            .collect();
        let mut said = self.like(recording, |line| line["type"] == "assistant");
        said["message"]["id"] = self.uuid().into();
        name(&mut said, uuid);
        let mut result = self.like(recording, |line| line["type"] == "result");
        if let Some(text) = text {
            said["message"]["content"][0]["text"] = text.into();
            result["result"] = text.into();
        }
        self.account(&mut result, uuid);
        (retries, said, result)
    }

    /// The origin of a turn that nobody asked for.
    pub fn origin(&mut self, kind: &str) -> Value {
        let mut line = self.like(Recording::subagent_background, |line| {
            line["origin"].is_object()
        });
        line["origin"]["kind"] = kind.into();
        line["origin"].take()
    }

    /// The result of a `--resume` of what does not exist.
    pub fn unknown_session(&mut self) -> Value {
        let mut line = self.like(Recording::unknown_resume, |line| line["type"] == "result");
        let why = format!("No conversation found with session ID: {}", self.session);
        line["errors"] = json!([why]);
        line
    }

    /// The numbers that run on: the conversation's cost, and the results of the process.
    fn account(&mut self, line: &mut Value, uuid: Option<&str>) {
        self.cost += line["total_cost_usd"].as_f64().unwrap_or(0.0);
        line["total_cost_usd"] = self.cost.into();
        line["result_index"] = self.results.into();
        self.results += 1;
        name(line, uuid);
    }
}

/// Names the user line that a line belongs to, or none.
fn name(line: &mut Value, uuid: Option<&str>) {
    let Value::Object(line) = line else { return };
    let both = line.contains_key("user_message_uuid");
    line.remove("user_message_uuid");
    line.remove("user_message_uuids");
    if let Some(uuid) = uuid {
        line.insert("user_message_uuids".to_owned(), json!([uuid]));
        if both {
            line.insert("user_message_uuid".to_owned(), uuid.into());
        }
    }
}

/// Makes a true line another one.
pub fn change(line: &mut Value, changes: &Changes) {
    if let Some(uuid) = &changes.uuid {
        name(line, Some(uuid.as_str()).filter(|uuid| !uuid.is_empty()));
    }
    let Value::Object(line) = line else { return };
    line.extend(changes.set.clone());
    for field in &changes.remove {
        line.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_in_its_recording() {
        let mut lines = Lines::new("s".into(), "1.2.3".into(), "default".into());
        let message = lines.message();
        let mut all = vec![
            lines.ready("r"),
            lines.status_report("r"),
            lines.state("idle"),
            lines.lifecycle("u", "queued"),
            lines.init(Some("u")),
            lines.requesting(None),
            lines.message_start(&message, Some("u")),
            lines.assistant(&message, &json!({}), None),
            lines.tool_result("t", "x", true),
            lines.interrupted(true),
            lines.result(Some("u"), "x", 1),
            lines.result_interrupted(Some("u"), true),
            lines.result_interrupted(Some("u"), false),
            lines.unknown_session(),
            lines.origin("task-notification"),
            lines.rejection().into(),
        ];
        all.extend(lines.abandoned(&message));
        for kind in [
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ] {
            all.push(lines.event(kind, &message, json!({})));
        }
        for error in [
            ErrorName::RateLimited,
            ErrorName::Overloaded,
            ErrorName::Unauthorized,
            ErrorName::NotLoggedIn,
            ErrorName::Server,
        ] {
            let (retries, said, result) = lines.failed(error, None, Some("u"));
            let expected = if error == ErrorName::NotLoggedIn {
                0
            } else {
                2
            };
            assert_eq!(retries.len(), expected);
            all.extend([said, result]);
        }
        for line in &all {
            let text = line.to_string();
            assert!(!text.contains("missing in the recording"), "{text}");
            assert!(!text.contains("00000001-0000"), "{text}");
            assert_ne!(text, "\"\"");
        }
    }
}
