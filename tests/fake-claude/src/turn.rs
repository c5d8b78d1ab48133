//! The parts of a true turn, in the order in which the real client prints them.

use serde_json::{Value, json};

use crate::lines::{Lines, Message, change};
use crate::player::{Onward, Over, Pending, Player};
use crate::script::{Ask, Changes, FullFailing, Tool, Unasked, Words};

/// How far a turn has come.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// The user line; none for a turn that nobody asked for.
    pub uuid: Option<String>,
    /// The uuid that a resumed client goes on under.
    pub own: Option<String>,
    prompt: String,
    queued: bool,
    begun: bool,
    /// The user line was named in an event, and in a block.
    named: (bool, bool),
    /// The message that is open, and the text of its open block.
    message: Option<Message>,
    block: Option<String>,
    /// Messages of the model.
    messages: u64,
    last_text: String,
    denials: Vec<Value>,
    /// The state of the user line at the turn's end.
    failed: bool,
    resulted: bool,
    over: bool,
    idle: bool,
}

impl Turn {
    /// A turn of a user line.
    pub fn asked(uuid: Option<String>, prompt: String, queued: bool) -> Self {
        Self {
            uuid,
            prompt,
            queued,
            ..Self::default()
        }
    }

    /// Whether an interrupt would end it.
    pub fn runs(&self) -> bool {
        (self.uuid.is_some() || self.begun) && !self.resulted
    }

    /// The user line, for the first line that may name it.
    fn name_once(&mut self, block: bool) -> Option<String> {
        let named = if block {
            &mut self.named.1
        } else {
            &mut self.named.0
        };
        if std::mem::replace(named, true) {
            None
        } else {
            self.uuid.clone()
        }
    }
}

impl Player {
    // ---- states ----

    pub(crate) fn say_state(&mut self, state: &str) {
        self.busy = state != "idle";
        if self.tells_state {
            let line = self.lines.state(state);
            self.out.line(&line);
        }
    }

    pub(crate) fn say_idle(&mut self) {
        if self.queue.is_empty() {
            self.say_state("idle");
        }
    }

    pub(crate) fn say_lifecycle(&mut self, uuid: Option<&str>, state: &str) {
        if let Some(uuid) = uuid {
            let line = self.lines.lifecycle(uuid, state);
            self.out.line(&line);
        }
    }

    // ---- the beginning ----

    pub(crate) fn begin(&mut self) {
        if std::mem::replace(&mut self.turn.begun, true) {
            return;
        }
        if !self.busy {
            self.say_state("running");
        }
        let uuid = self.turn.uuid.clone();
        if !self.turn.queued {
            self.say_lifecycle(uuid.as_deref(), "queued");
        }
        let lived = self.turn.own.clone().or_else(|| uuid.clone());
        self.say_lifecycle(lived.as_deref(), "started");
        self.say_init();
        let line = self.lines.requesting(uuid.as_deref());
        self.out.line(&line);
    }

    pub(crate) fn say_init(&mut self) {
        let line = self.lines.init(self.turn.uuid.as_deref());
        self.out.line(&line);
    }

    // ---- messages ----

    fn open_message(&mut self) -> Message {
        self.begin();
        if let Some(message) = &self.turn.message {
            return message.clone();
        }
        let message = self.lines.message();
        let uuid = self.turn.name_once(false);
        let line = self.lines.message_start(&message, uuid.as_deref());
        self.out.line(&line);
        self.turn.message = Some(message.clone());
        self.turn.messages += 1;
        message
    }

    fn event(&mut self, kind: &str, fields: Value) {
        if let Some(message) = &self.turn.message {
            let line = self.lines.event(kind, message, fields);
            self.out.line(&line);
        }
    }

    /// A piece of the text block, which is opened when there is none.
    pub(crate) fn delta(&mut self, text: &str) {
        self.open_message();
        if self.turn.block.is_none() {
            let block = json!({"content_block": {"type": "text", "text": ""}});
            self.event("content_block_start", block);
        }
        self.turn.block.get_or_insert_default().push_str(text);
        let delta = json!({"delta": {"type": "text_delta", "text": text}});
        self.event("content_block_delta", delta);
    }

