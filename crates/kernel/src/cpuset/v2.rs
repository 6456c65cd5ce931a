//! cgroup v2: partition roots.
//!
//! A partition of the bench's own is a *threaded* group below the root group, so that one thread of
//! a process can be inside while the others stay in the root, which serves as the threaded domain.
//! Threads of another threaded domain (libvirt's vCPU groups are in one) cannot join it: there a
//! group that has them already becomes the partition. Below another partition root that works on
//! every kernel; anywhere else it is a *remote* partition, which needs `cpuset.cpus.exclusive`
//! (Linux 6.8), handed down from the top.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{CpusetError, Cpusets, Kind, MEASURED, Partition, Plan, Step, read};
use crate::{affinity, cgroup::Version};

pub(super) const PARTITION: &str = "cpuset.cpus.partition";
const CPUS: &str = "cpuset.cpus";
const EXCLUSIVE: &str = "cpuset.cpus.exclusive";
const CONTROL: &str = "cgroup.subtree_control";
/// The partition inside the bench's own group, where it has to be a remote one.
const INNER: &str = "cpu";

/// What a partition of `cpu` has to be: for a CPU that was isolated at boot kernels with
/// [`has_isolated`] take nothing but `isolated`, and older ones `root`.
pub(super) fn kind(root: &Path, cpu: u32, isolated: &[u32]) -> Kind {
    if has_isolated(root) && isolated.contains(&cpu) { Kind::Isolated } else { Kind::Root }
}

/// A new threaded group for each of `cpus`. A CPU that everybody shares is the root group's.
pub(super) fn isolate(
    cpusets: &Cpusets,
    cpus: &[u32],
    shared: Option<u32>,
    isolated: &[u32],
) -> Result<Plan, CpusetError> {
    let root = &cpusets.root;
    let mut steps: Vec<Step> = hand_down(root)?.into_iter().collect();
    let (mut groups, mut homes) = (Vec::new(), BTreeMap::new());
    for &cpu in cpus {
        let kind = kind(root, cpu, isolated);
        let group = threaded_partition(&cpusets.measured(cpu), cpu, kind, &mut steps);
        groups.push((group.clone(), kind));
        homes.insert(cpu, group);
    }
    homes.extend(shared.map(|cpu| (cpu, root.clone())));
    let partition = Partition { version: Version::V2, root: root.clone(), groups, homes };
    Ok(Plan { steps, partition })
}

/// The steps to a threaded group with `cpu`, and the group.
///
/// Right below the root Linux 6.12 refuses an isolated partition of a CPU that was isolated at boot
/// as it refuses any other (it looks at what the group is, not at what it is to be), but it takes a
/// remote one: a group deeper.
fn threaded_partition(outer: &Path, cpu: u32, kind: Kind, steps: &mut Vec<Step>) -> PathBuf {
    let threaded = |group: &Path| {
        [Step::MakeGroup(group.to_owned()), Step::inside(group, "cgroup.type", "threaded")]
    };
    let list = cpu.to_string();
    steps.extend(threaded(outer));
    let group = match kind {
        Kind::Root => {
            steps.push(Step::inside(outer, CPUS, list));
            outer.to_owned()
        }
        Kind::Isolated => {
            let inner = outer.join(INNER);
            steps.push(Step::inside(outer, EXCLUSIVE, &*list));
            steps.push(Step::inside(outer, CONTROL, "+cpuset"));
            steps.extend(threaded(&inner));
            steps.push(Step::inside(&inner, EXCLUSIVE, list));
            inner
        }
    };
    steps.push(Step::inside(&group, PARTITION, kind.name()));
    group
}

/// Gives the cpuset controller to the groups below `parent`, where they lack it.
fn hand_down(parent: &Path) -> Result<Option<Step>, CpusetError> {
    let path = parent.join(CONTROL);
    let has = read(&path)?.split_whitespace().any(|name| name == "cpuset");
    let (value, undo) = ("+cpuset".to_owned(), Some("-cpuset".to_owned()));
    Ok((!has).then_some(Step::Write { path, value, undo }))
}

