//! The virtual machines of an attempt, from their boot to their end.
//!
//! Those of an experiment that measures a web service are kept from one repetition to the next, so
//! that the cases of a comparison are measured in turn in the same warm guests. While another
//! experiment is measured they are paused: their vCPUs stand still and use no CPU.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use model::{
    Mechanism,
    clock::ClockMap,
    manifest::VmFacts,
    suite::{self, Experiment, GuestSettings, Server, Web},
};
use tempfile::TempDir;
use webload::{Target, run::WarmUp};

use super::{
    guests::{Booted, Guests, Usage},
    tasks,
};
use crate::{
    guest::{ClockOffset, Network},
    host::{Mark, Roots, Stage, Stop},
    mechanism::{self, Attached, Request, place_emulator},
    service::{self, Apache, Serving},
};

/// What is logged by and around a guest.
const LOGS: [&str; 3] = ["console.log", "qemu.log", "agent.log"];

/// For how long a vCPU is kept busy at least while its reservation is taken away, and for how much
/// longer for each guest that is started after it.
const PARTING: Duration = Duration::from_millis(300);

/// A virtual machine of an experiment.
pub(super) struct Machine {
    /// As the suite said where it was booted.
    vm: suite::Vm,
    /// The running guest.
    pub booted: Booted,
    /// Its web service, where it has one.
    pub served: Option<Served>,
    /// Where its logs are written.
    logs: PathBuf,
    usage: Option<Usage>,
    begin: Option<ClockOffset>,
    /// For the manifest.
    pub facts: VmFacts,
}

/// A web service that answers.
pub(super) struct Served {
    /// Where clients ask, one a client.
    pub targets: Vec<Target>,
    /// The requests that are no part of the measurement.
    pub warm_up: WarmUp,
    /// The process of a program of the user's, in the guest.
    pid: Option<i32>,
    server: Server,
}

/// What booting takes.
pub(super) struct Boot<'a> {
    pub guests: &'a Guests,
    pub settings: &'a GuestSettings,
    pub apache: Option<&'a Apache>,
}

impl Boot<'_> {
    /// Boots every VM of `experiment` on the measured CPU, without a reservation, calibrates it
    /// there, and starts its web service. Logs are in `folder`.
    ///
    /// # Errors
    /// What did not come up.
    pub fn all(
        &self,
        stage: &mut Stage,
        experiment: &Experiment,
        folder: &Path,
    ) -> Result<Vec<Machine>> {
        let one = |vm: &suite::Vm| {
            let logs = logs_of(folder, experiment, vm);
            fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
            self.one(stage, vm, &logs).map_err(|error| named(experiment, vm, error))
        };
        experiment.vms.iter().map(one).collect()
    }

    fn one(&self, stage: &mut Stage, vm: &suite::Vm, logs: &Path) -> Result<Machine> {
        let network = &self.settings.network;
        let web = vm.services.iter().find_map(suite::Service::web);
        let serving = web.map(|web| Serving::new(web, network)).transpose()?;
        let mut contents = self.guests.contents();
        if let Some(web) = web {
            contents = service::contents(contents, self.apache, web, network)?;
        }
        let card = serving.as_ref().map_or(Network::None, |serving| serving.network.clone());
        let booted = self.guests.boot(stage, self.settings, vm, logs, contents, card)?;
        // On the measured CPU already, so that it is calibrated where it will run.
        mechanism::attach(stage, Mechanism::None, &booted.vm(), &Request::default())?;
        let mut facts = VmFacts { vm: vm.name.clone(), ..VmFacts::default() };
        facts.boot_ns = Some(booted.boot_ns);
        if vm.services.iter().any(|service| !service.tasks().is_empty()) {
            facts.ns_per_iteration = Some(tasks::calibrate_guest(&booted.guest, &stage.stop)?);
        }
        let served = match web.zip(serving) {
            None => None,
            Some((web, serving)) => {
                let started = service::start(&booted.guest, &serving, web, &stage.stop)?;
                let (targets, warm_up, pid) = (started.targets, started.warm_up, started.pid);
                Some(Served { targets, warm_up, pid, server: web.server.clone() })
            }
        };
        let logs = logs.to_owned();
        Ok(Machine { vm: vm.clone(), booted, served, logs, usage: None, begin: None, facts })
    }
}

