//! Made-up result folders, for tests alone: no number here was ever measured.
//!
//! Response times follow the shapes of the paper's figures with a little seeded jitter, so that
//! each test can bend one of them and see which statement breaks.

use std::{fs, path::Path};

use model::{
    Manifest, Suite,
    manifest::{
        AcceleratorFacts, Facts, HostFacts, KeepAwake, RepetitionRecord, SCHEMA_VERSION, Status,
        Versions,
    },
    sample::{self, Job, Request},
    suite,
};
use tempfile::TempDir;

const MS: f64 = 1e6;

pub const SUITE: &str = r#"
name = "made-up"
description = "Invented numbers for tests"
[[experiment]]
name = "fig1"
where = "host"
tasks = ["30ms/150ms", "50ms/200ms"]
[[experiment]]
name = "fig2"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
[[experiment]]
name = "fig3"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"] }
[[experiment]]
name = "fig4-unloaded"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
reservation = { budget = "28ms", period = "50ms" }
[[experiment]]
name = "fig4-loaded"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"] }
reservation = { budget = "28ms", period = "50ms" }
"#;

/// The web service in the paper's four cases.
pub const SERVICE: &str = r#"
name = "made-up-service"
description = "10 clients, 10 requests each, 6 simulations; invented numbers"
[[experiment]]
name = "table1-host"
where = "host"
web = {}
[[experiment]]
name = "table1-guest"
where = "guest"
web = {}
[[experiment]]
name = "table1-guest-loaded"
where = "guest"
web = {}
load = { tasks = ["30ms/60ms", "38ms/100ms"] }
[[experiment]]
name = "table1-guest-reserved"
where = "guest"
web = {}
load = { tasks = ["30ms/60ms", "38ms/100ms"] }
reservation = { budget = "3ms", period = "5ms" }
"#;

/// The response time in milliseconds of job `n` of a task (0 or 1), before jitter.
pub type Shape = fn(task: usize, n: usize) -> f64;

fn host(task: usize, n: usize) -> f64 {
    [30.2, if n.is_multiple_of(3) { 80.6 } else { 50.4 }][task]
}

fn guest(task: usize, n: usize) -> f64 {
    [31.1, if n % 3 == 1 { 52.0 } else { 82.5 }][task]
}

fn overloaded(task: usize, n: usize) -> f64 {
    [60.0 + 17.0 * ((n * 5) % 8) as f64, 200.0 + 95.0 * n as f64][task]
}

fn reserved(task: usize, n: usize) -> f64 {
    [51.6, if n % 3 == 1 { 72.4 } else { 123.3 }][task]
}

/// A result folder under construction.
pub struct MadeUp {
    pub dir: TempDir,
    pub manifest: Manifest,
}

impl MadeUp {
    /// A folder in which everything that the paper says holds.
    pub fn as_in_the_paper() -> Self {
        let mut folder = Self::empty(SUITE);
        for (name, shape) in [
            ("fig1", host as Shape),
            ("fig2", guest),
            ("fig3", overloaded),
            ("fig4-unloaded", reserved),
            ("fig4-loaded", reserved),
        ] {
            folder.add(name, shape);
        }
        folder
    }

