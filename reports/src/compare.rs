//! `reports compare`: two result folders side by side.

use model::stats::Summary;

use crate::{
    cluster,
    folder::{Case, Results},
    grid::{Format, Grid},
    series::{Selection, Series},
    stats::{
        bootstrap::{self, Interval},
        interval::{self, Difference, holm},
        two_sample::{self, Ks},
    },
    units::{self, UNKNOWN, ms, signed_percent},
};

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

/// The pairs, and the names of experiments that only one of the folders measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// In the order of the first folder.
    pub pairs: Vec<Pair>,
    /// With the folder's ordinal: `first` or `second`.
    pub lonely: Vec<(String, &'static str)>,
}

/// Compares the selected samples of all experiments that both folders measured.
#[must_use]
pub fn compare(first: &Results, second: &Results, selection: Selection) -> Comparison {
    let mut comparison = Comparison { pairs: Vec::new(), lonely: Vec::new() };
    for case in first.cases.iter().filter(|case| case.is_measured()) {
        match second.measured(case.name()) {
            Some(other) => comparison.pairs.extend(pairs(case, other, selection)),
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
    let clusters = |case: &Case, own| cluster::clusters(own, &case.experiment, selection);
    let (left, right) = (clusters(a_case, a), clusters(b_case, b));
    let distance = |a: &[u64], b: &[u64]| Some(two_sample::kolmogorov_smirnov(a, b)?.distance);
    let ks_interval = bootstrap::interval(&left, &right, distance);
    Some(Pair {
        experiment: a_case.name().to_owned(),
        task: a.task.clone(),
        first: Summary::of(&mut a.responses(selection)),
        second: Summary::of(&mut b.responses(selection)),
        unfinished: [a.unfinished(), b.unfinished()],
        difference: interval::difference(&by_run_a, &by_run_b),
        differs: None,
        wasserstein: Some(wasserstein),
        wasserstein_interval: bootstrap::interval(&left, &right, two_sample::wasserstein),
        ks: two_sample::kolmogorov_smirnov(&x, &y),
        ks_interval: ks_interval.map(|own| (own.low, own.high.min(1.0))),
        delta: two_sample::cliffs_delta(&y, &x),
    })
}

const HEADER: [&str; 17] = [
    "experiment",
    "task",
    "mean 1",
    "mean 2",
    "change",
    "± 90 %",
    "differs",
    "p50 1",
    "p50 2",
    "p90 1",
    "p90 2",
    "unfinished",
    "distance",
    "at most",
    "KS",
    "90 %",
    "Cliff's δ",
];

/// The comparison in the units of `format`: milliseconds for people, nanoseconds in CSV.
#[must_use]
pub fn grid(comparison: &Comparison, format: Format) -> Grid {
    if format == Format::Csv {
        return machine_grid(&comparison.pairs);
    }
    let mut notes = vec![
        "Response times in milliseconds. Change: of the mean, 2 against 1, with its confidence \
         interval over runs; differs: whether it is one, of all rows together with 90 % \
         confidence. Unfinished: jobs of 1 and 2; in change and distances they enter with the \
         length of their run. Distance: Wasserstein-1 between the CDFs, at most: its upper 95 % \
         bound. KS: largest gap between the CDFs, with its interval. δ above 0: folder 2 is slower."
            .to_owned(),
        verdict(&comparison.pairs),
    ];
    let only = |(name, which): &(String, &str)| format!("Only the {which} folder measured {name}.");
    notes.extend(comparison.lonely.iter().map(only));
    Grid {
        header: HEADER.map(str::to_owned).into(),
        rows: comparison.pairs.iter().map(human_cells).collect(),
        texts: 2,
        notes,
    }
}

/// What the comparison says in one sentence.
fn verdict(pairs: &[Pair]) -> String {
    let told = pairs.iter().filter(|pair| pair.differs.is_some()).count();
    let apart = pairs.iter().filter(|pair| pair.differs == Some(true)).count();
    if told == 0 {
        return "Whether they differ cannot be told: that takes two repetitions on each side."
            .to_owned();
    }
    format!("Of {}, {apart} differ.", units::count(told, "row"))
}

fn human_cells(pair: &Pair) -> Vec<String> {
    let known = |value: Option<f64>, write: fn(f64) -> String| {
        value.map_or_else(|| UNKNOWN.to_owned(), write)
    };
    let (first, second) = (pair.first.as_ref(), pair.second.as_ref());
    let of = |side: Option<&Summary>, pick: fn(&Summary) -> f64| known(side.map(pick), ms);
    let relative = |ns: f64| Some(ns / first?.mean);
    vec![
        pair.experiment.clone(),
        pair.task.clone(),
        of(first, |own| own.mean),
        of(second, |own| own.mean),
        known(first.zip(second).and_then(|(a, b)| relative(b.mean - a.mean)), signed_percent),
        known(pair.difference.and_then(|own| relative(own.half)), |share| {
            format!("{:.1} %", share * 100.0)
        }),
        pair.differs.map_or_else(|| UNKNOWN.to_owned(), |own| yes_or_no(own).to_owned()),
        of(first, |own| own.p50 as f64),
        of(second, |own| own.p50 as f64),
        of(first, |own| own.p90 as f64),
        of(second, |own| own.p90 as f64),
        pair.unfinished.map(|n| n.to_string()).join(", "),
        known(pair.wasserstein, ms),
        known(pair.wasserstein_interval.map(|own| own.high), ms),
        known(pair.ks.map(|ks| ks.distance), |distance| format!("{distance:.2}")),
        pair.ks_interval.map_or_else(|| UNKNOWN.to_owned(), units::range),
        known(pair.delta, units::delta),
    ]
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

const MACHINE_COLUMNS: [&str; 26] = [
    "experiment",
    "task",
    "jobs_1",
    "jobs_2",
    "mean_1_ns",
    "mean_2_ns",
    "mean_difference_ns",
    "mean_difference_ci90_ns",
    "p50_1_ns",
    "p50_2_ns",
    "p90_1_ns",
    "p90_2_ns",
    "p99_1_ns",
    "p99_2_ns",
    "wasserstein_ns",
    "wasserstein_upper95_ns",
    "ks_distance",
    "ks_p_value",
    "cliffs_delta",
    "ks_low90",
    "ks_high90",
    "unfinished_1",
    "unfinished_2",
    "p_value",
    "differs",
    "wasserstein_lower95_ns",
];

/// Nanoseconds, a row for each pair.
pub(crate) fn machine_grid(pairs: &[Pair]) -> Grid {
    Grid {
        header: MACHINE_COLUMNS.map(str::to_owned).into(),
        rows: pairs.iter().map(machine_cells).collect(),
        texts: 2,
        notes: Vec::new(),
    }
}

fn machine_cells(pair: &Pair) -> Vec<String> {
    fn cell(value: Option<impl ToString>) -> String {
        value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
    }
    let whole = |value: f64| value.round() as i64;
    let (first, second) = (pair.first.as_ref(), pair.second.as_ref());
    let sides = |pick: fn(&Summary) -> u64| [first, second].map(|own| cell(own.map(pick)));
    let mut cells = vec![pair.experiment.clone(), pair.task.clone()];
    cells.extend([first, second].map(|own| own.map_or(0, |own| own.count).to_string()));
    cells.extend([first, second].map(|own| cell(own.map(|own| whole(own.mean)))));
    cells.push(cell(pair.difference.map(|own| whole(own.mean))));
    cells.push(cell(pair.difference.map(|own| whole(own.half))));
    for pick in [|own: &Summary| own.p50, |own: &Summary| own.p90, |own: &Summary| own.p99] {
        cells.extend(sides(pick));
    }
    cells.extend([
        cell(pair.wasserstein.map(whole)),
        cell(pair.wasserstein_interval.map(|own| whole(own.high))),
        cell(pair.ks.map(|ks| format!("{:.4}", ks.distance))),
        cell(pair.ks.map(|ks| format!("{:.3e}", ks.p_value))),
        cell(pair.delta.map(|delta| format!("{delta:.4}"))),
        cell(pair.ks_interval.map(|(low, _)| format!("{low:.4}"))),
        cell(pair.ks_interval.map(|(_, high)| format!("{high:.4}"))),
    ]);
    cells.extend(pair.unfinished.map(|n| n.to_string()));
    cells.extend([
        cell(pair.difference.map(|own| format!("{:.3e}", own.p_value))),
        cell(pair.differs.map(u8::from)),
        cell(pair.wasserstein_interval.map(|own| whole(own.low))),
    ]);
    cells
}
