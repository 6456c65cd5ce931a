//! The budgets of an experiment that adapt.

use std::path::Path;

use anyhow::{Context, Result};
use model::suite::{Experiment, Vm};

use super::machines::Machine;
use crate::{
    adapt::{Adapting, BUDGET, Followed},
    host::Stage,
};

/// Follows the vCPUs of those VMs whose reservation has a law of control, with rows in `folder`; none
/// where no VM has one. Each begins with its greatest budget, under which it was attached.
///
/// # Errors
/// Where the file or the thread cannot be made.
pub(super) fn start(
    stage: &Stage,
    experiment: &Experiment,
    machines: &[Machine],
    folder: &Path,
) -> Result<Option<Adapting>> {
    let of = |(vm, machine): (&Vm, &Machine)| -> Option<Result<Followed>> {
        let own = vm.reservation()?;
        let control = own.control?;
        let bounds = control.bounds(own.budget, own.period).context("checked by suite::parse");
        // Of a VM with a law there is one vCPU.
        let vcpus = (0..).zip(machine.threads().vcpus).collect();
        let (name, law, start) = (vm.name.clone(), control.law, own.budget);
        Some(bounds.map(|bounds| Followed { name, vcpus, law, bounds, start }))
    };
    let pairs = experiment.vms.iter().zip(machines);
    let followed: Vec<Followed> = pairs.filter_map(of).collect::<Result<_>>()?;
    if followed.is_empty() {
        return Ok(None);
    }
    Adapting::start(stage, &followed, Some(&folder.join(BUDGET)), false).map(Some)
}
