//! Periodic tasks with constant execution time: the load of the micro benchmarks.
//!
//! [`run`] measures a task set, [`rt_app`] one that a file of rt-app describes, [`load`] keeps a CPU,
//! its caches or its memory busy in the background, [`lock`] contends for a lock, [`clock`] probes the
//! system's clocks, [`calibration`] finds out how much work an execution time is, [`characterise`] what
//! the host's elementary operations cost. The commands of the program call exactly these.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod bytes;
pub mod caches;
pub mod calibration;
pub mod characterise;
pub mod cli;
pub mod clock;
pub mod engine;
pub mod error;
pub mod limits;
pub mod load;
pub mod lock;
pub mod options;
pub mod output;
pub mod plan;
pub mod policy;
pub mod rt_app;
pub mod run;
pub mod signals;
pub mod traffic;
pub mod variation;
pub mod warning;
pub mod work;

pub use error::Error;
