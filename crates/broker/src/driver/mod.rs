//! Bodies of sessions: the processes that speak for them.

mod held;
mod lines;
pub mod orphans;
pub mod stream;

pub use held::StartError;
