//! `orchestrator reserve` on a QEMU that somebody else started: watched, kept, released, and ended
//! under its eyes.

use std::{
    env,
    fs::{self, OpenOptions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::atomic::AtomicBool,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::support::{HostState, orchestrator, stderr, stdout, turn};
use orchestrator::guest::{Plain, SpinningGuest, find_qemu, spin};

/// A guest that spins under KVM; none, and said so, where that cannot be.
fn spinning(test: &str, logs: &Path) -> Option<SpinningGuest> {
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        eprintln!("SKIPPED: {test}: /dev/kvm cannot be opened: {error}");
        return None;
    }
    let Ok(qemu) = find_qemu() else {
        eprintln!("SKIPPED: {test}: QEMU is not installed");
        return None;
    };
    Some(spin(&Plain, &qemu, logs, &AtomicBool::new(false)).unwrap())
}

fn policy(tid: i32) -> String {
    kernel::sched::get(tid).map(|now| now.policy.to_string()).unwrap_or_default()
}

fn wait_for_reservation(tid: i32) {
    let give_up = Instant::now() + Duration::from_secs(10);
    while !policy(tid).starts_with("SCHED_DEADLINE") {
        assert!(Instant::now() < give_up, "no reservation came");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_kept_reservation_stays_until_it_is_released() {
    const TEST: &str = "a_kept_reservation_stays_until_it_is_released";
    let Some(_turn) = turn(TEST) else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(guest) = spinning(TEST, folder.path()) else { return };
    let state = folder.path().join("state");
    let run = |arguments: &[&str]| -> Output {
        orchestrator(&state).args(arguments).stdin(Stdio::null()).output().unwrap()
    };
    let pid = guest.pid().to_string();
    let before = HostState::now();
    let reserve = ["reserve", "--pid", &pid, "--reservation", "28ms/50ms", "--keep"];
    let kept = run(&reserve);
    assert!(kept.status.success(), "{}", stderr(&kept));
    assert!(stderr(&kept).contains("(CPU 0/KVM): vCPU, SCHED_DEADLINE"), "{}", stderr(&kept));
    assert!(policy(guest.vcpu_thread()).starts_with("SCHED_DEADLINE"));
    // What is kept is no leftover of a killed run, and nobody else gets the CPU meanwhile.
    assert_eq!(stdout(&run(&["restore"])), "nothing to restore\n");
    let again = run(&reserve);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("orchestrator release"), "{}", stderr(&again));
    let nobody = run(&["release", "--pid", "1"]);
    assert_eq!(nobody.status.code(), Some(2), "{}", stderr(&nobody));

    let released = run(&["release", "--pid", &pid]);
    assert!(released.status.success(), "{}", stderr(&released));
    assert!(stdout(&released).starts_with("released: 1 reservations"), "{}", stdout(&released));
    assert!(policy(guest.vcpu_thread()).starts_with("SCHED_OTHER"));
    before.is_back();
    let unkeepable = run(&[&reserve[..], &["--mechanism", "timer-server"]].concat());
    assert_eq!(unkeepable.status.code(), Some(2), "{}", stderr(&unkeepable));
}

/// A `virsh` that knows one domain, in a folder of its own.
fn made_up_virsh(folder: &Path, vcpu: i32) {
    let script = format!(
        "#!/bin/sh\n\
         if [ \"$1 $2\" != 'qemu-monitor-command rtvm-spinning' ]; then\n\
         echo \"error: failed to get domain '$2'\" >&2; exit 1; fi\n\
         echo '{{\"return\":[{{\"cpu-index\":0,\"thread-id\":{vcpu}}}],\"id\":\"libvirt-7\"}}'\n"
    );
    let path = folder.join("virsh");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn with_virsh(command: &mut Command, folder: &Path) {
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display()));
}

#[test]
fn a_domain_is_watched_until_it_ends() {
    const TEST: &str = "a_domain_is_watched_until_it_ends";
    let Some(_turn) = turn(TEST) else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(guest) = spinning(TEST, folder.path()) else { return };
    made_up_virsh(folder.path(), guest.vcpu_thread());
    let state = folder.path().join("state");
    let reserve = |domain: &str, mechanism: &str| -> Child {
        let mut command = orchestrator(&state);
        command.args(["reserve", "--domain", domain, "--reservation", "28ms/50ms", "--watch"]);
        command.args(["--mechanism", mechanism]);
        with_virsh(&mut command, folder.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let before = HostState::now();
    let lacking = orchestrator(&state)
        .args(["reserve", "--domain", "rtvm-spinning", "--reservation", "28ms/50ms"])
        .env("PATH", folder.path().join("empty"))
        .output()
        .unwrap();
    assert_eq!(lacking.status.code(), Some(3), "{}", stderr(&lacking));
    assert!(stderr(&lacking).contains("libvirt-clients"), "{}", stderr(&lacking));
    let unknown = reserve("other", "deadline").wait_with_output().unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{}", stderr(&unknown));
    assert!(stderr(&unknown).contains("failed to get domain 'other'"), "{}", stderr(&unknown));

    let watching = reserve("rtvm-spinning", "timer-server");
    wait_for_reservation(guest.vcpu_thread());
    sleep(Duration::from_millis(3500));
    drop(guest);
    let output = watching.wait_with_output().unwrap();
    let (said, complaints) = (stdout(&output), stderr(&output));
    assert!(output.status.success(), "{complaints}");
    assert!(complaints.contains("the virtual machine has ended"), "{complaints}");
    assert!(complaints.contains("budgets ended"), "{complaints}");
    assert!(said.contains("of 0.560, least"), "{said}");
    let overall = said.lines().find_map(|line| line.split_once("(CPU 0/KVM) ")?.1.get(..5));
    let overall: f64 = overall.unwrap().parse().unwrap();
    assert!((0.53..0.59).contains(&overall), "{said}");
    before.is_back();
}