/// A write into a group of somebody else's: what is there now is written back in the end. A file
/// that appears with the controller only is empty, or `member`.
fn change(group: &Path, file: &str, value: &str, absent: &str) -> Step {
    let path = group.join(file);
    let before = read(&path).unwrap_or_else(|_| absent.to_owned());
    Step::Write { path, value: value.to_owned(), undo: Some(before) }
}

/// [`change`] of `cpuset.cpus`. Once a group with members has a list, the kernel takes no empty one
/// any more (ENOSPC): where it had none, the list that means the same is written in the end.
fn change_cpus(root: &Path, group: &Path, cpu: u32) -> Step {
    let all = read(&root.join("cpuset.cpus.effective")).unwrap_or_default();
    match change(group, CPUS, &cpu.to_string(), "") {
        Step::Write { path, value, undo } => Step::Write {
            path,
            value,
            undo: undo.map(|list| if list.is_empty() { all } else { list }),
        },
        step @ Step::MakeGroup(_) => step,
    }
}

/// The steps that make `group`, right below the root, a partition with `cpu`, and with `home` a
/// group inside for processes of ours.
pub(super) fn below_root(
    root: &Path,
    group: &Path,
    cpu: u32,
    kind: Kind,
    home: bool,
) -> Result<Plan, CpusetError> {
    let mut steps: Vec<Step> = hand_down(root)?.into_iter().collect();
    steps.push(change_cpus(root, group, cpu));
    steps.push(change(group, PARTITION, kind.name(), "member"));
    let home = home.then(|| group.join(MEASURED));
    steps.extend(home.clone().map(Step::MakeGroup));
    let homes = home.into_iter().map(|home| (cpu, home)).collect();
    let (root, groups) = (root.to_owned(), vec![(group.to_owned(), kind)]);
    Ok(Plan { steps, partition: Partition { version: Version::V2, root, groups, homes } })
}

/// The steps that make each of `groups` a remote partition with its CPU.
pub(super) fn remote(
    root: &Path,
    groups: &[(PathBuf, u32)],
    kind: Kind,
) -> Result<Plan, CpusetError> {
    let mut above: Vec<PathBuf> = groups
        .iter()
        .flat_map(|(group, _)| group.ancestors().take_while(|above| above.starts_with(root)))
        .map(Path::to_owned)
        .collect();
    // From the top: what a parent has not got its children cannot get.
    above.sort_by_key(|path| (path.components().count(), path.clone()));
    above.dedup();
    let mut steps = Vec::new();
    for path in &above {
        let mine: Vec<u32> = groups
            .iter()
            .filter(|(group, _)| group.starts_with(path))
            .map(|(_, cpu)| *cpu)
            .collect();
        if path != root {
            steps.push(change(path, EXCLUSIVE, &affinity::format_list(&mine), ""));
        }
        if groups.iter().any(|(group, _)| group != path && group.starts_with(path)) {
            steps.extend(hand_down(path)?);
        }
    }
    let partitions =
        groups.iter().map(|(group, _)| change(group, PARTITION, kind.name(), "member"));
    steps.extend(partitions);
    let (root, homes) = (root.to_owned(), BTreeMap::new());
    let groups = groups.iter().map(|(group, _)| (group.clone(), kind)).collect();
    Ok(Plan { steps, partition: Partition { version: Version::V2, root, groups, homes } })
}

/// Kernels since 6.8 list isolated CPUs in the root group; they have remote partitions, and rules for
/// CPUs that were isolated at boot.
pub(super) fn has_isolated(root: &Path) -> bool {
    root.join("cpuset.cpus.isolated").exists()
}

pub(super) fn verify(group: &Path, kind: Kind) -> Result<(), CpusetError> {
    let path = group.join(PARTITION);
    match read(&path)? {
        state if state == kind.name() => Ok(()),
        state => Err(CpusetError::Invalid { path, state }),
    }
}
