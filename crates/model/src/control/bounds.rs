//! Between which budgets a law may choose.

use std::time::Duration;

use thiserror::Error;

use super::ROUND;
use crate::duration;

/// 0 < min ≤ max ≤ P.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    min: Duration,
    max: Duration,
    period: Duration,
}

/// Why three durations are not bounds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BoundsError {
    /// Nothing can be reserved.
    #[error("`min` is 0; it must be above zero, for example `2ms`")]
    Zero,
    /// min is above max.
    #[error("`min` is {0} and `max` is {1}: the bounds are crossed; give `min` ≤ `max`")]
    Crossed(String, String),
    /// max is above P.
    #[error("`max` is {0}, which is greater than the period, {1}; give at most the period")]
    AbovePeriod(String, String),
}

impl Bounds {
    /// Checks them.
    ///
    /// # Errors
    /// One [`BoundsError`] a rule.
    pub fn new(min: Duration, max: Duration, period: Duration) -> Result<Self, BoundsError> {
        let text = duration::format;
        if min.is_zero() {
            return Err(BoundsError::Zero);
        }
        if min > max {
            return Err(BoundsError::Crossed(text(min), text(max)));
        }
        if max > period {
            return Err(BoundsError::AbovePeriod(text(max), text(period)));
        }
        Ok(Self { min, max, period })
    }

    /// The least budget.
    #[must_use]
    pub fn min(self) -> Duration {
        self.min
    }

    /// The greatest budget, which admission counts.
    #[must_use]
    pub fn max(self) -> Duration {
        self.max
    }

    /// P.
    #[must_use]
    pub fn period(self) -> Duration {
        self.period
    }

    /// The budget of this share of a CPU, in whole microseconds, or the nearest bound.
    pub(super) fn nearest(self, share: f64) -> Duration {
        let most = self.max.as_secs_f64() / self.period.as_secs_f64();
        // `clamp` keeps NaN, and no sample makes one.
        let budget = self.period.mul_f64(share.clamp(0.0, most));
        let rounds = budget.as_nanos() / ROUND.as_nanos();
        let whole = ROUND * u32::try_from(rounds).unwrap_or(u32::MAX);
        whole.clamp(self.min, self.max)
    }
}
