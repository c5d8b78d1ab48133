//! Claude Code's own interface, driven: what it is started with, what it tells by hooks, OSC 7501,
//! its registry and its start-up dialogs, how a prompt is typed into it, and which turn that is.
//!
//! "facts N" are the sections of the measurements (10 to 19 in their second part).

pub mod dialog;
pub mod hooks;
pub mod prompt;
mod run;
pub mod settings;
pub mod status;
pub mod tracker;
pub mod typing;
mod wired;

pub use hooks::{Call, Hook};
pub use status::{Report, Status};
pub use tracker::{Reply, Tracker, Verdict};
pub use typing::Typing;
