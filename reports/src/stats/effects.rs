//! Many hosts, each with repetitions: how much lies between hosts and how much within one, and which
//! host stands out.
//!
//! The model has one random effect, with the host as the unit: a repetition's value is
//! `μ + host + repetition`, with variances σ²b and σ²w. Both are estimated by the method of moments
//! from the analysis of variance, for different numbers of repetitions (Searle, Casella and
//! McCulloch, *Variance Components*, 1992, section 3.6); a negative estimate of σ²b is zero. It
//! assumes that hosts are drawn at random from those that one asks about, and that the spread within
//! a host is the same on all.

/// A host whose distance from the median is more than this many robust standard deviations is an
/// outlier (`docs/method.md` has the rate of false ones, measured).
pub const CUT: f64 = 5.0;

/// With fewer hosts none is called an outlier.
pub const LEAST_HOSTS: usize = 8;

/// Makes the median absolute deviation the standard deviation of a normal distribution.
const MAD_TO_SD: f64 = 1.4826;

/// The two spreads, in the unit of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Standard deviation between hosts.
    pub between: f64,
    /// Standard deviation between the repetitions of a host.
    pub within: f64,
}

impl Spread {
    /// The share of the whole variance that lies between hosts (intraclass correlation); none where
    /// nothing varies.
    #[must_use]
    pub fn share_between(self) -> Option<f64> {
        let (between, within) = (self.between.powi(2), self.within.powi(2));
        (between + within > 0.0).then(|| between / (between + within))
    }
}

/// Of the values of each host's repetitions; none with fewer than two hosts, or without a host that
/// has two repetitions. Hosts without a value, or with an infinite one, are left out.
#[must_use]
pub fn spread(hosts: &[&[f64]]) -> Option<Spread> {
    let usable = |own: &&&[f64]| !own.is_empty() && own.iter().all(|value| value.is_finite());
    let hosts: Vec<&[f64]> = hosts.iter().filter(usable).copied().collect();
    let (groups, n) = (hosts.len(), hosts.iter().map(|own| own.len()).sum::<usize>());
    if groups < 2 || n == groups {
        return None;
    }
    let grand = hosts.iter().copied().flatten().sum::<f64>() / n as f64;
    let (mut between, mut within) = (0.0, 0.0);
    for own in &hosts {
        let mean = mean(own);
        between += own.len() as f64 * (mean - grand).powi(2);
        within += own.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    }
    let between = between / (groups - 1) as f64;
    let within = within / (n - groups) as f64;
    let squares: usize = hosts.iter().map(|own| own.len().pow(2)).sum();
    let each = (n as f64 - squares as f64 / n as f64) / (groups - 1) as f64;
    Some(Spread { between: ((between - within) / each).max(0.0).sqrt(), within: within.sqrt() })
}

/// The distance of each host's mean from the median of all, in robust standard deviations: the median
/// absolute deviation (Hampel 1974; Davies and Gather 1993), or the standard error of the host's own
/// mean where that is larger, so that a host does not stand out by the noise of its repetitions, nor
/// hide another by it. Of a host with one repetition, that error is made of the median of the others'
/// standard deviations. None for all with fewer than [`LEAST_HOSTS`], and for a host without values.
/// Infinite for a host whose mean is, and for one that differs where the others do not differ at all.
#[must_use]
pub fn distances(hosts: &[&[f64]]) -> Vec<Option<f64>> {
    let means: Vec<Option<f64>> =
        hosts.iter().map(|own| (!own.is_empty()).then(|| mean(own))).collect();
    let known: Vec<f64> = means.iter().copied().flatten().collect();
    if known.len() < LEAST_HOSTS {
        return vec![None; hosts.len()];
    }
    let center = median(known.clone());
    if !center.is_finite() {
        return vec![None; hosts.len()];
    }
    let robust = MAD_TO_SD * median(known.iter().map(|own| (own - center).abs()).collect());
    let deviations: Vec<f64> = hosts.iter().filter_map(|own| deviation(own)).collect();
    let usual = if deviations.is_empty() { 0.0 } else { median(deviations) };
    let distance = |(mean, own): (&Option<f64>, &&[f64])| {
        let away = (*mean)? - center;
        let within = deviation(own).unwrap_or(usual);
        let scale = robust.max(within / (own.len() as f64).sqrt());
        Some(if away == 0.0 { 0.0 } else { away / scale })
    };
    means.iter().zip(hosts).map(distance).collect()
}

