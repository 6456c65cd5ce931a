//! Listeners: statistics in constant memory, and rows of `jobs.csv`.

use std::io::Write;

use model::{
    TaskSet,
    hist::{self, Distribution},
    sample::{Columns, Job},
    suite::Workload,
};

use super::observe::{Done, Observer};

/// So many tasks have percentiles to three significant digits, more of them to two: a histogram
/// takes 130 kB with three.
const MOST_PRECISE: usize = 100;

/// Statistics of one task.
#[derive(Debug, Clone)]
pub struct TaskTally {
    /// From release to finish.
    pub response: Distribution,
    /// CPU time.
    pub cpu: Distribution,
    /// From release to start.
    pub latency: Distribution,
}

/// Statistics of every measured task.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// By place in the report.
    pub tasks: Vec<TaskTally>,
}

impl Recorder {
    /// For so many tasks.
    #[must_use]
    pub fn new(tasks: usize) -> Self {
        let digits = if tasks > MOST_PRECISE { 2 } else { hist::SIGNIFICANT_DIGITS };
        let empty = || Distribution::growing(digits);
        let tally = || TaskTally { response: empty(), cpu: empty(), latency: empty() };
        Self { tasks: (0..tasks).map(|_| tally()).collect() }
    }
}

impl Observer for Recorder {
    #[inline]
    fn done(&mut self, done: &Done) {
        let task = &mut self.tasks[done.task];
        task.response.add(done.response_ns());
        task.cpu.add(done.cpu_ns);
        task.latency.add(done.start_ns - done.release_ns);
    }
}

/// Whose jobs a measured thread's are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Label {
    /// How many tasks it has.
    pub tasks: usize,
    /// The columns of that name.
    pub experiment: Option<String>,
    /// The column of that name.
    pub repetition: Option<u32>,
    /// The column of that name.
    pub vm: Option<String>,
    /// The column of that name.
    pub service: Option<String>,
}

impl Label {
    /// Of a repetition of an experiment's workload.
    #[must_use]
    pub fn of(workload: Workload, repetition: u32) -> Self {
        Self {
            tasks: workload.tasks().len(),
            experiment: Some(workload.experiment.name.clone()),
            repetition: Some(repetition),
            vm: workload.vm.map(|vm| vm.name.clone()),
            service: workload.service.map(|service| service.name.clone()),
        }
    }

    /// A row of the task at `index`, to be filled in.
    fn row(&self, index: usize) -> Job {
        Job {
            experiment: self.experiment.clone(),
            repetition: self.repetition,
            task: TaskSet::name(index),
            job: 0,
            release_ns: 0,
            start_ns: 0,
            finish_ns: 0,
            response_ns: 0,
            cpu_ns: None,
            deadline_ns: 0,
            missed: false,
            stalled_ns: None,
            vm: self.vm.clone(),
            service: self.service.clone(),
        }
    }
}

/// Writes a row for each job as it finishes, so in the order of their finishing.
pub struct JobWriter<W: Write> {
    out: csv::Writer<W>,
    /// Of each measured thread one a task, to be filled in.
    rows: Vec<Vec<Job>>,
    error: Option<csv::Error>,
}

impl<W: Write> JobWriter<W> {
    /// A label for each measured thread, which are the first of the set-up.
    ///
    /// # Errors
    /// Where not even the header can be written.
    pub fn new(out: W, labels: Vec<Label>) -> csv::Result<Self> {
        let of = |label: Label| (0..label.tasks).map(|index| label.row(index)).collect();
        let mut out = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        out.write_record(Job::COLUMNS)?;
        Ok(Self { out, rows: labels.into_iter().map(of).collect(), error: None })
    }

    /// Writes what is left, and gives the file back.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub fn finish(mut self) -> csv::Result<W> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(self.out.into_inner().map_err(csv::IntoInnerError::into_error)?),
        }
    }
}

impl<W: Write> Observer for JobWriter<W> {
    fn done(&mut self, done: &Done) {
        let row = &mut self.rows[done.thread][done.task];
        row.job = done.job;
        row.release_ns = done.release_ns;
        row.start_ns = done.start_ns;
        row.finish_ns = done.finish_ns;
        row.response_ns = done.response_ns();
        row.cpu_ns = Some(done.cpu_ns);
        row.deadline_ns = done.deadline_ns;
        row.missed = row.response_ns > row.deadline_ns;
        row.stalled_ns = Some(done.stalled_ns);
        if self.error.is_none() {
            self.error = self.out.serialize(&*row).err();
        }
    }
}

/// Statistics, and rows where they are asked for.
pub struct Listener<W: Write> {
    /// Statistics.
    pub recorder: Recorder,
    /// Rows.
    pub writer: Option<JobWriter<W>>,
}

impl<W: Write> Observer for Listener<W> {
    #[inline]
    fn done(&mut self, done: &Done) {
        self.recorder.done(done);
        if let Some(writer) = &mut self.writer {
            writer.done(done);
        }
    }
}
