//! Whether somebody else relies by now on a controller that was given to the groups below another.

use std::path::Path;

use super::Actions;

/// Whether a group right below `parent` uses `controller`: has CPUs, a weight or a quota of its own,
/// or hands the controller on. What was ours is gone by then.
pub(super) fn in_use(host: &dyn Actions, parent: &Path, controller: &str) -> bool {
    let groups = host.subgroups(parent).unwrap_or_default();
    groups.iter().any(|group| {
        let differs = |file: &str, ordinary: &str| {
            host.read(&group.join(file))
                .is_ok_and(|now| now.split_whitespace().next() != Some(ordinary))
        };
        let set = |file: &str| host.read(&group.join(file)).is_ok_and(|now| !now.is_empty());
        let own = match controller {
            "cpuset" => set("cpuset.cpus") || set("cpuset.mems") || set("cpuset.cpus.exclusive"),
            "cpu" => {
                differs("cpu.max", "max")
                    || differs("cpu.weight", "100")
                    || differs("cpu.idle", "0")
            }
            _ => false,
        };
        let handed_on = host.read(&group.join("cgroup.subtree_control"));
        own || handed_on.is_ok_and(|names| names.split_whitespace().any(|name| name == controller))
    })
}

#[cfg(test)]
mod tests {
    use kernel::cpuset::Step;

    use super::*;
    use crate::host::{Guard, fake::Fake};

    const CONTROL: &str = "/c/cgroup.subtree_control";

    /// What is written in the end where a neighbour has this file.
    fn undone(controller: &str, neighbour: (&str, &str)) -> String {
        let (dir, host) = (tempfile::tempdir().unwrap(), Fake::default());
        let file = |path: &str, text: &str| {
            host.state.borrow_mut().files.insert(path.into(), text.into());
        };
        file(CONTROL, "memory");
        file(neighbour.0, neighbour.1);
        let mut guard = Guard::new(Box::new(host.clone()), dir.path()).unwrap();
        let (value, undo) = (format!("+{controller}"), Some(format!("-{controller}")));
        guard.take(&[Step::Write { path: CONTROL.into(), value, undo }]).unwrap();
        guard.finish().unwrap();
        host.state.borrow().files[Path::new(CONTROL)].clone()
    }

    #[test]
    fn a_controller_that_somebody_else_uses_by_then_is_left_to_them() {
        for (controller, file, value) in [
            ("cpuset", "/c/web/cpuset.cpus", "0-1"),
            ("cpuset", "/c/web/cgroup.subtree_control", "cpuset memory"),
            ("cpu", "/c/web/cpu.weight", "1000"),
            ("cpu", "/c/web/cpu.max", "20000 100000"),
            ("cpu", "/c/web/cgroup.subtree_control", "cpu"),
        ] {
            assert_eq!(undone(controller, (file, value)), format!("+{controller}"), "{file}");
        }
    }

    #[test]
    fn one_that_nobody_uses_is_taken_back() {
        for (controller, file, value) in [
            ("cpuset", "/c/web/cpuset.cpus", ""),
            ("cpuset", "/c/web/cgroup.subtree_control", "cpu memory"),
            ("cpuset", "/c/web/deeper/cpuset.cpus", "1"),
            ("cpu", "/c/web/cpu.weight", "100"),
            ("cpu", "/c/web/cpu.max", "max 100000"),
            ("cpu", "/c/web/cpuset.cpus", "0-1"),
        ] {
            assert_eq!(undone(controller, (file, value)), format!("-{controller}"), "{file}");
        }
    }
}
