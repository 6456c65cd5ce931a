//! Runs a suite: plan, prepare, measure, collect, restore.

pub mod folder;
pub mod plan;
pub mod progress;
pub mod stalls;
