//! `rtplan simulate` as scripts see it.

use std::{
    fmt::Write,
    fs,
    process::{Command, Output},
    time::{Duration, Instant},
};

use model::sample::{Job, read_csv};
use serde_json::Value;

const FIG4: [&str; 12] = [
    "simulate",
    "--task",
    "30ms/150ms",
    "--task",
    "50ms/200ms",
    "--reservation",
    "28ms/50ms",
    "--load",
    "50ms/120ms",
    "--load",
    "20ms/80ms",
    "--duration=60s",
];

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rtplan")).args(args).output().unwrap()
}

fn fig4(args: &[&str]) -> Output {
    run(&[&FIG4, args].concat())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_summary_has_the_keys_of_rtload() {
    let output = fig4(&["--summary", "json"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let answer = json(&output);
    let tau2 = &answer["tasks"][1];
    assert_eq!(
        (&tau2["task"], &tau2["jobs"], &tau2["misses"]),
        (&"tau2".into(), &300.into(), &0.into())
    );
    assert_eq!(tau2["response_ns"]["max"], 124_000_000);
    assert_eq!(answer["tasks"][0]["response_ns"]["max"], 52_000_000);
    for key in ["count", "min", "mean", "stddev", "p50", "p90", "p99", "p99_9", "p99_99", "max"] {
        assert!(tau2["response_ns"][key].is_number() && tau2["cpu_ns"][key].is_number(), "{key}");
    }
    assert_eq!((&answer["server"], &answer["budget_ns"]), (&"hard-cbs".into(), &28_000_000.into()));
    assert_eq!(answer["load"].as_array().unwrap().len(), 2);
    assert_eq!((&answer["seed"], &answer["unfinished"]), (&0.into(), &0.into()));
}

#[test]
fn rows_are_as_promised_and_the_same_for_the_same_seed() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |name: &str, seed: &str| {
        let path = folder.path().join(name);
        let args = ["--execution", "0.5..1", "--seed", seed, "--out", path.to_str().unwrap()];
        assert_eq!(fig4(&args).status.code(), Some(0));
        fs::read(&path).unwrap()
    };
    let first = rows("a.csv", "1");
    assert_eq!(first, rows("b.csv", "1"));
    assert_ne!(first, rows("c.csv", "2"));
    let jobs: Vec<Job> = read_csv(&folder.path().join("a.csv")).unwrap();
    assert_eq!(jobs.len(), 400 + 300);
    for job in &jobs {
        let (task, period) = if job.task == "tau1" { (30, 150) } else { (50, 200) };
        assert_eq!(job.release_ns, job.job * period * 1_000_000);
        assert_eq!(job.response_ns, job.finish_ns - job.release_ns);
        let cpu = job.cpu_ns.unwrap();
        assert!((task * 500_000..=task * 1_000_000).contains(&cpu));
        assert!(job.start_ns >= job.release_ns && job.finish_ns >= job.start_ns + cpu);
        assert_eq!(job.stalled_ns, Some(0));
    }
}

#[test]
fn execution_times_can_come_from_measured_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.csv");
    assert_eq!(
        fig4(&["--execution", "0.5..0.6", "--out", path.to_str().unwrap()]).status.code(),
        Some(0)
    );
    let answer = json(&fig4(&["--execution", path.to_str().unwrap(), "--summary", "json"]));
    let most = answer["tasks"][0]["cpu_ns"]["max"].as_u64().unwrap();
    assert!((15_000_000..=18_000_000).contains(&most), "{most}");
}

#[test]
fn a_table_for_people() {
    let text = String::from_utf8(fig4(&[]).stdout).unwrap();
    insta::assert_snapshot!(text, @"
    simulated 60s with seed 0: server hard-cbs 28ms/50ms, scheduler rm, 2 tasks of load

    task          jobs  misses unfinished      min ms        mean         p50         p99       p99.9      p99.99         max
    tau1           400       0          0      52.000      52.000      52.000      52.000      52.000      52.000      52.000
    tau2           300       0          0      74.000     107.333     124.000     124.000     124.000     124.000     124.000

    vCPU 0 had 45.00 % of its CPU
    ");
}

#[test]
fn an_overload_is_a_question_and_ends() {
    let args = ["simulate", "--task", "90ms/100ms", "--task", "90ms/100ms", "--summary", "json"];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a backlog grows"));
    let answer = json(&output);
    assert!(answer["tasks"][1]["misses"].as_u64().unwrap() > 100);
    let strict = run(&[&args[..], &["--fail-on-miss"]].concat());
    assert_eq!(strict.status.code(), Some(4));
    assert_eq!(fig4(&["--fail-on-miss"]).status.code(), Some(0));
}

#[test]
fn several_vcpus_share_the_tasks() {
    let args = [
        "simulate",
        "--task",
        "90ms/100ms",
        "--task",
        "80ms/100ms",
        "--vcpus",
        "2",
        "--summary",
        "json",
    ];
    let answer = json(&run(&args));
    let vcpus: Vec<u64> = answer["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["vcpu"].as_u64().unwrap())
        .collect();
    assert_eq!(vcpus, [0, 1]);
    assert_eq!(answer["tasks"][1]["response_ns"]["max"], 80_000_000);
}

#[test]
fn a_neighbour_makes_two_gaps() {
    // Alone the server starts its budget at once; beside another with an earlier deadline not.
    let of = |extra: &[&str]| {
        let answer = json(&fig4(&[&["--summary", "json"], extra].concat()));
        answer["tasks"][0]["response_ns"]["max"].as_u64().unwrap()
    };
    assert!(of(&["--neighbour", "17ms/40ms"]) > of(&[]));
}

#[test]
fn bad_input_is_refused_in_one_line() {
    let task = ["--task", "30ms/150ms"];
    let cases: [(&[&str], &str); 14] = [
        (&[], "the task set is empty"),
        (&["--task", "30ms/0"], "above zero"),
        (&["--task", "300ms/150ms"], "greater than the period"),
        (&[&task[..], &["--reservation", "60ms/50ms"]].concat(), "greater than the period"),
        (&[&task[..], &["--reservation", "0/50ms"]].concat(), "above zero"),
        (&[&task[..], &["--server", "quota"]].concat(), "needs a `--reservation`"),
        (&[&task[..], &["--server", "none", "--reservation", "1ms/5ms"]].concat(), "takes no"),
        (&[&task[..], &["--duration", "0"]].concat(), "duration must be above zero"),
        (&[&task[..], &["--duration", "290000000h"]].concat(), "too long"),
        (&["--task", "1ns/2ns", "--duration", "1h"], "shorten the duration"),
        (&[&task[..], &["--reservation", "1ns/2ns", "--duration", "1h"]].concat(), "shorten"),
        (&[&task[..], &["--execution", "1..0.5"]].concat(), "range of shares"),
        (&[&task[..], &["--stall", "5ms"]].concat(), "start+length"),
        (&["--task", "30ms/150ms,blocking=1ms"], "does not model blocking"),
    ];
    for (args, what) in cases {
        let start = Instant::now();
        let output = run(&[&["simulate"], args].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(what), "{args:?}: {said}");
        assert!(output.stdout.is_empty());
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn a_million_tasks_are_refused_and_a_long_hyperperiod_is_nothing_special() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks");
    let mut text = String::new();
    for task in 0..1_000_000 {
        let _ = writeln!(text, "1us/{}us", 1_000_000 + task);
    }
    fs::write(&path, text).unwrap();
    let output = run(&["simulate", "--tasks", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1000000 tasks are too many"));
    let mut args = vec!["simulate".to_owned(), "--summary=json".to_owned()];
    for period in [999_999_937, 999_999_929, 999_999_893, 999_999_883] {
        args.push(format!("--task=100us/{period}ns"));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert_eq!(json(&run(&args))["tasks"][3]["jobs"], 61);
}
