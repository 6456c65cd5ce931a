//! `reports sweep`: whether each budget of a sweep holds, and the smallest one that does.

use model::{
    duration::in_ms,
    stats::P99_LEAST,
    sweep::{Outcome, Point, TaskPoint},
};

use crate::{
    grid::{Format, Grid},
    series::DISTURBED_NS,
    table::p99_note,
    units::{UNKNOWN, ms, short},
};

/// A sweep as a table for people, with what it says below.
#[must_use]
pub fn grid(outcome: &Outcome) -> Grid {
    let header = [
        "budget",
        "verdict",
        "task",
        "jobs",
        "misses",
        "stalled",
        "of them missed",
        "unfinished",
        "p99",
        "deadline",
    ];
    let mut notes = vec![format!("{}: {}", outcome.experiment, outcome.sentence())];
    if !outcome.analytic.is_empty() {
        notes.push(format!("Least budgets by analysis: {}.", outcome.analytic_text()));
    }
    notes.push(format!(
        "Times in milliseconds. Jobs that a stall disturbed (more than {}) stand aside: how many \
         they were, and how many of them missed their deadline.",
        short(DISTURBED_NS as f64)
    ));
    let tasks = outcome
        .points
        .iter()
        .flat_map(|point| point.tasks.iter().map(move |own| (in_ms(point.budget_ns), own)));
    let short = tasks.filter(|(_, own)| own.p99_ns.is_some() && own.count.judged() < P99_LEAST);
    notes.extend(p99_note(short.map(|(budget, own)| format!("{budget} {}", own.task))));
    Grid {
        header: header.map(str::to_owned).into(),
        rows: outcome.points.iter().flat_map(human_rows).collect(),
        texts: 3,
        notes,
    }
}

fn human_rows(point: &Point) -> Vec<Vec<String>> {
    let head =
        |task: &str| vec![in_ms(point.budget_ns), point.verdict.name().to_owned(), task.to_owned()];
    if point.tasks.is_empty() {
        let mut row = head("not measured");
        row.resize(10, UNKNOWN.to_owned());
        return vec![row];
    }
    let row = |own: &TaskPoint| {
        let mut row = head(&own.task);
        row.extend([
            own.count.jobs.to_string(),
            own.count.misses.to_string(),
            own.count.stalled.map_or_else(|| UNKNOWN.to_owned(), |n| n.to_string()),
            own.count.stalled_misses.to_string(),
            own.count.unfinished.to_string(),
            own.p99_ns.map_or_else(|| UNKNOWN.to_owned(), |ns| ms(ns as f64)),
            ms(own.deadline_ns as f64),
        ]);
        row
    };
    point.tasks.iter().map(row).collect()
}

const MACHINE_COLUMNS: [&str; 15] = [
    "sweep",
    "experiment",
    "budget_ns",
    "period_ns",
    "verdict",
    "repetitions",
    "task",
    "deadline_ns",
    "released",
    "jobs",
    "misses",
    "stalled",
    "stalled_misses",
    "unfinished",
    "p99_ns",
];

/// All sweeps of a folder for scripts: a row for each budget and task, as CSV.
#[must_use]
pub fn csv(outcomes: &[Outcome]) -> String {
    let header = MACHINE_COLUMNS.map(str::to_owned).into();
    let rows = outcomes.iter().flat_map(machine_rows).collect();
    Grid { header, rows, texts: 2, notes: Vec::new() }.write(Format::Csv)
}

fn machine_rows(outcome: &Outcome) -> Vec<Vec<String>> {
    let row = |point: &Point, own: Option<&TaskPoint>| {
        let cell = |value: Option<String>| value.unwrap_or_else(|| UNKNOWN.to_owned());
        let number = |pick: fn(&TaskPoint) -> u64| cell(own.map(|own| pick(own).to_string()));
        vec![
            outcome.experiment.clone(),
            point.experiment.clone(),
            point.budget_ns.to_string(),
            outcome.period_ns.to_string(),
            point.verdict.name().to_owned(),
            point.repetitions.to_string(),
            cell(own.map(|own| own.task.clone())),
            number(|own| own.deadline_ns),
            number(|own| own.count.released),
            number(|own| own.count.jobs),
            number(|own| own.count.misses),
            cell(own.and_then(|own| own.count.stalled).map(|n| n.to_string())),
            number(|own| own.count.stalled_misses),
            number(|own| own.count.unfinished),
            cell(own.and_then(|own| own.p99_ns).map(|ns| ns.to_string())),
        ]
    };
    let of = |point: &Point| -> Vec<Vec<String>> {
        if point.tasks.is_empty() {
            return vec![row(point, None)];
        }
        point.tasks.iter().map(|own| row(point, Some(own))).collect()
    };
    outcome.points.iter().flat_map(of).collect()
}
