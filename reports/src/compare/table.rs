//! The rows of a comparison, for people and for programs.

use model::stats::Summary;

use super::{Comparison, Pair};
use crate::{
    grid::{Format, Grid},
    units::{self, UNKNOWN, ms, signed_percent},
};

const HEADER: [&str; 23] = [
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
    "p99 1",
    "p99 2",
    "p99.9 1",
    "p99.9 2",
    "p99.99 1",
    "p99.99 2",
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
    notes.extend(left_out(comparison));
    Grid {
        header: HEADER.map(str::to_owned).into(),
        rows: comparison.pairs.iter().map(human_cells).collect(),
        texts: 2,
        notes,
    }
}

/// A sentence for each experiment that is not compared.
pub(super) fn left_out(comparison: &Comparison) -> Vec<String> {
    let unequal = comparison.unequal.iter().map(|(name, what)| {
        format!("{name} did other work in the second folder and is not compared: {what}.")
    });
    let only = |(name, which): &(String, &str)| format!("Only the {which} folder measured {name}.");
    unequal.chain(comparison.lonely.iter().map(only)).collect()
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
        of(first, |own| own.p99 as f64),
        of(second, |own| own.p99 as f64),
        of(first, |own| own.p999 as f64),
        of(second, |own| own.p999 as f64),
        of(first, |own| own.p9999 as f64),
        of(second, |own| own.p9999 as f64),
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

const MACHINE_COLUMNS: [&str; 32] = [
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
    "p99_9_1_ns",
    "p99_9_2_ns",
    "p99_99_1_ns",
    "p99_99_2_ns",
    "missed_1",
    "missed_2",
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
    for pick in [|own: &Summary| own.p999, |own: &Summary| own.p9999] {
        cells.extend(sides(pick));
    }
    cells.extend(pair.counts.map(|own| own.missed().to_string()));
    cells
}
