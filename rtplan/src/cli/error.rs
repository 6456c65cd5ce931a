//! Why the program gives no answer.

use std::path::PathBuf;

use model::{Exit, sample::SampleError, suite::SuiteError};
use thiserror::Error;

use crate::{
    analysis::AnalysisError,
    output::plot::PlotError,
    predict::PredictError,
    question::BudgetError,
    sim::{SimError, suite::SuiteRunError},
    supply::SupplyError,
    workload::WorkloadError,
};

/// One line for the person who asked.
#[derive(Debug, Error)]
pub enum CliError {
    /// Arguments that do not fit together.
    #[error("{0}")]
    Usage(String),
    /// No tasks that can be analysed.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A line of the file of tasks.
    #[error("{}:{line}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        source: Box<WorkloadError>,
    },
    /// No supply.
    #[error(transparent)]
    Supply(#[from] SupplyError),
    /// No verdict.
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
    /// No budget.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// A file named on the command line.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Standard output or a table.
    #[error("cannot write the answer: {0}")]
    Write(String),
    /// Nothing to simulate.
    #[error(transparent)]
    Simulation(#[from] SimError),
    /// No suite.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// A suite that was not simulated.
    #[error(transparent)]
    SuiteRun(#[from] SuiteRunError),
    /// No prediction.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// Samples that cannot be read.
    #[error(transparent)]
    Samples(#[from] SampleError),
    /// No picture.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

impl CliError {
    /// The exit code: 2 where the input is at fault, 1 where the answer is too hard to find or to
    /// write.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Analysis(AnalysisError::TooHard(_))
            | Self::Budget(BudgetError::Analysis(AnalysisError::TooHard(_)))
            | Self::Write(_)
            | Self::SuiteRun(SuiteRunError::Rows { .. } | SuiteRunError::Samples(_))
            | Self::Plot(_) => Exit::Failed,
            _ => Exit::Usage,
        }
    }
}
