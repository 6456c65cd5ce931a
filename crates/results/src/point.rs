//! A budget of a sweep, from the samples of its experiment.

use model::{
    analysis::ExperimentAnalysis,
    duration,
    judged::Selection,
    suite::Workload,
    sweep::{Point, TaskPoint},
};

use crate::{error::Error, folder::Folder, series::Series};

impl Folder {
    /// Whether the budget of the reservation of `workload`'s VM is enough.
    ///
    /// # Errors
    /// A malformed row.
    pub fn point(
        &self,
        workload: Workload,
        analyses: &[ExperimentAnalysis],
    ) -> Result<Point, Error> {
        Ok(point(workload, &self.samples(workload)?.series, analyses))
    }
}

/// As [`Folder::point`], from samples that were read already.
#[must_use]
pub fn point(workload: Workload, series: &[Series], analyses: &[ExperimentAnalysis]) -> Point {
    let own = analyses.iter().find(|own| own.is_of(workload));
    let selection = Selection::by(own);
    let runs = series.iter().map(|own| own.runs.len()).max().unwrap_or(0);
    let of = |(own, task): (&Series, &model::Task)| TaskPoint {
        task: own.task.clone(),
        deadline_ns: duration::as_ns(task.deadline()),
        count: own.count(selection),
        p99_ns: own.percentile(selection, 99.0),
    };
    let tasks = series.iter().zip(workload.tasks().iter()).map(of).collect();
    Point::of(workload, runs as u32, tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        analysis::{SupplyAnalysis, TaskBound},
        sample::Job,
        suite::{Experiment, parse},
        sweep::Verdict,
    };

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
                vm: None,
                service: None,
            };
            bend(&mut job);
            job
        };
        let tau1 = (0..20).map(|n| job("tau1", n, 150_000_000));
        tau1.chain((0..15).map(|n| job("tau2", n, 200_000_000))).collect()
    }

    fn judge(runs: &[Vec<Job>], bounded: Selection) -> Point {
        let experiment = experiment();
        let workload = experiment.workloads()[0];
        let mut series = Vec::new();
        for (attempt, rows) in runs.iter().enumerate() {
            let (tasks, length) = (workload.tasks(), experiment.duration);
            let jobs = crate::jobs::of(rows, crate::jobs::Owner::default());
            Series::add_jobs(&mut series, tasks, length, attempt as u32, jobs);
        }
        let wcrt_ns = (bounded == Selection::Undisturbed).then_some(1);
        let bound = |at| TaskBound { task: model::TaskSet::name(at), wcrt_ns };
        let supply = SupplyAnalysis {
            supply: "aligned".into(),
            schedulable: None,
            tasks: (0..2).map(bound).collect(),
        };
        let analysis = ExperimentAnalysis {
            experiment: "x".into(),
            vm: Some("vm".into()),
            service: "tasks".into(),
            supplies: vec![supply],
            budgets: vec![],
        };
        point(workload, &series, &[analysis])
    }

    #[test]
    fn undisturbed_misses_and_unfinished_jobs_decide() {
        let quiet = judge(&[run(|_| ()), run(|_| ())], Selection::Undisturbed);
        assert_eq!((quiet.verdict, quiet.repetitions), (Verdict::Holds, 2));
        let tau2 = &quiet.tasks[1];
        assert_eq!((tau2.count.released, tau2.count.jobs, tau2.p99_ns), (30, 30, Some(64)));
        let late = run(|job| job.missed = job.task == "tau2" && job.job == 3);
        let missed = judge(&[run(|_| ()), late], Selection::Undisturbed);
        assert_eq!((missed.verdict, missed.tasks[1].count.misses), (Verdict::Fails, 1));
        let mut cut = run(|_| ());
        cut.pop();
        let unfinished = judge(&[cut], Selection::Undisturbed);
        assert_eq!((unfinished.verdict, unfinished.tasks[1].count.unfinished), (Verdict::Fails, 1));
        assert_eq!(judge(&[], Selection::Undisturbed).verdict, Verdict::Undecided);
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
        let few = judge(&[stalled(14)], Selection::Undisturbed);
        assert_eq!(few.verdict, Verdict::Holds);
        assert_eq!((few.tasks[0].count.stalled, few.tasks[0].count.stalled_misses), (Some(6), 6));
        assert_eq!(judge(&[stalled(7)], Selection::Undisturbed).verdict, Verdict::Undecided);
        assert_eq!(judge(&[stalled(14)], Selection::All).verdict, Verdict::Fails);
        let unwatched = judge(&[run(|job| job.stalled_ns = None)], Selection::Undisturbed);
        assert_eq!((unwatched.verdict, unwatched.tasks[0].count.stalled), (Verdict::Holds, None));
    }
}
