//! The virtual machines of an attempt: guests from their boot to their end, and those that run
//! already from where they are found to where they are left alone again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use kernel::affinity::Tid;
use model::{
    Mechanism,
    manifest::VmFacts,
    suite::{self, Experiment, Found, GuestSettings, ReservationSettings, Vcpu},
};

use super::{
    guest_clock::{GuestClock, JobsClock},
    served::Served,
    tasks,
    theirs::{self, Theirs},
    warm,
};
use crate::{
    enter::Entered,
    guest::{ClockOffset, Guest, Inside, Network},
    guests::{Booted, Guests, Usage},
    host::{Roots, Stage, Stop},
    mechanism::{self, Attached, Request, place_emulator},
    service::{self, Apache, Serving},
};

/// A virtual machine of an experiment.
pub(super) struct Machine {
    /// As the suite said where it was booted.
    vm: suite::Vm,
    body: Body,
    /// Its web service, where it has one.
    pub served: Option<Served>,
    /// Where its logs are written.
    logs: PathBuf,
    usage: Option<Usage>,
    clock: Option<GuestClock>,
    /// For the manifest.
    pub facts: VmFacts,
    /// What the report should know of its boot.
    pub warnings: Vec<String>,
}

/// Whose it is.
enum Body {
    /// The running guest.
    Ours(Box<Booted>),
    /// With the bench's programs in it, where something is to run there.
    Theirs(Theirs, Option<Box<Entered>>),
}

/// What booting takes.
pub(super) struct Boot<'a> {
    /// None where every VM runs already.
    pub guests: Option<&'a Guests>,
    pub settings: &'a GuestSettings,
    pub apache: Option<&'a Apache>,
}

impl Boot<'_> {
    /// Boots every VM of `experiment` on its measured CPUs, without a reservation, calibrates it
    /// there, and starts its web service; one that runs already is found. Logs are in `folder`.
    ///
    /// # Errors
    /// What did not come up, or is not there.
    pub fn all(
        &self,
        stage: &mut Stage,
        experiment: &Experiment,
        folder: &Path,
    ) -> Result<Vec<Machine>> {
        let one = |vm: &suite::Vm| {
            let logs = logs_of(folder, experiment, &vm.name);
            fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
            let machine = match &vm.found {
                Some(found) => Machine::found(stage, vm, found, &logs),
                None => self.one(stage, vm, &logs),
            };
            machine.map_err(|error| named(experiment, vm, error))
        };
        experiment.vms.iter().map(one).collect()
    }

    fn one(&self, stage: &mut Stage, vm: &suite::Vm, logs: &Path) -> Result<Machine> {
        let network = &self.settings.network;
        let web = vm.services.iter().find_map(suite::Service::web);
        let serving = web.map(|web| Serving::new(web, network)).transpose()?;
        let guests = self.guests.context("the plan has no guests")?;
        let mut contents = guests.contents();
        if let Some(web) = web {
            contents = service::contents(contents, self.apache, web, network)?;
        }
        let card = serving.as_ref().map_or(Network::None, |serving| serving.network.clone());
        let booted = guests.boot(stage, self.settings, vm, logs, contents, card)?;
        // On its measured CPUs already, so that it is calibrated where it will run.
        for (threads, vcpu) in each(&booted.vm(), vm)? {
            let request = Request { cpu: vcpu.cpu, ..Request::default() };
            mechanism::attach(stage, Mechanism::None, &threads, &request)?;
        }
        let mut facts = VmFacts { vm: vm.name.clone(), ..VmFacts::default() };
        facts.boot_ns = Some(booted.boot_ns);
        facts.kernel = Some(booted.guest.hello.kernel.clone());
        facts.clock_source.clone_from(&booted.guest.hello.clock_source);
        let warnings = booted.warnings.clone();
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
        let (vm, body) = (vm.clone(), Body::Ours(Box::new(booted)));
        Ok(Machine { vm, body, served, logs, usage: None, clock: None, facts, warnings })
    }
}

/// The thread of each vCPU, with what the suite says of that.
fn each<'a>(threads: &mechanism::Vm, vm: &'a suite::Vm) -> Result<Vec<(mechanism::Vm, &'a Vcpu)>> {
    anyhow::ensure!(
        threads.vcpus.len() == vm.vcpus.len(),
        "vm `{}` has {} vCPUs, and QEMU runs them in {} threads",
        vm.name,
        vm.vcpus.len(),
        threads.vcpus.len()
    );
    let alone = |&tid: &Tid| mechanism::Vm { pid: threads.pid, vcpus: vec![tid] };
    Ok(threads.vcpus.iter().map(alone).zip(&vm.vcpus).collect())
}

