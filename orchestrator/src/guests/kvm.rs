//! What KVM brings that emulation has not, counted while a workload runs: steal time as the guest
//! sees it, VM exits, halt polling, vhost threads.

use std::{fs, path::Path, sync::atomic::AtomicBool};

use anyhow::Result;
use kernel::affinity::{self, Tid};
use model::{
    manifest::{KvmRun, VhostThread},
    sample::{Ended, Supply, read_csv},
};

use crate::{
    guest::Inside,
    host::{Roots, line_of, vhost_threads},
};

/// What had been counted at one instant. What the host does not tell is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    guest_steal_ns: Option<u64>,
    vcpu_wait_ns: Option<u64>,
    exits: Option<u64>,
    halt_poll_ns: Option<u64>,
    vhost_ns: Vec<(Tid, Option<u64>)>,
}

/// Asks the guest for the steal time of all its CPUs; none where it does not answer.
#[must_use]
pub fn guest_steal_ns(guest: &Inside) -> Option<u64> {
    let text = guest.read("/proc/stat", &AtomicBool::new(false)).ok()?;
    steal_ns(&String::from_utf8_lossy(&text))
}

/// The steal time in the first line of a `/proc/stat`, which sums up all CPUs.
fn steal_ns(stat: &str) -> Option<u64> {
    const TICK_NS: u64 = 10_000_000;
    let ticks: u64 =
        stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().nth(7)?.parse().ok()?;
    Some(ticks * TICK_NS)
}

impl Counted {
    /// What the host has counted of QEMU's process `pid` until now.
    #[must_use]
    pub fn on_host(roots: &Roots, pid: i32, vcpus: &[Tid]) -> Self {
        let proc = &roots.proc;
        let wait_ns = |&tid: &Tid| proc.thread_times(tid).ok().map(|times| times.wait_ns);
        let statistic = |name: &str| statistic(&roots.sys.join("kernel/debug/kvm"), pid, name);
        let polled = [statistic("halt_poll_success_ns"), statistic("halt_poll_fail_ns")];
        Self {
            guest_steal_ns: None,
            vcpu_wait_ns: vcpus.iter().map(wait_ns).sum(),
            exits: statistic("exits"),
            halt_poll_ns: polled.into_iter().sum(),
            vhost_ns: vhost_threads(proc, pid)
                .into_iter()
                .map(|tid| (tid, proc.thread_times(tid).ok().map(|times| times.cpu_ns)))
                .collect(),
        }
    }

    /// With what the guest has counted.
    #[must_use]
    pub fn with_guest(self, guest_steal_ns: Option<u64>) -> Self {
        Self { guest_steal_ns, ..self }
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> KvmRun {
        let less = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        KvmRun {
            guest_steal_ns: less(self.guest_steal_ns, before.guest_steal_ns),
            vcpu_wait_ns: less(self.vcpu_wait_ns, before.vcpu_wait_ns),
            unsupplied_ns: None,
            exits: less(self.exits, before.exits),
            halt_poll_ns: less(self.halt_poll_ns, before.halt_poll_ns),
            vhost_threads: self.vhost_ns.iter().map(|&one| vhost(one, before)).collect(),
        }
    }
}

fn vhost((tid, now): (Tid, Option<u64>), before: &Counted) -> VhostThread {
    let then = before.vhost_ns.iter().find(|(one, _)| *one == tid);
    // One that came meanwhile has used all its time since.
    let then = then.map_or(Some(0), |(_, then)| *then);
    VhostThread {
        tid,
        cpus: affinity::get(tid).unwrap_or_default(),
        cpu_ns: now.zip(then).map(|(now, then)| now.saturating_sub(then)),
    }
}

/// A statistic of the VMs of process `pid` in debugfs (`kvm/<pid>-<fd>/<name>`, all vCPUs together).
fn statistic(kvm: &Path, pid: i32, name: &str) -> Option<u64> {
    let of_process = format!("{pid}-");
    let machines: Vec<_> = fs::read_dir(kvm)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().is_some_and(|own| own.to_string_lossy().starts_with(&of_process))
        })
        .collect();
    // No machine there is no count of zero.
    if machines.is_empty() {
        return None;
    }
    machines.iter().map(|machine| line_of(&machine.join(name))?.parse::<u64>().ok()).sum()
}

