//! The one definition of each summary statistic (see `docs/method.md`).
//!
//! The percentile is the *nearest rank*: the p-th percentile of n samples is the ⌈p/100 · n⌉-th
//! smallest (Hyndman and Fan 1996, definition 1), so it is always a value that was measured.
//! HdrHistogram's `value_at_quantile` is the same definition, up to its bucket width.

use serde::{Deserialize, Serialize};

/// Minimum, mean, spread and percentiles of a set of durations, all in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of samples; at least 1.
    pub count: u64,
    /// Smallest sample.
    pub min: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (n - 1 in the denominator); `None` for a single sample.
    pub stddev: Option<f64>,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    #[serde(rename = "p99_9")]
    pub p999: u64,
    /// 99.99th percentile.
    #[serde(rename = "p99_99")]
    pub p9999: u64,
    /// Largest sample.
    pub max: u64,
}

impl Summary {
    /// Summarises `samples` (nanoseconds, any order), sorting them in place; `None` where there
    /// are none, since a statistic of nothing is unknown and not zero.
    #[must_use]
    pub fn of(samples: &mut [u64]) -> Option<Self> {
        samples.sort_unstable();
        Self::of_sorted(samples)
    }

    /// The same of samples that ascend already.
    #[must_use]
    pub fn of_sorted(samples: &[u64]) -> Option<Self> {
        Some(Self {
            count: samples.len() as u64,
            min: *samples.first()?,
            mean: mean(samples)?,
            stddev: stddev(samples),
            p50: percentile(samples, 50.0)?,
            p90: percentile(samples, 90.0)?,
            p99: percentile(samples, 99.0)?,
            p999: percentile(samples, 99.9)?,
            p9999: percentile(samples, 99.99)?,
            max: *samples.last()?,
        })
    }
}

/// The nearest-rank percentile of `sorted` (ascending), `p` in 0..=100; `None` where it is empty.
#[must_use]
pub fn percentile<T: Copy>(sorted: &[T], p: f64) -> Option<T> {
    percentile_beyond(sorted, 0, p)
}

/// Where the percentile stands among `n` ascending samples, from 0.
fn rank(n: usize, p: f64) -> Option<usize> {
    // The subtraction keeps 90 % of 10 at rank 9, where binary fractions would round it up to 10.
    let rank = (p / 100.0 * n as f64 - 1e-9).ceil().max(1.0) as usize;
    rank.min(n).checked_sub(1)
}

/// The nearest-rank percentile of `sorted` and of `beyond` more samples, each of them larger than all
/// in `sorted` by an amount that nobody knows; `None` where the percentile is one of those.
#[must_use]
pub fn percentile_beyond<T: Copy>(sorted: &[T], beyond: u64, p: f64) -> Option<T> {
    sorted.get(rank(sorted.len() + beyond as usize, p)?).copied()
}

/// From so many samples on the 99th percentile is another than the largest.
pub const P99_LEAST: u64 = 100;

/// The arithmetic mean; `None` where there are no samples.
#[must_use]
pub fn mean(samples: &[u64]) -> Option<f64> {
    let sum: u128 = samples.iter().map(|&sample| u128::from(sample)).sum();
    (!samples.is_empty()).then(|| sum as f64 / samples.len() as f64)
}

/// The sample standard deviation (n - 1); `None` for fewer than two samples.
#[must_use]
pub fn stddev(samples: &[u64]) -> Option<f64> {
    let mean = mean(samples)?;
    let squares: f64 = samples.iter().map(|&sample| (sample as f64 - mean).powi(2)).sum();
    (samples.len() > 1).then(|| (squares / (samples.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nearest_rank_on_known_samples() {
        let sorted: Vec<u64> = (1..=10).collect();
        for (p, value) in [(0.0, 1), (10.0, 1), (50.0, 5), (90.0, 9), (91.0, 10), (100.0, 10)] {
            assert_eq!(percentile(&sorted, p), Some(value), "p{p}");
        }
        assert_eq!(percentile::<u64>(&[], 50.0), None);
    }

    #[test]
    fn what_never_ended_is_larger_than_all() {
        let sorted: Vec<u64> = (1..=8).collect();
        assert_eq!(percentile_beyond(&sorted, 2, 80.0), Some(8));
        assert_eq!(percentile_beyond(&sorted, 2, 81.0), None);
        assert_eq!(percentile_beyond::<u64>(&[], 2, 1.0), None);
    }

    #[test]
    fn p99_of_fewer_than_a_hundred_is_the_largest() {
        let up_to = |n: u64| (1..=n).collect::<Vec<_>>();
        assert_eq!(percentile(&up_to(P99_LEAST - 1), 99.0), Some(P99_LEAST - 1));
        assert_eq!(percentile(&up_to(P99_LEAST), 99.0), Some(P99_LEAST - 1));
    }

    #[test]
    fn the_far_tail_of_ten_thousand() {
        let summary = Summary::of(&mut (1..=10_000).collect::<Vec<_>>()).unwrap();
        assert_eq!(
            (summary.p99, summary.p999, summary.p9999, summary.max),
            (9900, 9990, 9999, 10_000)
        );
    }

    #[test]
    fn summary_of_known_samples() {
        let summary = Summary::of(&mut [4, 2, 4, 4, 5, 5, 7, 9]).unwrap();
        assert_eq!((summary.min, summary.p50, summary.max), (2, 4, 9));
        assert!((summary.mean - 5.0).abs() < 1e-12);
        assert!((summary.stddev.unwrap() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(Summary::of(&mut [3]).unwrap().stddev, None);
        assert_eq!(Summary::of(&mut []), None);
    }

    proptest! {
        #[test]
        fn a_percentile_is_a_sample_and_enough_lie_at_or_below_it(
            mut samples in prop::collection::vec(0..1_000_u64, 1..200), p in 0.0..=100.0_f64,
        ) {
            samples.sort_unstable();
            let value = percentile(&samples, p).unwrap();
            let at_or_below = samples.iter().filter(|&&s| s <= value).count();
            let below = samples.iter().filter(|&&s| s < value).count();
            let wanted = p / 100.0 * samples.len() as f64;
            prop_assert!(at_or_below as f64 + 1e-6 >= wanted);
            prop_assert!((below as f64) < wanted + 1e-6 || below == 0);
        }
    }
}
