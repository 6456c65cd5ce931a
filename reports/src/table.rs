//! `reports table`: the statistics of every task (or service) of every experiment.

use model::stats::{P99_LEAST, Summary};

use crate::{
    folder::{Case, Results},
    grid::{Format, Grid},
    series::{DISTURBED_NS, Selection, Series},
    stats::interval::{self, MeanInterval},
    units::{UNKNOWN, count, ms, ms_or_unknown, percent, short},
};

/// The statistics of one task in one experiment; times in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The experiment.
    pub experiment: String,
    /// The task or service; none where nothing was measured.
    pub task: Option<String>,
    /// Independent runs.
    pub runs: usize,
    /// Disturbed jobs; none where no sentinel watched.
    pub disturbed: Option<usize>,
    /// Selected jobs that missed their deadline; none for requests.
    pub misses: Option<usize>,
    /// Requests that failed.
    pub failures: u64,
    /// Jobs that were released but not finished.
    pub unfinished: u64,
    /// Of the selected samples; none where there are none.
    pub summary: Option<Summary>,
    /// 90 % confidence interval of the mean; none where the samples are too few.
    pub interval: Option<MeanInterval>,
    /// The analytic worst case.
    pub bound_ns: Option<u64>,
}

/// One row per experiment and task, in the suite's order.
#[must_use]
pub fn rows(results: &Results, selection: Selection) -> Vec<Row> {
    results.cases.iter().flat_map(|case| case_rows(case, selection)).collect()
}

fn case_rows(case: &Case, selection: Selection) -> Vec<Row> {
    let of = |series: &Series| Row {
        experiment: case.name().to_owned(),
        task: Some(series.task.clone()),
        runs: series.runs.len(),
        disturbed: series.disturbed(),
        misses: series.deadline_ns.map(|_| series.misses(selection)),
        failures: series.failures,
        unfinished: series.unfinished(),
        summary: Summary::of_sorted(series.sorted(selection)),
        interval: interval_of(series, selection),
        bound_ns: case.bound_ns(&series.task),
    };
    if case.series.is_empty() {
        return vec![unmeasured(case)];
    }
    case.series.iter().map(of).collect()
}

/// Of the mean of all released jobs; none where some never finished, of which nobody knows how long
/// they would have taken.
pub(crate) fn interval_of(series: &Series, selection: Selection) -> Option<MeanInterval> {
    let known = series.unfinished() == 0;
    known.then(|| interval::mean_interval(&series.by_run(selection)))?
}

fn unmeasured(case: &Case) -> Row {
    Row {
        experiment: case.name().to_owned(),
        task: None,
        runs: 0,
        disturbed: None,
        misses: None,
        failures: 0,
        unfinished: 0,
        summary: None,
        interval: None,
        bound_ns: None,
    }
}

/// The table in the units of `format`: milliseconds for people, whole nanoseconds in CSV.
#[must_use]
pub fn grid(results: &Results, selection: Selection, format: Format) -> Grid {
    let rows = rows(results, selection);
    if format == Format::Csv {
        return machine_grid(&rows, selection);
    }
    let header = [
        "experiment",
        "task",
        "jobs",
        "stalled",
        "misses",
        "unfinished",
        "min",
        "mean",
        "± 90 %",
        "std. dev.",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "max",
        "analytic",
    ];
    Grid {
        header: header.map(str::to_owned).into(),
        rows: rows.iter().map(human_cells).collect(),
        texts: 2,
        notes: notes(results, &rows, selection),
    }
}

fn human_cells(row: &Row) -> Vec<String> {
    let known = |n: Option<usize>| n.map_or_else(|| UNKNOWN.to_owned(), |n| n.to_string());
    let Some(task) = &row.task else {
        let mut cells = vec![row.experiment.clone(), "not measured".to_owned()];
        cells.resize(17, UNKNOWN.to_owned());
        return cells;
    };
    let of = |pick: fn(&Summary) -> f64| ms_or_unknown(row.summary.as_ref().map(pick));
    vec![
        row.experiment.clone(),
        task.clone(),
        row.summary.map_or(0, |summary| summary.count).to_string(),
        known(row.disturbed),
        known(row.misses),
        row.misses.map_or_else(|| UNKNOWN.to_owned(), |_| row.unfinished.to_string()),
        of(|s| s.min as f64),
        of(|s| s.mean),
        ms_or_unknown(row.interval.map(|interval| interval.half)),
        ms_or_unknown(row.summary.and_then(|summary| summary.stddev)),
        of(|s| s.p50 as f64),
        of(|s| s.p90 as f64),
        of(|s| s.p99 as f64),
        of(|s| s.p999 as f64),
        of(|s| s.p9999 as f64),
        of(|s| s.max as f64),
        row.bound_ns.map_or_else(|| UNKNOWN.to_owned(), |ns| ms(ns as f64)),
    ]
}

