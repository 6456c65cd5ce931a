//! Real reservations: on a real KVM vCPU thread, and under cgroup v2 inside a guest.

use std::{
    fs,
    path::Path,
    process::Stdio,
    sync::atomic::AtomicBool,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    mechanisms::{PROMISED, Trial, delivers},
    support::{orchestrator, sibling, turn},
};
use kernel::procfs::Proc;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orchestrator::guest::{
    Accelerator, Contents, Guest, GuestSpec, Plain, Status, default_cache, ensure_kernel,
    find_qemu, spin,
};

/// What (28 ms, 50 ms) promises, within what a tick's granularity and a stall do to a few seconds.
fn is_the_promised_share(share: f64) -> bool {
    (0.53..0.59).contains(&share)
}

#[test]
fn a_kvm_vcpu_thread_gets_its_reservation() {
    const TEST: &str = "a_kvm_vcpu_thread_gets_its_reservation";
    let Some(_turn) = turn(TEST) else { return };
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        eprintln!("SKIPPED: {TEST}: /dev/kvm cannot be opened: {error}");
        return;
    }
    let Ok(qemu) = find_qemu() else {
        eprintln!("SKIPPED: {TEST}: QEMU is not installed");
        return;
    };
    let logs = tempfile::tempdir().unwrap();
    let guest = spin(&Plain, &qemu, logs.path(), &AtomicBool::new(false)).unwrap();
    let unreserved = share(guest.vcpu_thread(), Duration::from_secs(1));
    assert!(unreserved > 0.8, "the vCPU does not spin: {unreserved}");

    let state = tempfile::tempdir().unwrap();
    let mut reserve = orchestrator(state.path())
        .args(["reserve", "--pid", &guest.pid().to_string(), "--reservation", "28ms/50ms"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("a reservation", || {
        kernel::sched::get(guest.vcpu_thread())
            .is_ok_and(|now| now.policy.to_string().starts_with("SCHED_DEADLINE"))
    });
    let reserved = share(guest.vcpu_thread(), Duration::from_secs(4));
    kill(Pid::from_raw(reserve.id() as i32), Signal::SIGINT).unwrap();
    assert!(reserve.wait().unwrap().success());
    assert!(is_the_promised_share(reserved), "{reserved}");
    let after = kernel::sched::get(guest.vcpu_thread()).unwrap().policy.to_string();
    assert!(after.starts_with("SCHED_OTHER"), "not undone: {after}");
}

/// The share of a CPU that a thread uses over `length`.
fn share(tid: i32, length: Duration) -> f64 {
    let used = || Proc::default().thread_times(tid).unwrap().cpu_ns;
    let (start, before) = (Instant::now(), used());
    sleep(length);
    (used() - before) as f64 / start.elapsed().as_nanos() as f64
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < give_up, "{what} did not come");
        sleep(Duration::from_millis(20));
    }
}

/// Most lab hosts have cgroup v2 only, and this one may not: so it is tried inside a guest that has
/// it, with the very program that runs on hosts.
// Every test run has the same in a lab host, under KVM.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn cgroup_v2_partitions_and_reserves_inside_a_guest() {
    const TEST: &str = "cgroup_v2_partitions_and_reserves_inside_a_guest";
    let Some(_turn) = turn(TEST) else { return };
    let Ok(qemu) = find_qemu() else {
        eprintln!("SKIPPED: {TEST}: QEMU is not installed");
        return;
    };
    let cache = default_cache().unwrap();
    let logs = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_orchestrator"));
    let spec = GuestSpec {
        name: "cgroup-v2".into(),
        vcpus: 2,
        contents: Contents::default().with_program(program),
        agent: Some(sibling("guest-agent")),
        logs: logs.path().to_owned(),
        kernel: ensure_kernel(&cache).unwrap(),
        cache,
        ..GuestSpec::default()
    };
    let stop = AtomicBool::new(false);
    let limit = Duration::from_secs(60);
    let guest = Guest::launch(&Plain, &qemu, &spec, Accelerator::Tcg, limit, &stop).unwrap();
    let drill = ["/bin/orchestrator", "helper", "drill", "--end", "success"];
    let output = guest.run(&drill, limit, &stop).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status, Status::Code(0), "{said}{complaints}");
    assert!(said.contains("cgroup v2\n"), "{said}");
    let share: f64 =
        said.lines().find_map(|line| line.strip_prefix("share ")?.parse().ok()).unwrap();
    assert!(is_the_promised_share(share), "{share}");
    // The mechanisms' own tests, there: `cpu.max`, `cpu.weight` and the rest in one tree.
    let second = |name: &str| {
        let trial =
            ["/bin/orchestrator", "helper", "trial", "--duration", "1s", "--mechanism", name];
        let output = guest.run(&trial, limit, &stop).unwrap_or_else(|e| panic!("{name}: {e:#}"));
        let said =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        Trial::read(&said.concat())
    };
    for promised in PROMISED {
        delivers(promised, second);
    }
    let group = second("rt-group");
    assert!(group.refused["rt-group"].contains("cpu.rt.max"), "{group:?}");
    let left = guest.run(&["/bin/orchestrator", "restore"], limit, &stop).unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "nothing to restore\n");
    guest.shutdown().unwrap();
}
