//! The parts of a machine that get a reservation each: all its vCPUs alike, or every one its own.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use kernel::affinity::Tid;
use model::{
    Mechanism, Placement,
    reservations::{Reserved, Share},
};

use super::target::some_of;
use crate::{
    error::Refusal,
    host::{Roots, Stage},
    mechanism::{
        self, Attached, Request, Vm,
        placement::{self, Chosen},
    },
};

/// A part of a machine, and what is asked for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The machine, with some of its vCPUs.
    pub vm: Vm,
    pub request: Request,
}

/// Which vCPUs of the machine get which share; `whose` names the domain in errors.
///
/// # Errors
/// [`Refusal::Usage`] where the machine has no such vCPU.
pub(super) fn of(
    wanted: &Reserved,
    vm: &Vm,
    base: &Request,
    whose: &str,
) -> Result<Vec<Part>, Refusal> {
    let part = |Share { vcpus, reservation }: &Share| {
        let vcpus = some_of(&vm.vcpus, vcpus, whose)?;
        let request = Request { reservation: *reservation, ..*base };
        Ok(Part { vm: Vm { pid: vm.pid, vcpus }, request })
    };
    wanted.shares.iter().map(part).collect()
}

impl Part {
    /// Refuses what SCHED_DEADLINE has no room for. Different parts on one CPU are the kernel's to
    /// add up.
    ///
    /// # Errors
    /// [`Refusal::Lacking`] with both sums.
    pub fn fits(
        &self,
        mechanism: Mechanism,
        roots: &Roots,
        chosen: &Chosen,
    ) -> Result<(), Refusal> {
        let wanted = self.request.reservation.filter(|_| mechanism.is_deadline());
        let Some(reservation) = wanted.filter(|_| chosen.placement != Placement::AdmissionOff)
        else {
            return Ok(());
        };
        let cpus = chosen.cpu.map(|cpu| vec![cpu]);
        let span = || placement::span(roots, *self.vm.vcpus.first()?);
        // Partitions of several CPUs are the kernel's to count.
        match cpus.or_else(|| span().filter(|_| chosen.placement == Placement::Global)) {
            Some(cpus) => mechanism::room::check(reservation, &self.vm.vcpus, &cpus, roots),
            None => Ok(()),
        }
    }

    /// What it is under, in one line.
    pub fn sentence(&self, mechanism: Mechanism, cpu: Option<u32>) -> String {
        let asked = self.request.reservation.map(|asked| format!(" {asked}")).unwrap_or_default();
        let place = cpu.map(|cpu| format!(" on CPU {cpu}")).unwrap_or_default();
        let tids: Vec<_> = self.vm.vcpus.iter().map(Tid::to_string).collect();
        let plural = if tids.len() == 1 { "" } else { "s" };
        format!("{mechanism}{asked}{place} for vCPU thread{plural} {}", tids.join(", "))
    }
}

/// Puts every part under its reservation.
///
/// # Errors
/// Those of [`mechanism::attach`].
pub(super) fn attach(
    stage: &mut Stage,
    mechanism: Mechanism,
    parts: &[Part],
) -> Result<Vec<Attached>> {
    let one = |part: &Part| mechanism::attach(stage, mechanism, &part.vm, &part.request);
    parts.iter().map(one).collect()
}

/// What the mechanism says, each thing once.
pub(super) fn facts(attached: &[Attached]) -> BTreeSet<&String> {
    attached.iter().flat_map(|one| &one.facts).collect()
}

/// The bandwidth of each vCPU.
pub(super) fn promised(mechanism: Mechanism, parts: &[Part]) -> BTreeMap<Tid, f64> {
    let budgeted = parts.iter().filter(|_| mechanism.has_budget());
    let shares = budgeted.filter_map(|part| Some((part, part.request.reservation?.bandwidth())));
    shares.flat_map(|(part, share)| part.vm.vcpus.iter().map(move |tid| (*tid, share))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vcpu_gets_its_own_and_no_other() {
        let text = "[domain.web]\nvcpu = { 0 = \"1ms/5ms\", 2 = \"2ms/5ms\" }\n";
        let web = model::reservations::parse(text, "r.toml").unwrap().remove("web").unwrap();
        let vm = Vm { pid: 1, vcpus: vec![10, 11, 12] };
        let parts = of(&web, &vm, &Request::default(), "domain `web`").unwrap();
        let said: Vec<_> = parts.iter().map(|part| part.sentence(web.mechanism, None)).collect();
        let expected =
            ["deadline 1ms/5ms for vCPU thread 10", "deadline 2ms/5ms for vCPU thread 12"];
        assert_eq!(said, expected);
        assert_eq!(promised(web.mechanism, &parts), [(10, 0.2), (12, 0.4)].into());
        assert_eq!(promised(Mechanism::FifoAbove, &parts), BTreeMap::new());
        let small = Vm { pid: 1, vcpus: vec![10] };
        let error = of(&web, &small, &Request::default(), "domain `web`").unwrap_err();
        assert!(error.to_string().starts_with("domain `web`: there is no vCPU 2"), "{error}");
    }
}
