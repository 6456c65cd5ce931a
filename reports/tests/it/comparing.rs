//! `reports compare` and `reports history`: circumstances, tolerance, and the first change.

use std::{fs, process::Command};

use model::suite::ServiceKind;

use crate::made_up::MadeUp;

fn reports(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_reports")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn dir(folder: &MadeUp) -> &str {
    folder.path().to_str().unwrap()
}

/// Another host, accelerator, version, tick, and other tasks in fig2.
fn elsewhere() -> MadeUp {
    let mut folder = MadeUp::as_in_the_paper();
    let manifest = &mut folder.manifest;
    manifest.host.cpu_model = Some("Another CPU".to_owned());
    manifest.host.tick_hz = Some(1000);
    manifest.accelerator.as_mut().unwrap().name = "kvm".to_owned();
    manifest.versions.bench = "0.2.0".to_owned();
    let tasks = ["31ms/150ms", "50ms/200ms"].iter().map(|task| task.parse().unwrap()).collect();
    manifest.suite.experiments[1].vms[0].services[0].kind = ServiceKind::Tasks(tasks);
    folder.save();
    folder
}

#[test]
fn it_begins_with_what_differs_in_the_circumstances() {
    let (here, there) = (MadeUp::as_in_the_paper(), elsewhere());
    let (code, out, err) = reports(&["compare", dir(&here), dir(&there)]);
    assert_eq!((code, err.as_str()), (0, ""));
    let first: String = out
        .lines()
        .take_while(|line| !line.starts_with("experiment"))
        .map(|line| format!("{line}\n"))
        .collect();
    insta::assert_snapshot!(first, @"
    differs           first                     second
    ────────────────  ────────────────────────  ────────────────────────
    accelerator.name  tcg                       kvm
    host.cpu_model    Invented CPU <2 GHz>      Another CPU
    host.tick_hz      250                       1000
    versions.bench    0.1.0                     0.2.0
    fig2.tasks        [30ms/150ms, 50ms/200ms]  [31ms/150ms, 50ms/200ms]
    ");
    assert!(
        !out.lines().any(|line| line.starts_with("fig2  ")),
        "other tasks are not compared: {out}"
    );
    assert!(
        out.contains("fig2 did other work in the second folder and is not compared: tasks"),
        "{out}"
    );
    let (_, out, _) = reports(&["compare", dir(&here), dir(&here)]);
    assert!(out.starts_with("The circumstances are the same"), "{out}");
    let (_, out, _) = reports(&["compare", dir(&here), dir(&there), "--format", "markdown"]);
    assert!(
        out.starts_with("## What differs in the circumstances\n\n| differs | first | second |"),
        "{out}"
    );
    let (_, out, _) = reports(&["compare", dir(&here), dir(&there), "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    let told = |what: &str| {
        let own = value["circumstances"].as_array().unwrap().iter().find(|own| own["what"] == what);
        own.unwrap_or_else(|| panic!("{what}: {out}"))["second"].clone()
    };
    assert_eq!(
        (told("host.cpu_model"), told("accelerator.name")),
        ("Another CPU".into(), "kvm".into())
    );
    assert_eq!(value["rows"][0]["experiment"], "fig1");
    assert!(
        value["rows"][0]["p99_2_ns"].is_u64()
            && value["not_compared"].as_array().unwrap().len() == 1
    );
}

#[test]
fn beyond_the_tolerance_is_exit_code_4() {
    let here = MadeUp::as_in_the_paper();
    let with = |shape| {
        let mut folder = MadeUp::as_in_the_paper();
        folder.reshape("fig1", shape);
        folder
    };
    let exit = |there: &MadeUp, tolerance: &str| {
        let (code, out, _) =
            reports(&["compare", dir(&here), dir(there), "--tolerance", tolerance]);
        (code, out)
    };
    let slower = with(|task, n| [31.8, if n % 3 == 0 { 84.6 } else { 50.4 }][task]);
    assert_eq!(exit(&slower, "10%").0, 0);
    let (code, out) = exit(&slower, "4%");
    assert!(code == 4 && out.contains("fig1 tau1: p99 is 3"), "{code} {out}");
    // One job of 200 is late: p99 is as it was.
    let late = with(|task, n| {
        if (task, n) == (0, 7) { 151.0 } else { [30.2, if n % 3 == 0 { 80.6 } else { 50.4 }][task] }
    });
    let (code, out) = exit(&late, "50%");
    assert!(
        code == 4
            && out.contains("fig1 tau1: 1 of 200 jobs missed their deadline, 0 of 200 before"),
        "{out}"
    );
    let (code, out) = exit(&elsewhere(), "50%");
    assert!(
        code == 4 && out.contains("- fig2 did other work"),
        "what cannot be compared does not pass: {out}"
    );
    for wrong in ["5", "-1%", "much%"] {
        let (code, _, err) =
            reports(&["compare", dir(&here), dir(&here), &format!("--tolerance={wrong}")]);
        assert!(code == 2 && err.contains("for example `5%`"), "{err}");
    }
}

#[test]
fn a_history_marks_the_first_change_that_matters() {
    let mut folders: Vec<MadeUp> = (0..4).map(|_| MadeUp::as_in_the_paper()).collect();
    for (at, folder) in folders.iter_mut().enumerate() {
        folder.manifest.started_utc = format!("2026-11-2{at}T12:00:00Z");
        if at >= 2 {
            folder.reshape("fig1", |task, n| [34.0, if n % 3 == 0 { 90.0 } else { 56.0 }][task]);
            folder.manifest.host.kernel = "6.19.0".to_owned();
        }
        folder.save();
    }
    let chart = folders[0].path().join("chart.svg");
    // In any order.
    let names = [3, 1, 0, 2].map(|at: usize| dir(&folders[at]));
    let mut args = vec!["history"];
    args.extend(names);
    args.extend(["--experiment", "fig1", "--chart", chart.to_str().unwrap()]);
    let (code, out, err) = reports(&args);
    assert_eq!((code, err.as_str()), (0, ""));
    let marked: Vec<&str> =
        out.lines().filter(|line| line.contains("← first change that matters")).collect();
    assert!(marked.len() == 2 && marked.iter().all(|line| line.contains("2026-11-22T")), "{out}");
    assert!(out.contains("p99 of tau1 is 34"), "{out}");
    assert!(out.contains("host.kernel (6.18.0 → 6.19.0)"), "{out}");
    assert!(fs::read_to_string(&chart).unwrap().contains("first change that matters"));

    args.extend(["--format", "csv"]);
    let (_, out, _) = reports(&args);
    let changes: Vec<&str> =
        out.lines().skip(1).map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(changes, ["0", "0", "0", "0", "1", "1", "0", "0"]);

    let (code, _, err) = reports(&["history", dir(&folders[0]), dir(&folders[1])]);
    assert!(
        code == 2 && err.contains("--experiment is missing: these results have fig1, fig2"),
        "{err}"
    );
    let other = elsewhere();
    let (code, _, err) =
        reports(&["history", dir(&folders[0]), dir(&other), "--experiment", "fig2"]);
    assert!(code == 2 && err.contains("`fig2` did other work"), "{err}");
}
