//! Launches guests, reserves CPU for them, loads the host, runs experiments and collects what they
//! measured into a result folder.

pub mod error;
pub mod host;
