//! Discrete-event simulation of virtual machines' reservations, in whole nanoseconds.
//!
//! A [`Cpu`] has threads: virtual CPUs with their guests' tasks, each under a [`Server`], and the
//! host's own tasks. [`simulate`] runs it and tells an [`Observer`] of every job. Several CPUs are
//! simulated one by one, since tasks do not move between them. Rules and sources are in
//! `docs/simulation.md`.
//!
//! ```
//! use std::time::Duration;
//! use model::{TaskSet, load::Backlog};
//! use rtplan::{Scheduler, Workload, sim::{Cpu, Done, Server, Thread, simulate}};
//!
//! let guest = Thread::new(
//!     Server::HardCbs("28ms/50ms".parse().unwrap()),
//!     &Workload::of(&TaskSet::paper()).unwrap(),
//!     Scheduler::RateMonotonic,
//! ).unwrap();
//! let load = Thread::load(&TaskSet::paper_load(), Backlog::Keep, 50).unwrap();
//! let cpu = Cpu::new(vec![guest, load], Duration::from_secs(60));
//! let mut worst = [0; 2];
//! let mut see = |job: &Done| worst[job.task] = worst[job.task].max(job.response_ns());
//! simulate(&cpu, 1, &mut see).unwrap();
//! assert_eq!(worst, [52_000_000, 124_000_000]);
//! ```

mod budgets;
pub mod calibrate;
mod chance;
mod engine;
pub mod experiment;
mod fair;
mod observe;
mod ready;
mod record;
mod repetition;
mod server;
mod setup;
pub mod suite;
mod traced;

pub use chance::{Stalls, Times};
pub use observe::{Adapted, Count, Done, Observer, Outcome, ThreadOutcome};
pub use record::{JobWriter, Label, Listener, Recorder, TaskTally};
pub use setup::{
    Control, Cpu, Entry, MOST_EVENTS, ORDINARY_WEIGHT, Server, SimError, Task, Thread, Tick,
};

/// What the manifest of simulated results names as accelerator.
pub const ACCELERATOR: &str = "simulation";

/// Simulates `cpu`. The same set-up and seed give the same jobs, to the nanosecond.
///
/// # Errors
/// [`SimError`], before anything is simulated.
pub fn simulate<O: Observer>(cpu: &Cpu, seed: u64, observer: &mut O) -> Result<Outcome, SimError> {
    cpu.check()?;
    Ok(engine::Engine::new(cpu, seed, observer).run(cpu.threads.len()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Reservation;

    /// (Q, P) in nanoseconds.
    pub(super) fn reservation(budget: u64, period: u64) -> Reservation {
        Reservation::new(Duration::from_nanos(budget), Duration::from_nanos(period)).unwrap()
    }
}
