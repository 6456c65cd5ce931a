//! Virtual machines that somebody else started, in suites: found, measured with and without a
//! reservation, and left as they were; one that ends in the middle.

use std::{
    fs, path::Path, process::Command, sync::atomic::AtomicBool, thread::sleep, time::Duration,
};

use model::manifest::Status;
use orchestrator::guest::{Guest, Network};

use crate::{
    guest::{Bench, bench, exists},
    own_service::{manifest, ports, requests, run, started},
    support::{HostState, example, sibling, stderr},
};

/// Somebody's QEMU, in which a program answers on this port of the host.
fn theirs(test: &str) -> Option<(Bench, Guest, u16)> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: {test}: it needs root");
        return None;
    }
    let mut bench = bench(test)?;
    sibling("rtload");
    let port = ports(1)[0];
    bench.spec.network = Network::User { forwards: vec![(port, 9000)] };
    bench.spec.contents = bench.spec.contents.clone().with_program(&example("answer"));
    let stop = AtomicBool::new(false);
    let guest = bench.launch(&stop).unwrap();
    guest.start(&["/bin/answer", "9000"], &[], &stop).unwrap();
    Some((bench, guest, port))
}

const HEAD: &str = "name = \"running\"\n[host]\nkeep_awake = true\n[noise]\nretries = 0\n";

/// A client asks the VM that `found` names, forty times.
fn experiment(name: &str, found: &str, vcpu: &str, port: u16, rest: &str) -> String {
    format!(
        "[[experiment]]\nname = \"{name}\"\n{rest}\n[[experiment.vm]]\nname = \"shop\"\n{found}\n\
         vcpus = [{{ {vcpu} }}]\nservice = [{{ web = {{ url = \"http://127.0.0.1:{port}/a\", \
         ready = \"/health\", clients = 1, requests = 40, keep_alive = false }} }}]\n"
    )
}

const RESERVED: &str = "budget = \"28ms\", period = \"50ms\"";
const LOAD: &str = "load = { tasks = [\"30ms/60ms\"], backlog = \"drop\" }";

/// How every thread of a process is scheduled, on which CPUs, in which groups.
fn threads(pid: i32) -> Vec<String> {
    let mut all = kernel::procfs::Proc::default().threads(pid).unwrap();
    all.sort_unstable();
    let of = |tid: &i32| {
        let cpus = kernel::affinity::get(*tid).unwrap();
        let groups = fs::read_to_string(format!("/proc/{tid}/cgroup")).unwrap();
        format!("{tid} {} {cpus:?} {groups}", kernel::sched::get(*tid).unwrap().policy)
    };
    all.iter().map(of).collect()
}

#[test]
fn a_vm_that_runs_already_is_measured_and_left_as_it_was() {
    const TEST: &str = "a_vm_that_runs_already_is_measured_and_left_as_it_was";
    let Some((_bench, guest, port)) = theirs(TEST) else { return };
    let (before, own) = (HostState::now(), threads(guest.pid()));
    let qmp = format!("qmp = \"{}\"", guest.qmp_socket().display());
    let pid = format!("pid = {}", guest.pid());
    let suite = HEAD.to_owned()
        + &experiment("free", &pid, "", port, "duration = \"2s\"")
        + &experiment("reserved", &qmp, RESERVED, port, &format!("duration = \"2s\"\n{LOAD}"));
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &suite, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    before.is_back();
    assert_eq!(threads(guest.pid()), own, "its threads are not as they were");
    let (results, manifest) = manifest(&output);
    assert_eq!(manifest.accelerator.as_ref().unwrap().name, "tcg");
    for record in &manifest.repetitions {
        assert_eq!(record.status, Status::Done, "{record:?}");
        let rows = requests(&results, &record.experiment);
        assert_eq!(rows.len(), 40);
        assert!(rows.iter().all(|row| row.error.is_none() && row.vm.as_deref() == Some("shop")));
        assert!(record.facts.vcpu_share.is_some() && record.facts.boot_ns.is_none(), "{record:?}");
        assert_eq!(record.facts.guest_clock_offset_ns, None);
    }
    let traced = manifest.repetitions.iter().all(|own| own.facts.trace.is_some());
    if orchestrator::trace::available(&orchestrator::host::Roots::default()).is_ok() {
        assert!(traced);
        supplied(&results);
    }
    let table = Command::new(sibling("reports")).arg("table").arg(&results).output().unwrap();
    assert!(table.status.success(), "{}", stderr(&table));
}

