//! Summaries for people.

use std::{fmt::Write, time::Duration};

use model::{duration, stats};

use super::{Summary, TaskSummary};
use crate::calibration::Calibration;

/// The summary as a table in milliseconds.
pub(super) fn table(summary: &Summary) -> String {
    let mut out = format!(
        "{:<6} {:<14} {:<8} {:>6} {:>6} {}\n",
        "task",
        "C/T",
        "ms",
        "jobs",
        "misses",
        titles()
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
    let figures = figures(of);
    writeln!(out, "{first:<21} {kind:<8} {counts:<13} {figures}").expect("a string takes it");
}

/// The titles of [`figures`].
pub(crate) fn titles() -> String {
    ["min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]
        .map(|title| format!("{title:>10}"))
        .join(" ")
}

/// A distribution in milliseconds.
pub(crate) fn figures(of: Option<&stats::Summary>) -> String {
    let ms = |ns: f64| format!("{:>10.3}", ns / 1e6);
    of.map_or_else(
        || "no jobs recorded".to_owned(),
        |s| {
            let rest =
                [s.p50, s.p90, s.p99, s.p999, s.p9999, s.max].map(|ns| ms(ns as f64)).join(" ");
            format!("{} {} {rest}", ms(s.min as f64), ms(s.mean))
        },
    )
}

fn left_over(out: &mut String, task: &TaskSummary) {
    if let Some(own) = &task.traffic {
        let rate = own.bytes_per_s.map_or_else(String::new, |rate| {
            format!(", {:.2} GB in each second of CPU time", rate / 1e9)
        });
        let moved = own.moved_bytes as f64 / 1e9;
        writeln!(out, "{:<21} moved   {moved:.2} GB{rate}", "").expect("a string takes it");
    }
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        calibration::example,
        engine::{Outcome, Record, Tally, TaskOutcome},
        options::RunArgs,
        plan::{Keep, Plan, tasks},
        policy::{PolicyKind, policies},
        work::WorkKind,
    };
    use clap::Parser;
    use model::{TaskSet, load::Backlog};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    fn plan() -> Plan {
        let set = TaskSet::paper();
        let policies = policies(PolicyKind::Fifo, &set, &[], 80).unwrap();
        Plan {
            tasks: tasks(&set, &policies, WorkKind::Fixed, &example()),
            pin: Some(1),
            backlog: Backlog::Keep,
            duration: Duration::from_millis(300),
            drain: Duration::from_secs(10),
            start_at: None,
            keep: Keep::Records,
            stop_above: None,
        }
    }

    /// Two jobs of tau1, the second late; nothing recorded of tau2.
    pub fn outcome() -> Outcome {
        let plan = plan();
        let record =
            |job, start_ns, finish_ns| Record { job, start_ns, finish_ns, cpu_ns: 30_000_500 };
        let records = [
            vec![record(0, 1_000_050_000, 1_030_100_000), record(1, 1_150_000_000, 1_310_000_000)],
            vec![],
        ];
        let tallies = [
            Tally { done: 2, late: 1, ..Tally::default() },
            Tally { unfinished: 2, ..Tally::default() },
        ];
        let outcomes = plan.tasks.iter().zip(records).zip(tallies);
        Outcome {
            first_release_ns: 1_000_000_000,
            end_ns: 1_400_000_000,
            interrupted: false,
            stopped_by: None,
            tasks: outcomes
                .map(|((planned, records), tally)| TaskOutcome {
                    planned: planned.clone(),
                    tally,
                    records,
                    histograms: None,
                })
                .collect(),
            warnings: vec![],
        }
    }

    fn summary() -> Summary {
        let args = Line::parse_from("rtload --task 30ms/150ms --duration 300ms".split(' ')).args;
        Summary::new(&plan(), &args.common, &example(), &outcome())
    }

    #[test]
    fn the_table_is_for_people() {
        insta::assert_snapshot!(table(&summary()), @r#"
task   C/T            ms         jobs misses        min       mean        p50        p90        p99      p99.9     p99.99        max
tau1   30ms/150ms     response      2      1     30.100     95.050     30.100    160.000    160.000    160.000    160.000    160.000
                      cpu                        30.000     30.000     30.000     30.000     30.000     30.000     30.000     30.000
                      latency                     0.000      0.025      0.000      0.050      0.050      0.050      0.050      0.050
tau2   50ms/200ms     response      0      0 no jobs recorded
                      cpu                    no jobs recorded
                      latency                no jobs recorded
                      2 unfinished
"#);
    }

    #[test]
    fn the_json_is_for_scripts() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&summary()).unwrap(), @r#"
{
  "tasks": [
    {
      "task": "tau1",
      "execution_ns": 30000000,
      "period_ns": 150000000,
      "deadline_ns": 150000000,
      "jobs": 2,
      "misses": 1,
      "skipped": 0,
      "unfinished": 0,
      "response_ns": {
        "count": 2,
        "min": 30100000,
        "mean": 95050000.0,
        "stddev": 91853170.87613252,
        "p50": 30100000,
        "p90": 160000000,
        "p99": 160000000,
        "p99_9": 160000000,
        "p99_99": 160000000,
        "max": 160000000
      },
      "cpu_ns": {
        "count": 2,
        "min": 30000500,
        "mean": 30000500.0,
        "stddev": 0.0,
        "p50": 30000500,
        "p90": 30000500,
        "p99": 30000500,
        "p99_9": 30000500,
        "p99_99": 30000500,
        "max": 30000500
      },
      "latency_ns": {
        "count": 2,
        "min": 0,
        "mean": 25000.0,
        "stddev": 35355.33905932738,
        "p50": 0,
        "p90": 50000,
        "p99": 50000,
        "p99_9": 50000,
        "p99_99": 50000,
        "max": 50000
      }
    },
    {
      "task": "tau2",
      "execution_ns": 50000000,
      "period_ns": 200000000,
      "deadline_ns": 200000000,
      "jobs": 0,
      "misses": 0,
      "skipped": 0,
      "unfinished": 2,
      "response_ns": null,
      "cpu_ns": null,
      "latency_ns": null
    }
  ],
  "policy": "fifo",
  "work": "paced",
  "cpu": 1,
  "backlog": "keep",
  "first_release_ns": 1000000000,
  "duration_ns": 300000000,
  "elapsed_ns": 400000000,
  "interrupted": false,
  "stopped_by": null,
  "unfinished": 2,
  "percentiles": "exact",
  "calibration": {
    "schema_version": 1,
    "ns_per_iteration": 1.5,
    "undisturbed_ns_per_iteration": 1.25,
    "spread": 0.01,
    "length_difference": 0.001,
    "pieces": 60,
    "cpu": 1,
    "cpu_model": "An Example"
  },
  "warnings": []
}
"#);
    }

    #[test]
    fn a_calibration_says_what_the_machine_takes() {
        insta::assert_snapshot!(super::calibration(&example()), @r#"
CPU 1: 1.50000 ns per iteration in a job, 1.25000 ns undisturbed (+20.00 % taken by the machine)
spread 1.00 % between quartiles of 60 pieces of 30 ms, +0.10 % against pieces of 10 ms
"#);
    }
}
