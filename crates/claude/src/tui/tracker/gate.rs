//! The gate: what goes to the model of what was typed.

use std::collections::HashSet;

use uuid::Uuid;

use super::Tracker;
use crate::tui::hooks::{Call, Hook, NOTHING, block};
use crate::turn::Happening;

/// The prompt that was typed.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) uuid: Uuid,
    prompt: String,
}

/// What to do about a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// [`NOTHING`], at once.
    Nothing,
    /// What the verdict says, at once.
    Prompt(Verdict),
    /// Nothing yet. Somebody's answer ([`crate::tui::hooks::allow`], [`crate::tui::hooks::deny`]),
    /// or [`NOTHING`] when the question is gone.
    Held,
}

/// Whose prompt is about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ours, as it was typed: its turn begins.
    Ours(Uuid),
    /// Ours, and something else than was typed: it is stopped. It is back in the input box, which
    /// is to be emptied before anything else is typed. It can be refused: nothing was sent.
    Altered(Uuid),
    /// Ours, but somebody else was first, and their turn runs: it would be put into that one. It
    /// is stopped, and in the input box like an altered one. It can be typed again later.
    Early(Uuid),
    /// Ours once more, which was taken before: it is stopped.
    Again,
    /// A person's, or the client's own.
    Theirs,
}

impl Reply {
    /// What is to be answered at once.
    #[must_use]
    pub fn answer(&self) -> Option<String> {
        match self {
            Self::Nothing => Some(NOTHING.to_owned()),
            Self::Prompt(verdict) => Some(verdict.answer()),
            Self::Held => None,
        }
    }
}

impl Verdict {
    /// What the hook is answered.
    #[must_use]
    pub fn answer(self) -> String {
        match self {
            Self::Ours(_) | Self::Theirs => NOTHING.to_owned(),
            Self::Altered(_) => block("clsess: this is not the prompt that was sent"),
            Self::Again => block("clsess: this prompt was sent before"),
            Self::Early(_) => block("clsess: another prompt was first; this one comes later"),
        }
    }
}

impl Waiting {
    pub(super) fn new(uuid: Uuid, prompt: &str) -> Self {
        let prompt = prompt.to_owned();
        Self { uuid, prompt }
    }

    /// Whether a text is what became of ours: it has half of its words, or more. Only those are
    /// looked at that cannot have been written in another way: of another text there are none.
    fn became(&self, text: &str) -> bool {
        let there: HashSet<&str> = text.split_whitespace().collect();
        let ascii = |word: &&str| word.is_ascii();
        let words = self.prompt.split_whitespace().filter(ascii);
        let (known, all) = words.fold((0_usize, 0_usize), |(known, all), word| {
            (known + usize::from(there.contains(word)), all + 1)
        });
        known * 2 >= all || text.contains("<pasted_content ") || text.contains(&self.prompt)
    }
}

impl Tracker {
    /// A prompt is about to go to the model.
    pub(super) fn prompt(&mut self, call: Call, out: &mut Vec<Happening>) -> Verdict {
        let Hook::Prompt { prompt, source } = call.hook else {
            return Verdict::Theirs;
        };
        self.conversation(call.session, out);
        // a turn of its own, and the one before has told its end
        if let Some(run) = &self.run
            && run.prompt_id != call.prompt_id
            && (run.stopped.is_some() || run.rested.is_some())
        {
            self.finish_as_it_is(out);
        }
        let by_itself = prompt.starts_with("<task-notification>");
        let typed = !by_itself && source.is_none_or(|source| source == "user");
        // Where nobody else types it can only be ours, whatever has become of it.
        let alone = self.alone;
        let became = |waiting: &mut Waiting| typed && (alone || waiting.became(&prompt));
        if self.waiting.is_none() && self.retyped && typed && prompt == self.last {
            return Verdict::Again;
        }
        match (self.waiting.take_if(became), &self.run) {
            (Some(ours), run) if ours.prompt != prompt => {
                // It is put back into the box, and then the client is at rest.
                self.idle_due |= run.is_none();
                Verdict::Altered(ours.uuid)
            }
            (Some(ours), Some(_)) => Verdict::Early(ours.uuid),
            (Some(ours), None) => {
                self.last = ours.prompt;
                self.start(Some(ours.uuid), call.prompt_id, out);
                Verdict::Ours(ours.uuid)
            }
            // it is put into the running turn, or its own begins after that
            (None, Some(_)) => Verdict::Theirs,
            (None, None) => {
                self.start(None, call.prompt_id, out);
                Verdict::Theirs
            }
        }
    }
}
