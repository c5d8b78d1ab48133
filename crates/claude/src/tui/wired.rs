//! What the wire tells of a turn in the interface: its words as they come, before the hooks have whole
//! lines of them. What counts in the end is what the hooks say.

use serde::Deserialize;
use uuid::Uuid;

use crate::stream::{Json, RetryLine};
use crate::turn::{Happening, MAX_TEXTS};
use crate::wire::Fact;

/// Texts of one turn that are kept; of more the hooks tell.
const MAX_MESSAGES: usize = 4096;

/// What was told of a running turn, by the wire or by hooks, whichever was first.
#[derive(Debug, Default)]
pub(super) struct Wired {
    /// The request whose answer comes. What belongs to another one is of an earlier turn, or over.
    exchange: Option<u64>,
    /// Its message has begun. All blocks of a message are one text, as hooks tell it (measured).
    begun: bool,
    /// The texts, one for each message.
    told: Vec<String>,
    bytes: usize,
    /// What the last try told before it failed is said anew.
    again: bool,
    /// The last try has told something.
    spoke: bool,
    /// How the last try failed: the client asks again.
    failed: Option<(Option<u16>, Option<String>)>,
    tries: u32,
    /// Not all that was told could be kept.
    behind: bool,
    facts: Facts,
}

/// What hooks do not tell.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) model: Option<String>,
    pub(super) stop_reason: Option<String>,
    /// Of the message that comes.
    tokens: Tokens,
    /// Of those that are whole.
    sum: Option<Tokens>,
}

/// Tokens, as the API counts them. A later word of the same message replaces an earlier one.
#[derive(Clone, Copy, Debug, Default, Deserialize, serde::Serialize)]
#[serde(default)]
struct Tokens {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

impl Tokens {
    fn with(self, other: Self, by: fn(Option<u64>, Option<u64>) -> Option<u64>) -> Self {
        Self {
            input_tokens: by(self.input_tokens, other.input_tokens),
            output_tokens: by(self.output_tokens, other.output_tokens),
            cache_creation_input_tokens: by(
                self.cache_creation_input_tokens,
                other.cache_creation_input_tokens,
            ),
            cache_read_input_tokens: by(
                self.cache_read_input_tokens,
                other.cache_read_input_tokens,
            ),
        }
    }
}

impl Facts {
    fn tokens(&mut self, usage: Option<&Json>) {
        let said = usage.and_then(|usage| serde_json::from_str(usage.get()).ok());
        let later = |old: Option<u64>, new: Option<u64>| new.or(old);
        self.tokens = self.tokens.with(said.unwrap_or_default(), later);
    }

