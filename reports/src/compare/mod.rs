//! `reports compare`: two result folders side by side, their circumstances first.

pub mod circumstances;
pub mod table;
pub mod tolerance;
pub mod write;

use model::{judged::Count, stats::Summary};

use crate::{
    cluster,
    folder::{Case, Results},
    series::{Selection, Series},
    stats::{
        bootstrap::{self, Interval},
        interval::{self, Difference, holm},
        two_sample::{self, Ks},
    },
};

pub use self::circumstances::Circumstance;

/// One task that both folders measured; times in nanoseconds, differences second minus first.
///
/// In the difference and in every distance a job that never finished enters with the length of its
/// run.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The experiment.
    pub experiment: String,
    /// The task or service.
    pub task: String,
    /// Of the finished jobs of the first folder; none where all starved.
    pub first: Option<Summary>,
    /// Of the second.
    pub second: Option<Summary>,
    /// Jobs of either that were released and never finished.
    pub unfinished: [u64; 2],
    /// The selected jobs of either, and how many of them missed.
    pub counts: [Count; 2],
    /// 99th percentile of either, unfinished jobs being the longest; none where it is one of those.
    pub p99_ns: [Option<u64>; 2],
    /// Of the means of runs; none where a side has a single run.
    pub difference: Option<Difference>,
    /// Whether it is one, when all pairs of the comparison are looked at together ([`holm`]).
    pub differs: Option<bool>,
    /// Wasserstein-1 distance of the two CDFs.
    pub wasserstein: Option<f64>,
    /// Its 90 % confidence interval (bootstrap over runs).
    pub wasserstein_interval: Option<Interval>,
    /// Kolmogorov–Smirnov.
    pub ks: Option<Ks>,
    /// 90 % confidence interval of its distance.
    pub ks_interval: Option<(f64, f64)>,
    /// Cliff's delta, positive where the second folder's responses tend to be longer.
    pub delta: Option<f64>,
}

/// What differs in the circumstances, the pairs, and what could not be paired.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What differs between the two runs beside the measurements.
    pub circumstances: Vec<Circumstance>,
    /// In the order of the first folder.
    pub pairs: Vec<Pair>,
    /// With the folder's ordinal: `first` or `second`.
    pub lonely: Vec<(String, &'static str)>,
    /// Experiments of one name that did not do the same work, and what differs.
    pub unequal: Vec<(String, String)>,
}

/// Compares the selected samples of all experiments that both folders measured with the same work.
#[must_use]
pub fn compare(first: &Results, second: &Results, selection: Selection) -> Comparison {
    let mut comparison = Comparison {
        circumstances: circumstances::differences(&first.manifest, &second.manifest),
        pairs: Vec::new(),
        lonely: Vec::new(),
        unequal: Vec::new(),
    };
    for case in first.cases.iter().filter(|case| case.is_measured()) {
        match second.measured(case.name()) {
            Some(other) => match circumstances::other_work(case.workload(), other.workload()) {
                Some(what) => comparison.unequal.push((case.name().to_owned(), what)),
                None => comparison.pairs.extend(pairs(case, other, selection)),
            },
            None => comparison.lonely.push((case.name().to_owned(), "first")),
        }
    }
    let only_second = second
        .cases
        .iter()
        .filter(|case| case.is_measured() && first.measured(case.name()).is_none());
    comparison.lonely.extend(only_second.map(|case| (case.name().to_owned(), "second")));
    tell_apart(&mut comparison.pairs);
    comparison
}

/// Fills in [`Pair::differs`] of pairs that are looked at together.
pub(crate) fn tell_apart(pairs: &mut [Pair]) {
    let p_values: Vec<_> = pairs.iter().map(|pair| Some(pair.difference?.p_value)).collect();
    for (pair, differs) in pairs.iter_mut().zip(holm(&p_values)) {
        pair.differs = differs;
    }
}

fn pairs(a: &Case, b: &Case, selection: Selection) -> Vec<Pair> {
    let of = |one: &Series| pair((a, one), (b, b.task(&one.task)?), selection);
    a.series.iter().filter_map(of).collect()
}

/// One task of two folders; none where a side has neither a selected nor an unfinished job.
pub(crate) fn pair(
    (a_case, a): (&Case, &Series),
    (b_case, b): (&Case, &Series),
    selection: Selection,
) -> Option<Pair> {
    let (by_run_a, by_run_b) = (a.by_run(selection), b.by_run(selection));
    let flat = |runs: &[Vec<u64>]| {
        let mut all = runs.concat();
        all.sort_unstable();
        all
    };
    let (x, y) = (flat(&by_run_a), flat(&by_run_b));
    let wasserstein = two_sample::wasserstein(&x, &y)?;
    let clusters = |case: &Case, own| cluster::clusters(own, case.tasks(), selection);
    let (left, right) = (clusters(a_case, a), clusters(b_case, b));
    let distance = |a: &[u64], b: &[u64]| Some(two_sample::kolmogorov_smirnov(a, b)?.distance);
    let ks_interval = bootstrap::interval(&left, &right, distance);
    Some(Pair {
        experiment: a_case.name().to_owned(),
        task: a.task.clone(),
        first: Summary::of(&mut a.responses(selection)),
        second: Summary::of(&mut b.responses(selection)),
        unfinished: [a.unfinished(), b.unfinished()],
        counts: [a.count(selection), b.count(selection)],
        p99_ns: [a, b].map(|own| own.percentile(selection, 99.0)),
        difference: interval::difference(&by_run_a, &by_run_b),
        differs: None,
        wasserstein: Some(wasserstein),
        wasserstein_interval: bootstrap::interval(&left, &right, two_sample::wasserstein),
        ks: two_sample::kolmogorov_smirnov(&x, &y),
        ks_interval: ks_interval.map(|own| (own.low, own.high.min(1.0))),
        delta: two_sample::cliffs_delta(&y, &x),
    })
}
