//! The program as scripts use it.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use model::sample::{Job, read_csv};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a calibration that was not measured, so that tests start at once; paced work makes
/// up for its error.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = "{\"schema_version\":1,\"ns_per_iteration\":1.7,\"undisturbed_ns_per_iteration\":1.6,\
                \"spread\":0.0,\"length_difference\":0.0,\"pieces\":1,\"cpu\":0,\"cpu_model\":null}";
    fs::write(folder.path().join("calibration.json"), text).unwrap();
    folder
}

/// `rtload` in `folder`, as an ordinary task, without looking at the calibration.
fn rtload(folder: &Path, command: &str, rest: &str) -> Command {
    let mut rtload = Command::new(env!("CARGO_BIN_EXE_rtload"));
    rtload.current_dir(folder).env("XDG_CACHE_HOME", folder).arg(command);
    rtload.args("--policy other --calibration calibration.json --check off".split(' '));
    rtload.args(["--work", "paced"]).args(rest.split_whitespace());
    rtload.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    rtload
}

fn run(folder: &Path, rest: &str) -> Output {
    rtload(folder, "run", rest).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn wait_for_ready(child: &mut Child) -> BufReader<std::process::ChildStderr> {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while line != "ready\n" {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "ended before it was ready");
    }
    stderr
}

fn signal(child: &mut Child, signal: Signal) -> ExitStatus {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
    child.wait().unwrap()
}

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
    refused.current_dir(folder.path()).args(
        "run --policy deadline --cpu 0 --task 1ms/10ms --duration 1s --out jobs.csv --check off \
         --most-records 0 --calibration calibration.json"
            .split_whitespace(),
    );
    let output = refused.output().unwrap();
    let after: Vec<Job> = read_csv(&folder.path().join("jobs.csv")).unwrap();
    if output.status.code() == Some(3) {
        assert_eq!(after, jobs);
    }
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains(".tmp")));
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
fn a_load_drops_or_keeps_its_backlog_until_it_is_told_to_stop() {
    let folder = folder();
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
    let folder = folder();
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
    let [cached, beyond] = ["16KiB", "256MiB"].map(rate);
    assert!(cached > 1.3 * beyond, "{cached} and {beyond} bytes a second");
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
