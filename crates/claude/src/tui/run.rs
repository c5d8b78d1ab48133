//! One turn in the interface, from its prompt to its end: what was said in it.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::wired::Wired;
use crate::stream::ResultLine;
use crate::turn::{
    ErrorKind, Happening, MAX_ANSWER, MAX_TEXTS, Outcome, TurnEnd, ends_with, outcome,
};

/// Messages of one turn. Beyond it nothing is kept of what is said, but for the last message.
const MAX_MESSAGES: usize = 4096;
/// Pieces of a message that wait for one before them; beyond it they are left out.
const MAX_WAITING: usize = 1024;

/// The turn that runs.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// `None`: nobody asked for it.
    pub(super) asked: Option<Uuid>,
    pub(super) prompt_id: Option<String>,
    /// It was taken up in its middle: what came before was told to somebody who is gone.
    pub(super) taken_up: bool,
    /// `Stop` came: the text of the last message.
    pub(super) stopped: Option<String>,
    /// How often a hook of `Stop` has made the model go on.
    continued: u32,
    /// The client is at rest, as far as it tells its state.
    pub(super) rested: Option<Rest>,
    /// We have told it to end.
    pub(super) stopping: bool,
    /// What was told of it, where its requests pass on a wire that is read.
    pub(super) wired: Wired,
    messages: Vec<Message>,
    bytes: usize,
}

/// How a client came to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Without saying that a turn is over: it was interrupted, or never began.
    Idle,
    /// A turn is over.
    Done,
    /// An error ended it.
    Failed(String),
}

/// How a turn ends.
#[derive(Debug)]
pub(super) enum How {
    /// By `Stop`.
    Stopped,
    /// We told it to.
    Interrupted,
    /// By an API error: its name, and what the client says about it.
    Failed(Option<String>, String),
    /// Nobody said how: it is in the transcript.
    Elsewhere,
}

/// A message of the model.
#[derive(Debug, Default)]
struct Message {
    id: String,
    text: String,
    /// The index of the piece that comes next.
    next: u64,
    /// Pieces that came before their turn: hooks may run side by side.
    waiting: BTreeMap<u64, (String, bool)>,
    complete: bool,
    /// A tool was called after it: it is not the answer.
    before_tool: bool,
    /// Which it is of those that the wire tells.
    number: Option<usize>,
}

impl Message {
    /// The piece that comes next, if it is there, and whether it is the last.
    fn next_piece(&mut self) -> Option<(String, bool)> {
        let piece = self.waiting.remove(&self.next)?;
        self.next += 1;
        Some(piece)
    }
}

impl Run {
    pub(super) fn new(asked: Option<Uuid>, prompt_id: Option<String>) -> Self {
        Self {
            asked,
            prompt_id,
            ..Self::default()
        }
    }

    /// A piece of a message comes. One that came already is passed over: a hook that loses its
    /// broker repeats itself.
    pub(super) fn display(
        &mut self,
        message: String,
        index: u64,
        piece: (String, bool),
        out: &mut Vec<Happening>,
    ) {
        let asked = self.asked;
        let all_said = self.is_complete();
        let at = match self.messages.iter().rposition(|it| it.id == message) {
            Some(at) => at,
            None if self.messages.len() >= MAX_MESSAGES => return,
            None => {
                if all_said {
                    // a hook of `Stop` has made the model go on
                    self.stopped = None;
                    self.continued += 1;
                }
                if !self.wired.is_on() {
                    // one that never got to its end was cut, and is said anew
                    let again = self.messages.last().is_some_and(|it| !it.complete);
                    out.push(Happening::MessageStart { asked, again });
                }
                self.messages.push(Message {
                    id: message,
                    ..Message::default()
                });
                self.messages.len() - 1
            }
        };
        let message = &mut self.messages[at];
        let room = message.waiting.len() < MAX_WAITING;
        if message.complete || index < message.next || !room {
            return;
        }
        message.waiting.insert(index, piece);
        while let Some((delta, last)) = self.messages[at].next_piece() {
            if !delta.is_empty() && self.bytes + delta.len() <= MAX_TEXTS {
                self.bytes += delta.len();
                self.says(at, delta, out);
            }
            let message = &mut self.messages[at];
            if last {
                message.complete = true;
                message.waiting.clear();
                if !self.wired.is_on() {
                    let text = message.text.clone();
                    out.push(Happening::Said { asked, text });
                }
                return;
            }
        }
    }

    /// Hooks tell more of a message; what the wire has told of it is not told again.
    fn says(&mut self, at: usize, delta: String, out: &mut Vec<Happening>) {
        let asked = self.asked;
        if !self.wired.is_on() {
            self.messages[at].text.push_str(&delta);
            out.push(Happening::Text { asked, delta });
            return;
        }
        let number = self.messages[at].number.unwrap_or_else(|| {
            let mut before = self.messages[..at].iter().rev();
            let last = before.find_map(|it| Some((it.number?, it.text.as_str())));
            self.wired.number(last, &delta)
        });
        let message = &mut self.messages[at];
        message.number = Some(number);
        message.text.push_str(&delta);
        self.wired.hooked(asked, number, &message.text, out);
    }

    /// `Stop` comes, with the text of the last message. `again`: one came before, and was not the end.
    pub(super) fn stop(&mut self, said: String, again: bool) {
        self.stopped = Some(said);
        if again {
            self.continued = self.continued.max(1);
        }
    }

    /// A tool is called, or has its result: what was said before it is not the answer.
    pub(super) fn tool(&mut self) {
        let messages = self.messages.iter_mut();
        messages.for_each(|message| message.before_tool = true);
    }

