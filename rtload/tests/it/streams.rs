//! `rtload run` with more jobs than it keeps: constant memory, and rows that are written on the way.

use std::{fs, io::Read, process::Command, thread, time::Duration};

use model::sample::{Job, read_csv};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{folder, json, rtload, run, signal, wait_for_ready};

/// Peak and present memory of a process in KiB.
fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[test]
fn a_day_of_millisecond_tasks_takes_little_memory() {
    let folder = folder();
    let rest = "--task 10us/1ms --duration 24h --summary json --hist-log jobs.hlog";
    let mut child = rtload(folder.path(), "run", rest).spawn().unwrap();
    let _stderr = wait_for_ready(&mut child);
    thread::sleep(Duration::from_millis(500));
    let kib = memory_kib(child.id());
    assert_eq!(signal(&mut child, Signal::SIGTERM).code(), Some(130));
    assert!(kib < 64 * 1024, "{kib} KiB for 86 million jobs to come");
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let task = &summary["tasks"][0];
    assert_eq!(summary["percentiles"], "histogram");
    assert_eq!(task["jobs"], task["response_ns"]["count"]);
    let [least, median, most] =
        ["min", "p50", "max"].map(|key| task["response_ns"][key].as_u64().unwrap());
    assert!(0 < least && least <= median && median <= most, "{task}");
    assert!(fs::read_to_string(folder.path().join("jobs.hlog")).unwrap().contains("Tag=tau1,"));
}

#[test]
fn rows_that_are_streamed_are_the_same_rows() {
    let folder = folder();
    let output = run(
        folder.path(),
        "--task 2ms/20ms --task 100us/5ms --duration 1s --out jobs.csv --summary json \
         --most-records 0 --experiment fig1 --repetition 2",
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary = json(&output);
    let jobs: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
    let first = summary["first_release_ns"].as_u64().unwrap();
    for (index, (name, period, count)) in
        [("tau1", 20_000_000, 50), ("tau2", 5_000_000, 200)].into_iter().enumerate()
    {
        let of_task: Vec<&Job> = jobs.iter().filter(|job| job.task == name).collect();
        assert_eq!(of_task.len(), count);
        for (job, number) in of_task.iter().zip(0..) {
            assert_eq!((job.job, job.release_ns), (number, first + number * period));
            assert_eq!(job.response_ns, job.finish_ns - job.release_ns);
            assert_eq!((job.experiment.as_deref(), job.repetition), (Some("fig1"), Some(2)));
        }
        // Statistics from the histograms are those of the rows.
        let mut responses: Vec<u64> = of_task.iter().map(|job| job.response_ns).collect();
        let exact = model::stats::Summary::of(&mut responses).unwrap();
        let told = &summary["tasks"][index]["response_ns"];
        assert_eq!(told["max"].as_u64(), Some(exact.max));
        for (key, exact) in [("p50", exact.p50), ("p99", exact.p99)] {
            let told = told[key].as_u64().unwrap();
            assert!(told.abs_diff(exact) <= exact / 1_000, "{key}: {told} against {exact}");
        }
    }
}

#[test]
fn streamed_rows_survive_a_signal_and_a_refusal_leaves_the_old_ones() {
    let folder = folder();
    let rest = "--task 1ms/10ms --duration 60s --out jobs.csv --most-records 0";
    let mut child = rtload(folder.path(), "run", rest).spawn().unwrap();
    let _stderr = wait_for_ready(&mut child);
    thread::sleep(Duration::from_millis(400));
    assert_eq!(signal(&mut child, Signal::SIGTERM).code(), Some(130));
    let jobs: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
    assert!((3..1_000).contains(&jobs.len()), "{} jobs", jobs.len());
    // SCHED_DEADLINE on one CPU of a larger root domain is refused, after the file was opened.
    let mut refused = Command::new(env!("CARGO_BIN_EXE_rtload"));
    let cpu = kernel::affinity::get(kernel::affinity::SELF).unwrap()[0];
    let rest = format!(
        "run --policy deadline --cpu {cpu} --task 1ms/10ms --duration 1s --out jobs.csv --check off \
         --most-records 0 --calibration calibration.json"
    );
    refused.current_dir(folder.path()).args(rest.split_whitespace());
    let output = refused.output().unwrap();
    let after: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
    if output.status.code() == Some(3) {
        assert_eq!(after, jobs);
    }
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains(".tmp")));
}
