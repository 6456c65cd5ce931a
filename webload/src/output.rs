//! The files of a run.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use model::{hist, sample};
use thiserror::Error;

use crate::{Run, summary::uncorrected_ns};

/// A file that cannot be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// It cannot be created, as tried before the run.
    #[error("cannot create {}: {error}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        #[source]
        error: io::Error,
    },
    /// Rows could not be written.
    #[error(transparent)]
    Csv(#[from] sample::SampleError),
    /// The histogram log could not be written.
    #[error("{0}")]
    Histogram(String),
}

/// Makes sure that `path` can be written, before anything is measured.
///
/// # Errors
/// [`OutputError::Create`].
pub fn probe(path: &Path) -> Result<(), OutputError> {
    File::create(path)
        .map(drop)
        .map_err(|error| OutputError::Create { path: path.to_owned(), error })
}

/// Writes an HdrHistogram log with the tags `response` (from the intended instant) and
/// `uncorrected` (from the actual start), good requests only.
///
/// # Errors
/// [`OutputError::Histogram`] with the path.
pub fn write_histograms(path: &Path, run: &Run) -> Result<(), OutputError> {
    let good = || run.rows.iter().filter(|row| row.error.is_none());
    let length = run.repetitions.iter().map(|one| one.end_ns - one.start_ns).sum();
    let tagged = [
        ("response".to_owned(), hist::histogram(good().filter_map(|row| row.response_ns))),
        ("uncorrected".to_owned(), hist::histogram(good().filter_map(uncorrected_ns))),
    ];
    hist::write_log(path, Duration::from_nanos(length), &tagged).map_err(OutputError::Histogram)
}
