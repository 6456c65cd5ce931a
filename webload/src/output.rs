//! The files of a run.

use std::{
    io::{self, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use model::{
    hist::{self, Histogram},
    outfile::{self, OutFile},
    sample, spectrum,
};

use crate::{Config, Run, account::Durations, error::OutputError, stream::Stream};

/// The files that were asked for, open from the start.
#[derive(Debug)]
pub struct Outputs {
    rows: Option<OutFile>,
    log: Option<OutFile>,
    spectrum: Option<OutFile>,
}

impl Outputs {
    /// Opens them. A FIFO waits for its reader: call it while signals still end the process.
    ///
    /// # Errors
    /// [`OutputError::Open`], or [`OutputError::Same`] where one would overwrite the other.
    pub fn open(
        rows: Option<&Path>,
        log: Option<&Path>,
        spectrum: Option<&Path>,
    ) -> Result<Self, OutputError> {
        let own = Self {
            rows: open("--out", rows)?,
            log: open("--hist-log", log)?,
            spectrum: open("--spectrum", spectrum)?,
        };
        let named = [("--out", &own.rows), ("--hist-log", &own.log), ("--spectrum", &own.spectrum)];
        let given: Vec<_> =
            named.into_iter().filter_map(|(option, file)| Some((option, file.as_ref()?))).collect();
        outfile::distinct(&given).map_err(OutputError::Same)?;
        Ok(own)
    }

    /// Starts to write rows while the requests of `config` go on, where they are counted and not
    /// kept; else rows are written in the end.
    ///
    /// # Errors
    /// What the system says where no thread can be started.
    pub fn stream(&mut self, config: &Config) -> io::Result<Option<Stream>> {
        let rows = if config.counts() { self.rows.take() } else { None };
        let start = |file| Stream::start(file, config.experiment.clone(), config.cpu);
        rows.map(start).transpose()
    }

    /// Writes them: each also where another cannot be written.
    ///
    /// # Errors
    /// [`OutputError::Write`] of the first that could not be written.
    pub fn write(self, run: &Run) -> Result<(), OutputError> {
        let rows =
            |file: &mut dyn Write| sample::write_rows(file, &run.rows).map_err(io::Error::from);
        let log = |file: &mut dyn Write| {
            hist::write_to(file, started(run), length(run), &histograms(run))
        };
        let written = fill(self.rows, rows);
        let written = written.and(fill(self.log, log));
        let [(_, response), _] = histograms(run);
        written.and(fill(self.spectrum, |file| spectrum::write(file, &response)))
    }
}

fn open(option: &'static str, path: Option<&Path>) -> Result<Option<OutFile>, OutputError> {
    let fail = |path: &Path, error| OutputError::Open { option, path: path.to_owned(), error };
    path.map(|path| OutFile::open(path).map_err(|error| fail(path, error))).transpose()
}

fn fill(
    file: Option<OutFile>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), OutputError> {
    let Some(file) = file else { return Ok(()) };
    let path = file.path().to_owned();
    file.fill(write).map_err(|error| OutputError::Write { path, error })
}

/// Writes an HdrHistogram log with the tags `response` (from the intended instant) and
/// `uncorrected` (from the actual start), good requests only.
///
/// # Errors
/// [`OutputError::Histogram`] with the path.
pub fn write_histograms(path: &Path, run: &Run) -> Result<(), OutputError> {
    hist::write_log(path, started(run), length(run), &histograms(run))
        .map_err(OutputError::Histogram)
}

/// When the first repetition began.
fn started(run: &Run) -> SystemTime {
    let first = run.repetitions.iter().map(|one| one.start_ns).min();
    first.map_or_else(SystemTime::now, kernel::clock::wall_of)
}

/// The repetitions' lengths, added up.
fn length(run: &Run) -> Duration {
    Duration::from_nanos(run.repetitions.iter().map(|one| one.end_ns - one.start_ns).sum())
}

fn histograms(run: &Run) -> [(String, Histogram); 2] {
    let of = |tag: &str, durations: &Durations| (tag.to_owned(), durations.histogram());
    [of("response", &run.account.response), of("uncorrected", &run.account.uncorrected)]
}
