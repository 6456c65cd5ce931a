//! Suites become result folders.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use model::{
    Manifest,
    control::Why,
    sample::{BudgetRow, Job, Stall, read_csv},
};

fn experiments(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments").join(name).display().to_string()
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rtplan")).arg("simulate").args(args).output().unwrap()
}

fn folder(output: &Output) -> PathBuf {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout.clone()).unwrap().trim())
}

fn manifest(folder: &Path) -> Manifest {
    serde_json::from_str(&fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap()
}

fn worst(jobs: &[Job], task: &str) -> u64 {
    jobs.iter().filter(|job| job.task == task).map(|job| job.response_ns).max().unwrap()
}

#[test]
fn the_quick_suite_gives_the_paper_s_figures() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().to_str().unwrap();
    let results = folder(&run(&["--suite", &experiments("quick.toml"), "--out", out]));
    let manifest = manifest(&results);
    assert_eq!(manifest.accelerator.as_ref().unwrap().name, "simulation");
    assert_eq!(manifest.host.cpu_model.as_deref(), Some("simulated"));
    assert!(manifest.finished_utc.is_some() && manifest.host.memory_bytes.is_none());
    // 18 of the experiments, eight of the sweep.
    assert_eq!(manifest.repetitions.len(), 26);
    assert!(manifest.repetitions.iter().all(|one| one.counts && !one.noisy));
    let file = fs::read_to_string(results.join("suite.toml")).unwrap();
    assert_eq!(file, fs::read_to_string(experiments("quick.toml")).unwrap());
    let jobs = |experiment: &str| {
        read_csv::<Job>(&results.join(experiment).join("rep-001/jobs.csv")).unwrap()
    };
    let ms = |jobs: &[Job]| ["tau1", "tau2"].map(|task| worst(jobs, task) / 1_000_000);
    assert_eq!(ms(&jobs("fig1")), [30, 80]);
    assert_eq!(ms(&jobs("fig2")), [30, 80]);
    assert!(ms(&jobs("fig3"))[1] > 5_000);
    assert_eq!(ms(&jobs("fig4-unloaded")), [52, 124]);
    assert_eq!(ms(&jobs("fig4-loaded")), [52, 124]);
    let first = &jobs("fig1")[0];
    assert_eq!((first.experiment.as_deref(), first.repetition), (Some("fig1"), Some(1)));
}

/// Two vCPUs of one VM: both within their bounds; one whose budget is too small delays its own alone.
#[test]
fn each_vcpu_has_a_server_of_its_own() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().to_str().unwrap();
    let results = folder(&run(&["--suite", &experiments("vcpus.toml"), "--out", out]));
    let jobs = |experiment: &str, service: &str| -> Vec<Job> {
        let jobs = read_csv::<Job>(&results.join(experiment).join("rep-000/jobs.csv")).unwrap();
        jobs.into_iter().filter(|job| job.service.as_deref() == Some(service)).collect()
    };
    let missed = |jobs: &[Job], period_ms: u64| {
        jobs.iter().filter(|job| job.response_ns > period_ms * 1_000_000).count()
    };
    for experiment in ["enough", "one-short"] {
        let control = jobs(experiment, "control");
        assert!(control.len() > 100 && missed(&control, 150) == 0, "{experiment}");
    }
    assert_eq!(missed(&jobs("enough", "video"), 200), 0);
    let short = jobs("one-short", "video");
    assert!(missed(&short, 200) * 2 > short.len(), "{} of {}", missed(&short, 200), short.len());
}

