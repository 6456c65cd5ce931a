//! What can go wrong, and the exit code that says so.

use std::io;

use kernel::{
    affinity::{self, SELF},
    sched::SchedError,
};
use model::Exit;
use thiserror::Error;

/// Why a command did not do what it was asked.
#[derive(Debug, Error)]
pub enum Error {
    /// The command line asks for something that makes no sense or does not exist; the text is whole.
    #[error("{0}")]
    Usage(String),
    /// The kernel refused a scheduling policy.
    #[error("{} was refused for {task}: {}; {remedy}", .source.policy, .source.errno)]
    Policy {
        /// The task: `tau1`, …
        task: String,
        /// What was refused.
        #[source]
        source: SchedError,
        /// What to do about it.
        remedy: String,
    },
    /// A file cannot be read or written.
    #[error("{what}: {source}")]
    File {
        /// What it is and its path.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A call to the system failed where it never should.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Rows are missing from a file.
    #[error(
        "{rows} rows are missing from --out, though their jobs are in the summary: the file could \
         not be written as fast as jobs ended for more than 10 s; write to a faster disk"
    )]
    RowsLost {
        /// How many.
        rows: u64,
    },
    /// Rows of a probe are missing.
    #[error(
        "{rows} rows are missing from --out, though the summary counts them: there were more rows than \
         could be written; raise --threshold or --period"
    )]
    EventsLost {
        /// How many.
        rows: u64,
    },
    /// A signal came before anything was measured.
    #[error("interrupted before anything was measured")]
    Interrupted,
}

impl Error {
    /// The exit code of the program.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Policy { .. } => Exit::Lacking,
            Self::Interrupted => Exit::Interrupted,
            Self::File { .. }
            | Self::System { .. }
            | Self::RowsLost { .. }
            | Self::EventsLost { .. } => Exit::Failed,
        }
    }

    /// Why a thread cannot be bound to a CPU; `place` is the option or key that names it.
    pub(crate) fn pin(place: &str, error: &io::Error) -> Self {
        let allowed = affinity::get(SELF).map(|cpus| affinity::format_list(&cpus));
        let allowed = allowed.unwrap_or_default();
        Self::Usage(format!(
            "{place}: no such CPU, or this process' cpuset excludes it ({error}); it may run on \
             {allowed}"
        ))
    }

    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
