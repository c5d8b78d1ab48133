//! The body of an agent's session: it can be of more than one kind, and be changed between turns.

use std::io;

use uuid::Uuid;

use super::codex::CodexBody;
use super::inbox::Inbox;
use super::marks::MarksBody;
use super::orphans::Process;
use super::stream::{BodyEvent, StreamBody};
use super::tui::TuiBody;
use crate::shown::Shown;

/// See the module.
#[derive(Debug)]
pub enum Body {
    /// A child that speaks lines of JSON.
    Stream(Box<StreamBody>),
    /// The agent's own interface.
    Tui(Box<TuiBody>),
    /// A program that marks its prompts.
    Marks(Box<MarksBody>),
    /// Codex.
    Codex(Box<CodexBody>),
}

/// Where a body keeps what it has heard.
enum Heard<'a> {
    Lines(&'a Inbox),
    Pieces(&'a MarksBody),
}

impl Body {
    /// The agent's process.
    #[must_use]
    pub fn agent(&self) -> Process {
        match self {
            Self::Stream(body) => body.agent(),
            Self::Tui(body) => body.agent(),
            Self::Marks(body) => body.agent(),
            Self::Codex(body) => body.agent(),
        }
    }

    /// The holder's process.
    #[must_use]
    pub fn holder(&self) -> Process {
        match self {
            Self::Stream(body) => body.holder(),
            Self::Tui(body) => body.holder(),
            Self::Marks(body) => body.holder(),
            Self::Codex(body) => body.holder(),
        }
    }

    /// Whether the agent was told to end: it takes nothing more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Stream(body) => body.is_closed(),
            Self::Tui(body) => body.is_closed(),
            Self::Marks(body) => body.is_closed(),
            Self::Codex(body) => body.is_closed(),
        }
    }

    /// The end of what the agent wrote to stderr, or of what is on its screen, for messages.
    #[must_use]
    pub fn last_words(&mut self) -> String {
        match self {
            Self::Stream(body) => body.stderr_tail(),
            Self::Tui(body) => body.shown().last_words(),
            Self::Marks(body) => body.shown().last_words(),
            Self::Codex(body) => body.shown().last_words(),
        }
    }

    /// Puts a line in the way of the agent, where it waits for [`Body::send`]. `prompt`: the uuid of
    /// the prompt that it is.
    pub fn put(&mut self, line: &[u8], prompt: Option<Uuid>) {
        match self {
            Self::Stream(body) => body.put(line, prompt),
            Self::Tui(body) => body.put(line),
            Self::Marks(body) => body.put(line),
            Self::Codex(body) => body.put(line),
        }
    }

    /// Takes back what was put last and not sent.
    pub fn take_back(&mut self) {
        match self {
            Self::Stream(body) => body.take_back(),
            Self::Tui(body) => body.take_back(),
            Self::Marks(body) => body.take_back(),
            Self::Codex(body) => body.take_back(),
        }
    }

    /// Lets go what was put.
    pub fn send(&mut self) {
        match self {
            Self::Stream(body) => body.send(),
            Self::Tui(body) => body.send(),
            Self::Marks(body) => body.send(),
            Self::Codex(body) => body.send(),
        }
    }

    /// Whether nothing was ever written for this agent, and it waits for a greeting.
    #[must_use]
    pub fn is_new(&self) -> bool {
        match self {
            Self::Stream(body) => body.is_new(),
            Self::Tui(_) | Self::Marks(_) | Self::Codex(_) => false,
        }
    }

    /// The last line that was put, if the agent has not had one byte of it.
    #[must_use]
    pub fn last_unsent(&self) -> Option<Vec<u8>> {
        match self {
            Self::Stream(body) => body.last_unsent(),
            Self::Tui(_) | Self::Marks(_) | Self::Codex(_) => None,
        }
    }

    /// The prompts that the agent has not had.
    #[must_use]
    pub fn undelivered(&self) -> Vec<Uuid> {
        match self {
            Self::Stream(body) => body.undelivered().to_vec(),
            Self::Tui(body) => body.undelivered().into_iter().collect(),
            Self::Marks(body) => body.undelivered().into_iter().collect(),
            Self::Codex(body) => body.undelivered().into_iter().collect(),
        }
    }

    /// Asks for the agent's end, as the holder's protocol says.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        match self {
            Self::Stream(body) => body.end(grace_ms, now),
            Self::Tui(body) => body.end(grace_ms, now),
            Self::Marks(body) => body.end(grace_ms, now),
            Self::Codex(body) => body.end(grace_ms, now),
        }
    }

    /// Gives the holder up, which does not do what it is asked.
    pub fn abandon(&mut self) {
        match self {
            Self::Stream(body) => body.abandon(),
            Self::Tui(body) => body.abandon(),
            Self::Marks(body) => body.abandon(),
            Self::Codex(body) => body.abandon(),
        }
    }

    /// The terminal that people can look at, where it has one.
    pub fn shown(&mut self) -> Option<&mut Shown> {
        match self {
            Self::Stream(_) => None,
            Self::Tui(body) => Some(body.shown()),
            Self::Marks(body) => Some(body.shown()),
            Self::Codex(body) => Some(body.shown()),
        }
    }

    fn heard(&self) -> Heard<'_> {
        match self {
            Self::Stream(body) => Heard::Lines(body.heard()),
            Self::Tui(body) => Heard::Lines(body.heard()),
            Self::Marks(body) => Heard::Pieces(body),
            Self::Codex(body) => Heard::Lines(body.heard()),
        }
    }

    /// The next line of the agent, or piece of what a program says.
    pub fn line(&mut self) -> Option<&[u8]> {
        match self {
            Self::Stream(body) => body.inbox().line(),
            Self::Tui(body) => body.inbox().line(),
            Self::Marks(body) => body.line(),
            Self::Codex(body) => body.inbox().line(),
        }
    }

    /// Where in all that the agent has said the line begins that comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        match self.heard() {
            Heard::Lines(inbox) => inbox.position(),
            Heard::Pieces(body) => body.position(),
        }
    }

    /// Whether the agent has said something that was not looked at: [`Body::next`] does not wait
    /// then.
    #[must_use]
    pub fn has_more(&self) -> bool {
        match self.heard() {
            Heard::Lines(inbox) => inbox.has_more(),
            Heard::Pieces(body) => body.has_more(),
        }
    }

    /// Writes down what a later broker has to know.
    ///
    /// # Errors
    /// When it cannot be; what was written before holds then.
    pub fn note(&mut self, notes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(body) => body.note(notes),
            Self::Tui(body) => body.note(notes),
            Self::Marks(body) => body.note(notes),
            Self::Codex(body) => body.note(notes),
        }
    }

    /// Gives back what is done with.
    pub fn release(&mut self) {
        match self {
            Self::Stream(body) => body.release(),
            Self::Tui(body) => body.inbox().release(),
            Self::Marks(body) => body.release(),
            Self::Codex(body) => body.inbox().release(),
        }
    }

    /// Waits for what comes next. Can be dropped and called again.
    pub async fn next(&mut self) -> BodyEvent {
        match self {
            Self::Stream(body) => body.next().await,
            Self::Tui(body) => body.next().await,
            Self::Marks(body) => body.next().await,
            Self::Codex(body) => body.next().await,
        }
    }
}
