//! The threads that carry a VM's network traffic in the kernel (vhost-net, vhost-scsi, vhost-vsock).

use kernel::{affinity::Tid, procfs::Proc};

/// Those of QEMU's process `pid`, ascending. They are named `vhost-<pid>`: threads of the kernel up
/// to Linux 6.3, of QEMU's process since (`vhost_task`).
#[must_use]
pub fn vhost_threads(proc: &Proc, pid: i32) -> Vec<Tid> {
    let name = format!("{NAME}{pid}");
    let mut found = of_kernel(proc, |own| own == name);
    found.extend(of_process(proc, pid));
    found.sort_unstable();
    found
}

/// Those of all VMs, ascending.
#[must_use]
pub fn all_vhost_threads(proc: &Proc) -> Vec<Tid> {
    let mut found = of_kernel(proc, |own| own.starts_with(NAME));
    let processes = proc.processes().unwrap_or_default();
    found.extend(processes.into_iter().flat_map(|pid| of_process(proc, pid)));
    found.sort_unstable();
    found
}

const NAME: &str = "vhost-";

fn of_kernel(proc: &Proc, named: impl Fn(&str) -> bool) -> Vec<Tid> {
    let processes = proc.processes().unwrap_or_default().into_iter();
    processes
        .filter(|&tid| proc.name(tid).is_ok_and(|own| named(&own)))
        .filter(|&tid| proc.kind(tid).is_ok_and(|kind| kind.kernel))
        .collect()
}

fn of_process(proc: &Proc, pid: i32) -> Vec<Tid> {
    let name = format!("{NAME}{pid}");
    let mut threads = proc.threads(pid).unwrap_or_default();
    threads.retain(|&tid| tid != pid && proc.name(tid).is_ok_and(|own| own == name));
    threads
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn put(root: &Path, folder: &str, name: &str, flags: u32) {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
        let stat = format!("1 ({name}) S 2 0 0 0 -1 {flags} 0 0 0 0 0");
        fs::write(folder.join("stat"), stat).unwrap();
    }

    #[test]
    fn they_are_threads_of_the_kernel_or_of_the_process() {
        const KERNEL: u32 = 0x0020_0000;
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "70", "qemu-system-x86", 0);
        fs::create_dir_all(root.path().join("70/task/70")).unwrap();
        put(root.path(), "91", "vhost-70", KERNEL);
        put(root.path(), "92", "vhost-7", KERNEL);
        // Somebody's program with such a name.
        put(root.path(), "93", "vhost-70", 0);
        let proc = Proc::at(root.path());
        assert_eq!(vhost_threads(&proc, 70), [91]);
        fs::create_dir_all(root.path().join("70/task/75")).unwrap();
        put(root.path(), "75", "vhost-70", 0);
        assert_eq!(vhost_threads(&proc, 70), [75, 91]);
        assert_eq!(all_vhost_threads(&proc), [75, 91, 92]);
    }
}