    /// The finished block; `reason` is for the transcript.
    fn block(&mut self, block: &Value, reason: &str) {
        let Some(message) = self.turn.message.clone() else {
            return;
        };
        let uuid = self.turn.name_once(true);
        let line = self.lines.assistant(&message, block, uuid.as_deref());
        self.transcript.assistant(&line["message"], reason);
        self.out.line(&line);
    }

    fn end_block(&mut self) {
        self.event("content_block_stop", json!({}));
        self.turn.block = None;
        if let Some(message) = &mut self.turn.message {
            message.index += 1;
        }
    }

    pub(crate) fn end_text(&mut self, reason: &str) {
        if let Some(text) = self.turn.block.clone() {
            self.block(&json!({"type": "text", "text": text}), reason);
            self.turn.last_text = text;
            self.end_block();
        }
    }

    fn end_message(&mut self, reason: &str) {
        self.end_text(reason);
        let delta = json!({"delta": {"stop_reason": reason, "stop_sequence": null}});
        self.event("message_delta", delta);
        self.event("message_stop", json!({}));
        self.turn.message = None;
    }

    pub(crate) fn say(&mut self, words: &Words) -> Onward {
        let (text, deltas) = words.pieces();
        if deltas.is_empty() && self.turn.block.is_none() {
            // as a client that does not stream: the block is all
            self.begin();
            self.turn.message = Some(self.lines.message());
            self.turn.messages += 1;
            self.block(&json!({"type": "text", "text": text}), "end_turn");
            self.turn.last_text = text;
            self.turn.message = None;
            return Ok(());
        }
        for delta in &deltas {
            self.delta(delta);
            self.listen()?;
        }
        self.end_message("end_turn");
        Ok(())
    }

    pub(crate) fn think(&mut self, text: &str) {
        self.open_message();
        let block = json!({"content_block": {"type": "thinking", "thinking": "", "signature": ""}});
        self.event("content_block_start", block);
        let delta = json!({"delta": {"type": "thinking_delta", "thinking": text}});
        self.event("content_block_delta", delta);
        let block = json!({"type": "thinking", "thinking": text, "signature": "ZmFrZQ"});
        self.block(&block, "end_turn");
        self.end_block();
    }

    // ---- tools and questions ----

    /// The message that calls a tool; what was said in the same message stays in it.
    fn call(&mut self, name: &str, input: &Value) -> String {
        self.open_message();
        self.end_text("tool_use");
        let id = format!("toolu_{}", self.lines.uuid());
        let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
        self.event("content_block_start", json!({"content_block": block}));
        let delta = json!({"type": "input_json_delta", "partial_json": input.to_string()});
        self.event("content_block_delta", json!({"delta": delta}));
        let block = json!({"type": "tool_use", "id": id, "name": name, "input": input});
        self.block(&block, "tool_use");
        self.end_block();
        self.end_message("tool_use");
        id
    }

    fn tool_ended(&mut self, id: &str, content: &str, is_error: bool) {
        let line = self.lines.tool_result(id, content, is_error);
        self.transcript.other(&line);
        self.out.line(&line);
    }

    fn request_again(&mut self) {
        let line = self.lines.requesting(self.turn.uuid.as_deref());
        self.out.line(&line);
    }

    pub(crate) fn tool(&mut self, tool: &Tool) {
        let id = self.call(&tool.name, &Value::from(tool.input.clone()));
        if let Some(result) = &tool.result {
            self.tool_ended(&id, result, tool.is_error);
            self.request_again();
        }
    }

