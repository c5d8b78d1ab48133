//! Where a broker lives, and who holds it: what brokers and clients find each other by.
//!
//! Files and processes are looked at here, and nothing waits; nothing of what crosses the socket is known.

pub mod lock;
pub mod place;
pub mod remedy;

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds of Unix time.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
