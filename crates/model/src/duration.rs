//! Durations as people write them: `30ms`, `1.5s`, `250us`.
//!
//! The text is converted with integer arithmetic, so that `0.1ms` is exactly 100 000 ns.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};
use thiserror::Error;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// There is a number, but no unit behind it.
    #[error("`{0}` has no unit; write for example `{0}ms`")]
    NoUnit(String),
    /// The number is below zero.
    #[error("`{0}` is negative; a duration is at least 0")]
    Negative(String),
    /// The unit is not one of ours.
    #[error("`{text}` has the unit `{unit}`; units are ns, us, ms, s, min and h")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// What stands behind the number.
        unit: String,
    },
    /// There is no number in front of the unit, or it is malformed.
    #[error("`{0}` is not a duration; write a number and a unit, for example `30ms`")]
    NotANumber(String),
    /// The text names a fraction of a nanosecond.
    #[error("`{0}` is finer than a nanosecond")]
    TooFine(String),
    /// The value exceeds 2^63 ns (292 years).
    #[error("`{0}` is too long; at most 292 years")]
    TooLong(String),
}

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses a decimal number followed by a unit (`ns`, `us`, `ms`, `s`, `min`, `h`).
///
/// A bare `0` is accepted, since zero needs no unit; whether zero makes sense is for the caller.
///
/// # Errors
/// One [`DurationError`] a rule; each quotes the text.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(Duration::ZERO);
    }
    let quoted = || trimmed.to_owned();
    if trimmed.starts_with('-') {
        return Err(DurationError::Negative(quoted()));
    }
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let unit = unit.trim();
    if number.is_empty() || !number.contains(|c: char| c.is_ascii_digit()) {
        return Err(DurationError::NotANumber(quoted()));
    }
    if unit.is_empty() {
        return Err(DurationError::NoUnit(quoted()));
    }
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(DurationError::UnknownUnit { text: quoted(), unit: unit.to_owned() });
    };
    nanoseconds(number, *scale, trimmed).map(Duration::from_nanos)
}

/// `number` × `scale`, exact.
fn nanoseconds(number: &str, scale: u64, text: &str) -> Result<u64, DurationError> {
    let digits = number.replace('_', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.contains('.') {
        return Err(DurationError::NotANumber(text.to_owned()));
    }
    let too_long = || DurationError::TooLong(text.to_owned());
    let whole: u64 =
        if whole.is_empty() { 0 } else { whole.parse().map_err(|_parse| too_long())? };
    let mut total = u128::from(whole) * u128::from(scale);
    if !fraction.is_empty() {
        if fraction.len() > 18 {
            return Err(DurationError::TooFine(text.to_owned()));
        }
        let parts: u128 = fraction.parse().expect("at most 18 digits");
        let denominator = 10_u128.pow(fraction.len() as u32);
        let scaled = parts * u128::from(scale);
        if !scaled.is_multiple_of(denominator) {
            return Err(DurationError::TooFine(text.to_owned()));
        }
        total += scaled / denominator;
    }
    u64::try_from(total).ok().filter(|ns| *ns <= i64::MAX as u64).ok_or_else(too_long)
}

/// The shortest text that [`parse`] reads back as the same duration, in the largest unit that
/// needs at most three decimals.
#[must_use]
pub fn format(duration: Duration) -> String {
    let ns = duration.as_nanos();
    if ns == 0 {
        return "0".to_owned();
    }
    for (unit, scale) in [("s", 1_000_000_000_u128), ("ms", 1_000_000), ("us", 1_000)] {
        let thousandth = scale / 1000;
        if ns >= scale && ns.is_multiple_of(thousandth.max(1)) {
            let fraction = format!("{:03}", (ns % scale) / thousandth.max(1));
            let fraction = fraction.trim_end_matches('0');
            let dot = if fraction.is_empty() { "" } else { "." };
            return format!("{}{dot}{fraction}{unit}", ns / scale);
        }
    }
    format!("{ns}ns")
}

/// Nanoseconds as people read them in a table or a sentence: `26.5 ms`.
#[must_use]
pub fn in_ms(ns: u64) -> String {
    let text = format!("{}.{:06}", ns / 1_000_000, ns % 1_000_000);
    format!("{} ms", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Nanoseconds as a `u64`, for CSV columns and JSON keys; saturates after 584 years.
#[must_use]
pub fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes a duration as its text; for `#[serde(with = "model::duration")]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// Reads a duration from its text; for `#[serde(with = "model::duration")]`.
///
/// # Errors
/// Those of [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ns) in [
            ("30ms", 30_000_000),
            ("1.5s", 1_500_000_000),
            ("0.1ms", 100_000),
            ("250us", 250_000),
            ("2min", 120_000_000_000),
            ("7ns", 7),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
    }

    #[test]
    fn refuses_with_the_reason() {
        assert_eq!(parse("30"), Err(DurationError::NoUnit("30".into())));
        assert_eq!(parse("-5ms"), Err(DurationError::Negative("-5ms".into())));
        assert_eq!(parse("0.5ns"), Err(DurationError::TooFine("0.5ns".into())));
        assert!(matches!(parse("3parsec"), Err(DurationError::UnknownUnit { .. })));
        for text in ["", "ms", ".ms", "1.2.3ms", "abc"] {
            assert!(matches!(parse(text), Err(DurationError::NotANumber(_))), "{text}");
        }
        assert!(matches!(parse("99999999999999999999s"), Err(DurationError::TooLong(_))));
    }

    #[test]
    fn milliseconds_without_needless_zeros() {
        let texts = [26_500_000, 30_000_000, 26_666_667, 0].map(in_ms);
        assert_eq!(texts, ["26.5 ms", "30 ms", "26.666667 ms", "0 ms"]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ns in 0..=i64::MAX as u64) {
            let duration = Duration::from_nanos(ns);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
