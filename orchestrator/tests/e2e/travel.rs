//! Times that travel: predicted from this host to an emulated guest, and measured there.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    sync::atomic::AtomicBool,
    time::Duration,
};

use kernel::affinity;
use orchestrator::guest::{Guest, Qemu};
use serde_json::Value;

use crate::{
    guest::{Bench, bench},
    support::{sibling, stderr, stdout},
};

const LIMIT: Duration = Duration::from_secs(120);

fn done(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}{}", stdout(&output), stderr(&output));
    output
}

fn in_guest(guest: &Guest, script: &str) -> Vec<u8> {
    let output = guest.run(&["sh", "-c", script], LIMIT, &AtomicBool::new(false)).unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {text}");
    output.stdout
}

/// This host's QEMU with one instruction in each translated block: a host several times slower.
fn slower(qemu: &Qemu, folder: &Path) -> Qemu {
    let major: u32 = qemu.version.split('.').next().unwrap().parse().unwrap();
    let program = folder.join("qemu-slower");
    let exec = if major < 9 {
        format!("exec '{}' -singlestep \"$@\"\n", qemu.program.display())
    } else {
        format!(
            "for word; do shift; case \"$word\" in tcg,*) word=\"$word,one-insn-per-tb=on\";; esac; \
             set -- \"$@\" \"$word\"; done\nexec '{}' \"$@\"\n",
            qemu.program.display()
        )
    };
    fs::write(&program, format!("#!/bin/sh\n{exec}")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Qemu { program, ..qemu.clone() }
}

/// Vector and calibration of this host on `cpu`.
fn characterise_here(folder: &Path, cpu: u32, length: &str) {
    let cpu = &cpu.to_string();
    let mut rtload = Command::new(sibling("rtload"));
    rtload.args(["characterise", "--cpu", cpu, "--for", length, "--out"]);
    rtload.arg(folder.join("here.json"));
    done(rtload);
    let mut rtload = Command::new(sibling("rtload"));
    rtload.env("XDG_CACHE_HOME", folder).args(["calibrate", "--cpu", cpu, "--for", "1s", "--save"]);
    rtload.arg(folder.join("calibration.json"));
    done(rtload);
}

fn characterise_there(guest: &Guest, folder: &Path, length: &str) {
    let vector = in_guest(
        guest,
        &format!(
            "rtload characterise --for {length} --out /tmp/there.json >&2; cat /tmp/there.json"
        ),
    );
    fs::write(folder.join("there.json"), vector).unwrap();
}

/// What `rtplan predict` says of a time of the host: typical, least and greatest in the guest.
fn predicted(folder: &Path, execution: &str, mix: &str) -> [f64; 3] {
    let mut rtplan = Command::new(sibling("rtplan"));
    rtplan.current_dir(folder).args(["predict", "--from", "here.json", "--to", "there.json"]);
    rtplan.args(["--summary", "json", "--execution", execution, "--mix", mix]);
    let answer: Value = serde_json::from_slice(&done(rtplan).stdout).unwrap();
    let key = |key: &str| answer["execution"][key].as_f64().unwrap() / 1e6;
    [key("to_execution_ns"), key("to_low_ns"), key("to_high_ns")]
}

/// CPU time in ms of a job of 10 ms of the host's work, the median in the guest. A job is released
/// soon after the one before has ended: after longer idle times the processor is slower.
fn measured(guest: &Guest, folder: &Path, expected_ms: f64, duration: &str) -> f64 {
    let period = expected_ms * 1.2;
    let calibration = fs::read(folder.join("calibration.json")).unwrap();
    guest.put("/tmp/c.json", 0o644, &calibration, &AtomicBool::new(false)).unwrap();
    let run = format!(
        "rtload run --task 10ms/{period:.3}ms --duration {duration} --policy fifo --calibration \
         /tmp/c.json --check off --work fixed --summary json"
    );
    let summary: Value = serde_json::from_slice(&in_guest(guest, &run)).unwrap();
    summary["tasks"][0]["cpu_ns"]["p50"].as_f64().unwrap() / 1e6
}

/// The last CPU that this process may use.
fn measured_cpu() -> u32 {
    affinity::get(affinity::SELF).unwrap().into_iter().max().unwrap()
}

/// A guest in which `programs` are, its vCPU on `cpu`.
fn boot(bench: &mut Bench, programs: &[&str], cpu: u32) -> Guest {
    for program in programs {
        bench.spec.contents = bench.spec.contents.clone().with_program(&sibling(program));
    }
    let guest = bench.launch_within(LIMIT).unwrap();
    guest.vcpu_threads().iter().for_each(|thread| affinity::set(*thread, &[cpu]).unwrap());
    guest
}

#[test]
fn fixed_work_takes_in_a_guest_what_was_predicted() {
    let Some(mut bench) = bench("fixed_work_takes_in_a_guest_what_was_predicted") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (folder, cpu) = (folder.path(), measured_cpu());
    characterise_here(folder, cpu, "1s");
    let guest = boot(&mut bench, &["rtload"], cpu);
    characterise_there(&guest, folder, "1s");
    let [predicted, low, high] = predicted(folder, "10ms", "integer_latency=1");
    let measured = measured(&guest, folder, predicted, "2s");
    eprintln!("predicted {predicted:.3} ms ({low:.3} to {high:.3}), measured {measured:.3} ms");
    assert!((0.8..1.25).contains(&(predicted / measured)), "{predicted} {measured}");
    // Work of another kind is not predicted by that: emulated doubles cost many times as much.
    let [doubles, ..] = self::predicted(folder, "10ms", "floating_point=1");
    assert!(doubles > 2.0 * measured, "{doubles} {measured}");
    let platform: Value =
        serde_json::from_slice(&fs::read(folder.join("there.json")).unwrap()).unwrap();
    assert_eq!(platform["host"]["platform"], "emulated");
}

#[test]
#[ignore = "part of the campaign `make torture`"]
fn fixed_work_is_predicted_for_a_host_that_is_several_times_slower() {
    const TEST: &str = "fixed_work_is_predicted_for_a_host_that_is_several_times_slower";
    let Some(mut bench) = bench(TEST) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (folder, cpu) = (folder.path(), measured_cpu());
    characterise_here(folder, cpu, "5s");
    bench.qemu = slower(&bench.qemu, folder);
    let guest = boot(&mut bench, &["rtload"], cpu);
    characterise_there(&guest, folder, "5s");
    let [predicted, low, high] = predicted(folder, "10ms", "integer_latency=1");
    let measured = measured(&guest, folder, predicted, "10s");
    eprintln!("predicted {predicted:.3} ms ({low:.3} to {high:.3}), measured {measured:.3} ms");
    assert!((0.9..1.1).contains(&(predicted / measured)), "{predicted} {measured}");
    assert!(measured > 20.0, "that host is not slower: 10 ms take {measured} ms");
}