/// Figure 4 with a 4 ms tick: a budget that runs out between two ticks goes on to the next, and now
/// and then tau1's 30 ms fit into one burst. The sentinel's wake-ups leave at most a millisecond.
#[test]
fn the_sentinel_sharpens_budgets_that_a_tick_enforces() {
    let out = tempfile::tempdir().unwrap();
    let text = out.path().display().to_string();
    let responses = |sentinel: bool| {
        let suite = fs::read_to_string(experiments("quick.toml")).unwrap();
        let suite = suite.replace("[host]", &format!("[host]\nsentinel = {sentinel}"));
        let suite = format!("{suite}\n[simulate]\ntick = \"4ms\"\nseed = 5\n");
        let file = out.path().join(format!("{sentinel}.toml"));
        fs::write(&file, suite).unwrap();
        let file = file.display().to_string();
        let results = folder(&run(&["--suite", &file, "--only", "fig4-loaded", "--out", &text]));
        let jobs = ["rep-000", "rep-001"].map(|repetition| {
            let path = results.join("fig4-loaded").join(repetition).join("jobs.csv");
            read_csv::<Job>(&path).unwrap()
        });
        let jobs = jobs.concat().into_iter().filter(|job| job.task == "tau1");
        jobs.map(|job| job.response_ns / 100_000).collect::<Vec<_>>()
    };
    let sharp = responses(true);
    assert!(sharp.iter().all(|tenths| (510..=530).contains(tenths)), "{sharp:?}");
    let blunt = responses(false);
    assert!(blunt.iter().any(|tenths| *tenths < 500), "{blunt:?}");
}

/// A folder as if measured: fig2 ran 1 ms late and 10 % slow, its CPU times were 29 and 31 ms, and
/// fig4-loaded had stalls.
fn measured(out: &Path) -> PathBuf {
    let text = out.display().to_string();
    let suite = experiments("quick.toml");
    let results = folder(&run(&["--suite", &suite, "--only", "fig2,fig4-loaded", "--out", &text]));
    let mut manifest = manifest(&results);
    manifest.accelerator.as_mut().unwrap().name = "tcg".to_owned();
    (manifest.host.tick_hz, manifest.host.hrtick_dl) = (Some(250), Some(false));
    fs::write(results.join("manifest.json"), serde_json::to_string(&manifest).unwrap()).unwrap();
    let path = results.join("fig2/rep-000/jobs.csv");
    let mut jobs: Vec<Job> = read_csv(&path).unwrap();
    jobs.sort_by_key(|job| (job.task.clone(), job.job));
    for job in &mut jobs {
        let base = if job.task == "tau1" { 29_000_000 } else { 49_000_000 };
        let cpu = base + 2_000_000 * (job.job % 2);
        job.cpu_ns = Some(cpu);
        job.start_ns = job.release_ns + 1_000_000;
        job.finish_ns = job.start_ns + cpu * 11 / 10;
    }
    model::sample::write_csv(&path, &jobs).unwrap();
    for repetition in ["rep-001", "rep-002", "rep-003"] {
        fs::copy(&path, results.join("fig2").join(repetition).join("jobs.csv")).unwrap();
    }
    let stalls: Vec<Stall> = (0..10)
        .map(|n| Stall { start_ns: n * 1_000_000_000, length_ns: 3_000_000, cpu: None })
        .collect();
    for repetition in ["rep-000", "rep-001", "rep-002", "rep-003"] {
        let path = results.join("fig4-loaded").join(repetition).join("stalls.csv");
        model::sample::write_csv(&path, &stalls).unwrap();
    }
    results
}

