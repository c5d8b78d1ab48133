//! The body of an agent's session: it can be of more than one kind, and be changed between turns.

use std::io;

use uuid::Uuid;

use super::inbox::Inbox;
use super::orphans::Process;
use super::stream::{BodyEvent, StreamBody};
use super::tui::TuiBody;

/// See the module.
#[derive(Debug)]
pub enum Body {
    /// A child that speaks lines of JSON.
    Stream(Box<StreamBody>),
    /// The agent's own interface.
    Tui(Box<TuiBody>),
}

impl Body {
    /// The agent's process.
    #[must_use]
    pub fn agent(&self) -> Process {
        match self {
            Self::Stream(body) => body.agent(),
            Self::Tui(body) => body.agent(),
        }
    }

    /// The holder's process.
    #[must_use]
    pub fn holder(&self) -> Process {
        match self {
            Self::Stream(body) => body.holder(),
            Self::Tui(body) => body.holder(),
        }
    }

    /// Whether the agent was told to end: it takes nothing more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Stream(body) => body.is_closed(),
            Self::Tui(body) => body.is_closed(),
        }
    }

    /// The end of what the agent wrote to stderr, or of what is on its screen, for messages.
    #[must_use]
    pub fn last_words(&mut self) -> String {
        match self {
            Self::Stream(body) => body.stderr_tail(),
            Self::Tui(body) => body.last_words(),
        }
    }

    /// Puts a line in the way of the agent, where it waits for [`Body::send`]. `prompt`: the uuid of
    /// the prompt that it is.
    pub fn put(&mut self, line: &[u8], prompt: Option<Uuid>) {
        match self {
            Self::Stream(body) => body.put(line, prompt),
            Self::Tui(body) => body.put(line),
        }
    }

    /// Takes back what was put last and not sent.
    pub fn take_back(&mut self) {
        match self {
            Self::Stream(body) => body.take_back(),
            Self::Tui(body) => body.take_back(),
        }
    }

    /// Lets go what was put.
    pub fn send(&mut self) {
        match self {
            Self::Stream(body) => body.send(),
            Self::Tui(body) => body.send(),
        }
    }

    /// Whether nothing was ever written for this agent, and it waits for a greeting.
    #[must_use]
    pub fn is_new(&self) -> bool {
        match self {
            Self::Stream(body) => body.is_new(),
            Self::Tui(_) => false,
        }
    }

    /// The last line that was put, if the agent has not had one byte of it.
    #[must_use]
    pub fn last_unsent(&self) -> Option<Vec<u8>> {
        match self {
            Self::Stream(body) => body.last_unsent(),
            Self::Tui(_) => None,
        }
    }

    /// The prompts that the agent has not had.
    #[must_use]
    pub fn undelivered(&self) -> Vec<Uuid> {
        match self {
            Self::Stream(body) => body.undelivered().to_vec(),
            Self::Tui(body) => body.undelivered().into_iter().collect(),
        }
    }

    /// Asks for the agent's end, as the holder's protocol says.
    pub fn end(&mut self, grace_ms: u32, now: bool) {
        match self {
            Self::Stream(body) => body.end(grace_ms, now),
            Self::Tui(body) => body.end(grace_ms, now),
        }
    }

    /// Gives the holder up, which does not do what it is asked.
    pub fn abandon(&mut self) {
        match self {
            Self::Stream(body) => body.abandon(),
            Self::Tui(body) => body.abandon(),
        }
    }

    /// What the agent says.
    fn inbox(&mut self) -> &mut Inbox {
        match self {
            Self::Stream(body) => body.inbox(),
            Self::Tui(body) => body.inbox(),
        }
    }

    fn heard(&self) -> &Inbox {
        match self {
            Self::Stream(body) => body.heard(),
            Self::Tui(body) => body.heard(),
        }
    }

    /// The next line of the agent.
    pub fn line(&mut self) -> Option<&[u8]> {
        self.inbox().line()
    }

    /// Where in all that the agent has said the line begins that comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.heard().position()
    }

    /// Whether the agent has said something that was not looked at: [`Body::next`] does not wait
    /// then.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.heard().has_more()
    }

    /// Writes down what a later broker has to know.
    ///
    /// # Errors
    /// When it cannot be; what was written before holds then.
    pub fn note(&mut self, notes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(body) => body.note(notes),
            Self::Tui(body) => body.note(notes),
        }
    }

    /// Gives back what is done with.
    pub fn release(&mut self) {
        match self {
            Self::Stream(body) => body.release(),
            Self::Tui(body) => body.inbox().release(),
        }
    }

    /// Waits for what comes next. Can be dropped and called again.
    pub async fn next(&mut self) -> BodyEvent {
        match self {
            Self::Stream(body) => body.next().await,
            Self::Tui(body) => body.next().await,
        }
    }
}
