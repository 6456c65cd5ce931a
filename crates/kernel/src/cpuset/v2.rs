//! cgroup v2: a partition root below the root group.
//!
//! The group is *threaded*, so that one thread of a process can be inside while the others stay in
//! the root, which serves as the threaded domain.

use std::path::Path;

use super::{CpusetError, MEASURED, Step, read};

const PARTITION: &str = "cpuset.cpus.partition";

pub(super) fn isolate(root: &Path, cpu: u32) -> Result<Vec<Step>, CpusetError> {
    let control = root.join("cgroup.subtree_control");
    let group = root.join(MEASURED);
    let mut steps = Vec::new();
    if !read(&control)?.split_whitespace().any(|name| name == "cpuset") {
        steps.push(Step::Write {
            path: control,
            value: "+cpuset".to_owned(),
            undo: Some("-cpuset".to_owned()),
        });
    }
    steps.push(Step::MakeGroup(group.clone()));
    steps.push(Step::inside(&group, "cgroup.type", "threaded"));
    steps.push(Step::inside(&group, "cpuset.cpus", cpu.to_string()));
    steps.push(Step::inside(&group, PARTITION, "root"));
    Ok(steps)
}

pub(super) fn verify(group: &Path) -> Result<(), CpusetError> {
    let path = group.join(PARTITION);
    match read(&path)? {
        state if state == "root" => Ok(()),
        state => Err(CpusetError::Invalid { path, state }),
    }
}
