//! An experiment: loads of the host, services on it, and virtual machines with services.
//!
//! This is the only form that anything but [`super::written`] knows.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ClockSource, Emulator, Found, Pause, Place, ReservationSettings, System, WayIn, Web, Work,
    written::{ServiceTable, Table},
    written_vm::VmTable,
};
use crate::{Surge, TaskSet, load::Backlog};

/// What runs where, under which loads and reservations, for how long and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "Table", into = "Table")]
pub struct Experiment {
    /// Unique in the suite; letters, digits, `-` and `_`; names the folder.
    pub name: String,
    /// How long the tasks run.
    pub duration: Duration,
    /// How often.
    pub repetitions: u32,
    /// The host's own load, at most one on each CPU.
    pub loads: Vec<Load>,
    /// What is measured on the host itself, each on a measured CPU.
    pub services: Vec<Service>,
    /// The virtual machines.
    pub vms: Vec<Vm>,
    /// Whether the VMs' threads are traced, where it is otherwise than `host.trace` says.
    pub trace: Option<bool>,
    /// What the tasks' jobs have in common from one machine to another.
    pub work: Work,
    /// When jobs of its tasks take longer or shorter than their execution time.
    pub surge: Option<Surge>,
}

/// Periodic SCHED_FIFO tasks on a CPU of the host, above everything ordinary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Where; the first measured CPU where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// The tasks.
    pub tasks: TaskSet,
    /// What becomes of jobs that could not run in time.
    #[serde(default)]
    pub backlog: Backlog,
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "VmTable", into = "VmTable")]
pub struct Vm {
    /// Unique in the experiment; letters, digits, `-` and `_`.
    pub name: String,
    /// By what it is found, where it runs already; else it is booted for the measurement.
    pub found: Option<Found>,
    /// How programs get into it, where it runs already and something is to run in it.
    pub way_in: Option<WayIn>,
    /// What it boots, unless it runs already.
    pub system: System,
    /// At least one; of a VM that runs already one, which tells of each that it has.
    pub vcpus: Vec<Vcpu>,
    /// Where QEMU's threads other than the vCPUs run.
    pub emulator: Emulator,
    /// Memory in MiB, where it is otherwise than `guest.memory_mib` says.
    pub memory_mib: Option<u32>,
    /// What its kernel reads the time from; its own choice where absent.
    pub clock_source: Option<ClockSource>,
    /// When it stands still, and for how long.
    pub pause: Option<Pause>,
    /// What is measured in it.
    pub services: Vec<Service>,
}

/// A virtual CPU.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vcpu {
    /// Where it runs; the first measured CPU where absent.
    pub cpu: Option<u32>,
    /// What it is guaranteed. The mechanism is the same for all vCPUs of a VM.
    pub reservation: Option<ReservationSettings>,
}

/// What runs: periodic tasks or requests whose response times are measured, or what only disturbs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "ServiceTable", into = "ServiceTable")]
pub struct Service {
    /// Unique in its place; letters, digits, `-` and `_`.
    pub name: String,
    /// Of a service of the host the CPU that it runs on; the first measured CPU where absent.
    pub cpu: Option<u32>,
    /// The vCPU of its VM that it runs on; the first where absent, any for a web service.
    pub vcpu: Option<u32>,
    /// Tasks, a web service, or what only disturbs.
    pub kind: ServiceKind,
}

/// The kinds of services.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceKind {
    /// Periodic tasks, SCHED_FIFO, rate-monotonic.
    Tasks(TaskSet),
    /// A web service and its clients.
    Web(Web),
    /// Nothing that is measured: it asks for all the CPU that its VM can get.
    Wild(Wild),
    /// What its place looks like from inside.
    Probe(Probe),
}

/// What is looked at from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// Clocks and timers: `rtload clock`.
    Clock,
}

impl Probe {
    /// The word in suites.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
        }
    }
}

/// How a guest goes wild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Wild {
    /// A process that never waits.
    Spin,
    /// Processes that start others, which end at once.
    Forks,
}

impl Wild {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Spin, Self::Forks];

    /// The one of this name in suites.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wild| wild.name() == name)
    }

    /// The word in suites.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Forks => "forks",
        }
    }
}

