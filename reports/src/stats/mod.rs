//! The statistics that `model::stats` does not have; each module names its source.
//!
//! Definitions for readers of reports stand in `docs/method.md`.

pub mod bootstrap;
pub mod cdf;
pub mod effects;
pub mod interval;
pub mod trend;
pub mod two_sample;
