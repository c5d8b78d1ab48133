//! A scripted answer laid out as what goes over the wire and when.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::sse::{Ids, Usage, chunks, error_json, event, message_json, tool_json};
use crate::step::{BlockSpec, Step};

/// Bytes are passed on in pieces of about this size.
const PIECE: usize = 64 * 1024;
/// Texts longer than this get large deltas.
const LONG_TEXT: usize = 64 * 1024;
/// The deltas of ordinary texts.
const SMALL_DELTA: usize = 16;
/// The deltas of long texts.
const LARGE_DELTA: usize = 4096;

/// One thing to do.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Send these bytes.
    Send(Bytes),
    /// Wait until what was sent has left.
    Leave,
    /// Wait.
    Pause(Duration),
    /// Wait until released.
    Hold(String),
    /// Drop the connection.
    Cut,
}

/// The answer to a request that asked for a stream.
pub fn stream(step: &Step, ids: &Ids, usage: Usage) -> Vec<Piece> {
    let blocks = step.all_blocks();
    let mut plan = Plan::new(step, ids, failure(step));
    plan.pause(step.first_delay_ms);
    if let Some(raw) = &step.raw {
        plan.pending.extend_from_slice(raw.as_bytes());
        return plan.finish();
    }
    plan.event(
        &json!({"type": "message_start", "message": message_json(ids, &[], None, &usage.start())}),
    );
    plan.event(&json!({"type": "ping"}));
    plan.body(&blocks, Plan::content);
    if !plan.over {
        let reason = step.reason(&blocks);
        let delta = json!({"stop_reason": reason, "stop_sequence": null});
        plan.event(&json!({"type": "message_delta", "delta": delta, "usage": usage.end()}));
        plan.event(&json!({"type": "message_stop"}));
    }
    plan.finish()
}

/// The answer to a request that did not ask for a stream: the same holds and the sum of the
/// pauses, then one JSON object.
pub fn whole(step: &Step, ids: &Ids, usage: Usage) -> Vec<Piece> {
    let blocks = step.all_blocks();
    let mut plan = Plan::new(step, ids, failure(step));
    plan.pause(step.first_delay_ms);
    let inner = blocks.iter().filter_map(|block| match block {
        BlockSpec::Hold(name) => Some(name),
        _ => None,
    });
    step.hold
        .iter()
        .chain(inner)
        .for_each(|name| plan.hold(name));
    if step.cut_after.is_some() {
        plan.cut();
        return plan.finish();
    }
    if let Some(raw) = &step.raw {
        plan.pending.extend_from_slice(raw.as_bytes());
        return plan.finish();
    }
    let content: Vec<Value> = blocks
        .iter()
        .enumerate()
        .filter_map(|(at, block)| whole_block(block, ids, at))
        .collect();
    let message = message_json(ids, &content, Some(step.reason(&blocks)), &usage.both());
    plan.pending
        .extend_from_slice(message.to_string().as_bytes());
    plan.finish()
}

/// The event that ends a stream where an error is scripted.
fn failure(step: &Step) -> Value {
    let message = step.message.as_deref().unwrap_or("Overloaded");
    let kind = step.error_type.as_deref().unwrap_or("overloaded_error");
    error_json(kind, message, None)
}

/// A block as it stands in a whole message.
fn whole_block(block: &BlockSpec, ids: &Ids, at: usize) -> Option<Value> {
    match block {
        BlockSpec::Hold(_) => None,
        BlockSpec::Thinking(text) => {
            Some(json!({"type": "thinking", "thinking": text, "signature": ids.signature(at)}))
        }
        BlockSpec::Tool(tool) => Some(tool_json(tool, ids, at, tool.input.clone())),
        text => Some(json!({"type": "text", "text": text.text()?})),
    }
}

/// An answer that is being laid out.
pub struct Plan<'a> {
    step: &'a Step,
    ids: &'a Ids,
    /// The event of a scripted error.
    failure: Value,
    pieces: Vec<Piece>,
    pending: Vec<u8>,
    /// Text deltas so far.
    deltas: usize,
    /// The number of the next content block.
    index: usize,
    held: bool,
    /// The answer was broken off.
    pub over: bool,
}

impl<'a> Plan<'a> {
    /// Empty; `failure` is the event of the error that the step may have.
    pub fn new(step: &'a Step, ids: &'a Ids, failure: Value) -> Self {
        let (pieces, pending) = (Vec::new(), Vec::new());
        Self {
            step,
            ids,
            failure,
            pieces,
            pending,
            deltas: 0,
            index: 0,
            held: false,
            over: false,
        }
    }