    /// A folder with a manifest and no repetition.
    pub fn empty(suite: &str) -> Self {
        let suite = suite::parse(suite, "suite.toml").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let folder = Self { dir, manifest: manifest(suite) };
        folder.save();
        folder
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes `manifest.json`.
    pub fn save(&self) {
        let text = serde_json::to_string_pretty(&self.manifest).unwrap();
        fs::write(self.path().join("manifest.json"), text).unwrap();
    }

    /// Adds an attempt that counts, of 30 s; two stalls disturb a few of its jobs.
    pub fn add(&mut self, experiment: &str, shape: Shape) -> &mut RepetitionRecord {
        let attempt =
            self.manifest.repetitions.iter().filter(|r| r.experiment == experiment).count() as u32;
        let seed = self.manifest.repetitions.len() as u64;
        let jobs = jobs(experiment, attempt, shape, seed);
        let place = self.path().join(experiment).join(format!("rep-{attempt:03}"));
        fs::create_dir_all(&place).unwrap();
        sample::write_csv(&place.join("jobs.csv"), &jobs).unwrap();
        self.manifest.repetitions.push(record(experiment, attempt));
        self.save();
        self.manifest.repetitions.last_mut().unwrap()
    }

    /// A folder with the service's four cases, six simulations of 100 requests each; response times
    /// lie evenly between the two bounds in milliseconds.
    pub fn service(bounds: [(f64, f64); 4]) -> Self {
        let mut folder = Self::empty(SERVICE);
        let names: Vec<String> =
            folder.manifest.suite.experiments.iter().map(|one| one.name.clone()).collect();
        for (name, (least, most)) in names.iter().zip(bounds) {
            for simulation in 0..6 {
                folder.add_requests(name, simulation, least, most);
            }
        }
        folder
    }

    fn add_requests(&mut self, experiment: &str, attempt: u32, least: f64, most: f64) {
        let place = self.path().join(experiment).join(format!("rep-{attempt:03}"));
        fs::create_dir_all(&place).unwrap();
        let rows: Vec<Request> = (0..100)
            .map(|n| request(experiment, attempt, n, least + (most - least) * n as f64 / 99.0))
            .collect();
        sample::write_csv(&place.join("requests.csv"), &rows).unwrap();
        self.manifest.repetitions.push(record(experiment, attempt));
        self.save();
    }

    /// Lets one request of an experiment's first attempt fail.
    pub fn fail_a_request(&self, experiment: &str) {
        let file = self.path().join(experiment).join("rep-000/requests.csv");
        let mut rows: Vec<Request> = sample::read_csv(&file).unwrap();
        rows[3].response_ns = None;
        rows[3].error = Some("reset".to_owned());
        sample::write_csv(&file, &rows).unwrap();
    }

    /// Lets only the first `kept` jobs of a task in an experiment's first attempt be finished.
    pub fn keep_jobs(&self, experiment: &str, task: &str, kept: u64) {
        let file = self.path().join(experiment).join("rep-000/jobs.csv");
        let mut rows: Vec<Job> = sample::read_csv(&file).unwrap();
        rows.retain(|job| job.task != task || job.job < kept);
        sample::write_csv(&file, &rows).unwrap();
    }

    /// Replaces the samples of an experiment's first attempt.
    pub fn reshape(&mut self, experiment: &str, shape: Shape) {
        let place = self.path().join(experiment).join("rep-000");
        sample::write_csv(&place.join("jobs.csv"), &jobs(experiment, 0, shape, 77)).unwrap();
    }
}

fn jobs(experiment: &str, attempt: u32, shape: Shape, seed: u64) -> Vec<Job> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut jobs = Vec::new();
    for (task, (period, count)) in [(150_u64, 200), (200, 150)].into_iter().enumerate() {
        for n in 0..count {
            let stalled_ns = if n == 60 || n == 61 { 9_000_000 } else { 0 };
            let jitter = (rng.f64() - 0.5) * 0.6 * MS;
            let response_ns = (shape(task, n) * MS + jitter) as u64 + stalled_ns;
            let release_ns = 5_000_000_000 + n as u64 * period * 1_000_000;
            jobs.push(Job {
                experiment: Some(experiment.to_owned()),
                repetition: Some(attempt),
                task: format!("tau{}", task + 1),
                job: n as u64,
                release_ns,
                start_ns: release_ns,
                finish_ns: release_ns + response_ns,
                response_ns,
                cpu_ns: Some(([30.0, 50.0][task] * MS + jitter / 10.0) as u64),
                deadline_ns: period * 1_000_000,
                missed: response_ns > period * 1_000_000,
                stalled_ns: Some(stalled_ns),
                vm: None,
                service: None,
            });
        }
    }
    jobs
}

fn request(experiment: &str, attempt: u32, n: u64, response_ms: f64) -> Request {
    let start_ns = 7_000_000_000 + n / 10 * 1_000_000_000 + u64::from(attempt);
    let response_ns = (response_ms * MS) as u64;
    Request {
        experiment: Some(experiment.to_owned()),
        repetition: Some(attempt),
        client: (n % 10) as u32,
        request: n / 10,
        intended_ns: start_ns,
        start_ns,
        first_byte_ns: None,
        finish_ns: Some(start_ns + response_ns),
        response_ns: Some(response_ns),
        status: Some(200),
        bytes: 1000,
        error: None,
        vm: None,
        service: None,
    }
}

pub fn record(experiment: &str, attempt: u32) -> RepetitionRecord {
    RepetitionRecord {
        experiment: experiment.to_owned(),
        attempt,
        repetition: attempt,
        status: Status::Done,
        error: None,
        started_utc: "2026-11-23T12:00:00Z".to_owned(),
        elapsed_ns: 35_000_000_000,
        stalled_share: Some(0.0021),
        noisy: false,
        counts: true,
        facts: Facts::default(),
    }
}

fn manifest(suite: Suite) -> Manifest {
    Manifest {
        schema_version: SCHEMA_VERSION,
        suite,
        started_utc: "2026-11-23T12:00:00Z".to_owned(),
        finished_utc: Some("2026-11-23T12:10:00Z".to_owned()),
        host: HostFacts {
            cpu_model: Some("Invented CPU <2 GHz>".to_owned()),
            cpus: 2,
            memory_bytes: Some(24 << 30),
            kernel: "6.18.0".to_owned(),
            os: None,
            tick_hz: Some(250),
            hrtick_dl: Some(false),
            clock_source: Some("tsc".to_owned()),
            hypervisor: Some("kvm".to_owned()),
            rt_runtime_us: Some(950_000),
            rt_period_us: Some(1_000_000),
            cpuset_version: Some(1),
            measured_cpu: 1,
            housekeeping_cpus: vec![0],
            ..HostFacts::default()
        },
        versions: Versions {
            bench: "0.1.0".to_owned(),
            qemu: Some("7.2".to_owned()),
            guest_kernel: None,
        },
        seed: 1,
        accelerator: Some(AcceleratorFacts {
            name: "tcg".to_owned(),
            reason: "the guest did not boot under KVM within 10 s".to_owned(),
        }),
        keep_awake: KeepAwake { on: true, reason: "measured".to_owned(), idle_cost: Some(0.35) },
        disks: Vec::new(),
        cleared: None,
        analyses: Vec::new(),
        impossible: Vec::new(),
        resumed: Vec::new(),
        repetitions: Vec::new(),
    }
}
