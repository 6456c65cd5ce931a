//! Launches guests, reserves CPU for them, loads the host, runs experiments and collects what they
//! measured into a result folder.

pub mod check;
pub mod error;
pub mod helper;
pub mod host;
pub mod mechanism;
pub mod run;
