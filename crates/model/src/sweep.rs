//! What a sweep came to: for each budget whether it holds, and the smallest one that does.
//!
//! A budget *holds* where, in every repetition that counts, no undisturbed job missed its deadline
//! and every released job was finished. Why disturbed jobs do not decide, and when too few are
//! left, stands in `docs/method.md`.

use std::time::Duration;

use serde::Serialize;

use crate::{
    Suite,
    analysis::{ExperimentAnalysis, LeastBudget},
    duration::{self, in_ms as ms},
    judged::Count,
    suite::{Sweep, Workload},
};

/// Whether a budget is enough, as far as was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No judged job missed its deadline, and none was left unfinished.
    Holds,
    /// One did or was.
    Fails,
    /// Nothing was measured, or fewer than half of a task's jobs can be judged.
    Undecided,
}

impl Verdict {
    /// The word used in tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Undecided => "undecided",
        }
    }
}

/// One task under one budget, over all repetitions that count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskPoint {
    /// `tau1`, `tau2`, …
    pub task: String,
    /// D, relative to the release.
    pub deadline_ns: u64,
    /// What became of its jobs.
    #[serde(flatten)]
    pub count: Count,
    /// 99th percentile of the judged response times; none where it falls among unfinished jobs.
    pub p99_ns: Option<u64>,
}

/// One budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Point {
    /// The experiment that ran under it.
    pub experiment: String,
    /// Q.
    pub budget_ns: u64,
    /// Whether it is enough.
    pub verdict: Verdict,
    /// Repetitions that count.
    pub repetitions: u32,
    /// One for each task; empty where no repetition counts.
    pub tasks: Vec<TaskPoint>,
}

/// A sweep as measured, beside what the analysis asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The experiment that was varied.
    pub experiment: String,
    /// P.
    pub period_ns: u64,
    /// The smallest budget that holds with every larger one measured; none where there is none.
    pub smallest_ns: Option<u64>,
    /// The largest budget that fails; none where none does.
    pub largest_failing_ns: Option<u64>,
    /// Whether no budget holds below one that fails.
    pub monotone: bool,
    /// Ascending budgets.
    pub points: Vec<Point>,
    /// The least budgets by analysis.
    pub analytic: Vec<LeastBudget>,
}

/// The outcome of `sweep` of `suite`, from a point for each of its members.
#[must_use]
pub fn outcome(
    suite: &Suite,
    sweep: &Sweep,
    points: Vec<Point>,
    analyses: &[ExperimentAnalysis],
) -> Outcome {
    let first = sweep.members(suite).next();
    let vm = first.and_then(|one| sweep.vm(one));
    let period = vm.and_then(|vm| Some(vm.reservation()?.period)).unwrap_or_default();
    let mine = |own: &&ExperimentAnalysis| {
        let named = first.is_some_and(|one| one.name == own.experiment);
        named && own.vm.as_deref() == vm.map(|vm| vm.name.as_str())
    };
    let analysis = analyses.iter().find(mine);
    let analytic = analysis.map_or_else(Vec::new, |own| own.budgets.clone());
    Outcome::of(sweep.experiment.clone(), period, points, analytic)
}

impl Point {
    /// `workload` under its reservation, from `repetitions` that count.
    #[must_use]
    pub fn of(workload: Workload, repetitions: u32, tasks: Vec<TaskPoint>) -> Self {
        let budget = workload.reservation().map(|own| own.budget);
        Self {
            experiment: workload.experiment.name.clone(),
            budget_ns: duration::as_ns(budget.unwrap_or_default()),
            verdict: verdict(&tasks),
            repetitions,
            tasks,
        }
    }
}

fn verdict(tasks: &[TaskPoint]) -> Verdict {
    if tasks.iter().any(|task| task.count.missed() > 0) {
        Verdict::Fails
    } else if tasks.is_empty() || tasks.iter().any(|task| !task.count.is_enough()) {
        Verdict::Undecided
    } else {
        Verdict::Holds
    }
}

impl Outcome {
    /// Puts points, in any order, together; two may have the same budget.
    #[must_use]
    pub fn of(
        experiment: String,
        period: Duration,
        mut points: Vec<Point>,
        analytic: Vec<LeastBudget>,
    ) -> Self {
        points.sort_by_key(|point| point.budget_ns);
        let with = |verdict| {
            points.iter().filter(move |point| point.verdict == verdict).map(|point| point.budget_ns)
        };
        let largest_failing_ns = with(Verdict::Fails).max();
        let bar = largest_failing_ns.max(with(Verdict::Undecided).max());
        Self {
            experiment,
            period_ns: duration::as_ns(period),
            smallest_ns: with(Verdict::Holds).filter(|&budget| bar < Some(budget)).min(),
            largest_failing_ns,
            monotone: largest_failing_ns
                .is_none_or(|failing| with(Verdict::Holds).all(|budget| budget > failing)),
            points,
            analytic,
        }
    }

