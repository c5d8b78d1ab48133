//! What a shell offers when somebody presses the Tab key: `clsess complete`, and the completions of
//! bash, zsh and fish, each asked by its own Tab key in a terminal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/terminal.rs"]
#[allow(dead_code)]
mod terminal;

mod offered;
mod shells;
