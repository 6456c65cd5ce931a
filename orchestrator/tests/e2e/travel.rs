//! Times that travel: predicted from this host to an emulated guest, and measured there.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    sync::atomic::AtomicBool,
    time::Duration,
};

use kernel::{
    affinity,
    sched::{self, Policy},
};
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

/// What `rtplan predict` says of a time of the host and what it is made of (`--mix` or
/// `--operations`): typical, least and greatest in the guest.
fn predicted(folder: &Path, execution: &str, made_of: [&str; 2]) -> [f64; 3] {
    let mut rtplan = Command::new(sibling("rtplan"));
    rtplan.current_dir(folder).args(["predict", "--from", "here.json", "--to", "there.json"]);
    rtplan.args(["--summary", "json", "--execution", execution]).args(made_of);
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
    for thread in guest.vcpu_threads() {
        affinity::set(thread, &[cpu]).unwrap();
        // A guest takes the time in which others have its CPU for its programs' own. Who may not do
        // this needs a quiet machine.
        let _refused = sched::set(thread, Policy::Fifo { priority: 1 });
    }
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
    let [predicted, low, high] = predicted(folder, "10ms", ["--mix", "integer_latency=1"]);
    let measured = measured(&guest, folder, predicted, "2s");
    eprintln!("predicted {predicted:.3} ms ({low:.3} to {high:.3}), measured {measured:.3} ms");
    assert!((0.8..1.25).contains(&(predicted / measured)), "{predicted} {measured}");
    // Work of another kind is not predicted by that: emulated doubles cost many times as much.
    let [doubles, ..] = self::predicted(folder, "10ms", ["--mix", "floating_point=1"]);
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
    let [predicted, low, high] = predicted(folder, "10ms", ["--mix", "integer_latency=1"]);
    let measured = measured(&guest, folder, predicted, "10s");
    eprintln!("predicted {predicted:.3} ms ({low:.3} to {high:.3}), measured {measured:.3} ms");
    assert!((0.9..1.1).contains(&(predicted / measured)), "{predicted} {measured}");
    assert!(measured > 20.0, "that host is not slower: 10 ms take {measured} ms");
}

/// The target is a tenth; times of both hosts differ by a quarter from one run to the next.
const MEAN_ERROR: f64 = 0.25;

/// Filter and format of the rotations in docs/predict.md.
const ROTATIONS: [[&str; 2]; 4] =
    [["nearest", "ppm"], ["bilinear", "ppm"], ["bicubic", "ppm"], ["bilinear", "png"]];

/// A shell's word on the CPU time of so many runs of `command`.
fn repeated(command: &str, runs: u32) -> String {
    let each = format!("{command} >/dev/null || exit 1");
    format!("i=0; while [ $i -lt {runs} ]; do {each}; i=$((i+1)); done; times")
}

/// Milliseconds of one of so many runs, user and system time, of what `times` printed last.
fn each_ms(times: &[u8], runs: u32) -> f64 {
    let text = String::from_utf8_lossy(times);
    let part = |part: &str| {
        let (minutes, seconds) = part.trim_end_matches('s').split_once('m').unwrap();
        60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap()
    };
    let both: f64 = text.lines().last().unwrap().split_whitespace().map(part).sum();
    both * 1e3 / f64::from(runs)
}

/// What the operations of a rotation are on this host, by the script that docs/predict.md names.
fn counted(arguments: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/operations.sh");
    let mut count = Command::new(script);
    count.arg(sibling("cgi-rotate")).args(arguments.split(' '));
    stdout(&done(count)).trim().to_owned()
}

#[test]
#[ignore = "part of the campaign `make torture`"]
fn a_rotation_is_predicted_by_its_counted_operations() {
    const TEST: &str = "a_rotation_is_predicted_by_its_counted_operations";
    let Some(mut bench) = bench(TEST) else { return };
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("SKIPPED: {TEST}: valgrind is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (folder, cpu) = (folder.path(), measured_cpu());
    characterise_here(folder, cpu, "7s");
    let guest = boot(&mut bench, &["rtload", "cgi-rotate"], cpu);
    characterise_there(&guest, folder, "7s");
    let mut errors = Vec::new();
    for rotation in ROTATIONS {
        let [filter, format] = rotation;
        let arguments = format!("--angle 20 --width 1000 --filter {filter} --format {format}");
        let mut here = Command::new("taskset");
        let command = format!("{} {arguments}", sibling("cgi-rotate").display());
        here.args(["-c", &cpu.to_string(), "sh", "-c", &repeated(&command, 20)]);
        let here = each_ms(&done(here).stdout, 20);
        let operations = counted(&arguments);
        let there = in_guest(&guest, &repeated(&format!("cgi-rotate {arguments}"), 10));
        let there = each_ms(&there, 10);
        let [typical, low, high] =
            predicted(folder, &format!("{here:.3}ms"), ["--operations", &operations]);
        errors.push((typical / there - 1.0).abs());
        eprintln!(
            "{filter} {format}: {here:.1} ms here, predicted {typical:.1} ms ({low:.1} to \
             {high:.1}), measured {there:.1} ms; {operations}"
        );
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    eprintln!("mean error {:.1} %", mean * 100.0);
    assert!(mean < MEAN_ERROR, "{errors:?}");
}
