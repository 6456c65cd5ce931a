//! From what was asked to what will be done: checked before anything is touched.

use std::{thread, time::Duration};

use kernel::{
    affinity::{self, SELF},
    sched::Policy,
};
use model::{Surge, Task, TaskSet, duration::as_ns, load::Backlog};
use nix::unistd::{SysconfVar, sysconf};

use crate::{
    Error,
    calibration::Calibration,
    traffic,
    variation::Variation,
    work::{Work, WorkKind},
};

/// The most jobs of which a run keeps every record, unless told otherwise: 32 MB.
pub const MOST_RECORDS: u64 = 1_000_000;

/// What threads remember of their jobs, beside counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// A record of each, written at the end: nothing runs beside the jobs.
    Records,
    /// Histograms, in constant memory.
    Histograms,
}

/// The response time above which a job ends the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopAbove {
    /// The task's deadline.
    Deadline,
    /// This, whatever the deadline.
    Time(Duration),
}

impl StopAbove {
    /// For this task, in nanoseconds.
    #[must_use]
    pub fn of(self, task: Task) -> u64 {
        match self {
            Self::Deadline => as_ns(task.deadline()),
            Self::Time(time) => as_ns(time),
        }
    }
}

/// A task with all that its thread needs.
#[derive(Debug, Clone)]
pub struct PlannedTask {
    /// `tau1`, `tau2`, …
    pub name: String,
    /// C, T, D.
    pub task: Task,
    /// The thread's policy.
    pub policy: Policy,
    /// The work of a job; of the longest, where they vary.
    pub work: Work,
    /// How jobs vary.
    pub variation: Option<Variation>,
    /// When they take longer or shorter.
    pub surge: Option<Surge>,
    /// What jobs do in place of arithmetic, for as long as paced work takes.
    pub traffic: Option<traffic::Spec>,
}

impl PlannedTask {
    /// The work of the job numbered `job`.
    #[must_use]
    pub fn work_of(&self, job: u64) -> Work {
        let varied = |variation: &Variation| self.work.scaled(variation.share(job));
        let work = self.variation.as_ref().map_or(self.work, varied);
        let release_ns = as_ns(self.task.period()).saturating_mul(job);
        self.surge.map_or(work, |surge| work.scaled(surge.at(Duration::from_nanos(release_ns))))
    }
}

/// Everything that [`crate::engine::execute`] does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The tasks, tau1 first.
    pub tasks: Vec<PlannedTask>,
    /// The CPU of all threads; none leaves them where they may run.
    pub pin: Option<u32>,
    /// Whether jobs that are late are run or skipped.
    pub backlog: Backlog,
    /// Releases happen in `[0, duration)` after the first.
    pub duration: Duration,
    /// Time after that for the released jobs to finish.
    pub drain: Duration,
    /// First release on CLOCK_MONOTONIC; none for soon.
    pub start_at: Option<u64>,
    /// What is remembered of the jobs.
    pub keep: Keep,
    /// Where the first job that takes too long ends the run.
    pub stop_above: Option<StopAbove>,
}

/// Joins tasks, policies and calibration.
#[must_use]
pub fn tasks(
    set: &TaskSet,
    policies: &[Policy],
    kind: WorkKind,
    calibration: &Calibration,
) -> Vec<PlannedTask> {
    set.iter()
        .zip(policies)
        .enumerate()
        .map(|(index, (&task, &policy))| PlannedTask {
            name: TaskSet::name(index),
            task,
            policy,
            work: calibration.work(kind, task.execution()),
            variation: None,
            surge: None,
            traffic: None,
        })
        .collect()
}

/// How many jobs of a task are released in `[0, duration)`.
#[must_use]
pub fn releases(task: Task, duration: Duration) -> u64 {
    as_ns(duration).div_ceil(as_ns(task.period()))
}

/// The CPU that was asked for, or the highest-numbered one allowed.
///
/// # Errors
/// [`Error::Usage`] where this process cannot use it.
pub fn choose_cpu(asked: Option<u32>) -> Result<u32, Error> {
    let Some(cpu) = asked else { return Ok(allowed()?.into_iter().max().unwrap_or(0)) };
    usable(&format!("--cpu {cpu}"), cpu)?;
    Ok(cpu)
}