/// The report tells what it was supplied with.
fn supplied(results: &Path) {
    let mut command = Command::new(sibling("reports"));
    let output =
        command.arg("supply").arg(results).args(["--experiment", "reserved"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("28"), "{said}{}", stderr(&output));
}

#[test]
#[ignore = "part of the campaign `make torture`"]
fn a_vm_that_stays_where_it_is_is_reserved_there_and_its_end_is_the_reason() {
    const TEST: &str = "a_vm_that_stays_where_it_is_is_reserved_there_and_its_end_is_the_reason";
    let Some((_bench, guest, port)) = theirs(TEST) else { return };
    let (before, own) = (HostState::now(), threads(guest.pid()));
    let pid = format!("pid = {}", guest.pid());
    let global = format!("{pid}\nplacement = \"global\"");
    let stays = HEAD.to_owned() + &experiment("e", &global, RESERVED, port, "duration = \"2s\"");
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &stays, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("without a partition"), "{}", stderr(&output));
    before.is_back();
    assert_eq!(threads(guest.pid()), own, "its threads are not as they were");
    let (_, told) = manifest(&output);
    assert_eq!(told.repetitions[0].stalled_share, None, "no sentinel watched");

    let long = experiment("e", &pid, RESERVED, port, "duration = \"60s\"");
    let long = HEAD.to_owned() + &long.replace("requests = 40", "requests = 1000000");
    let folder = tempfile::tempdir().unwrap();
    let child = started(folder.path(), &long, &[]);
    let reserved = || {
        let now = kernel::sched::get(guest.vcpu_threads()[0]).unwrap();
        now.policy.to_string().starts_with("SCHED_DEADLINE")
    };
    for _ in 0..600 {
        if reserved() {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    assert!(reserved(), "no reservation came");
    sleep(Duration::from_millis(1500));
    let process = guest.pid();
    drop(guest);
    let output = child.wait_with_output().unwrap();
    assert!(!exists(process));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    // What was the VM's own has gone with it.
    let mut changes = before.changes();
    changes.retain(|change| !change.contains(&format!(" {process} ")));
    assert!(changes.is_empty(), "{changes:#?}");
    let (_, told) = manifest(&output);
    let record = &told.repetitions[0];
    let error = record.error.as_deref().unwrap_or_default();
    assert_eq!(record.status, Status::Failed);
    assert!(error.contains(&format!("process {process} is gone")), "{record:?}");
}

#[test]
fn a_vm_that_is_not_there_is_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    for (found, code, wanted) in [
        ("pid = 2147483647", 2, "key `pid`: there is no process 2147483647"),
        ("qmp = \"/no/such/socket\"", 2, "/no/such/socket"),
        ("libvirt = \"nobody\"", 3, "key `libvirt`: virsh is not installed"),
        ("pid = 7\nqmp = \"s\"", 2, "one finds the VM"),
    ] {
        let suite = HEAD.to_owned() + &experiment("e", found, RESERVED, 1, "");
        let output = run(folder.path(), &suite, &[]);
        let said = stderr(&output);
        if found.starts_with("libvirt") && !said.contains("virsh is not installed") {
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("key `libvirt`"), "{said}");
            continue;
        }
        if output.status.code() == Some(3) && !nix::unistd::geteuid().is_root() {
            continue;
        }
        assert_eq!(output.status.code(), Some(code), "{found}: {said}");
        assert!(said.contains(wanted), "{found}: {said}");
        assert!(!folder.path().join("state").exists(), "{found}: a journal was begun");
    }
}