    pub(crate) fn ask(&mut self, ask: &Ask) -> Onward {
        let input = Value::from(ask.input.clone());
        let tool_use_id = (!ask.bare).then(|| self.call(&ask.tool, &input));
        let request_id = ask.id.clone().unwrap_or_else(|| self.lines.uuid());
        let mut request = json!({
            "subtype": "can_use_tool", "tool_name": ask.tool, "display_name": ask.tool,
            "input": input,
            "tool_use_id": tool_use_id.clone().unwrap_or_else(|| self.lines.uuid()),
        });
        if matches!(ask.tool.as_str(), "AskUserQuestion" | "ExitPlanMode") {
            request["requires_user_interaction"] = true.into();
        }
        if let Some(description) = &ask.description {
            request["description"] = description.as_str().into();
        }
        if let Some(suggestions) = &ask.suggestions {
            request["permission_suggestions"] = suggestions.clone();
        }
        if !ask.bare {
            self.say_state("requires_action");
        }
        self.pending.push(Pending {
            request_id: request_id.clone(),
            tool_use_id,
            tool: ask.tool.clone(),
            input,
        });
        self.out.line(&Lines::question(&request_id, &request));
        self.log.tell("asked", json!({"request_id": request_id}));
        if ask.no_wait {
            return Ok(());
        }
        self.answered(&[request_id])
    }

    /// Waits for the answers, and goes on as they say.
    pub(crate) fn answered(&mut self, ids: &[String]) -> Onward {
        let closed = "Tool permission request failed: AbortError: Tool permission stream closed \
                      before response received";
        for id in ids {
            while !self.answers.contains_key(id) && !self.ended_input {
                self.wait()?;
            }
            let Some(at) = self.pending.iter().position(|it| it.request_id == *id) else {
                continue;
            };
            let pending = self.pending.remove(at);
            let answer = self.answers.remove(id).unwrap_or_default();
            let answer = &answer["response"];
            let Some(tool_use_id) = &pending.tool_use_id else {
                continue;
            };
            if self.pending.iter().all(|it| it.tool_use_id.is_none()) {
                self.say_state("running");
            }
            if answer["behavior"] == "allow" {
                self.tool_ended(tool_use_id, "done", false);
                continue;
            }
            self.deny(&pending);
            if answer["interrupt"] == true {
                self.reject(&[pending]);
                return Err(Over);
            }
            let message = answer["message"].as_str().unwrap_or(closed);
            self.tool_ended(tool_use_id, message, true);
        }
        if self.turn.runs() {
            self.request_again();
        }
        Ok(())
    }

    fn deny(&mut self, pending: &Pending) {
        self.turn.denials.push(json!({
            "tool_name": pending.tool, "tool_use_id": pending.tool_use_id,
            "tool_input": pending.input,
        }));
    }

    pub(crate) fn take_back(&mut self, id: &str) {
        self.pending.retain(|pending| pending.request_id != id);
        let line = json!({"type": "control_cancel_request", "request_id": id});
        self.out.line(&line);
    }

    // ---- the end ----

    pub(crate) fn result(&mut self, changes: &Changes) {
        let uuid = self.turn.uuid.clone();
        let (text, messages) = (self.turn.last_text.clone(), self.turn.messages.max(1));
        let mut line = self.lines.result(uuid.as_deref(), &text, messages);
        line["permission_denials"] = self.turn.denials.clone().into();
        self.resulted(line, changes);
    }

    fn resulted(&mut self, mut line: Value, changes: &Changes) {
        change(&mut line, changes);
        self.last_failed = line["is_error"] == true;
        self.out.line(&line);
        self.turn.resulted = true;
    }

    /// What is missing of the turn.
    pub(crate) fn end(&mut self) {
        self.begin();
        if !self.turn.resulted {
            if self.turn.message.is_some() {
                self.end_message("end_turn");
            } else if self.turn.messages == 0 {
                let text = format!("you said: {}", self.turn.prompt);
                self.delta(&text);
                self.end_message("end_turn");
            }
            self.result(&Changes::default());
        }
        if !std::mem::replace(&mut self.turn.over, true) {
            let state = if self.turn.failed {
                "cancelled"
            } else {
                "completed"
            };
            let own = self.turn.own.clone();
            self.say_lifecycle(own.as_deref(), state);
            let uuid = self.turn.uuid.clone();
            self.say_lifecycle(uuid.as_deref(), state);
        }
        if !std::mem::replace(&mut self.turn.idle, true) {
            self.say_idle();
        }
    }

