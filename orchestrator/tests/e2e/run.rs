//! A small suite for real: the result folder, going on in it, a guest killed in the middle, and
//! input that is refused before the host is touched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::support::{HostState, orchestrator, sibling, stderr, stdout, turn};
use model::{
    Manifest,
    manifest::Status,
    sample::{Job, Stall, read_csv},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const SUITE: &str = r#"
name = "small"
[host]
keep_awake = true
quiet = true
[guest]
accelerator = "tcg"
[noise]
retries = 0
[[experiment]]
name = "on-host"
where = "host"
tasks = ["3ms/15ms", "5ms/20ms"]
duration = "2s"
[[experiment]]
name = "reserved"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"], backlog = "drop" }
reservation = { budget = "40ms", period = "50ms" }
emulator = { budget = "1ms", period = "20ms" }
duration = "4s"
"#;

/// A suite's file in a folder of its own.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub suite: PathBuf,
}

/// A suite of one experiment on the host, `short`, with `more` keys.
pub fn short(duration: &str, more: &str) -> String {
    format!(
        r#"
name = "short"
[host]
keep_awake = true
[noise]
retries = 0
[[experiment]]
name = "short"
where = "host"
tasks = ["3ms/15ms"]
duration = "{duration}"
{more}
"#
    )
}

pub fn place(suite: &str) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("suite.toml");
    fs::write(&file, suite).unwrap();
    Place { dir, suite: file }
}