/// Where the logs of a VM are: in a folder of its own where there are several.
fn logs_of(folder: &Path, experiment: &Experiment, vm: &suite::Vm) -> PathBuf {
    if experiment.vms.len() > 1 { folder.join(&vm.name) } else { folder.to_owned() }
}

/// Of several VMs the one that failed is named.
fn named(experiment: &Experiment, vm: &suite::Vm, error: anyhow::Error) -> anyhow::Error {
    if experiment.vms.len() > 1 { error.context(format!("vm `{}`", vm.name)) } else { error }
}

impl Machine {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.vm.name
    }

    /// Places QEMU's other threads, and puts its vCPUs under the reservation, as `vm` says.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn reserve(&self, stage: &mut Stage, vm: &suite::Vm) -> Result<Option<Attached>> {
        place_emulator(stage, &self.booted.vm(), vm.emulator)?;
        let Some(settings) = vm.reservation() else { return Ok(None) };
        mechanism::attach(stage, settings.mechanism, &self.booted.vm(), &settings.into()).map(Some)
    }

    /// Its clock against the host's, and what its threads have used, as the workload begins.
    ///
    /// # Errors
    /// Where the guest does not answer.
    pub fn begin(&mut self, roots: &Roots, stop: &Stop) -> Result<()> {
        let begin = self.booted.guest.clock_offset(stop.flag())?;
        // Of a machine that is kept, nothing of the repetition before may stand for this one.
        self.facts = VmFacts {
            vm: self.facts.vm.clone(),
            boot_ns: self.facts.boot_ns,
            ns_per_iteration: self.facts.ns_per_iteration,
            guest_clock_offset_ns: Some(begin.offset_ns),
            guest_clock_uncertainty_ns: Some(begin.uncertainty_ns),
            ..VmFacts::default()
        };
        self.begin = Some(begin);
        self.usage = self.booted.usage(roots);
        Ok(())
    }

    /// The same after `elapsed_ns`, as it ends.
    pub fn end(&mut self, roots: &Roots, elapsed_ns: u64, stop: &Stop) {
        self.booted.account(roots, self.usage.take(), elapsed_ns, &mut self.facts);
        if let (Some(begin), Ok(later)) = (self.begin, self.booted.guest.clock_offset(stop.flag()))
        {
            self.facts.guest_clock_drift = later.drift_since(begin);
        }
    }

    /// The clock of its jobs, once it was read.
    pub fn clock(&self) -> Option<ClockMap> {
        let begin = self.begin?;
        let drift = self.facts.guest_clock_drift.unwrap_or(0.0);
        Some(ClockMap { offset_ns: begin.offset_ns, since_ns: begin.at_ns, drift })
    }

    /// Writes the service's log beside the others; one that cannot be kept is no reason to lose the
    /// measurement.
    fn keep_error_log(&self, folder: &Path, stop: &Stop) {
        if let Some(Served { server, .. }) = &self.served {
            let text = service::error_log(&self.booted.guest, server, stop) + "\n";
            let _ = fs::write(folder.join(service::log_name(server)), text);
        }
    }

    /// Why its web service can no longer answer, where its guest or its program has ended.
    ///
    /// # Errors
    /// That reason.
    pub fn still_serves(&self, stop: &Stop) -> Result<()> {
        let guest = &self.booted.guest;
        guest.clock_offset(stop.flag())?;
        self.program_runs(stop)
    }

    fn program_runs(&self, stop: &Stop) -> Result<()> {
        let pid = self.served.as_ref().and_then(|own| own.pid);
        service::still_runs(&self.booted.guest, pid, stop)
    }

    /// Whether the guest holds what `vm` needs; how it is reserved is of no account.
    fn fits(&self, vm: &suite::Vm) -> bool {
        let service = |web: &Web| (web.server.clone(), web.clients, web.port);
        let holds = |vm: &suite::Vm| {
            let tasks = vm.services.iter().any(|service| !service.tasks().is_empty());
            let web = vm.services.iter().find_map(suite::Service::web).map(service);
            (vm.name.clone(), vm.memory_mib, vm.vcpus.len(), tasks, web)
        };
        self.booted.guest.is_alive() && holds(&self.vm) == holds(vm)
    }
}

