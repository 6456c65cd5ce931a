//! The samples of one task (or service) of one experiment, run by run.

use std::time::Duration;

use clap::ValueEnum;
pub use model::sample::DISTURBED_NS;
use model::{
    Task,
    sample::{Job, Request},
};

/// The name under which a service's requests stand where a task's name would.
pub const SERVICE: &str = "service";

/// One job or one good request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Its number within the run (and, for requests, within its client).
    pub index: u64,
    /// Release (or intended start), counted from the run's first, in nanoseconds.
    pub at_ns: u64,
    /// Response time in nanoseconds.
    pub response_ns: u64,
    /// CPU time of the job, as the machine that ran it accounts it.
    pub cpu_ns: Option<u64>,
    /// Whether it missed its deadline; requests have none.
    pub missed: bool,
    /// Stalled time of its busy period so far; none where no sentinel watched.
    pub stalled_ns: Option<u64>,
}

impl Sample {
    /// Whether a stall disturbed it, as far as is known: unwatched samples are not disturbed.
    #[must_use]
    pub fn disturbed(&self) -> bool {
        self.stalled_ns.is_some_and(|stalled| stalled > DISTURBED_NS)
    }
}

/// The samples of one independent run: a repetition, or one simulation within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The attempt whose folder it comes from.
    pub attempt: u32,
    /// In the order of `at_ns`.
    pub samples: Vec<Sample>,
}

/// Which samples enter a statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Selection {
    /// Every sample.
    #[default]
    All,
    /// Those that no stall disturbed.
    Undisturbed,
}

impl Selection {
    /// The word used on the command line and in CSV.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Undisturbed => "undisturbed",
        }
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
    /// Jobs that were released in the time the experiment lasts, but were not done at its end:
    /// nobody knows how long they would have taken.
    pub unfinished: u64,
}

impl Series {
    /// Response times in nanoseconds of the selected samples, in the order in which they were taken.
    #[must_use]
    pub fn responses(&self, selection: Selection) -> Vec<u64> {
        self.selected(selection).map(|sample| sample.response_ns).collect()
    }

    /// As [`Self::responses`], a vector for each run.
    #[must_use]
    pub fn responses_by_run(&self, selection: Selection) -> Vec<Vec<u64>> {
        let chosen = |sample: &&Sample| selection == Selection::All || !sample.disturbed();
        let responses = |run: &Run| -> Vec<u64> {
            run.samples.iter().filter(chosen).map(|sample| sample.response_ns).collect()
        };
        self.runs.iter().map(responses).collect()
    }

    /// The selected samples.
    pub fn selected(&self, selection: Selection) -> impl Iterator<Item = &Sample> {
        let chosen = move |sample: &&Sample| selection == Selection::All || !sample.disturbed();
        self.runs.iter().flat_map(|run| &run.samples).filter(chosen)
    }

    /// Selected jobs that missed their deadline.
    #[must_use]
    pub fn misses(&self, selection: Selection) -> usize {
        self.selected(selection).filter(|sample| sample.missed).count()
    }

    /// Number of samples in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.samples.len()).sum()
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of disturbed samples; none where no sentinel watched all of them.
    #[must_use]
    pub fn disturbed(&self) -> Option<usize> {
        let watched = self.selected(Selection::All).all(|sample| sample.stalled_ns.is_some());
        (watched && !self.is_empty())
            .then(|| self.selected(Selection::All).filter(|sample| sample.disturbed()).count())
    }

    /// Adds the jobs of one attempt to the series of their tasks, making those where needed.
    pub(crate) fn add_jobs(series: &mut Vec<Self>, attempt: u32, mut jobs: Vec<Job>) {
        jobs.sort_by_key(|job| job.release_ns);
        let first = jobs.first().map_or(0, |job| job.release_ns);
        for job in jobs {
            let sample = Sample {
                index: job.job,
                at_ns: job.release_ns - first,
                response_ns: job.response_ns,
                cpu_ns: job.cpu_ns,
                missed: job.missed,
                stalled_ns: job.stalled_ns,
            };
            let own = Self::named(series, &job.task);
            own.deadline_ns = Some(job.deadline_ns);
            own.run(attempt).samples.push(sample);
        }
    }

    /// Works out [`Self::unfinished`]: releases are at every multiple of the period before the end
    /// of `duration`, in each run, and each finished job has its row.
    pub(crate) fn count_unfinished(&mut self, task: Task, duration: Duration) {
        let released = task.released(duration);
        let missing = |run: &Run| released.saturating_sub(run.samples.len() as u64);
        self.unfinished = self.runs.iter().map(missing).sum();
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
                    Some(Sample {
                        index: request.request,
                        at_ns: request.intended_ns - first,
                        response_ns: request.response_ns?,
                        cpu_ns: None,
                        missed: false,
                        stalled_ns: None,
                    })
                })
                .collect();
            own.failures += (same.len() - samples.len()) as u64;
            own.runs.push(Run { attempt, samples });
        }
    }

    fn named<'a>(series: &'a mut Vec<Self>, task: &str) -> &'a mut Self {
        let at = series.iter().position(|one| one.task == task).unwrap_or_else(|| {
            series.push(Self {
                task: task.to_owned(),
                runs: Vec::new(),
                deadline_ns: None,
                failures: 0,
                unfinished: 0,
            });
            series.len() - 1
        });
        &mut series[at]
    }

    /// The last run, or a new one where that is of another attempt.
    fn run(&mut self, attempt: u32) -> &mut Run {
        if self.runs.last().is_none_or(|run| run.attempt != attempt) {
            self.runs.push(Run { attempt, samples: Vec::new() });
        }
        self.runs.last_mut().expect("just pushed where there was none")
    }
}
