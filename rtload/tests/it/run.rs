//! `rtload run`: rows, summary, other programs' files, overload, signals, priorities.

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use model::sample::{Job, read_csv};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{folder, json, rtload, run, signal, wait_for_ready};

#[test]
fn every_release_has_a_row_on_the_absolute_schedule() {
    let folder = folder();
    let output = run(
        folder.path(),
        "--task 2ms/20ms --task 3ms/50ms --duration 300ms --out jobs.csv --summary json \
             --experiment fig1 --repetition 2 --hist-log jobs.hlog",
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary = json(&output);
    let jobs: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
    let first = summary["first_release_ns"].as_u64().unwrap();
    for (index, (name, period, count)) in
        [("tau1", 20_000_000, 15), ("tau2", 50_000_000, 6)].into_iter().enumerate()
    {
        let of_task: Vec<&Job> = jobs.iter().filter(|job| job.task == name).collect();
        assert_eq!(of_task.len(), count);
        assert_eq!(summary["tasks"][index]["jobs"].as_u64(), Some(count as u64));
        for (job, number) in of_task.iter().zip(0..) {
            assert_eq!((job.job, job.release_ns), (number, first + number * period));
            assert_eq!(job.response_ns, job.finish_ns - job.release_ns);
            assert!(job.release_ns <= job.start_ns && job.start_ns < job.finish_ns);
            assert_eq!(job.missed, job.response_ns > period);
            assert_eq!((job.experiment.as_deref(), job.repetition), (Some("fig1"), Some(2)));
        }
    }
    let log = fs::read_to_string(folder.path().join("jobs.hlog")).unwrap();
    // The log counts from the first release, and not from when it was written, at the end.
    let start = log.lines().find_map(|line| line.strip_prefix("#[StartTime: ")).unwrap();
    let start: f64 = start.split(' ').next().unwrap().parse().unwrap();
    let written = fs::metadata(folder.path().join("jobs.hlog")).unwrap().modified().unwrap();
    let written = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(written - start >= 0.1, "started {start}, written {written}");
    for tag in ["Tag=tau1,", "Tag=tau1-cpu,", "Tag=tau2,", "Tag=tau2-cpu,"] {
        assert!(log.contains(tag), "{tag} in {log}");
    }
}

#[test]
fn the_summary_has_the_promised_keys() {
    let folder = folder();
    let summary = json(&run(folder.path(), "--task 2ms/20ms --duration 100ms --summary json"));
    let task = &summary["tasks"][0];
    assert_eq!(task["task"], "tau1");
    assert!(task["misses"].is_u64());
    for figures in ["response_ns", "cpu_ns", "latency_ns"] {
        for key in ["min", "mean", "p50", "p90", "p99", "p99_9", "p99_99", "max"] {
            assert!(task[figures][key].is_number(), "{figures} {key}");
        }
    }
    assert!(summary["calibration"]["ns_per_iteration"].is_f64());
    let cpu = task["cpu_ns"]["p50"].as_f64().unwrap();
    assert!((cpu / 2e6 - 1.0).abs() < 0.02, "{cpu} ns of CPU time where 2 ms were asked for");
}

#[test]
fn execution_times_may_vary_between_two() {
    let folder = folder();
    let line = "--task 1ms..3ms/20ms --duration 800ms --out jobs.csv --seed 7";
    assert_eq!(run(folder.path(), line).status.code(), Some(0));
    let jobs: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
    let mut cpu: Vec<u64> = jobs.iter().map(|job| job.cpu_ns.unwrap()).collect();
    cpu.sort_unstable();
    // Both halves of the range are met, whatever disturbs single jobs.
    assert_eq!(cpu.len(), 40);
    assert!(cpu[0] > 950_000 && cpu[10] < 2_000_000 && cpu[30] > 2_000_000, "{cpu:?}");
}

#[test]
fn execution_times_may_come_from_a_file() {
    let folder = folder();
    fs::write(folder.path().join("times.txt"), "# measured\n1ms\n3ms\n").unwrap();
    let line = "--task file:times.txt/20ms --duration 800ms --out jobs.csv --summary json";
    let output = run(folder.path(), line);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(json(&output)["tasks"][0]["execution_ns"], 3_000_000, "C is the greatest");
    let jobs: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
    let short = jobs.iter().filter(|job| job.cpu_ns.unwrap() < 2_000_000).count();
    assert!((8..=32).contains(&short), "{short} of {} jobs take 1 ms", jobs.len());
}

#[test]
fn the_first_miss_ends_the_run_where_it_is_asked_to() {
    let folder = folder();
    for (rest, code, stopped) in [
        ("--task 8ms/10ms --task 8ms/10ms --stop-on-miss --fail-on-miss", 4, true),
        ("--task 8ms/10ms --task 8ms/10ms --stop-on-miss", 0, true),
        ("--task 1ms/20ms/20s --stop-above 500us --fail-on-miss", 0, true),
        ("--task 1ms/20ms/20s --stop-above 19s --duration 100ms", 0, false),
    ] {
        let duration = if rest.contains("--duration") { "" } else { " --duration 600s" };
        let line = format!("{rest}{duration} --out jobs.csv --summary json");
        let output = run(folder.path(), &line);
        assert_eq!(output.status.code(), Some(code), "{rest}: {output:?}");
        let summary = json(&output);
        assert_eq!(summary["stopped_by"].is_string(), stopped, "{rest}: {summary}");
        let jobs: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
        assert!(!jobs.is_empty() && jobs.len() < 1_000, "{rest}: {} jobs", jobs.len());
        if stopped {
            // The job that ended it is there, the last of its task.
            let of_task = |job: &&Job| summary["stopped_by"] == *job.task;
            let last = jobs.iter().rfind(of_task).unwrap();
            assert!(last.missed || last.response_ns > 500_000, "{last:?}");
        }
    }
}

#[test]
fn cyclictests_files_count_the_same_jobs() {
    let folder = folder();
    for more in ["", " --most-records 0"] {
        let line = format!(
            "--task 1ms/20ms --task 1ms/40ms --duration 400ms --histfile hist.txt --json all.json{more}"
        );
        let output = run(folder.path(), &line);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let hist = fs::read_to_string(folder.path().join("hist.txt")).unwrap();
        let counted: u64 = hist
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(counted, 20, "{hist}");
        assert!(hist.contains("# Total: 000000020 000000010\n"), "{hist}");
        let text = fs::read_to_string(folder.path().join("all.json")).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&json["thread"]["0"]["cycles"], &json["thread"]["1"]["cycles"]),
            (&20.into(), &10.into())
        );
    }
}

