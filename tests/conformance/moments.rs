//! Random moments of a turn.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde_json::json;

use crate::harness::World;

/// The variable that gives the seed.
const SEED: &str = "CLSESS_TEST_SEED";

/// The last moment, counted from the client's start. The turn takes some 120 ms.
const LAST: Duration = Duration::from_millis(160);

/// An endless row of moments (splitmix64).
pub struct Moments(u64);

impl Moments {
    /// From the seed in the environment, else from one of their own; it is printed.
    pub fn new() -> Self {
        let seed = std::env::var(SEED).map_or_else(
            |_| RandomState::new().hash_one(std::process::id()),
            |seed| seed.parse().expect("a number as the seed"),
        );
        println!("{SEED}={seed}");
        Self(seed)
    }

    /// Lets the time pass until the next one. Not a wait for anything: what happens when is what
    /// is tried.
    pub fn pass(&mut self) {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let last = u64::try_from(LAST.as_micros()).unwrap();
        let moment = Duration::from_micros((z ^ (z >> 31)) % last);
        println!("{moment:?}");
        std::thread::sleep(moment);
    }
}

/// Prompts that contain `pattern` are answered in ten pieces, a few milliseconds each; the answer.
pub fn slowly(world: &World, pattern: &str) -> String {
    let answer = format!("{pattern}: an answer that takes its time, ten times six milliseconds");
    let step = json!({"text": answer, "delta_bytes": answer.len().div_ceil(10), "delay_ms": 6});
    world.api.rule(pattern, json!([step]));
    answer
}
