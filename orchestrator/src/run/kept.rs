//! The guests that are kept from one repetition to the next, so that the cases of a comparison are
//! measured in turn in the same warm guests. While another experiment is measured they are paused:
//! their vCPUs stand still and use no CPU.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;
use model::suite::Experiment;
use tempfile::TempDir;

use super::machines::{Boot, Machine, logs_of};
use crate::{
    guest::Guest,
    host::{Mark, Stage, Stop},
};

/// What is logged by and around a guest.
const LOGS: [&str; 3] = ["console.log", "qemu.log", "agent.log"];

/// For how long a vCPU is kept busy at least while its reservation is taken away, and for how much
/// longer for each guest that is started after it.
const PARTING: Duration = Duration::from_millis(300);

/// Machines that are kept from attempt to attempt.
pub struct Kept {
    machines: Vec<Machine>,
    logs: TempDir,
    running: bool,
    /// Before their threads were placed.
    mark: Mark,
}

impl Kept {
    /// Boots those of `experiment`; where that fails, their logs are in `folder`.
    ///
    /// # Errors
    /// What did not come up.
    pub(super) fn boot(
        stage: &mut Stage,
        boot: &Boot,
        experiment: &Experiment,
        folder: &Path,
    ) -> Result<Self> {
        let logs = tempfile::Builder::new().prefix("rtvm-logs-").tempdir()?;
        let mark = stage.guard.mark();
        match boot.all(stage, experiment, logs.path()) {
            Ok(machines) => Ok(Self { machines, logs, running: true, mark }),
            Err(error) => {
                for vm in &experiment.vms {
                    let of = |folder| logs_of(folder, experiment, &vm.name);
                    copy_logs(&of(logs.path()), &of(folder));
                }
                // The boot's error is the one that is told first.
                Err(match stage.guard.undo_to(mark) {
                    Ok(()) => error,
                    Err(also) => error.context(format!("and not undone: {also:#}")),
                })
            }
        }
    }

    /// Whether they are what `experiment` needs.
    pub(super) fn fit(&self, experiment: &Experiment) -> bool {
        let mut pairs = self.machines.iter().zip(&experiment.vms);
        self.machines.len() == experiment.vms.len() && pairs.all(|(own, vm)| own.fits(vm))
    }

    /// Whether the user's programs in them still run; the guests do, and are not paused.
    pub(super) fn serve(&self, stop: &Stop) -> bool {
        self.machines.iter().all(|own| own.program_runs(stop).is_ok())
    }

    /// Lets them run, or pauses them.
    ///
    /// # Errors
    /// Where QEMU does not answer.
    pub(super) fn set_running(&mut self, running: bool, stop: &Stop) -> Result<()> {
        if self.running != running {
            for guest in self.guests() {
                if running { guest.resume(stop.flag()) } else { guest.pause(stop.flag()) }?;
            }
            self.running = running;
        }
        Ok(())
    }

    fn guests(&self) -> impl Iterator<Item = &Guest> {
        self.machines.iter().filter_map(Machine::guest)
    }

    pub(super) fn machines(&mut self) -> &mut [Machine] {
        &mut self.machines
    }

    /// Puts the logs as they are now beside a repetition's samples.
    pub(super) fn keep_logs(&self, experiment: &Experiment, folder: &Path, stop: &Stop) {
        for machine in &self.machines {
            let to = logs_of(folder, experiment, machine.name());
            copy_logs(&logs_of(self.logs.path(), experiment, machine.name()), &to);
            machine.keep_error_log(&to, stop);
        }
    }

    /// Undoes what was done to their threads since `mark`, while their vCPUs are busy: a thread
    /// that sleeps when it leaves SCHED_DEADLINE leaks its bandwidth, and the next reservation is
    /// refused.
    pub(super) fn release(&self, stage: &mut Stage, mark: Mark) -> Result<()> {
        if stage.guard.mark() == mark {
            return Ok(());
        }
        let stop = stage.stop.clone();
        let mut busy = Vec::new();
        for (at, guest) in self.guests().enumerate() {
            // One after the other: the first has to be busy until the last is.
            let length = PARTING * (self.machines.len() - at) as u32;
            let length = format!("{}ms", length.as_millis());
            let rtload = guest.programs.rtload.as_str();
            let arguments = [rtload, "calibrate", "--cpu", "0", "--for", &length];
            busy.push(guest.start(&arguments, &[], stop.flag())?);
        }
        std::thread::sleep(Duration::from_millis(100));
        stage.guard.undo_to(mark)?;
        for (guest, busy) in self.guests().zip(&busy) {
            guest.wait(busy, Duration::from_secs(30), stop.flag(), |_, _| ())?;
        }
        Ok(())
    }

    /// Ends them.
    ///
    /// # Errors
    /// Where the host is not as it was before they started.
    pub(super) fn end(mut self, stage: &mut Stage) -> Result<()> {
        // One that had ended already is what is wanted.
        let _ = self.set_running(true, &Stop::default());
        for machine in self.machines {
            let _ = machine.shutdown();
        }
        stage.guard.undo_to(self.mark)
    }
}

fn copy_logs(from: &Path, to: &Path) {
    let _ = fs::create_dir_all(to);
    for name in LOGS {
        let _ = fs::copy(from.join(name), to.join(name));
    }
}
