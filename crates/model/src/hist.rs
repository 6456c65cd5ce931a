//! HdrHistogram logs (`*.hlog`), readable by the tools of the HdrHistogram family.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};

use crate::stats::Summary;

/// Significant decimal digits kept: 1 part in 1000, whatever the magnitude.
pub const SIGNIFICANT_DIGITS: u8 = 3;

/// A histogram of durations in nanoseconds.
pub type Histogram = hdrhistogram::Histogram<u64>;

/// A histogram of durations in nanoseconds that resizes itself.
#[must_use]
pub fn histogram(samples: impl IntoIterator<Item = u64>) -> Histogram {
    let mut histogram =
        Histogram::new(SIGNIFICANT_DIGITS).expect("three significant digits are valid");
    for sample in samples {
        histogram += sample;
    }
    histogram
}

/// Durations in nanoseconds, counted in bounded memory: count, least, mean, standard deviation and
/// greatest are exact, percentiles to the significant digits of the histogram.
#[derive(Debug, Clone)]
pub struct Distribution {
    histogram: Histogram,
    least: u64,
    greatest: u64,
    /// Sums are taken of differences to the first value, so that they stay precise.
    first: u64,
    sum: f64,
    squares: f64,
}

impl Distribution {
    /// Grows with the greatest duration; `digits` significant digits, 1 to 5.
    ///
    /// # Panics
    /// Where `digits` are not 1 to 5.
    #[must_use]
    pub fn growing(digits: u8) -> Self {
        Self::of(Histogram::new(digits).expect("1 to 5 significant digits"))
    }

    fn of(histogram: Histogram) -> Self {
        Self { histogram, least: u64::MAX, greatest: 0, first: 0, sum: 0.0, squares: 0.0 }
    }

    /// For durations up to `longest`, to [`SIGNIFICANT_DIGITS`]; the percentiles of longer ones count
    /// as that long. Counting allocates nothing.
    #[must_use]
    pub fn up_to(longest: u64) -> Self {
        let mut histogram = Histogram::new_with_bounds(1, longest.max(2), SIGNIFICANT_DIGITS)
            .expect("1 lies below, three significant digits are valid");
        // Every page of the counts is touched: each power of two has two pages.
        for power in 0..u64::BITS {
            histogram.saturating_record(1 << power);
            histogram.saturating_record((1 << power) + (1 << power >> 1));
        }
        histogram.reset();
        Self::of(histogram)
    }

    /// Counts a duration.
    #[inline]
    pub fn add(&mut self, ns: u64) {
        if self.histogram.is_empty() {
            self.first = ns;
        }
        // Refused only where it does not grow.
        if self.histogram.record(ns).is_err() {
            self.histogram.saturating_record(ns);
        }
        self.least = self.least.min(ns);
        self.greatest = self.greatest.max(ns);
        let difference = ns as f64 - self.first as f64;
        self.sum += difference;
        self.squares += difference * difference;
    }

    /// The histogram, for logs.
    #[must_use]
    pub fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// The same statistics as of samples; none where nothing was counted.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let count = self.histogram.len();
        let n = count as f64;
        let variance = (self.squares - self.sum * self.sum / n) / (n - 1.0);
        let at = |share| self.histogram.value_at_quantile(share).clamp(self.least, self.greatest);
        (count > 0).then(|| Summary {
            count,
            min: self.least,
            mean: self.first as f64 + self.sum / n,
            stddev: (count > 1).then(|| variance.max(0.0).sqrt()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: self.greatest,
        })
    }
}

/// Writes one interval a tagged histogram (for example one a task) as an HdrHistogram log.
///
/// `started` is the instant of the first release (or request) and `length` the interval that all of
/// them cover; values are nanoseconds.
///
/// # Errors
/// What the file system says, with the path.
pub fn write_log(
    path: &Path,
    started: SystemTime,
    length: Duration,
    tagged: &[(String, Histogram)],
) -> Result<(), String> {
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut out = BufWriter::new(File::create(path).map_err(|error| fail(&error))?);
    write_to(&mut out, started, length, tagged).map_err(|error| fail(&error))?;
    out.flush().map_err(|error| fail(&error))
}

/// The same to a file that is open already.
///
/// # Errors
/// What the file system says.
pub fn write_to(
    mut out: &mut dyn Write,
    started: SystemTime,
    length: Duration,
    tagged: &[(String, Histogram)],
) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .with_start_time(started)
        .begin_log_with(&mut out, &mut serializer)?;
    for (tag, histogram) in tagged {
        writer
            .write_histogram(histogram, Duration::ZERO, length, Tag::new(tag))
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_agree_with_the_one_definition() {
        let mut samples: Vec<u64> = (1..=1000).map(|n| n * 1_000_000).collect();
        let histogram = histogram(samples.iter().copied());
        let summary = crate::stats::Summary::of(&mut samples).unwrap();
        for (quantile, exact) in [(0.5, summary.p50), (0.9, summary.p90), (0.99, summary.p99)] {
            let got = histogram.value_at_quantile(quantile);
            assert!(got.abs_diff(exact) <= exact / 1000, "{quantile}: {got} against {exact}");
        }
    }

    #[test]
    fn a_distribution_has_the_statistics_of_its_samples() {
        let samples: Vec<u64> = (0..20_000_u64).map(|n| 1_000 + (n * n) % 7_919_000).collect();
        let exact = Summary::of(&mut samples.clone()).unwrap();
        for distribution in [Distribution::up_to(10_000_000), Distribution::growing(3)] {
            agrees(distribution, &samples, &exact);
        }
    }

    fn agrees(mut distribution: Distribution, samples: &[u64], exact: &Summary) {
        assert_eq!(distribution.summary(), None);
        samples.iter().for_each(|&ns| distribution.add(ns));
        let got = distribution.summary().unwrap();
        assert_eq!((got.count, got.min, got.max), (exact.count, exact.min, exact.max));
        assert!((got.mean / exact.mean - 1.0).abs() < 1e-9);
        assert!((got.stddev.unwrap() / exact.stddev.unwrap() - 1.0).abs() < 1e-9);
        for (got, exact) in [
            (got.p50, exact.p50),
            (got.p90, exact.p90),
            (got.p99, exact.p99),
            (got.p999, exact.p999),
            (got.p9999, exact.p9999),
        ] {
            assert!(got.abs_diff(exact) <= exact / 1000, "{got} against {exact}");
        }
    }

    #[test]
    fn what_is_longer_than_foreseen_is_the_greatest_all_the_same() {
        let mut distribution = Distribution::up_to(1_000_000);
        for ns in [0, 5, 30_000_000] {
            distribution.add(ns);
        }
        let summary = distribution.summary().unwrap();
        assert_eq!((summary.count, summary.min, summary.max), (3, 0, 30_000_000));
    }
}