    /// What the sweep says, in a sentence or several.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut said = match (self.smallest_ns, self.largest_failing_ns) {
            (Some(smallest), Some(failing)) if self.monotone => {
                format!(
                    "The smallest budget that holds is {}; {} fails.",
                    ms(smallest),
                    ms(failing)
                )
            }
            (Some(smallest), Some(_)) => {
                format!(
                    "The smallest budget that holds, as all larger ones do, is {}.",
                    ms(smallest)
                )
            }
            (Some(smallest), None) => {
                format!("The smallest budget that holds is {}; none measured fails.", ms(smallest))
            }
            (None, _) => "No budget measured holds together with every larger one.".to_owned(),
        };
        if !self.monotone {
            said += " Not monotone:";
            let failing = self.largest_failing_ns.unwrap_or_default();
            let below = self
                .points
                .iter()
                .filter(|point| point.verdict == Verdict::Holds && point.budget_ns <= failing);
            let below: Vec<_> = below.map(|point| ms(point.budget_ns)).collect();
            said += &format!(" {} held, but {} failed.", below.join(", "), ms(failing));
        }
        let undecided: Vec<_> = self
            .points
            .iter()
            .filter(|point| point.verdict == Verdict::Undecided)
            .map(|point| ms(point.budget_ns))
            .collect();
        if !undecided.is_empty() {
            said += &format!(
                " Undecided (not measured, or stalled too much): {}.",
                undecided.join(", ")
            );
        }
        said
    }

    /// The least budgets by analysis: `aligned 80/3 ms, one-gap 80/3 ms, two-gap 32 ms`.
    #[must_use]
    pub fn analytic_text(&self) -> String {
        let text = |own: &LeastBudget| {
            let budget = own.text().unwrap_or_else(|| "none known".to_owned());
            format!("{} {budget}", own.supply)
        };
        self.analytic.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(budget_ms: u64, verdict: Verdict) -> Point {
        Point {
            experiment: format!("x-{budget_ms}ms"),
            budget_ns: budget_ms * 1_000_000,
            verdict,
            repetitions: 1,
            tasks: Vec::new(),
        }
    }

    fn swept(verdicts: &[(u64, Verdict)]) -> Outcome {
        let points = verdicts.iter().map(|&(budget, verdict)| point(budget, verdict)).collect();
        Outcome::of("x".into(), Duration::from_millis(50), points, Vec::new())
    }

    #[test]
    fn the_sentence_says_what_was_found() {
        use Verdict::{Fails, Holds, Undecided};
        let cases: [(&[(u64, Verdict)], &str); 6] = [
            (
                &[(26, Fails), (28, Holds), (30, Holds)],
                "The smallest budget that holds is 28 ms; 26 ms fails.",
            ),
            (&[(26, Holds)], "The smallest budget that holds is 26 ms; none measured fails."),
            (
                &[(26, Holds), (27, Fails), (28, Holds)],
                "The smallest budget that holds, as all larger ones do, is 28 ms. \
                 Not monotone: 26 ms held, but 27 ms failed.",
            ),
            (&[(26, Fails)], "No budget measured holds together with every larger one."),
            (
                &[(26, Fails), (28, Undecided), (30, Holds)],
                "The smallest budget that holds is 30 ms; 26 ms fails. \
                 Undecided (not measured, or stalled too much): 28 ms.",
            ),
            (
                &[(26, Holds), (28, Fails)],
                "No budget measured holds together with every larger one. \
                 Not monotone: 26 ms held, but 28 ms failed.",
            ),
        ];
        for (verdicts, said) in cases {
            assert_eq!(swept(verdicts).sentence(), said);
        }
    }

    fn any_verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![Just(Verdict::Holds), Just(Verdict::Fails), Just(Verdict::Undecided)]
    }

    proptest! {
        #[test]
        fn the_smallest_holds_with_all_above_and_nothing_smaller_does(
            verdicts in prop::collection::vec((1..12_u64, any_verdict()), 0..12),
        ) {
            let outcome = swept(&verdicts);
            let from_there = |budget: u64| {
                let mut above = verdicts.iter().filter(|(own, _)| *own >= budget);
                above.all(|(_, verdict)| *verdict == Verdict::Holds)
            };
            let good = verdicts.iter().map(|&(budget, _)| budget).filter(|&b| from_there(b)).min();
            prop_assert_eq!(outcome.smallest_ns, good.map(|ms| ms * 1_000_000));
            let inverted = verdicts.iter().any(|(low, a)| {
                *a == Verdict::Holds
                    && verdicts.iter().any(|(high, b)| high >= low && *b == Verdict::Fails)
            });
            prop_assert_eq!(outcome.monotone, !inverted);
        }
    }
}
