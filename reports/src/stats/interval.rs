//! A confidence interval for a mean whose samples are not independent.
//!
//! Jobs of one run follow each other in one schedule, so the textbook interval over jobs would be
//! too narrow. The independent unit is the run (a repetition, or one simulation of the web
//! service): with at least [`MIN_RUNS`] runs, their means enter Student's t (the method of
//! independent replications). With fewer, each run is cut into [`BATCHES`] consecutive batches
//! whose means do (non-overlapping batch means; Schmeiser 1982 advises 10 to 30 of them).
//! Both in Law, *Simulation Modeling and Analysis*, chapter 9.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// From this many runs on, the run is the independent unit.
pub const MIN_RUNS: usize = 5;

/// Batches cut from each run where runs are fewer.
pub const BATCHES: usize = 10;

/// The least number of samples in a batch; below that there is no interval.
pub const MIN_BATCH: usize = 2;

/// The two-sided level of every interval here, as in the paper.
pub const LEVEL: f64 = 0.90;

/// What was taken as independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Repetitions (or simulations).
    Runs,
    /// Consecutive batches of each run.
    Batches,
}

impl Unit {
    /// The word used in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "repetitions",
            Self::Batches => "batches",
        }
    }
}

/// A mean and the half width of its 90 % confidence interval, in the samples' unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanInterval {
    /// Mean of all samples.
    pub mean: f64,
    /// The interval is `mean` ± `half`.
    pub half: f64,
    /// What was taken as independent.
    pub unit: Unit,
    /// How many of them there were; at least 2.
    pub units: usize,
}

/// The interval over `runs`, the samples of each in the order in which they were taken.
///
/// `None` where there are too few samples for either method.
#[must_use]
pub fn mean_interval(runs: &[Vec<u64>]) -> Option<MeanInterval> {
    let runs: Vec<&Vec<u64>> = runs.iter().filter(|run| !run.is_empty()).collect();
    let all: Vec<u64> = runs.iter().flat_map(|run| run.iter().copied()).collect();
    let (unit, means) = unit_means(&runs)?;
    let half = student((means.len() - 1) as f64) * standard_error(&means);
    Some(MeanInterval { mean: model::stats::mean(&all)?, half, unit, units: means.len() })
}

/// Half the width of the interval for the difference of two means: Welch's t over the independent
/// units of each side (Welch 1947).
#[must_use]
pub fn difference_half_width(a: &[Vec<u64>], b: &[Vec<u64>]) -> Option<f64> {
    let means = |runs: &[Vec<u64>]| {
        let runs: Vec<&Vec<u64>> = runs.iter().filter(|run| !run.is_empty()).collect();
        Some(unit_means(&runs)?.1)
    };
    let (x, y) = (means(a)?, means(b)?);
    let (u, v) = (variance(&x) / x.len() as f64, variance(&y) / y.len() as f64);
    if u + v == 0.0 {
        return Some(0.0);
    }
    let part = |share: f64, units: usize| share * share / (units - 1) as f64;
    let freedom = (u + v).powi(2) / (part(u, x.len()) + part(v, y.len()));
    Some(student(freedom) * (u + v).sqrt())
}

/// The means of the independent units, at least two.
fn unit_means(runs: &[&Vec<u64>]) -> Option<(Unit, Vec<f64>)> {
    if runs.len() >= MIN_RUNS {
        let means = runs.iter().map(|run| model::stats::mean(run)).collect::<Option<_>>()?;
        return Some((Unit::Runs, means));
    }
    let mut means = Vec::new();
    for run in runs {
        if run.len() < BATCHES * MIN_BATCH {
            return None;
        }
        means.extend(batches(run, BATCHES).filter_map(model::stats::mean));
    }
    (means.len() > 1).then_some((Unit::Batches, means))
}

/// Cuts `samples` into `count` consecutive pieces whose lengths differ by at most one.
fn batches(samples: &[u64], count: usize) -> impl Iterator<Item = &[u64]> {
    (0..count).map(move |at| &samples[at * samples.len() / count..(at + 1) * samples.len() / count])
}

/// The standard error of the mean of `means`, s / √n.
fn standard_error(means: &[f64]) -> f64 {
    (variance(means) / means.len() as f64).sqrt()
}

/// The sample variance (n - 1).
fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// The two-sided quantile of Student's t at [`LEVEL`]; degrees of freedom may be fractional.
fn student(freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom)
        .expect("at least one degree of freedom")
        .inverse_cdf(0.5 + LEVEL / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_the_printed_table() {
        for (freedom, t) in
            [(1.0, 6.314), (4.0, 2.132), (9.0, 1.833), (19.0, 1.729), (100.0, 1.660)]
        {
            assert!((student(freedom) - t).abs() < 5e-4, "{freedom}");
        }
    }

    #[test]
    fn with_five_runs_the_run_is_the_unit() {
        let runs: Vec<Vec<u64>> = [8, 9, 10, 11, 12].map(|mean| vec![mean - 1, mean + 1]).into();
        let interval = mean_interval(&runs).unwrap();
        assert_eq!((interval.unit, interval.units), (Unit::Runs, 5));
        // s = √2.5, t(0.95, 4) = 2.1318: 2.1318 · √(2.5 / 5) = 1.5074.
        assert!((interval.mean - 10.0).abs() < 1e-12 && (interval.half - 1.5074).abs() < 1e-3);
    }

    #[test]
    fn with_one_run_ten_batches_are() {
        let run: Vec<u64> = (0..10).flat_map(|batch| [batch, batch, batch + 2]).collect();
        let interval = mean_interval(&[run]).unwrap();
        assert_eq!((interval.unit, interval.units), (Unit::Batches, 10));
        // Means 2/3 + 0..9: s = √(55/6), t(0.95, 9) = 1.8331.
        assert!((interval.half - 1.8331 * (55.0_f64 / 60.0).sqrt()).abs() < 1e-3);
    }

    #[test]
    fn welch_on_a_worked_example() {
        let side = |means: [u64; 5]| -> Vec<Vec<u64>> { means.map(|mean| vec![mean]).into() };
        let (a, b) = (side([8, 9, 10, 11, 12]), side([16, 18, 20, 22, 24]));
        // Variances 2.5 and 10: standard error √2.5, freedom 2.5² / (0.5²/4 + 2²/4) = 5.882.
        let half = difference_half_width(&a, &b).unwrap();
        assert!((half - student(5.882) * 2.5_f64.sqrt()).abs() < 1e-3);
        assert_eq!(difference_half_width(&a, &[]), None);
    }

    #[test]
    fn too_little_is_no_interval() {
        assert_eq!(mean_interval(&[]), None);
        assert_eq!(mean_interval(&[vec![1; 19]]), None);
        assert!(mean_interval(&[vec![1; 20]]).is_some());
    }

    #[test]
    fn a_trend_within_the_run_widens_it() {
        let calm: Vec<u64> = (0..100).map(|job| 100 + job % 2 * 10).collect();
        let trend: Vec<u64> = (0..100).map(|job| 100 + job / 50 * 10).collect();
        let half = |run: &Vec<u64>| mean_interval(std::slice::from_ref(run)).unwrap().half;
        assert!(half(&trend) > 10.0 * half(&calm));
    }

    proptest! {
        #[test]
        fn batches_partition(samples in prop::collection::vec(0..9_u64, 20..200)) {
            let pieces: Vec<&[u64]> = batches(&samples, BATCHES).collect();
            prop_assert_eq!(pieces.concat(), samples.as_slice());
            let sizes: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }
}
