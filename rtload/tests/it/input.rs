//! What goes in: options, and the calibration.

use std::{fs, process::Command};

use crate::common::{folder, json, rtload};

#[test]
fn bad_input_is_one_error_with_exit_code_2() {
    let folder = folder();
    for (command, rest, says) in [
        ("run", "--task 30 --duration 1s", "30ms/150ms"),
        ("run", "--task -5ms/150ms --duration 1s", "negative"),
        ("run", "--task 200ms/150ms --duration 1s", "greater than the period"),
        ("run", "--task 0/150ms --duration 1s", "above zero"),
        ("run", "--task 40ms..30ms/150ms --duration 1s", "as in `30ms..40ms/150ms`"),
        ("run", "--task 30ms/150ms --duration 0s", "--duration 0"),
        ("run", "--task 30ms/150ms --duration 30", "no unit"),
        ("run", "--task 30ms/150ms --duration 1s --cpu 4000", "--cpu 4000"),
        ("run", "--task 30ms/150ms --duration 1s --priority 5", "--priority"),
        ("run", "--task 30ms/150ms --duration 1s --out nowhere/jobs.csv", "nowhere/jobs.csv"),
        ("run", "--task 30ms/150ms --duration 1s --start-at 1", "--start-at 1"),
        ("run", "--task file:nowhere/150ms --duration 1s", "nowhere: cannot be read"),
        ("run", "--task file:calibration.json/150ms --duration 1s", "calibration.json, line 1"),
        ("load", "--utilisation 1.2", "--utilisation 1.2"),
        ("load", "--utilisation -1", "--utilisation -1"),
        ("load", "--utilisation 0.99 --policy fifo", "95 %"),
        ("load", "", "--task"),
        ("load", "--utilisation 0.1 --size 4MiB", "--size is for --kind cache and memory"),
        ("load", "--utilisation 0.1 --kind memory --size 4MB", "`4MB` is no size"),
        ("load", "--utilisation 0.1 --kind cache --work fixed --policy other", "--work paced"),
    ] {
        let mut given = rtload(folder.path(), command, rest);
        if rest.contains("--policy") {
            given = Command::new(env!("CARGO_BIN_EXE_rtload"));
            given.arg(command).args(rest.split_whitespace());
        }
        let output = given.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{rest}: {stderr}");
        assert!(stderr.contains(says), "{rest}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_calibration_is_measured_stored_and_used_again() {
    let folder = folder();
    let mut calibrate = Command::new(env!("CARGO_BIN_EXE_rtload"));
    calibrate.current_dir(folder.path()).env("XDG_CACHE_HOME", folder.path());
    calibrate.args("calibrate --for 200ms --save new.json --summary json".split(' '));
    let output = calibrate.output().unwrap();
    let summary = json(&output);
    let cost = summary["ns_per_iteration"].as_f64().unwrap();
    assert!((0.1..100.0).contains(&cost), "{cost}");
    for key in ["spread", "undisturbed_ns_per_iteration", "length_difference"] {
        assert!(summary[key].is_f64(), "{key}");
    }
    let cpu = summary["cpu"].as_u64().unwrap();
    let stored = fs::read(folder.path().join(format!("rtload/calibration-cpu{cpu}.json"))).unwrap();
    assert_eq!(stored, fs::read(folder.path().join("new.json")).unwrap());
    let mut run = Command::new(env!("CARGO_BIN_EXE_rtload"));
    run.current_dir(folder.path()).env("XDG_CACHE_HOME", folder.path());
    run.args(
        "run --task 1ms/20ms --duration 60ms --policy other --check off --summary json".split(' '),
    );
    let used = json(&run.output().unwrap());
    assert_eq!(used["calibration"]["ns_per_iteration"].as_f64(), Some(cost));
}
