//! What a sweep came to: for each budget whether it holds, and the smallest one that does.
//!
//! A budget *holds* where, in every repetition that counts, no undisturbed job missed its deadline
//! and every released job was finished. Why disturbed jobs do not decide, and when too few are
//! left, stands in `docs/method.md`.

use std::{path::Path, time::Duration};

use serde::Serialize;

use crate::{
    Suite, Task, TaskSet,
    analysis::{ExperimentAnalysis, LeastBudget},
    duration::{self, in_ms as ms},
    manifest::RepetitionRecord,
    sample::{Job, SampleError, read_csv},
    stats,
    suite::{Experiment, Sweep},
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
    /// Jobs released.
    pub released: u64,
    /// Jobs that finished and are judged.
    pub jobs: u64,
    /// Judged jobs that missed their deadline.
    pub misses: u64,
    /// Jobs that a stall disturbed; none where no sentinel watched all of them.
    pub stalled: Option<u64>,
    /// Jobs that are not judged, since a stall disturbed them, and missed their deadline.
    pub stalled_misses: u64,
    /// Jobs released and never finished.
    pub unfinished: u64,
    /// 99th percentile of the judged response times.
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

/// Which jobs decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Undisturbed,
    /// Where the analysis promises no bound, a backlog never ends and nothing stays undisturbed.
    All,
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
    let period = first.and_then(|one| Some(one.reservation.as_ref()?.period)).unwrap_or_default();
    let analysis = first.and_then(|one| of(analyses, one));
    let analytic = analysis.map_or_else(Vec::new, |own| own.budgets.clone());
    Outcome::of(sweep.experiment.clone(), period, points, analytic)
}

/// One experiment under its reservation, from the samples in `folder`; an attempt that left none
/// has measured nothing.
///
/// # Errors
/// A CSV file that cannot be read.
pub fn point(
    folder: &Path,
    experiment: &Experiment,
    records: &[RepetitionRecord],
    analyses: &[ExperimentAnalysis],
) -> Result<Point, SampleError> {
    let counts = |one: &&RepetitionRecord| one.counts && one.experiment == experiment.name;
    let file = |one: &RepetitionRecord| {
        folder.join(&one.experiment).join(format!("rep-{:03}/jobs.csv", one.attempt))
    };
    let files = records.iter().filter(counts).map(file).filter(|file| file.exists());
    let runs: Vec<Vec<Job>> = files.map(|file| read_csv(&file)).collect::<Result<_, _>>()?;
    let bounded = of(analyses, experiment).is_none_or(ExperimentAnalysis::is_bounded);
    let judged = if bounded { Judged::Undisturbed } else { Judged::All };
    Ok(Point::of(experiment, &runs, judged))
}

fn of<'a>(
    analyses: &'a [ExperimentAnalysis],
    experiment: &Experiment,
) -> Option<&'a ExperimentAnalysis> {
    analyses.iter().find(|own| own.experiment == experiment.name)
}

impl Point {
    fn of(experiment: &Experiment, runs: &[Vec<Job>], judged: Judged) -> Self {
        let budget = experiment.reservation.as_ref().map(|own| own.budget);
        let tasks: Vec<TaskPoint> = if runs.is_empty() {
            Vec::new()
        } else {
            let released = |task: &Task| task.released(experiment.duration) * runs.len() as u64;
            let of = |(at, task)| TaskPoint::of(at, task, released(task), runs, judged);
            experiment.tasks.iter().enumerate().map(of).collect()
        };
        Self {
            experiment: experiment.name.clone(),
            budget_ns: duration::as_ns(budget.unwrap_or_default()),
            verdict: verdict(&tasks),
            repetitions: runs.len() as u32,
            tasks,
        }
    }
}

impl TaskPoint {
    fn of(at: usize, task: &Task, released: u64, runs: &[Vec<Job>], judged: Judged) -> Self {
        let name = TaskSet::name(at);
        let own: Vec<&Job> = runs.iter().flatten().filter(|job| job.task == name).collect();
        let watched = own.iter().all(|job| job.stalled_ns.is_some());
        let disturbed = own.iter().filter(|job| job.disturbed()).count() as u64;
        let (chosen, others): (Vec<&Job>, Vec<&Job>) =
            own.iter().partition(|job| judged == Judged::All || !job.disturbed());
        let misses = |jobs: &[&Job]| jobs.iter().filter(|job| job.missed).count() as u64;
        let mut responses: Vec<u64> = chosen.iter().map(|job| job.response_ns).collect();
        responses.sort_unstable();
        Self {
            task: name,
            deadline_ns: duration::as_ns(task.deadline()),
            released,
            jobs: chosen.len() as u64,
            misses: misses(&chosen),
            stalled: watched.then_some(disturbed),
            stalled_misses: misses(&others),
            unfinished: released.saturating_sub(own.len() as u64),
            p99_ns: stats::percentile(&responses, 99.0),
        }
    }
}