    /// Whether all that was said has come, by what `Stop` says of it, which is never what was said before
    /// a tool: that may have been the same words.
    pub(super) fn is_complete(&self) -> bool {
        let ends_so = |said: &str| {
            let last = self.messages.last().filter(|last| !last.before_tool);
            last.is_some_and(|last| last.complete && ends_with(&last.text, said))
        };
        let stopped = self.stopped.as_deref();
        stopped.is_some_and(|said| said.is_empty() || ends_so(said))
    }

    /// It has said something, and not one word was told.
    pub(super) fn is_mute(&self) -> bool {
        let said = self.stopped.as_ref().is_some_and(|said| !said.is_empty());
        said && self.messages.is_empty() && !self.taken_up
    }

    /// `Stop`'s word for the last message counts where another was told. True when it does.
    fn corrected(&mut self, said: &str) -> bool {
        let last = self.messages.last_mut();
        match last {
            _ if said.is_empty() => return false,
            Some(last) if !last.before_tool && ends_with(&last.text, said) => {
                // all of it, though nobody said that it was
                last.complete = true;
                return false;
            }
            // one that broke off, told as if it were whole; the client asked again without telling
            // what came (measured: a connection that is lost in the middle of a text)
            Some(last) if !last.before_tool => {
                said.clone_into(&mut last.text);
                last.complete = true;
            }
            _ => self.messages.push(Message {
                text: said.to_owned(),
                ..Message::default()
            }),
        }
        true
    }

    /// The end of the turn.
    pub(super) fn end(mut self, how: &How) -> TurnEnd {
        let stopped = self.stopped.take();
        let mut end = match how {
            How::Interrupted => TurnEnd::without_result(Outcome::Interrupted, None, ""),
            How::Failed(error, text) => self.failed(error.as_deref(), text),
            How::Stopped => TurnEnd {
                corrected: self.corrected(stopped.as_deref().unwrap_or_default()),
                known_already: self.taken_up,
                ..TurnEnd::without_result(Outcome::Completed, None, "")
            },
            How::Elsewhere => TurnEnd {
                known_already: true,
                ..TurnEnd::without_result(Outcome::Completed, None, "")
            },
        };
        let said = self.messages.iter();
        let said = said.filter(|it| !it.before_tool && !it.text.is_empty());
        let (count, whole) = said.fold((0, true), |(count, whole), it| {
            (count + 1, whole && it.complete)
        });
        // of a last block that is blank `Stop` says nothing, and the words may be on their way
        let silent = stopped.as_deref().is_some_and(str::is_empty);
        let certain = count < 2 && whole && !end.corrected && !silent && !self.taken_up;
        end.doubtful = matches!(how, How::Stopped) && !certain;
        end.continued = self.continued;
        end.last_words = stopped;
        let mut messages = self.messages.into_iter().peekable();
        while let Some(message) = messages.next() {
            let next = messages.peek();
            // By the wire it broke off, and the next one is the same anew.
            let anew =
                next.is_some_and(|next| next.number.is_some() && next.number == message.number);
            if message.text.is_empty() || !message.complete && next.is_some() || anew {
                continue;
            }
            if !message.before_tool {
                end.answer.push_str(&message.text);
            }
            end.texts.push(message.text);
        }
        end.wire_differs =
            matches!(how, How::Stopped) && !end.doubtful && self.wired.differs(&end.texts);
        let facts = self.wired.facts();
        end.model.clone_from(&facts.model);
        end.stop_reason.clone_from(&facts.stop_reason);
        end.usage = facts.usage();
        end.prompt_id = self.prompt_id.and_then(|id| id.parse().ok());
        if matches!(how, How::Elsewhere) && end.prompt_id.is_none() {
            end.fail(ErrorKind::NoResult, "nobody said how the turn ended");
        }
        if end.answer.len() > MAX_ANSWER {
            let cut = end.answer.floor_char_boundary(MAX_ANSWER);
            end.answer.truncate(cut);
            end.truncated = true;
            end.fail(ErrorKind::AnswerTooLong, "the answer is longer than 16 MiB");
        }
        end
    }

    /// The client's own message about an API error is never the model's words.
    fn failed(&mut self, error: Option<&str>, text: &str) -> TurnEnd {
        let message = |message: &mut Message| same(&message.text, text);
        self.messages.pop_if(message);
        let result = ResultLine {
            is_error: true,
            text: Some(text.to_owned()),
            api_status: status_in(text),
            ..ResultLine::default()
        };
        let (outcome, error) = outcome(&result, error);
        TurnEnd {
            outcome,
            error,
            is_error: true,
            ..TurnEnd::default()
        }
    }
}

/// The HTTP status in the client's words: `API Error: Request rejected (429) · …`, `API Error: 400 …`.
fn status_in(text: &str) -> Option<u16> {
    let (_, after) = text.split_once("API Error")?;
    let words = after.split(|c: char| !c.is_ascii_alphanumeric());
    let mut numbers = words.filter_map(|word| word.parse().ok());
    numbers.find(|number| (400..600).contains(number))
}

/// The same words.
fn same(told: &str, said: &str) -> bool {
    ends_with(told, said) && ends_with(said, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_in_words() {
        for (text, expected) in [
            ("API Error: Request rejected (429) · slow down", Some(429)),
            ("API Error: Repeated 529 Overloaded errors.", Some(529)),
            ("Please run /login · API Error: 401 x", Some(401)),
            ("API Error: 12 400x of 4000", None),
            ("400", None),
        ] {
            assert_eq!(status_in(text), expected, "{text}");
        }
    }
}
