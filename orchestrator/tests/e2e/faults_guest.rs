//! Faults of guests, each once: what the user is told, and that nothing is left.

use std::{os::unix::fs::PermissionsExt, sync::atomic::AtomicBool, time::Duration};

use model::Exit;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orchestrator::{
    error::exit_of,
    guest::{Accelerator, Qemu, Qmp, Status, unconfined},
};

use crate::{
    guest::{bench, exists},
    support::{alone, orchestrator, stderr},
};

/// Far above what any of them takes.
const LIMIT: Duration = Duration::from_secs(120);

/// What a command that brings its guest down is told as.
fn fatal(test: &str, script: &str) -> Option<String> {
    let bench = bench(test)?;
    let stop = AtomicBool::new(false);
    let guest = bench.launch(&stop).unwrap();
    let pid = guest.pid();
    let error = guest.run(&["sh", "-c", script], LIMIT, &stop).unwrap_err();
    guest.shutdown().unwrap_err();
    assert!(!exists(pid));
    Some(format!("{error:#}"))
}

#[test]
fn a_guest_whose_kernel_panics_is_told_with_the_panic() {
    let test = "a_guest_whose_kernel_panics_is_told_with_the_panic";
    let script = "echo c > /proc/sysrq-trigger; sleep 60";
    let Some(error) = fatal(test, script) else { return };
    assert!(error.contains("Kernel panic - not syncing: sysrq triggered crash"), "{error}");
    assert!(
        error.contains("QEMU (process ") && error.contains("ended with exit code 0"),
        "{error}"
    );
}

/// The kernel kills the command; its console says so, and the agent goes on.
// A panic of the kernel is told in the same way, and met every time.
#[test]
#[ignore = "part of the campaign `make torture`"]
fn a_guest_out_of_memory_loses_the_command_and_says_so_on_its_console() {
    let test = "a_guest_out_of_memory_loses_the_command_and_says_so_on_its_console";
    let Some(bench) = bench(test) else { return };
    let stop = AtomicBool::new(false);
    let guest = bench.launch(&stop).unwrap();
    let doubling = [
        "sh",
        "-c",
        "echo 1 > /proc/sys/vm/overcommit_memory; a=xxxxxxxx; while :; do a=$a$a; done",
    ];
    let output = guest.run(&doubling, LIMIT, &stop).unwrap();
    assert_eq!(output.status, Status::Signal(9), "{output:?}");
    assert_eq!(guest.run(&["uname"], LIMIT, &stop).unwrap().status, Status::Code(0));
    let console = bench.log("console.log");
    assert!(console.contains("Out of memory: Killed process"), "{console}");
    guest.shutdown().unwrap();
}

#[test]
fn a_stopped_qemu_is_a_time_out_that_says_so_and_it_is_killed() {
    let test = "a_stopped_qemu_is_a_time_out_that_says_so_and_it_is_killed";
    let Some(bench) = bench(test) else { return };
    let stop = AtomicBool::new(false);
    let guest = bench.launch(&stop).unwrap();
    let pid = guest.pid();
    let running = guest.start(&["sleep", "60"], &[], &stop).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    let error = guest.wait(&running, Duration::from_secs(1), &stop, |_, _| ()).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains(&format!("QEMU (process {pid}) is stopped")), "{text}");
    assert!(text.contains("did not come within"), "{text}");
    drop(running);
    drop(guest);
    assert!(!exists(pid));
}

#[test]
#[ignore = "part of the campaign `make torture`"]
fn an_agent_that_says_nothing_is_told_with_what_was_awaited() {
    let test = "an_agent_that_says_nothing_is_told_with_what_was_awaited";
    let Some(mut bench) = bench(test) else { return };
    // Lives, and does nothing that an /init does: `/init 1000`.
    bench.spec.agent = Some("/bin/sleep".into());
    bench.spec.append = "-- 1000".to_owned();
    let error = bench.launch_within(Duration::from_secs(15)).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("the agent's hello did not come within"), "{text}");
    assert_eq!(exit_of(&error), Exit::Failed);
}

#[test]
fn a_monitor_that_is_gone_is_refused_before_anything_is_touched() {
    let test = "a_monitor_that_is_gone_is_refused_before_anything_is_touched";
    let Some(bench) = bench(test) else { return };
    let stop = AtomicBool::new(false);
    let guest = bench.launch(&stop).unwrap();
    let socket = guest.qmp_socket();
    let mut monitor = Qmp::connect(&socket, Duration::from_secs(20), &stop).unwrap();
    guest.shutdown().unwrap();
    let error = format!("{:#}", monitor.status(&stop).unwrap_err());
    assert!(error.contains("closed") || error.contains("Broken pipe"), "{error}");
    let state = tempfile::tempdir().unwrap();
    let mut command = orchestrator(&state.path().join("state"));
    command.arg("reserve").arg("--qmp").arg(&socket).args(["--reservation", "5ms/50ms"]);
    let refused = command.output().unwrap();
    let text = stderr(&refused);
    assert!(text.contains(&socket.display().to_string()), "{text}");
    assert_ne!(refused.status.code(), Some(0));
    assert!(!state.path().join("state").exists(), "a journal was begun");
}

#[test]
fn qemu_runs_as_a_user_of_its_own_and_dies_with_its_parent() {
    let test = "qemu_runs_as_a_user_of_its_own_and_dies_with_its_parent";
    if !nix::unistd::geteuid().is_root() {
        let _turn = alone();
        eprintln!("SKIPPED: {test}: it needs root");
        return;
    }
    let Some(bench) = bench(test) else { return };
    let stop = AtomicBool::new(false);
    // The thread that started it is its parent, as the kernel sees it.
    let guest = std::thread::scope(|scope| {
        let started = scope.spawn(|| {
            let guest = bench.launch(&stop).unwrap();
            let status = std::fs::read_to_string(format!("/proc/{}/status", guest.pid())).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            for id in field("Uid:").into_iter().chain(field("Gid:")) {
                let id: u32 = id.parse().unwrap();
                assert!((61184..=65519).contains(&id), "{status}");
            }
            assert_eq!(field("Groups:"), [] as [&str; 0], "{status}");
            assert_eq!(field("CapEff:"), ["0000000000000000"]);
            assert_eq!(field("Seccomp:"), ["2"], "its sandbox is on");
            guest
        });
        started.join().unwrap()
    });
    let give_up = std::time::Instant::now() + Duration::from_secs(30);
    while guest.is_alive() {
        assert!(std::time::Instant::now() < give_up, "it outlived the thread that started it");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A QEMU that was built without seccomp: it refuses the option.
#[test]
fn a_qemu_without_seccomp_runs_without_it() {
    let test = "a_qemu_without_seccomp_runs_without_it";
    let Some(mut bench) = bench(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("qemu");
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' -sandbox '*) echo 'sandbox support is not enabled' >&2; \
         exit 1;; esac\nexec '{}' \"$@\"\n",
        bench.qemu.program.display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(bench.qemu.sandbox, "this machine's has it");
    bench.qemu = Qemu::at(program, Vec::new()).unwrap();
    assert!(!bench.qemu.sandbox);
    let notes = unconfined(&bench.qemu, Accelerator::Tcg);
    assert!(notes[0].contains("without seccomp"), "{notes:?}");
    bench.launch(&AtomicBool::new(false)).unwrap().shutdown().unwrap();
}
