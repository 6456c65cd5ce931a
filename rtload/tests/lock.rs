//! `rtload lock`: exclusion, fairness, and what a holder without a CPU costs.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tempfile::TempDir;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = "{\"schema_version\":1,\"ns_per_iteration\":1.7,\"undisturbed_ns_per_iteration\":1.6,\
                \"spread\":0.0,\"length_difference\":0.0,\"pieces\":1,\"cpu\":0,\"cpu_model\":null}";
    fs::write(folder.path().join("calibration.json"), text).unwrap();
    folder
}

/// Measurements side by side would take each other's CPU.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock(folder: &Path, rest: &str) -> Value {
    let output = command(folder, rest).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn command(folder: &Path, rest: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtload"));
    command.current_dir(folder);
    command.args("lock --calibration calibration.json --check off --summary json".split(' '));
    command.args(rest.split_whitespace());
    command
}

/// Rows of the file in columns: request, acquired, released, passed.
fn rows(folder: &Path) -> Vec<[u64; 4]> {
    let text = fs::read_to_string(folder.join("lock.csv")).unwrap();
    let header = "thread,acquisition,request_ns,acquired_ns,released_ns,wait_ns,wait_cpu_ns,passed";
    assert_eq!(text.lines().next(), Some(header));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        [2, 3, 4, 7].map(|column| cells[column].parse().unwrap())
    };
    text.lines().skip(1).map(row).collect()
}

/// A CPU that this process may use.
fn a_cpu() -> u32 {
    kernel::affinity::get(kernel::affinity::SELF).unwrap()[0]
}

/// Whether there are two CPUs for two threads.
fn has_two_cpus(test: &str) -> bool {
    let two = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
    if !two {
        eprintln!("SKIPPED: {test}: one CPU only");
    }
    two
}

#[test]
fn no_two_rows_of_a_lock_overlap() {
    let _alone = alone();
    for kind in ["raw", "ticket", "futex"] {
        let folder = folder();
        let rest = format!("--kind {kind} --hold 20us --duration 300ms --out lock.csv");
        let summary = lock(folder.path(), &rest);
        let mut rows = rows(folder.path());
        let counted: u64 = summary["threads"]
            .as_array()
            .unwrap()
            .iter()
            .map(|own| own["acquisitions"].as_u64().unwrap())
            .sum();
        assert!(rows.len() > 10 && rows.len() as u64 == counted, "{kind}: {}", rows.len());
        rows.sort_by_key(|[_, acquired, ..]| *acquired);
        for pair in rows.windows(2) {
            let [[request, acquired, released, _], [_, next, ..]] = [pair[0], pair[1]];
            assert!(request <= acquired && acquired < released && released <= next, "{pair:?}");
        }
        assert_eq!(summary["violations"], 0);
    }
}

#[test]
fn a_ticket_lock_is_fair_where_each_thread_has_a_cpu() {
    if !has_two_cpus("a_ticket_lock_is_fair_where_each_thread_has_a_cpu") {
        return;
    }
    let _alone = alone();
    let folder = folder();
    let rest = "--kind ticket --threads 2 --share 0.9 --hold 100us --duration 1s --out lock.csv";
    let summary = lock(folder.path(), rest);
    // At most one other is served while one waits: (n - 1) holds.
    let rows = rows(folder.path());
    let unfair = rows.iter().filter(|[.., passed]| *passed > 1).count();
    assert!(unfair * 100 <= rows.len(), "{unfair} of {}", rows.len());
    for own in summary["threads"].as_array().unwrap() {
        let p90 = |key: &str| own[key]["p90"].as_f64().unwrap();
        assert!(p90("wait_ns") <= 1.5 * p90("hold_ns") + 20_000.0, "{own}");
    }
}

#[test]
fn a_holder_that_loses_its_cpu_makes_the_other_spin() {
    let _alone = alone();
    let folder = folder();
    let on_one = |kind: &str| {
        let rest = format!(
            "--kind {kind} --threads 2 --cpus {} --share 0.9 --hold 50us --duration 1500ms",
            a_cpu()
        );
        let summary = lock(folder.path(), &rest);
        let number = |key: &str| summary[key].as_f64().unwrap();
        (number("longest_wait_ns"), number("wasted_share"))
    };
    let (spinning, sleeping) = (on_one("ticket"), on_one("futex"));
    // Who holds the lock, or is next, comes back after the other's turn on the CPU, not after a hold.
    assert!(spinning.0 > 20.0 * 50_000.0, "{spinning:?}");
    // Who sleeps gives the CPU to the holder.
    assert!(spinning.1 > 0.3 && spinning.1 > 4.0 * sleeping.1, "{spinning:?} {sleeping:?}");
}

#[test]
fn nonsense_is_refused_with_its_option() {
    let folder = folder();
    let cpus = format!("--cpus {},900", a_cpu());
    for (rest, wrong) in [
        ("--threads 0", "--threads 0: must be from 1 to 256"),
        ("--share 0", "--share 0: must be from 0.001 to 1"),
        ("--share 1e-24", "--share 0.000000000000000000000001: must be from 0.001"),
        ("--share NaN", "--share NaN"),
        ("--share 1.1", "--share 1.1"),
        ("--hold 0", "--hold 0: must be above zero"),
        (cpus.as_str(), "--cpus 900: no such CPU"),
        ("--start-at 1", "--start-at 1: has passed"),
        ("--out calibration.json --save calibration.json", "--save calibration.json"),
    ] {
        let output = command(folder.path(), &format!("--duration 1s {rest}")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(wrong), "{rest}: {said}");
    }
}