/// Where the logs of a VM are: in a folder of its own where there are several.
pub(super) fn logs_of(folder: &Path, experiment: &Experiment, vm: &str) -> PathBuf {
    if experiment.vms.len() > 1 { folder.join(vm) } else { folder.to_owned() }
}

/// Of several VMs the one that failed is named.
fn named(experiment: &Experiment, vm: &suite::Vm, error: anyhow::Error) -> anyhow::Error {
    if experiment.vms.len() > 1 { error.context(format!("vm `{}`", vm.name)) } else { error }
}

impl Machine {
    /// One that runs already, on its measured CPU where that has a partition.
    fn found(stage: &mut Stage, vm: &suite::Vm, found: &Found, logs: &Path) -> Result<Self> {
        let theirs = Theirs::find(found, &stage.roots, &stage.stop)?;
        theirs.place(stage, vm)?;
        let served = theirs::served(vm, &theirs, &stage.roots, &stage.stop)?;
        let entered = theirs.enter(vm, logs, &stage.stop)?;
        let mut facts = VmFacts { vm: vm.name.clone(), ..VmFacts::default() };
        if let Some(inside) = &entered {
            facts.way_in = vm.way_in.as_ref().map(|way| way.name().to_owned());
            facts.kernel = Some(inside.hello.kernel.clone());
            facts.clock_source.clone_from(&inside.hello.clock_source);
            if vm.services.iter().any(|service| !service.tasks().is_empty()) {
                facts.ns_per_iteration = Some(tasks::calibrate_guest(inside, &stage.stop)?);
            }
        }
        let body = Body::Theirs(theirs, entered.map(Box::new));
        let (vm, logs, warnings) = (vm.clone(), logs.to_owned(), Vec::new());
        Ok(Self { vm, body, served, logs, usage: None, clock: None, facts, warnings })
    }

    /// The guest that was booted; none of a VM that runs already.
    pub fn guest(&self) -> Option<&Guest> {
        match &self.body {
            Body::Ours(booted) => Some(&booted.guest),
            Body::Theirs(..) => None,
        }
    }

    /// Where programs run: none of a VM that runs already and that nothing entered.
    pub fn inside(&self) -> Option<&Inside> {
        match &self.body {
            Body::Ours(booted) => Some(&booted.guest),
            Body::Theirs(_, entered) => entered.as_deref().map(|entered| &**entered),
        }
    }

    /// The threads that a mechanism attaches.
    pub fn threads(&self) -> mechanism::Vm {
        match &self.body {
            Body::Ours(booted) => booted.vm(),
            Body::Theirs(theirs, _) => theirs.vm.clone(),
        }
    }

    /// Fails once a VM that ran already has ended; a guest tells so by itself.
    ///
    /// # Errors
    /// Which VM that is.
    pub fn still_there(&self, roots: &Roots) -> Result<()> {
        match &self.body {
            Body::Ours(_) => Ok(()),
            Body::Theirs(theirs, _) => theirs.still_there(roots),
        }
    }

