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
}
