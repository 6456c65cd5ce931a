//! The constant rate of an open loop: `50/s`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use thiserror::Error;

/// Requests per unit of time, from one in 12 days ([`Rate::MIN_PER_SECOND`]) to a million a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    per_second: f64,
}

/// Why a text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RateError {
    /// Not of the form NUMBER/UNIT.
    #[error("`{0}` is not a rate; write a number and a unit of time, for example `50/s`")]
    Form(String),
    /// The unit is not one of ours.
    #[error("rate `{text}` has the unit `{unit}`; units are s, min and h")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// What stands behind the slash.
        unit: String,
    },
    /// Below [`Rate::MIN_PER_SECOND`] or above [`Rate::MAX_PER_SECOND`].
    #[error("rate `{0}` must be at least 0.000001/s and at most 1000000/s")]
    Range(String),
}

impl Rate {
    /// The lowest rate accepted: one request in a million seconds.
    pub const MIN_PER_SECOND: f64 = 1e-6;

    /// The highest rate accepted: one request a microsecond.
    pub const MAX_PER_SECOND: f64 = 1e6;

    /// A rate in requests per second.
    ///
    /// # Errors
    /// [`RateError::Range`].
    pub fn per_second(per_second: f64) -> Result<Self, RateError> {
        if (Self::MIN_PER_SECOND..=Self::MAX_PER_SECOND).contains(&per_second) {
            Ok(Self { per_second })
        } else {
            Err(RateError::Range(format!("{per_second}/s")))
        }
    }

    /// Requests per second.
    #[must_use]
    pub fn as_per_second(self) -> f64 {
        self.per_second
    }

    /// When the request numbered `index` (from 0) is due, in nanoseconds after the first one.
    ///
    /// Each instant is computed from the start, so that rounding does not add up; one beyond 584
    /// years is put there.
    #[must_use]
    pub fn offset_ns(self, index: u64) -> u64 {
        (index as f64 * 1e9 / self.per_second).round() as u64
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let form = || RateError::Form(text.to_owned());
        let (number, unit) = text.split_once('/').ok_or_else(form)?;
        // `f64` would also read `inf`, `nan` and `1e3`, which nobody means by a rate.
        let plain = number.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'));
        let number: f64 = number.parse().ok().filter(|_| plain).ok_or_else(form)?;
        let seconds = match unit {
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            _ => {
                return Err(RateError::UnknownUnit {
                    text: text.to_owned(),
                    unit: unit.to_owned(),
                });
            }
        };
        Self::per_second(number / seconds).map_err(|_range| RateError::Range(text.to_owned()))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, per_second) in
            [("50/s", 50.0), ("0.5/s", 0.5), ("3000/min", 50.0), ("36/h", 0.01)]
        {
            assert_eq!(text.parse::<Rate>().unwrap().as_per_second(), per_second, "{text}");
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        for text in ["50", "", "/s", "x/s", "inf/s", "nan/s", "1e3/s"] {
            assert!(matches!(text.parse::<Rate>(), Err(RateError::Form(_))), "{text}");
        }
        assert!(matches!("5/ms".parse::<Rate>(), Err(RateError::UnknownUnit { .. })));
        for text in ["0/s", "-5/s", "1000001/s", "0.0000001/h"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError::Range(text.into())));
        }
    }

    #[test]
    fn the_schedule_does_not_drift() {
        let rate: Rate = "3/s".parse().unwrap();
        assert_eq!(rate.offset_ns(1), 333_333_333);
        assert_eq!(rate.offset_ns(3_000_000), 1_000_000_000_000_000);
    }

    proptest! {
        #[test]
        fn never_panics_and_the_schedule_never_goes_back(text in ".{0,12}", index in 0..1_000_000_u64) {
            if let Ok(rate) = text.parse::<Rate>() {
                prop_assert!(rate.offset_ns(index) <= rate.offset_ns(index + 1));
            }
        }
    }
}
