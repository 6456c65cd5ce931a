//! Who gets which share of a measured CPU in SCHED_DEADLINE, and what the host's real-time tasks take.

use std::time::Duration;

use model::{
    Mechanism, Placement, Reservation, TaskSet,
    suite::{Emulator, Experiment, ReservationSettings, Vm},
};

use crate::{host::Cpus, mechanism::timer_server::enforcer};

/// One of the measured CPUs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub cpus: &'a Cpus,
    pub cpu: u32,
}

impl Place<'_> {
    /// Whether what a suite puts on this CPU, or on none, is here.
    fn has(self, named: Option<u32>) -> bool {
        self.cpus.of(named) == self.cpu
    }
}

/// Shares of a measured CPU that a VM of an experiment reserves in SCHED_DEADLINE.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    /// The VM.
    name: String,
    /// Of its vCPUs there.
    reservations: Vec<Reservation>,
    vcpus: f64,
    /// The controlling thread of `timer-server`.
    controller: f64,
    emulator: f64,
}

impl Shares {
    /// One for each VM that reserves something there.
    pub fn of(experiment: &Experiment, place: Place) -> Vec<Self> {
        let several = share_by_weight(experiment, place);
        experiment.vms.iter().filter_map(|vm| Self::of_vm(vm, place, several)).collect()
    }

    /// Where `several` VMs share by weight, each surely has its least budget alone.
    pub fn of_vm(vm: &Vm, place: Place, several: bool) -> Option<Self> {
        let off = vm.reservation().and_then(|own| own.placement) == Some(Placement::AdmissionOff);
        if off {
            return None;
        }
        let here = |own: &Option<u32>| place.has(*own);
        // QEMU's other threads are where its first vCPU is.
        let emulator = match vm.emulator {
            Emulator::Reserved(own) if vm.vcpus.first().is_some_and(|own| here(&own.cpu)) => {
                share(own.budget, own.period)
            }
            _ => 0.0,
        };
        let admitted = |own: &&ReservationSettings| own.mechanism.is_deadline() && !stays(vm);
        let vcpus = vm.vcpus.iter().filter(|vcpu| here(&vcpu.cpu));
        let settings: Vec<_> =
            vcpus.filter_map(|vcpu| vcpu.reservation.as_ref()).filter(admitted).collect();
        let controllers = settings.iter().filter(|own| own.mechanism == Mechanism::TimerServer);
        let controller = controllers
            .map(|own| enforcer::own_reservation(own.reservation()))
            .map(|(budget, period)| share(budget, period))
            .sum();
        let counted = |own: &&ReservationSettings| {
            let law = own.control.filter(|_| several);
            let least = law.and_then(|law| Reservation::new(law.min, own.period).ok());
            least.unwrap_or_else(|| own.reservation())
        };
        let reservations: Vec<_> = settings.iter().map(counted).collect();
        let vcpus = reservations.iter().map(|own| own.bandwidth()).sum();
        let own = Self { name: vm.name.clone(), reservations, vcpus, controller, emulator };
        (own.all() > 0.0).then_some(own)
    }

    pub fn all(&self) -> f64 {
        self.vcpus + self.controller + self.emulator
    }

    /// What does not adapt, where `adapts` says whether the vCPUs' part does.
    pub fn fixed(&self, adapts: bool) -> f64 {
        if adapts { self.emulator } else { self.all() }
    }

    /// The VM's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the parts are, for an error.
    pub fn parts(&self) -> String {
        let mut text = format!("vm `{}`", self.name);
        let own: Vec<_> = self.reservations.iter().map(Reservation::to_string).collect();
        if !own.is_empty() {
            text += &format!(" {} {:.3}", own.join(" and "), self.vcpus);
        }
        for (what, part) in [("controlling thread", self.controller), ("emulator", self.emulator)] {
            if part > 0.0 {
                text += &format!(", its {what} {part:.3}");
            }
        }
        text
    }
}

/// Whether the budget of a VM adapts that is there.
pub(super) fn adapts(vm: &Vm, place: Place) -> bool {
    let mut there = vm.vcpus.iter().filter(|vcpu| place.has(vcpu.cpu));
    there.any(|vcpu| vcpu.reservation.as_ref().is_some_and(|own| own.control.is_some()))
}

/// Whether several VMs there have budgets that adapt: they share what there is.
pub(super) fn share_by_weight(experiment: &Experiment, place: Place) -> bool {
    experiment.vms.iter().filter(|vm| adapts(vm, place)).count() > 1
}

/// What else goes before ordinary threads there, each with what it is: the host's tasks, and vCPUs
/// whose mechanism is no reservation that the kernel admits.
pub(super) fn real_time(experiment: &Experiment, place: Place) -> Vec<(String, f64)> {
    let utilisation = |tasks: &TaskSet| -> f64 {
        tasks.iter().map(|task| share(task.execution(), task.period())).sum()
    };
    let loads = experiment.loads.iter().filter(|load| place.has(load.cpu));
    let loads = loads.map(|load| ("load".to_owned(), utilisation(&load.tasks)));
    let host = experiment.workloads().into_iter().filter(|own| own.vm.is_none());
    let host = host.filter(|own| place.has(own.cpu()) && !own.tasks().is_empty());
    let host = host.map(|own| {
        let name = own.service.map_or("tasks", |service| &service.name);
        (format!("service `{name}`"), utilisation(&own.greatest_tasks()))
    });
    let vms = experiment.vms.iter().map(|vm| {
        let vcpus = vm.vcpus.iter().filter(|vcpu| place.has(vcpu.cpu));
        let taken = vcpus.filter_map(|vcpu| vcpu.reservation.as_ref()).map(beyond).sum();
        (format!("vm `{}`", vm.name), taken)
    });
    loads.chain(host).chain(vms).filter(|(_, share)| *share > 0.0).collect()
}

/// What a vCPU may take before ordinary threads beyond what [`Shares`] counts.
fn beyond(own: &ReservationSettings) -> f64 {
    let bandwidth = own.reservation().bandwidth();
    match own.mechanism {
        // Nothing ends what they take.
        Mechanism::FifoAbove | Mechanism::FifoBelow => 1.0,
        Mechanism::DeadlineReclaim => 1.0 - bandwidth,
        Mechanism::RtGroup => bandwidth,
        Mechanism::Deadline | Mechanism::TimerServer
            if own.placement == Some(Placement::AdmissionOff) =>
        {
            bandwidth
        }
        _ => 0.0,
    }
}

pub(super) fn share(budget: Duration, period: Duration) -> f64 {
    budget.as_secs_f64() / period.as_secs_f64()
}

/// Whether a VM that runs already is not moved into the partition of its measured CPU.
pub(super) fn stays(vm: &Vm) -> bool {
    let placement = vm.reservation().and_then(|own| own.placement).unwrap_or_default();
    vm.found.is_some() && placement != Placement::Partition
}
