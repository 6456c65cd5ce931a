//! A virtual machine as it is written.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Emulator, ReservationSettings, Service, Vcpu, Vm};
use crate::{Mechanism, Placement, duration};

/// A `[[experiment.vm]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct VmTable {
    /// Unique in the experiment; letters, digits, `-` and `_`.
    name: String,
    /// Its virtual CPUs: one.
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
    /// Where QEMU's threads other than the vCPUs run.
    #[serde(default)]
    emulator: Emulator,
    /// Memory in MiB, where it is otherwise than `guest.memory_mib` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_mib: Option<u32>,
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

/// A vCPU: a CPU, and a budget in every period, or neither.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct VcpuTable {
    /// Where it runs; the measured CPU where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu: Option<u32>,
    /// Q.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<Length>,
    /// P.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    period: Option<Length>,
}

/// A duration as its text.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub(super) struct Length(
    #[serde(with = "duration")]
    #[cfg_attr(test, schemars(with = "crate::suite::schema::DurationText"))]
    pub Duration,
);

impl TryFrom<VmTable> for Vm {
    type Error = String;

    fn try_from(table: VmTable) -> Result<Self, String> {
        let VmTable { name, vcpus, mechanism, burst, placement, emulator, memory_mib, service } =
            table;
        let vcpu = |own: VcpuTable| {
            let reservation = match (own.budget, own.period) {
                (None, None) => None,
                (Some(Length(budget)), Some(Length(period))) => {
                    Some(ReservationSettings { budget, period, mechanism, burst, placement })
                }
                _ => {
                    return Err(format!(
                        "vm `{name}`: a vCPU has `budget` and `period`, or neither"
                    ));
                }
            };
            Ok(Vcpu { cpu: own.cpu, reservation })
        };
        let vcpus: Vec<Vcpu> = vcpus.into_iter().map(vcpu).collect::<Result<_, _>>()?;
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
        Ok(Self { name, vcpus, emulator, memory_mib, services: service })
    }
}

impl From<Vm> for VmTable {
    fn from(own: Vm) -> Self {
        let settings = own.vcpus.iter().find_map(|vcpu| vcpu.reservation.clone());
        let vcpu = |own: &Vcpu| VcpuTable {
            cpu: own.cpu,
            budget: own.reservation.as_ref().map(|settings| Length(settings.budget)),
            period: own.reservation.as_ref().map(|settings| Length(settings.period)),
        };
        Self {
            name: own.name,
            vcpus: own.vcpus.iter().map(vcpu).collect(),
            mechanism: settings.as_ref().map_or_else(deadline, |own| own.mechanism),
            burst: settings.as_ref().map_or(Duration::ZERO, |own| own.burst),
            placement: settings.and_then(|own| own.placement),
            emulator: own.emulator,
            memory_mib: own.memory_mib,
            service: own.services,
        }
    }
}
