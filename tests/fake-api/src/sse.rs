//! The JSON of the Messages API, and its events.

use serde_json::{Value, json};

use crate::step::ToolSpec;

/// The names of one answer.
#[derive(Debug)]
pub struct Ids {
    /// The model, as the request named it.
    pub model: String,
    /// The request's number.
    pub index: u64,
    /// Differs between servers, so that a conversation resumed under a new one sees no id twice.
    pub boot: u64,
}

impl Ids {
    /// The message's id.
    pub fn message(&self) -> String {
        format!("msg_{:x}{:06}", self.boot, self.index)
    }

    /// The `request-id` header.
    pub fn request(&self) -> String {
        format!("req_{:x}{:06}", self.boot, self.index)
    }

    /// A tool call's id.
    pub fn tool(&self, at: usize) -> String {
        format!("toolu_{:x}{:06}{at:02}", self.boot, self.index)
    }

    /// A thought's signature.
    pub fn signature(&self, at: usize) -> String {
        format!("ZmFrZQ{:06}{at:02}", self.index)
    }
}

/// Made-up token counts.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Tokens of the request.
    pub input: usize,
    /// Tokens of the answer.
    pub output: usize,
}

impl Usage {
    /// At the start of a stream.
    pub fn start(self) -> Value {
        Self { output: 1, ..self }.both()
    }

    /// At the end of a stream.
    pub fn end(self) -> Value {
        json!({"output_tokens": self.output})
    }

    /// In a whole message.
    pub fn both(self) -> Value {
        json!({
            "input_tokens": self.input, "output_tokens": self.output,
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "service_tier": "standard",
        })
    }
}

/// Appends one event.
pub fn event(out: &mut Vec<u8>, data: &Value) {
    let name = data["type"].as_str().unwrap_or("ping");
    out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}

/// A message object.
pub fn message_json(
    ids: &Ids,
    content: &[Value],
    stop_reason: Option<&str>,
    usage: &Value,
) -> Value {
    json!({
        "id": ids.message(), "type": "message", "role": "assistant", "model": ids.model,
        "content": content, "stop_reason": stop_reason, "stop_sequence": null, "usage": usage,
    })
}

/// A tool call.
pub fn tool_json(tool: &ToolSpec, ids: &Ids, at: usize, input: Value) -> Value {
    let id = tool.id.clone().unwrap_or_else(|| ids.tool(at));
    let input = if input.is_null() { json!({}) } else { input };
    json!({"type": "tool_use", "id": id, "name": tool.name, "input": input})
}

/// An error object.
pub fn error_json(kind: &str, message: &str, request_id: Option<&str>) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})
}

/// The error type usual for a status.
pub fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    }
}

/// The text in pieces of at most `size` bytes (one character, if that is larger).
pub fn chunks(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let (chunk, tail) = rest.split_at(rest.floor_char_boundary(size.max(first)));
        rest = tail;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_characters_whole() {
        let text = "aé€😀 end";
        for size in 0..12 {
            let parts: Vec<_> = chunks(text, size).collect();
            assert_eq!(parts.concat(), text);
            assert!(
                parts
                    .iter()
                    .all(|part| part.len() <= size.max(4) && !part.is_empty())
            );
        }
        assert_eq!(chunks("", 4).count(), 0);
        assert_eq!(chunks("abcd", 4).collect::<Vec<_>>(), ["abcd"]);
    }

    #[test]
    fn an_event_is_one_line_of_data() {
        let mut out = Vec::new();
        event(&mut out, &json!({"type": "ping", "x": "a\nb"}));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "event: ping\ndata: {\"type\":\"ping\",\"x\":\"a\\nb\"}\n\n"
        );
    }
}
