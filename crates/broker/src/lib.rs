//! The broker: the background process that owns the sessions.
//!
//! One runtime of one thread. A task for each session owns its body, queue and
//! journal (`session`); a task for each connection turns frames into commands
//! for them (`conn`). It never prints, and never reads its own environment for a
//! session. `ARCHITECTURE.md` draws the whole.

mod broker;
mod clients;
mod codex;
mod conn;
mod create;
mod descriptors;
mod disk;
pub mod doctor;
mod driver;
mod feed;
mod hooks;
mod journal;
pub mod left;
pub mod listen;
mod log;
mod marks;
mod registry;
mod requests;
mod rights;
mod screen;
mod screens;
mod session;
mod shown;
mod store;
mod subscription;
mod taps;
mod upgrade;
mod warm;
mod watch;

pub use broker::{Ended, Prepared, prepare, run};
pub use clsess_claude::command::{EDITOR_DOOR, OWN_EDITOR};
pub use clsess_place::{lock, now_ms, place};
pub use upgrade::{TakenOver, take_over};
