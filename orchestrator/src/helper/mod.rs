//! Small processes that a run keeps beside it, most of them on the measured CPU. They are this
//! program itself, under a hidden subcommand, so that each can be put into a cpuset, journalled and killed like any other.

pub mod idle_cost;
pub mod join;
pub mod sentinel;
pub mod spin;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use model::Exit;

use crate::{
    check::drill::{self, End},
    trace::recorder::Recorder,
};

/// The hidden subcommands.
#[derive(Debug, Clone, Subcommand)]
pub enum Helper {
    /// Watch the CPU for stalls until SIGTERM, then write them down.
    Sentinel {
        /// Where to.
        #[arg(long)]
        out: PathBuf,
    },
    /// Keep the CPU out of idle until killed.
    Spin,
    /// Print what leaving idle costs on this CPU.
    IdleCost,
    /// Record who runs until SIGTERM, from a tracing instance that is there.
    Record(Recorder),
    /// Ask for all the CPU there is until killed.
    Hog,
    /// Prepare the host as a run does, reserve, and end in a given way.
    Drill {
        /// The CPU to measure on; the last by default.
        #[arg(long)]
        cpu: Option<u32>,
        /// The way.
        #[arg(long)]
        end: End,
    },
    /// Become another program, on one CPU and in its cpuset.
    Join {
        /// The CPU.
        #[arg(long)]
        cpu: u32,
        /// The cpuset group; none where there is no partition.
        #[arg(long)]
        group: Option<PathBuf>,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
}

impl Helper {
    /// Does the helper's work.
    ///
    /// # Errors
    /// Where the kernel refuses, with what it refused.
    pub fn run(self) -> Result<Exit> {
        match self {
            Self::Sentinel { out } => sentinel::run(&out)?,
            Self::IdleCost => idle_cost::run()?,
            Self::Record(recorder) => recorder.run()?,
            Self::Spin => spin::run()?,
            Self::Hog => spin::forever(),
            Self::Drill { cpu, end } => drill::run(cpu, end)?,
            Self::Join { cpu, group, command } => join::run(cpu, group.as_deref(), &command)?,
        }
        Ok(Exit::Done)
    }
}
