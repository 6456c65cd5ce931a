//! `reports compare`: two result folders side by side.

use model::stats::Summary;

use crate::{
    cluster,
    folder::{Case, Results},
    grid::{Format, Grid},
    series::{Selection, Series},
    stats::{
        bootstrap, interval,
        two_sample::{self, Ks},
    },
    units::{self, UNKNOWN, ms, signed_percent},
};

/// One task that both folders measured; times in nanoseconds, differences second minus first.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The experiment.
    pub experiment: String,
    /// The task or service.
    pub task: String,
    /// Of the first folder.
    pub first: Summary,
    /// Of the second.
    pub second: Summary,
    /// Half width of the 90 % confidence interval of the difference of the means (Welch's t over
    /// the independent units of [`interval`]).
    pub difference_ci: Option<f64>,
    /// Wasserstein-1 distance of the two CDFs.
    pub wasserstein: Option<f64>,
    /// Its upper 95 % confidence bound (cluster bootstrap).
    pub wasserstein_upper: Option<f64>,
    /// Kolmogorov–Smirnov.
    pub ks: Option<Ks>,
    /// 90 % confidence interval of its distance (cluster bootstrap), widened down to the distance
    /// itself where drawing again makes all of it larger.
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
    comparison
}

fn pairs(a: &Case, b: &Case, selection: Selection) -> Vec<Pair> {
    let of = |one: &Series| pair((a, one), (b, b.task(&one.task)?), selection);
    a.series.iter().filter_map(of).collect()
}

/// One task of two folders; none where a side has no selected sample.
pub(crate) fn pair(
    (a_case, a): (&Case, &Series),
    (b_case, b): (&Case, &Series),
    selection: Selection,
) -> Option<Pair> {
    let (mut x, mut y) = (a.responses(selection), b.responses(selection));
    let (first, second) = (Summary::of(&mut x)?, Summary::of(&mut y)?);
    let clusters = |case: &Case, own| cluster::clusters(own, &case.experiment, selection);
    let (left, right) = (clusters(a_case, a), clusters(b_case, b));
    let upper = bootstrap::upper_bound(&left, &right, 0.95, two_sample::wasserstein);
    let ks = two_sample::kolmogorov_smirnov(&x, &y);
    let distance = |a: &[u64], b: &[u64]| Some(two_sample::kolmogorov_smirnov(a, b)?.distance);
    let drawn = bootstrap::interval(&left, &right, 0.9, distance);
    Some(Pair {
        experiment: a_case.name().to_owned(),
        task: a.task.clone(),
        first,
        second,
        difference_ci: interval::difference_half_width(
            &a.responses_by_run(selection),
            &b.responses_by_run(selection),
        ),
        wasserstein: two_sample::wasserstein(&x, &y),
        wasserstein_upper: upper,
        ks,
        ks_interval: ks.zip(drawn).map(|(ks, (low, high))| (low.min(ks.distance), high)),
        delta: two_sample::cliffs_delta(&y, &x),
    })
}

const HEADER: [&str; 15] = [
    "experiment",
    "task",
    "mean 1",
    "mean 2",
    "change",
    "± 90 %",
    "p50 1",
    "p50 2",
    "p90 1",
    "p90 2",
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
         interval. Distance: Wasserstein-1 between the CDFs, at most: its upper 95 % bound. \
         KS: largest gap between the CDFs, with its interval. δ above 0: folder 2 is slower."
            .to_owned(),
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

fn human_cells(pair: &Pair) -> Vec<String> {
    let known = |value: Option<f64>, write: fn(f64) -> String| {
        value.map_or_else(|| UNKNOWN.to_owned(), write)
    };
    let relative = |ns: f64| ns / pair.first.mean;
    vec![
        pair.experiment.clone(),
        pair.task.clone(),
        ms(pair.first.mean),
        ms(pair.second.mean),
        signed_percent(relative(pair.second.mean - pair.first.mean)),
        known(pair.difference_ci.map(relative), |share| format!("{:.1} %", share * 100.0)),
        ms(pair.first.p50 as f64),
        ms(pair.second.p50 as f64),
        ms(pair.first.p90 as f64),
        ms(pair.second.p90 as f64),
        known(pair.wasserstein, ms),
        known(pair.wasserstein_upper, ms),
        known(pair.ks.map(|ks| ks.distance), |distance| format!("{distance:.2}")),
        pair.ks_interval.map_or_else(|| UNKNOWN.to_owned(), units::range),
        known(pair.delta, units::delta),
    ]
}

const MACHINE_COLUMNS: [&str; 21] = [
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
    let (first, second) = (&pair.first, &pair.second);
    vec![
        pair.experiment.clone(),
        pair.task.clone(),
        first.count.to_string(),
        second.count.to_string(),
        whole(first.mean).to_string(),
        whole(second.mean).to_string(),
        whole(second.mean - first.mean).to_string(),
        cell(pair.difference_ci.map(whole)),
        first.p50.to_string(),
        second.p50.to_string(),
        first.p90.to_string(),
        second.p90.to_string(),
        first.p99.to_string(),
        second.p99.to_string(),
        cell(pair.wasserstein.map(whole)),
        cell(pair.wasserstein_upper.map(whole)),
        cell(pair.ks.map(|ks| format!("{:.4}", ks.distance))),
        cell(pair.ks.map(|ks| format!("{:.3e}", ks.p_value))),
        cell(pair.delta.map(|delta| format!("{delta:.4}"))),
        cell(pair.ks_interval.map(|(low, _)| format!("{low:.4}"))),
        cell(pair.ks_interval.map(|(_, high)| format!("{high:.4}"))),
    ]
}
