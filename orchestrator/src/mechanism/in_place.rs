//! Limits on the groups that a machine has already: nothing leaves them.
//!
//! A cap belongs to the vCPU threads. Where they have groups to themselves (libvirt's `vcpuN`), these
//! get it; where they share a group with the rest of QEMU, a threaded group inside it is made for
//! them, which every thread can join and leave. A share belongs to the machine: it counts among
//! neighbours, so it goes to the highest group in which there is nothing else.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use kernel::{
    affinity::Tid,
    cgroup::{Hierarchy, Version},
    cpu_group::{self, Limit},
    sched::Policy,
};

use super::{Vm, placement};
use crate::host::{Roots, Stage};

/// Puts the limits on the machine's groups and its vCPU threads under `policy`; says where they are.
///
/// # Errors
/// What the kernel refused.
pub(super) fn attach(
    stage: &mut Stage,
    hierarchy: &Hierarchy,
    vm: &Vm,
    limits: &[Limit],
    policy: Policy,
) -> Result<String> {
    let is_share = |limit: &&Limit| matches!(limit, Limit::Weight { .. });
    let (shares, caps): (Vec<&Limit>, Vec<&Limit>) = limits.iter().partition(is_share);
    let copied = |limits: Vec<&Limit>| limits.into_iter().copied().collect::<Vec<Limit>>();
    let (shares, caps) = (copied(shares), copied(caps));
    let mut places = Vec::new();
    if !shares.is_empty()
        && let Some(group) = whole(hierarchy, vm, &stage.roots)?
    {
        stage.guard.take(&cpu_group::limit(hierarchy, &group, &shares)?)?;
        places.push(group);
    }
    let left = if places.is_empty() { limits.to_vec() } else { caps };
    if !left.is_empty() {
        places.extend(each(stage, hierarchy, vm, &left)?);
    }
    for &tid in &vm.vcpus {
        stage.guard.set_scheduling(tid, policy).context("inside the group")?;
    }
    let name = |group: PathBuf| {
        let below = group.strip_prefix(&hierarchy.root).unwrap_or(&group).to_owned();
        below.display().to_string()
    };
    let names: BTreeSet<String> = places.into_iter().map(name).collect();
    Ok(format!("the limit is on {}", names.into_iter().collect::<Vec<_>>().join(", ")))
}

fn group_of(hierarchy: &Hierarchy, tid: Tid, roots: &Roots) -> Result<PathBuf> {
    let text = roots.proc.text(&format!("{tid}/cgroup"))?;
    Ok(hierarchy.group_of(&text).unwrap_or_else(|| hierarchy.root.clone()))
}

/// The highest group with nothing but this machine in it.
fn whole(hierarchy: &Hierarchy, vm: &Vm, roots: &Roots) -> Result<Option<PathBuf>> {
    let mine = roots.proc.threads(vm.pid)?;
    let first = vm.vcpus.first().context("QEMU has no vCPU threads")?;
    let group = group_of(hierarchy, *first, roots)?;
    let alone = |group: &&Path| placement::strangers(hierarchy, group, &mine, roots) == 0;
    let highest = hierarchy.lineage(&group).take_while(alone).last();
    // All of the machine is in it, or it is none for a share of the whole.
    let all = |group: &&Path| {
        let inside = hierarchy.threads_below(group);
        mine.iter().all(|tid| inside.contains(tid))
    };
    Ok(highest.filter(all).map(Path::to_owned))
}

/// The vCPU threads' own groups, made where there are none.
fn each(
    stage: &mut Stage,
    hierarchy: &Hierarchy,
    vm: &Vm,
    limits: &[Limit],
) -> Result<Vec<PathBuf>> {
    let mut groups: Vec<(Tid, PathBuf)> = Vec::new();
    for &tid in &vm.vcpus {
        groups.push((tid, group_of(hierarchy, tid, &stage.roots)?));
    }
    let distinct: BTreeSet<PathBuf> = groups.iter().map(|(_, group)| group.clone()).collect();
    let mut places = Vec::new();
    for group in distinct {
        let members = hierarchy.threads_below(&group);
        if group != hierarchy.root && members.iter().all(|tid| vm.vcpus.contains(tid)) {
            stage.guard.take(&cpu_group::limit(hierarchy, &group, limits)?)?;
            places.push(group);
            continue;
        }
        let inside = match hierarchy.version {
            // Beside those of other machines.
            Version::V1 => hierarchy.root.join(format!("{}-{}", cpu_group::NAME, vm.pid)),
            Version::V2 => group.join(cpu_group::NAME),
        };
        stage.guard.take(&cpu_group::steps(hierarchy, &inside, limits)?)?;
        for (tid, _) in groups.iter().filter(|(_, own)| *own == group) {
            stage.guard.join_group(hierarchy, &inside, vm.pid, *tid)?;
        }
        places.push(inside);
    }
    Ok(places)
}
