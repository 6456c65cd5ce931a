//! Where times come from: constant, evenly spread, or drawn from samples.

use std::sync::Arc;

use fastrand::Rng;
use model::stats::percentile;

/// A distribution of times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Times {
    /// Always the same.
    Constant(u64),
    /// Every whole nanosecond from the first to the second, both included, alike.
    Uniform(u64, u64),
    /// One of these, each alike; an empty list counts as 0.
    Samples(Arc<[u64]>),
}

impl Times {
    /// A draw; a constant takes nothing from the generator.
    #[inline]
    pub(super) fn draw(&self, rng: &mut Rng) -> u64 {
        match self {
            Self::Constant(value) => *value,
            Self::Uniform(from, to) => rng.u64(*from..=*to),
            Self::Samples(samples) if samples.is_empty() => 0,
            Self::Samples(samples) => samples[rng.usize(..samples.len())],
        }
    }

    /// The same, each time put through `change`, which must not reverse their order.
    #[must_use]
    pub fn map(&self, change: impl Fn(u64) -> u64) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(change(*value)),
            Self::Uniform(from, to) => Self::Uniform(change(*from), change(*to)),
            Self::Samples(samples) => Self::Samples(samples.iter().map(|&s| change(s)).collect()),
        }
    }

    /// As many times that can be drawn lie above it as below.
    #[must_use]
    pub fn median(&self) -> u64 {
        match self {
            Self::Constant(value) => *value,
            Self::Uniform(from, to) => from.midpoint(*to),
            Self::Samples(samples) => {
                let mut sorted = samples.to_vec();
                sorted.sort_unstable();
                percentile(&sorted, 50.0).unwrap_or(0)
            }
        }
    }

    /// The greatest time that can be drawn.
    #[must_use]
    pub fn greatest(&self) -> u64 {
        match self {
            Self::Constant(value) => *value,
            Self::Uniform(_, to) => *to,
            Self::Samples(samples) => samples.iter().copied().max().unwrap_or(0),
        }
    }
}

/// A generator for one use, so that what one task draws does not change what another does.
pub(super) fn generator(seed: u64, stream: u64) -> Rng {
    // SplitMix64 (Steele, Lea and Flood 2014) sets neighbouring seeds and streams apart.
    let mut mixed = seed.wrapping_add(stream.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    Rng::with_seed(mixed ^ (mixed >> 31))
}

/// Intervals in which the machine runs nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stalls {
    /// None.
    #[default]
    None,
    /// These (start, length), ascending and apart.
    At(Arc<[(u64, u64)]>),
    /// Gaps (from the end of one stall to the start of the next) and lengths drawn at random.
    Drawn {
        /// Gaps.
        gaps: Times,
        /// Lengths.
        lengths: Times,
    },
}

/// The stalls of one simulation, one after the other.
#[derive(Debug)]
pub(super) struct StallSource {
    stalls: Stalls,
    next: usize,
    rng: Rng,
}

impl StallSource {
    /// Those of the simulation with this seed.
    pub fn of(stalls: &Stalls, seed: u64) -> Self {
        Self { stalls: stalls.clone(), next: 0, rng: generator(seed, u64::MAX) }
    }

    /// Start and end of the next stall, where the one before ended at `from`; `u64::MAX` where
    /// there is none.
    pub fn after(&mut self, from: u64) -> (u64, u64) {
        match &self.stalls {
            Stalls::None => (u64::MAX, u64::MAX),
            Stalls::At(list) => {
                let stall = list.get(self.next).copied();
                self.next += 1;
                stall.map_or((u64::MAX, u64::MAX), |(start, length)| {
                    (start.max(from), start.max(from).saturating_add(length))
                })
            }
            Stalls::Drawn { gaps, lengths } => {
                // At least 1 µs, so that time goes on whatever the samples are.
                let start = from.saturating_add(gaps.draw(&mut self.rng).max(1_000));
                (start, start.saturating_add(lengths.draw(&mut self.rng)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_range_and_repeat_with_the_seed() {
        let draw = |times: &Times, seed| {
            let mut rng = generator(seed, 0);
            (0..100).map(|_| times.draw(&mut rng)).collect::<Vec<_>>()
        };
        let uniform = Times::Uniform(5, 9);
        assert!(draw(&uniform, 1).iter().all(|value| (5..=9).contains(value)));
        assert_eq!(draw(&uniform, 1), draw(&uniform, 1));
        assert_ne!(draw(&uniform, 1), draw(&uniform, 2));
        let samples = Times::Samples([3, 4].into());
        assert!(draw(&samples, 1).iter().all(|value| [3, 4].contains(value)));
        assert_eq!(samples.map(|value| value * 2).greatest(), 8);
        assert_eq!(Times::Samples([].into()).draw(&mut generator(0, 0)), 0);
    }

    #[test]
    fn listed_stalls_come_in_their_order_and_then_no_more() {
        let stalls = Stalls::At([(5, 2), (10, 1)].into());
        let mut source = StallSource::of(&stalls, 0);
        assert_eq!(source.after(0), (5, 7));
        assert_eq!(source.after(7), (10, 11));
        assert_eq!(source.after(11).0, u64::MAX);
    }
}
