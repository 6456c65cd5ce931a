//! Periodic tasks with constant execution time: the load of the micro benchmarks.
//!
//! [`run`] measures a task set, [`load`] keeps a CPU busy in the background, [`calibration`] finds
//! out how much work an execution time is. The three commands of the program call exactly these.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod calibration;
pub mod cli;
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