#[test]
fn a_budget_that_adapts_has_its_rows_beside_the_jobs() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().to_str().unwrap();
    let results = folder(&run(&["--suite", &experiments("adapt.toml"), "--out", out]));
    let missed = |experiment: &str| {
        let jobs = read_csv::<Job>(&results.join(experiment).join("rep-000/jobs.csv")).unwrap();
        // Long after the change at 10 s.
        jobs.iter().filter(|job| job.release_ns > 17_000_000_000 && job.missed).count()
    };
    let rows = |experiment: &str| results.join(experiment).join("rep-000/budget.csv");
    for law in ["lfs", "pi"] {
        let rows: Vec<BudgetRow> = read_csv(&rows(law)).unwrap();
        let budgets: Vec<u64> = rows.iter().map(|row| row.budget_ns / 1_000_000).collect();
        assert_eq!((rows[0].time_ns, budgets[0]), (0, 35));
        assert!((13..=15).contains(&budgets[9]) && (26..=30).contains(&budgets[19]), "{budgets:?}");
        assert!(rows.len() >= 30 && rows.iter().all(|row| row.vm == "vm" && row.vcpu == 0));
        assert_eq!(missed(law), 0, "{law}");
    }
    assert!(!rows("large").exists());
    // Both want more than there is from 10 to 20 s: two thirds and a third of 0.919 of a CPU, which are
    // 45.9 ms of every 50.
    let shared: Vec<BudgetRow> = read_csv(&rows("weights")).unwrap();
    let at = |vm: &str, ns: u64| {
        let own = shared.iter().rfind(|row| row.vm == vm && row.time_ns <= ns).unwrap();
        (own.budget_ns / 1_000_000, own.why)
    };
    assert_eq!(at("heavy", 18_000_000_000).0, 30);
    assert_eq!(at("light", 18_000_000_000), (15, Why::Shared));
    let sum = |ns: u64| at("heavy", ns).0 + at("light", ns).0;
    assert!((0..30).all(|second| sum(second * 1_000_000_000) <= 45), "{shared:?}");
    assert!(missed("small") > 0);
    assert_eq!(missed("large"), 0);
}

#[test]
fn conditions_come_from_a_measured_folder() {
    let out = tempfile::tempdir().unwrap();
    let measured = measured(out.path());
    let text = out.path().display().to_string();
    let args = [
        "--suite",
        &experiments("quick.toml"),
        "--only",
        "fig2,fig4-loaded",
        "--out",
        &text,
        "--calibrate",
        measured.to_str().unwrap(),
        "--seed",
        "3",
    ];
    let results = folder(&run(&args));
    let again = folder(&run(&args));
    let jobs = |results: &Path, experiment: &str| {
        read_csv::<Job>(&results.join(experiment).join("rep-000/jobs.csv")).unwrap()
    };
    let fig2 = jobs(&results, "fig2");
    for job in fig2.iter().filter(|job| job.task == "tau1") {
        // As measured, less the sentinel's 20 µs of every millisecond.
        assert!([31_262_000, 33_418_000].contains(&job.cpu_ns.unwrap()), "{job:?}");
        // A millisecond of waking up, and a look of the sentinel where one falls into it.
        let waking = job.start_ns - job.release_ns;
        assert!([1_000_000, 1_020_000].contains(&waking), "{waking}");
    }
    let loaded = jobs(&results, "fig4-loaded");
    assert!(loaded.iter().any(|job| job.stalled_ns.unwrap() > 0));
    assert_eq!(loaded, jobs(&again, "fig4-loaded"), "the same seed");
    let manifest = manifest(&results);
    assert_eq!((manifest.host.tick_hz, manifest.seed), (Some(250), 3));
    let record = manifest.repetitions.iter().find(|one| one.experiment == "fig4-loaded").unwrap();
    let notes = record.facts.warnings.join("; ");
    assert!(notes.contains("execution and wake-up of tau1 as measured in fig2"), "{notes}");
    assert!(notes.contains("40 stalls as measured"), "{notes}");
    let share = record.stalled_share.unwrap();
    assert!((0.002..0.005).contains(&share), "{share}");
}

#[test]
fn bad_suites_and_folders_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let text = out.path().display().to_string();
    let quick = experiments("quick.toml");
    let simulated = folder(&run(&["--suite", &quick, "--only", "fig1", "--out", &text]));
    let simulated = simulated.display().to_string();
    let cases: [(&[&str], &str); 5] = [
        (&["--suite", "nowhere.toml"], "nowhere.toml"),
        (&["--suite", &quick, "--only", "fig9"], "no experiment `fig9`; there are fig1"),
        (&["--suite", &quick, "--calibrate", &text], "a result folder has a `manifest.json`"),
        (&["--suite", &quick, "--calibrate", &simulated], "were simulated"),
        (&["--suite", &quick, "--task", "30ms/150ms"], "cannot be used with"),
    ];
    for (args, what) in cases {
        let output = run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(what), "{args:?}: {said}");
    }
}

