//! Concurrent HTTP clients that time a service.
//!
//! Two ways to ask: the paper's *closed loop* (§4, macro benchmark: N clients, each sends M requests
//! one after the other, the whole repeated R times), and an *open loop* at a constant rate, where a
//! response time counts from the instant at which the request was due and not from the one at which
//! a late client got round to it (coordinated omission). Each request is a row; a failed one is a
//! row with its cause and never enters the statistics of the good ones.
//!
//! # Why hyper carries the measured path
//! reqwest, the usual client, is built on hyper and puts a connection pool, redirects, proxies and
//! decompression between the caller and the socket. Driving hyper's HTTP/1 connection directly on a
//! current-thread tokio runtime saves that work for every request: with 10 kept connections on one
//! core 91 000 requests a second, reqwest 56 000, oha 80 000, wrk 102 000 (`bench.sh`, which runs
//! them in turn). It also lets every client own its connection, so that none of its requests can
//! travel on another one's, and lets the socket be wrapped: first and last byte are stamped at the
//! read itself ([`Request::first_byte_ns`](model::sample::Request::first_byte_ns)), which reqwest
//! cannot tell.
//!
//! All instants are CLOCK_MONOTONIC in nanoseconds.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod account;
mod alarm;
pub mod cli;
mod client;
pub mod config;
pub mod error;
mod exchange;
pub mod failure;
mod limits;
mod link;
mod log;
pub mod output;
mod record;
pub mod run;
mod stamp;
pub mod stream;
pub mod summary;
pub mod target;
mod yielding;

pub use config::Config;
pub use error::{OutputError, RunError};
pub use failure::Failure;
pub use model::Rate;
pub use run::{Repetition, Run, run, run_into};
pub use summary::Summary;
pub use target::Target;
