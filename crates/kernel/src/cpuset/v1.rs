//! cgroup v1: exclusive groups, and a root that no longer balances between them.

use std::collections::BTreeMap;

use super::{CpusetError, Cpusets, HOUSEKEEPING, Kind, Partition, Plan, Step, read};
use crate::{affinity::format_list, cgroup::Version};

pub(super) fn isolate(
    cpusets: &Cpusets,
    cpus: &[u32],
    rest: &[u32],
    shared: Option<u32>,
) -> Result<Plan, CpusetError> {
    let root = &cpusets.root;
    let memory = read(&root.join("cpuset.mems"))?;
    let balance = root.join("cpuset.sched_load_balance");
    let before = read(&balance)?;
    let mut homes: BTreeMap<u32, _> =
        cpus.iter().map(|&cpu| (cpu, cpusets.measured(cpu))).collect();
    let groups = homes.values().map(|group| (group.clone(), Kind::Root)).collect();
    let housekeeping = root.join(HOUSEKEEPING);
    let measured = cpus.iter().map(|cpu| (homes[cpu].clone(), cpu.to_string()));
    let all: Vec<_> = measured.chain([(housekeeping.clone(), format_list(rest))]).collect();
    let mut steps = Vec::new();
    for (group, cpus) in all {
        steps.push(Step::MakeGroup(group.clone()));
        steps.push(Step::inside(&group, "cpuset.cpus", cpus));
        steps.push(Step::inside(&group, "cpuset.mems", &*memory));
        steps.push(Step::inside(&group, "cpuset.cpu_exclusive", "1"));
    }
    steps.push(Step::Write { path: balance, value: "0".to_owned(), undo: Some(before) });
    homes.extend(shared.map(|cpu| (cpu, housekeeping)));
    let partition = Partition { version: Version::V1, root: root.clone(), groups, homes };
    Ok(Plan { steps, partition })
}
