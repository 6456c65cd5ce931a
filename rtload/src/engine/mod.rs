//! Runs a plan: one thread a task, released on an absolute schedule.
//!
//! Between the first release and the end nothing is allocated, written or printed: records go into
//! memory that was taken and touched before. Where rows are streamed, another thread takes them from
//! there ([`Feed`]).

mod feed;
mod record;
mod worker;

use std::{
    io::{PipeReader, pipe},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use kernel::{
    affinity::SELF,
    clock::monotonic_ns,
    memory::{self, Locked},
    sched::{self, Attributes, Policy},
};
use model::duration::as_ns;

pub use feed::{Feed, Phase};
use record::Recorder;
pub use record::{Histograms, Record, Tally};
use worker::Worker;

use crate::{
    Error,
    plan::{Plan, PlannedTask, still_to_come},
    signals::{Signals, Woken},
    warning::Warning,
};

/// From the end of the set-up to the first release.
const LEAD: Duration = Duration::from_millis(100);

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
    feed: Option<&Feed>,
    signals: &Signals,
    ready: impl FnOnce(),
) -> Result<Outcome, Error> {
    let warnings = match memory::lock_all() {
        Ok(Locked::AllToCome) => Vec::new(),
        Ok(Locked::Present) => vec![Warning::MemoryLockedInPart],
        Err(error) => vec![Warning::MemoryNotLocked(error.to_string())],
    };
    let before = sched::get(SELF).map_err(Error::system("cannot read the scheduling policy"))?;
    let outcome = run_threads(plan, feed, signals, ready, warnings);
    // Writing the results is no business of a real-time task, and needs memory of its own.
    let _back_to_ordinary = sched::set(SELF, before);
    let _unlocked = memory::unlock_all();
    outcome
}

/// Stops the threads when it is dropped, also while a panic unwinds: whoever waits for them would
/// wait until their duration ends.
struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run_threads(
    plan: &Plan,
    feed: Option<&Feed>,
    signals: &Signals,
    ready: impl FnOnce(),
    warnings: Vec<Warning>,
) -> Result<Outcome, Error> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopper = Stopper(&stop);
        let crew = Crew::start(scope, plan, feed, &stop)?;
        rise_above(plan);
        let first_release_ns = crew.release(plan, feed)?;
        ready();
        let end = Instant::now()
            + Duration::from_nanos(first_release_ns.saturating_sub(monotonic_ns()))
            + plan.duration
            + plan.drain;
        let woken = signals.wait(&crew.ended, Some(end));
        drop(stopper);
        let interrupted = woken? == Woken::Signal;
        let tasks = crew.join(plan);
        let mut warnings = warnings;
        let elsewhere = tasks.iter().map(|task| task.tally.elsewhere).sum();
        if let Some(cpu) = plan.pin.filter(|_| elsewhere > 0) {
            warnings.push(Warning::OtherCpu { jobs: elsewhere, cpu });
        }
        let stopped_by = tasks.iter().position(|task| task.tally.stopped);
        let end_ns = monotonic_ns();
        Ok(Outcome { first_release_ns, end_ns, interrupted, stopped_by, tasks, warnings })
    })
}

/// Puts the calling thread, which sleeps until the end, above the tasks: it has to be able to stop
/// them. Without the privilege there are no real-time tasks to be stopped.
fn rise_above(plan: &Plan) {
    let priority = |planned: &PlannedTask| match planned.policy {
        Policy::Fifo { priority } | Policy::Rr { priority } => Some(priority),
        _ => None,
    };
    if let Some(highest) = plan.tasks.iter().filter_map(priority).max() {
        let policy = Policy::Fifo { priority: (highest + 1).min(99) };
        let _refused = sched::set(SELF, Attributes::from(policy));
    }
}

/// The threads, waiting for their first release.
struct Crew<'scope> {
    threads: Vec<ScopedJoinHandle<'scope, Recorder<'scope>>>,
    gates: Vec<mpsc::Sender<u64>>,
    /// Ends when all threads have ended.
    ended: PipeReader,
}

impl<'scope> Crew<'scope> {
    /// Starts all threads and waits until each has its CPU and policy. Where one fails, the gates
    /// are dropped and all end.
    fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        plan: &'env Plan,
        feed: Option<&'env Feed>,
        stop: &'scope AtomicBool,
    ) -> Result<Self, Error> {
        let (ended, alive) = pipe().map_err(Error::system("cannot make a pipe"))?;
        let (report, reports) = mpsc::channel();
        let mut crew = Self { threads: Vec::new(), gates: Vec::new(), ended };
        for (index, planned) in plan.tasks.iter().enumerate() {
            let (gate, opened) = mpsc::channel();
            let alive = alive.try_clone().map_err(Error::system("cannot copy a pipe"))?;
            let report = report.clone();
            let worker = Worker { planned, plan, feed: feed.map(|feed| (feed, index)), stop };
            let thread = thread::Builder::new()
                .name(planned.name.clone())
                .spawn_scoped(scope, move || {
                    let _alive = alive;
                    worker.main(&report, &opened)
                })
                .map_err(Error::system("cannot start a thread"))?;
            crew.threads.push(thread);
            crew.gates.push(gate);
        }
        for _ in &plan.tasks {
            reports.recv().unwrap_or(Err(Error::Interrupted))?;
        }
        Ok(crew)
    }

    /// Tells all threads their common first release.
    fn release(&self, plan: &Plan, feed: Option<&Feed>) -> Result<u64, Error> {
        still_to_come(plan.start_at)?;
        let first = plan.start_at.unwrap_or_else(|| monotonic_ns() + as_ns(LEAD));
        if let Some(feed) = feed {
            feed.released(first);
        }
        for gate in &self.gates {
            // A thread that is gone shows when it is joined.
            let _gone = gate.send(first);
        }
        Ok(first)
    }

    fn join(self, plan: &Plan) -> Vec<TaskOutcome> {
        let recorders = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        recorders
            .zip(&plan.tasks)
            .map(|(recorder, planned)| TaskOutcome {
                planned: planned.clone(),
                tally: recorder.tally,
                records: recorder.records,
                histograms: recorder.histograms,
            })
            .collect()
    }
}
