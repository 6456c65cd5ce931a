//! What the rounds of a soak came to, task by task, in constant memory.

use std::time::Duration;

use model::{
    TaskSet, duration::as_ns, hist::Distribution, manifest::Facts, sample::Job, stats,
    suite::Experiment,
};
use serde::Serialize;

use super::Soak;
use crate::run::estimate::DRAIN;

/// A job above the limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Over {
    /// The experiment.
    pub experiment: String,
    /// The round, which is the attempt's number.
    pub round: u32,
    /// `tau1`, …
    pub task: String,
    /// Its number within the task and round.
    pub job: u64,
    /// From the scheduled release to the finish.
    pub response_ns: u64,
    /// Time in which the measured CPU ran no thread meanwhile; none where that is not known.
    pub stalled_ns: Option<u64>,
}

/// One task of an experiment.
#[derive(Debug)]
struct Counted {
    experiment: String,
    task: String,
    limit_ns: u64,
    response: Distribution,
    misses: u64,
    over: u64,
    over_disturbed: u64,
    unfinished: u64,
}

/// A row of the summary.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    /// The experiment.
    pub experiment: &'a str,
    /// `tau1`, …
    pub task: &'a str,
    /// What no response time may exceed.
    pub limit_ns: u64,
    /// Jobs finished.
    pub jobs: u64,
    /// Finished after their deadline.
    pub misses: u64,
    /// Finished above the limit.
    pub over_limit: u64,
    /// Those of them that a stall of the machine disturbed.
    pub over_limit_disturbed: u64,
    /// Released, and not finished.
    pub unfinished: u64,
    /// Response times; percentiles within 0.1 %.
    pub response_ns: Option<stats::Summary>,
}

/// `soak.json`.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    /// Whether every job finished within the limit.
    pub holds: bool,
    /// Whether the time asked for was measured, or the limit ended it; not so where a signal did,
    /// rounds kept failing, or it goes on.
    pub finished: bool,
    /// Measured time that was asked for.
    pub wanted_ns: u64,
    /// Measured time, of rounds that did not fail.
    pub measured_ns: u64,
    /// Rounds that did not fail.
    pub rounds: u64,
    /// Rounds that failed.
    pub failed_rounds: usize,
    /// The first job above the limit, whose folder is kept.
    pub first_over: Option<&'a Over>,
    /// Each task of each experiment.
    pub tasks: Vec<Row<'a>>,
}

/// What was measured until now.
#[derive(Debug)]
pub struct Account {
    soak: Soak,
    tasks: Vec<Counted>,
    first_over: Option<Over>,
    measured: Duration,
    rounds: u64,
    /// Rounds that failed.
    pub failed: usize,
    /// Whether it went on to its end.
    pub finished: bool,
}

impl Account {
    /// Of nothing yet.
    pub fn new(soak: Soak, experiments: &[&Experiment]) -> Self {
        let longest_ns = as_ns(soak.round.saturating_add(DRAIN));
        let of = |experiment: &&Experiment| -> Vec<Counted> {
            let name = &experiment.name;
            let task = |(index, task): (usize, &model::Task)| Counted {
                experiment: name.clone(),
                task: TaskSet::name(index),
                limit_ns: as_ns(soak.limit.unwrap_or(task.deadline())),
                response: Distribution::up_to(longest_ns),
                misses: 0,
                over: 0,
                over_disturbed: 0,
                unfinished: 0,
            };
            experiment
                .only()
                .into_iter()
                .flat_map(|own| own.tasks().iter())
                .enumerate()
                .map(task)
                .collect()
        };
        Self {
            soak,
            tasks: experiments.iter().flat_map(of).collect(),
            first_over: None,
            measured: Duration::ZERO,
            rounds: 0,
            failed: 0,
            finished: false,
        }
    }

    /// Adds a round; returns its first job above the limit, in the order of their ends.
    pub fn add(
        &mut self,
        experiment: &Experiment,
        round: u32,
        jobs: &[Job],
        facts: &Facts,
    ) -> Option<Over> {
        let stopped = facts.stopped.as_ref().map(|stopped| Duration::from_nanos(stopped.after_ns));
        let length = stopped.unwrap_or(experiment.duration);
        self.measured += length;
        self.rounds += 1;
        let mut first: Option<&Job> = None;
        for own in self.tasks.iter_mut().filter(|own| own.experiment == experiment.name) {
            let mut finished = 0;
            let task = own.task.clone();
            for job in jobs.iter().filter(|job| job.task == task) {
                finished += 1;
                if own.add(job) && first.is_none_or(|first| job.finish_ns < first.finish_ns) {
                    first = Some(job);
                }
            }
            // Where the first miss ended the round, what was released then is no verdict.
            if stopped.is_none() {
                let mut tasks =
                    experiment.only().into_iter().flat_map(|own| own.tasks().iter()).enumerate();
                let own_task = tasks.find(|(at, _)| TaskSet::name(*at) == task);
                let released = own_task.map_or(0, |(_, task)| task.released(length));
                own.unfinished += released.saturating_sub(finished);
            }
        }
        let over = first.map(|job| Over {
            experiment: experiment.name.clone(),
            round,
            task: job.task.clone(),
            job: job.job,
            response_ns: job.response_ns,
            stalled_ns: job.stalled_ns,
        });
        if self.first_over.is_none() {
            self.first_over.clone_from(&over);
        }
        over
    }

    /// Whether every job finished within the limit.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.tasks.iter().all(|own| own.over + own.unfinished == 0)
    }

    /// Jobs above the limit, unfinished ones included.
    #[must_use]
    pub fn over(&self) -> u64 {
        self.tasks.iter().map(|own| own.over + own.unfinished).sum()
    }

    /// The first job above the limit.
    #[must_use]
    pub fn first_over(&self) -> Option<&Over> {
        self.first_over.as_ref()
    }

    /// The longest response time.
    #[must_use]
    pub fn worst_ns(&self) -> Option<u64> {
        let worst = |own: &Counted| own.response.summary().map(|summary| summary.max);
        self.tasks.iter().filter_map(worst).max()
    }

    /// All of it, for `soak.json`.
    #[must_use]
    pub fn summary(&self) -> Summary<'_> {
        Summary {
            holds: self.holds(),
            finished: self.finished,
            wanted_ns: as_ns(self.soak.length),
            measured_ns: as_ns(self.measured),
            rounds: self.rounds,
            failed_rounds: self.failed,
            first_over: self.first_over.as_ref(),
            tasks: self.tasks.iter().map(Counted::row).collect(),
        }
    }
}

impl Counted {
    /// Counts a job; says whether it is above the limit.
    fn add(&mut self, job: &Job) -> bool {
        let over = job.response_ns > self.limit_ns;
        self.response.add(job.response_ns);
        self.misses += u64::from(job.missed);
        self.over += u64::from(over);
        self.over_disturbed += u64::from(over && job.disturbed());
        over
    }

    fn row(&self) -> Row<'_> {
        let response_ns = self.response.summary();
        Row {
            experiment: &self.experiment,
            task: &self.task,
            limit_ns: self.limit_ns,
            jobs: response_ns.map_or(0, |summary| summary.count),
            misses: self.misses,
            over_limit: self.over,
            over_limit_disturbed: self.over_disturbed,
            unfinished: self.unfinished,
            response_ns,
        }
    }
}
