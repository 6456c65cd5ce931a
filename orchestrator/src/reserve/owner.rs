//! Never a stranger's thread: whether the thread ids that were told belong to the machine that was
//! named, and what they are here where it counts them in a PID namespace of its own.

use anyhow::{Context, Result, bail};
use kernel::{affinity::Tid, procfs::Proc};

use crate::{error::Refusal, mechanism::Vm};

/// The machine behind a QMP socket, which process `peer` listens on and says has these threads.
///
/// # Errors
/// [`Refusal::Usage`] where one is none of that process's.
pub(super) fn of_peer(peer: i32, told: &[Tid], proc: &Proc) -> Result<Vm> {
    if peer <= 0 {
        bail!(Refusal::Usage(
            "--qmp: who listens on the socket is in a PID namespace that cannot be seen from here; \
             run this on the host, or give --pid or --tid"
                .to_owned()
        ));
    }
    let threads = proc.threads(peer).with_context(|| format!("--qmp: process {peer}"))?;
    let known: Vec<(Tid, Tid)> =
        threads.into_iter().filter_map(|tid| Some((inner_id(proc, tid)?, tid))).collect();
    let here = |told: &Tid| {
        known.iter().find(|(inner, _)| inner == told).map(|(_, tid)| *tid).ok_or_else(|| {
            Refusal::Usage(format!(
                "--qmp: vCPU thread {told}, of which the socket tells, is none of process {peer}, \
                 which listens on it; where something stands between (libvirt, socat), give --domain \
                 or --pid"
            ))
        })
    };
    let vcpus = told.iter().map(here).collect::<Result<Vec<_>, _>>()?;
    if vcpus.is_empty() {
        bail!(Refusal::Usage("--qmp: the machine has no vCPU threads".to_owned()));
    }
    Ok(Vm { pid: peer, vcpus })
}

/// The id of a thread in the innermost PID namespace that it is in; none where it is gone.
fn inner_id(proc: &Proc, tid: Tid) -> Option<Tid> {
    let status = proc.text(&format!("{tid}/status")).ok()?;
    match status.lines().find_map(|line| line.strip_prefix("NSpid:")) {
        Some(ids) => ids.split_whitespace().next_back()?.parse().ok(),
        // A kernel without PID namespaces.
        None => Some(tid),
    }
}

/// The machine of libvirt's domain `name`, whose threads libvirt told.
///
/// # Errors
/// [`Refusal::Usage`] where they are those of a process that is no such domain: of another host, for
/// example.
pub(super) fn of_domain(name: &str, told: &[Tid], proc: &Proc) -> Result<Vm> {
    let vm = of_threads(told, "--domain", proc)?;
    let line = proc.text(&format!("{}/cmdline", vm.pid)).unwrap_or_default();
    let guest = format!("guest={name}");
    let is_it = |argument: &str| argument.split(',').any(|part| part == guest || part == name);
    if !line.split('\0').any(is_it) {
        bail!(Refusal::Usage(format!(
            "--domain: vCPU thread {} belongs to process {}, which is not QEMU with `-name {guest}`; \
             if libvirt is on another host, run this there",
            vm.vcpus[0], vm.pid
        )));
    }
    Ok(vm)
}

/// The machine that has these threads.
///
/// # Errors
/// [`Refusal::Usage`] where one does not exist, or they are of several processes.
pub(super) fn of_threads(tids: &[Tid], option: &str, proc: &Proc) -> Result<Vm> {
    let mut machine: Option<Vm> = None;
    for &tid in tids {
        let status = proc.text(&format!("{tid}/status")).unwrap_or_default();
        let pid = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
        let Some(pid) = pid else {
            bail!(Refusal::Usage(format!("{option}: there is no thread {tid}")));
        };
        let vm = machine.get_or_insert(Vm { pid, vcpus: Vec::new() });
        if vm.pid != pid {
            bail!(Refusal::Usage(format!(
                "{option}: thread {tid} belongs to process {pid}, thread {} to process {}; give \
                 threads of one machine",
                vm.vcpus[0], vm.pid
            )));
        }
        if !vm.vcpus.contains(&tid) {
            vm.vcpus.push(tid);
        }
    }
    machine.ok_or_else(|| Refusal::Usage(format!("{option}: no vCPU threads")).into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A `/proc` with these threads: process, id, `NSpid:`; process 7 is domain `web`.
    fn tree(threads: &[(i32, Tid, &str)]) -> (tempfile::TempDir, Proc) {
        let root = tempfile::tempdir().unwrap();
        for (pid, tid, inner) in threads {
            fs::create_dir_all(root.path().join(format!("{pid}/task/{tid}"))).unwrap();
            let own = root.path().join(tid.to_string());
            fs::create_dir_all(&own).unwrap();
            fs::write(own.join("status"), format!("Tgid:\t{pid}\n{inner}\n")).unwrap();
            fs::write(own.join("cmdline"), "qemu\0-name\0guest=web,debug-threads=on\0").unwrap();
        }
        let proc = Proc::at(root.path());
        (root, proc)
    }

    fn refused(result: Result<Vm>) -> String {
        let error = result.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Refusal::Usage(_))), "{error:#}");
        error.to_string()
    }

    #[test]
    fn threads_of_a_container_are_translated() {
        let (_root, proc) =
            tree(&[(70, 70, "NSpid:\t70\t1"), (70, 71, "NSpid:\t71\t4"), (4, 4, "NSpid:\t4")]);
        // Thread 4 of this host is somebody else's.
        assert_eq!(of_peer(70, &[4], &proc).unwrap(), Vm { pid: 70, vcpus: vec![71] });
    }

    #[test]
    fn threads_of_this_host_are_themselves() {
        let (_root, proc) = tree(&[(7, 7, "NSpid:\t7"), (7, 8, "NSpid:\t8"), (7, 9, "")]);
        assert_eq!(of_peer(7, &[9, 8], &proc).unwrap().vcpus, [9, 8]);
    }

    #[test]
    fn a_strangers_thread_is_refused() {
        let (_root, proc) = tree(&[(7, 7, "NSpid:\t7"), (9, 9, "NSpid:\t9")]);
        let error = refused(of_peer(7, &[9], &proc));
        assert!(error.contains("thread 9") && error.contains("none of process 7"), "{error}");
        assert!(refused(of_peer(0, &[7], &proc)).contains("PID namespace"));
        assert!(refused(of_threads(&[7, 9], "--tid", &proc)).contains("threads of one machine"));
        assert!(refused(of_threads(&[11], "--tid", &proc)).contains("no thread 11"));
    }

    #[test]
    fn a_domain_is_known_by_its_name() {
        let (_root, proc) = tree(&[(7, 7, ""), (7, 8, "")]);
        assert_eq!(of_domain("web", &[8], &proc).unwrap(), Vm { pid: 7, vcpus: vec![8] });
        assert!(refused(of_domain("mail", &[8], &proc)).contains("guest=mail"));
    }
}