/// What the numbers are, how they came about, and what is missing.
fn notes(results: &Results, rows: &[Row], selection: Selection) -> Vec<String> {
    let mut notes = vec![format!(
        "Response times in milliseconds, of {}. A job is stalled where the machine ran no thread for \
         more than {} since its busy period began.",
        match selection {
            Selection::All => "all jobs",
            Selection::Undisturbed => "the jobs that no stall disturbed",
        },
        short(DISTURBED_NS as f64)
    )];
    let measured = || rows.iter().filter(|row| row.task.is_some());
    let intervals: Vec<MeanInterval> = measured().filter_map(|row| row.interval).collect();
    notes.extend(interval_note(&intervals, measured().count()));
    let short = measured().filter_map(|row| Some((row, row.summary?.count)));
    let short = short.filter(|(_, count)| *count < P99_LEAST);
    notes.extend(p99_note(
        short.map(|(row, _)| {
            format!("{} {}", row.experiment, row.task.as_deref().unwrap_or(UNKNOWN))
        }),
    ));
    if results.simulated() {
        notes.push("Simulated: nothing here was measured.".to_owned());
    }
    notes.extend(attempts_note(results));
    for row in rows.iter().filter(|row| row.unfinished > 0) {
        notes.push(format!(
            "{} {}: {} released but not finished, outside all statistics.",
            row.experiment,
            row.task.as_deref().unwrap_or(UNKNOWN),
            count(row.unfinished as usize, "job")
        ));
    }
    for row in rows.iter().filter(|row| row.failures > 0) {
        notes.push(format!("{}: {} failed, outside all statistics.", row.experiment, {
            count(row.failures as usize, "request")
        }));
    }
    notes.extend(results.gaps.iter().map(|gap| format!("Missing: {gap}.")));
    notes
}

/// One sentence on the intervals of `rows` rows; none where there is no row.
pub(crate) fn interval_note(intervals: &[MeanInterval], rows: usize) -> Option<String> {
    let lack = "none over a single repetition, nor where jobs never finished";
    match intervals.iter().map(|own| own.runs).min() {
        _ if rows == 0 => None,
        None => Some(format!("No confidence interval of a mean: {lack}.")),
        Some(least) => Some(format!(
            "Confidence interval of the mean: Student's t over the means of repetitions, of which \
             there are {least} at least; {lack}."
        )),
    }
}

/// One sentence on the rows whose 99th percentile is their largest sample.
pub(crate) fn p99_note(rows: impl Iterator<Item = String>) -> Option<String> {
    let rows: Vec<String> = rows.collect();
    (!rows.is_empty()).then(|| {
        format!(
            "The p99 of fewer than {P99_LEAST} samples is the largest of them: {}.",
            rows.join(", ")
        )
    })
}

/// One sentence on attempts that failed or were noisy, where there were some.
#[must_use]
pub fn attempts_note(results: &Results) -> Option<String> {
    let sum = |of: fn(&Case) -> usize| results.cases.iter().map(of).sum::<usize>();
    let (attempts, failed, noisy) =
        (sum(|case| case.attempts), sum(|case| case.failed), sum(|case| case.noisy));
    let still_noisy =
        results.cases.iter().flat_map(|case| &case.counted).filter(|record| record.noisy).count();
    (failed + noisy > 0).then(|| {
        let counting = match still_noisy {
            0 => "none of the noisy ones counts".to_owned(),
            n => format!("{n} of the noisy ones counted all the same, having no quieter rival"),
        };
        format!(
            "Of {}, {failed} failed and {noisy} stalled for more than {} of the time; {counting}.",
            count(attempts, "attempt"),
            percent(results.manifest.suite.noise.max_stalled),
        )
    })
}

const MACHINE_COLUMNS: [&str; 22] = [
    "experiment",
    "task",
    "samples",
    "repetitions",
    "jobs",
    "stalled",
    "misses",
    "failures",
    "min_ns",
    "mean_ns",
    "mean_ci90_ns",
    "ci_unit",
    "ci_units",
    "stddev_ns",
    "p50_ns",
    "p90_ns",
    "p99_ns",
    "max_ns",
    "analytic_ns",
    "unfinished",
    "p99_9_ns",
    "p99_99_ns",
];

fn machine_grid(rows: &[Row], selection: Selection) -> Grid {
    Grid {
        header: MACHINE_COLUMNS.map(str::to_owned).into(),
        rows: rows.iter().map(|row| machine_cells(row, selection)).collect(),
        texts: 3,
        notes: Vec::new(),
    }
}

fn machine_cells(row: &Row, selection: Selection) -> Vec<String> {
    fn cell(value: Option<impl ToString>) -> String {
        value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
    }
    let whole = |value: f64| value.round() as u64;
    let summary = row.summary;
    vec![
        row.experiment.clone(),
        cell(row.task.clone()),
        selection.name().to_owned(),
        row.runs.to_string(),
        summary.map_or(0, |s| s.count).to_string(),
        cell(row.disturbed),
        cell(row.misses),
        row.failures.to_string(),
        cell(summary.map(|s| s.min)),
        cell(summary.map(|s| whole(s.mean))),
        cell(row.interval.map(|interval| whole(interval.half))),
        cell(row.interval.map(|_| "repetitions")),
        cell(row.interval.map(|interval| interval.runs)),
        cell(summary.and_then(|s| s.stddev).map(whole)),
        cell(summary.map(|s| s.p50)),
        cell(summary.map(|s| s.p90)),
        cell(summary.map(|s| s.p99)),
        cell(summary.map(|s| s.max)),
        cell(row.bound_ns),
        row.unfinished.to_string(),
        cell(summary.map(|s| s.p999)),
        cell(summary.map(|s| s.p9999)),
    ]
}
