//! An experiment as it is written: in general, or in the short form of one service in one place.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Emulator, Experiment, KernelChoice, Place, Probe, ReservationSettings, Service, ServiceKind,
    System, Vcpu, Vm, Web, Wild, Work, written_loads::Loads, written_reservation::Length,
};
use crate::{Surge, TaskSet, duration};

/// An `[[experiment]]`: with `where`, the short form; else the general one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// Unique in the suite; letters, digits, `-` and `_`; names the folder.
    name: String,
    /// Host or guest; in the short form alone, of one service in one place.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// The periodic tasks whose response times are measured, SCHED_FIFO, rate-monotonic.
    #[serde(default, skip_serializing_if = "TaskSet::is_empty")]
    tasks: TaskSet,
    /// The service whose response times are measured, in place of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    web: Option<Web>,
    /// What is looked at from inside, in place of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probe: Option<Probe>,
    /// How long tasks are released, a probe looks, and clients go on that have no last request.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(default = "default_duration", with = "duration")]
    duration: Duration,
    /// How often.
    #[serde(default = "default_repetitions")]
    repetitions: u32,
    /// The host's load: one, or a list with at most one on each measured CPU.
    #[serde(default, skip_serializing_if = "Loads::is_empty")]
    load: Loads,
    /// What the virtual machine is guaranteed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reservation: Option<ReservationSettings>,
    /// Where QEMU's threads other than the vCPUs run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emulator: Option<Emulator>,
    /// A disk image of your own that the guest boots, in place of the bench's guest; relative to this
    /// file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk: Option<PathBuf>,
    /// The kernel of the bench's guest: `cloud`, `rt`, `backports` or a file vmlinuz-RELEASE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kernel: Option<KernelChoice>,
    /// How long the system on `disk` may take to start, at most 1 h; 10 min where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_within: Option<Length>,
    /// Whether the VMs' threads are traced, where it is otherwise than `host.trace` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<bool>,
    /// What the tasks' jobs have in common from one machine to another.
    #[serde(default, skip_serializing_if = "Work::is_default")]
    work: Work,
    /// When jobs of the tasks take so many times their execution time, from one instant to another:
    /// `10s..20s*2`.
    #[cfg_attr(test, schemars(with = "Option<crate::suite::schema::SurgeText>"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    surge: Option<Surge>,
    /// What is measured on the host itself; in the general form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    service: Vec<Service>,
    /// The virtual machines; in the general form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    vm: Vec<Vm>,
}

fn default_duration() -> Duration {
    Duration::from_secs(30)
}

fn default_repetitions() -> u32 {
    1
}

impl TryFrom<Table> for Experiment {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let name = table.name.clone();
        let (services, vms) = match table.place {
            Some(place) => table.short(place),
            None => table.general(),
        }
        .map_err(|message| format!("experiment `{name}`: {message}"))?;
        let Table { name, duration, repetitions, load: Loads(loads), trace, work, surge, .. } =
            table;
        Ok(Self { name, duration, repetitions, loads, services, vms, trace, work, surge })
    }
}

impl Table {
    /// One place with one service.
    fn short(&self, place: Place) -> Result<(Vec<Service>, Vec<Vm>), String> {
        if !self.vm.is_empty() || !self.service.is_empty() {
            return Err("keys `where` and `vm` or `service`: give `where` for one service in one \
                        place, or lists of VMs and services without it"
                .to_owned());
        }
        let web = self.web.clone().map(|mut web| {
            web.requests.get_or_insert(Web::REQUESTS);
            web
        });
        let services =
            one_service(None, &self.tasks, web.as_ref(), self.probe)?.into_iter().collect();
        match (place, &self.reservation) {
            (Place::Host, Some(_)) => {
                Err("key `reservation`: a reservation is for a VM; use `where = \"guest\"`"
                    .to_owned())
            }
            (Place::Host, None) => match self.of_a_vm() {
                Some(key) => Err(format!("key `{key}` is for a VM; use `where = \"guest\"`")),
                None => Ok((services, Vec::new())),
            },
            (Place::Guest, reservation) => {
                let vcpu = Vcpu { cpu: None, reservation: reservation.clone() };
                let vm = Vm {
                    name: Vm::NAME.to_owned(),
                    found: None,
                    way_in: None,
                    system: System::of(
                        self.disk.clone(),
                        self.kernel.clone(),
                        self.boot_within.map(|Length(own)| own),
                    )?,
                    vcpus: vec![vcpu],
                    emulator: self.emulator.unwrap_or_default(),
                    memory_mib: None,
                    clock_source: None,
                    pause: None,
                    services,
                };
                Ok((Vec::new(), vec![vm]))
            }
        }
    }

