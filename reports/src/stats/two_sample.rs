//! How far apart two sets of response times are.
//!
//! - Kolmogorov–Smirnov: the largest vertical distance of the two CDFs; its p-value by the
//!   asymptotic distribution with Stephens' (1970) correction. It assumes independent samples, so
//!   here it is reported and never decides.
//! - Wasserstein-1: the area between the two CDFs, in the samples' unit (Vallender 1974).
//! - Cliff's delta (1993): P(a > b) - P(a < b), from -1 to 1.

/// The result of a Kolmogorov–Smirnov test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ks {
    /// sup |F - G|, in 0..=1.
    pub distance: f64,
    /// P(a distance at least this large | same distribution, independent samples).
    pub p_value: f64,
}

/// Runs the two-sample test over ascending samples; `None` where one is empty.
#[must_use]
pub fn kolmogorov_smirnov(a: &[u64], b: &[u64]) -> Option<Ks> {
    let mut distance = 0.0_f64;
    merge(a, b, |_, _, f, g| distance = distance.max((f - g).abs()))?;
    let (n, m) = (a.len() as f64, b.len() as f64);
    let root = (n * m / (n + m)).sqrt();
    Some(Ks { distance, p_value: kolmogorov_tail((root + 0.12 + 0.11 / root) * distance) })
}

/// The Wasserstein-1 distance of ascending samples, ∫ |F - G| dx; `None` where one is empty.
#[must_use]
pub fn wasserstein(a: &[u64], b: &[u64]) -> Option<f64> {
    let mut area = 0.0;
    merge(a, b, |from, to, f, g| area += (f - g).abs() * (to - from) as f64)?;
    Some(area)
}

/// Cliff's delta of ascending samples, positive where `a` tends to be larger; `None` where one is
/// empty.
#[must_use]
pub fn cliffs_delta(a: &[u64], b: &[u64]) -> Option<f64> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let mut balance = 0_i64;
    for &value in a {
        let below = b.partition_point(|&other| other < value);
        let above = b.len() - b.partition_point(|&other| other <= value);
        balance += below as i64 - above as i64;
    }
    Some(balance as f64 / (a.len() as f64 * b.len() as f64))
}

/// Calls `each(from, to, F, G)` for every interval between neighbouring sample values, with the
/// levels of both CDFs on it; the last interval has `from == to`.
fn merge(a: &[u64], b: &[u64], mut each: impl FnMut(u64, u64, f64, f64)) -> Option<()> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let from = next(a, i).min(next(b, j));
        while a.get(i) == Some(&from) {
            i += 1;
        }
        while b.get(j) == Some(&from) {
            j += 1;
        }
        let to = next(a, i).min(next(b, j));
        let to = if to == u64::MAX { from } else { to };
        each(from, to, i as f64 / a.len() as f64, j as f64 / b.len() as f64);
    }
    Some(())
}

fn next(samples: &[u64], at: usize) -> u64 {
    samples.get(at).copied().unwrap_or(u64::MAX)
}

/// Q(λ) = 2 Σ (-1)^(k-1) exp(-2 k² λ²).
fn kolmogorov_tail(lambda: f64) -> f64 {
    if lambda < 0.2 {
        return 1.0; // The series converges too slowly there; Q(0.2) is 1 to 12 digits.
    }
    let term = |k: f64| (-2.0 * k * k * lambda * lambda).exp();
    let sum: f64 =
        (1..=100).map(|k| if k % 2 == 1 { term(k.into()) } else { -term(k.into()) }).sum();
    (2.0 * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(0..50_u64, 1..40).prop_map(|mut samples| {
            samples.sort_unstable();
            samples
        })
    }

    #[test]
    fn known_pairs() {
        let (a, b) = ([1, 2, 3, 4], [3, 4, 5, 6]);
        assert!((kolmogorov_smirnov(&a, &b).unwrap().distance - 0.5).abs() < 1e-12);
        assert!((wasserstein(&a, &b).unwrap() - 2.0).abs() < 1e-12);
        // Of 16 pairs 1 has a > b (4 > 3), 2 tie and 13 have a < b.
        assert!((cliffs_delta(&a, &b).unwrap() + 12.0 / 16.0).abs() < 1e-12);
        assert_eq!(wasserstein(&[], &b), None);
        assert_eq!(cliffs_delta(&a, &[]), None);
    }

    #[test]
    fn tail_of_the_kolmogorov_distribution() {
        for (lambda, p) in [(1.2239, 0.10), (1.3581, 0.05), (1.6276, 0.01)] {
            assert!((kolmogorov_tail(lambda) - p).abs() < 1e-4, "{lambda}");
        }
    }

    proptest! {
        #[test]
        fn equal_samples_are_at_no_distance(a in sorted()) {
            prop_assert_eq!(wasserstein(&a, &a), Some(0.0));
            prop_assert_eq!(cliffs_delta(&a, &a), Some(0.0));
            prop_assert_eq!(kolmogorov_smirnov(&a, &a), Some(Ks { distance: 0.0, p_value: 1.0 }));
        }

        #[test]
        fn a_shift_is_its_own_wasserstein_distance(a in sorted(), shift in 0..100_u64) {
            let b: Vec<u64> = a.iter().map(|value| value + shift).collect();
            prop_assert!((wasserstein(&a, &b).unwrap() - shift as f64).abs() < 1e-9);
        }

        #[test]
        fn of_equal_sizes_it_is_the_mean_gap_of_sorted_pairs(a in sorted(), b in sorted()) {
            let n = a.len().min(b.len());
            let gap: f64 = a[..n].iter().zip(&b[..n]).map(|(x, y)| x.abs_diff(*y) as f64).sum();
            prop_assert!((wasserstein(&a[..n], &b[..n]).unwrap() - gap / n as f64).abs() < 1e-9);
        }

        #[test]
        fn delta_counts_pairs(a in sorted(), b in sorted()) {
            let sign = |(x, y): (&u64, &u64)| (x > y) as i64 - (x < y) as i64;
            let sum: i64 = a.iter().flat_map(|x| b.iter().map(move |y| (x, y))).map(sign).sum();
            let exact = sum as f64 / (a.len() * b.len()) as f64;
            prop_assert!((cliffs_delta(&a, &b).unwrap() - exact).abs() < 1e-12);
        }

        #[test]
        fn the_distance_is_the_largest_gap_of_the_cdfs(a in sorted(), b in sorted()) {
            let largest = (0..=50)
                .map(|x| (super::super::cdf::below(&a, x) - super::super::cdf::below(&b, x)).abs())
                .fold(0.0, f64::max);
            prop_assert!((kolmogorov_smirnov(&a, &b).unwrap().distance - largest).abs() < 1e-12);
        }
    }
}
