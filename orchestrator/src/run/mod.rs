//! Runs a suite: plan, prepare, measure, collect, restore.

pub mod stalls;
