//! Everything that reads bytes which others wrote, fed with any bytes.
//!
//! A target takes any input and panics when something that always holds does not. `make fuzz` lets
//! libFuzzer look for such inputs, from `corpus/` (made by `examples/seeds.rs`, and what fuzzing has
//! found worth keeping); `tests/replay.rs` runs every file of it as an ordinary test.

mod agent;
mod socket;
mod split;
mod terminal;

#[path = "../../../crates/broker/src/driver/lines.rs"]
mod splitter; // the broker's own file: private there, and not public for our sake

#[path = "../../../crates/claude/tests/watched/mod.rs"]
mod watched;

pub use agent::{POOL, lines, sse, stream, tracker};
pub use socket::{frames, holder};
pub use terminal::vt;

/// A target.
pub type Target = fn(&[u8]);

/// All targets, by the names of their directories in `corpus/`.
pub const TARGETS: [(&str, Target); 7] = [
    ("stream", stream),
    ("tracker", tracker),
    ("lines", lines),
    ("sse", sse),
    ("frames", frames),
    ("holder", holder),
    ("vt", vt),
];
