//! Raw samples and histograms in files.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use model::{
    duration::as_ns,
    hist::{self, Histogram},
    outfile::{self, OutFile},
    sample::{self, Job},
};

use super::{JobStream, Stream, cyclictest};
use crate::{
    Error,
    calibration::{self, Calibration},
    engine::{JobFeed, Outcome, Record, TaskOutcome},
    options::TaskArgs,
    plan::{Keep, Plan, PlannedTask},
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
    outcome
        .records
        .iter()
        .map(move |record| row(labels, &outcome.planned, first_release_ns, record))
}

/// The row of a record.
pub(super) fn row(
    labels: &Labels,
    planned: &PlannedTask,
    first_release_ns: u64,
    record: &Record,
) -> Job {
    let (period_ns, deadline_ns) = (as_ns(planned.task.period()), as_ns(planned.task.deadline()));
    let release_ns = first_release_ns + record.job * period_ns;
    let response_ns = record.finish_ns - release_ns;
    Job {
        experiment: labels.experiment.clone(),
        repetition: labels.repetition,
        task: planned.name.clone(),
        job: record.job,
        release_ns,
        start_ns: record.start_ns,
        finish_ns: record.finish_ns,
        response_ns,
        cpu_ns: Some(record.cpu_ns),
        deadline_ns,
        missed: response_ns > deadline_ns,
        stalled_ns: None,
        vm: None,
        service: None,
    }
}

/// The files that were asked for, open from the start.
#[derive(Debug)]
pub struct Outputs {
    out: Option<OutFile>,
    hist_log: Option<OutFile>,
    histfile: Option<OutFile>,
    json: Option<OutFile>,
    save: Option<OutFile>,
}

impl Outputs {
    /// Opens them. A FIFO waits for its reader: call it while signals still end the process.
    ///
    /// # Errors
    /// [`Error::Usage`] with the option and the path where one cannot be written, or where two
    /// are the same.
    pub fn open(args: &TaskArgs) -> Result<Self, Error> {
        let own = Self {
            out: open("--out", args.out.as_deref())?,
            hist_log: open("--hist-log", args.hist_log.as_deref())?,
            histfile: open("--histfile", args.histfile.as_deref())?,
            json: open("--json", args.json.as_deref())?,
            save: open("--save", args.calibration.save.as_deref())?,
        };
        let named = [
            ("--out", &own.out),
            ("--hist-log", &own.hist_log),
            ("--histfile", &own.histfile),
            ("--json", &own.json),
            ("--save", &own.save),
        ];
        let given: Vec<_> =
            named.into_iter().filter_map(|(option, file)| Some((option, file.as_ref()?))).collect();
        outfile::distinct(&given).map_err(Error::Usage)?;
        Ok(own)
    }

    /// Stores the calibration that is used.
    ///
    /// # Errors
    /// [`Error::File`] with the path.
    pub fn save(&mut self, calibration: &Calibration) -> Result<(), Error> {
        self.save.take().map_or(Ok(()), |file| calibration::save_to(file, calibration))
    }

    /// Begins to write rows while the jobs run, where they are not kept.
    ///
    /// # Errors
    /// [`Error::System`] where no thread can be started.
    pub fn stream(&mut self, labels: &Labels, plan: &Plan) -> Result<Option<JobStream>, Error> {
        if plan.keep != Keep::Histograms {
            return Ok(None);
        }
        let Some(file) = self.out.take() else { return Ok(None) };
        let feed = JobFeed::new(plan.tasks.iter().map(|task| as_ns(task.task.period())));
        let (labels, tasks) = (labels.clone(), plan.tasks.clone());
        let row = move |first_release_ns, index: usize, cells| {
            row(&labels, &tasks[index], first_release_ns, &Record::of(cells))
        };
        Stream::start(file, feed, plan.pin.as_slice(), row).map(Some)
    }

    /// Writes the samples: each file also where another cannot be written. `cpu` is where all ran.
    ///
    /// # Errors
    /// [`Error::File`] with the path of the first that could not be written.
    pub fn write(self, labels: &Labels, outcome: &Outcome, cpu: Option<u32>) -> Result<(), Error> {
        let rows = |file: &mut dyn Write| {
            sample::write_rows(file, jobs(labels, outcome)).map_err(io::Error::from)
        };
        let length = Duration::from_nanos(outcome.end_ns.saturating_sub(outcome.first_release_ns));
        let started = kernel::clock::wall_of(outcome.first_release_ns);
        let log = |file: &mut dyn Write| {
            hist::write_to(file, started, length, &histograms(labels, outcome))
        };
        let written = fill(self.out, rows);
        let written = written.and(fill(self.hist_log, log));
        let written = written.and(fill(self.histfile, |file| cyclictest::histfile(file, outcome)));
        written.and(fill(self.json, |file| cyclictest::json(file, outcome, cpu)))
    }
}

pub(crate) fn open(option: &str, path: Option<&Path>) -> Result<Option<OutFile>, Error> {
    let refused = |path: &Path, error: &io::Error| {
        Error::Usage(format!("{option} {}: cannot be written: {error}", path.display()))
    };
    path.map(|path| OutFile::open(path).map_err(|error| refused(path, &error))).transpose()
}

fn fill(
    file: Option<OutFile>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let Some(file) = file else { return Ok(()) };
    let what = format!("cannot write {}", file.path().display());
    file.fill(write).map_err(|source| Error::File { what, source })
}

fn histograms(labels: &Labels, outcome: &Outcome) -> Vec<(String, Histogram)> {
    let of_task = |task: &TaskOutcome| {
        let name = &task.planned.name;
        if let Some(counted) = &task.histograms {
            let [response, cpu] =
                [&counted.response, &counted.cpu].map(|of| of.histogram().clone());
            return [(name.clone(), response), (format!("{name}-cpu"), cpu)];
        }
        let jobs = || task_jobs(labels, outcome.first_release_ns, task);
        let response = hist::histogram(jobs().map(|job| job.response_ns));
        let cpu = hist::histogram(jobs().filter_map(|job| job.cpu_ns));
        [(name.clone(), response), (format!("{name}-cpu"), cpu)]
    };
    outcome.tasks.iter().flat_map(of_task).collect()
}
