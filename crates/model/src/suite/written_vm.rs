//! A virtual machine as it is written.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ClockSource, Emulator, Found, KernelChoice, Pause, Service, Ssh, System, Vcpu, Vm, WayIn,
    written_reservation::{Enforced, Length, Share},
};
use crate::{
    Mechanism, Placement,
    control::{Law, WEIGHT},
    duration,
};

/// A `[[experiment.vm]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct VmTable {
    /// Unique in the experiment; letters, digits, `-` and `_`.
    name: String,
    /// A VM that runs already: the name of its libvirt domain. It is left as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    libvirt: Option<String>,
    /// A VM that runs already: its QMP socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    qmp: Option<PathBuf>,
    /// A VM that runs already: its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    /// How programs enter a VM that `qmp` or `pid` finds: the socket of its QEMU that leads to QEMU's
    /// guest agent. A libvirt domain has it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<PathBuf>,
    /// How programs enter a VM that runs already: SSH with a key, `"user@host:port"` or a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ssh: Option<Ssh>,
    /// A disk image of your own that it boots, in place of the bench's guest; relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk: Option<PathBuf>,
    /// The kernel of the bench's guest: `cloud`, `rt`, `backports` or a file vmlinuz-RELEASE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kernel: Option<KernelChoice>,
    /// How long the system on `disk` may take to start, at most 1 h; 10 min where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_within: Option<Length>,
    /// Its virtual CPUs: one, which tells of all that a VM has that runs already.
    vcpus: Vec<VcpuTable>,
    /// How the reservation is enforced.
    #[serde(default = "deadline", skip_serializing_if = "is_deadline")]
    mechanism: Mechanism,
    /// How much of an unused quota may be saved up; for the mechanisms that have one.
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    #[serde(default, with = "duration", skip_serializing_if = "Duration::is_zero")]
    burst: Duration,
    /// Where the vCPU threads are meanwhile; in the partition of the measured CPU where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    placement: Option<Placement>,
    /// Its part where several VMs have budgets that adapt: they share by weight what there is; 1 where
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    /// Where QEMU's threads other than the vCPUs run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emulator: Option<Emulator>,
    /// Memory in MiB, where it is otherwise than `guest.memory_mib` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_mib: Option<u32>,
    /// What its kernel reads the time from; its own choice where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clock_source: Option<ClockSource>,
    /// When it stands still, and for how long; of a VM with a probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pause: Option<Pause>,
    /// What runs in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    service: Vec<Service>,
}

fn deadline() -> Mechanism {
    Mechanism::Deadline
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_deadline(mechanism: &Mechanism) -> bool {
    *mechanism == Mechanism::Deadline
}

/// A vCPU: a CPU, and a budget in every period, or a law that chooses it, or neither.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct VcpuTable {
    /// Where it runs; the first measured CPU where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu: Option<u32>,
    /// Q.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<Length>,
    /// P.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    period: Option<Length>,
    /// The law that chooses the budget, in the place of `budget` (`docs/adapt.md`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    control: Option<Law>,
    /// The least budget that it may choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<Length>,
    /// The greatest, with which it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<Length>,
}

impl VmTable {
    /// By what it is found, with nothing that only the bench's own guests have.
    fn found(&self) -> Result<Option<Found>, String> {
        let named = [
            self.libvirt.clone().map(Found::Libvirt),
            self.qmp.clone().map(Found::Qmp),
            self.pid.map(Found::Pid),
        ];
        let mut named = named.into_iter().flatten();
        let Some(found) = named.next() else { return Ok(None) };
        let (name, key) = (&self.name, found.key());
        if let Some(other) = named.next() {
            let other = other.key();
            return Err(format!(
                "vm `{name}`: keys `{key}` and `{other}`: one finds the VM, give one"
            ));
        }
        if matches!(&found, Found::Libvirt(domain) if domain.is_empty()) {
            return Err(format!("vm `{name}`: key `libvirt` is empty; give a domain's name"));
        }
        if matches!(&found, Found::Qmp(socket) if socket.as_os_str().is_empty()) {
            return Err(format!("vm `{name}`: key `qmp` is empty; give the path of a socket"));
        }
        if matches!(found, Found::Pid(pid) if pid < 2) {
            return Err(format!(
                "vm `{name}`: key `pid`: give the process of a VM, which is above 1"
            ));
        }
        let own = [
            ("memory_mib", self.memory_mib.is_some()),
            ("emulator", self.emulator.is_some()),
            ("clock_source", self.clock_source.is_some()),
            ("pause", self.pause.is_some()),
            ("disk", self.disk.is_some()),
            ("kernel", self.kernel.is_some()),
            ("boot_within", self.boot_within.is_some()),
        ];
        if let Some((own, _)) = own.iter().find(|(_, given)| *given) {
            return Err(format!(
                "vm `{name}`: keys `{key}` and `{own}`: a VM that runs already keeps what it has; \
                 leave `{own}` out"
            ));
        }
        Ok(Some(found))
    }
}

