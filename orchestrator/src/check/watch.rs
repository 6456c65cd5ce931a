//! A trial of the sentinel: what it says of a CPU on which something known happens.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use model::{Mechanism, Reservation};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::trial::{self, Rival};
use crate::{
    host::{Cpus, Roots, Stage, Stop, pause},
    mechanism::Request,
    sentinel::{MOST, Sentinel, Watched},
};

/// What happens while it watches.
#[derive(Debug, Clone, Args)]
pub struct Watch {
    /// For how long.
    #[arg(long, value_name = "DURATION", value_parser = model::duration::parse, default_value = "1s")]
    duration: Duration,
    /// The sentinel's budget at the most; as in a run by default.
    #[arg(long, value_name = "DURATION", value_parser = model::duration::parse)]
    most: Option<Duration>,
    /// A thread asks for everything under this reservation.
    #[arg(long, value_name = "Q/P")]
    hog: Option<Reservation>,
    /// The sentinel is stopped for this long before that.
    #[arg(long, value_name = "DURATION", value_parser = model::duration::parse)]
    freeze: Option<Duration>,
    /// The CPU to watch; the last by default.
    #[arg(long)]
    cpu: Option<u32>,
}

/// Has a sentinel watch while `happens` does.
pub(super) fn watched(
    stage: &mut Stage,
    most: Duration,
    happens: impl FnOnce(&mut Stage, &Sentinel) -> Result<()>,
) -> Result<Watched> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("sentinel.log");
    let sentinel = Sentinel::start(stage, stage.cpus.first(), most, &log)?;
    happens(stage, &sentinel)?;
    sentinel.stop()
}

impl Watch {
    /// Prints what the sentinel said: one JSON object.
    ///
    /// # Errors
    /// What the host refused.
    pub fn run(self) -> Result<()> {
        let stop = Stop::on_signals()?;
        let cpus = Cpus::divide(&Roots::default().sys, self.cpu.as_slice())?;
        let mut stage = Stage::prepare(cpus, stop)?;
        stage.keep_awake()?;
        let said = watched(&mut stage, self.most.unwrap_or(MOST), |stage, sentinel| {
            if let Some(length) = self.freeze {
                let pid = Pid::from_raw(sentinel.pid());
                kill(pid, Signal::SIGSTOP)?;
                let frozen = pause(length, &stage.stop);
                kill(pid, Signal::SIGCONT)?;
                frozen?;
            }
            match self.hog.map(Request::from) {
                None => Ok(pause(self.duration, &stage.stop)?),
                Some(request) => {
                    let (mechanism, rival) = (Mechanism::Deadline, Rival::Nobody);
                    trial::attempt(stage, mechanism, &request, rival, self.duration).map(drop)
                }
            }
        })?;
        let stalled_ns = said.stalled_ns();
        model::answer!(
            "{}",
            serde_json::json!({
                "stalls": said.stalls.len(), "stalled_ns": stalled_ns, "sentinel": said.facts
            })
        )?;
        Ok(())
    }
}
