//! Comparing a sum of C/T with a share of a CPU, exactly.

use std::{cmp::Ordering, collections::BTreeMap};

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;

use crate::{
    ns::Ns,
    supply::{Bound, Ratio},
};

/// Beyond so many distinct periods a sum within 2^-40 of the share is taken to exceed it: the
/// common denominator of the exact sum would have millions of digits. The safe side.
const MOST_PERIODS: usize = 4096;

/// Σ C/T, kept as a bracket of width n · 2^-64 and as exact parts.
#[derive(Debug, Default)]
pub(crate) struct Utilisation {
    /// Σ ⌊C · 2^64 / T⌋.
    low: u128,
    terms: u128,
    /// Σ C for each T.
    by_period: BTreeMap<Ns, Ns>,
}

impl Utilisation {
    /// Adds a task.
    pub(crate) fn add(&mut self, execution: Ns, period: Ns) {
        self.low += (execution << 64) / period;
        self.terms += 1;
        *self.by_period.entry(period).or_default() += execution;
    }

    /// A length beyond which `constant` and the sum's share of it together stay below the supply:
    /// (constant + share · latency) / (share − sum), rounded up. `None` where the sum is not
    /// clearly below the share, or the numbers are too large.
    pub(crate) fn overtaken(&self, bound: &Bound, constant: Ns) -> Option<Ns> {
        let share = long_run_share(bound);
        let spare = share.checked_sub(self.low + self.terms).filter(|&spare| spare > 0)?;
        let late = (share + 2).checked_mul(bound.latency())?;
        // One more, since the work of a slowed-down supply is rounded down.
        let constant = (constant + bound.ahead() + 1).checked_mul(1 << 64)?;
        Some(constant.checked_add(late)?.div_ceil(spare))
    }

    /// How the sum, slowed down, compares with the share that `bound` supplies in the long run.
    pub(crate) fn against(&self, bound: &Bound) -> Ordering {
        let (budget, period) = bound.rate();
        let factor = bound.slow_down();
        let share = long_run_share(bound);
        if self.low + self.terms < share {
            Ordering::Less
        } else if self.low > share + 2 {
            Ordering::Greater
        } else {
            self.exactly(budget, period, factor)
        }
    }

    fn exactly(&self, budget: Ns, period: Ns, slow_down: Ratio) -> Ordering {
        if self.by_period.len() > MOST_PERIODS {
            return Ordering::Greater;
        }
        let fraction = |numerator: Ns, denominator: Ns| {
            BigRational::new(BigInt::from(numerator), denominator.into())
        };
        let sum = self
            .by_period
            .iter()
            .fold(BigRational::zero(), |sum, (&period, &work)| sum + fraction(work, period));
        let (numerator, denominator) = slow_down.parts();
        (sum * fraction(numerator.into(), denominator.into())).cmp(&fraction(budget, period))
    }
}

/// The share of work that `bound` supplies in the long run, in units of 2^-64, rounded down by less
/// than 2 of them.
fn long_run_share(bound: &Bound) -> u128 {
    let (budget, period) = bound.rate();
    let (numerator, denominator) = bound.slow_down().parts();
    (budget << 64) / period * u128::from(denominator) / u128::from(numerator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::Supply;

    fn of(tasks: &[(Ns, Ns)]) -> Utilisation {
        let mut sum = Utilisation::default();
        tasks.iter().for_each(|&(c, t)| sum.add(c, t));
        sum
    }

    #[test]
    fn tells_one_from_almost_one() {
        let full = Supply::dedicated().bound(&[]);
        assert_eq!(of(&[(1, 3), (1, 3), (1, 3)]).against(&full), Ordering::Equal);
        assert_eq!(of(&[(1, 3), (2, 3)]).against(&full), Ordering::Equal);
        // 1/2 + 1/3 + 1/7 = 41/42; the missing 1/42 is given in a period of 42 · 10^15.
        let huge = 42_000_000_000_000_000;
        let rest = 1_000_000_000_000_000;
        let almost = |last| of(&[(1, 2), (1, 3), (1, 7), (last, huge)]).against(&full);
        assert_eq!(almost(rest - 1), Ordering::Less);
        assert_eq!(almost(rest), Ordering::Equal);
        assert_eq!(almost(rest + 1), Ordering::Greater);
    }
}
