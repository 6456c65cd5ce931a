//! A sweep's outcome, for people and for scripts.

use std::path::Path;

use model::{
    duration::in_ms as ms,
    sweep::{Outcome, Point, TaskPoint},
};
use serde::Serialize;

/// A line for each budget, then the smallest that holds, beside the analysis.
#[must_use]
pub fn table(outcome: &Outcome) -> String {
    let mut text =
        format!("{}, budgets for every {}:\n", outcome.experiment, ms(outcome.period_ns));
    for point in &outcome.points {
        let budget = ms(point.budget_ns);
        text += &format!("{budget:>9}  {:9}  {}\n", point.verdict.name(), found(point));
    }
    text += &format!("{}\n", outcome.sentence());
    if !outcome.analytic.is_empty() {
        text += &format!("Least budgets by analysis: {}.\n", outcome.analytic_text());
    }
    text
}

fn found(point: &Point) -> String {
    if point.tasks.is_empty() {
        return "not measured".to_owned();
    }
    point.tasks.iter().map(of_task).collect::<Vec<_>>().join("; ")
}

fn of_task(own: &TaskPoint) -> String {
    let p99 = own.p99_ns.map_or_else(String::new, |ns| format!(", p99 {:.1} ms", ns as f64 / 1e6));
    let mut text = format!("{} {} of {} missed{p99}", own.task, own.count.misses, own.count.jobs);
    for (count, what) in [
        (own.count.stalled_misses, "of the stalled ones missed"),
        (own.count.unfinished, "never finished"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}

#[derive(Serialize)]
struct Summary<'a> {
    folder: &'a Path,
    failed: usize,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// One JSON object.
///
/// # Errors
/// A folder whose path is not UTF-8.
pub fn json(folder: &Path, failed: usize, outcome: &Outcome) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Summary { folder, failed, outcome })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use insta::assert_snapshot;
    use model::{analysis::LeastBudget, judged::Count, sweep::Verdict};

    fn task(at: usize, misses: u64, p99_ms: u64) -> TaskPoint {
        TaskPoint {
            task: model::TaskSet::name(at),
            deadline_ns: [150, 200][at] * 1_000_000,
            count: Count {
                released: 50,
                jobs: 48,
                misses,
                stalled: Some(2),
                stalled_misses: misses / 6,
                unfinished: 0,
            },
            p99_ns: Some(p99_ms * 1_000_000 + 120_000),
        }
    }

    fn outcome() -> Outcome {
        let point = |budget_ns: u64, verdict, tasks: Vec<TaskPoint>| Point {
            experiment: format!("x-{budget_ns}"),
            budget_ns,
            verdict,
            repetitions: u32::from(!tasks.is_empty()),
            tasks,
        };
        let least = |supply: &str, budget_ns: u64, exact: Option<&str>| LeastBudget {
            supply: supply.to_owned(),
            budget_ns: Some(budget_ns),
            budget_exact: exact.map(str::to_owned),
        };
        Outcome::of(
            "x".into(),
            Duration::from_millis(50),
            vec![
                point(28_000_000, Verdict::Holds, vec![task(0, 0, 52), task(1, 0, 124)]),
                point(26_500_000, Verdict::Fails, vec![task(0, 0, 54), task(1, 12, 220)]),
                point(24_000_000, Verdict::Undecided, vec![]),
            ],
            vec![least("aligned", 26_666_667, Some("80/3 ms")), least("two-gap", 32_000_000, None)],
        )
    }

    #[test]
    fn for_people() {
        assert_snapshot!(table(&outcome()), @"
        x, budgets for every 50 ms:
            24 ms  undecided  not measured
          26.5 ms  fails      tau1 0 of 48 missed, p99 54.1 ms; tau2 12 of 48 missed, p99 220.1 ms, 2 of the stalled ones missed
            28 ms  holds      tau1 0 of 48 missed, p99 52.1 ms; tau2 0 of 48 missed, p99 124.1 ms
        The smallest budget that holds is 28 ms; 26.5 ms fails. Undecided (not measured, or stalled too much): 24 ms.
        Least budgets by analysis: aligned 80/3 ms, two-gap 32 ms.
        ");
    }

    #[test]
    fn for_scripts() {
        let json = json(Path::new("results/s"), 0, &outcome()).unwrap();
        let head: Vec<&str> = json.lines().take(30).collect();
        assert_snapshot!(head.join("\n"), @r#"
        {
          "folder": "results/s",
          "failed": 0,
          "experiment": "x",
          "period_ns": 50000000,
          "smallest_ns": 28000000,
          "largest_failing_ns": 26500000,
          "monotone": true,
          "points": [
            {
              "experiment": "x-24000000",
              "budget_ns": 24000000,
              "verdict": "undecided",
              "repetitions": 0,
              "tasks": []
            },
            {
              "experiment": "x-26500000",
              "budget_ns": 26500000,
              "verdict": "fails",
              "repetitions": 1,
              "tasks": [
                {
                  "task": "tau1",
                  "deadline_ns": 150000000,
                  "released": 50,
                  "jobs": 48,
                  "misses": 0,
                  "stalled": 2,
                  "stalled_misses": 0,
        "#);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_snapshot!(
            value["analytic"].to_string(),
            @r#"[{"budget_exact":"80/3 ms","budget_ns":26666667,"supply":"aligned"},{"budget_exact":null,"budget_ns":32000000,"supply":"two-gap"}]"#
        );
    }
}
