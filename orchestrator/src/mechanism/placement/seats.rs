//! What host and virtual machine look like, as far as placements depend on it. Nothing is changed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use kernel::{
    affinity::{self, Tid},
    cgroup::{Hierarchy, Version},
    cpuset::Cpusets,
};

use crate::{
    error::Refusal,
    host::{Roots, isolated, line_of},
    mechanism::Vm,
};

/// Where a vCPU thread is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Which.
    pub tid: Tid,
    /// Its group in the hierarchy of the cpuset controller.
    pub group: PathBuf,
    /// The CPUs that it may run on.
    pub affinity: Vec<u32>,
    /// The CPUs of its root domain.
    pub span: Vec<u32>,
}

impl Seat {
    /// Whether SCHED_DEADLINE takes it as it is.
    #[must_use]
    pub fn spans(&self) -> bool {
        self.span.iter().all(|cpu| self.affinity.contains(cpu))
    }
}

/// Why the threads cannot join a partition of the bench's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// They are in a threaded domain of their own, which no thread leaves (libvirt's are).
    Threaded(PathBuf),
    /// The process would have to move as a whole and leave its group, a scope or service, empty.
    Alone(PathBuf),
}

/// The VM's group right below the root, which could become a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// The group.
    pub group: PathBuf,
    /// Processes in it that are none of the VM's.
    pub others: usize,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seats {
    /// The hierarchy of the cpuset controller.
    pub cpusets: Cpusets,
    /// CPUs online.
    pub online: Vec<u32>,
    /// CPUs isolated at boot.
    pub isolated: Vec<u32>,
    /// The vCPU threads.
    pub vcpus: Vec<Seat>,
    /// What keeps them from being moved; none where nothing does.
    pub held: Option<Held>,
    /// None where the VM is in the root group, or on cgroup v1.
    pub top: Option<Top>,
}

impl Seats {
    /// Looks.
    ///
    /// # Errors
    /// Where the machine has ended, or there is no cpuset controller.
    pub fn look(roots: &Roots, vm: &Vm) -> Result<Self> {
        let cpusets = Cpusets::find(&roots.proc.text("mounts")?)
            .map_err(|error| Refusal::Lacking(error.to_string()))?;
        let hierarchy = cpusets.hierarchy();
        let online = line_of(&roots.sys.join("devices/system/cpu/online")).unwrap_or_default();
        let online = affinity::parse_list(&online).unwrap_or_default();
        let isolated = isolated(roots);
        let seat = |&tid: &Tid| -> Result<Seat> {
            let group = hierarchy.group_of(&roots.proc.text(&format!("{tid}/cgroup"))?);
            let group = group.unwrap_or_else(|| cpusets.root.clone());
            let affinity = cpus_allowed(roots, tid)?;
            let span = root_domain(&hierarchy, &group, &affinity, &online, &isolated);
            Ok(Seat { tid, group, affinity, span })
        };
        let vcpus = vm.vcpus.iter().map(seat).collect::<Result<Vec<_>>>()?;
        let mine = roots.proc.threads(vm.pid)?;
        let v2 = cpusets.version == Version::V2;
        let held = if v2 { held(&hierarchy, &vcpus, &mine, roots) } else { None };
        let top = vcpus.first().filter(|_| v2).and_then(|seat| {
            let group = hierarchy.lineage(&seat.group).last()?.to_owned();
            let others = strangers(&hierarchy, &group, &mine, roots);
            Some(Top { group, others })
        });
        Ok(Self { cpusets, online, isolated, vcpus, held, top })
    }
}

fn cpus_allowed(roots: &Roots, tid: Tid) -> Result<Vec<u32>> {
    let status = roots.proc.text(&format!("{tid}/status"))?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    Ok(list.and_then(affinity::parse_list).unwrap_or_default())
}

