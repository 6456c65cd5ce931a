//! The samples of one task (or service) of one experiment, run by run.

use std::{sync::OnceLock, time::Duration};

use model::{
    TaskSet,
    duration::as_ns,
    judged::{Count, Selection},
    sample::Request,
    stats,
};

use crate::{jobs::TaskJobs, own_stalls::own_stalls, sample::Sample};

/// The name under which a service's requests stand where a task's name would.
pub const SERVICE: &str = "service";

/// The samples of one independent run: a repetition, or one simulation within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The attempt whose folder it comes from.
    pub attempt: u32,
    /// In the order of `at_ns`.
    pub samples: Vec<Sample>,
    /// Jobs released in the time that the experiment lasts; requests are not released.
    pub released: Option<u64>,
    /// How long the experiment lasts, in nanoseconds; zero for requests.
    pub length_ns: u64,
}

impl Run {
    /// Jobs that were released, but not done at the end: nobody knows how long they would have
    /// taken.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.released.map_or(0, |released| released.saturating_sub(self.samples.len() as u64))
    }

    /// The selected samples.
    pub fn selected(&self, selection: Selection) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.is_in(selection))
    }

    /// Response times of the selected samples in their order, and behind them, for each unfinished
    /// job, the length of the run: the worst that a run can show. For means and distances, in which
    /// a job that never ended must not be one that never was.
    #[must_use]
    pub fn responses_with_unfinished(&self, selection: Selection) -> Vec<u64> {
        let mut responses: Vec<u64> =
            self.selected(selection).map(|sample| sample.response_ns).collect();
        responses.resize(responses.len() + self.unfinished() as usize, self.length_ns);
        responses
    }
}

/// All counted samples of one task or service in one experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// `tau1`, `tau2`, … or [`SERVICE`].
    pub task: String,
    /// One per run, in the order of the attempts.
    pub runs: Vec<Run>,
    /// Relative deadline in nanoseconds, where there is one.
    pub deadline_ns: Option<u64>,
    /// Requests that failed; they have no response time and are in no run.
    pub failures: u64,
    sorted: Sorted,
}

/// Response times in ascending order, once somebody asked for them: of all samples, and of the
/// undisturbed ones where these are others. No part of what a series is.
#[derive(Debug, Clone, Default)]
struct Sorted([OnceLock<Vec<u64>>; 2]);

impl PartialEq for Sorted {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Sorted {}

impl Series {
    /// Response times in nanoseconds of the selected samples, in the order in which they were taken.
    #[must_use]
    pub fn responses(&self, selection: Selection) -> Vec<u64> {
        self.selected(selection).map(|sample| sample.response_ns).collect()
    }

    /// As [`Run::responses_with_unfinished`], a vector for each run.
    #[must_use]
    pub fn by_run(&self, selection: Selection) -> Vec<Vec<u64>> {
        self.runs.iter().map(|run| run.responses_with_unfinished(selection)).collect()
    }

    /// The selected samples.
    pub fn selected(&self, selection: Selection) -> impl Iterator<Item = &Sample> {
        self.runs.iter().flat_map(move |run| run.selected(selection))
    }

    /// The percentile of the selected response times, unfinished jobs being the longest; `None`
    /// where it is one of those, or where there is nothing.
    #[must_use]
    pub fn percentile(&self, selection: Selection, p: f64) -> Option<u64> {
        stats::percentile_beyond(self.sorted(selection), self.unfinished(), p)
    }

    /// Response times of the selected samples in ascending order; sorted once. Only for a series
    /// that is whole.
    #[must_use]
    pub fn sorted(&self, selection: Selection) -> &[u64] {
        let undisturbed = selection == Selection::Undisturbed;
        let others = undisturbed && self.selected(Selection::All).any(Sample::disturbed);
        self.sorted.0[usize::from(others)].get_or_init(|| {
            let mut responses = self.responses(selection);
            responses.sort_unstable();
            responses
        })
    }

    /// Selected jobs that missed their deadline.
    #[must_use]
    pub fn misses(&self, selection: Selection) -> usize {
        self.selected(selection).filter(|sample| sample.missed()).count()
    }

    /// Number of samples in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.samples.len()).sum()
    }

