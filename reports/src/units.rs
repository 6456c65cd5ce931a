//! Numbers as reports write them. An unknown one is [`UNKNOWN`], never zero.

/// Stands for a value that was not measured or does not exist.
pub const UNKNOWN: &str = "–";

/// Nanoseconds as milliseconds with two decimals, without the unit.
#[must_use]
pub fn ms(ns: f64) -> String {
    format!("{:.2}", ns / 1e6)
}

/// As [`ms`], [`UNKNOWN`] for none.
#[must_use]
pub fn ms_or_unknown(ns: Option<f64>) -> String {
    ns.map_or_else(|| UNKNOWN.to_owned(), ms)
}

/// Nanoseconds as text with the unit, to about three digits: `31.2 ms`, `8.42 s`.
#[must_use]
pub fn short(ns: f64) -> String {
    let (value, unit) = match ns.abs() {
        size if size < 1e6 => (ns / 1e3, "µs"),
        size if size < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let decimals = match value.abs() {
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A share as per cent, without needless zeros: `12.3 %`, `0.21 %`, `5 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let decimals = if share.abs() < 0.1 { 2 } else { 1 };
    let text = format!("{:.decimals$}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A share as per cent, with its sign.
#[must_use]
pub fn signed_percent(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

/// Cliff's delta with its sign and two decimals; what rounds to nothing has no sign.
#[must_use]
pub fn delta(delta: f64) -> String {
    let text = format!("{delta:+.2}");
    if text.ends_with("0.00") { "0.00".to_owned() } else { text }
}

/// The ends of an interval, with two decimals: `0.03–0.11`.
#[must_use]
pub fn range((low, high): (f64, f64)) -> String {
    format!("{low:.2}–{high:.2}")
}

/// `text` with a no-break space between each number and what follows it, so that no line of a
/// page ends between `30` and `ms`.
#[must_use]
pub fn unbroken(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_digit = false;
    for c in text.chars() {
        out.push(if c == ' ' && after_digit { '\u{a0}' } else { c });
        after_digit = c.is_ascii_digit();
    }
    out
}

/// `1 job`, `2 jobs`.
#[must_use]
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        for (ns, text) in
            [(950.0, "0.95 µs"), (31_234_567.0, "31.2 ms"), (8.42e9, "8.42 s"), (1.8e8, "180 ms")]
        {
            assert_eq!(short(ns), text);
        }
    }

    #[test]
    fn shares() {
        for (share, text) in [(0.123, "12.3 %"), (0.0021, "0.21 %"), (0.05, "5 %"), (1.0, "100 %")]
        {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn numbers_hold_on_to_their_units() {
        assert_eq!(unbroken("p90 30 ms, at most 5 %"), "p90\u{a0}30\u{a0}ms, at most 5\u{a0}%");
        assert_eq!((delta(-0.001), delta(0.5)), ("0.00".to_owned(), "+0.50".to_owned()));
    }

    #[test]
    fn unknown_is_not_zero() {
        assert_eq!(ms_or_unknown(None), UNKNOWN);
        assert_eq!(ms_or_unknown(Some(0.0)), "0.00");
    }
}
