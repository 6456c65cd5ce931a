//! Listeners: statistics in constant memory, and rows of `jobs.csv`.

use std::io::Write;

use hdrhistogram::Histogram;
use model::{TaskSet, hist, sample::Columns, sample::Job, stats::Summary};

use super::observe::{Done, Observer};

/// So many tasks have percentiles to three significant digits, more of them to two: a histogram
/// takes 130 kB with three.
const MOST_PRECISE: usize = 100;

/// A growing set of durations in nanoseconds: extremes, mean and deviation are exact, percentiles
/// to three significant digits (or two, where there are very many tasks).
#[derive(Debug, Clone)]
pub struct Tally {
    histogram: Histogram<u64>,
    count: u64,
    min: u64,
    max: u64,
    /// Sums are taken of differences to the first value, so that they stay precise.
    first: u64,
    sum: f64,
    squares: f64,
}

impl Default for Tally {
    fn default() -> Self {
        Self::with_digits(hist::SIGNIFICANT_DIGITS)
    }
}

impl Tally {
    /// Percentiles to so many significant digits, 1 to 5.
    fn with_digits(digits: u8) -> Self {
        let histogram = Histogram::new(digits).expect("1 to 5 significant digits");
        let (count, min, max, first) = (0, u64::MAX, 0, 0);
        Self { histogram, count, min, max, first, sum: 0.0, squares: 0.0 }
    }

    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: u64) {
        if self.count == 0 {
            self.first = value;
        }
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let difference = value as f64 - self.first as f64;
        self.sum += difference;
        self.squares += difference * difference;
        self.histogram += value;
    }

    /// What `docs/formats.md` calls a summary; `None` of nothing.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        if self.count == 0 {
            return None;
        }
        let n = self.count as f64;
        let variance = (self.squares - self.sum * self.sum / n) / (n - 1.0);
        let at = |q: f64| self.histogram.value_at_quantile(q).clamp(self.min, self.max);
        Some(Summary {
            count: self.count,
            min: self.min,
            mean: self.first as f64 + self.sum / n,
            stddev: (self.count > 1).then(|| variance.max(0.0).sqrt()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: self.max,
        })
    }
}

/// Statistics of one task.
#[derive(Debug, Clone, Default)]
pub struct TaskTally {
    /// From release to finish.
    pub response: Tally,
    /// CPU time.
    pub cpu: Tally,
    /// From release to start.
    pub latency: Tally,
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
        let empty = || Tally::with_digits(digits);
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

/// Writes a row for each job as it finishes, so in the order of their finishing.
pub struct JobWriter<W: Write> {
    out: csv::Writer<W>,
    /// One a task, to be filled in.
    rows: Vec<Job>,
    error: Option<csv::Error>,
}

impl<W: Write> JobWriter<W> {
    /// For `tasks` tasks; `experiment` and `repetition` fill the first columns.
    ///
    /// # Errors
    /// Where not even the header can be written.
    pub fn new(
        out: W,
        tasks: usize,
        experiment: Option<&str>,
        repetition: Option<u32>,
    ) -> csv::Result<Self> {
        let row = |index| Job {
            experiment: experiment.map(str::to_owned),
            repetition,
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
        };
        let mut out = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        out.write_record(Job::COLUMNS)?;
        Ok(Self { out, rows: (0..tasks).map(row).collect(), error: None })
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
        let row = &mut self.rows[done.task];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_agrees_with_the_one_definition() {
        let mut samples: Vec<u64> = (0..5_000).map(|n| 30_000_000 + n * n).collect();
        let mut tally = Tally::default();
        samples.iter().for_each(|&sample| tally.add(sample));
        let (got, exact) = (tally.summary().unwrap(), Summary::of(&mut samples).unwrap());
        assert_eq!((got.count, got.min, got.max), (exact.count, exact.min, exact.max));
        assert!((got.mean - exact.mean).abs() < 1.0);
        assert!((got.stddev.unwrap() / exact.stddev.unwrap() - 1.0).abs() < 1e-6);
        for (got, exact) in [
            (got.p50, exact.p50),
            (got.p90, exact.p90),
            (got.p99, exact.p99),
            (got.p999, exact.p999),
            (got.p9999, exact.p9999),
        ] {
            assert!(got.abs_diff(exact) <= exact / 1000);
        }
        assert_eq!(Tally::default().summary(), None);
    }
}
