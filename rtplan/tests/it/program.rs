//! The program as scripts see it: output, exit codes, bad input.

use std::{
    fmt::Write,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;

const PAPER: [&str; 4] = ["--task", "30ms/150ms", "--task", "50ms/200ms"];

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rtplan")).args(args).output().unwrap()
}

fn paper(args: &[&str]) -> Output {
    run(&[args, &PAPER].concat())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn budget_has_the_promised_keys() {
    let output = paper(&["budget", "--period", "50ms", "--summary", "json"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let answer = json(&output);
    assert_eq!(answer["scheduler"], "rm");
    assert_eq!(answer["supply"], "two-gap");
    assert_eq!(answer["period_ns"], 50_000_000);
    assert_eq!(answer["budget_ns"], 32_000_000);
    let others: Vec<(&str, &str, u64)> = answer["others"]
        .as_array()
        .unwrap()
        .iter()
        .map(|other| {
            let text = |key: &str| other[key].as_str().unwrap();
            (text("scheduler"), text("supply"), other["budget_ns"].as_u64().unwrap())
        })
        .collect();
    assert!(others.contains(&("rm", "one-gap", 26_666_667)));
    assert!(others.contains(&("rm", "aligned", 26_666_667)));
    assert!(others.contains(&("edf", "two-gap", 26_000_000)));
}

#[test]
fn a_named_model_is_answered_alone() {
    for (supply, budget) in
        [("one-gap", 26_666_667), ("aligned", 26_666_667), ("two-gap", 32_000_000)]
    {
        let args = ["budget", "--period", "50ms", "--supply", supply, "--summary", "json"];
        let answer = json(&paper(&args));
        assert_eq!((&answer["supply"], &answer["budget_ns"]), (&supply.into(), &budget.into()));
        assert_eq!(answer["others"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn analyse_has_the_promised_keys() {
    let of = |supply: &str| {
        let args = ["analyse", "--reservation", "28ms/50ms", "--supply", supply];
        paper(&[&args[..], &["--summary", "json"]].concat())
    };
    let output = of("aligned");
    assert_eq!(output.status.code(), Some(0));
    let answer = json(&output);
    assert_eq!(answer["schedulable"], true);
    assert_eq!(answer["tasks"][0]["task"], "tau1");
    assert_eq!(answer["tasks"][0]["wcrt_ns"], 52_000_000);
    assert_eq!(answer["tasks"][1]["wcrt_ns"], 124_000_000);
    let output = of("two-gap");
    assert_eq!(output.status.code(), Some(4));
    let answer = json(&output);
    assert_eq!(answer["schedulable"], false);
    assert_eq!(answer["first_failure"]["at_ns"], 200_000_000);
    let dedicated = json(&paper(&["analyse", "--summary", "json"]));
    assert_eq!(dedicated["supply"], "dedicated");
    assert_eq!(dedicated["tasks"][1]["wcrt_ns"], 80_000_000);
}

#[test]
fn budget_in_words() {
    insta::assert_snapshot!(text(&paper(&["budget", "--period", "50ms"])), @r#"
    2 tasks, utilisation 0.4500, least budget in every 50ms

    scheduler                 supply      budget                      bandwidth
    rate monotonic            two-gap     32ms                           0.6400
    rate monotonic            one-gap     80/3 ms (27 in whole ms)       0.5333
    rate monotonic            aligned     80/3 ms (27 in whole ms)       0.5333
    earliest deadline first   two-gap     26ms                           0.5200
    earliest deadline first   one-gap     22.5ms (23 in whole ms)        0.4500
    earliest deadline first   aligned     22.5ms (23 in whole ms)        0.4500
      two-gap holds if all reservations on the CPU are hard constant bandwidth servers (SCHED_DEADLINE) or periodic servers, and together at most one CPU
      one-gap holds if nothing delays the server: no other reservation and no more urgent thread on its CPU
      aligned holds if nothing delays the server: no other reservation and no more urgent thread on its CPU, tasks are released strictly periodically from their offsets on (absent: 0), and server periods start with a release (SCHED_DEADLINE) or at 0

    What that means: (28ms, 50ms) is enough where the server gets its budget as soon as each period starts, that is, where no other reservation and no more urgent host task delays it. It is not enough in the worst case that a reservation as such allows (the budget once early, once late in its period): tau2: misses its deadline: supply is below demand at every scheduling point: 62ms of 80ms at 150ms, 90ms of 110ms at 200ms.
    "#);
}

#[test]
fn analyse_in_words() {
    insta::assert_snapshot!(text(&paper(&["analyse", "--reservation", "28ms/50ms"])), @r#"
    2 tasks, utilisation 0.4500, rate monotonic

    two-gap (28ms in every 50ms): NOT schedulable
      holds if all reservations on the CPU are hard constant bandwidth servers (SCHED_DEADLINE) or periodic servers, and together at most one CPU
      tau1 30ms/150ms: worst response 96ms, deadline 150ms: met
        tau1: 96ms after its release 30ms is supplied, and it and all higher-priority tasks demand 30ms by then.
      tau2 50ms/200ms: worst response 220ms, deadline 200ms: MISSED
        tau2: misses its deadline: supply is below demand at every scheduling point: 62ms of 80ms at 150ms, 90ms of 110ms at 200ms.
      first failure: 200ms after a worst-case start 110ms of work is due and only 90ms is supplied

    one-gap (28ms in every 50ms): schedulable
      holds if nothing delays the server: no other reservation and no more urgent thread on its CPU
      tau1 30ms/150ms: worst response 74ms, deadline 150ms: met
        tau1: 74ms after its release 30ms is supplied, and it and all higher-priority tasks demand 30ms by then.
      tau2 50ms/200ms: worst response 146ms, deadline 200ms: met
        tau2: 146ms after its release 80ms is supplied, and it and all higher-priority tasks demand 80ms by then.

    aligned (28ms in every 50ms): schedulable
      holds if nothing delays the server: no other reservation and no more urgent thread on its CPU, tasks are released strictly periodically from their offsets on (absent: 0), and server periods start with a release (SCHED_DEADLINE) or at 0
      tau1 30ms/150ms: worst response 52ms, deadline 150ms: met
        tau1: 52ms after its release 30ms is supplied, and it and all higher-priority tasks demand 30ms by then.
      tau2 50ms/200ms: worst response 124ms, deadline 200ms: met
        tau2: 124ms after its release 80ms is supplied, and it and all higher-priority tasks demand 80ms by then.

    What that means: (28ms, 50ms) is enough where the server gets its budget as soon as each period starts, that is, where no other reservation and no more urgent host task delays it. It is not enough in the worst case that a reservation as such allows (the budget once early, once late in its period): tau2: misses its deadline: supply is below demand at every scheduling point: 62ms of 80ms at 150ms, 90ms of 110ms at 200ms.
    "#);
}

#[test]
fn more_than_a_cpu_is_answered_with_the_first_failure() {
    let tasks = ["--task", "8ms/10ms", "--task", "5ms/10ms"];
    for scheduler in ["rm", "edf"] {
        let args = ["budget", "--period", "5ms", "--scheduler", scheduler, "--summary", "json"];
        let output = run(&[&args[..], &tasks].concat());
        assert_eq!(output.status.code(), Some(4), "{scheduler}");
        let answer = json(&output);
        assert!(answer["budget_ns"].is_null());
        assert_eq!(answer["first_failure"]["at_ns"], 10_000_000);
        assert_eq!(answer["first_failure"]["demand_ns"], 13_000_000);
        let output = run(&[
            &["analyse", "--scheduler", scheduler, "--summary", "json"],
            &tasks[..],
        ]
        .concat());
        assert_eq!(output.status.code(), Some(4));
        assert!(json(&output)["tasks"][1]["wcrt_ns"].is_null());
    }
    let words = text(&run(&[&["budget", "--period", "5ms"], &tasks[..]].concat()));
    assert!(words.contains("1.3000 of a CPU") && words.contains("10ms after"), "{words}");
}

#[test]
fn bad_input_is_one_clear_error() {
    let cases: [(&[&str], &str); 16] = [
        (&["budget", "--period", "50ms"], "empty"),
        (&["analyse"], "empty"),
        (&["budget", "--period", "0", "--task", "30ms/150ms"], "period is 0"),
        (&["budget", "--period", "50", "--task", "30ms/150ms"], "no unit"),
        (&["budget", "--task", "30ms/150ms"], "--period"),
        (
            &["analyse", "--task", "30ms/150ms", "--reservation", "60ms/50ms"],
            "greater than the period",
        ),
        (&["analyse", "--task", "30ms/150ms", "--reservation", "0/50ms"], "above zero"),
        (&["analyse", "--task", "30"], "execution/period"),
        (&["analyse", "--task", "-5ms/150ms"], "negative"),
        (&["analyse", "--task", "200ms/150ms"], "greater than the period"),
        (&["analyse", "--task", "1ms/9ms", "--supply", "two-gap"], "needs a reservation"),
        (&["analyse", "--task", "1ms/9ms", "--scheduler", "priorities"], "no priority"),
        (&["budget", "--period", "5ms", "--task", "1ms/9ms", "--supply", "dedicated"], "no budget"),
        (&["budget", "--period", "5ms", "--task", "1ms/9ms", "--server-deadline", "6ms"], "6ms"),
        (&["analyse", "--task", "1ms/9ms", "--slow-down", "0.5"], "outside 1"),
        (&["analyse", "--task", "1ms/9ms", "--csv", "/nowhere/at/all.csv"], "/nowhere/at/all.csv"),
    ];
    for (args, expected) in cases {
        let output = run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

/// The answer to a file of tasks, and how long it took.
fn of_file(dir: &Path, lines: &str, args: &[&str]) -> (Output, Duration) {
    let file = dir.join("tasks.txt");
    std::fs::write(&file, lines).unwrap();
    let start = Instant::now();
    let output = run(&[args, &["--tasks", file.to_str().unwrap()]].concat());
    (output, start.elapsed())
}

#[test]
fn a_hundred_thousand_tasks_are_answered() {
    answered(100_000);
}

#[test]
#[ignore = "part of the campaign `make fuzz`: a minute and a half"]
fn a_million_tasks_are_answered() {
    answered(1_000_000);
}

fn answered(tasks: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for task in 0..tasks {
        let period = 1_000_000_000 + task * 7_919 % 1_000_000_007;
        writeln!(lines, "{}ns/{period}ns", 500 + task % 500).unwrap();
    }
    for scheduler in ["rm", "edf"] {
        let args = ["analyse", "--scheduler", scheduler, "--summary", "json"];
        let (output, took) = of_file(dir.path(), &lines, &args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{scheduler}: {error}");
        assert_eq!(json(&output)["tasks"].as_array().unwrap().len() as u64, tasks);
        assert!(took < Duration::from_secs(60), "{took:?}");
    }
    // One more that nothing is left for.
    lines.push_str("600ms/1s\n");
    let args = ["analyse", "--reservation", "5ms/10ms", "--summary", "json"];
    let (output, _) = of_file(dir.path(), &lines, &args);
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn hyperperiods_beyond_64_bits_are_not_computed() {
    // Primes: their product is far above 2^64.
    let primes = [999_999_937_u64, 999_999_893, 999_999_883, 999_999_797, 999_999_761];
    let tasks: Vec<String> = primes.iter().map(|p| format!("{}ns/{p}ns", p / 6)).collect();
    let mut args = vec!["budget", "--period", "10ms", "--summary", "json"];
    tasks.iter().for_each(|task| args.extend(["--task", task]));
    let start = Instant::now();
    let output = run(&args);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(json(&output)["budget_ns"].as_u64().unwrap() > 8_333_333);
    // A nanosecond in 10^9 is left.
    let full: Vec<String> = primes.iter().map(|p| format!("{}ns/{p}ns", p / 5)).collect();
    let mut args = vec!["analyse", "--scheduler", "edf", "--summary", "json"];
    full.iter().for_each(|task| args.extend(["--task", task]));
    assert_eq!(json(&run(&args))["schedulable"], true);
    args.extend(["--task", "30ns/1s"]);
    assert_eq!(json(&run(&args))["schedulable"], false);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_bad_line_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (output, _) =
        of_file(dir.path(), "# tasks\n30ms/150ms\n\n50/200ms # no unit\n", &["analyse"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("tasks.txt:4") && error.contains("no unit"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn several_vcpus() {
    let tasks = ["--task", "6ms/10ms", "--task", "6ms/10ms", "--task", "3ms/10ms"];
    let args =
        ["budget", "--period", "5ms", "--supply", "two-gap", "--vcpus", "2", "--fit", "worst"];
    let answer = json(&run(&[&args[..], &tasks, &["--summary", "json"]].concat()));
    let budgets: Vec<u64> = answer["vcpus"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["budget_ns"].as_u64().unwrap())
        .collect();
    assert_eq!(answer["budget_ns"].as_u64(), budgets.iter().max().copied());
    assert_eq!(budgets.len(), 2);
    let args = ["analyse", "--vcpus", "2", "--summary", "json"];
    let answer = json(&run(&[&args[..], &tasks].concat()));
    assert_eq!(answer["schedulable"], true);
    let one = json(&run(&[&["analyse", "--summary", "json"], &tasks[..]].concat()));
    assert_eq!(one["schedulable"], false);
}

#[test]
fn a_wrong_command_line_leaves_the_files_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let [table, picture] = ["t.csv", "p.svg"].map(|name| dir.path().join(name));
    let [table_name, picture_name] = [&table, &picture].map(|path| path.to_str().unwrap());
    let missing = dir.path().join("no/such/p.svg");
    let missing = missing.to_str().unwrap();
    let task = ["--task", "30ms/150ms"];
    let simulate = ["simulate", "--task", "30ms/150ms", "--out", table_name];
    for line in [
        [&["analyse", "--csv", table_name, "--plot", missing][..], &task].concat(),
        [&["analyse", "--csv", table_name, "--plot", table_name][..], &task].concat(),
        vec!["analyse", "--task", "30", "--csv", table_name, "--plot", picture_name],
        vec!["budget", "--task", "30ms/150ms", "--csv", table_name],
        [&simulate[..], &["--reservation", "28ms/50ms", "--duration", "1s", "--stall", "x"]]
            .concat(),
    ] {
        for path in [&table, &picture] {
            std::fs::write(path, "precious").unwrap();
        }
        let output = run(&line);
        assert_eq!(output.status.code(), Some(2), "{line:?}: {output:?}");
        for path in [&table, &picture] {
            assert_eq!(std::fs::read_to_string(path).unwrap(), "precious", "{line:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "{line:?}");
    }
}

#[test]
fn tables_and_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let [table, picture] = ["t.csv", "p.svg"].map(|name| dir.path().join(name));
    let files = ["--csv", table.to_str().unwrap(), "--plot", picture.to_str().unwrap()];
    paper(&[&["analyse", "--reservation", "28ms/50ms"], &files[..]].concat());
    insta::assert_snapshot!(std::fs::read_to_string(&table).unwrap(), @r#"
    supply,budget_ns,period_ns,task,execution_ns,task_period_ns,deadline_ns,wcrt_ns,schedulable
    two-gap,28000000,50000000,tau1,30000000,150000000,150000000,96000000,1
    two-gap,28000000,50000000,tau2,50000000,200000000,200000000,220000000,0
    one-gap,28000000,50000000,tau1,30000000,150000000,150000000,74000000,1
    one-gap,28000000,50000000,tau2,50000000,200000000,200000000,146000000,1
    aligned,28000000,50000000,tau1,30000000,150000000,150000000,52000000,1
    aligned,28000000,50000000,tau2,50000000,200000000,200000000,124000000,1
    "#);
    let svg = std::fs::read_to_string(&picture).unwrap();
    for text in ["two-gap", "aligned", "demand of tau2", "tau2 missed", "work (ms)"] {
        assert!(svg.contains(text), "{text}");
    }
    let grid = [
        "budget",
        "--grid",
        "10ms..50ms",
        "--cells",
        "5",
        "--supply",
        "two-gap",
        "--overhead",
        "1ms",
    ];
    paper(&[&grid, &files[..]].concat());
    insta::assert_snapshot!(std::fs::read_to_string(&table).unwrap(), @r#"
    supply,period_ns,budget_ns,bandwidth,minimum
    two-gap,10000000,6625000,0.6625,0
    two-gap,20000000,12428572,0.6214286,1
    two-gap,30000000,19333334,0.6444444666666667,0
    two-gap,40000000,26000000,0.65,0
    two-gap,50000000,33000000,0.66,0
    "#);
    assert!(std::fs::read_to_string(&picture).unwrap().contains("server period P (ms)"));
}
