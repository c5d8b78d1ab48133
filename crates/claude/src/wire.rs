//! What passes between the client and the Messages API, and what it says of the conversation.
//!
//! Bytes go in as a tap sees them, facts come out. A request is known by its path, its headers and
//! its tools (facts 4, "Main versus side requests"); the answer of one of the main conversation is
//! read as it comes. The end of a message is not the end of a turn: the client goes on by itself
//! behind `max_tokens`, asks again behind a failure, and runs tools. So a turn's end is never taken
//! from here.

mod limits;
mod request;

use std::collections::VecDeque;

use crate::sse::{Delta, Message, Parser, SseEvent, read};
use crate::stream::{Block, Json};

pub use limits::{Limits, MAX_LIMITS};
pub use request::{Class, Request};

/// Requests that are under way at the same time. Of more than these the oldest is told no more.
pub const MAX_EXCHANGES: usize = 64;
/// Bytes of a request that are read for what it is; one that is longer is [`Class::Unknown`].
pub const MAX_REQUEST: usize = 64 << 20;
/// Bytes of an answer that is no stream, or of an error. Of more nothing is told.
pub const MAX_BODY: usize = 16 << 20;

/// What the wire says of the main conversation. `exchange` numbers a request and its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A request of the main conversation is with the provider.
    Asked {
        /// Its number.
        exchange: u64,
        /// The model that is asked.
        model: Option<String>,
    },
    /// The first byte of its answer has come.
    Begun {
        /// Its number.
        exchange: u64,
    },
    /// A message begins.
    Started {
        /// Its number.
        exchange: u64,
        /// The model that answers.
        model: Option<String>,
        /// Tokens so far.
        usage: Option<Json>,
    },
    /// Words. Those of all blocks are one text.
    Text {
        /// Its number.
        exchange: u64,
        /// What came.
        delta: String,
    },
    /// Thoughts.
    Thinking {
        /// Its number.
        exchange: u64,
        /// What came.
        delta: String,
    },
    /// How the message ends.
    Ends {
        /// Its number.
        exchange: u64,
        /// `end_turn`, `tool_use`, `max_tokens`, …
        stop_reason: Option<String>,
        /// Tokens of the whole message.
        usage: Option<Json>,
    },
    /// The message is whole.
    Whole {
        /// Its number.
        exchange: u64,
    },
    /// There is no whole message: the provider refused, or broke off.
    Failed {
        /// Its number.
        exchange: u64,
        /// The HTTP status; missing where the connection broke.
        status: Option<u16>,
        /// `rate_limit_error`, `overloaded_error`, …
        kind: Option<String>,
        /// For people, in the provider's words.
        message: Option<String>,
    },
    /// What the provider says of its limits, with any answer.
    Limits(Limits),
}

/// All requests that are under way on one session's wire.
#[derive(Debug, Default)]
pub struct Wire {
    under_way: VecDeque<Exchange>,
    /// Events that were no JSON, or too long.
    unread: u64,
}

/// A request and its answer.
#[derive(Debug)]
struct Exchange {
    number: u64,
    class: Class,
    /// What has come of the request's body, until it is known what it is.
    body: Vec<u8>,
    answer: Option<Answer>,
    /// It was told how it ended.
    over: bool,
}

/// An answer that comes.
#[derive(Debug)]
enum Answer {
    Stream(Parser),
    /// Anything that is no stream: a message in one piece, or an error.
    Whole {
        status: u16,
        body: Vec<u8>,
    },
}

impl Wire {
    /// A request begins, on the wire of the client that has this conversation.
    pub fn request(&mut self, number: u64, request: &Request, conversation: &str) {
        if self.under_way.len() == MAX_EXCHANGES {
            self.under_way.pop_front();
        }
        self.under_way.push_back(Exchange {
            number,
            class: request.class(conversation),
            body: Vec::new(),
            answer: None,
            over: false,
        });
    }

    /// A piece of its body.
    pub fn request_body(&mut self, number: u64, bytes: &[u8]) {
        let Some(exchange) = self.exchange(number) else {
            return;
        };
        if exchange.class != Class::Message {
            return;
        }
        if bytes.len() > MAX_REQUEST - exchange.body.len() {
            exchange.class = Class::Unknown;
            exchange.body = Vec::new();
            return;
        }
        exchange.body.extend_from_slice(bytes);
    }

    /// Its body is whole.
    pub fn request_end(&mut self, number: u64, out: &mut Vec<Fact>) {
        let Some(exchange) = self.exchange(number) else {
            return;
        };
        if exchange.class != Class::Message {
            return;
        }
        let body = std::mem::take(&mut exchange.body);
        let (class, model) = request::of_body(&body);
        exchange.class = class;
        if class == Class::Main {
            let exchange = number;
            out.push(Fact::Asked { exchange, model });
        }
    }

