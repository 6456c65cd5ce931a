//! A drill: a real reservation on a real hog, and every way out of it.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use model::{Mechanism, Reservation};

use super::trial::{self, Rival};
use crate::{
    host::{Cpus, Roots, Stage, Stop, pause},
    mechanism::Request,
};

/// How the drill ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum End {
    /// By itself.
    Success,
    /// With an error.
    Error,
    /// With a panic.
    Panic,
    /// Not at all: it waits for a signal.
    Wait,
}

/// Long enough for many periods, so that the last one, cut off, does not matter.
const WATCHED: Duration = Duration::from_secs(2);

/// Reserves (28 ms, 50 ms), the paper's, for a thread that asks for all it can get, beside an
/// ordinary one that does so too, and returns the share of the CPU that it got.
///
/// # Errors
/// What the kernel refused.
pub fn delivered(stage: &mut Stage) -> Result<f64> {
    let request = Request::from("28ms/50ms".parse::<Reservation>()?);
    trial::attempt(stage, Mechanism::Deadline, &request, Rival::Ordinary, WATCHED)
        .map(|tried| tried.share)
}

/// Prepares the host as a run does, says what a reservation delivers, and ends as told.
///
/// # Errors
/// What the host refused, or on purpose.
pub fn run(cpu: Option<u32>, end: End) -> Result<()> {
    let stop = Stop::on_signals()?;
    let cpus = Cpus::divide(&Roots::default().sys, cpu.as_slice())?;
    let mut stage = Stage::prepare(cpus, stop.clone())?;
    stage.keep_awake()?;
    model::answer!("cgroup v{}", stage.cpusets.version.number())?;
    model::answer!("share {:.3}", delivered(&mut stage)?)?;
    model::answer!("held")?;
    match end {
        End::Success => stage.finish(),
        End::Error => bail!("an error, on purpose"),
        End::Panic => panic!("a panic, on purpose"),
        End::Wait => loop {
            pause(Duration::from_secs(1), &stop)?;
        },
    }
}
