//! Proof of supply: when each of the VMs' threads ran, from the kernel's own trace.
//!
//! [`Tracer`] makes a tracing instance through the host's guard and starts the *recorder*, a process
//! on the housekeeping CPUs ([`recorder`]) that reads the instance's buffers while they fill. The
//! [`Collector`] turns its events into intervals: `supply.csv` for the VMs' threads on any CPU,
//! `cpu.csv` for whatever else ran on the measured ones, `softirq.csv` for what the kernel did for the
//! network, where a web service is measured.

mod collect;
pub mod recorder;
mod session;
mod softirq;
mod threads;

pub use collect::{Collector, Row};
pub use session::{Tracer, available, warnings};
pub use threads::{Named, Recorded, Threads};