impl Service {
    /// The name of a service of tasks that was given none.
    pub const TASKS: &str = "tasks";
    /// The name of a web service that was given none.
    pub const WEB: &str = "web";
    /// The name of what goes wild, where it was given none.
    pub const WILD: &str = "wild";
    /// The name of a probe that was given none.
    pub const PROBE: &str = "probe";

    /// The periodic tasks; none of a web service.
    #[must_use]
    pub fn tasks(&self) -> &TaskSet {
        match &self.kind {
            ServiceKind::Tasks(tasks) => tasks,
            ServiceKind::Web(_) | ServiceKind::Wild(_) | ServiceKind::Probe(_) => &NO_TASKS,
        }
    }

    /// The web service, if it is one.
    #[must_use]
    pub fn web(&self) -> Option<&Web> {
        match &self.kind {
            ServiceKind::Web(web) => Some(web),
            _ => None,
        }
    }

    /// How its VM goes wild, if it does.
    #[must_use]
    pub fn wild(&self) -> Option<Wild> {
        match self.kind {
            ServiceKind::Wild(wild) => Some(wild),
            _ => None,
        }
    }

    /// What it looks at, if it is a probe.
    #[must_use]
    pub fn probe(&self) -> Option<Probe> {
        match self.kind {
            ServiceKind::Probe(probe) => Some(probe),
            _ => None,
        }
    }
}

impl Load {
    /// The name of a file of this load in an attempt's folder: with its CPU where there are several.
    #[must_use]
    pub fn file(&self, experiment: &Experiment, name: &str) -> String {
        match self.cpu.filter(|_| experiment.loads.len() > 1) {
            Some(cpu) => format!("load-{cpu}-{name}"),
            None => format!("load-{name}"),
        }
    }
}

static NO_TASKS: TaskSet = TaskSet(Vec::new());

impl Vm {
    /// The name of the only VM of an experiment that gives it none.
    pub const NAME: &str = "vm";

    /// What its first vCPU that is guaranteed something is guaranteed; mechanism and placement are those
    /// of all.
    #[must_use]
    pub fn reservation(&self) -> Option<&ReservationSettings> {
        self.reservations().next()
    }

    /// What its vCPUs are guaranteed, without those that have no reservation.
    pub fn reservations(&self) -> impl Iterator<Item = &ReservationSettings> {
        self.vcpus.iter().filter_map(|vcpu| vcpu.reservation.as_ref())
    }
}

/// One service with the place in which it runs: what samples, analyses and figures are of.
#[derive(Debug, Clone, Copy)]
pub struct Workload<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The VM that it runs in; none on the host.
    pub vm: Option<&'a Vm>,
    /// The service; none of a VM in which nothing is measured.
    pub service: Option<&'a Service>,
}

impl Experiment {
    /// Its only workload; none where there are several.
    #[must_use]
    pub fn only(&self) -> Option<Workload<'_>> {
        let workloads = self.workloads();
        if workloads.len() == 1 { workloads.first().copied() } else { None }
    }

    /// Its services, those of the host first; a VM without any is there as well.
    #[must_use]
    pub fn workloads(&self) -> Vec<Workload<'_>> {
        let of = |vm, service| Workload { experiment: self, vm, service };
        let host = self.services.iter().map(|service| of(None, Some(service)));
        let guests = self.vms.iter().flat_map(|vm| {
            let services = vm.services.iter().map(move |service| of(Some(vm), Some(service)));
            let idle = vm.services.is_empty().then(|| of(Some(vm), None));
            services.chain(idle)
        });
        host.chain(guests).collect()
    }
}

impl<'a> Workload<'a> {
    /// Host or guest.
    #[must_use]
    pub fn place(self) -> Place {
        if self.vm.is_some() { Place::Guest } else { Place::Host }
    }