#[test]
fn an_overload_piles_up_and_no_job_is_skipped() {
    let folder = folder();
    let output = run(
        folder.path(),
        "--task 8ms/10ms --task 8ms/10ms --duration 300ms --out jobs.csv --summary json --fail-on-miss",
    );
    assert_eq!(output.status.code(), Some(4));
    let summary = json(&output);
    assert!(summary["warnings"][0].as_str().unwrap().contains("160.0 %"));
    let jobs: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
    assert_eq!(jobs.len(), 60);
    let responses: Vec<u64> =
        jobs.iter().filter(|job| job.task == "tau1").map(|job| job.response_ns).collect();
    assert!(responses[29] > 2 * responses[9], "the backlog grows: {responses:?}");
    assert!(responses[29] > 60_000_000, "counted from the scheduled release: {responses:?}");
}

#[test]
fn a_backlog_that_cannot_drain_is_cut_and_counted() {
    let folder = folder();
    let start = Instant::now();
    let output = run(
        folder.path(),
        "--task 8ms/10ms --task 8ms/10ms --duration 300ms --drain 10ms --summary json --out jobs.csv",
    );
    assert!(start.elapsed() < Duration::from_secs(30));
    let summary = json(&output);
    let unfinished = summary["unfinished"].as_u64().unwrap();
    let jobs: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
    assert!(unfinished > 0);
    assert_eq!(jobs.len() as u64 + unfinished, 60);
    assert!(summary["warnings"].to_string().contains("not finished"));
}

#[test]
fn a_signal_ends_it_with_what_was_measured() {
    for which in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = folder();
        let rest = "--task 2ms/20ms --task 2ms/5s --duration 60s --out jobs.csv --summary json";
        let mut child = rtload(folder.path(), "run", rest).spawn().unwrap();
        let _stderr = wait_for_ready(&mut child);
        thread::sleep(Duration::from_millis(400));
        assert_eq!(signal(&mut child, which).code(), Some(130));
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let summary: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(summary["interrupted"], true);
        let jobs: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
        assert!((3..100).contains(&jobs.len()), "{} jobs", jobs.len());
    }
}

#[test]
fn the_first_release_is_where_it_was_asked_for() {
    let folder = folder();
    let at = kernel::clock::monotonic_ns() + 400_000_000;
    let rest = format!("--task 1ms/20ms --duration 40ms --start-at {at} --summary json");
    assert_eq!(json(&run(folder.path(), &rest))["first_release_ns"].as_u64(), Some(at));
}

#[test]
fn real_time_priorities_are_given_to_the_threads() {
    let folder = folder();
    let mut fifo = Command::new(env!("CARGO_BIN_EXE_rtload"));
    fifo.current_dir(folder.path())
        .args(
            "run --task 1ms/20ms --task 1ms/10ms --duration 60s --calibration calibration.json"
                .split(' '),
        )
        .args(["--check", "off"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = fifo.spawn().unwrap();
    let mut first = [0; 5];
    let read = child.stderr.as_mut().unwrap().read(&mut first).unwrap();
    if &first[..read] != b"ready" {
        assert_eq!(child.wait().unwrap().code(), Some(3), "no privilege is exit code 3");
        eprintln!("SKIPPED: real_time_priorities_are_given_to_the_threads: no SCHED_FIFO here");
        return;
    }
    let proc = kernel::procfs::Proc::default();
    let policies: Vec<(String, String)> = proc
        .threads(child.id() as i32)
        .unwrap()
        .into_iter()
        .map(|tid| (proc.name(tid).unwrap(), kernel::sched::get(tid).unwrap().policy.to_string()))
        .collect();
    assert_eq!(signal(&mut child, Signal::SIGTERM).code(), Some(130));
    for (name, policy) in [("tau1", "SCHED_FIFO 79"), ("tau2", "SCHED_FIFO 80")] {
        assert!(policies.contains(&(name.to_owned(), policy.to_owned())), "{policies:?}");
    }
}
