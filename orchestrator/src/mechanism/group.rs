//! A group of the cpu controller for the vCPU threads.

use std::io;

use anyhow::{Context, Result};
use kernel::{
    cgroup::{Hierarchy, Version},
    cpu_group::{self, Limit},
    sched::Policy,
};
use model::Placement;

use super::{Request, Vm, in_place, place};
use crate::{
    error::Refusal,
    host::{Roots, Stage},
};

/// The hierarchy of the cpu controller.
///
/// # Errors
/// [`Refusal::Lacking`] where it is not mounted.
pub(super) fn hierarchy(roots: &Roots) -> Result<Hierarchy, Refusal> {
    let mounts = roots.proc.text("mounts").unwrap_or_default();
    Hierarchy::find(&mounts, "cpu").ok_or_else(|| {
        Refusal::Lacking(
            "no cpu controller is mounted (neither cgroup v1 nor v2); mount cgroup2 on \
             /sys/fs/cgroup"
                .to_owned(),
        )
    })
}

/// Puts the vCPU threads on the measured CPU, into a group with these limits, under `policy`.
///
/// # Errors
/// What the kernel refused; [`Refusal::Lacking`] where it knows no such limit.
///
/// In place it says which groups have them.
pub(super) fn attach(
    stage: &mut Stage,
    vm: &Vm,
    request: &Request,
    limits: &[Limit],
    policy: Policy,
) -> Result<Option<String>> {
    let hierarchy = hierarchy(&stage.roots)?;
    if request.placement == Placement::InPlace {
        return in_place::attach(stage, &hierarchy, vm, limits, policy)
            .map(Some)
            .map_err(|error| missing(error, hierarchy.version));
    }
    let inside =
        stage.measured_group(stage.cpus.of(request.cpu)).context("there is no partition")?;
    let group = cpu_group::path(&hierarchy, inside);
    let steps = cpu_group::steps(&hierarchy, &group, limits)?;
    stage.guard.take(&steps).map_err(|error| missing(error, hierarchy.version))?;
    for &tid in &vm.vcpus {
        place(stage, request, vm.pid, tid)?;
        stage.guard.join_group(&hierarchy, &group, vm.pid, tid)?;
        stage.guard.set_scheduling(tid, policy).context("inside the group")?;
    }
    Ok(None)
}

/// A file that a group should have and has not is a feature that the kernel was built without.
fn missing(error: anyhow::Error, version: Version) -> anyhow::Error {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::NotFound) => Refusal::Lacking(format!(
            "this kernel's cpu controller (cgroup v{}) cannot do it ({error}); it needs \
             CONFIG_CFS_BANDWIDTH and CONFIG_FAIR_GROUP_SCHED",
            version.number()
        ))
        .into(),
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            Refusal::Lacking(format!(
                "cannot change groups of the cpu controller ({error}); run as root, outside of \
                 unprivileged containers"
            ))
            .into()
        }
        _ => error.context("making a group of the cpu controller"),
    }
}