    /// The periodic tasks; none of a web service.
    #[must_use]
    pub fn tasks(self) -> &'a TaskSet {
        self.service.map_or(&NO_TASKS, Service::tasks)
    }

    /// The same with the greatest execution times that they ever have.
    #[must_use]
    pub fn greatest_tasks(self) -> Cow<'a, TaskSet> {
        let surge = self.experiment.surge;
        let greatest = surge.and_then(|surge| surge.greatest(self.tasks()).ok());
        greatest.map_or(Cow::Borrowed(self.tasks()), Cow::Owned)
    }

    /// The web service, if it is one.
    #[must_use]
    pub fn web(self) -> Option<&'a Web> {
        self.service?.web()
    }

    /// What is looked at from inside, if it is a probe.
    #[must_use]
    pub fn probe(self) -> Option<Probe> {
        self.service?.probe()
    }

    /// Whether response times are measured.
    #[must_use]
    pub fn measures(self) -> bool {
        !self.tasks().is_empty() || self.web().is_some()
    }

    /// The number of the vCPU under it; none on the host, and of a web service, which any vCPU of its VM
    /// serves.
    #[must_use]
    pub fn vcpu(self) -> Option<u32> {
        let service = self.service.filter(|_| self.vm.is_some() && self.web().is_none())?;
        Some(service.vcpu.unwrap_or(0))
    }

    /// On which vCPU of which VM it runs; of two in the same place nothing here orders the tasks.
    #[must_use]
    pub fn place_in_guest(self) -> Option<(&'a str, u32)> {
        Some((self.vm?.name.as_str(), self.vcpu().unwrap_or(0)))
    }

    /// What the vCPU under it is guaranteed: of a web service, and of a VM in which nothing is measured,
    /// the first that is guaranteed something.
    #[must_use]
    pub fn reservation(self) -> Option<&'a ReservationSettings> {
        let vm = self.vm?;
        match self.vcpu() {
            Some(vcpu) => vm.vcpus.get(vcpu as usize)?.reservation.as_ref(),
            None => vm.reservation(),
        }
    }

    /// What it is called where there may be several: as the experiment where it is its only one,
    /// else `experiment.vm` and, where the VM has several services, `experiment.vm.service`. No
    /// name of an experiment has a dot.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = self.experiment.name.clone();
        if self.experiment.only().is_some() {
            return name;
        }
        let several = self.vm.is_none_or(|vm| vm.services.len() > 1);
        let service = self.service.filter(|_| several).map(|service| &service.name);
        for part in self.vm.map(|vm| &vm.name).into_iter().chain(service) {
            name.push('.');
            name.push_str(part);
        }
        name
    }

    /// The CPUs of the host that it runs on, each once: those of all vCPUs where it has none of its
    /// own. None is the measured CPU of a suite that names no CPU.
    #[must_use]
    pub fn cpus(self) -> Vec<Option<u32>> {
        let Some(vm) = self.vm else { return vec![self.service.and_then(|own| own.cpu)] };
        let own = self.vcpu().and_then(|vcpu| vm.vcpus.get(vcpu as usize));
        let vcpus = own.map_or(&vm.vcpus[..], std::slice::from_ref);
        let mut cpus = Vec::new();
        for vcpu in vcpus {
            if !cpus.contains(&vcpu.cpu) {
                cpus.push(vcpu.cpu);
            }
        }
        cpus
    }

    /// The first of them.
    #[must_use]
    pub fn cpu(self) -> Option<u32> {
        self.cpus().first().copied().flatten()
    }

    /// The host's load on the CPU that it runs on.
    #[must_use]
    pub fn load(self) -> Option<&'a Load> {
        let cpus = self.cpus();
        self.experiment.loads.iter().find(|load| cpus.contains(&load.cpu))
    }

    /// Where QEMU's other threads run.
    #[must_use]
    pub fn emulator(self) -> Emulator {
        self.vm.map_or_else(Emulator::default, |vm| vm.emulator)
    }

    /// Whether nothing else runs on its CPU, and nothing is reserved.
    #[must_use]
    pub fn is_free(self) -> bool {
        self.load().is_none()
            && self.reservation().is_none()
            && self.experiment.only().is_some()
            && self.vm.is_none_or(|vm| vm.vcpus.len() == 1)
    }

    /// The other VMs of its experiment that have a vCPU on a CPU that it runs on.
    pub fn neighbours(self) -> impl Iterator<Item = &'a Vm> {
        let (own, cpus) = (self.vm.map(|vm| vm.name.as_str()), self.cpus());
        let here = move |vm: &&Vm| vm.vcpus.iter().any(|vcpu| cpus.contains(&vcpu.cpu));
        self.experiment.vms.iter().filter(move |vm| Some(vm.name.as_str()) != own).filter(here)
    }
}
