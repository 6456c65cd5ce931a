//! `rtload load`: its backlog, its memory traffic, its end.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::common::{alone, folder, json, rtload, signal, wait_for_ready};

#[test]
fn a_load_drops_or_keeps_its_backlog_until_it_is_told_to_stop() {
    let (_alone, folder) = (alone(), folder());
    let tasks = "--task 8ms/10ms --task 8ms/10ms --summary json";
    let mut skipped = Vec::new();
    for backlog in ["keep", "drop"] {
        let rest = format!("{tasks} --backlog {backlog}");
        let mut child = rtload(folder.path(), "load", &rest).spawn().unwrap();
        let _stderr = wait_for_ready(&mut child);
        thread::sleep(Duration::from_millis(600));
        assert_eq!(signal(&mut child, Signal::SIGTERM).code(), Some(0));
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let summary: Value = serde_json::from_str(&text).unwrap();
        let of_all = |key: &str| -> u64 {
            summary["tasks"].as_array().unwrap().iter().map(|t| t[key].as_u64().unwrap()).sum()
        };
        assert!(of_all("jobs") > 20, "{text}");
        skipped.push((of_all("skipped"), of_all("unfinished")));
    }
    let [(kept, left_of_kept), (dropped, left_of_dropped)] = skipped[..] else { unreachable!() };
    assert_eq!(kept, 0);
    assert!(dropped > 5, "{skipped:?}");
    assert!(left_of_kept > left_of_dropped, "{skipped:?}");
}

#[test]
fn a_memory_load_moves_more_where_its_buffer_fits_into_a_cache() {
    let (_alone, folder) = (alone(), folder());
    let rate = |size: &str| {
        let rest = format!(
            "--kind memory --size {size} --utilisation 1 --period 50ms --duration 300ms --summary json"
        );
        let summary = json(&rtload(folder.path(), "load", &rest).output().unwrap());
        let traffic = &summary["tasks"][0]["traffic"];
        assert_eq!(traffic["kind"], "memory", "{summary}");
        let (moved, rate) = (traffic["moved_bytes"].as_f64(), traffic["bytes_per_s"].as_f64());
        assert!(moved.unwrap() > 1e7, "{summary}");
        rate.unwrap()
    };
    // In turn, and the best of three: what others do to caches and memory comes and goes.
    let mut best = [0.0_f64; 2];
    for _ in 0..3 {
        for (best, size) in best.iter_mut().zip(["16KiB", "256MiB"]) {
            *best = best.max(rate(size));
        }
    }
    let [cached, beyond] = best;
    assert!(cached > 1.3 * beyond, "{cached} and {beyond} bytes a second");
}

#[test]
fn a_buffer_that_no_memory_holds_is_one_error_with_exit_code_2() {
    let folder = folder();
    for (kind, more) in [("memory", ""), ("cache", ""), ("memory", "--policy fifo")] {
        let rest = format!("--kind {kind} --size 64TiB --utilisation 0.1 --duration 1s");
        let mut load = rtload(folder.path(), "load", &rest);
        if !more.is_empty() {
            load = Command::new(env!("CARGO_BIN_EXE_rtload"));
            load.arg("load").args(rest.split(' ')).args(more.split(' '));
        }
        let output = load.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains("--size"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_load_dies_with_its_parent() {
    let folder = folder();
    let mut load = rtload(folder.path(), "load", "--task 1ms/20ms --duration 60s");
    let line: Vec<String> = std::iter::once(load.get_program())
        .chain(load.get_args())
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    let script = format!("{} & echo $!; wait", line.join(" "));
    load = Command::new("sh");
    let mut shell = load
        .args(["-c", &script])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pid = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap());
    let _stderr = wait_for_ready(&mut shell);
    assert!(kill(pid, None).is_ok());
    shell.kill().unwrap();
    shell.wait().unwrap();
    let gone = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(20));
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
    assert!(gone, "the load outlived its parent");
}
