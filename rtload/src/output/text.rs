//! Summaries for people.

use std::{fmt::Write, time::Duration};

use model::{duration, stats};

use super::{Summary, TaskSummary};
use crate::calibration::Calibration;

/// The summary as a table in milliseconds.
pub(super) fn table(summary: &Summary) -> String {
    let mut out = format!(
        "{:<6} {:<14} {:<8} {:>6} {:>6} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
        "task", "C/T", "ms", "jobs", "misses", "min", "mean", "p50", "p90", "p99", "max"
    );
    for task in &summary.tasks {
        let written = format!("{}/{}", short(task.execution_ns), short(task.period_ns));
        let first = format!("{:<6} {written:<14}", task.task);
        let counts = format!("{:>6} {:>6}", task.jobs, task.misses);
        row(&mut out, &first, "response", &counts, task.response_ns.as_ref());
        for (kind, figures) in [("cpu", &task.cpu_ns), ("latency", &task.latency_ns)] {
            row(&mut out, "", kind, "", figures.as_ref());
        }
        left_over(&mut out, task);
    }
    out
}

fn row(out: &mut String, first: &str, kind: &str, counts: &str, of: Option<&stats::Summary>) {
    let ms = |ns: f64| format!("{:>10.3}", ns / 1e6);
    let figures = of.map_or_else(
        || "no jobs recorded".to_owned(),
        |s| {
            let rest = [s.p50, s.p90, s.p99, s.max].map(|ns| ms(ns as f64)).join(" ");
            format!("{} {} {rest}", ms(s.min as f64), ms(s.mean))
        },
    );
    writeln!(out, "{first:<21} {kind:<8} {counts:<13} {figures}").expect("a string takes it");
}

fn left_over(out: &mut String, task: &TaskSummary) {
    for (count, what) in [(task.skipped, "skipped"), (task.unfinished, "unfinished")] {
        if count > 0 {
            writeln!(out, "{:<21} {count} {what}", "").expect("a string takes it");
        }
    }
}

fn short(ns: u64) -> String {
    duration::format(Duration::from_nanos(ns))
}

/// A calibration in a few lines.
pub(super) fn calibration(calibration: &Calibration) -> String {
    let Calibration { ns_per_iteration, undisturbed_ns_per_iteration, cpu, .. } = calibration;
    format!(
        "CPU {cpu}: {ns_per_iteration:.5} ns per iteration in a job, {undisturbed_ns_per_iteration:.5} ns \
         undisturbed ({:+.2} % taken by the machine)\nspread {:.2} % between quartiles of {} pieces of \
         30 ms, {:+.2} % against pieces of 10 ms\n",
        (ns_per_iteration / undisturbed_ns_per_iteration - 1.0) * 100.0,
        calibration.spread * 100.0,
        calibration.pieces,
        calibration.length_difference * 100.0,
    )
}
