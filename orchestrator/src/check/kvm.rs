//! What KVM brings that emulation has not.

use kernel::affinity::{self, format_list};

use super::{Row, State};
use crate::host::{Roots, all_vhost_threads};

pub(super) fn rows(roots: &Roots, measured: u32) -> Vec<Row> {
    let Some(kvm) = roots.kvm() else {
        let row = Row::new("KVM", State::Missing, "the kernel's module is not loaded")
            .advise("modprobe kvm_amd or kvm_intel; without it guests are emulated");
        return vec![row];
    };
    let mut rows = vec![halt_polling(kvm.halt_poll_ns), nested_paging(kvm.nested_paging)];
    rows.extend([steal(roots), exits(roots), vhost(roots, measured)]);
    rows
}

fn halt_polling(ns: Option<u64>) -> Row {
    const NAME: &str = "halt polling";
    match ns {
        None => Row::new(NAME, State::Unknown, "the module does not say"),
        Some(0) => Row::new(NAME, State::Good, "off"),
        Some(ns) => {
            let found =
                format!("a vCPU that halts polls for up to {} us on its own budget", ns / 1000);
            Row::new(NAME, State::Limited, found)
                .advise("echo 0 > /sys/module/kvm/parameters/halt_poll_ns, where budgets are tight")
        }
    }
}

fn nested_paging(on: Option<bool>) -> Row {
    const NAME: &str = "nested paging";
    match on {
        None => Row::new(NAME, State::Unknown, "neither kvm_amd nor kvm_intel says"),
        Some(true) => Row::new(NAME, State::Good, "on"),
        Some(false) => Row::new(NAME, State::Limited, "off: guests' page tables are shadowed")
            .advise("load kvm_amd with npt=1, or kvm_intel with ept=1"),
    }
}

/// KVM tells a guest as steal what the kernel counts as a vCPU's waiting in a run queue.
fn steal(roots: &Roots) -> Row {
    const NAME: &str = "steal time";
    if roots.proc.thread_times(std::process::id() as i32).is_ok() {
        let found = "guests see waiting in a run queue as steal; time throttled by a reservation \
                     is none";
        Row::new(NAME, State::Good, found)
    } else {
        Row::new(NAME, State::Missing, "the kernel keeps no schedstat, so that guests see none")
    }
}

fn exits(roots: &Roots) -> Row {
    const NAME: &str = "VM exits";
    if roots.sys.join("kernel/debug/kvm/exits").exists() {
        Row::new(NAME, State::Good, "counted for each VM (debugfs)")
    } else {
        Row::new(NAME, State::Unknown, "debugfs does not count them")
            .advise("mount debugfs on /sys/kernel/debug, where the kernel is not locked down")
    }
}

/// The vhost threads of all VMs that run now.
fn vhost(roots: &Roots, measured: u32) -> Row {
    const NAME: &str = "vhost threads";
    let found: Vec<(i32, Vec<u32>)> = all_vhost_threads(&roots.proc)
        .into_iter()
        .filter_map(|tid| Some((tid, affinity::get(tid).ok()?)))
        .collect();
    let list = found.iter().map(|(tid, cpus)| format!("{tid} on CPUs {}", format_list(cpus)));
    let list = list.collect::<Vec<_>>().join("; ");
    match found.iter().any(|(_, cpus)| cpus.contains(&measured)) {
        _ if found.is_empty() => Row::new(NAME, State::Good, "no VM has one now"),
        false => Row::new(NAME, State::Good, list),
        true => Row::new(NAME, State::Limited, list).advise(
            "they run on the measured CPU outside of the VM's reservation: pin them to others",
        ),
    }
}

#[cfg(test)]
mod tests {
    use kernel::procfs::Proc;

    use super::*;

    #[test]
    fn what_a_module_does_not_say_is_unknown() {
        assert_eq!(halt_polling(None).state, State::Unknown);
        assert_eq!(
            (halt_polling(Some(0)).state, &*halt_polling(Some(0)).advice),
            (State::Good, "")
        );
        let row = halt_polling(Some(200_000));
        assert_eq!(row.state, State::Limited);
        assert!(row.found.contains("200 us"), "{}", row.found);
        let states = [None, Some(true), Some(false)].map(|on| nested_paging(on).state);
        assert_eq!(states, [State::Unknown, State::Good, State::Limited]);
    }

    #[test]
    fn a_kernel_without_kvm_has_one_row() {
        let empty = tempfile::tempdir().unwrap();
        let root = empty.path().to_owned();
        let roots = Roots { proc: Proc::at(&root), sys: root.clone(), root };
        let found = rows(&roots, 1);
        assert_eq!((found.len(), found[0].state), (1, State::Missing));
        std::fs::create_dir_all(empty.path().join("module/kvm")).unwrap();
        let names: Vec<_> = rows(&roots, 1).into_iter().map(|row| row.capability).collect();
        assert_eq!(
            names,
            ["halt polling", "nested paging", "steal time", "VM exits", "vhost threads"]
        );
        std::fs::create_dir_all(empty.path().join("kernel/debug/kvm/exits")).unwrap();
        assert_eq!(exits(&roots).state, State::Good);
    }
}
