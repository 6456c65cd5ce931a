//! A drill: a real reservation on a real hog, and every way out of it.

use std::{env, time::Duration};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use kernel::clock::monotonic_ns;
use model::{Mechanism, Reservation};

use crate::{
    host::{Cpus, Roots, Stage, Stop, pause},
    mechanism::{self, Vm},
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

/// Reserves (28 ms, 50 ms), the paper's, for a thread that asks for all it can get, and returns the
/// share of the CPU that it got.
///
/// # Errors
/// What the kernel refused.
pub fn delivered(stage: &mut Stage) -> Result<f64> {
    let reservation: Reservation = "28ms/50ms".parse()?;
    let mark = stage.guard.mark();
    // An ordinary hog beside it, so that the share is not what nobody else wanted.
    let exe = env::current_exe()?;
    let mut rival = stage.guard.spawn(&mut stage.on_measured(&exe, ["helper", "hog"])?)?;
    let mut hog = stage.guard.spawn(&mut stage.on_measured(&exe, ["helper", "hog"])?)?;
    let pid = hog.id() as i32;
    let share = (|| {
        pause(Duration::from_millis(100), &stage.stop)?;
        let vm = Vm { pid, vcpus: vec![pid] };
        mechanism::of(Mechanism::Deadline).attach(stage, &vm, Some(reservation))?;
        let used = || stage.roots.proc.thread_times(pid).map(|times| times.cpu_ns);
        let (start, before) = (monotonic_ns(), used()?);
        pause(WATCHED, &stage.stop)?;
        Ok((used()? - before) as f64 / (monotonic_ns() - start) as f64)
    })();
    // Killed inside its reservation: a thread that leaves it asleep can leak its bandwidth.
    for child in [&mut hog, &mut rival] {
        child.kill().and_then(|()| child.wait()).context("ending a hog")?;
    }
    stage.guard.undo_to(mark)?;
    share
}

/// Prepares the host as a run does, says what a reservation delivers, and ends as told.
///
/// # Errors
/// What the host refused, or on purpose.
pub fn run(cpu: Option<u32>, end: End) -> Result<()> {
    let stop = Stop::on_signals()?;
    let cpus = Cpus::divide(&Roots::default().sys, cpu)?;
    let mut stage = Stage::prepare(cpus, stop.clone())?;
    stage.keep_awake()?;
    println!("cgroup v{}", stage.cpusets.version.number());
    println!("share {:.3}", delivered(&mut stage)?);
    println!("held");
    match end {
        End::Success => Ok(()),
        End::Error => bail!("an error, on purpose"),
        End::Panic => panic!("a panic, on purpose"),
        End::Wait => loop {
            pause(Duration::from_secs(1), &stop)?;
        },
    }
}
