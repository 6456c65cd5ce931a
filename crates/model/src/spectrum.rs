//! The percentile spectrum of the HdrHistogram family, as wrk2 prints it with `--latency`.
//!
//! Plotters of such files read it. Values are in milliseconds; between two steps of the percentile
//! lies a fifth of the distance that halves what is left to 100 %.

use std::io::{self, Write};

use crate::hist::Histogram;

/// Steps for each halving of the distance to 100 %, as wrk2 has them.
const STEPS: u32 = 5;

/// Nanoseconds of a millisecond.
const MS: f64 = 1e6;

/// Writes the spectrum of durations in nanoseconds.
///
/// # Errors
/// What the file system says.
pub fn write(out: &mut dyn Write, histogram: &Histogram) -> io::Result<()> {
    let titles = ["Value", "Percentile", "TotalCount"];
    let [value, percentile, count] = titles;
    writeln!(out, "{value:>12} {percentile:>12} {count:>12} 1/(1-Percentile)\n")?;
    let mut counted = 0;
    for step in histogram.iter_quantiles(STEPS) {
        counted += step.count_since_last_iteration();
        let value = histogram.highest_equivalent(step.value_iterated_to()) as f64 / MS;
        let share = step.quantile_iterated_to();
        let inverse = 1.0 / (1.0 - share);
        writeln!(out, "{value:>12.3} {share:>12.6} {counted:>12} {inverse:>12.2}")?;
    }
    let (mean, deviation) = (histogram.mean() / MS, histogram.stdev() / MS);
    let (max, total) = (histogram.max() as f64 / MS, histogram.len());
    writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    writeln!(out, "#[Max     = {max:>12.3}, Total count    = {total:>12}]")?;
    let (buckets, own) = (histogram.buckets(), 2 * SUB_BUCKETS_HALF);
    writeln!(out, "#[Buckets = {buckets:>12}, SubBuckets     = {own:>12}]")
}

/// Half of the linear buckets of a power of two, at three significant digits.
const SUB_BUCKETS_HALF: u64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn spectrum(samples: impl Iterator<Item = u64>) -> String {
        let mut out = Vec::new();
        write(&mut out, &crate::hist::histogram(samples)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_spectrum_climbs_to_all_samples_at_its_greatest() {
        let text = spectrum((1..=1_000).map(|n| n * 1_000_000));
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
            .collect();
        let median = rows.iter().find(|row| row[1] == 0.5).expect("a step at the median");
        assert!((median[0] - 500.0).abs() < 0.6 && median[2] == 500.0 && median[3] == 2.0);
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][2] <= pair[1][2]));
        let last = rows.last().unwrap();
        assert!((last[1], last[2], last[3]) == (1.0, 1_000.0, f64::INFINITY), "{last:?}");
        assert!(
            text.contains("#[Mean    =      500.")
                && text.contains("Total count    =         1000]")
        );
    }

    #[test]
    fn a_spectrum_of_nothing_says_so() {
        assert!(spectrum(std::iter::empty()).contains("Total count    =            0]"));
    }
}
