//! The budgets of an experiment that adapt.

use std::{path::Path, time::Duration};

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

/// What the VMs of an experiment whose reservations have a law of control share of each measured CPU.
fn pools(experiment: &Experiment, stage: &Stage) -> Vec<Pool> {
    let (cpus, limit) = (&stage.cpus, deadline_bandwidth_limit(&stage.roots));
    let on = |&cpu: &u32| Pool::new(admission::adaptable(experiment, cpus, cpu, limit));
    cpus.measured.iter().map(on).collect()
}

/// Which of them is that of a VM with a law, which has one vCPU.
fn pool_of(vm: &Vm, stage: &Stage) -> usize {
    let cpu = stage.cpus.of(vm.vcpus.first().and_then(|vcpu| vcpu.cpu));
    stage.cpus.measured.iter().position(|own| *own == cpu).unwrap_or(0)
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
    let mut pools = pools(experiment, stage);
    let mut vms = experiment.vms.clone();
    let mut joined = Vec::new();
    for (at, vm) in vms.iter().enumerate() {
        if let Some(law) = law(vm) {
            let ((control, bounds), pool) = (law?, pool_of(vm, stage));
            joined.push((at, pool, pools[pool].join(bounds, control.weight)));
        }
    }
    let begun: Vec<Vec<Duration>> = pools.iter_mut().map(Pool::begin).collect();
    for (at, pool, number) in joined {
        let laws = vms[at].vcpus.iter_mut().filter_map(|vcpu| vcpu.reservation.as_mut());
        laws.for_each(|own| own.budget = begun[pool][number]);
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
        let (name, start, pool) = (vm.name.clone(), start.budget, pool_of(vm, stage));
        followed.push(Followed { name, vcpus, law, bounds, pool, weight, start });
    }
    if followed.is_empty() {
        return Ok(None);
    }
    let (pools, file) = (pools(experiment, stage), folder.join(BUDGET));
    Adapting::start(stage, &followed, pools, Some(&file), false).map(Some)
}
