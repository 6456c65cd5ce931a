//! How often the sentinel looks, and in what reservation.

use std::time::Duration;

use model::duration::as_ns;

use super::{INTERVAL, LEAST, PERIOD};

/// A look is worth this share of the CPU at the most: what it takes is missing to those who are
/// measured.
const SHARE: u32 = 20;

/// The least often that it looks, in [`INTERVAL`]s: its deadline stays below that of a VM with 5 ms.
const SLOWEST: u32 = 4;

/// The pace of one sentinel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// From one look to the next, in nanoseconds.
    pub interval_ns: u64,
    /// Its reservation's period, in nanoseconds.
    pub period_ns: u64,
    /// Its reservation's budget, in nanoseconds.
    pub budget_ns: u64,
}

impl Pace {
    /// That for looks that take `look`, with a budget of at most `most` every [`PERIOD`]: a
    /// millisecond, and twice the look as a budget, since it takes longer beside others, which have
    /// the caches. Where looks are slow (the host is itself emulated), it looks less often, and has
    /// all that is left: they vary as well.
    pub fn of(look: Duration, most: Duration) -> Self {
        let slower = as_ns(look * SHARE).div_ceil(as_ns(INTERVAL)).clamp(1, u64::from(SLOWEST));
        let budget = match slower {
            1 => (look * 2).max(LEAST).min(most),
            _ => most * slower as u32,
        };
        Self {
            interval_ns: slower * as_ns(INTERVAL),
            period_ns: slower * as_ns(PERIOD),
            budget_ns: as_ns(budget),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::MOST, *};

    #[test]
    fn the_budget_is_twice_a_look_within_its_bounds() {
        let us = Duration::from_micros;
        let of = |look, most| {
            let Pace { interval_ns, period_ns, budget_ns } = Pace::of(us(look), most);
            (interval_ns / 1000, period_ns / 1000, budget_ns / 1000)
        };
        assert_eq!(of(8, MOST), (1000, 800, 25));
        assert_eq!(of(40, MOST), (1000, 800, 80));
        assert_eq!(of(40, us(50)), (1000, 800, 50));
        assert_eq!(of(40, us(5)), (1000, 800, 5), "what the plan leaves is the limit");
        assert_eq!(of(100, MOST), (2000, 1600, 400));
        assert_eq!(of(170, MOST), (4000, 3200, 800));
        assert_eq!(of(900, us(50)), (4000, 3200, 200));
    }
}
