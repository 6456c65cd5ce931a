//! A CPU reservation RSV = (Q, P): the processor for Q in every P (the paper, section 3).

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::duration::{self, DurationError};

/// Budget Q in every period P; 0 < Q ≤ P.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reservation {
    budget: Duration,
    period: Duration,
}

/// Why a text or a pair is not a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReservationError {
    /// Not of the form Q/P.
    #[error("`{0}` is not a reservation; write budget/period, for example `28ms/50ms`")]
    Form(String),
    /// One half is not a duration.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// Q or P is zero.
    #[error("reservation `{0}`: budget and period must be above zero")]
    Zero(String),
    /// Q is above P.
    #[error("reservation `{0}`: the budget is greater than the period")]
    BudgetAbovePeriod(String),
}

impl Reservation {
    /// Checks 0 < `budget` ≤ `period`.
    ///
    /// # Errors
    /// [`ReservationError::Zero`] and [`ReservationError::BudgetAbovePeriod`].
    pub fn new(budget: Duration, period: Duration) -> Result<Self, ReservationError> {
        let text = || format!("{}/{}", duration::format(budget), duration::format(period));
        if budget.is_zero() || period.is_zero() {
            return Err(ReservationError::Zero(text()));
        }
        if budget > period {
            return Err(ReservationError::BudgetAbovePeriod(text()));
        }
        Ok(Self { budget, period })
    }

    /// Q.
    #[must_use]
    pub fn budget(self) -> Duration {
        self.budget
    }

    /// P.
    #[must_use]
    pub fn period(self) -> Duration {
        self.period
    }

    /// Q / P, in (0, 1].
    #[must_use]
    pub fn bandwidth(self) -> f64 {
        self.budget.as_secs_f64() / self.period.as_secs_f64()
    }
}

impl FromStr for Reservation {
    type Err = ReservationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (budget, period) =
            text.split_once('/').ok_or_else(|| ReservationError::Form(text.to_owned()))?;
        Self::new(duration::parse(budget)?, duration::parse(period)?)
    }
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", duration::format(self.budget), duration::format(self.period))
    }
}

impl Serialize for Reservation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reservation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let reservation: Reservation = "28ms/50ms".parse().unwrap();
        assert_eq!(reservation.to_string(), "28ms/50ms");
        assert!((reservation.bandwidth() - 0.56).abs() < 1e-12);
    }

    #[test]
    fn refuses_with_the_reason() {
        let error = |text: &str| text.parse::<Reservation>().unwrap_err().to_string();
        assert!(error("28ms").contains("budget/period"));
        assert!(error("60ms/50ms").contains("greater than the period"));
        assert!(error("0/50ms").contains("above zero"));
        assert!(error("28/50ms").contains("no unit"));
    }
}
