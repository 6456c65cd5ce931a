//! Which reservation a task set needs, and why: exact schedulability analysis.
//!
//! Everything is computed in whole nanoseconds; no verdict rests on floating point, and no
//! algorithm walks through time unit by unit. The models, formulas and sources are in
//! `docs/analysis.md`.
//!
//! ```
//! use model::TaskSet;
//! use rtplan::{Scheduler, Supply, wcrt};
//!
//! let aligned = Supply::aligned("28ms/50ms".parse().unwrap());
//! let worst = wcrt(&TaskSet::paper(), &aligned, Scheduler::RateMonotonic);
//! let milliseconds: Vec<_> = worst.iter().map(|w| w.unwrap().as_millis()).collect();
//! assert_eq!(milliseconds, [52, 124]);
//! ```

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod analysis;
mod budget;
pub mod cli;
pub mod demand;
mod edf;
mod effort;
mod exact;
pub mod experiment;
mod fixed_priority;
mod front;
pub mod grid;
mod item;
mod ns;
pub mod output;
mod partition;
mod phases;
pub mod predict;
mod problem;
mod question;
mod response;
pub mod sim;
pub mod study;
pub mod supply;
mod utilisation;
mod witness;
pub mod workload;

use std::time::Duration;

use model::TaskSet;

pub use analysis::{Analysis, AnalysisError, TaskVerdict, analyse, schedulable};
pub use budget::{Budget, least_budget};
pub use effort::TooHard;
pub use exact::Fraction;
pub use grid::Cell;
pub use partition::{Fit, Partition, partition};
pub use question::{BudgetError, Question};
pub use response::Response;
pub use supply::{Costs, Model, Ratio, Supply};
pub use witness::{Point, Witness};
pub use workload::{Scheduler, TaskSpec, Workload, WorkloadError};

use problem::Problem;

/// The worst-case response time of each task, in the order given.
///
/// # Errors
/// [`WorkloadError`] where [`Scheduler::Priorities`] lacks priorities.
pub fn responses(
    workload: &Workload,
    supply: &Supply,
    scheduler: Scheduler,
) -> Result<Vec<Response>, WorkloadError> {
    let problem = Problem::new(workload, supply, scheduler)?;
    let by_rank = match scheduler {
        Scheduler::Edf => edf::responses(&problem),
        _ => fixed_priority::responses(&problem),
    };
    let mut in_order = vec![Response::Unbounded; by_rank.len()];
    for (item, response) in problem.items.iter().zip(by_rank) {
        in_order[item.index] = response;
    }
    Ok(in_order)
}

/// The worst-case response time of each task, in the order given: for reference lines beside
/// measured response times. `None` where it is unbounded or was not found (see [`responses`] for
/// which); an empty set has none.
///
/// With [`Scheduler::Priorities`] all are `None`, since a [`TaskSet`] has no priorities.
#[must_use]
pub fn wcrt(tasks: &TaskSet, supply: &Supply, scheduler: Scheduler) -> Vec<Option<Duration>> {
    let responses =
        Workload::of(tasks).and_then(|workload| responses(&workload, supply, scheduler));
    responses.map_or_else(
        |_no_answer| vec![None; tasks.len()],
        |responses| responses.iter().map(|response| response.ns().map(ns::duration)).collect(),
    )
}
