//! cgroup v1: two exclusive groups, and a root that no longer balances between them.

use std::path::Path;

use super::{CpusetError, HOUSEKEEPING, Kind, MEASURED, Partition, Plan, Step, read};
use crate::cgroup::Version;

pub(super) fn isolate(root: &Path, cpu: u32, rest: &str) -> Result<Plan, CpusetError> {
    let memory = read(&root.join("cpuset.mems"))?;
    let balance = root.join("cpuset.sched_load_balance");
    let before = read(&balance)?;
    let cpu = cpu.to_string();
    let mut steps = Vec::new();
    for (name, cpus) in [(MEASURED, cpu.as_str()), (HOUSEKEEPING, rest)] {
        let group = root.join(name);
        steps.push(Step::MakeGroup(group.clone()));
        steps.push(Step::inside(&group, "cpuset.cpus", cpus));
        steps.push(Step::inside(&group, "cpuset.mems", &*memory));
        steps.push(Step::inside(&group, "cpuset.cpu_exclusive", "1"));
    }
    steps.push(Step::Write { path: balance, value: "0".to_owned(), undo: Some(before) });
    let group = root.join(MEASURED);
    let partition = Partition {
        version: Version::V1,
        root: root.to_owned(),
        groups: vec![group.clone()],
        kind: Kind::Root,
        home: Some(group),
    };
    Ok(Plan { steps, partition })
}
