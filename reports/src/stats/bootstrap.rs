//! Confidence intervals for the distance of two samples of dependent jobs.
//!
//! Two stages (Davison and Hinkley 1997, section 3.8): runs are drawn first, with replacement, then
//! in each drawn run clusters of jobs that belong together (those of one hyperperiod). One side is
//! drawn at a time, which gives the part of the variance that each has. Drawn from n runs the
//! variance comes out (n − 1)/n of what it is, which for the two or three runs of a suite is far too
//! little: it is put right by n/(n − 1), and the quantile is Student's with the degrees of freedom
//! of Welch and Satterthwaite over the runs. Drawing clusters within runs adds spread that the runs
//! have already: the interval errs on the wide side. The generator is seeded: the same folder gives
//! the same report.

use super::interval::{joint_freedom, student};

/// Drawings of each side.
pub const REPLICATES: usize = 300;

const SEED: u64 = 0x7265_706f_7274_7321;

/// Runs, each of clusters of samples.
pub type Runs = [Vec<Vec<u64>>];

/// A distance and its 90 % confidence interval: 5 % of the probability below, 5 % above.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Of the samples.
    pub distance: f64,
    /// At least zero.
    pub low: f64,
    /// The one-sided upper 95 % bound.
    pub high: f64,
}

/// The interval of `statistic`, which sees ascending samples and is never negative.
///
/// `None` where a side has fewer than two runs: a single one tells nothing of another.
pub fn interval(
    a: &Runs,
    b: &Runs,
    statistic: impl Fn(&[u64], &[u64]) -> Option<f64>,
) -> Option<Interval> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let (x, y) = (flat(a.iter().flatten()), flat(b.iter().flatten()));
    let distance = statistic(&x, &y)?;
    let mut rng = fastrand::Rng::with_seed(SEED);
    let u = variance(a, &mut rng, |drawn| statistic(drawn, &y))?;
    let v = variance(b, &mut rng, |drawn| statistic(&x, drawn))?;
    let freedom = joint_freedom([(u, (a.len() - 1) as f64), (v, (b.len() - 1) as f64)]);
    let half = student(freedom) * (u + v).sqrt();
    Some(Interval { distance, low: (distance - half).max(0.0), high: distance + half })
}

/// The variance of `statistic` over drawings of one side's runs.
fn variance(
    runs: &Runs,
    rng: &mut fastrand::Rng,
    statistic: impl Fn(&[u64]) -> Option<f64>,
) -> Option<f64> {
    let values: Vec<f64> =
        (0..REPLICATES).map(|_| statistic(&draw(runs, rng))).collect::<Option<_>>()?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let n = runs.len() as f64;
    Some(squares / (values.len() - 1) as f64 * n / (n - 1.0))
}

fn draw(runs: &Runs, rng: &mut fastrand::Rng) -> Vec<u64> {
    let mut clusters: Vec<&Vec<u64>> = Vec::new();
    for _ in runs {
        let run = &runs[rng.usize(..runs.len())];
        clusters.extend(run.iter().map(|_| &run[rng.usize(..run.len())]));
    }
    flat(clusters)
}

fn flat<'a>(clusters: impl IntoIterator<Item = &'a Vec<u64>>) -> Vec<u64> {
    let mut all: Vec<u64> = clusters.into_iter().flatten().copied().collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::two_sample::{kolmogorov_smirnov, wasserstein};

    fn runs(values: &[u64]) -> Vec<Vec<Vec<u64>>> {
        values.iter().map(|&value| vec![vec![value; 3]; 12]).collect()
    }

    #[test]
    fn runs_that_are_all_alike_leave_no_doubt() {
        let found = interval(&runs(&[100; 3]), &runs(&[103; 3]), wasserstein).unwrap();
        assert_eq!(found, Interval { distance: 3.0, low: 3.0, high: 3.0 });
    }

    #[test]
    fn two_runs_are_two_samples_however_many_jobs_they_have() {
        let apart = interval(&runs(&[100, 120]), &runs(&[200, 200]), wasserstein).unwrap();
        // As for the mean of two runs of all 100 and all 120: 90 ± 63.
        assert!((apart.distance - 90.0).abs() < 1e-9);
        assert!((apart.high - 153.0).abs() < 5.0 && (apart.low - 27.0).abs() < 5.0, "{apart:?}");
    }

    #[test]
    fn more_runs_know_more() {
        let side = |n: u64| runs(&(0..n).map(|n| 100 + n % 2 * 10).collect::<Vec<_>>());
        let width = |n| {
            let found = interval(&side(n), &runs(&[200; 4]), wasserstein).unwrap();
            found.high - found.low
        };
        assert!(width(2) > 3.0 * width(4) && width(4) > 1.5 * width(12));
    }

    #[test]
    fn same_data_same_interval_and_one_run_none() {
        let ks = |a: &[u64], b: &[u64]| kolmogorov_smirnov(a, b).map(|ks| ks.distance);
        let a = runs(&[100, 104, 109]);
        assert_eq!(interval(&a, &a, ks), interval(&a, &a, ks));
        assert_eq!(interval(&a[..1], &a, ks), None);
    }
}
