//! All that clsess knows of Claude Code, as pure functions.
//!
//! No I/O, no clock, no reading of the environment: what goes in is bytes and values, what
//! comes out is values. The truth of it is measured, not assumed: `fixtures/` holds what the
//! real client printed, and `fixtures/record.py` records it again for another version.
//! "facts N.M" in the comments are the sections of the measurements.

pub mod command;
pub mod condition;
pub mod input;
mod json;
pub mod leftovers;
pub mod login;
pub mod question;
pub mod record;
pub mod registry;
pub mod sse;
pub mod stream;
pub mod timers;
pub mod tui;
pub mod turn;
pub mod version;
pub mod wire;

pub use stream::{BadLine, Line, parse};
pub use turn::{Happening, Tracker, TurnEnd};