/// The CPUs that this process may use now.
///
/// # Errors
/// [`Error::System`] where the kernel does not tell.
pub fn allowed() -> Result<Vec<u32>, Error> {
    affinity::get(SELF).map_err(Error::system("cannot read the affinity"))
}

/// Refuses a CPU that this process cannot use, as what `place` says.
///
/// # Errors
/// [`Error::Usage`].
pub fn usable(place: &str, cpu: u32) -> Result<(), Error> {
    // The mask that we inherited may be narrower than what is allowed, so trying is the only test.
    thread::spawn(move || affinity::set(SELF, &[cpu]))
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        .map_err(|error| Error::pin(place, &error))
}

/// Whether this machine has more than one CPU online; assumed where it does not tell.
#[must_use]
pub fn has_spare_cpu() -> bool {
    sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().is_none_or(|online| online > 1)
}

/// Refuses a duration of zero.
///
/// # Errors
/// [`Error::Usage`] with the option's name.
pub fn above_zero(option: &str, duration: Duration) -> Result<(), Error> {
    if duration.is_zero() {
        return Err(Error::Usage(format!(
            "{option} 0: must be above zero, for example `{option} 30s`"
        )));
    }
    Ok(())
}

/// Records where at most `most` jobs are released, else histograms.
#[must_use]
pub fn keep(set: &TaskSet, duration: Duration, most: u64) -> Keep {
    let jobs = set.iter().map(|&task| releases(task, duration)).fold(0, u64::saturating_add);
    if jobs <= most { Keep::Records } else { Keep::Histograms }
}

/// Refuses a start that has passed.
///
/// # Errors
/// [`Error::Usage`].
pub fn still_to_come(start_at: Option<u64>) -> Result<(), Error> {
    let now = kernel::clock::monotonic_ns();
    match start_at {
        Some(at) if at <= now => Err(Error::Usage(format!(
            "--start-at {at}: has passed, CLOCK_MONOTONIC is at {now} ns"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_lie_in_a_half_open_interval() {
        let task: Task = "30ms/150ms".parse().unwrap();
        for (ms, jobs) in [(1, 1), (150, 1), (151, 2), (300, 2), (30_000, 200)] {
            assert_eq!(releases(task, Duration::from_millis(ms)), jobs, "{ms} ms");
        }
    }

    #[test]
    fn a_surge_scales_the_jobs_that_are_released_in_it() {
        let set: TaskSet = ["10ms/100ms"].map(|task| task.parse().unwrap()).into_iter().collect();
        let planned = PlannedTask {
            name: TaskSet::name(0),
            task: set[0],
            policy: Policy::Other { nice: 0 },
            work: Work::Fixed { iterations: 1_000 },
            variation: None,
            surge: Some("200ms..400ms*2".parse().unwrap()),
            traffic: None,
        };
        let iterations = |job| match planned.work_of(job) {
            Work::Fixed { iterations } => iterations,
            paced => panic!("{paced:?}"),
        };
        assert_eq!([0, 1, 2, 3, 4].map(iterations), [1_000, 1_000, 2_000, 2_000, 1_000]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_value() {
        let usage = |result: Result<(), Error>| match result {
            Err(Error::Usage(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(usage(choose_cpu(Some(999)).map(drop)).contains("--cpu 999"));
        assert!(usage(above_zero("--duration", Duration::ZERO)).contains("--duration 0"));
        assert!(usage(still_to_come(Some(1))).contains("--start-at 1"));
    }

    #[test]
    fn many_jobs_are_counted_and_not_kept() {
        let set: TaskSet =
            ["100us/1ms", "1ms/2ms"].map(|task| task.parse().unwrap()).into_iter().collect();
        let of = |seconds| keep(&set, Duration::from_secs(seconds), 3_000);
        assert_eq!((of(2), of(3)), (Keep::Records, Keep::Histograms));
        assert_eq!(keep(&set, Duration::from_secs(86_400), MOST_RECORDS), Keep::Histograms);
    }
}