    fn is_whole(&mut self) {
        let add = |sum: Option<u64>, more: Option<u64>| match (sum, more) {
            (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
            (sum, more) => sum.or(more),
        };
        let tokens = std::mem::take(&mut self.tokens);
        self.sum = Some(self.sum.unwrap_or_default().with(tokens, add));
    }

    /// Tokens of all whole messages, as a client's `usage`.
    pub(super) fn usage(&self) -> Option<Json> {
        let sum = self.sum?;
        let zero = |count: Option<u64>, _| Some(count.unwrap_or(0));
        let text = serde_json::to_string(&sum.with(sum, zero)).ok()?;
        Json::new(text)
    }
}

impl Wired {
    /// Whether the turn's requests pass on a wire that is read.
    pub(super) fn is_on(&self) -> bool {
        self.exchange.is_some()
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Accounts for what the wire says while the turn runs.
    pub(super) fn fact(&mut self, asked: Option<Uuid>, fact: &Fact, out: &mut Vec<Happening>) {
        if let Fact::Asked { exchange, .. } = fact {
            self.asks(*exchange, out);
            return;
        }
        let of_it = |exchange: &u64| self.exchange == Some(*exchange);
        match fact {
            Fact::Started {
                exchange,
                model,
                usage,
            } if of_it(exchange) => {
                if model.is_some() {
                    self.facts.model.clone_from(model);
                }
                self.facts.tokens = Tokens::default();
                self.facts.tokens(usage.as_ref());
            }
            Fact::Text { exchange, delta } if of_it(exchange) => self.text(asked, delta, out),
            Fact::Thinking { exchange, delta } if of_it(exchange) => {
                let delta = delta.clone();
                out.push(Happening::Thinking { asked, delta });
            }
            Fact::Ends {
                exchange,
                stop_reason,
                usage,
            } if of_it(exchange) => {
                self.facts.stop_reason.clone_from(stop_reason);
                self.facts.tokens(usage.as_ref());
            }
            Fact::Whole { exchange } if of_it(exchange) => {
                self.facts.is_whole();
                self.tries = 0;
            }
            Fact::Failed {
                exchange,
                status,
                kind,
                ..
            } if of_it(exchange) => self.failed = Some((*status, kind.clone())),
            _ => {}
        }
    }

    /// A request of the turn is with the provider: once more, if the last one failed.
    fn asks(&mut self, exchange: u64, out: &mut Vec<Happening>) {
        if let Some((status, kind)) = self.failed.take() {
            self.tries += 1;
            self.again |= self.spoke;
            out.push(Happening::Retry(RetryLine {
                attempt: self.tries,
                max: 0,
                delay_ms: 0,
                status,
                error: kind.as_deref().map(named),
            }));
        } else {
            self.again = false;
        }
        self.exchange = Some(exchange);
        self.begun = false;
        self.spoke = false;
    }

    fn text(&mut self, asked: Option<Uuid>, delta: &str, out: &mut Vec<Happening>) {
        if delta.is_empty() || self.behind {
            return;
        }
        if self.told.len() >= MAX_MESSAGES || self.bytes + delta.len() > MAX_TEXTS {
            self.behind = true;
            return;
        }
        if !std::mem::replace(&mut self.begun, true) {
            let again = std::mem::take(&mut self.again);
            out.push(Happening::MessageStart { asked, again });
            match self.told.last_mut().filter(|_| again) {
                Some(last) => last.clear(),
                None => self.told.push(String::new()),
            }
        }
        self.spoke = true;
        self.add(asked, delta.to_owned(), out);
    }

    fn add(&mut self, asked: Option<Uuid>, delta: String, out: &mut Vec<Happening>) {
        self.bytes += delta.len();
        if let Some(last) = self.told.last_mut() {
            last.push_str(&delta);
        }
        out.push(Happening::Text { asked, delta });
    }

    /// The number of the message that hooks begin to tell, after the one numbered `last`, which is
    /// `text` by them. Of one that broke off hooks may tell, and then of the same anew.
    pub(super) fn number(&self, last: Option<(usize, &str)>, begins: &str) -> usize {
        let Some((last, text)) = last else { return 0 };
        let told = self.told.get(last).map_or("", String::as_str);
        let anew = told != text && (told.starts_with(begins) || begins.starts_with(told));
        if anew { last } else { last + 1 }
    }

    /// Hooks tell that message `number` begins with `text`: what of it was not told yet is told.
    pub(super) fn hooked(
        &mut self,
        asked: Option<Uuid>,
        number: usize,
        text: &str,
        out: &mut Vec<Happening>,
    ) {
        if number == self.told.len() && !self.behind {
            out.push(Happening::MessageStart {
                asked,
                again: false,
            });
            self.told.push(String::new());
            // What the wire says behind that is another message.
            self.begun = false;
        }
        let last = number + 1 == self.told.len();
        let rest = self
            .told
            .get(number)
            .and_then(|it| text.strip_prefix(it.as_str()));
        match rest {
            Some(rest) if last && !rest.is_empty() => self.add(asked, rest.to_owned(), out),
            _ => {}
        }
    }

    /// Whether what was told is not what the hooks say of the whole turn.
    pub(super) fn differs(&self, texts: &[String]) -> bool {
        self.is_on() && !self.behind && self.told != texts
    }
}

/// The provider's error as a stream's `api_retry` names it.
fn named(kind: &str) -> String {
    match kind {
        "authentication_error" => "authentication_failed",
        "api_error" => "server_error",
        "billing_error" => kind,
        _ => kind.strip_suffix("_error").unwrap_or(kind),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::run::{How, Run};
    use super::*;

    /// A turn, and what it has told.
    struct Turn {
        run: Run,
        out: Vec<Happening>,
        exchange: u64,
    }

    impl Turn {
        fn new() -> Self {
            let mut turn = Self {
                run: Run::new(Some(Uuid::from_u128(1)), None),
                out: Vec::new(),
                exchange: 0,
            };
            turn.asks();
            turn
        }

        fn fact(&mut self, fact: &Fact) {
            self.run.wired.fact(self.run.asked, fact, &mut self.out);
        }

        fn asks(&mut self) {
            self.exchange += 1;
            let (exchange, model) = (self.exchange, None);
            self.fact(&Fact::Asked { exchange, model });
        }

        fn wire(&mut self, delta: &str) {
            let (exchange, delta) = (self.exchange, delta.to_owned());
            self.fact(&Fact::Text { exchange, delta });
        }

        fn fails(&mut self) {
            self.fact(&Fact::Failed {
                exchange: self.exchange,
                status: None,
                kind: None,
                message: None,
            });
        }

        fn whole(&mut self) {
            let exchange = self.exchange;
            let usage = Json::new(r#"{"input_tokens":2,"output_tokens":1}"#.to_owned());
            let model = Some("m".to_owned());
            self.fact(&Fact::Started {
                exchange,
                model,
                usage,
            });
            let usage = Json::new(r#"{"output_tokens":5}"#.to_owned());
            let stop_reason = Some("end_turn".to_owned());
            self.fact(&Fact::Ends {
                exchange,
                stop_reason,
                usage,
            });
            self.fact(&Fact::Whole { exchange });
        }

        fn hook(&mut self, message: &str, index: u64, delta: &str, last: bool) {
            let piece = (delta.to_owned(), last);
            self.run
                .display(message.to_owned(), index, piece, &mut self.out);
        }

        /// What was told: a `|` where a message begins, `<` where one begins anew.
        fn told(&self) -> String {
            let parts = self.out.iter().map(|happening| match happening {
                Happening::MessageStart { again: false, .. } => "|",
                Happening::MessageStart { again: true, .. } => "<",
                Happening::Text { delta, .. } => delta,
                Happening::Said { .. } => "(said)",
                Happening::Retry(_) => "(retry)",
                _ => "",
            });
            parts.collect()
        }

        fn differs(mut self, stopped: &str) -> bool {
            self.run.stopped = Some(stopped.to_owned());
            self.run.end(&How::Stopped).wire_differs
        }
    }

    #[test]
    fn what_the_wire_has_told_hooks_do_not_tell_again() {
        let mut turn = Turn::new();
        turn.wire("one\ntw");
        turn.hook("a", 0, "one\n", false);
        turn.wire("o");
        turn.hook("a", 1, "two", true);
        turn.whole();
        turn.run.tool();
        turn.asks();
        turn.wire("three");
        turn.whole();
        turn.hook("b", 0, "three", true);
        assert_eq!(turn.told(), "|one\ntwo|three");
        turn.run.stopped = Some("three".to_owned());
        let end = turn.run.end(&How::Stopped);
        assert!(!end.wire_differs);
        assert_eq!((&*end.answer, end.texts.len()), ("three", 2));
        assert_eq!(end.model.as_deref(), Some("m"));
        assert_eq!(end.stop_reason.as_deref(), Some("end_turn"));
        let usage: serde_json::Value = serde_json::from_str(end.usage.unwrap().get()).unwrap();
        assert_eq!(usage["input_tokens"], 4);
        assert_eq!(usage["output_tokens"], 10);
    }

    #[test]
    fn hooks_tell_what_the_wire_missed() {
        let mut turn = Turn::new();
        turn.wire("on");
        turn.hook("a", 0, "one\n", false);
        turn.hook("a", 1, "two", true);
        turn.hook("b", 0, "three", true);
        assert_eq!(turn.told(), "|one\ntwo|three");
        assert!(!turn.differs("three"));
    }

    #[test]
    fn what_broke_off_is_told_anew() {
        let mut turn = Turn::new();
        turn.wire("one tw");
        turn.fails();
        turn.asks();
        turn.hook("a", 0, "one tw", true);
        turn.wire("one ");
        turn.wire("two");
        turn.whole();
        turn.hook("b", 0, "one two", true);
        assert_eq!(turn.told(), "|one tw(retry)<one two");
        turn.run.stopped = Some("one two".to_owned());
        let end = turn.run.end(&How::Stopped);
        assert_eq!(
            (&*end.answer, &*end.texts),
            ("one two", &["one two".to_owned()][..])
        );
        // One that broke off before its first word is no message.
        let mut turn = Turn::new();
        turn.fails();
        turn.asks();
        turn.wire("one");
        turn.hook("a", 0, "one", true);
        assert_eq!(turn.told(), "(retry)|one");
        assert!(!turn.differs("one"));
    }

    #[test]
    fn a_retry_names_the_error_as_a_stream_does() {
        for (kind, name) in [
            ("overloaded_error", "overloaded"),
            ("rate_limit_error", "rate_limit"),
            ("api_error", "server_error"),
            ("authentication_error", "authentication_failed"),
            ("invalid_request_error", "invalid_request"),
            ("billing_error", "billing_error"),
        ] {
            assert_eq!(named(kind), name);
        }
    }

    #[test]
    fn residue_means_nothing_and_a_difference_is_said() {
        let mut turn = Turn::new();
        let (exchange, delta) = (99, "of an earlier turn".to_owned());
        turn.fact(&Fact::Text { exchange, delta });
        turn.wire("one");
        turn.hook("a", 0, "other", true);
        assert_eq!(turn.told(), "|one");
        assert!(turn.differs("other"));
    }
}
