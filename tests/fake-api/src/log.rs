//! What was asked: one record per request, and the bodies of the last ones.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde::Serialize;

use crate::turn;
use crate::wire::{Kind, Request};

/// Bodies and texts are kept for so many requests ...
const MAX_KEPT: usize = 500;
/// ... and up to so many bytes.
const MAX_BYTES: usize = 512 << 20;
/// So many of the last messages are summed up.
const SUMMARY: usize = 12;

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Its number, from 0.
    pub index: u64,
    /// When its body was complete: Unix time in milliseconds, with fractions.
    pub at_ms: f64,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// `main`, `side`, `count` or `subagent`.
    pub kind: &'static str,
    /// The model.
    pub model: String,
    /// The limit asked for.
    pub max_tokens: Option<u64>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The tools' names.
    pub tools: Vec<String>,
    /// The prompt, as `turn` finds it. Empty once dropped.
    pub prompt: String,
    /// All texts of the prompt's message. Empty once dropped.
    pub last_user_texts: Vec<String>,
    /// Texts steered in, and continuations, after the prompt. Empty once dropped.
    pub said_after: Vec<String>,
    /// The number of messages.
    pub messages: usize,
    /// Role and blocks of the last messages.
    pub messages_summary: Vec<String>,
    /// The size of the body.
    pub body_bytes: usize,
    /// Whether body and texts were dropped to save memory.
    pub body_dropped: bool,
    /// `default`, `side`, `count`, or `rule N step M`.
    pub answered_by: String,
    /// `open`, then `completed`, `client_gone`, `cut` or `error N`.
    pub outcome: String,
    /// When the first bytes of an answer that is played were handed to the connection.
    pub first_ms: Option<f64>,
    /// When the outcome was known.
    pub done_ms: Option<f64>,
    #[serde(skip)]
    body: Bytes,
}

impl Record {
    /// A record of this request, before it is answered.
    pub fn new(kind: Kind, request: &Request, body: Bytes, at_ms: f64) -> Self {
        let prompt = turn::prompt(request);
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        let message = prompt.and_then(|prompt| request.messages.get(prompt.message));
        let texts = message.map(|message| message.content.texts().collect());
        let after = prompt.map(|prompt| turn::said_after(request, &prompt));
        Self {
            index: 0,
            at_ms,
            path: String::new(),
            headers: BTreeMap::new(),
            kind: kind.name(),
            model: request.model.clone(),
            max_tokens: request.max_tokens,
            stream: request.stream,
            tools: request.tools.iter().map(|tool| tool.name.clone()).collect(),
            prompt: prompt
                .map(|prompt| prompt.text.to_owned())
                .unwrap_or_default(),
            last_user_texts: owned(texts.unwrap_or_default()),
            said_after: owned(after.unwrap_or_default()),
            messages: request.messages.len(),
            messages_summary: summary(request),
            body_bytes: body.len(),
            body_dropped: false,
            answered_by: String::new(),
            outcome: "open".into(),
            first_ms: None,
            done_ms: None,
            body,
        }
    }

    fn forget(&mut self) {
        self.body = Bytes::new();
        self.prompt = String::new();
        self.last_user_texts = Vec::new();
        self.said_after = Vec::new();
        self.body_dropped = true;
    }
}

/// `user text:369 text:9`, for each of the last messages.
fn summary(request: &Request) -> Vec<String> {
    let skip = request.messages.len().saturating_sub(SUMMARY);
    let line = |message: &crate::wire::Message| {
        let blocks = message.content.0.iter().map(|block| match &block.text {
            Some(text) => format!(" {}:{}", block.kind, text.len()),
            None => format!(" {}", block.kind),
        });
        std::iter::once(message.role.clone())
            .chain(blocks)
            .collect()
    };
    request.messages.iter().skip(skip).map(line).collect()
}

/// All records.
#[derive(Debug, Default)]
pub struct Log {
    records: Vec<Record>,
    kept: VecDeque<usize>,
    kept_bytes: usize,
}

impl Log {
    /// The number the next record gets.
    pub fn next_index(&self) -> u64 {
        self.records.len() as u64
    }

    /// Adds a record and gives its number.
    pub fn add(&mut self, mut record: Record) -> u64 {
        let at = self.records.len();
        record.index = at as u64;
        self.kept_bytes += record.body_bytes;
        self.kept.push_back(at);
        self.records.push(record);
        while self.kept.len() > MAX_KEPT || (self.kept_bytes > MAX_BYTES && self.kept.len() > 1) {
            self.drop_oldest();
        }
        at as u64
    }

    fn drop_oldest(&mut self) {
        if let Some(at) = self.kept.pop_front()
            && let Some(record) = self.records.get_mut(at)
        {
            self.kept_bytes -= record.body_bytes;
            record.forget();
        }
    }

    fn record(&mut self, index: u64) -> Option<&mut Record> {
        self.records.get_mut(usize::try_from(index).ok()?)
    }

    /// Notes that the answer to a request begins.
    pub fn begin(&mut self, index: u64, at_ms: f64) {
        if let Some(record) = self.record(index) {
            record.first_ms = Some(at_ms);
        }
    }

    /// Notes how a request ended, unless that is known.
    pub fn finish(&mut self, index: u64, outcome: &str, at_ms: f64) {
        let open = |record: &&mut Record| record.done_ms.is_none();
        if let Some(record) = self.record(index).filter(open) {
            record.outcome = outcome.to_owned();
            record.done_ms = Some(at_ms);
        }
    }

    /// The records from this number on.
    pub fn since(&self, index: usize) -> &[Record] {
        self.records.get(index..).unwrap_or_default()
    }

    /// The body of a request, while it is kept.
    pub fn body(&self, index: usize) -> Result<Bytes, String> {
        let record = self.records.get(index).ok_or("no such request")?;
        if record.body_dropped {
            Err("the body was dropped".into())
        } else {
            Ok(record.body.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &'static str) -> Record {
        let body = Bytes::from_static(body.as_bytes());
        Record::new(
            Kind::Main,
            &serde_json::from_slice(&body).unwrap(),
            body,
            1.0,
        )
    }

    #[test]
    fn the_oldest_bodies_go_first() {
        let mut log = Log::default();
        for _ in 0..=MAX_KEPT {
            log.add(record(r#"{"messages":[{"role":"user","content":"hi"}]}"#));
        }
        assert!(log.body(0).is_err());
        assert!(log.since(0)[0].body_dropped);
        assert!(log.body(1).is_ok());
        assert_eq!(log.since(1)[0].prompt, "hi");
        assert_eq!(log.since(1)[0].messages_summary, ["user text:2"]);
        assert_eq!(log.since(999).len(), 0);
        log.finish(1, "cut", 2.0);
        log.finish(1, "completed", 3.0);
        assert_eq!(log.since(1)[0].outcome, "cut");
    }
}