    /// The head of the answer. `headers` may be all of them, names in any case.
    pub fn answer<'a>(
        &mut self,
        number: u64,
        status: u16,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        out: &mut Vec<Fact>,
    ) {
        let mut limits = Limits::default();
        let mut streams = false;
        for (name, value) in headers {
            limits.header(name, value);
            streams |= name.eq_ignore_ascii_case("content-type")
                && value.trim_start().starts_with("text/event-stream");
        }
        if !limits.is_empty() {
            out.push(Fact::Limits(limits));
        }
        let Some(exchange) = self.exchange(number) else {
            return;
        };
        if exchange.class != Class::Main {
            return;
        }
        exchange.answer = Some(match streams && (200..300).contains(&status) {
            true => Answer::Stream(Parser::new()),
            false => Answer::Whole {
                status,
                body: Vec::new(),
            },
        });
        out.push(Fact::Begun { exchange: number });
    }

    /// A piece of the answer.
    pub fn answer_body(&mut self, number: u64, bytes: &[u8], out: &mut Vec<Fact>) {
        let Some(exchange) = self.under_way.iter_mut().find(|it| it.number == number) else {
            return;
        };
        match &mut exchange.answer {
            Some(Answer::Stream(parser)) => {
                let mut events = Vec::new();
                let skipped = parser.skipped();
                parser.feed(bytes, &mut events);
                self.unread += parser.skipped() - skipped;
                for event in events {
                    self.unread += u64::from(!exchange.event(&event, out));
                }
            }
            Some(Answer::Whole { body, .. }) if bytes.len() <= MAX_BODY - body.len() => {
                body.extend_from_slice(bytes);
            }
            Some(Answer::Whole { .. }) => {
                exchange.answer = None;
                self.unread += 1;
            }
            None => {}
        }
    }

    /// The answer is over, all of it (`complete`) or broken off.
    pub fn end(&mut self, number: u64, complete: bool, out: &mut Vec<Fact>) {
        let Some(at) = self.under_way.iter().position(|it| it.number == number) else {
            return;
        };
        let Some(mut exchange) = self.under_way.remove(at) else {
            return;
        };
        if exchange.class != Class::Main || exchange.over {
            return;
        }
        match exchange.answer.take() {
            Some(Answer::Whole { status, body }) if complete => {
                exchange.whole(status, &body, out);
            }
            _ => out.push(Fact::Failed {
                exchange: number,
                status: None,
                kind: None,
                message: None,
            }),
        }
    }

    /// Of this one nothing more is seen.
    pub fn missed(&mut self, number: u64) {
        self.unread += 1;
        self.under_way.retain(|it| it.number != number);
    }

    /// Whether a request that is under way asks for a message: a sign that the agent is at work, as
    /// telemetry is not.
    #[must_use]
    pub fn is_for_message(&self, number: u64) -> bool {
        let known = self.under_way.iter().find(|it| it.number == number);
        known.is_some_and(|it| it.class != Class::Other)
    }

    /// Pieces that could not be read: what the wire says is not all of it.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.unread
    }

    fn exchange(&mut self, number: u64) -> Option<&mut Exchange> {
        self.under_way.iter_mut().find(|it| it.number == number)
    }
}

impl Exchange {
    /// Takes an event of the stream; false for one that cannot be read.
    fn event(&mut self, event: &SseEvent, out: &mut Vec<Fact>) -> bool {
        let exchange = self.number;
        let fact = match read(event) {
            // What stands behind the end belongs to nothing.
            _ if self.over => return true,
            Message::Start { model, usage, .. } => Fact::Started {
                exchange,
                model,
                usage,
            },
            Message::BlockStart {
                block: Block::Text(delta),
                ..
            } if !delta.is_empty() => Fact::Text { exchange, delta },
            Message::Delta {
                delta: Delta::Text(delta),
                ..
            } => Fact::Text { exchange, delta },
            Message::Delta {
                delta: Delta::Thinking(delta),
                ..
            } => Fact::Thinking { exchange, delta },
            Message::End { stop_reason, usage } => Fact::Ends {
                exchange,
                stop_reason,
                usage,
            },
            Message::Stop => {
                self.over = true;
                Fact::Whole { exchange }
            }
            Message::Error { kind, message } => {
                self.over = true;
                Fact::Failed {
                    exchange,
                    status: None,
                    kind,
                    message,
                }
            }
            Message::Bad => return false,
            _ => return true,
        };
        out.push(fact);
        true
    }

    /// An answer in one piece: the client asks for that after a stream that failed.
    fn whole(&self, status: u16, body: &[u8], out: &mut Vec<Fact>) {
        let exchange = self.number;
        let answer = request::answer_of(body);
        if !(200..300).contains(&status) || answer.kind.is_some() {
            out.push(Fact::Failed {
                exchange,
                status: Some(status),
                kind: answer.kind,
                message: answer.message,
            });
            return;
        }
        out.push(Fact::Started {
            exchange,
            model: answer.model,
            usage: None,
        });
        let texts = answer.texts.into_iter();
        out.extend(texts.map(|delta| Fact::Text { exchange, delta }));
        out.push(Fact::Ends {
            exchange,
            stop_reason: answer.stop_reason,
            usage: answer.usage,
        });
        out.push(Fact::Whole { exchange });
    }
}
