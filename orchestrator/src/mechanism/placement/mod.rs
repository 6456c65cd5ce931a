//! Where a virtual machine's threads are under a reservation: which placement host and machine allow
//! ([`choose`], a pure function of what [`Seats`] shows), and what it takes ([`prepare`]).

mod choose;
mod seats;

use anyhow::{Context, Result};
use kernel::cpuset::Plan;

pub use choose::{Asked, Chosen, choose};
pub use seats::Seats;

pub(super) use choose::works;
pub(super) use seats::strangers;

use super::Vm;
use crate::{
    error::Refusal,
    host::{Roots, Stage},
};

/// The CPUs of the root domain that thread `tid` is in: what its affinity has to span.
#[must_use]
pub fn span(roots: &Roots, tid: i32) -> Option<Vec<u32>> {
    let vm = Vm { pid: tid, vcpus: vec![tid] };
    Some(Seats::look(roots, &vm).ok()?.vcpus.first()?.span.clone())
}

/// Switches the admission control of SCHED_DEADLINE off, until the guard undoes it.
///
/// # Errors
/// What the kernel refused.
pub(super) fn without_admission(stage: &mut Stage) -> Result<()> {
    let limit = stage.roots.proc.path("sys/kernel/sched_rt_runtime_us");
    stage.guard.write(&limit, "-1").context("switching admission control off")
}

/// Makes partitions of the machine's own groups, where a chosen placement needs that.
///
/// # Errors
/// What the kernel refused.
pub fn prepare(stage: &mut Stage, chosen: &Chosen) -> Result<()> {
    let Some(Plan { steps, partition }) = &chosen.plan else { return Ok(()) };
    stage.save_pinned()?;
    // A cpuset gives its threads CPUs of its choice, coming and going.
    let hierarchy = stage.cpusets.hierarchy();
    let tops = partition.groups.iter().filter_map(|(group, _)| hierarchy.lineage(group).last());
    for group in tops {
        stage.guard.save_affinities(&hierarchy.threads_below(group))?;
    }
    stage.guard.take(steps).context("making a partition of the machine's own groups")?;
    if stage.guard.host().is_real() {
        partition.verify().map_err(|error| Refusal::Lacking(error.to_string()))?;
    }
    stage.domain = Some(partition.clone());
    Ok(())
}