    /// Sends an event.
    pub fn event(&mut self, data: &Value) {
        event(&mut self.pending, data);
        if self.pending.len() >= PIECE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mut pending = Bytes::from(std::mem::take(&mut self.pending));
        if let Some(most) = self.step.piece_bytes {
            while pending.len() > most {
                let piece = Piece::Send(pending.split_to(most));
                self.pieces.extend([piece, Piece::Leave]);
            }
        }
        if !pending.is_empty() {
            self.pieces.push(Piece::Send(pending));
        }
    }

    /// Waits, unless it is for nothing.
    pub fn pause(&mut self, ms: u64) {
        if ms > 0 {
            self.flush();
            self.pieces.push(Piece::Pause(Duration::from_millis(ms)));
        }
    }

    fn hold(&mut self, name: &str) {
        self.flush();
        self.pieces.push(Piece::Hold(name.to_owned()));
    }

    fn cut(&mut self) {
        self.flush();
        self.pieces.push(Piece::Cut);
        self.over = true;
    }

    fn fail(&mut self) {
        let failure = self.failure.clone();
        self.event(&failure);
        self.over = true;
    }

    /// What is to be done.
    pub fn finish(mut self) -> Vec<Piece> {
        self.flush();
        self.pieces
    }

    /// All blocks, each written by `write`, with the pauses and breaks between them.
    pub fn body(&mut self, blocks: &[BlockSpec], mut write: impl FnMut(&mut Self, &BlockSpec)) {
        self.breaks(0);
        for block in blocks {
            if self.over {
                return;
            }
            match block {
                BlockSpec::Hold(name) => self.hold(name),
                block => write(self, block),
            }
        }
        // A break that was to come after more deltas than there are comes at the end.
        self.breaks(usize::MAX);
    }

    /// A block of a message.
    fn content(&mut self, block: &BlockSpec) {
        match block {
            BlockSpec::Thinking(text) => self.thinking(text),
            BlockSpec::Tool(tool) => {
                let input = if tool.input.is_null() {
                    json!({})
                } else {
                    tool.input.clone()
                };
                let head = tool_json(tool, self.ids, self.index, json!({}));
                self.block(&head, |plan| plan.input(&input.to_string()));
            }
            text => {
                let text = text.text().unwrap_or_default();
                self.block(&json!({"type": "text", "text": ""}), |plan| {
                    plan.text(&text, |plan, chunk| plan.delta("text_delta", "text", chunk));
                });
            }
        }
    }

    fn block(&mut self, head: &Value, fill: impl FnOnce(&mut Self)) {
        let index = self.index;
        self.event(&json!({"type": "content_block_start", "index": index, "content_block": head}));
        fill(self);
        if !self.over {
            self.event(&json!({"type": "content_block_stop", "index": index}));
        }
        self.index += 1;
    }

    fn delta(&mut self, kind: &str, field: &str, value: &str) {
        let delta = json!({"type": kind, field: value});
        let index = self.index;
        self.event(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
    }

    /// A text in deltas, each written by `write`, with what is to happen after each.
    pub fn text(&mut self, text: &str, mut write: impl FnMut(&mut Self, &str)) {
        for chunk in chunks(text, self.delta_bytes(text)) {
            write(self, chunk);
            self.deltas += 1;
            self.pause(self.step.delay_ms);
            self.breaks(self.deltas);
            if self.over {
                return;
            }
        }
    }

    fn thinking(&mut self, text: &str) {
        let head = json!({"type": "thinking", "thinking": "", "signature": ""});
        self.block(&head, |plan| {
            for chunk in chunks(text, plan.delta_bytes(text)) {
                plan.delta("thinking_delta", "thinking", chunk);
            }
            let signature = plan.ids.signature(plan.index);
            plan.delta("signature_delta", "signature", &signature);
        });
    }

    fn input(&mut self, json: &str) {
        self.delta("input_json_delta", "partial_json", "");
        for chunk in chunks(json, self.delta_bytes(json)) {
            self.delta("input_json_delta", "partial_json", chunk);
        }
    }

    /// The size of the deltas of this text.
    pub fn delta_bytes(&self, text: &str) -> usize {
        let usual = if text.len() > LONG_TEXT {
            LARGE_DELTA
        } else {
            SMALL_DELTA
        };
        self.step.delta_bytes.unwrap_or(usual)
    }

    /// The hold, cut or error that is due once this many text deltas are out.
    fn breaks(&mut self, deltas: usize) {
        if let (Some(name), false) = (&self.step.hold, self.held)
            && self.step.hold_after.unwrap_or(0) <= deltas
        {
            self.held = true;
            self.hold(name);
        }
        if self.over {
            return;
        }
        if self.step.cut_after.is_some_and(|after| after <= deltas) {
            self.cut();
        } else if self.step.error_after.is_some_and(|after| after <= deltas) {
            self.fail();
        }
    }
}

#[cfg(test)]
mod read_back;
#[cfg(test)]
mod tests;