    /// Whether nothing was measured. A task that starved was measured: it has runs without samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Jobs that were released, but not done at the end of their run.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.runs.iter().map(Run::unfinished).sum()
    }

    /// Number of disturbed samples; none where no sentinel watched all of them.
    #[must_use]
    pub fn disturbed(&self) -> Option<usize> {
        let watched = self.selected(Selection::All).all(|sample| sample.stalled_ns().is_some());
        (watched && !self.is_empty())
            .then(|| self.selected(Selection::All).filter(|sample| sample.disturbed()).count())
    }

    /// What became of the jobs.
    #[must_use]
    pub fn count(&self, selection: Selection) -> Count {
        let jobs = self.selected(selection).count() as u64;
        let misses = self.misses(selection) as u64;
        Count {
            released: self.len() as u64 + self.unfinished(),
            jobs,
            misses,
            stalled: self.disturbed().map(|n| n as u64),
            stalled_misses: self.misses(Selection::All) as u64 - misses,
            unfinished: self.unfinished(),
        }
    }

    /// Adds the jobs of one attempt: a run for each of `tasks`, whether it has jobs or not, and for
    /// each other task that has.
    pub(crate) fn add_jobs(
        series: &mut Vec<Self>,
        tasks: &TaskSet,
        length: Duration,
        attempt: u32,
        mut jobs: Vec<TaskJobs>,
    ) {
        for (at, task) in tasks.iter().enumerate() {
            let own = Self::named(series, &TaskSet::name(at));
            own.deadline_ns = Some(as_ns(task.deadline()));
            own.run(attempt, Some(task.released(length)), as_ns(length));
        }
        own_stalls(&mut jobs);
        let first = jobs.iter().filter_map(|own| own.samples.first()).map(|own| own.at_ns).min();
        for TaskJobs { task, deadline_ns, mut samples } in jobs {
            samples.iter_mut().for_each(|sample| sample.at_ns -= first.unwrap_or(0));
            let own = Self::named(series, &task);
            own.deadline_ns = Some(deadline_ns);
            let run = own.run(attempt, None, as_ns(length));
            // Not a copy of millions where there is nothing to add to.
            if run.samples.is_empty() {
                run.samples = samples;
            } else {
                run.samples.append(&mut samples);
            }
        }
    }

    /// Adds the requests of one attempt: a run for each value of the `repetition` column.
    pub(crate) fn add_requests(series: &mut Vec<Self>, attempt: u32, mut requests: Vec<Request>) {
        requests.sort_by_key(|request| (request.repetition, request.intended_ns));
        let own = Self::named(series, SERVICE);
        for same in requests.chunk_by(|a, b| a.repetition == b.repetition) {
            let first = same[0].intended_ns;
            let good = same.iter().filter(|request| request.error.is_none());
            let samples: Vec<Sample> = good
                .filter_map(|request| {
                    Some(Sample::new(request.intended_ns - first, request.response_ns?))
                })
                .collect();
            own.failures += (same.len() - samples.len()) as u64;
            own.runs.push(Run { attempt, samples, released: None, length_ns: 0 });
        }
    }

    fn named<'a>(series: &'a mut Vec<Self>, task: &str) -> &'a mut Self {
        let at = series.iter().position(|one| one.task == task).unwrap_or_else(|| {
            let task = task.to_owned();
            series.push(Self {
                task,
                runs: Vec::new(),
                deadline_ns: None,
                failures: 0,
                sorted: Sorted::default(),
            });
            series.len() - 1
        });
        &mut series[at]
    }

    /// The last run, or a new one where that is of another attempt.
    fn run(&mut self, attempt: u32, released: Option<u64>, length_ns: u64) -> &mut Run {
        if self.runs.last().is_none_or(|run| run.attempt != attempt) {
            self.runs.push(Run { attempt, samples: Vec::new(), released, length_ns });
        }
        self.runs.last_mut().expect("just pushed where there was none")
    }
}

#[cfg(test)]
mod tests {
    use model::sample::Job;

    use super::*;
    use crate::jobs;

    const MS: u64 = 1_000_000;

    fn job(task: &str, [release_ms, finish_ms, stalled_ms]: [u64; 3]) -> Job {
        let (release_ns, finish_ns) = (release_ms * MS, finish_ms * MS);
        Job {
            experiment: None,
            repetition: None,
            task: task.into(),
            job: 0,
            release_ns,
            start_ns: release_ns,
            finish_ns,
            response_ns: finish_ns - release_ns,
            cpu_ns: None,
            deadline_ns: 150 * MS,
            missed: false,
            stalled_ns: Some(stalled_ms * MS),
            vm: None,
            service: None,
        }
    }

    fn series(rows: &[Job]) -> Vec<Series> {
        let mut series = Vec::new();
        let length = Duration::from_millis(600);
        Series::add_jobs(
            &mut series,
            &TaskSet::paper(),
            length,
            0,
            jobs::of(rows, jobs::Owner::default()),
        );
        series
    }

    #[test]
    fn a_task_without_a_row_was_released_and_never_finished() {
        let rows: Vec<Job> = (0..4).map(|n| job("tau1", [n * 150, n * 150 + 30, 0])).collect();
        let [tau1, tau2] = &series(&rows)[..] else { panic!("two tasks") };
        assert_eq!((tau1.unfinished(), tau1.len()), (0, 4));
        assert_eq!((tau2.unfinished(), tau2.len(), tau2.is_empty()), (3, 0, false));
        let count = tau2.count(Selection::Undisturbed);
        assert_eq!((count.released, count.missed(), count.is_enough()), (3, 3, true));
        assert_eq!(tau2.percentile(Selection::All, 1.0), None);
        assert_eq!(tau2.by_run(Selection::All), [vec![600 * MS; 3]]);
    }

    #[test]
    fn disturbed_jobs_are_not_judged_and_what_they_missed_is_told() {
        let mut rows: Vec<Job> = (0..4).map(|n| job("tau1", [n * 150, n * 150 + 30, 0])).collect();
        (rows[1].stalled_ns, rows[1].missed) = (Some(2 * MS), true);
        let count = series(&rows)[0].count(Selection::Undisturbed);
        assert_eq!((count.jobs, count.misses, count.stalled), (3, 0, Some(1)));
        assert_eq!((count.stalled_misses, count.released), (1, 4));
        rows[2].stalled_ns = None;
        assert_eq!(series(&rows)[0].count(Selection::All).stalled, None);
    }
}