/// The CPUs of a thread's root domain: those of the nearest partition around its group; those that
/// were isolated at boot, which no scheduling domain has, are one for themselves.
fn root_domain(
    hierarchy: &Hierarchy,
    group: &Path,
    affinity: &[u32],
    online: &[u32],
    isolated: &[u32],
) -> Vec<u32> {
    let list = |path: PathBuf| affinity::parse_list(&fs::read_to_string(path).ok()?);
    let is_root = |group: &Path| {
        fs::read_to_string(group.join("cpuset.cpus.partition"))
            .is_ok_and(|state| ["root", "isolated"].contains(&state.trim()))
    };
    let nearest = hierarchy.lineage(group).find(|above| is_root(above)).unwrap_or(&hierarchy.root);
    let cpus = list(nearest.join("cpuset.cpus.effective")).unwrap_or_else(|| online.to_vec());
    let apart = !affinity.is_empty() && affinity.iter().all(|cpu| isolated.contains(cpu));
    if apart {
        return isolated.iter().copied().filter(|cpu| online.contains(cpu)).collect();
    }
    cpus.into_iter().filter(|cpu| !isolated.contains(cpu)).collect()
}

/// What keeps the threads where they are, on v2.
fn held(hierarchy: &Hierarchy, vcpus: &[Seat], mine: &[Tid], roots: &Roots) -> Option<Held> {
    for seat in vcpus {
        let domain = hierarchy.domain_of(&seat.group);
        if domain == hierarchy.root {
            continue;
        }
        if domain != seat.group {
            return Some(Held::Threaded(domain));
        }
        if strangers(hierarchy, &domain, mine, roots) == 0 {
            return Some(Held::Alone(domain));
        }
    }
    None
}

