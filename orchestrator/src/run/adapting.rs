//! The budgets of an experiment that adapt.

use std::path::Path;

use anyhow::{Context, Result};
use model::{
    control::{Bounds, Control, Pool},
    suite::{Experiment, Vm},
};

use super::{admission, machines::Machine};
use crate::{
    adapt::{Adapting, BUDGET, Followed},
    host::{Stage, deadline_bandwidth_limit},
};

/// What the VMs of an experiment whose reservations have a law of control share of the CPU.
fn pool(experiment: &Experiment, stage: &Stage) -> Pool {
    Pool::new(admission::adaptable(experiment, deadline_bandwidth_limit(&stage.roots)))
}

/// The law of a VM, and between which budgets it chooses.
fn law(vm: &Vm) -> Option<Result<(Control, Bounds)>> {
    let own = vm.reservation()?;
    let control = own.control?;
    let bounds = control.bounds(own.budget, own.period).context("checked by suite::parse");
    Some(bounds.map(|bounds| (control, bounds)))
}

/// The VMs as they are reserved at the begin: those with a law have their greatest budget, or what of
/// it several of them can have at the same time.
///
/// # Errors
/// Bounds that nobody checked.
pub(super) fn beginning(stage: &Stage, experiment: &Experiment) -> Result<Vec<Vm>> {
    let mut pool = pool(experiment, stage);
    let mut vms = experiment.vms.clone();
    for law in vms.iter().filter_map(law) {
        let (control, bounds) = law?;
        pool.join(bounds, control.weight);
    }
    let mut budgets = pool.begin().into_iter();
    for vcpu in vms.iter_mut().flat_map(|vm| &mut vm.vcpus) {
        if let Some(own) = vcpu.reservation.as_mut().filter(|own| own.control.is_some()) {
            own.budget = budgets.next().context("a law for each")?;
        }
    }
    Ok(vms)
}

/// Follows the vCPUs of those VMs whose reservation has a law of control, with rows in `folder`; none
/// where no VM has one. Each begins with the budget that [`beginning`] gives it.
///
/// # Errors
/// Where the file or the thread cannot be made.
pub(super) fn start(
    stage: &Stage,
    experiment: &Experiment,
    machines: &[Machine],
    folder: &Path,
) -> Result<Option<Adapting>> {
    let begun = beginning(stage, experiment)?;
    let mut followed = Vec::new();
    for ((vm, begun), machine) in experiment.vms.iter().zip(&begun).zip(machines) {
        let Some(((law, start), threads)) =
            law(vm).zip(begun.reservation()).map(|own| (own, machine.threads()))
        else {
            continue;
        };
        let (Control { law, weight, .. }, bounds) = law?;
        // Of a VM with a law there is one vCPU.
        let vcpus = (0..).zip(threads.vcpus).collect();
        let (name, start) = (vm.name.clone(), start.budget);
        followed.push(Followed { name, vcpus, law, bounds, weight, start });
    }
    if followed.is_empty() {
        return Ok(None);
    }
    let (pool, file) = (pool(experiment, stage), folder.join(BUDGET));
    Adapting::start(stage, &followed, pool, Some(&file), false).map(Some)
}
