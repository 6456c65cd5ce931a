//! Small processes that a run keeps beside it, most of them on the measured CPU. They are this
//! program itself, under a hidden subcommand, so that each can be put into a cpuset, journalled and killed like any other.

pub mod hog;
pub mod idle_cost;
pub mod join;
pub mod spin;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Subcommand;
use model::{Exit, Mechanism, Reservation};

use crate::{
    check::{
        drill::{self, End},
        trial::{self, Past},
        watch::Watch,
    },
    mechanism::timer_server::enforcer,
    sentinel,
    trace::recorder::Recorder,
};

/// The hidden subcommands.
#[derive(Debug, Clone, Subcommand)]
pub enum Helper {
    /// Watch the CPU for stalls until SIGTERM, then write them down.
    Sentinel(sentinel::Orders),
    /// Prepare the host as a run does, let the sentinel watch, and print what it says.
    Watch(Watch),
    /// Keep the CPU out of idle until killed.
    Spin,
    /// Print what leaving idle costs on this CPU.
    IdleCost,
    /// Record who runs until SIGTERM, from a tracing instance that is there.
    Record(Recorder),
    /// Ask for all the CPU there is until killed.
    Hog,
    /// Ask for all the CPU there is until SIGTERM, then write down when it was given.
    Greedy {
        /// For how long at the most.
        #[arg(long, value_name = "DURATION", value_parser = model::duration::parse)]
        duration: Duration,
        /// Where to.
        #[arg(long)]
        out: PathBuf,
    },
    /// End SCHED_DEADLINE budgets on time, until SIGTERM.
    Enforce {
        /// A thread in SCHED_DEADLINE on this CPU.
        #[arg(long)]
        tid: Vec<i32>,
        /// Its budget and period.
        #[arg(long, value_name = "Q/P")]
        reservation: Reservation,
        /// Where to write what was counted.
        #[arg(long)]
        out: PathBuf,
    },
    /// Try a mechanism on a thread that asks for everything; prints the share it got.
    Trial {
        /// The mechanisms, each in turn; all by default.
        #[arg(long)]
        mechanism: Vec<Mechanism>,
        /// What is asked of them.
        #[arg(long, default_value = "28ms/50ms")]
        reservation: Reservation,
        /// How long each is watched.
        #[arg(long, default_value = "2s", value_parser = model::duration::parse)]
        duration: Duration,
        /// The CPU to measure on; the best by default, which `check` explains.
        #[arg(long)]
        cpu: Option<u32>,
        /// What has happened before.
        #[arg(long)]
        past: Option<Past>,
    },
    /// Prepare the host as a run does, reserve, and end in a given way.
    Drill {
        /// The CPU to measure on; the best by default, which `check` explains.
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
        /// In SCHED_FIFO with this priority, from before it is moved.
        #[arg(long)]
        fifo: Option<u8>,
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
            Self::Sentinel(orders) => sentinel::run(&orders)?,
            Self::Watch(watch) => watch.run()?,
            Self::IdleCost => idle_cost::run()?,
            Self::Record(recorder) => recorder.run()?,
            Self::Spin => spin::run()?,
            Self::Hog => spin::forever(),
            Self::Greedy { duration, out } => hog::greedy(duration, &out)?,
            Self::Enforce { tid, reservation, out } => enforcer::run(&tid, reservation, &out)?,
            Self::Trial { mechanism, reservation, duration, cpu, past } => {
                trial::run(&mechanism, reservation, duration, cpu, past)?;
            }
            Self::Drill { cpu, end } => drill::run(cpu, end)?,
            Self::Join { cpu, group, fifo, command } => {
                join::run(cpu, group.as_deref(), fifo, &command)?;
            }
        }
        Ok(Exit::Done)
    }
}