/// Processes below a group that are none of the VM's, the kernel's own left out: those that it starts
/// for a VM (`kvm-nx-lpage-recovery`, `vhost`) are in the VM's groups.
pub(in crate::mechanism) fn strangers(
    hierarchy: &Hierarchy,
    group: &Path,
    mine: &[Tid],
    roots: &Roots,
) -> usize {
    let user = |tid: &Tid| {
        fs::read(roots.proc.path(&format!("{tid}/cmdline"))).is_ok_and(|text| !text.is_empty())
    };
    let process = |tid: Tid| {
        let status = roots.proc.text(&format!("{tid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse::<i32>().ok())
    };
    let threads = hierarchy.threads_below(group).into_iter();
    let others = threads.filter(|tid| !mine.contains(tid)).filter(user).filter_map(process);
    others.collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use kernel::procfs::Proc;

    use super::*;

    /// A made-up v2 host with CPUs 0 to 3.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new(isolated: &str) -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            let mount = host.0.path().join("cgroup");
            host.write("proc/mounts", &format!("cgroup2 {} cgroup2 rw 0 0\n", mount.display()));
            host.write("sys/devices/system/cpu/online", "0-3\n");
            host.write("sys/devices/system/cpu/isolated", isolated);
            host.write("cgroup/cgroup.controllers", "cpuset cpu\n");
            host.write("cgroup/cpuset.cpus.effective", "0-3\n");
            host
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn group(&self, group: &str, kind: &str, threads: &[Tid]) {
            self.write(&format!("cgroup/{group}/cgroup.type"), kind);
            let text: String = threads.iter().map(|tid| format!("{tid}\n")).collect();
            self.write(&format!("cgroup/{group}/cgroup.threads"), &text);
        }

        fn thread(&self, pid: Tid, tid: Tid, group: &str, cpus: &str) {
            let status = format!("Name:\tx\nTgid:\t{pid}\nCpus_allowed_list:\t{cpus}\n");
            self.write(&format!("proc/{tid}/status"), &status);
            self.write(&format!("proc/{tid}/cgroup"), &format!("0::/{group}\n"));
            self.write(&format!("proc/{tid}/cmdline"), "qemu\0");
            self.write(&format!("proc/{pid}/task/{tid}/comm"), "x");
        }

        fn look(&self) -> Seats {
            let path = |below: &str| self.0.path().join(below);
            let proc = Proc::at(&path("proc"));
            let roots = Roots { proc, sys: path("sys"), root: path("root") };
            Seats::look(&roots, &Vm { pid: 10, vcpus: vec![11] }).unwrap()
        }
    }

    /// As libvirt 9.0 arranges it; a thread of the kernel's (20) is beside the emulator's.
    fn libvirt(isolated: &str, cpus: &str) -> Host {
        let host = Host::new(isolated);
        host.group("machine.slice", "domain", &[]);
        host.group("machine.slice/vm.scope", "domain", &[]);
        host.group("machine.slice/vm.scope/libvirt", "domain threaded", &[]);
        host.group("machine.slice/vm.scope/libvirt/emulator", "threaded", &[10, 20]);
        host.group("machine.slice/vm.scope/libvirt/vcpu0", "threaded", &[11]);
        host.thread(10, 10, "machine.slice/vm.scope/libvirt/emulator", "0-3");
        host.thread(10, 11, "machine.slice/vm.scope/libvirt/vcpu0", cpus);
        host.thread(20, 20, "machine.slice/vm.scope/libvirt/emulator", "0-3");
        host.write("proc/20/cmdline", "");
        host
    }

    #[test]
    fn libvirts_threads_are_held_by_their_domain() {
        let host = libvirt("\n", "1");
        let seats = host.look();
        let at = |below: &str| host.0.path().join("cgroup").join(below);
        assert_eq!(seats.held, Some(Held::Threaded(at("machine.slice/vm.scope/libvirt"))));
        let top = Top { group: at("machine.slice"), others: 0 };
        assert_eq!(seats.top, Some(top.clone()), "a thread of the kernel's is nobody else's");
        let seat = &seats.vcpus[0];
        assert_eq!(seat.group, at("machine.slice/vm.scope/libvirt/vcpu0"));
        assert_eq!((&seat.affinity[..], seat.spans()), (&[1][..], false));
        host.group("machine.slice/other.scope", "domain", &[30, 31]);
        host.thread(30, 30, "machine.slice/other.scope", "0-3");
        host.thread(30, 31, "machine.slice/other.scope", "0-3");
        assert_eq!(host.look().top, Some(Top { others: 1, ..top }), "one process of two threads");
    }

    #[test]
    fn a_process_may_be_moved_unless_that_leaves_its_group_empty() {
        let host = Host::new("\n");
        host.group("user.slice/s.scope", "domain", &[10, 11]);
        host.thread(10, 10, "user.slice/s.scope", "0-3");
        host.thread(10, 11, "user.slice/s.scope", "0-3");
        let scope = host.0.path().join("cgroup/user.slice/s.scope");
        assert_eq!(host.look().held, Some(Held::Alone(scope)));
        assert!(host.look().vcpus[0].spans());
        host.group("user.slice/s.scope", "domain", &[10, 11, 30]);
        host.thread(30, 30, "user.slice/s.scope", "0-3");
        assert_eq!(host.look().held, None);
        host.thread(10, 11, "", "0-3");
        assert_eq!((host.look().held, host.look().top), (None, None), "in the root group");
    }

    #[test]
    fn the_root_domain_is_the_nearest_partition_without_what_was_isolated_at_boot() {
        let span = |host: &Host| host.look().vcpus[0].span.clone();
        assert_eq!(span(&libvirt("\n", "0-3")), [0, 1, 2, 3]);
        assert_eq!(span(&libvirt("2-3\n", "0-1")), [0, 1]);
        assert_eq!(span(&libvirt("2-3\n", "3")), [2, 3], "those that were are one together");
        let host = libvirt("\n", "1");
        host.write("cgroup/machine.slice/cpuset.cpus.partition", "root\n");
        host.write("cgroup/machine.slice/cpuset.cpus.effective", "1\n");
        assert!(host.look().vcpus[0].spans(), "somebody made it a partition");
        let invalid = "root invalid (Cpu list empty)\n";
        host.write("cgroup/machine.slice/cpuset.cpus.partition", invalid);
        assert_eq!(span(&host), [0, 1, 2, 3]);
    }
}