/// Time in which the vCPUs' threads wanted to run between `from_ns` and `to_ns` and did not, as the
/// rows of `supply.csv` tell; of one VM where there are several.
///
/// # Errors
/// A malformed row.
pub fn unsupplied_ns(supply_csv: &Path, vm: Option<&str>, from_ns: u64, to_ns: u64) -> Result<u64> {
    let mut rows: Vec<Supply> = read_csv(supply_csv)?;
    rows.retain(|row| row.thread.starts_with("vcpu") && (vm.is_none() || row.vm.as_deref() == vm));
    rows.sort_by(|a, b| (&a.thread, a.start_ns).cmp(&(&b.thread, b.start_ns)));
    let waited = |pair: &[Supply]| -> u64 {
        let [before, after] = pair else { return 0 };
        let since = match before.ended {
            Some(Ended::Runnable) => before.end_ns,
            Some(Ended::Slept) => after.woken_ns.unwrap_or(after.start_ns),
            // Nothing tells what came after.
            None => after.start_ns,
        };
        after.start_ns.min(to_ns).saturating_sub(since.max(from_ns))
    };
    let of_one_thread = |pair: &&[Supply]| pair[0].thread == pair[1].thread;
    Ok(rows.windows(2).filter(of_one_thread).map(waited).sum())
}

#[cfg(test)]
mod tests {
    use kernel::procfs::Proc;
    use model::sample::write_csv;

    use super::*;

    fn put(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn counted(root: &Path) -> Counted {
        let proc = Proc::at(&root.join("proc"));
        let roots = Roots { proc, sys: root.join("sys"), root: root.to_owned() };
        Counted::on_host(&roots, 70, &[71, 72])
    }

    #[test]
    fn what_kvm_counts_is_of_this_vm_alone() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let debug = |machine: &str, name: &str| format!("sys/kernel/debug/kvm/{machine}/{name}");
        let (exits, other) = (debug("70-12", "exits"), debug("7-9", "exits"));
        let (success, fail) =
            (debug("70-12", "halt_poll_success_ns"), debug("70-12", "halt_poll_fail_ns"));
        let at = |values: [&str; 7]| {
            put(
                root,
                &[
                    ("proc/71/schedstat", values[0]),
                    ("proc/72/schedstat", values[1]),
                    (&exits, values[2]),
                    (&other, values[3]),
                    (&success, values[4]),
                    (&fail, values[5]),
                    ("proc/80/comm", "vhost-70\n"),
                    ("proc/80/stat", "80 (vhost-70) S 2 0 0 0 -1 2097152 0 0 0 0 0 0 0 0"),
                    ("proc/80/schedstat", values[6]),
                ],
            );
            counted(root)
        };
        let before = at(["9 100 0", "9 10 0", "50", "7", "1000", "20", "500 0 0"]);
        let after = at(["99 400 0", "99 20 0", "80", "999", "4000", "30", "800 0 0"]);
        let run = after.with_guest(Some(70)).since(&before.with_guest(Some(30)));
        assert_eq!((run.guest_steal_ns, run.vcpu_wait_ns), (Some(40), Some(310)));
        assert_eq!((run.exits, run.halt_poll_ns), (Some(30), Some(3010)));
        let vhost: Vec<_> = run.vhost_threads.iter().map(|one| (one.tid, one.cpu_ns)).collect();
        assert_eq!(vhost, [(80, Some(300))]);
    }

    #[test]
    fn what_a_host_does_not_tell_is_unknown_and_not_zero() {
        let root = tempfile::tempdir().unwrap();
        let run = counted(root.path()).since(&counted(root.path()));
        assert_eq!(run, KvmRun::default());
        assert_eq!((run.exits, run.vcpu_wait_ns, run.guest_steal_ns), (None, None, None));
    }

    #[test]
    fn steal_is_the_eighth_number_of_the_first_line() {
        let stat = "cpu  10 0 20 300 4 0 5 17 0 0\ncpu0 10 0 20 300 4 0 5 17 0 0\nintr 9\n";
        assert_eq!(steal_ns(stat), Some(170_000_000));
        assert_eq!(steal_ns("cpu  10 0 20 300\n"), None);
        assert_eq!(steal_ns(""), None);
    }

    #[test]
    fn a_vcpu_waits_where_it_was_preempted_and_from_its_wake_up_on() {
        let row = |thread: &str, start_ns, end_ns, woken_ns, ended| Supply {
            start_ns,
            end_ns,
            thread: thread.to_owned(),
            cpu: Some(1),
            woken_ns,
            ended,
            vm: None,
        };
        let rows = [
            row("vcpu0", 0, 10, None, Some(Ended::Runnable)),
            row("vcpu1", 5, 8, None, Some(Ended::Runnable)),
            row("vcpu0", 30, 40, None, Some(Ended::Slept)),
            row("main-loop", 41, 42, None, Some(Ended::Runnable)),
            row("vcpu0", 60, 70, Some(55), None),
            row("vcpu0", 90, 95, None, Some(Ended::Slept)),
        ];
        let file = tempfile::NamedTempFile::new().unwrap();
        write_csv(file.path(), &rows).unwrap();
        // 20 after the preemption, 5 from the wake-up; the gap after lost events tells nothing.
        assert_eq!(unsupplied_ns(file.path(), None, 0, 100).unwrap(), 25);
        assert_eq!(unsupplied_ns(file.path(), None, 15, 58).unwrap(), 15 + 3);
    }
}
