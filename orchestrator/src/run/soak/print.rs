//! A soak in words.

use std::{fmt::Write, time::Duration};

use model::duration;

use super::{Account, account::Over};

/// A time with three digits: `1.23 ms`.
pub(super) fn short(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let places = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.places$} {unit}")
}

/// The first job above the limit, as it is told at once.
pub(super) fn over(over: &Over, limit: Option<Duration>) -> String {
    let limit = limit.map_or_else(|| "its deadline".to_owned(), duration::format);
    let stalled = match over.stalled_ns {
        Some(0) | None => String::new(),
        Some(stalled) => format!(", the measured CPU was stalled for {} of it", short(stalled)),
    };
    format!(
        "{} round {}: {} job {} took {}, above {limit}{stalled}; the round's folder is kept",
        over.experiment,
        over.round,
        over.task,
        over.job,
        short(over.response_ns)
    )
}

/// The verdict and a table.
#[must_use]
pub fn text(account: &Account) -> String {
    let summary = account.summary();
    let hours = |ns: u64| duration::format(Duration::from_secs(ns.div_ceil(1_000_000_000)));
    let mut out = format!(
        "{} for {} of {} in {} rounds: {} jobs above the limit\n",
        if summary.holds { "held" } else { "not held" },
        hours(summary.measured_ns),
        hours(summary.wanted_ns),
        summary.rounds,
        account.over()
    );
    if summary.failed_rounds > 0 {
        let failed = summary.failed_rounds;
        writeln!(out, "{failed} rounds failed and are not counted").expect("a string takes it");
    }
    let titles =
        ["limit", "jobs", "misses", "above", "stalled", "unfinished", "p50", "p99.99", "max"]
            .map(|title| format!("{title:>10}"))
            .join(" ");
    writeln!(out, "{:<20} {:<6} {titles}", "experiment", "task").expect("a string takes it");
    for row in &summary.tasks {
        let time = |of: fn(&model::stats::Summary) -> u64| {
            row.response_ns.as_ref().map_or_else(|| "–".to_owned(), |summary| short(of(summary)))
        };
        let cells = [
            short(row.limit_ns),
            row.jobs.to_string(),
            row.misses.to_string(),
            row.over_limit.to_string(),
            row.over_limit_disturbed.to_string(),
            row.unfinished.to_string(),
            time(|summary| summary.p50),
            time(|summary| summary.p9999),
            time(|summary| summary.max),
        ];
        let cells = cells.map(|cell| format!("{cell:>10}")).join(" ");
        writeln!(out, "{:<20} {:<6} {cells}", row.experiment, row.task).expect("a string takes it");
    }
    out
}