/// The standard deviation of a host's repetitions; none with fewer than two, or an infinite one.
fn deviation(values: &[f64]) -> Option<f64> {
    let center = mean(values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    (values.len() > 1 && center.is_finite()).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// Whether such a distance makes an outlier.
#[must_use]
pub fn is_outlier(distance: Option<f64>) -> bool {
    distance.is_some_and(|own| own.abs() > CUT)
}

/// The arithmetic mean; not a number where there is nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The median, between the middle two of an even number; not a number where there is nothing.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(hosts: &[Vec<f64>]) -> Vec<&[f64]> {
        hosts.iter().map(Vec::as_slice).collect()
    }

    /// A sum of twelve uniform numbers less six: near enough to normal, variance 1.
    fn normal(random: &mut fastrand::Rng) -> f64 {
        (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
    }

    fn fleet(random: &mut fastrand::Rng, hosts: usize, between: f64, within: f64) -> Vec<Vec<f64>> {
        let mut host = || {
            let own = 100.0 + between * normal(random);
            (0..4).map(|_| own + within * normal(random)).collect()
        };
        (0..hosts).map(|_| host()).collect()
    }

    /// By hand: means 2 and 5, grand mean 3.5; MSA = 9, MSE = 1, n0 = 2, so σ²b = 4.
    #[test]
    fn the_analysis_of_variance_by_hand() {
        let r = 0.5_f64.sqrt();
        let hosts = [vec![2.0 - r, 2.0 + r], vec![5.0 - r, 5.0 + r]];
        let found = spread(&slices(&hosts)).unwrap();
        assert!((found.between - 2.0).abs() < 1e-9 && (found.within - 1.0).abs() < 1e-9);
        assert!((found.share_between().unwrap() - 0.8).abs() < 1e-9);
    }

    #[test]
    fn spreads_that_were_put_in_come_out() {
        let mut random = fastrand::Rng::with_seed(7);
        for (between, within) in [(5.0, 1.0), (1.0, 5.0), (0.0, 2.0)] {
            let mut hosts = fleet(&mut random, 2_000, between, within);
            // Some hosts have fewer repetitions.
            hosts.iter_mut().step_by(3).for_each(|own| own.truncate(2));
            let found = spread(&slices(&hosts)).unwrap();
            assert!((found.within / within - 1.0).abs() < 0.05, "{found:?}");
            assert!((found.between - between).abs() < 0.3, "{between} {found:?}");
        }
    }

    #[test]
    fn without_repetitions_or_a_second_host_nothing_is_said() {
        assert_eq!(spread(&[&[1.0, 2.0]]), None);
        assert_eq!(spread(&[&[1.0], &[2.0]]), None);
        assert_eq!(spread(&[&[1.0, 2.0], &[], &[f64::INFINITY]]), None);
        assert_eq!(Spread { between: 0.0, within: 0.0 }.share_between(), None);
    }

    #[test]
    fn slow_hosts_stand_out_and_do_not_hide_each_other() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut hosts = fleet(&mut random, 20, 1.0, 0.5);
        for slow in [4, 11, 17] {
            hosts[slow].iter_mut().for_each(|value| *value += 15.0);
        }
        let found = distances(&slices(&hosts));
        let out: Vec<usize> = (0..20).filter(|at| is_outlier(found[*at])).collect();
        assert_eq!(out, [4, 11, 17]);
        assert!(found[4].unwrap() > 0.0);
    }

    #[test]
    fn a_host_does_not_stand_out_by_the_noise_of_its_repetitions() {
        let mut hosts = vec![vec![100.0, 100.0]; 9];
        hosts.push(vec![80.0, 124.0]);
        assert!(!is_outlier(distances(&slices(&hosts))[9]), "{:?}", distances(&slices(&hosts))[9]);
        hosts[9] = vec![102.0, 102.0];
        assert_eq!(distances(&slices(&hosts))[9], Some(f64::INFINITY), "the others do not differ");
    }

    #[test]
    fn a_host_that_is_noisy_does_not_hide_a_slow_one() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut hosts = fleet(&mut random, 20, 1.0, 0.5);
        hosts[3] = vec![100.0, 10_000.0];
        hosts[8].iter_mut().for_each(|value| *value += 200.0);
        let found = distances(&slices(&hosts));
        assert!(is_outlier(found[8]) && !is_outlier(found[3]), "{:?} {:?}", found[8], found[3]);
        // Of one repetition, the others' noise is taken.
        hosts[8].truncate(1);
        assert!(is_outlier(distances(&slices(&hosts))[8]));
    }

    #[test]
    fn a_host_on_which_jobs_never_end_is_an_outlier() {
        let mut hosts = vec![vec![100.0, 101.0]; 9];
        hosts.push(vec![f64::INFINITY, 100.0]);
        assert!(is_outlier(distances(&slices(&hosts))[9]));
    }

    #[test]
    fn few_hosts_have_no_outlier() {
        let hosts = [vec![1.0, 1.0], vec![1.0, 1.0], vec![900.0, 900.0]];
        assert_eq!(distances(&slices(&hosts)), [None, None, None]);
    }

    /// The rates that `docs/method.md` tells: of fleets without an outlier, those in which one is
    /// called so.
    #[test]
    fn false_outliers_are_rare() {
        let mut random = fastrand::Rng::with_seed(1);
        for (hosts, most) in [(8, 0.07), (20, 0.025), (100, 0.01)] {
            let fleets = 2_000;
            let mut wrong = 0;
            for _ in 0..fleets {
                let own = fleet(&mut random, hosts, 3.0, 1.0);
                wrong += usize::from(distances(&slices(&own)).into_iter().any(is_outlier));
            }
            let rate = wrong as f64 / f64::from(fleets);
            eprintln!("{hosts} hosts: {rate}");
            assert!(rate < most, "{hosts} hosts: {rate}");
        }
    }
}
