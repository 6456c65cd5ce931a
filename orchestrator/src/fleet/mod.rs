//! Suites on many hosts, as jobs of Slurm.
//!
//! No scheduler of our own: [`submit`] writes a folder with a job script ([`script`]) and hands it to
//! Slurm ([`slurm`]), a job array for each host; [`status`] puts together what jobs left in the folder
//! and what Slurm says ([`account`]). `reports merge` reads the folder.

pub mod account;
pub mod folder;
pub mod matrix;
pub mod script;
pub mod slurm;
pub mod status;
pub mod submit;
#[cfg(test)]
mod tests;

pub use slurm::{Programs, Slurm};
