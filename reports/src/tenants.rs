//! VMs beside each other: which cases belong together.

use model::suite::{Service, Workload};

use crate::folder::{Case, Results};

fn has_wild(own: Workload) -> bool {
    own.neighbours().flat_map(|vm| &vm.services).any(|service| service.wild().is_some())
}

/// The same VM with the same tasks under the same reservations, where no neighbour is wild; none of a
/// case that has no wild neighbour, or is wild itself.
#[must_use]
pub fn quiet_twin<'a>(results: &'a Results, wild: &Case) -> Option<&'a Case> {
    let own = wild.workload();
    let is_wild = own.vm.is_some_and(|vm| vm.services.iter().any(|one| one.wild().is_some()));
    if is_wild || !has_wild(own) {
        return None;
    }
    let reservations = |one: Workload| -> Vec<_> {
        one.experiment.vms.iter().map(|vm| (vm.name.clone(), vm.reservation().cloned())).collect()
    };
    let same = |other: &&Case| {
        let other = other.workload();
        other.vm.map(|vm| &vm.name) == own.vm.map(|vm| &vm.name)
            && other.service.map(Service::tasks) == own.service.map(Service::tasks)
            && other.load() == own.load()
            && reservations(other) == reservations(own)
            && !has_wild(other)
    };
    results.cases.iter().find(same)
}