fn verdict(tasks: &[TaskPoint]) -> Verdict {
    if tasks.iter().any(|task| task.misses + task.unfinished > 0) {
        Verdict::Fails
    } else if tasks.is_empty() || tasks.iter().any(|task| 2 * task.jobs < task.released) {
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
    use crate::suite::parse;
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

    fn experiment() -> Experiment {
        let text = "name = \"s\"\n[[experiment]]\nname = \"x\"\nwhere = \"guest\"\n\
                    tasks = [\"30ms/150ms\", \"50ms/200ms\"]\nduration = \"3s\"\n\
                    reservation = { budget = \"28ms\", period = \"50ms\" }";
        parse(text, "s.toml").unwrap().experiments[0].clone()
    }

    /// 20 jobs of tau1 and 15 of tau2, each as `bend` leaves it.
    fn run(bend: impl Fn(&mut Job)) -> Vec<Job> {
        let job = |task: &str, n: u64, deadline_ns: u64| {
            let mut job = Job {
                experiment: None,
                repetition: None,
                task: task.into(),
                job: n,
                release_ns: n * deadline_ns,
                start_ns: n * deadline_ns,
                finish_ns: n * deadline_ns + 50 + n,
                response_ns: 50 + n,
                cpu_ns: None,
                deadline_ns,
                missed: false,
                stalled_ns: Some(0),
            };
            bend(&mut job);
            job
        };
        let tau1 = (0..20).map(|n| job("tau1", n, 150_000_000));
        tau1.chain((0..15).map(|n| job("tau2", n, 200_000_000))).collect()
    }

    fn judge(runs: &[Vec<Job>], judged: Judged) -> Point {
        Point::of(&experiment(), runs, judged)
    }

    #[test]
    fn undisturbed_misses_and_unfinished_jobs_decide() {
        let quiet = judge(&[run(|_| ()), run(|_| ())], Judged::Undisturbed);
        assert_eq!((quiet.verdict, quiet.repetitions), (Verdict::Holds, 2));
        let tau2 = &quiet.tasks[1];
        assert_eq!((tau2.released, tau2.jobs, tau2.p99_ns), (30, 30, Some(64)));
        let late = run(|job| job.missed = job.task == "tau2" && job.job == 3);
        let missed = judge(&[run(|_| ()), late], Judged::Undisturbed);
        assert_eq!((missed.verdict, missed.tasks[1].misses), (Verdict::Fails, 1));
        let mut cut = run(|_| ());
        cut.pop();
        let unfinished = judge(&[cut], Judged::Undisturbed);
        assert_eq!((unfinished.verdict, unfinished.tasks[1].unfinished), (Verdict::Fails, 1));
        assert_eq!(judge(&[], Judged::Undisturbed).verdict, Verdict::Undecided);
    }

    #[test]
    fn stalls_excuse_and_too_many_leave_it_open() {
        let stalled = |from: u64| {
            run(move |job| {
                if job.job >= from {
                    (job.stalled_ns, job.missed) = (Some(9_000_000), true);
                }
            })
        };
        let few = judge(&[stalled(14)], Judged::Undisturbed);
        assert_eq!(few.verdict, Verdict::Holds);
        assert_eq!((few.tasks[0].stalled, few.tasks[0].stalled_misses), (Some(6), 6));
        assert_eq!(judge(&[stalled(7)], Judged::Undisturbed).verdict, Verdict::Undecided);
        assert_eq!(judge(&[stalled(14)], Judged::All).verdict, Verdict::Fails);
        let unwatched = judge(&[run(|job| job.stalled_ns = None)], Judged::Undisturbed);
        assert_eq!((unwatched.verdict, unwatched.tasks[0].stalled), (Verdict::Holds, None));
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
