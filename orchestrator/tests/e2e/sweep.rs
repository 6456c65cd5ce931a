//! A sweep for real, from the command line: a budget that cannot be enough, one that is plenty.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use crate::{
    run::{Place, built, lacks_qemu, manifest, place},
    support::{HostState, orchestrator, stderr, stdout, turn},
};
use serde_json::Value;

const SUITE: &str = r#"
name = "small"
[host]
keep_awake = true
[guest]
accelerator = "tcg"
[noise]
max_stalled = 0.02
retries = 2
[[experiment]]
name = "bare"
where = "guest"
tasks = ["30ms/150ms"]
[[experiment]]
name = "reserved"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"], backlog = "drop" }
reservation = { budget = "28ms", period = "50ms" }
duration = "30s"
repetitions = 2
"#;

fn sweep(place: &Place, arguments: &[&str]) -> Output {
    let mut command: Command = orchestrator(&place.state());
    command.arg("sweep").arg(&place.suite).arg("--out").arg(place.dir.path().join("results"));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

// The tests' fake bench goes through sweeps and `--resume` every time.
#[test]
#[ignore = "part of the campaign `make torture`"]
fn a_sweep_finds_the_smallest_budget_that_holds_and_goes_on_where_it_was() {
    const TEST: &str = "a_sweep_finds_the_smallest_budget_that_holds_and_goes_on_where_it_was";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    built();
    let before = HostState::now();
    let arguments = [
        "--experiment",
        "reserved",
        "--budget",
        "20ms,40ms",
        "--duration",
        "3s",
        "--repetitions",
        "1",
        "--summary",
        "json",
    ];
    let once = |_| {
        let place = place(SUITE);
        let output = sweep(&place, &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        before.is_back();
        (place, output)
    };
    // Three seconds full of stalls decide nothing, and the sweep says so.
    let decided = |(_, output): &(Place, Output)| !stderr(output).contains("undecided");
    let (place, output) = (0..3).map(once).find(decided).expect("undecided three times");
    let said = stderr(&output);
    assert!(said.contains("The smallest budget that holds is 40 ms; 20 ms fails."), "{said}");
    assert!(said.contains("aligned 80/3 ms, one-gap 80/3 ms, two-gap 32 ms"), "{said}");

    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&found["smallest_ns"], &found["monotone"]), (&40_000_000.into(), &true.into()));
    let verdict = |at: usize| found["points"][at]["verdict"].as_str().unwrap().to_owned();
    assert_eq!((verdict(0), verdict(1)), ("fails".to_owned(), "holds".to_owned()));
    let folder = PathBuf::from(found["folder"].as_str().unwrap());
    let manifest = manifest(&folder);
    let names: Vec<_> = manifest.analyses.iter().map(|own| own.experiment.as_str()).collect();
    assert_eq!(names, ["reserved-20ms", "reserved-40ms"]);
    assert!(folder.join("reserved-40ms/rep-000/jobs.csv").exists());

    let resume = [&arguments[..], &["--resume", folder.to_str().unwrap()]].concat();
    let again = sweep(&place, &resume);
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(!stderr(&again).contains("[1/"), "it ran again: {}", stderr(&again));
    assert_eq!(stdout(&again), stdout(&output));
}

#[test]
fn a_wrong_sweep_is_refused_before_the_host_is_touched() {
    let swept = |lines: &str| format!("{SUITE}[[sweep]]\nexperiment = \"reserved\"\n{lines}");
    let list = |budget: &'static str| ["--experiment", "reserved", "--budget", budget];
    let cases: [(String, Vec<&str>, &str); 7] = [
        (SUITE.into(), vec!["--experiment", "x", "--budget", "9ms"], "but bare, reserved"),
        (SUITE.into(), vec!["--experiment", "bare", "--budget", "9ms"], "no reservation"),
        (SUITE.into(), list("28ms,58ms").into(), "greater than the period"),
        (SUITE.into(), list("49ms").into(), "lower the budgets by"),
        (SUITE.into(), list("24ms..34ms").into(), "needs a --step"),
        (SUITE.into(), [&list("34ms..24ms")[..], &["--step", "1ms"]].concat(), "down to 24ms"),
        (swept("budgets = []"), list("28ms").into(), "suite.toml:"),
    ];
    for (suite, arguments, wanted) in cases {
        let place = place(&suite);
        let output = sweep(&place, &arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{wanted}: {said}");
        assert!(said.contains(wanted), "{wanted}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        assert!(!place.state().exists(), "{wanted}: a journal was begun");
    }
}

#[test]
fn a_dry_run_lists_every_budget_and_does_nothing() {
    let place = place(SUITE);
    let range = ["--experiment", "reserved", "--budget", "24ms..26ms", "--step", "1ms"];
    let output = sweep(&place, &[&range[..], &["--dry-run"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("reserved-25ms") && said.contains("deadline 26ms/50ms"), "{said}");
    assert!(said.contains("6 repetitions, about") && !said.contains("bare"), "{said}");
    assert!(!place.state().exists() && !place.dir.path().join("results").exists());
}
