//! `orchestrator advise` on guests that somebody else started: tasks nobody told it of, a VM that
//! takes all it gets, one with nothing to do; and what it refuses.

use std::{
    path::Path,
    process::{Output, Stdio},
    sync::atomic::AtomicBool,
    time::Duration,
};

use orchestrator::guest::{Guest, Plain, find_qemu, spin};
use serde_json::Value;

use crate::{
    guest::bench,
    support::{HostState, orchestrator, sibling, stderr, stdout, turn},
};

fn advise(state: &Path, arguments: &[&str]) -> Output {
    let mut command = orchestrator(state);
    command.arg("advise").args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

fn lacks(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    let tracefs = orchestrator::trace::available(&orchestrator::host::Roots::default());
    let why = tracefs.err().or_else(|| (!root).then(|| "it needs root".to_owned()));
    if let Some(why) = &why {
        eprintln!("SKIPPED: {test}: {why}");
    }
    why.is_some()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", stdout(output), stderr(output)))
}

/// The paper's tasks, left running in the guest.
fn tasks(guest: &Guest) {
    let script = "rtload run --task 30ms/150ms --task 50ms/200ms --policy fifo --for 1s \
                  --duration 60s >/dev/null 2>&1 &";
    let stop = AtomicBool::new(false);
    guest.run(&["sh", "-c", script], Duration::from_secs(10), &stop).unwrap();
    // Calibration comes first, and takes all of the CPU.
    std::thread::sleep(Duration::from_secs(4));
}

// `tutorial::` is its small form: a VM advised, reserved and proven.
#[test]
#[ignore = "part of the campaign `make torture`"]
fn tasks_that_nobody_told_of_get_what_they_need_and_less_is_seen_to_be_too_little() {
    const TEST: &str = "tasks_that_nobody_told_of_get_what_they_need";
    if lacks(TEST) {
        return;
    }
    let Some(mut bench) = bench(TEST) else { return };
    bench.spec.contents = bench.spec.contents.clone().with_program(&sibling("rtload"));
    let guest = bench.launch(&AtomicBool::new(false)).unwrap();
    tasks(&guest);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let tid = guest.vcpu_threads()[0].to_string();
    let common = ["--tid", &tid, "--latency", "50ms", "--period", "50ms", "--summary", "json"];
    let rest = ["--for", "4s", "--isolate", "--apply", "--out", out.to_str().unwrap()];
    let enough = advise(folder.path(), &[&common[..], &rest].concat());
    eprintln!("{}{}", stdout(&enough), stderr(&enough));
    let advice = json(&enough);
    let share = advice["demand_share"].as_f64().unwrap();
    assert!((0.40..0.65).contains(&share), "{share}");
    let budget = advice["recommended"]["budget_ns"].as_f64().unwrap() / 50e6;
    assert!(budget > share && budget <= 0.95, "{budget}");
    let longest = advice["vcpus"][0]["longest_ns"].as_u64().unwrap();
    // Under emulation the vCPU's thread may sleep for a moment in between, until a lock is free.
    assert!(longest >= 45_000_000, "tau2 takes 50 ms: {longest}");

    // Machines stall; all but a few intervals are in time.
    let proof = &advice["proof"];
    let count = |proof: &Value, key: &str| proof[key].as_u64().unwrap();
    let (intervals, late) = (count(proof, "intervals"), count(proof, "late"));
    assert!(intervals > 20 && late * 10 <= intervals, "{proof}");
    assert!(proof["bound_ns"].as_u64().unwrap() <= 50_000_000, "{proof}");
    assert_eq!(enough.status.code(), Some(if late == 0 { 0 } else { 4 }));

    // The same from the file.
    let point = advice["points"][0]["budget_ns"].as_u64().unwrap();
    let ms = |key: &str| format!("{}ns", advice[key].as_u64().unwrap());
    let file = out.join("demand.csv");
    let planned = std::process::Command::new(sibling("rtplan"))
        .args(["budget", "--latency", "50ms", "--period", "50ms", "--summary", "json"])
        .arg("--demand")
        .arg(&file)
        .args(["--tick", &ms("tick_ns"), "--neighbours", &advice["neighbours"].to_string()])
        .output()
        .unwrap();
    assert_eq!(json(&planned)["budget_ns"].as_u64(), Some(point), "{}", stderr(&planned));

    // Two fifths less: about the share that the tasks ask for, so that nothing that was delayed is
    // made up for.
    let less = ["--for", "3s", "--apply", "--margin", "-40"];
    let too_little = advise(folder.path(), &[&common[..], &less].concat());
    let proof = &json(&too_little)["proof"];
    eprintln!("{proof}");
    assert!(count(proof, "late") > late && proof["held"] == false, "{proof}");
    assert_eq!(too_little.status.code(), Some(4));
    drop(guest);
}

#[test]
fn a_vm_that_takes_all_it_gets_has_no_budget() {
    const TEST: &str = "a_vm_that_takes_all_it_gets_has_no_budget";
    let Some(_turn) = turn(TEST) else { return };
    let folder = tempfile::tempdir().unwrap();
    let kvm = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
    let (Ok(_), Ok(qemu), false) = (kvm, find_qemu(), lacks(TEST)) else {
        eprintln!("SKIPPED: {TEST}: it needs /dev/kvm, QEMU and tracefs");
        return;
    };
    let guest = spin(&Plain, &qemu, folder.path(), &AtomicBool::new(false)).unwrap();
    let before = HostState::now();
    let pid = guest.pid().to_string();
    let arguments = ["--pid", &pid, "--latency", "20ms", "--for", "1s", "--summary", "json"];
    let output = advise(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let advice = json(&output);
    assert!(advice["recommended"].is_null() && advice["commands"].is_null(), "{advice}");
    let points = advice["points"].as_array().unwrap();
    assert!(points.len() > 10 && points.iter().all(|point| point["budget_ns"].is_null()));
    let warnings = advice["warnings"].to_string();
    assert!(warnings.contains("nobody knows for how long it goes on"), "{warnings}");
    let text = advise(folder.path(), &arguments[..6]);
    assert!(stdout(&text).contains("no budget is enough"), "{}", stdout(&text));
    before.is_back();
}

#[test]
fn what_cannot_be_advised_is_refused_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    std::fs::create_dir_all(full.join("x")).unwrap();
    let full = full.to_str().unwrap();
    let own = std::process::id().to_string();
    for (arguments, code, said) in [
        (vec!["--pid", &own], 2, "--latency"),
        (vec!["--latency", "20ms"], 2, "--pid"),
        (vec!["--pid", &own, "--qmp", "s", "--latency", "20ms"], 2, "cannot be used with"),
        (vec!["--pid", &own, "--latency", "0"], 2, "--latency: 0"),
        (vec!["--pid", &own, "--latency", "20"], 2, "no unit"),
        (vec!["--pid", &own, "--latency", "20ms", "--for", "0"], 2, "--for"),
        (vec!["--pid", &own, "--latency", "20ms", "--mechanism", "none"], 2, "has no budget"),
    ] {
        let output = advise(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
    if lacks("what_cannot_be_advised_is_refused") {
        let output = advise(folder.path(), &["--pid", &own, "--latency", "20ms"]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        return;
    }
    for (arguments, said) in [
        (vec!["--pid", "0", "--latency", "20ms"], "no process 0"),
        (vec!["--pid", &own, "--latency", "20ms"], "no thread that is named as a vCPU"),
        (vec!["--tid", &own, "--latency", "20ms", "--out", full], "it is not empty"),
    ] {
        let output = advise(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
}
