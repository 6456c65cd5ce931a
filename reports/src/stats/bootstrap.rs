//! Confidence bounds for the distance of two samples of dependent jobs.
//!
//! The cluster bootstrap (Davison and Hinkley 1997, section 3.8): jobs that belong together (those
//! of one hyperperiod, or of one batch) are drawn together, with replacement, so that their
//! dependence survives. The generator is seeded: the same folder gives the same report.

/// Replicates drawn.
pub const REPLICATES: usize = 1000;

const SEED: u64 = 0x7265_706f_7274_7321;

/// The `level` quantile (nearest rank) of `statistic` over resampled clusters of `a` and `b`.
///
/// `statistic` sees ascending samples. `None` where a side has fewer than two clusters.
pub fn upper_bound(
    a: &[Vec<u64>],
    b: &[Vec<u64>],
    level: f64,
    statistic: impl Fn(&[u64], &[u64]) -> Option<f64>,
) -> Option<f64> {
    model::stats::percentile(&replicates(a, b, statistic)?, level * 100.0)
}

/// The percentile interval of `statistic` that leaves (1 - `level`) / 2 out at either end.
///
/// A distance of resampled clusters is larger than that of the samples by what the drawing adds:
/// the interval errs to its upper side, and need not reach down to the distance itself where that
/// is small. `None` where a side has fewer than two clusters.
pub fn interval(
    a: &[Vec<u64>],
    b: &[Vec<u64>],
    level: f64,
    statistic: impl Fn(&[u64], &[u64]) -> Option<f64>,
) -> Option<(f64, f64)> {
    let values = replicates(a, b, statistic)?;
    let at = |share: f64| model::stats::percentile(&values, share * 100.0);
    Some((at((1.0 - level) / 2.0)?, at((1.0 + level) / 2.0)?))
}

/// Of [`REPLICATES`] drawings, ascending.
fn replicates(
    a: &[Vec<u64>],
    b: &[Vec<u64>],
    statistic: impl Fn(&[u64], &[u64]) -> Option<f64>,
) -> Option<Vec<f64>> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let mut rng = fastrand::Rng::with_seed(SEED);
    let mut values = (0..REPLICATES)
        .map(|_| statistic(&resample(a, &mut rng), &resample(b, &mut rng)))
        .collect::<Option<Vec<f64>>>()?;
    values.sort_unstable_by(f64::total_cmp);
    Some(values)
}

fn resample(clusters: &[Vec<u64>], rng: &mut fastrand::Rng) -> Vec<u64> {
    let mut drawn: Vec<u64> =
        clusters.iter().flat_map(|_| &clusters[rng.usize(..clusters.len())]).copied().collect();
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::two_sample::wasserstein;

    #[test]
    fn clusters_that_are_all_alike_leave_no_doubt() {
        let (a, b) = (vec![vec![10, 20, 30]; 12], vec![vec![13, 23, 33]; 12]);
        assert_eq!(upper_bound(&a, &b, 0.95, wasserstein), Some(3.0));
    }

    #[test]
    fn the_bound_covers_the_estimate_and_grows_with_the_spread() {
        let calm: Vec<Vec<u64>> = (0..30).map(|n| vec![100 + n % 3]).collect();
        let wild: Vec<Vec<u64>> = (0..30).map(|n| vec![100 + n % 3 * 20]).collect();
        let of = |side: &[Vec<u64>]| upper_bound(side, &calm, 0.95, wasserstein).unwrap();
        assert!(of(&calm) > 0.0);
        assert!(of(&wild) > 20.0 && of(&wild) > of(&calm));
    }

    #[test]
    fn the_interval_covers_the_distance_and_ends_at_its_upper_bound() {
        use crate::stats::two_sample::kolmogorov_smirnov;
        let ks = |a: &[u64], b: &[u64]| kolmogorov_smirnov(a, b).map(|ks| ks.distance);
        let a: Vec<Vec<u64>> = (0..40).map(|n| vec![100 + n % 7]).collect();
        let b: Vec<Vec<u64>> = (0..40).map(|n| vec![102 + n % 7]).collect();
        let flat = |side: &[Vec<u64>]| {
            let mut all = side.concat();
            all.sort_unstable();
            all
        };
        let (low, high) = interval(&a, &b, 0.9, ks).unwrap();
        let distance = ks(&flat(&a), &flat(&b)).unwrap();
        assert!(low <= distance && distance <= high && high < 1.0, "{low} {distance} {high}");
        assert_eq!(upper_bound(&a, &b, 0.95, ks), Some(high));
        assert_eq!(interval(&a[..1], &b, 0.9, ks), None);
    }

    #[test]
    fn same_data_same_bound_and_one_cluster_none() {
        let a: Vec<Vec<u64>> = (0..9).map(|n| vec![n, n * n]).collect();
        let bound = || upper_bound(&a, &a, 0.95, wasserstein);
        assert_eq!(bound(), bound());
        assert_eq!(upper_bound(&a[..1], &a, 0.95, wasserstein), None);
    }
}
