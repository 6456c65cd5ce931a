//! Background load on the measured CPU.

use serde::{Deserialize, Serialize};

/// What a load task does with the jobs that it could not run in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Backlog {
    /// Runs every job, however late: after a starvation it asks for all the CPU until caught up.
    #[default]
    Keep,
    /// Skips the releases that have passed, and goes on with the next one to come.
    Drop,
}

impl Backlog {
    /// The name used in suites, on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
        }
    }
}
