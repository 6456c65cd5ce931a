//! Raw samples and histograms in files.

use std::time::Duration;

use model::{duration::as_ns, hist, sample, sample::Job};

use crate::{
    Error,
    engine::{Outcome, TaskOutcome},
    options::TaskArgs,
};

/// What the columns `experiment` and `repetition` hold.
#[derive(Debug, Clone)]
pub struct Labels {
    /// The experiment's name.
    pub experiment: Option<String>,
    /// The repetition, from 0.
    pub repetition: Option<u32>,
}

/// The rows of `jobs.csv`, by task and then by job.
pub fn jobs<'a>(labels: &'a Labels, outcome: &'a Outcome) -> impl Iterator<Item = Job> + 'a {
    outcome.tasks.iter().flat_map(move |task| task_jobs(labels, outcome.first_release_ns, task))
}

pub(super) fn task_jobs<'a>(
    labels: &'a Labels,
    first_release_ns: u64,
    outcome: &'a TaskOutcome,
) -> impl Iterator<Item = Job> + 'a {
    let task = outcome.planned.task;
    let (period_ns, deadline_ns) = (as_ns(task.period()), as_ns(task.deadline()));
    outcome.records.iter().map(move |record| {
        let release_ns = first_release_ns + record.job * period_ns;
        let response_ns = record.finish_ns - release_ns;
        Job {
            experiment: labels.experiment.clone(),
            repetition: labels.repetition,
            task: outcome.planned.name.clone(),
            job: record.job,
            release_ns,
            start_ns: record.start_ns,
            finish_ns: record.finish_ns,
            response_ns,
            cpu_ns: Some(record.cpu_ns),
            deadline_ns,
            missed: response_ns > deadline_ns,
            stalled_ns: None,
        }
    })
}

/// Writes the files that were asked for.
///
/// # Errors
/// [`Error::Sample`] and [`Error::Histogram`], with the path.
pub fn write_files(args: &TaskArgs, labels: &Labels, outcome: &Outcome) -> Result<(), Error> {
    if let Some(path) = &args.out {
        sample::write_csv(path, &jobs(labels, outcome).collect::<Vec<_>>())?;
    }
    if let Some(path) = &args.hist_log {
        let length = Duration::from_nanos(outcome.end_ns.saturating_sub(outcome.first_release_ns));
        let tagged: Vec<_> = outcome
            .tasks
            .iter()
            .flat_map(|task| {
                let name = &task.planned.name;
                let jobs: Vec<Job> = task_jobs(labels, outcome.first_release_ns, task).collect();
                let response = hist::histogram(jobs.iter().map(|job| job.response_ns));
                let cpu = hist::histogram(jobs.iter().filter_map(|job| job.cpu_ns));
                [(name.clone(), response), (format!("{name}-cpu"), cpu)]
            })
            .collect();
        hist::write_log(path, length, &tagged).map_err(Error::Histogram)?;
    }
    Ok(())
}
