//! Execution times that travel: what a task of one host takes on another.
//!
//! Demand scales, response times do not: of each task C is scaled by the ratio of what the two hosts'
//! elementary operations cost ([`model::costs`], measured by `rtload characterise`), weighted by the
//! [`Mix`] of them that the task is made of; then the suite is analysed and simulated as if it had
//! been written for the other host. `docs/predict.md` says what this leaves out.

mod counts;
mod mix;
mod suite;
mod transport;

use model::costs::Component;
use thiserror::Error;

use crate::sim::suite::SuiteRunError;

pub use counts::{Counted, CountedWork, Counts, CountsError};
pub use mix::{Mix, MixError, PartError};
pub use suite::{PredictedTask, Prediction, predict};
pub use transport::{Part, Scale, Scaled, Transport};

/// Why nothing was predicted.
#[derive(Debug, Error)]
pub enum PredictError {
    /// A component of the mix is in one vector and not in the other, or in none.
    #[error(
        "{file}: no cost of {component}, which the mix asks for; measure it there with `rtload \
         characterise`, or leave it out of the mix"
    )]
    Missing {
        /// Whose vector: what the caller calls it.
        file: String,
        /// What is missing.
        component: Component,
    },
    /// Jobs that take the same CPU time on every host.
    #[error(
        "the work of {} is paced: its jobs take C of CPU time on every host, whatever the host gets \
         done in it, so there is nothing to scale; write `work = \"fixed\"` into the suite, or \
         choose others with `--only`",
        names.join(", ")
    )]
    Paced {
        /// The experiments.
        names: Vec<String>,
    },
    /// The simulation.
    #[error(transparent)]
    Simulation(#[from] SuiteRunError),
}
