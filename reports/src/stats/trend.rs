//! Does a sequence of response times grow?
//!
//! Mann–Kendall (Mann 1945, Kendall 1975) counts rising against falling pairs, with the variance
//! corrected for ties; Theil–Sen (Sen 1968) gives the size of the growth as the median slope over
//! all pairs. Neighbouring jobs depend on each other, which makes Mann–Kendall too sure of small
//! trends: a claim therefore asks for a large growth besides (`docs/method.md`).

use statrs::distribution::{ContinuousCDF, Normal};

/// Sequences above this length are thinned evenly, since all pairs are looked at.
const MOST: usize = 1500;

/// The trend of a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Theil–Sen slope: response time per time, both in nanoseconds, so a pure number: 0.5 means
    /// half a second longer for every second that passes.
    pub slope: f64,
    /// One-sided p-value of Mann–Kendall against growth.
    pub p_value: f64,
}

/// The trend of `points`, `(instant, value)` with strictly ascending instants; `None` below four
/// points.
#[must_use]
pub fn trend(points: &[(u64, u64)]) -> Option<Trend> {
    let stride = points.len().div_ceil(MOST).max(1);
    let points: Vec<(u64, u64)> = points.iter().copied().step_by(stride).collect();
    if points.len() < 4 {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    let mut score = 0_i64;
    for (at, &(t0, v0)) in points.iter().enumerate() {
        for &(t1, v1) in &points[at + 1..] {
            score += (v1 > v0) as i64 - (v1 < v0) as i64;
            slopes.push((v1 as f64 - v0 as f64) / (t1 - t0) as f64);
        }
    }
    slopes.sort_unstable_by(f64::total_cmp);
    Some(Trend {
        slope: model::stats::percentile(&slopes, 50.0)?,
        p_value: one_sided(score, tie_corrected_variance(&points)),
    })
}

/// Var(S) = [n (n-1) (2n+5) - Σ t (t-1) (2t+5)] / 18, t over the groups of equal values.
fn tie_corrected_variance(points: &[(u64, u64)]) -> f64 {
    let mut values: Vec<u64> = points.iter().map(|point| point.1).collect();
    values.sort_unstable();
    let part = |n: usize| (n * (n - 1) * (2 * n + 5)) as f64;
    let ties: f64 = values.chunk_by(|a, b| a == b).map(|group| part(group.len())).sum();
    (part(values.len()) - ties) / 18.0
}

/// P(S at least `score` | no trend), normal approximation with continuity correction.
fn one_sided(score: i64, variance: f64) -> f64 {
    if variance <= 0.0 {
        return 1.0;
    }
    let z = (score as f64 - score.signum() as f64) / variance.sqrt();
    1.0 - Normal::standard().cdf(z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn indexed(values: &[u64]) -> Vec<(u64, u64)> {
        values.iter().enumerate().map(|(at, &value)| (at as u64, value)).collect()
    }

    #[test]
    fn a_line_has_its_slope() {
        let points: Vec<(u64, u64)> = (0..50).map(|n| (n * 200, 80 + n * 90)).collect();
        let trend = trend(&points).unwrap();
        assert!((trend.slope - 0.45).abs() < 1e-12 && trend.p_value < 1e-9);
    }

    #[test]
    fn neither_a_constant_nor_a_fall_grows() {
        assert_eq!(trend(&indexed(&[7; 30])).unwrap(), Trend { slope: 0.0, p_value: 1.0 });
        let falling = trend(&indexed(&[9, 8, 7, 6, 5, 4])).unwrap();
        assert!(falling.slope < 0.0 && falling.p_value > 0.99);
        assert_eq!(trend(&indexed(&[1, 2, 3])), None);
    }

    #[test]
    fn a_worked_example() {
        // S = 6 of n = 4, Var = 4·3·13/18 = 8.667; z = 5/2.944 = 1.698.
        let rising = trend(&indexed(&[1, 2, 3, 4])).unwrap();
        assert!((rising.p_value - 0.0447).abs() < 1e-3);
    }

    #[test]
    fn one_outlier_does_not_move_the_slope() {
        let mut values: Vec<u64> = (0..40).map(|n| 100 + n % 3).collect();
        values[20] = 100_000;
        assert!(trend(&indexed(&values)).unwrap().slope.abs() < 0.5);
    }

    proptest! {
        #[test]
        fn shuffled_noise_rarely_counts_as_growth(seed in 0..50_u64) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let values: Vec<u64> = (0..80).map(|_| rng.u64(100..200)).collect();
            prop_assert!(trend(&indexed(&values)).unwrap().p_value > 1e-4);
        }
    }
}
