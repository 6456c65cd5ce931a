//! A slow-down factor, exact: `1.07` is 107/100.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::ns::{Ns, ceil_div, gcd};

/// A factor of at least 1 and at most 1000, with at most six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    numerator: u32,
    denominator: u32,
}

/// Why a text is not a factor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RatioError {
    /// No decimal number.
    #[error("`{0}` is not a factor; write a decimal number, for example `1.07`")]
    Form(String),
    /// Below 1 or above 1000.
    #[error("`{0}` is outside 1 to 1000; a slow-down of 1 means none")]
    Range(String),
    /// More than six decimals.
    #[error("`{0}` has more than six decimals")]
    TooFine(String),
}

impl Default for Ratio {
    fn default() -> Self {
        Self { numerator: 1, denominator: 1 }
    }
}

impl Ratio {
    /// Numerator and denominator, in lowest terms.
    #[must_use]
    pub fn parts(self) -> (u32, u32) {
        (self.numerator, self.denominator)
    }

    /// ⌈work · factor⌉: the CPU time that `work` takes.
    pub(crate) fn cpu_time(self, work: Ns) -> Ns {
        if self.numerator == self.denominator {
            return work;
        }
        ceil_div(work.saturating_mul(self.numerator.into()), self.denominator.into())
    }

    /// ⌊cpu / factor⌋: the work done in `cpu`.
    pub(crate) fn work(self, cpu: Ns) -> Ns {
        cpu.saturating_mul(self.denominator.into()) / Ns::from(self.numerator)
    }
}

impl FromStr for Ratio {
    type Err = RatioError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || RatioError::Form(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(form());
        }
        if fraction.len() > 6 {
            return Err(RatioError::TooFine(text.to_owned()));
        }
        let denominator = 10_u32.pow(fraction.len() as u32);
        let fraction: u32 = fraction.parse().expect("at most six digits");
        let whole = whole.parse::<u32>().ok().filter(|whole| (1..=1000).contains(whole));
        let numerator = whole.map(|whole| whole * denominator + fraction);
        let numerator = numerator
            .filter(|n| *n <= 1000 * denominator)
            .ok_or_else(|| RatioError::Range(text.to_owned()))?;
        let common = gcd(numerator.into(), denominator.into()) as u32;
        Ok(Self { numerator: numerator / common, denominator: denominator / common })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.numerator) / f64::from(self.denominator))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_decimals_exactly() {
        for (text, parts) in [("1", (1, 1)), ("1.07", (107, 100)), ("2.50", (5, 2))] {
            assert_eq!(text.parse::<Ratio>().unwrap().parts(), parts);
        }
        let factor: Ratio = "1.5".parse().unwrap();
        assert_eq!((factor.cpu_time(3), factor.work(5)), (5, 3));
    }

    #[test]
    fn refuses_with_the_reason() {
        let error = |text: &str| text.parse::<Ratio>().unwrap_err();
        assert!(matches!(error("0.9"), RatioError::Range(_)));
        assert!(matches!(error("1000.1"), RatioError::Range(_)));
        assert!(matches!(error("1.0000001"), RatioError::TooFine(_)));
        for text in ["", "-1", "1e3", "x", "1.", "1,5"] {
            assert!(matches!(error(text), RatioError::Form(_)), "{text}");
        }
    }
}
