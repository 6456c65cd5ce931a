//! Runs a plan: one thread a task, released on an absolute schedule.
//!
//! Between the first release and the end nothing is allocated, written or printed: records go into
//! memory that was taken and touched before. Where rows are streamed, another thread takes them from
//! there ([`Feed`]).

pub mod crew;
mod feed;
mod record;
mod worker;

use std::sync::atomic::AtomicBool;

use kernel::sched::Policy;

pub use feed::{Feed, Phase};
pub use record::{Histograms, JobFeed, Record, Tally};
use worker::Worker;

use crate::{
    Error,
    plan::{Plan, PlannedTask},
    signals::Signals,
    warning::Warning,
};

/// What one task did.
#[derive(Debug, Clone)]
pub struct TaskOutcome {
    /// The task as planned.
    pub planned: PlannedTask,
    /// Numbers of jobs.
    pub tally: Tally,
    /// One for each finished job, in order; empty where the plan keeps none.
    pub records: Vec<Record>,
    /// In place of records, where the plan keeps these.
    pub histograms: Option<Histograms>,
}

/// What a plan came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The common first release on CLOCK_MONOTONIC.
    pub first_release_ns: u64,
    /// When the last thread had ended.
    pub end_ns: u64,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// The index of the task whose last job took too long and ended it.
    pub stopped_by: Option<usize>,
    /// In the order of the plan.
    pub tasks: Vec<TaskOutcome>,
    /// What may have spoilt it.
    pub warnings: Vec<Warning>,
}

/// Runs the plan to its end or until a signal comes. `ready` is called once, when all threads
/// have their policy and the first release is set. Records also go into `feed`, where there is one.
///
/// # Errors
/// [`Error::Policy`] where the kernel refuses a policy, [`Error::Usage`] where the start has passed
/// or the CPU cannot be used; no job has run then.
pub fn execute(
    plan: &Plan,
    feed: Option<&JobFeed>,
    signals: &Signals,
    ready: impl FnOnce(),
) -> Result<Outcome, Error> {
    let stop = AtomicBool::new(false);
    let worker = |(index, planned)| {
        let feed = feed.map(|feed| (feed, index));
        Worker { planned, plan, feed, stop: &stop }
    };
    let workers = plan.tasks.iter().enumerate().map(worker).collect();
    let policies: Vec<Policy> = plan.tasks.iter().map(|planned| planned.policy).collect();
    let hours = crew::Hours { start_at: plan.start_at, length: Some(plan.duration + plan.drain) };
    let first = |first_ns| {
        if let Some(feed) = feed {
            feed.released(first_ns);
        }
    };
    let ended = crew::run(workers, &policies, &stop, hours, signals, (first, ready))?;
    let outcome = |(recorder, planned): (record::Recorder<'_>, &PlannedTask)| TaskOutcome {
        planned: planned.clone(),
        tally: recorder.tally,
        records: recorder.records,
        histograms: recorder.histograms,
    };
    let tasks: Vec<TaskOutcome> = ended.done.into_iter().zip(&plan.tasks).map(outcome).collect();
    let mut warnings = ended.warnings;
    let elsewhere = tasks.iter().map(|task| task.tally.elsewhere).sum();
    if let Some(cpu) = plan.pin.filter(|_| elsewhere > 0) {
        warnings.push(Warning::OtherCpu { jobs: elsewhere, cpu });
    }
    Ok(Outcome {
        first_release_ns: ended.first_ns,
        end_ns: ended.end_ns,
        interrupted: ended.interrupted,
        stopped_by: tasks.iter().position(|task| task.tally.stopped),
        tasks,
        warnings,
    })
}
