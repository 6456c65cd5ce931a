//! Confidence intervals over runs, which alone are independent.
//!
//! Jobs of one run follow each other in one schedule, and what a run began with (the phase of the
//! tick, the processor's speed, the guest's placement) stays with all of them. So the unit is the
//! run: a repetition, or one simulation of the web service. Means of runs enter Student's t (the
//! method of independent replications; Law, *Simulation Modeling and Analysis*, section 9.4), and
//! of two sides Welch's (Welch 1947). A single run tells nothing of another: no interval.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The two-sided level of every interval here, as in the paper.
pub const LEVEL: f64 = 0.90;

/// A mean and the half width of its 90 % confidence interval, in the samples' unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanInterval {
    /// Mean of all samples.
    pub mean: f64,
    /// The interval is `mean` ± `half`.
    pub half: f64,
    /// Runs; at least 2.
    pub runs: usize,
}

/// How far the means of two sides are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The second less the first, each the mean of the means of its runs.
    pub mean: f64,
    /// Half the width of its 90 % confidence interval.
    pub half: f64,
    /// Two-sided p-value of no difference.
    pub p_value: f64,
}

/// The interval over `runs`; `None` where there are fewer than two, or one without samples.
#[must_use]
pub fn mean_interval(runs: &[Vec<u64>]) -> Option<MeanInterval> {
    let all: Vec<u64> = runs.iter().flatten().copied().collect();
    let side = Side::of(runs)?;
    let half = student(side.freedom()) * side.error_squared.sqrt();
    Some(MeanInterval { mean: model::stats::mean(&all)?, half, runs: runs.len() })
}

/// Welch's t over the runs of each side; `None` as in [`mean_interval`].
#[must_use]
pub fn difference(a: &[Vec<u64>], b: &[Vec<u64>]) -> Option<Difference> {
    Some(welch(&Side::of(a)?, &Side::of(b)?))
}

fn welch(x: &Side, y: &Side) -> Difference {
    let mean = y.mean - x.mean;
    let error = (x.error_squared + y.error_squared).sqrt();
    if error == 0.0 {
        let p_value = if mean == 0.0 { 1.0 } else { 0.0 };
        return Difference { mean, half: 0.0, p_value };
    }
    let freedom = joint_freedom([(x.error_squared, x.freedom()), (y.error_squared, y.freedom())]);
    let p_value = 2.0 * distribution(freedom).cdf(-(mean / error).abs());
    Difference { mean, half: student(freedom) * error, p_value }
}

/// How many times as large the second side is, with its 90 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Of the geometric means.
    pub ratio: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Welch's t over the logarithms of a positive value of each run; `None` where a side has fewer than
/// two.
#[must_use]
pub fn ratio(a: &[f64], b: &[f64]) -> Option<Ratio> {
    let logs = |side: &[f64]| Side::of_values(&side.iter().map(|v| v.ln()).collect::<Vec<_>>());
    let found = welch(&logs(a)?, &logs(b)?);
    let [ratio, low, high] = [0.0, -found.half, found.half].map(|own| (found.mean + own).exp());
    Some(Ratio { ratio, low, high })
}

/// The mean of run means and the square of its standard error.
struct Side {
    mean: f64,
    error_squared: f64,
    runs: usize,
}

impl Side {
    fn of(runs: &[Vec<u64>]) -> Option<Self> {
        let means: Vec<f64> =
            runs.iter().map(|run| model::stats::mean(run)).collect::<Option<_>>()?;
        Self::of_values(&means)
    }

    fn of_values(means: &[f64]) -> Option<Self> {
        let n = means.len();
        let mean = means.iter().sum::<f64>() / n as f64;
        let squares: f64 = means.iter().map(|own| (own - mean).powi(2)).sum();
        (n > 1).then(|| Self { mean, error_squared: squares / ((n - 1) * n) as f64, runs: n })
    }

    fn freedom(&self) -> f64 {
        (self.runs - 1) as f64
    }
}

/// The degrees of freedom of a sum of two estimates (squared standard error, degrees of freedom), by
/// Welch and Satterthwaite; those of both together where neither has an error.
#[must_use]
pub fn joint_freedom(sides: [(f64, f64); 2]) -> f64 {
    let [(u, f), (v, g)] = sides;
    if u + v == 0.0 {
        return f + g;
    }
    (u + v).powi(2) / (u * u / f + v * v / g)
}

