//! Reading result folders: where what lies, the samples of each run, and what became of the jobs
//! that were released.
//!
//! [`model`] has the formats and the rules as plain data; this room opens the files, for
//! `orchestrator`, `rtplan` and `reports` alike, so that all three count the same jobs.

pub mod budget;
pub mod clock;
pub mod error;
pub mod folder;
mod jobs;
pub mod network;
mod own_stalls;
pub mod point;
pub mod sample;
pub mod series;

pub use error::Error;
pub use folder::{Folder, Samples};
pub use sample::Sample;
pub use series::{Run, SERVICE, Series};
