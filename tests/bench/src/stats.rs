//! Samples and what is said of them.

/// A small generator of numbers that look random (splitmix64); the same seed gives the same run.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Puts a list in random order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

/// The `q` quantile, between the two nearest samples; 0 of none.
pub fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let at = q * last as f64;
    let below = sorted[at.floor() as usize];
    let above = sorted[at.ceil() as usize];
    below + (above - below) * at.fract()
}

/// The median.
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// How many times samples are drawn again.
const DRAWS: usize = 2000;

/// Where 95 of 100 repetitions would put `compare(median(a), median(b))`, by drawing the samples
/// again (bootstrap).
pub fn interval(
    a: &[f64],
    b: &[f64],
    compare: impl Fn(f64, f64) -> f64,
    random: &mut Random,
) -> (f64, f64) {
    let mut again = |samples: &[f64]| -> f64 {
        let drawn: Vec<f64> = samples
            .iter()
            .map(|_| samples[random.below(samples.len())])
            .collect();
        median(&drawn)
    };
    let draws: Vec<f64> = (0..DRAWS).map(|_| compare(again(a), again(b))).collect();
    (quantile(&draws, 0.025), quantile(&draws, 0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[1.0, 2.0], 1.0), 2.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_shuffled_list_has_the_same_things_in_an_order_of_the_seed() {
        let shuffled = |seed| {
            let mut list: Vec<u32> = (0..50).collect();
            Random::new(seed).shuffle(&mut list);
            list
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<u32>>());
    }

    #[test]
    fn the_interval_holds_the_difference() {
        let a: Vec<f64> = (0..100).map(f64::from).collect();
        let b: Vec<f64> = a.iter().map(|x| x + 10.0).collect();
        let (low, high) = interval(&b, &a, |b, a| b - a, &mut Random::new(1));
        assert!(low < 10.0 && 10.0 < high && high - low < 60.0);
    }
}