#[test]
fn services_and_vms_of_ones_own_are_skipped_with_a_word() {
    let output = run(&["--suite", &experiments("own-service.toml")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for wanted in [
        "skipped by-url: only periodic tasks can be simulated",
        "skipped own-program: only periodic tasks",
        "skipped vm-loaded: vm `shop` runs already, and what it does is not known",
        "nothing to simulate",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn several_cpus_are_played_each_by_itself() {
    let vm = |name: &str, vcpus: &str, services: &str| {
        format!("[[experiment.vm]]\nname = \"{name}\"\nvcpus = [{vcpus}]\nservice = [{services}]\n")
    };
    let vcpu = |cpu: u32, budget: u32| {
        format!("{{ cpu = {cpu}, budget = \"{budget}ms\", period = \"50ms\" }}")
    };
    let (paper, other) = (
        "{ tasks = [\"30ms/150ms\", \"50ms/200ms\"] }",
        "{ name = \"b\", vcpu = 1, tasks = [\"20ms/100ms\"] }",
    );
    let load = |cpu: u32, task: &str| format!("{{ cpu = {cpu}, tasks = [\"{task}\"] }}");
    let experiment = |name: &str, loads: &[String], vms: &str| {
        let loads = loads.join(", ");
        format!("[[experiment]]\nname = \"{name}\"\nduration = \"6s\"\nload = [{loads}]\n{vms}")
    };
    let smp = vm("smp", &format!("{}, {}", vcpu(1, 28), vcpu(0, 12)), &format!("{paper}, {other}"));
    let hog = vm("hog", "{ cpu = 0 }, { cpu = 1 }", "{ wild = \"spin\" }");
    let (first, second) = (load(1, "50ms/120ms"), load(0, "20ms/80ms"));
    let text = [
        "name = \"s\"\n[host]\nmeasured_cpus = [1, 0]\n".to_owned(),
        experiment("both", &[first.clone(), second.clone()], &(smp + &hog)),
        experiment(
            "one",
            &[first],
            &(vm("smp", &vcpu(1, 28), paper) + &vm("hog", "{ cpu = 1 }", "{ wild = \"spin\" }")),
        ),
        experiment(
            "two",
            &[second],
            &(vm("smp", &vcpu(0, 12), &other.replace("vcpu = 1, ", ""))
                + &vm("hog", "{ cpu = 0 }", "{ wild = \"spin\" }")),
        ),
    ];
    let out = tempfile::tempdir().unwrap();
    let suite = out.path().join("suite.toml");
    fs::write(&suite, text.concat()).unwrap();
    let results =
        folder(&run(&["--suite", suite.to_str().unwrap(), "--out", out.path().to_str().unwrap()]));
    let jobs = |name: &str, service: &str| -> Vec<(u64, u64, u64)> {
        let all: Vec<Job> = read_csv(&results.join(name).join("rep-000/jobs.csv")).unwrap();
        let own = all.into_iter().filter(|job| job.service.as_deref() == Some(service));
        own.map(|job| (job.release_ns, job.start_ns, job.finish_ns)).collect()
    };
    assert_eq!(jobs("both", "tasks").len(), 70);
    assert_eq!(jobs("both", "tasks"), jobs("one", "tasks"));
    assert_eq!(jobs("both", "b"), jobs("two", "b"));
    let manifest = manifest(&results);
    assert_eq!(manifest.host.measured(), [1, 0]);
    let shares: Vec<f64> =
        manifest.repetitions[0].facts.vms.iter().map(|own| own.vcpu_share.unwrap()).collect();
    assert!((shares[0] - 0.45).abs() < 0.02 && (shares[1] - 0.2).abs() < 0.02, "{shares:?}");
}