impl TryFrom<VmTable> for Vm {
    type Error = String;

    fn try_from(table: VmTable) -> Result<Self, String> {
        let found = table.found()?;
        let needed = table.service.iter().any(|own| own.web().is_none());
        let way_in = WayIn::of(found.as_ref(), table.agent, table.ssh, needed)
            .map_err(|message| format!("vm `{}`: {message}", table.name))?;
        let boot_within = table.boot_within.map(|Length(own)| own);
        let system = System::of(table.disk, table.kernel, boot_within)
            .map_err(|message| format!("vm `{}`: {message}", table.name))?;
        let VmTable { name, vcpus, mechanism, burst, placement, weight, .. } = table;
        let enforced = Enforced { mechanism, burst, placement };
        let vcpu = |own: VcpuTable| {
            let VcpuTable { cpu, budget, period, control, min, max } = own;
            let reservation = Share { budget, period, control, min, max, weight }
                .under(enforced)
                .map_err(|message| format!("vm `{name}`: key `vcpus`: {message}"))?;
            Ok(Vcpu { cpu, reservation })
        };
        let vcpus: Vec<Vcpu> = vcpus.into_iter().map(vcpu).collect::<Result<_, String>>()?;
        if vcpus.is_empty() {
            return Err(format!("vm `{name}`: key `vcpus` is empty; give at least `[{{}}]`"));
        }
        let wishes = [
            ("mechanism", mechanism != deadline()),
            ("burst", !burst.is_zero()),
            ("placement", placement.is_some()),
        ];
        let wish = wishes.iter().find(|(_, given)| *given);
        if let Some((key, _)) = wish.filter(|_| vcpus.iter().all(|own| own.reservation.is_none())) {
            return Err(format!(
                "vm `{name}`: key `{key}` without a reservation; give the vCPU `budget` and \
                 `period`, or leave the key out"
            ));
        }
        Ok(Self {
            name,
            found,
            way_in,
            system,
            vcpus,
            emulator: table.emulator.unwrap_or_default(),
            memory_mib: table.memory_mib,
            clock_source: table.clock_source,
            pause: table.pause,
            services: table.service,
        })
    }
}

impl From<Vm> for VmTable {
    fn from(own: Vm) -> Self {
        let settings = own.vcpus.iter().find_map(|vcpu| vcpu.reservation.clone());
        let vcpu = |own: &Vcpu| {
            let share = own.reservation.as_ref().map(Share::of);
            VcpuTable {
                cpu: own.cpu,
                budget: share.and_then(|own| own.budget),
                period: share.and_then(|own| own.period),
                control: share.and_then(|own| own.control),
                min: share.and_then(|own| own.min),
                max: share.and_then(|own| own.max),
            }
        };
        let (mut libvirt, mut qmp, mut pid) = (None, None, None);
        let (agent, ssh) = own.way_in.map_or((None, None), WayIn::keys);
        let emulator = own.found.is_none().then_some(own.emulator);
        let (disk, kernel, boot_within) = own.system.keys();
        match own.found {
            Some(Found::Libvirt(domain)) => libvirt = Some(domain),
            Some(Found::Qmp(socket)) => qmp = Some(socket),
            Some(Found::Pid(process)) => pid = Some(process),
            None => {}
        }
        Self {
            name: own.name,
            libvirt,
            qmp,
            pid,
            agent,
            ssh,
            disk,
            kernel,
            boot_within: boot_within.map(Length),
            vcpus: own.vcpus.iter().map(vcpu).collect(),
            mechanism: settings.as_ref().map_or_else(deadline, |own| own.mechanism),
            burst: settings.as_ref().map_or(Duration::ZERO, |own| own.burst),
            weight: settings
                .as_ref()
                .and_then(|own| own.control)
                .map(|own| own.weight)
                .filter(|weight| *weight != WEIGHT),
            placement: settings.and_then(|own| own.placement),
            emulator,
            memory_mib: own.memory_mib,
            clock_source: own.clock_source,
            pause: own.pause,
            service: own.services,
        }
    }
}
