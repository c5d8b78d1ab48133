//! Whether the line behind a program's prompt is empty and nobody else's: only then is a prompt typed.
//!
//! What people type while a command runs may be for that command or for the line behind it; nobody
//! can tell. So each Enter of theirs has to be followed by a prompt, and what they have typed behind
//! the last one by an Enter. What is left is cleared by Ctrl-C: the kernel throws away what was typed, and the
//! program shows a new prompt. At once where no Enter is under way, since that prompt can be of nothing
//! else; otherwise when the program has been silent at its prompt for a while.

/// What is to be done for a prompt that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clears {
    /// Nothing: the line is free, or somebody is at it.
    No,
    /// Ctrl-C.
    Now,
    /// The same, when nothing has come for a while.
    Later,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Line {
    /// Prompts that the program has shown.
    prompts: u64,
    /// It waits at one.
    at_prompt: bool,
    /// How often people have pressed Enter without a prompt behind it yet.
    enters: u32,
    /// Something of theirs may stand on the line.
    partial: bool,
    /// What there is was typed under an earlier broker.
    unknown: bool,
    /// Ctrl-C was pressed, and no prompt has come since.
    clears: bool,
    /// They are pasting: what looks like Enter is a part of it.
    pasting: bool,
}

/// What brackets a paste.
const PASTE: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];

impl Line {
    /// Of a program that an earlier broker has left.
    #[must_use]
    pub fn taken_up() -> Self {
        Self {
            unknown: true,
            ..Self::default()
        }
    }

    /// A person has typed this.
    pub fn is_typed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(byte) = rest.first() {
            let [begins, ends] = PASTE;
            if rest.starts_with(begins) || rest.starts_with(ends) {
                self.pasting = rest.starts_with(begins);
                self.partial = true;
                rest = &rest[begins.len()..];
                continue;
            }
            match byte {
                b'\r' | b'\n' if !self.pasting => {
                    self.enters = self.enters.saturating_add(1);
                    self.partial = false;
                }
                // Ctrl-C: a prompt follows, and nothing of what was typed is left.
                3 => (self.enters, self.partial, self.pasting) = (1, false, false),
                // Ctrl-D ends something.
                4 => {}
                _ => self.partial = true,
            }
            rest = &rest[1..];
        }
    }

    /// A prompt of ours is typed: the line is taken.
    pub fn is_ours(&mut self) {
        self.at_prompt = false;
    }

    /// How many prompts the program has shown by now, and whether it waits at one.
    pub fn is_prompted(&mut self, prompts: u64, at_prompt: bool) {
        let more = prompts.saturating_sub(self.prompts);
        self.prompts = prompts;
        if more > 0 && self.clears {
            (self.clears, self.unknown) = (false, false);
            (self.enters, self.partial) = (0, false);
        }
        if more > 0 || !at_prompt {
            self.at_prompt = at_prompt;
        }
        self.enters = self
            .enters
            .saturating_sub(u32::try_from(more).unwrap_or(u32::MAX));
    }

    /// Ctrl-C is pressed to clear it.
    pub fn is_cleared(&mut self) {
        self.clears = true;
    }

    /// Whether a prompt can be typed.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let touched = self.enters > 0 || self.partial || self.unknown || self.clears;
        self.at_prompt && !touched
    }

    /// How it is to be cleared for a prompt that waits. `alone`: nobody looks on who could end
    /// what they have begun.
    #[must_use]
    pub fn clears(&self, alone: bool) -> Clears {
        if !self.at_prompt || self.clears || (self.partial && !alone) {
            return Clears::No;
        }
        match (self.unknown || self.enters > 0, self.partial) {
            (true, _) => Clears::Later,
            (false, true) => Clears::Now,
            (false, false) => Clears::No,
        }
    }

    /// Nothing was typed under the earlier broker that is not done.
    pub fn is_known(&mut self) {
        self.unknown = false;
    }
}
