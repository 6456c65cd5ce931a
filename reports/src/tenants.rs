//! VMs beside each other: which cases belong together.

use model::suite::{Experiment, Vm, Workload};

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
    let same = |other: &&Case| {
        let other = other.workload();
        other.vm.map(|vm| &vm.name) == own.vm.map(|vm| &vm.name)
            && other.service == own.service
            && !has_wild(other)
            && but_for_the_wild(other.experiment, own.experiment)
                == but_for_the_wild(own.experiment, own.experiment)
    };
    results.cases.iter().find(same)
}

/// All that has to be the same: the experiment without its name and its number of repetitions, and
/// without the services of the VMs that are wild in `wild`.
fn but_for_the_wild(experiment: &Experiment, wild: &Experiment) -> Experiment {
    let is_wild = |name: &str| {
        let mut vms = wild.vms.iter().filter(|vm| vm.name == name);
        vms.any(|vm| vm.services.iter().any(|service| service.wild().is_some()))
    };
    let mut own =
        Experiment { name: String::new(), repetitions: 1, trace: None, ..experiment.clone() };
    for vm in own.vms.iter_mut().filter(|vm| is_wild(&vm.name)) {
        vm.services.clear();
    }
    own
}

/// Whether no wild neighbour has a shorter period, and with it deadlines that are often nearer: one
/// that has goes first whenever it likes, and what it takes then is within what the analysis allows.
#[must_use]
pub fn stays_behind(wild: &Case) -> bool {
    let own = wild.workload();
    let period = own.reservation().map(|own| own.period);
    let wild = own.neighbours().filter(|vm| vm.services.iter().any(|one| one.wild().is_some()));
    wild.filter_map(Vm::reservation).all(|other| period.is_some_and(|own| other.period >= own))
}
