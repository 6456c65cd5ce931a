//! Concurrent HTTP clients that time a service.
//!
//! Two ways to ask: the paper's *closed loop* (§4, macro benchmark: N clients, each sends M requests
//! one after the other, the whole repeated R times), and an *open loop* at a constant rate, where a
//! response time counts from the instant at which the request was due and not from the one at which
//! a late client got round to it (coordinated omission). Each request is a row; a failed one is a
//! row with its cause and never enters the statistics of the good ones.
//!
//! # Why the measured path is our own
//! What a client adds to each request is measured with it. So one thread drives all clients by epoll
//! (`crew`), each owns its connection, requests are bytes that were made once, and answers are
//! looked at where they were read: httparse parses the head, the body is counted (and its checksum
//! made, where the service sent one). A request on a kept connection costs two system calls and a
//! share of a third, as in wrk, without wrk's two `epoll_ctl`; the instants of first and last byte are
//! those of the reads. Driving hyper on tokio took nearly twice the CPU time; reqwest, which is built on
//! hyper, more than twice (`bench.sh` runs them in turn).
//!
//! All instants are CLOCK_MONOTONIC in nanoseconds.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod account;
mod alarm;
mod asked;
pub mod cli;
mod client;
pub mod config;
mod crew;
mod deadlines;
pub mod error;
pub mod failure;
mod limits;
mod link;
mod log;
pub mod output;
mod pace;
mod poller;
mod protocol;
mod record;
pub mod run;
mod schedule;
mod stamp;
pub mod stream;
pub mod summary;
pub mod target;

pub use config::Config;
pub use error::{OutputError, RunError};
pub use failure::Failure;
pub use model::Rate;
pub use run::{Repetition, Run, run, run_into};
pub use summary::Summary;
pub use target::Target;