impl Place {
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let out = self.dir.path().join("results");
        orchestrator(&self.state())
            .arg("run")
            .arg(&self.suite)
            .arg("--out")
            .arg(out)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// The programs that a run needs beside it.
pub fn built() {
    for name in ["rtload", "guest-agent"] {
        sibling(name);
    }
}

pub fn lacks_qemu(test: &str) -> bool {
    let lacks = orchestrator::guest::find_qemu().is_err();
    if lacks {
        eprintln!("SKIPPED: {test}: QEMU is not installed");
    }
    lacks
}

pub fn manifest(folder: &Path) -> Manifest {
    serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn a_suite_runs_and_an_interrupted_one_goes_on() {
    const TEST: &str = "a_suite_runs_and_an_interrupted_one_goes_on";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    built();
    let place = place(SUITE);
    let before = HostState::now();
    let first = place.run(&[]);
    assert!(first.status.success(), "{}", stderr(&first));
    before.is_back();
    let folder = PathBuf::from(stdout(&first).trim());
    has_everything(&folder);

    // As if the run had been killed before its last repetition.
    let mut cut = manifest(&folder);
    cut.repetitions.pop();
    fs::write(folder.join("manifest.json"), serde_json::to_vec(&cut).unwrap()).unwrap();
    fs::remove_dir_all(folder.join("reserved")).unwrap();
    let resume = folder.display().to_string();
    let second = place.run(&["--resume", &resume]);
    assert!(second.status.success(), "{}", stderr(&second));
    assert!(!stderr(&second).contains("on-host"), "it ran again: {}", stderr(&second));
    has_everything(&folder);

    fs::write(&place.suite, SUITE.replace("4s", "5s")).unwrap();
    let other = place.run(&["--resume", &resume]);
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("the suite"), "{}", stderr(&other));
}

fn has_everything(folder: &Path) {
    let manifest = manifest(folder);
    let names: Vec<_> = manifest.repetitions.iter().map(|one| one.experiment.as_str()).collect();
    assert_eq!(names, ["on-host", "reserved"]);
    assert!(manifest.finished_utc.is_some());
    assert_eq!(fs::read_to_string(folder.join("suite.toml")).unwrap(), SUITE);
    for record in &manifest.repetitions {
        assert_eq!((record.status, record.counts), (Status::Done, true), "{record:?}");
        let repetition = folder.join(&record.experiment).join("rep-000");
        let jobs: Vec<Job> = read_csv(&repetition.join("jobs.csv")).unwrap();
        assert!(jobs.iter().all(|job| job.stalled_ns.is_some()));
        assert!(jobs.iter().all(|job| job.response_ns == job.finish_ns - job.release_ns));
        let _stalls: Vec<Stall> = read_csv(&repetition.join("stalls.csv")).unwrap();
        assert!(fs::read_to_string(repetition.join("response.hlog")).unwrap().contains("tau1"));
        assert!(repetition.join("host.json").exists());
    }
    let jobs: Vec<Job> = read_csv(&folder.join("on-host/rep-000/jobs.csv")).unwrap();
    assert_eq!(jobs.len(), 134 + 100, "2 s of (3, 15) and (5, 20)");
    let guest = &manifest.repetitions[1].facts;
    assert!(guest.boot_ns.is_some() && guest.guest_clock_offset_ns.is_some());
    assert!(guest.vcpu_share.unwrap() < 0.9, "not reserved: {guest:?}");
    assert!(folder.join("reserved/rep-000/console.log").exists());
    let host = &manifest.host;
    assert!(host.platform.is_some() && host.kernel_command_line.is_some(), "{host:?}");
    let reason = host.measured_cpu_reason.as_ref().unwrap();
    assert!(reason.starts_with(&format!("CPU {} is measured", host.measured_cpu)), "{reason}");
    let cleared = manifest.cleared.as_ref().unwrap();
    let on_v1 = host.cpuset_version == Some(1);
    assert_eq!(cleared.moved_threads > 0, on_v1, "{cleared:?}");
    assert!(cleared.kernel_threads_left > 0, "each CPU has threads of its own: {cleared:?}");
    assert!(cleared.quiet.is_some(), "{cleared:?}");
}

// The tests' fake bench has it, and `faults_guest::` kills a real guest.
#[test]
#[ignore = "part of the campaign `make torture`"]
fn a_guest_killed_in_the_middle_is_a_failed_repetition_and_the_next_one_runs() {
    const TEST: &str = "a_guest_killed_in_the_middle_is_a_failed_repetition_and_the_next_one_runs";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    built();
    let mut text = SUITE.replace("4s", "30s");
    text = text.replace("[[experiment]]\nname = \"on-host\"", "[[experiment]]\nname = \"last\"");
    // The guest's experiment goes first.
    let (head, reserved) = text.split_once("[[experiment]]\nname = \"reserved\"").unwrap();
    let (head, last) = head.split_once("[[experiment]]\n").unwrap();
    let suite =
        format!("{head}[[experiment]]\nname = \"reserved\"{reserved}[[experiment]]\n{last}");
    let place = place(&suite);
    let before = HostState::now();
    let child = orchestrator(&place.state())
        .arg("run")
        .arg(&place.suite)
        .arg("--out")
        .arg(place.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let qemu = wait_for_reserved_qemu(child.id());
    kill(Pid::from_raw(qemu), Signal::SIGKILL).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    before.is_back();
    let manifest = manifest(Path::new(stdout(&output).trim()));
    let status: Vec<_> = manifest.repetitions.iter().map(|one| one.status).collect();
    assert_eq!(status, [Status::Failed, Status::Done]);
    let error = manifest.repetitions[0].error.as_ref().unwrap();
    assert!(error.contains("QEMU") && error.contains("signal 9"), "{error}");
}

/// QEMU's process id, once its vCPU is under its reservation and the workload runs.
fn wait_for_reserved_qemu(parent: u32) -> i32 {
    let proc = kernel::procfs::Proc::default();
    let give_up = Instant::now() + Duration::from_secs(40);
    loop {
        assert!(Instant::now() < give_up, "no guest came up");
        let children = proc.text(&format!("{parent}/task/{parent}/children")).unwrap_or_default();
        let qemu = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .find(|pid| proc.name(*pid).is_ok_and(|name| name.starts_with("qemu")));
        let reserved = qemu.is_some_and(|pid| {
            proc.threads(pid).unwrap_or_default().into_iter().any(|tid| {
                kernel::sched::get(tid)
                    .is_ok_and(|now| now.policy.to_string().starts_with("SCHED_DEADLINE"))
            })
        });
        if let (Some(pid), true) = (qemu, reserved) {
            sleep(Duration::from_secs(2));
            return pid;
        }
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn wrong_input_is_refused_before_the_host_is_touched() {
    let cases = [
        (SUITE.replace("\"3ms/15ms\"", "\"30/15ms\""), "no unit"),
        (SUITE.replace("40ms", "-5ms"), "negative"),
        (SUITE.replace("3ms/15ms", "30ms/15ms"), "greater than the period"),
        (SUITE.replace("3ms/15ms", "0/15ms"), "above zero"),
        (SUITE.replace("keep_awake", "keep_asleep"), "keep_asleep"),
        (SUITE.replace("\"reserved\"", "\"on-host\""), "twice"),
        (SUITE.replace("[host]", "[host]\nmeasured_cpu = 77"), "measured_cpu"),
        (SUITE.replace("40ms", "49ms"), "lower the budgets by"),
        (SUITE.replace("retries = 0", "retries = \"none\""), ":9: key `retries`"),
    ];
    for (suite, wanted) in cases {
        let place = place(&suite);
        let output = place.run(&[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{wanted}: {said}");
        assert!(said.contains(wanted) && said.contains("suite.toml"), "{wanted}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        assert!(!place.state().exists(), "{wanted}: a journal was begun");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_before_the_host_is_touched() {
    let place = place(SUITE.split_once("[[experiment]]\nname = \"reserved\"").unwrap().0);
    let output = orchestrator(&place.state())
        .arg("run")
        .arg(&place.suite)
        .args(["--out", "/proc/results"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("/proc/results"), "{}", stderr(&output));
    assert!(!place.state().exists());
}

#[test]
fn a_dry_run_lists_every_repetition_and_does_nothing() {
    let place = place(SUITE);
    let output = place.run(&["--dry-run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("on-host") && said.contains("deadline 40ms/50ms"), "{said}");
    assert!(said.contains("2 repetitions, about"), "{said}");
    assert!(!place.state().exists() && !place.dir.path().join("results").exists());
}
