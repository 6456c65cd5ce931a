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

/// CPU time in ms of a job of 10 ms of the host's work, the median in the guest.
fn measured(guest: &Guest, folder: &Path, period: &str, duration: &str) -> f64 {
    let calibration = fs::read(folder.join("calibration.json")).unwrap();
    guest.put("/tmp/c.json", 0o644, &calibration, &AtomicBool::new(false)).unwrap();
    let run = format!(
        "rtload run --task 10ms/{period} --duration {duration} --policy fifo --calibration \
         /tmp/c.json --check off --work fixed --summary json"
    );
    let summary: Value = serde_json::from_slice(&in_guest(guest, &run)).unwrap();
    summary["tasks"][0]["cpu_ns"]["p50"].as_f64().unwrap() / 1e6
}

fn component(folder: &Path, file: &str, name: &str) -> f64 {
    let vector: Value = serde_json::from_slice(&fs::read(folder.join(file)).unwrap()).unwrap();
    vector["costs"][name]["per_operation_ns"].as_f64().unwrap()
}

/// The ratio of a component, guest to host.
fn ratio(folder: &Path, name: &str) -> f64 {
    component(folder, "there.json", name) / component(folder, "here.json", name)
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
    let measured = measured(&guest, folder, "50ms", "2s");
    let [predicted, low, high] = predicted(folder, "10ms", "integer_latency=1");
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
fn fixed_work_and_the_rotation_are_predicted_for_slower_hosts() {
    const TEST: &str = "fixed_work_and_the_rotation_are_predicted_for_slower_hosts";
    let Some(mut bench) = bench(TEST) else { return };
    let tools = tempfile::tempdir().unwrap();
    let plain = bench.qemu.clone();
    let one_instruction = slower(&plain, tools.path());
    let cpu = measured_cpu();
    for (name, qemu) in [("tcg", plain), ("tcg, one instruction a block", one_instruction)] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        characterise_here(folder, cpu, "5s");
        let here = rotation_here(cpu);
        bench.qemu = qemu;
        let begin = std::time::Instant::now();
        let guest = boot(&mut bench, &["rtload", "cgi-rotate"], cpu);
        eprintln!("{name}: booted in {:?}", begin.elapsed());
        characterise_there(&guest, folder, "5s");
        eprintln!("{}", String::from_utf8_lossy(&in_guest(&guest, "rtload characterise --for 1s")));
        for name in [
            "integer_latency",
            "integer_throughput",
            "floating_point",
            "branches",
            "memory_l1",
            "memory_l2",
            "memory_l3",
            "memory_dram",
            "system_call",
            "context_switch",
            "timer",
        ] {
            eprintln!(
                "  {name:<20}{:10.3} {:10.3}",
                component(folder, "here.json", name),
                ratio(folder, name)
            );
        }
        let [typical, low, high] = predicted(folder, "10ms", "integer_latency=1");
        let measured = measured(&guest, folder, "500ms", "10s");
        let error = typical / measured - 1.0;
        eprintln!(
            "  fixed work: predicted {typical:.3} ({low:.3} to {high:.3}) ms, measured {measured:.3}: {:+.1} %",
            error * 100.0
        );
        let there = rotation_there(&guest);
        for (format, here) in &here {
            let there = there.iter().find(|(own, _)| own == format).unwrap().1;
            eprintln!(
                "  rotation {format}: {:.2} ms here, {:.2} there: × {:.2}",
                here,
                there,
                there / here
            );
        }
    }
}

const KINDS: [&str; 4] = ["bilinear-ppm", "nearest-ppm", "bilinear-png", "bicubic-ppm"];
fn rotation_script(kind: &str, times: u32) -> String {
    let (filter, format) = kind.split_once('-').unwrap();
    format!(
        "i=0; while [ $i -lt {times} ]; do cgi-rotate --angle 20 --width 1000 --height 1000 --filter {filter} --format {format} --reply summary >/dev/null; i=$((i+1)); done; times"
    )
}
fn rotation_here(cpu: u32) -> Vec<(String, f64)> {
    affinity::set(affinity::SELF, &[cpu]).unwrap();
    let folder = sibling("rtload").parent().unwrap().to_owned();
    let all = KINDS.map(|kind| {
        let mut sh = Command::new("sh");
        sh.args(["-c", &rotation_script(kind, 40)]);
        sh.env("PATH", format!("{}:/bin:/usr/bin", folder.display()));
        (kind.to_owned(), cpu_ms(&stdout(&done(sh))) / 40.0)
    });
    let _ = affinity::set(affinity::SELF, &[0, 1]);
    all.into()
}
fn rotation_there(guest: &Guest) -> Vec<(String, f64)> {
    KINDS
        .map(|kind| {
            (
                kind.to_owned(),
                cpu_ms(&String::from_utf8_lossy(&in_guest(guest, &rotation_script(kind, 10))))
                    / 10.0,
            )
        })
        .into()
}
/// Of `times` the children: user and system.
fn cpu_ms(text: &str) -> f64 {
    let line = text.lines().last().unwrap();
    line.split_whitespace()
        .map(|part| {
            let (minutes, seconds) = part.trim_end_matches('s').split_once('m').unwrap();
            minutes.parse::<f64>().unwrap() * 60e3 + seconds.parse::<f64>().unwrap() * 1e3
        })
        .sum()
}
