//! How to make the reservation, here and with other programs.

use model::{Mechanism, Reservation};
use rtplan::Cell;
use serde::Serialize;

use super::Options;
use crate::{
    host::{Roots, quoted},
    mechanism::Vm,
};

/// One command each.
#[derive(Debug, Serialize)]
pub struct Commands {
    /// A reservation: a share that the VM surely gets.
    pub reserve: String,
    /// A limit, with libvirt.
    pub virsh: String,
    /// The same in a domain's XML.
    pub cputune: String,
    /// A limit, with systemd.
    pub systemd: String,
}

/// For the recommended cell; none where there is none.
pub(super) fn of(
    options: &Options,
    roots: &Roots,
    vm: &Vm,
    chosen: Option<Cell>,
) -> Option<Commands> {
    let Cell { period, budget: Some(budget) } = chosen? else { return None };
    let reservation = Reservation::new(budget, period).ok()?;
    let domain = options.target.domain().map(quoted);
    let target = options.target.text();
    let mut reserve = format!("orchestrator reserve {target} --reservation {reservation}");
    if options.mechanism != Mechanism::Deadline {
        reserve += &format!(" --mechanism {}", options.mechanism);
    }
    if let Some(cpu) = options.cpu {
        reserve += &format!(" --cpu {cpu}");
    }
    // Both take whole microseconds, and quotas of a millisecond or more.
    let period_us = period.as_micros().max(1000);
    let quota_us = budget.as_nanos().div_ceil(1000).max(1000);
    let domain = domain.as_deref().unwrap_or("DOMAIN");
    let percent = 100.0 * reservation.bandwidth() * vm.vcpus.len() as f64;
    let unit = unit(&roots.proc.text(&format!("{}/cgroup", vm.pid)).unwrap_or_default());
    Some(Commands {
        reserve,
        virsh: format!(
            "virsh schedinfo {domain} --live --set vcpu_period={period_us} --set \
             vcpu_quota={quota_us}"
        ),
        cputune: format!(
            "<cputune><period>{period_us}</period><quota>{quota_us}</quota></cputune>"
        ),
        systemd: format!(
            "systemctl set-property --runtime {} CPUQuota={percent:.0}% \
             CPUQuotaPeriodSec={period_us}us",
            unit.as_deref().unwrap_or("UNIT")
        ),
    })
}

/// The innermost unit of systemd's in `/proc/PID/cgroup`, where it is one of the VM's own.
fn unit(cgroup: &str) -> Option<String> {
    let parts = cgroup.lines().flat_map(|line| line.rsplit('/'));
    let mut units = parts.filter(|part| part.ends_with(".scope") || part.ends_with(".service"));
    let unit = units.find(|unit| !unit.starts_with("session-") && !unit.starts_with("user@"))?;
    Some(quoted(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_vms_own() {
        let libvirt = "0::/machine.slice/machine-qemu\\x2d1\\x2dd.scope/libvirt/emulator\n";
        assert_eq!(unit(libvirt).as_deref(), Some("'machine-qemu\\x2d1\\x2dd.scope'"));
        assert_eq!(unit("0::/user.slice/user-0.slice/session-3.scope\n"), None);
        assert_eq!(unit("4:cpu:/\n0::/\n"), None);
    }
}
