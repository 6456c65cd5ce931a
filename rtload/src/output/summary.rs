//! The summary of a run or a load; its JSON keys are promised in `docs/formats.md`.

use model::{TaskSet, duration::as_ns, hist::Distribution, stats};
use serde::Serialize;

use super::{Labels, answer, files::task_jobs, print_json, print_warnings, text};
use crate::{
    Error,
    bytes::Bytes,
    calibration::Calibration,
    engine::{Histograms, Outcome, TaskOutcome},
    options::{Format, TaskArgs},
    plan::{Keep, Plan},
    policy::PolicyKind,
    traffic::{self, LoadKind, Moved},
    warning::Warning,
    work::WorkKind,
};

/// One task; statistics are null where no job was recorded.
#[derive(Debug, Clone, Serialize)]
pub struct TaskSummary {
    /// `tau1`, …
    pub task: String,
    /// C.
    pub execution_ns: u64,
    /// T.
    pub period_ns: u64,
    /// D.
    pub deadline_ns: u64,
    /// Jobs finished.
    pub jobs: u64,
    /// Jobs finished after their deadline.
    pub misses: u64,
    /// Jobs skipped (only where the backlog is dropped).
    pub skipped: u64,
    /// Jobs released but not finished.
    pub unfinished: u64,
    /// Memory that was moved, where jobs do that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficSummary>,
    /// From scheduled release to finish.
    pub response_ns: Option<stats::Summary>,
    /// CPU time of the jobs.
    pub cpu_ns: Option<stats::Summary>,
    /// From scheduled release to start.
    pub latency_ns: Option<stats::Summary>,
}

/// Memory traffic of a task.
#[derive(Debug, Clone, Serialize)]
pub struct TrafficSummary {
    /// `cache` or `memory`.
    pub kind: LoadKind,
    /// The buffer.
    pub size_bytes: Bytes,
    /// Bytes that were read, changed and written.
    pub moved_bytes: u64,
    /// Of these in each second of CPU time; null where there was none.
    pub bytes_per_s: Option<f64>,
}

impl TrafficSummary {
    fn of(spec: traffic::Spec, moved: Moved) -> Self {
        let Moved { bytes, cpu_ns } = moved;
        Self {
            kind: spec.kind,
            size_bytes: spec.size,
            moved_bytes: bytes,
            bytes_per_s: (cpu_ns > 0).then(|| bytes as f64 / (cpu_ns as f64 / 1e9)),
        }
    }
}

/// Everything that is said about a run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The tasks, tau1 first.
    pub tasks: Vec<TaskSummary>,
    /// The policy of all tasks.
    pub policy: PolicyKind,
    /// What is constant in a job.
    pub work: WorkKind,
    /// The CPU of all tasks; null where they were not bound.
    pub cpu: Option<u32>,
    /// `keep` or `drop`.
    pub backlog: &'static str,
    /// The common first release on CLOCK_MONOTONIC.
    pub first_release_ns: u64,
    /// Releases were planned for this long.
    pub duration_ns: u64,
    /// From the first release to the end of the last job.
    pub elapsed_ns: u64,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// The task whose last job took too long and ended it (`--stop-on-miss`, `--stop-above`).
    pub stopped_by: Option<String>,
    /// Jobs released but not finished, of all tasks.
    pub unfinished: u64,
    /// `exact`, or `histogram`: within 1 part in 1000.
    pub percentiles: &'static str,
    /// The calibration used.
    pub calibration: Calibration,
    /// What may have spoilt the figures.
    pub warnings: Vec<String>,
}

impl Summary {
    /// Summarises an outcome.
    #[must_use]
    pub fn new(plan: &Plan, args: &TaskArgs, calibration: &Calibration, outcome: &Outcome) -> Self {
        let summarise = |task| summarise(task, outcome.first_release_ns);
        Self {
            tasks: outcome.tasks.iter().map(summarise).collect(),
            policy: args.policy,
            work: args.work_kind(),
            cpu: plan.pin,
            backlog: plan.backlog.name(),
            first_release_ns: outcome.first_release_ns,
            duration_ns: as_ns(plan.duration),
            elapsed_ns: outcome.end_ns.saturating_sub(outcome.first_release_ns),
            interrupted: outcome.interrupted,
            stopped_by: outcome.stopped_by.map(TaskSet::name),
            unfinished: outcome.tasks.iter().map(|task| task.tally.unfinished).sum(),
            percentiles: if plan.keep == Keep::Histograms { "histogram" } else { "exact" },
            calibration: calibration.clone(),
            warnings: Vec::new(),
        }
    }

    /// Adds a warning at the end.
    pub fn add_warning(&mut self, warning: &Warning) {
        self.warnings.push(warning.to_string());
    }

    /// Prints it on standard output, the warnings on standard error.
    ///
    /// # Errors
    /// [`Error::System`] where it cannot be printed though somebody reads.
    pub fn print(&self, format: Format) -> Result<(), Error> {
        print_warnings(&self.warnings);
        match format {
            Format::Text => answer(&text::table(self)),
            Format::Json => print_json(self),
        }
    }
}

fn summarise(outcome: &TaskOutcome, first_release_ns: u64) -> TaskSummary {
    let [response_ns, cpu_ns, latency_ns] = match &outcome.histograms {
        Some(Histograms { response, cpu, latency }) => {
            [response, cpu, latency].map(Distribution::summary)
        }
        None => exact(outcome, first_release_ns),
    };
    let task = outcome.planned.task;
    TaskSummary {
        task: outcome.planned.name.clone(),
        execution_ns: as_ns(task.execution()),
        period_ns: as_ns(task.period()),
        deadline_ns: as_ns(task.deadline()),
        jobs: outcome.tally.done,
        misses: outcome.tally.late,
        skipped: outcome.tally.skipped,
        unfinished: outcome.tally.unfinished,
        traffic: outcome.planned.traffic.map(|spec| TrafficSummary::of(spec, outcome.tally.moved)),
        response_ns,
        cpu_ns,
        latency_ns,
    }
}

/// Response time, CPU time and latency from the records.
fn exact(outcome: &TaskOutcome, first_release_ns: u64) -> [Option<stats::Summary>; 3] {
    let labels = Labels { experiment: None, repetition: None };
    let jobs: Vec<_> = task_jobs(&labels, first_release_ns, outcome).collect();
    let of = |samples: &mut dyn Iterator<Item = u64>| {
        stats::Summary::of(&mut samples.collect::<Vec<_>>())
    };
    [
        of(&mut jobs.iter().map(|job| job.response_ns)),
        of(&mut jobs.iter().filter_map(|job| job.cpu_ns)),
        of(&mut jobs.iter().map(|job| job.start_ns - job.release_ns)),
    ]
}