    /// A step has told what became of the user line, so the end does not.
    pub(crate) fn told_over(&mut self, state: &str) {
        self.turn.over |= matches!(state, "completed" | "cancelled");
    }

    pub(crate) fn fail_turn(&mut self, failing: &FullFailing) {
        self.begin();
        let uuid = self.turn.uuid.clone();
        let text = failing.text.as_deref();
        let (retries, said, result) = self.lines.failed(failing.kind, text, uuid.as_deref());
        if failing.retries {
            retries.iter().for_each(|line| self.out.line(line));
        }
        self.out.line(&said);
        self.turn.failed = true;
        self.resulted(result, &Changes::default());
    }

    /// The turn was interrupted, by a request or by a step.
    pub(crate) fn interrupted(&mut self, request_id: Option<&str>) {
        let pending = std::mem::take(&mut self.pending);
        for question in &pending {
            let line = json!({"type": "control_cancel_request", "request_id": question.request_id});
            self.out.line(&line);
        }
        if let Some(id) = request_id {
            let queued = self.queue.iter().filter_map(|prompt| prompt.uuid.clone());
            let queued: Vec<String> = queued.collect();
            self.out
                .line(&Lines::success(id, json!({"still_queued": queued})));
        }
        self.begin();
        let asked: Vec<Pending> = pending
            .into_iter()
            .filter(|question| question.tool_use_id.is_some())
            .collect();
        if !asked.is_empty() {
            self.say_state("running");
            asked.iter().for_each(|question| self.deny(question));
            return self.reject(&asked);
        }
        self.cut_message();
        let line = self
            .lines
            .result_interrupted(self.turn.uuid.as_deref(), false);
        self.stopped(line);
    }

    /// An open message is given up in the middle.
    fn cut_message(&mut self) {
        let message = self.turn.message.clone();
        if let (Some(message), Some(text)) = (&message, &self.turn.block.clone()) {
            let uuid = self.turn.name_once(true);
            let block = json!({"type": "text", "text": text});
            let mut line = self.lines.assistant(message, &block, uuid.as_deref());
            line["aborted"] = true.into();
            self.out.line(&line);
        }
        let line = self.lines.interrupted(false);
        self.transcript.other(&line);
        self.out.line(&line);
        if let Some(message) = &message {
            if self.turn.block.is_some() {
                self.event("content_block_stop", json!({}));
            }
            for line in self.lines.abandoned(message) {
                self.out.line(&line);
            }
        }
        (self.turn.message, self.turn.block) = (None, None);
    }

    /// Tools that were not allowed, and that end the turn.
    fn reject(&mut self, asked: &[Pending]) {
        let why = self.lines.rejection();
        for id in asked.iter().filter_map(|asked| asked.tool_use_id.as_ref()) {
            self.tool_ended(id, &why, true);
        }
        let line = self.lines.interrupted(true);
        self.transcript.other(&line);
        self.out.line(&line);
        let uuid = self.turn.uuid.clone();
        let mut line = self.lines.result_interrupted(uuid.as_deref(), true);
        line["permission_denials"] = self.turn.denials.clone().into();
        self.stopped(line);
    }

    fn stopped(&mut self, line: Value) {
        self.turn.failed = true;
        self.resulted(line, &Changes::default());
        self.end();
    }

    /// A turn that nobody asked for, wherever the running one stands.
    pub(crate) fn unasked(&mut self, unasked: &Unasked) {
        let ours = std::mem::take(&mut self.turn);
        // only one that stands alone tells its state
        let busy = std::mem::replace(&mut self.busy, !unasked.alone);
        self.begin();
        self.delta(&unasked.text);
        self.end_message("end_turn");
        let mut changes = Changes::default();
        if !unasked.origin.is_empty() {
            let origin = self.lines.origin(&unasked.origin);
            changes.set.insert("origin".to_owned(), origin);
        }
        self.result(&changes);
        if unasked.alone {
            self.say_state("idle");
        } else {
            self.busy = busy;
        }
        self.turn = ours;
    }
}
