//! Chance, with a seed that can be given again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The variable that gives the seed.
const SEED: &str = "CLSESS_TEST_SEED";

/// An endless row of numbers (splitmix64).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From the seed in the environment, else from one of its own; it is printed.
    pub fn from_environment() -> Self {
        let seed = std::env::var(SEED).map_or_else(
            |_| RandomState::new().hash_one(std::process::id()),
            |seed| seed.parse().expect("a number as the seed"),
        );
        println!("{SEED}={seed}");
        Self(seed)
    }

    /// Another row, which does not depend on how much is taken of this one later.
    pub fn branch(&mut self) -> Self {
        Self(self.number())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// One below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A moment before `end`.
    pub fn moment(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(end.as_micros()).unwrap()))
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let end = u64::try_from(all.len()).unwrap();
        all[usize::try_from(self.below(end)).unwrap()]
    }

    /// One of these, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, all: &[(u64, T)]) -> T {
        let mut left = self.below(all.iter().map(|(weight, _)| weight).sum());
        for (weight, one) in all {
            if left < *weight {
                return *one;
            }
            left -= weight;
        }
        unreachable!("less than the sum")
    }
}

/// A number that cannot be told from another one by looking at it.
pub fn mixed(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