    /// The first key that says what a VM boots.
    fn of_a_vm(&self) -> Option<&'static str> {
        let keys = [
            ("disk", self.disk.is_some()),
            ("kernel", self.kernel.is_some()),
            ("boot_within", self.boot_within.is_some()),
        ];
        keys.into_iter().find(|(_, given)| *given).map(|(key, _)| key)
    }

    fn general(&self) -> Result<(Vec<Service>, Vec<Vm>), String> {
        let short = [
            ("tasks", !self.tasks.is_empty()),
            ("web", self.web.is_some()),
            ("probe", self.probe.is_some()),
            ("reservation", self.reservation.is_some()),
            ("emulator", self.emulator.is_some()),
        ];
        let given = short.iter().find(|(_, given)| *given).map(|(key, _)| *key);
        if let Some(key) = given.or_else(|| self.of_a_vm()) {
            return Err(format!(
                "key `{key}` belongs to `where = \"host\"` or `\"guest\"`, which is missing; or \
                 put it into a [[experiment.vm]] or [[experiment.service]]"
            ));
        }
        if self.vm.is_empty() && self.service.is_empty() {
            return Err("key `where` is missing; give `where = \"host\"` or `\"guest\"`, or a \
                        [[experiment.vm]] or [[experiment.service]]"
                .to_owned());
        }
        Ok((self.service.clone(), self.vm.clone()))
    }
}

impl From<Experiment> for Table {
    fn from(own: Experiment) -> Self {
        Self {
            name: own.name,
            place: None,
            tasks: TaskSet::default(),
            web: None,
            probe: None,
            duration: own.duration,
            repetitions: own.repetitions,
            load: Loads(own.loads),
            reservation: None,
            emulator: None,
            disk: None,
            kernel: None,
            boot_within: None,
            trace: own.trace,
            work: own.work,
            surge: own.surge,
            service: own.services,
            vm: own.vms,
        }
    }
}

/// Tasks or a web service, one of the two; its kind is its name where it has none.
fn one_service(
    name: Option<&str>,
    tasks: &TaskSet,
    web: Option<&Web>,
    probe: Option<Probe>,
) -> Result<Option<Service>, String> {
    let (usual, kind) = match (tasks.is_empty(), web, probe) {
        (true, None, None) => return Ok(None),
        (false, None, None) => (Service::TASKS, ServiceKind::Tasks(tasks.clone())),
        (true, Some(web), None) => (Service::WEB, ServiceKind::Web(web.clone())),
        (true, None, Some(probe)) => (Service::PROBE, ServiceKind::Probe(probe)),
        (false, Some(_), None) => {
            return Err("keys `tasks` and `web`: a service is one or the other".to_owned());
        }
        (.., Some(_)) => {
            return Err("key `probe`: a service is one of `tasks`, `web` and `probe`".to_owned());
        }
    };
    let name = name.unwrap_or(usual).to_owned();
    Ok(Some(Service { name, cpu: None, vcpu: None, kind }))
}

/// A `[[experiment.service]]` or an entry of a VM's `service`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceTable {
    /// Unique in its place; `tasks`, `web`, `wild` or `probe` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Of a service of the host the CPU that it runs on; the first measured CPU where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu: Option<u32>,
    /// The vCPU of its VM that it runs on, counted from 0; the first where absent. Not of a web service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vcpu: Option<u32>,
    /// The periodic tasks whose response times are measured, SCHED_FIFO, rate-monotonic.
    #[serde(default, skip_serializing_if = "TaskSet::is_empty")]
    tasks: TaskSet,
    /// The service whose response times are measured, in place of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    web: Option<Web>,
    /// Nothing that is measured: it takes all the CPU that its VM can get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wild: Option<Wild>,
    /// What is looked at from inside: clocks and timers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probe: Option<Probe>,
}

impl TryFrom<ServiceTable> for Service {
    type Error = String;

    fn try_from(table: ServiceTable) -> Result<Self, String> {
        let own =
            one_service(table.name.as_deref(), &table.tasks, table.web.as_ref(), table.probe)?;
        let wild = table.wild.map(|wild| Self {
            name: table.name.clone().unwrap_or_else(|| Self::WILD.to_owned()),
            cpu: None,
            vcpu: None,
            kind: ServiceKind::Wild(wild),
        });
        match (own, wild) {
            (Some(_), Some(_)) => {
                Err("key `wild`: a service is one of `tasks`, `web`, `wild` and `probe`".to_owned())
            }
            (own, wild) => own
                .or(wild)
                .map(|own| Self { cpu: table.cpu, vcpu: table.vcpu, ..own })
                .ok_or_else(|| "a service has `tasks`, `web`, `wild` or `probe`".to_owned()),
        }
    }
}

impl From<Service> for ServiceTable {
    fn from(own: Service) -> Self {
        let mut table = Self {
            name: Some(own.name),
            cpu: own.cpu,
            vcpu: own.vcpu,
            tasks: TaskSet::default(),
            web: None,
            wild: None,
            probe: None,
        };
        match own.kind {
            ServiceKind::Tasks(tasks) => table.tasks = tasks,
            ServiceKind::Web(web) => table.web = Some(web),
            ServiceKind::Wild(wild) => table.wild = Some(wild),
            ServiceKind::Probe(probe) => table.probe = Some(probe),
        }
        table
    }
}