    /// Ends the guest; a VM that runs already goes on, without the bench's programs.
    ///
    /// # Errors
    /// Where it had ended before, or something was left in it.
    pub fn shutdown(self) -> Result<()> {
        match self.body {
            Body::Ours(booted) => booted.guest.shutdown(),
            Body::Theirs(_, entered) => entered.map_or(Ok(()), |entered| entered.leave()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.vm.name
    }

    /// Places QEMU's other threads, and puts its vCPUs under the reservation, as `vm` says.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn reserve(&self, stage: &mut Stage, vm: &suite::Vm) -> Result<Vec<Attached>> {
        if let Body::Theirs(theirs, _) = &self.body {
            return Ok(theirs.reserve(stage, vm)?.into_iter().collect());
        }
        let threads = self.threads();
        place_emulator(stage, &threads, vm.emulator, vm.vcpus.first().and_then(|own| own.cpu))?;
        // Each vCPU has a reservation of its own.
        let reserved = each(&threads, vm)?.into_iter();
        let reserved =
            reserved.filter_map(|(own, vcpu)| Some((own, vcpu, vcpu.reservation.as_ref()?)));
        let attach = |(own, vcpu, settings): (mechanism::Vm, &Vcpu, &ReservationSettings)| {
            let request = Request { cpu: vcpu.cpu, ..settings.into() };
            mechanism::attach(stage, settings.mechanism, &own, &request)
        };
        reserved.map(attach).collect()
    }

    /// Its clock against the host's, and what its threads have used, as the workload begins.
    ///
    /// # Errors
    /// Where the guest does not answer.
    pub fn begin(&mut self, roots: &Roots, stop: &Stop) -> Result<()> {
        let clock = self.inside().map(|inside| inside.clock_offset(stop.flag())).transpose()?;
        // Of a machine that is kept, nothing of the repetition before may stand for this one.
        self.facts = VmFacts {
            vm: self.facts.vm.clone(),
            boot_ns: self.facts.boot_ns,
            kernel: self.facts.kernel.clone(),
            clock_source: self.facts.clock_source.clone(),
            way_in: self.facts.way_in.clone(),
            ns_per_iteration: self.facts.ns_per_iteration,
            guest_clock_offset_ns: clock.map(|own| own.offset_ns),
            guest_clock_uncertainty_ns: clock.map(|own| own.uncertainty_ns),
            ..VmFacts::default()
        };
        self.clock = clock.map(GuestClock::at);
        self.usage = match &self.body {
            Body::Ours(booted) => booted.usage(roots),
            // The guest answers first: what that takes belongs to no workload.
            Body::Theirs(theirs, entered) => {
                theirs.usage(roots, theirs.guest_steal_ns(entered.as_deref()))
            }
        };
        Ok(())
    }

    /// The same after `elapsed_ns`, as it ends.
    pub fn end(&mut self, roots: &Roots, elapsed_ns: u64, stop: &Stop) {
        let before = self.usage.take();
        match &self.body {
            Body::Ours(booted) => booted.account(roots, before, elapsed_ns, &mut self.facts),
            Body::Theirs(theirs, entered) => {
                if let Some((before, now)) = before.zip(theirs.usage(roots, None)) {
                    let steal_ns = theirs.guest_steal_ns(entered.as_deref());
                    now.with_guest(steal_ns).account(before, elapsed_ns, &mut self.facts);
                }
            }
        }
        let later = self.inside().and_then(|inside| inside.clock_offset(stop.flag()).ok());
        self.clock = self.clock.map(|clock| clock.until(later, elapsed_ns));
        self.facts.guest_clock_drift = self.clock.as_ref().and_then(GuestClock::drift);
    }

    /// The clock of its jobs, once it was read.
    pub fn clock(&self) -> Option<JobsClock> {
        self.clock.as_ref().map(GuestClock::of_jobs)
    }

    /// Its clock against the host's as the workload began, once it was read.
    pub fn clock_at_begin(&self) -> Option<ClockOffset> {
        self.clock.map(|clock| clock.begin)
    }

    /// Writes the service's log beside the others; one that cannot be kept is no reason to lose the
    /// measurement.
    pub fn keep_error_log(&self, folder: &Path, stop: &Stop) {
        if let Some((Served { server, .. }, guest)) = self.served.as_ref().zip(self.guest()) {
            let text = service::error_log(guest, server, stop) + "\n";
            let _ = fs::write(folder.join(service::log_name(server)), text);
        }
    }

    /// Why its web service can no longer answer, where its guest or its program has ended.
    ///
    /// # Errors
    /// That reason.
    pub fn still_serves(&self, roots: &Roots, stop: &Stop) -> Result<()> {
        self.still_there(roots)?;
        self.inside().map(|inside| inside.clock_offset(stop.flag())).transpose()?;
        self.program_runs(stop)
    }

    /// Fails once a program of the user's has ended in its guest.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn program_runs(&self, stop: &Stop) -> Result<()> {
        let pid = self.served.as_ref().and_then(|own| own.pid);
        self.guest().map_or(Ok(()), |guest| service::still_runs(guest, pid, stop))
    }

    /// Whether the guest holds what `vm` needs; how it is reserved is of no account.
    pub fn fits(&self, vm: &suite::Vm) -> bool {
        self.guest().is_some_and(Guest::is_alive) && warm::is_same(&self.vm, vm)
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
            Ok(()) => machine.shutdown(),
        };
        ended = ended.and(one);
    }
    ended
}
