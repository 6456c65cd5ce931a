//! What can go wrong while a result folder is read or a report is written.

use std::{io, path::Path};

use model::{Exit, sample::SampleError};
use thiserror::Error;

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The folder cannot be read.
    #[error(transparent)]
    Folder(#[from] results::Error),
    /// A CSV file is malformed.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// Nothing in the folder fits what was asked for.
    #[error("{0}")]
    Nothing(String),
    /// A file of the report cannot be written.
    #[error("{path}: {error}")]
    Write {
        /// The file or folder.
        path: String,
        /// The cause.
        error: io::Error,
    },
    /// A figure cannot be drawn.
    #[error("figure `{figure}`: {message}")]
    Draw {
        /// Its name.
        figure: String,
        /// What the drawing library says.
        message: String,
    },
}

impl ReportError {
    /// The exit code that stands for this error: 2 for a bad folder, 1 for a failed write.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Write { .. } | Self::Draw { .. } => Exit::Failed,
            _ => Exit::Usage,
        }
    }

    pub(crate) fn write(path: &Path, error: io::Error) -> Self {
        Self::Write { path: path.display().to_string(), error }
    }
}
