//! Fixed work for real, and four real runs of broken systems: a claim has to notice each.
//!
//! The simulated systems of the sabotage table are many and quick; these show that what is true of
//! them is true of guests, reservations and loads.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use crate::{
    run::{Place, built, lacks_qemu, manifest, place},
    support::{HostState, sibling, stderr, stdout, turn},
};
use model::sample::{Job, read_csv, write_csv};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const FIXED: &str = r#"
name = "fixed"
[host]
keep_awake = true
[guest]
accelerator = "tcg"
[noise]
retries = 0
[[experiment]]
name = "host"
where = "host"
tasks = ["10ms/40ms"]
work = "fixed"
duration = "2s"
[[experiment]]
name = "guest"
where = "guest"
tasks = ["10ms/40ms"]
work = "fixed"
duration = "2s"
"#;

/// The folder of a run of all of a suite.
fn run(place: &Place) -> PathBuf {
    let output = place.run(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).trim().into()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn cpu_ns(folder: &Path, experiment: &str) -> f64 {
    let jobs: Vec<Job> = read_csv(&folder.join(experiment).join("rep-000/jobs.csv")).unwrap();
    median(jobs.iter().filter_map(|job| Some(job.cpu_ns? as f64)).collect())
}

// `travel::` runs fixed work of the host's in a guest every time.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn fixed_work_is_the_hosts_wherever_it_runs() {
    const TEST: &str = "fixed_work_is_the_hosts_wherever_it_runs";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    built();
    let place = place(FIXED);
    let before = HostState::now();
    let folder = run(&place);
    before.is_back();
    let manifest = manifest(&folder);
    let facts = |name: &str| {
        let of = manifest.repetitions.iter().find(|one| one.experiment == name).unwrap();
        (of.facts.ns_per_iteration.unwrap(), of.facts.fixed_work.unwrap())
    };
    let (_, on_host) = facts("host");
    assert!(on_host.drift().abs() < 0.3, "{on_host:?}");
    assert!((0.8..1.25).contains(&(cpu_ns(&folder, "host") / 10e6)), "of the execution time");
    // The guest's own loop costs what its own calibration says; the iterations are the host's.
    let (guest_ns, in_guest) = facts("guest");
    let expected = 10e6 * guest_ns / in_guest.before_ns_per_iteration;
    let took = cpu_ns(&folder, "guest");
    assert!((0.75..1.33).contains(&(took / expected)), "{took} of {expected}");
}

/// What the manifests of all four say was run.
const PROMISED: &str = r#"
name = "sabotaged"
[host]
keep_awake = true
[guest]
accelerator = "tcg"
[noise]
retries = 0
max_stalled = 0.05
[[experiment]]
name = "fig4-loaded"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"] }
reservation = { budget = "28ms", period = "50ms" }
duration = "15s"
repetitions = 2
"#;

const RESERVATION: &str = "reservation = { budget = \"28ms\", period = \"50ms\" }\n";
const LOAD: &str = "load = { tasks = [\"50ms/120ms\", \"20ms/80ms\"] }\n";

/// Makes the manifest say that what was promised was run.
fn pretend(folder: &Path) {
    let file = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let own = &mut manifest["suite"]["experiment"][0];
    own["tasks"] = json!(["30ms/150ms", "50ms/200ms"]);
    own["load"] = json!({ "tasks": ["50ms/120ms", "20ms/80ms"], "backlog": "keep" });
    own["reservation"] = json!({ "budget": "28ms", "period": "50ms", "mechanism": "deadline" });
    fs::write(&file, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// The claims that fail of a folder.
fn failing(folder: &Path) -> Vec<String> {
    let mut reports = Command::new(sibling("reports"));
    let output = reports.arg("claims").arg(folder).args(["--summary", "json"]).output().unwrap();
    let claims: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let list = claims.as_array().or_else(|| claims["claims"].as_array()).unwrap();
    let failing = list.iter().filter(|claim| claim["verdict"] == "fails");
    failing.map(|claim| claim["id"].as_str().unwrap().to_owned()).collect()
}

/// Runs `suite`, has `bend` change what it left, and expects one of `noticing` to fail.
fn expect(what: &str, suite: &str, bend: impl FnOnce(&Path), noticing: &[&str]) {
    let place = place(suite);
    let folder = run(&place);
    bend(&folder);
    pretend(&folder);
    let failing = failing(&folder);
    eprintln!("{what}: {}", failing.join(", "));
    let noticed = failing.iter().any(|id| noticing.iter().any(|start| id.starts_with(start)));
    assert!(noticed, "{what}: of {noticing:?} none fails, but {failing:?}");
}

#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn claims_notice_four_broken_runs() {
    const TEST: &str = "claims_notice_four_broken_runs";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    built();
    let nothing = |_: &Path| {};
    let off = PROMISED.replace(RESERVATION, "");
    expect("the reservation is silently off", &off, nothing, &["fig4-loaded-", "supply-"]);
    let more = PROMISED.replace("28ms", "32ms");
    expect("32 ms under the name of 28", &more, nothing, &["supply-"]);
    let elsewhere = PROMISED.replace(LOAD, "");
    let load = LoadElsewhere::start();
    expect("the load on another CPU", &elsewhere, |folder| load.end(folder), &["fig4-load"]);
    let hogged = PROMISED.replace("[\"30ms/150ms\"", "[\"5ms/20ms\", \"30ms/150ms\"");
    expect("a hog above the tasks in the guest", &hogged, without_hog, &["fig4-loaded-", "fig4-"]);
}

/// The load that was promised, on the first CPU, which is not the measured one.
struct LoadElsewhere {
    process: Child,
    rows: TempDir,
}

impl LoadElsewhere {
    fn start() -> Self {
        let rows = tempfile::tempdir().unwrap();
        let mut load = Command::new(sibling("rtload"));
        load.args(["load", "--task", "50ms/120ms", "--task", "20ms/80ms", "--cpu", "0", "--out"]);
        let process = load.arg(rows.path().join("load-jobs.csv")).spawn().unwrap();
        Self { process, rows }
    }

    /// Ends it, and leaves its rows where those of the run's own load would be.
    fn end(mut self, folder: &Path) {
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM).unwrap();
        self.process.wait().unwrap();
        for repetition in ["rep-000", "rep-001"] {
            let place = folder.join("fig4-loaded").join(repetition).join("load-jobs.csv");
            fs::copy(self.rows.path().join("load-jobs.csv"), place).unwrap();
        }
    }
}

/// Leaves the rows of the tasks below the most urgent one, under the names that they were to have.
fn without_hog(folder: &Path) {
    for repetition in ["rep-000", "rep-001"] {
        let file = folder.join("fig4-loaded").join(repetition).join("jobs.csv");
        let jobs: Vec<Job> = read_csv(&file).unwrap();
        let below = jobs.into_iter().filter(|job| job.task != "tau1").map(|mut job| {
            job.task = if job.task == "tau2" { "tau1".into() } else { "tau2".into() };
            job
        });
        write_csv(&file, &below.collect::<Vec<_>>()).unwrap();
    }
}
