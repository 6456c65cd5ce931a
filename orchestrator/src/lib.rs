//! Launches guests, reserves CPU for them, loads the host, runs experiments and collects what they
//! measured into a result folder.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod adapt;
pub mod advise;
pub mod check;
pub mod cli;
mod enter;
pub mod error;
pub mod fleet;
pub mod folder;
pub mod guest;
pub mod guests;
pub mod helper;
mod hook;
pub mod host;
pub mod init;
pub mod lab;
pub mod mechanism;
pub mod reserve;
pub mod run;
pub mod sentinel;
pub mod service;
pub mod sweep;
pub mod trace;