/// The two-sided quantile of Student's t at [`LEVEL`]; degrees of freedom may be fractional.
#[must_use]
pub fn student(freedom: f64) -> f64 {
    distribution(freedom).inverse_cdf(0.5 + LEVEL / 2.0)
}

fn distribution(freedom: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom).expect("at least one degree of freedom")
}

/// Which of these p-values show a difference, so that among all of them together a false one is shown
/// with a probability of at most 1 − [`LEVEL`] (Holm 1979).
#[must_use]
pub fn holm(p_values: &[Option<f64>]) -> Vec<Option<bool>> {
    let mut order: Vec<(f64, usize)> =
        p_values.iter().enumerate().filter_map(|(at, p)| Some(((*p)?, at))).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut shown: Vec<Option<bool>> = p_values.iter().map(|p| p.map(|_| false)).collect();
    let tests = order.len();
    for (rank, (p, at)) in order.into_iter().enumerate() {
        if p > (1.0 - LEVEL) / (tests - rank) as f64 {
            break;
        }
        shown[at] = Some(true);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_printed_table() {
        for (freedom, t) in
            [(1.0, 6.314), (4.0, 2.132), (9.0, 1.833), (19.0, 1.729), (100.0, 1.660)]
        {
            assert!((student(freedom) - t).abs() < 5e-4, "{freedom}");
        }
    }

    #[test]
    fn two_runs_of_all_100_and_all_120_are_two_samples() {
        let runs = [vec![100; 200], vec![120; 200]];
        let interval = mean_interval(&runs).unwrap();
        // s = √200, t(0.95, 1) = 6.3138: 6.3138 · √(200 / 2) = 63.1; over batches it would be 4.0.
        assert!((interval.mean - 110.0).abs() < 1e-9 && (interval.half - 63.14).abs() < 0.01);
        assert_eq!(interval.runs, 2);
    }

    #[test]
    fn five_runs_by_students_t() {
        let runs: Vec<Vec<u64>> = [8, 9, 10, 11, 12].map(|mean| vec![mean - 1, mean + 1]).into();
        let interval = mean_interval(&runs).unwrap();
        // s = √2.5, t(0.95, 4) = 2.1318: 2.1318 · √(2.5 / 5) = 1.5074.
        assert!((interval.half - 1.5074).abs() < 1e-3);
    }

    #[test]
    fn welch_on_a_worked_example() {
        let side = |means: [u64; 5]| -> Vec<Vec<u64>> { means.map(|mean| vec![mean]).into() };
        let (a, b) = (side([8, 9, 10, 11, 12]), side([16, 18, 20, 22, 24]));
        // Variances 2.5 and 10: standard error √2.5, freedom 2.5² / (0.5²/4 + 2²/4) = 5.882.
        let found = difference(&a, &b).unwrap();
        assert!((found.half - student(5.882) * 2.5_f64.sqrt()).abs() < 1e-3);
        assert!((found.mean - 10.0).abs() < 1e-9);
        // t = 6.325 with 5.882 degrees of freedom.
        assert!((found.p_value - 0.0008).abs() < 1e-4, "{}", found.p_value);
    }

    #[test]
    fn a_ratio_is_a_difference_of_logarithms() {
        let found = ratio(&[10.0, 10.0, 10.0], &[11.0, 11.0, 11.0]).unwrap();
        assert!([found.ratio, found.low, found.high].iter().all(|own| (own - 1.1).abs() < 1e-9));
        let wide = ratio(&[9.0, 11.0], &[10.0, 12.0]).unwrap();
        assert!(wide.low < 0.8 && wide.high > 1.3, "{wide:?}");
        assert_eq!(ratio(&[9.0], &[10.0, 12.0]), None);
    }

    #[test]
    fn a_single_run_and_one_that_starved_give_no_interval() {
        assert_eq!(mean_interval(&[vec![1; 900]]), None);
        assert_eq!(mean_interval(&[vec![1], vec![]]), None);
        assert_eq!(difference(&[vec![1]], &[vec![1], vec![2]]), None);
        let same = difference(&[vec![1], vec![1]], &[vec![1], vec![1]]).unwrap();
        assert!((same.p_value - 1.0).abs() < 1e-12);
    }

    #[test]
    fn holm_stops_at_the_first_that_could_be_chance() {
        // In turn against 0.1 / 4, 0.1 / 3 and 0.1 / 2: 0.06 is above the last.
        let p = [Some(0.06), None, Some(0.001), Some(0.09), Some(0.03)];
        assert_eq!(holm(&p), [Some(false), None, Some(true), Some(false), Some(true)]);
    }
}
