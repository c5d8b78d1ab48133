//! What OpenAI's Codex CLI says in its terminal and by its hooks, and how it is spoken to. Pure
//! functions, but for [`transcript`].
//!
//! What it is built on was measured: `contrib/profiles/CODEX-FACTS.md`. A turn begins with the hook
//! of its prompt, which shows what was really entered and can stop it, and is over when Codex says by
//! OSC 7501 that it has come to rest; in between the hook `Stop` says the answer, byte for byte.

pub mod hooks;
pub mod prompt;
pub mod sha256;
pub mod state;
pub mod tracker;
pub mod transcript;

#[cfg(test)]
mod tests;
