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
//! made, where the service sent one). The instants of first and last byte are those of the reads.
//!
//! A GET of 1 kB on ten kept connections, client and server each on a core of their own (AMD EPYC,
//! Linux 6.18; `bench.sh` measures them in turn, perf and strace tell the parts):
//!
//! | a request | wrk | hyper on tokio, as it was | webload |
//! |---|---|---|---|
//! | CPU time of the client | 11.7 µs | 15.5 µs | 11.1 µs |
//! | of it outside of the kernel | 1.1 µs | 5.9 µs | 1.4 µs |
//! | sending, with what the kernel does at once to deliver it | | 7.3 µs | 7.4 µs |
//! | receiving | | 1.0 µs | 1.2 µs |
//! | `epoll_wait` and `epoll_ctl` | 1.6 µs | 0.6 µs | 0.4 µs |
//! | system calls | 4.2 | 3.0 | 2.1 |
//!
//! The time was lost in the program, not in the kernel: wakers, a pool of futures, a task that steps
//! back for others, headers in a map. What is left is the kernel's, nearly all of it for sending.
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
