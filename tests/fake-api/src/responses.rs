//! The Responses API, as far as Codex CLI 0.169.0 uses it: the same rules, another wire.
//!
//! A request is read into the shape of the other API, so that rules, records and turns know
//! nothing of this one. The session is the header `session-id`; of the texts that Codex puts
//! into the user's mouth by itself ([`OWN`]) nothing is kept. A request for an object of a given
//! form, which is one for a thread's title, is `side`. Answers are streams only.
//!
//! A text block becomes an item of its own, a thought a `reasoning` item, a tool a
//! `function_call`. `error_after` ends a stream with `response.failed`, whose code is
//! `error_type`; `stop_reason` is not told.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::plan::{Piece, Plan};
use crate::sse::{Ids, Usage, chunks};
use crate::step::{BlockSpec, Step, ToolSpec};
use crate::wire::{Block, Blocks, Kind, Message, Request, Tool};

/// What Codex says as the user: its surroundings, an interrupt, a skill that a prompt names.
const OWN: [&str; 3] = ["environment_context", "turn_aborted", "skill"];

/// A body of `/v1/responses`.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    model: String,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    tools: Vec<Tool>,
    #[serde(default)]
    input: Vec<Item>,
    #[serde(default)]
    text: Text,
}

/// What the answer's text is to be like.
#[derive(Default, Deserialize)]
struct Text {
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    #[serde(rename = "type", default)]
    kind: String,
}

/// One item of the conversation.
#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Blocks,
}

/// Reads a body; why it cannot be answered, otherwise.
pub fn read(body: &[u8]) -> Result<(Request, Kind), String> {
    let body: Body = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if !body.stream {
        return Err("only streams are answered here".into());
    }
    let object = body.text.format.is_some_and(|it| it.kind == "json_schema");
    let request = Request {
        model: body.model,
        stream: true,
        tools: body.tools,
        messages: body.input.into_iter().filter_map(message).collect(),
        ..Request::default()
    };
    Ok((request, if object { Kind::Side } else { Kind::Main }))
}

/// An item as a message; calls, their results and thoughts are messages without a text.
fn message(item: Item) -> Option<Message> {
    if item.kind != "message" {
        return Some(Message {
            role: item.kind,
            content: Blocks::default(),
        });
    }
    let text = |block: Block| Block {
        kind: match block.kind.as_str() {
            "input_text" | "output_text" => "text".into(),
            _ => block.kind,
        },
        text: block.text,
    };
    let content = Blocks(item.content.0.into_iter().map(text).collect());
    let own = item.role == "user" && content.texts().all(is_own);
    (!own).then_some(Message {
        role: item.role,
        content,
    })
}

fn is_own(text: &str) -> bool {
    OWN.iter().any(|tag| {
        text.starts_with(&format!("<{tag}>")) && text.trim_end().ends_with(&format!("</{tag}>"))
    })
}

/// An error as the body of a response.
pub fn error_json(kind: &str, message: &str) -> Value {
    json!({"error": {"type": kind, "code": kind, "message": message, "param": null}})
}

/// The answer.
pub fn stream(step: &Step, ids: &Ids, usage: Usage) -> Vec<Piece> {
    let id = ids.message().replacen("msg", "resp", 1);
    let kind = step.error_type.as_deref().unwrap_or("server_error");
    let why = step.message.as_deref().unwrap_or("scripted");
    let response = |status: &str| json!({"id": id, "object": "response", "model": ids.model, "status": status});
    let mut failed = response("failed");
    failed["error"] = json!({"code": kind, "message": why});

    let mut plan = Plan::new(
        step,
        ids,
        json!({"type": "response.failed", "response": failed}),
    );
    plan.pause(step.first_delay_ms);
    plan.event(&json!({"type": "response.created", "response": response("in_progress")}));
    let mut output = Vec::new();
    plan.body(&step.all_blocks(), |plan, block| {
        let at = output.len();
        let item = match block {
            BlockSpec::Thinking(text) => thought(plan, ids, at, text),
            BlockSpec::Tool(tool) => call(plan, ids, at, tool),
            text => said(plan, ids, at, &text.text().unwrap_or_default()),
        };
        if !plan.over {
            plan.event(
                &json!({"type": "response.output_item.done", "output_index": at, "item": item}),
            );
        }
        output.push(item);
    });
    if !plan.over {
        let mut whole = response("completed");
        whole["output"] = Value::Array(output);
        whole["usage"] = usage_json(usage);
        plan.event(&json!({"type": "response.completed", "response": whole}));
    }
    plan.finish()
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input + usage.output,
    })
}

fn added(plan: &mut Plan<'_>, at: usize, item: &Value) {
    plan.event(&json!({"type": "response.output_item.added", "output_index": at, "item": item}));
}

/// A text; gives the whole item.
fn said(plan: &mut Plan<'_>, ids: &Ids, at: usize, text: &str) -> Value {
    let id = format!("{}_{at}", ids.message());
    let item = |status, content: &[Value]| json!({"type": "message", "id": id, "role": "assistant", "status": status, "content": content});
    added(plan, at, &item("in_progress", &[]));
    plan.text(text, |plan, chunk| {
        plan.event(&json!({
            "type": "response.output_text.delta", "item_id": id, "output_index": at,
            "content_index": 0, "delta": chunk,
        }));
    });
    let text = json!({"type": "output_text", "text": text, "annotations": []});
    item("completed", &[text])
}

/// A thought; gives the whole item.
fn thought(plan: &mut Plan<'_>, ids: &Ids, at: usize, text: &str) -> Value {
    let id = format!("{}_{at}", ids.message().replacen("msg", "rs", 1));
    let item = |summary: &[Value]| json!({"type": "reasoning", "id": id, "summary": summary});
    added(plan, at, &item(&[]));
    for chunk in chunks(text, plan.delta_bytes(text)) {
        plan.event(&json!({
            "type": "response.reasoning_summary_text.delta", "item_id": id, "output_index": at,
            "summary_index": 0, "delta": chunk,
        }));
    }
    item(&[json!({"type": "summary_text", "text": text})])
}

/// A call of a tool; gives the whole item.
fn call(plan: &mut Plan<'_>, ids: &Ids, at: usize, tool: &ToolSpec) -> Value {
    let input = match &tool.input {
        Value::Null => "{}".to_owned(),
        input => input.to_string(),
    };
    let id = tool.id.clone().unwrap_or_else(|| ids.tool(at));
    let item = |arguments: &str| {
        json!({
            "type": "function_call", "id": format!("fc_{id}"), "call_id": id,
            "name": tool.name, "arguments": arguments,
        })
    };
    added(plan, at, &item(""));
    item(&input)
}

#[cfg(test)]
mod tests;