/// Ends the machines of an attempt; the first of the errors, where one had ended by itself. Who
/// interrupts does not wait for them to power off.
pub(super) fn shutdown(machines: Vec<Machine>, stop: &Stop) -> Result<()> {
    let mut ended = Ok(());
    for machine in machines {
        machine.keep_error_log(&machine.logs, stop);
        let one = match stop.check() {
            Err(_) => Ok(()),
            Ok(()) => machine.booted.guest.shutdown(),
        };
        ended = ended.and(one);
    }
    ended
}

/// Machines that are kept from attempt to attempt.
pub struct Kept {
    machines: Vec<Machine>,
    logs: TempDir,
    running: bool,
    /// Before their threads were placed.
    mark: Mark,
}

impl Kept {
    /// Whether the machines of `experiment` are kept: those of web services alone. Where tasks are
    /// measured a guest is part of the run, and each repetition boots its own.
    pub(super) fn wanted(experiment: &Experiment) -> bool {
        let in_guests: Vec<_> =
            experiment.workloads().into_iter().filter(|own| own.vm.is_some()).collect();
        in_guests.iter().any(|own| own.web().is_some())
            && in_guests.iter().all(|own| own.tasks().is_empty())
    }

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
                    copy_logs(
                        &logs_of(logs.path(), experiment, vm),
                        &logs_of(folder, experiment, vm),
                    );
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
            for machine in &self.machines {
                let guest = &machine.booted.guest;
                if running { guest.resume(stop.flag()) } else { guest.pause(stop.flag()) }?;
            }
            self.running = running;
        }
        Ok(())
    }

    pub(super) fn machines(&mut self) -> &mut [Machine] {
        &mut self.machines
    }

    /// Puts the logs as they are now beside a repetition's samples.
    pub(super) fn keep_logs(&self, experiment: &Experiment, folder: &Path, stop: &Stop) {
        for machine in &self.machines {
            let to = logs_of(folder, experiment, &machine.vm);
            copy_logs(&logs_of(self.logs.path(), experiment, &machine.vm), &to);
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
        let guests = || self.machines.iter().map(|machine| &machine.booted.guest);
        let mut busy = Vec::new();
        for (at, guest) in guests().enumerate() {
            // One after the other: the first has to be busy until the last is.
            let length = PARTING * (self.machines.len() - at) as u32;
            let length = format!("{}ms", length.as_millis());
            let arguments = ["/bin/rtload", "calibrate", "--cpu", "0", "--for", &length];
            busy.push(guest.start(&arguments, &[], stop.flag())?);
        }
        std::thread::sleep(Duration::from_millis(100));
        stage.guard.undo_to(mark)?;
        for (guest, busy) in guests().zip(&busy) {
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
            let _ = machine.booted.guest.shutdown();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_with_tasks_are_part_of_their_repetition_and_not_kept() {
        let kept = |services: &str| {
            let text = format!(
                "name = \"s\"\n[[experiment]]\nname = \"e\"\nduration = \"9s\"\n\
                 [[experiment.vm]]\nname = \"a\"\nvcpus = [{{}}]\nservice = [{services}]\n"
            );
            Kept::wanted(&suite::parse(&text, "s.toml").unwrap().experiments[0])
        };
        assert!(kept("{ web = {} }"));
        assert!(!kept("{ tasks = [\"1ms/9ms\"] }"));
        assert!(!kept("{ web = {} }, { tasks = [\"1ms/9ms\"] }"));
    }
}
