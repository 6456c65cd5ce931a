//! The empirical distribution C(x) = P{response < x}, as the paper defines it.

/// C(x): the share of `sorted` (ascending) that is *below* x.
#[must_use]
pub fn below(sorted: &[u64], x: u64) -> f64 {
    sorted.partition_point(|&sample| sample < x) as f64 / sorted.len() as f64
}

/// The corners of the step curve C over `sorted` (ascending), `(x, C)`, x in the samples' unit.
///
/// From `(0, 0)` to `end`, horizontal and vertical pieces only. `beyond` more samples are known to
/// exist, but not how large they are (jobs that were never finished): C stays below 1 by their
/// share. Above `limit` samples every k-th is drawn, so that a long run does not make a huge
/// picture; the last one always is.
#[must_use]
pub fn steps(sorted: &[u64], beyond: u64, end: u64, limit: usize) -> Vec<(u64, f64)> {
    let n = sorted.len();
    let total = n as f64 + beyond as f64;
    let stride = n.div_ceil(limit.max(1)).max(1);
    let mut corners = vec![(0, 0.0)];
    let mut level = 0.0;
    for (at, &sample) in sorted.iter().enumerate() {
        let last_of_its_value = sorted.get(at + 1) != Some(&sample);
        if !last_of_its_value || ((at + 1) % stride != 0 && at + 1 != n) {
            continue;
        }
        corners.push((sample, level));
        level = (at + 1) as f64 / total;
        corners.push((sample, level));
    }
    if n > 0 && end > sorted[n - 1] {
        corners.push((end, level));
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sample_is_not_below_itself() {
        let sorted = [10, 20, 20, 40];
        for (x, share) in [(10, 0.0), (11, 0.25), (20, 0.25), (21, 0.75), (40, 0.75), (41, 1.0)] {
            assert!((below(&sorted, x) - share).abs() < 1e-12, "C({x})");
        }
    }

    #[test]
    fn corners_of_a_small_curve() {
        let corners = steps(&[10, 20, 20, 40], 0, 50, 100);
        let expected = [
            (0, 0.0),
            (10, 0.0),
            (10, 0.25),
            (20, 0.25),
            (20, 0.75),
            (40, 0.75),
            (40, 1.0),
            (50, 1.0),
        ];
        assert_eq!(corners, expected);
    }

    #[test]
    fn what_never_ended_keeps_the_curve_below_one() {
        assert_eq!(steps(&[10], 3, 50, 100), [(0, 0.0), (10, 0.0), (10, 0.25), (50, 0.25)]);
    }

    proptest! {
        #[test]
        fn the_curve_is_the_function(mut samples in prop::collection::vec(0..60_u64, 1..80)) {
            samples.sort_unstable();
            let corners = steps(&samples, 0, 100, 1000);
            for x in 0..=100 {
                // The last corner strictly left of x gives the level just before x.
                let level = corners.iter().rev().find(|corner| corner.0 < x).map_or(0.0, |c| c.1);
                prop_assert!((level - below(&samples, x)).abs() < 1e-12, "C({})", x);
            }
        }

        #[test]
        fn thinning_ends_at_one(mut samples in prop::collection::vec(0..9_u64, 1..400)) {
            samples.sort_unstable();
            let corners = steps(&samples, 0, 100, 7);
            prop_assert!((corners.last().unwrap().1 - 1.0).abs() < 1e-12);
            prop_assert!(corners.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        }
    }
}
