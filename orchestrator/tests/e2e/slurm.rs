//! Fleets on a real Slurm, of two nodes on this host.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use model::fleet::{Fleet, Job, State};
use nix::sys::signal::{Signal, kill};

use crate::{
    cluster::{Cluster, lacks, until},
    run::manifest,
    support::{HostState, sibling, stderr, stdout, turn},
};

/// Suites that `rtplan` simulates in a moment.
fn simulated(name: &str) -> String {
    format!(
        "name = \"{name}\"\n[[experiment]]\nname = \"{name}\"\nwhere = \"guest\"\n\
         tasks = [\"3ms/15ms\"]\nduration = \"3s\"\nrepetitions = 2\n"
    )
}

/// A suite that measures on this host for so many seconds.
fn measured(name: &str, seconds: u32) -> String {
    format!(
        "name = \"{name}\"\n[noise]\nretries = 0\n[[experiment]]\nname = \"{name}\"\n\
         where = \"host\"\ntasks = [\"3ms/15ms\"]\nduration = \"1s\"\nrepetitions = {seconds}\n"
    )
}

/// In the bench's place on a node: simulates where it would measure.
const SIMULATES: &str = r#"#!/bin/sh
case $1 in
run) exec "$RTPLAN" simulate --suite "$2" --out "$4" ;;
esac
"#;

struct Stand {
    cluster: Cluster,
}

impl Stand {
    fn new(more: &str) -> Self {
        Self { cluster: Cluster::start(more) }
    }

    fn suite(&self, name: &str, text: &str) -> String {
        let file = self.cluster.path(&format!("{name}.toml"));
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    fn orchestrator(&self, arguments: &[&str]) -> Output {
        let mut command = self.cluster.command(env!("CARGO_BIN_EXE_orchestrator"));
        command.env("RTPLAN", sibling("rtplan"));
        command.args(arguments).output().unwrap()
    }

    /// Submits, and returns the fleet's folder.
    fn submit(&self, arguments: &[&str]) -> PathBuf {
        let out = self.cluster.path("fleets").display().to_string();
        let scratch = self.cluster.path("scratch").display().to_string();
        let mut all = vec!["submit", "--out", &out, "--scratch", &scratch];
        all.extend(arguments);
        let output = self.orchestrator(&all);
        assert!(output.status.success(), "{}", stderr(&output));
        PathBuf::from(stdout(&output).trim())
    }

    fn fleet(&self, folder: &Path) -> Fleet {
        let output = self.orchestrator(&["status", folder.to_str().unwrap(), "--summary", "json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        model::fleet::parse(&stdout(&output)).unwrap()
    }

    fn job(&self, folder: &Path, at: usize) -> Job {
        self.fleet(folder).jobs.swap_remove(at)
    }

    fn log(&self, folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join("log").join(name)).unwrap_or_default()
    }
}

/// Two nodes, three suites each: they run, come back, and make one report; then a node dies.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn an_array_runs_on_every_host_and_a_host_that_dies_is_told() {
    const TEST: &str = "an_array_runs_on_every_host_and_a_host_that_dies_is_told";
    let Some(_turn) = turn(TEST) else { return };
    if let Some(lacks) = lacks() {
        return eprintln!("SKIPPED: {TEST}: {lacks}");
    }
    let mut stand = Stand::new("");
    let program = stand.cluster.path("simulates");
    fs::write(&program, SIMULATES).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let suites = ["a", "b", "c"].map(|name| stand.suite(name, &simulated(name)));
    let program = program.display().to_string();
    let mut arguments: Vec<&str> = suites.iter().map(String::as_str).collect();
    arguments.extend(["--nodes", "2", "--program", &program]);
    let folder = stand.submit(&arguments);
    until("all jobs are over", || stand.fleet(&folder).jobs.iter().all(|job| job.state.is_over()));
    let path = folder.to_str().unwrap();
    let fetched = stand.orchestrator(&["fetch", path]);
    assert!(fetched.status.success(), "{}{}", stderr(&fetched), stand.log(&folder, "n1-0.log"));
    let fleet = stand.fleet(&folder);
    let done = |job: &Job| job.state == State::Done && job.folder.is_some();
    assert!(fleet.jobs.len() == 6 && fleet.jobs.iter().all(done), "{fleet:?}");
    let merged = Command::new(sibling("reports")).args(["merge", path]).output().unwrap();
    assert!(merged.status.success(), "{}", stderr(&merged));
    assert!(stdout(&merged).contains("6 folders of 2 hosts"), "{}", stdout(&merged));

    // A job that would not end, on a node that dies.
    fs::write(&program, "#!/bin/sh\n[ \"$1\" = restore ] || exec sleep 600\n").unwrap();
    let folder = stand.submit(&[&suites[0], "--hosts", "n2", "--program", &program]);
    until("it runs", || stand.job(&folder, 0).state == State::Running);
    stand.cluster.kill_node(2);
    until("the dead host is told", || {
        let job = stand.job(&folder, 0);
        job.detail.is_some_and(|detail| detail.contains("host is down"))
    });
    let refused = stand.orchestrator(&["submit", &suites[0], "--nodes", "2"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("1 usable hosts of 2"), "{}", stderr(&refused));
}

/// What of this cluster measures at the moment: the bench's own `run`.
fn runs(stand: &Stand) -> Vec<nix::unistd::Pid> {
    let is_run = |id: &nix::unistd::Pid| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words[0].ends_with(b"/orchestrator") && words.contains(&b"run".as_slice())
    };
    stand.cluster.processes().into_iter().filter(is_run).collect()
}

/// Real measurements on one node: one after the other; one is killed and goes on; one is cancelled and
/// one killed with its script, and the host is as before.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn jobs_take_turns_on_a_host_and_killed_ones_leave_nothing() {
    const TEST: &str = "jobs_take_turns_on_a_host_and_killed_ones_leave_nothing";
    let Some(_turn) = turn(TEST) else { return };
    if let Some(lacks) = lacks() {
        return eprintln!("SKIPPED: {TEST}: {lacks}");
    }
    let epilog = tempfile::NamedTempFile::with_suffix(".sh").unwrap();
    let stand = Stand::new(&format!("Epilog={}\n", epilog.path().display()));
    let text = format!(
        "#!/bin/sh\nRTVM_STATE_DIR='{}' exec '{}' restore\n",
        stand.cluster.path("bench-state").display(),
        env!("CARGO_BIN_EXE_orchestrator")
    );
    let script = epilog.into_temp_path();
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let before = HostState::now();

    let names = ["first", "second"];
    let suites = [(names[0], 2), (names[1], 1)]
        .map(|(name, seconds)| stand.suite(name, &measured(name, seconds)));
    let folder = stand.submit(&[&suites[0], &suites[1], "--hosts", "n1"]);
    let place = stand.cluster.path("scratch");
    let measured_one = || {
        let found = Command::new("find").arg(&place).args(["-name", "rep-000"]).output().unwrap();
        !found.stdout.is_empty()
    };
    until("its first repetition is there", || {
        assert!(!stand.job(&folder, 0).state.is_over(), "{}", stand.log(&folder, "n1-0.log"));
        measured_one()
    });
    let mut most = 0;
    runs(&stand).into_iter().for_each(|id| kill(id, Signal::SIGKILL).unwrap());
    until("both are over", || {
        most = most.max(runs(&stand).len());
        stand.fleet(&folder).jobs.iter().all(|job| job.state.is_over())
    });
    assert!(most <= 1, "{most} runs at once on one host");
    let fleet = stand.fleet(&folder);
    let logs = || ["n1-0.log", "n1-1.log"].map(|name| stand.log(&folder, name)).join("\n");
    for job in &fleet.jobs {
        assert_eq!(job.state, State::Done, "{job:?} {}", logs());
        let manifest = manifest(&folder.join(job.folder.as_ref().unwrap()));
        assert_eq!(manifest.host.name.as_deref(), Some("n1"));
        assert_eq!(manifest.resumed.len(), usize::from(job.suite == 0), "{}", logs());
    }
    until("the host is back", || before.changes().is_empty());

    let long = stand.suite("long", &measured("long", 60));
    for how in [&["--full", "--signal=KILL"][..], &[]] {
        let folder = stand.submit(&[&long, "--hosts", "n1"]);
        until("it measures", || !runs(&stand).is_empty() && !before.changes().is_empty());
        let array = stand.job(&folder, 0).array.unwrap().to_string();
        let mut arguments = how.to_vec();
        arguments.push(&array);
        stand.cluster.says("scancel", &arguments);
        until("it is over", || stand.job(&folder, 0).state.is_over());
        assert_eq!(stand.job(&folder, 0).state, State::Killed, "{how:?}");
        until("the host is back", || before.changes().is_empty());
        assert!(runs(&stand).is_empty());
    }
}

/// Two nodes, which are this one machine, and three suites that measure: one job is killed as a whole
/// and submitted again. What is merged is left in `$FLEET_REPORT`, to be looked at.
#[test]
#[ignore = "a campaign: six real runs, some two minutes"]
fn two_hosts_three_suites_one_killed_and_resumed_make_one_report() {
    const TEST: &str = "two_hosts_three_suites_one_killed_and_resumed_make_one_report";
    let Some(_turn) = turn(TEST) else { return };
    if let Some(lacks) = lacks() {
        return eprintln!("SKIPPED: {TEST}: {lacks}");
    }
    // The nodes are one machine, on which two cannot measure at once: a license makes them take turns.
    let stand = Stand::new("Licenses=machine:1\n");
    let guest = "name = \"reserved\"\n[noise]\nretries = 0\n[[experiment]]\nname = \"fig4-unloaded\"\n\
                 where = \"guest\"\ntasks = [\"30ms/150ms\", \"50ms/200ms\"]\nduration = \"5s\"\n\
                 repetitions = 2\nreservation = { budget = \"28ms\", period = \"50ms\" }\n";
    let texts = [
        ("short", measured("short", 2)),
        ("long", measured("long", 4)),
        ("reserved", guest.to_owned()),
    ];
    let suites = texts.map(|(name, text)| stand.suite(name, &text));
    let mut arguments: Vec<&str> = suites.iter().map(String::as_str).collect();
    arguments.extend(["--hosts", "n1,n2", "--", "--licenses=machine:1"]);
    let folder = stand.submit(&arguments);
    // The second suite of the first host, in its second repetition.
    let fleet_name = folder.file_name().unwrap();
    let scratch = stand.cluster.path("scratch").join(fleet_name).join("n1").join("1");
    let begun = || {
        let found = Command::new("find").arg(&scratch).args(["-name", "rep-001"]).output().unwrap();
        !found.stdout.is_empty()
    };
    until("the second suite measures", begun);
    let killed = stand
        .fleet(&folder)
        .jobs
        .into_iter()
        .find(|job| job.suite == 1 && job.state == State::Running);
    let killed = killed.expect("it runs");
    let task = format!("{}_1", killed.array.unwrap());
    stand.cluster.says("scancel", &["--full", "--signal=KILL", &task]);
    let of = |fleet: &Fleet| {
        fleet.jobs.iter().find(|job| job.suite == 1 && job.host == killed.host).unwrap().state
    };
    until("it is killed", || of(&stand.fleet(&folder)) == State::Killed);
    let path = folder.to_str().unwrap();
    eprintln!("{}", stdout(&stand.orchestrator(&["status", path])));
    let again = stand.orchestrator(&["submit", "--resume", path]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(stderr(&again).contains("submitted 1 jobs"), "{}", stderr(&again));
    let over =
        |stand: &Stand| stand.fleet(&folder).jobs.iter().filter(|job| job.state.is_over()).count();
    for jobs in 1..=6 {
        until("one job more is over", || over(&stand) >= jobs);
    }
    let fetched = stand.orchestrator(&["fetch", path]);
    assert!(fetched.status.success(), "{}", stderr(&fetched));
    eprintln!("{}", stdout(&stand.orchestrator(&["status", path])));
    let fleet = stand.fleet(&folder);
    for job in &fleet.jobs {
        assert_eq!(job.state, State::Done, "{job:?}");
        let manifest = manifest(&folder.join(job.folder.as_ref().unwrap()));
        let resumed = job.suite == 1 && job.host == killed.host;
        assert_eq!(manifest.resumed.len(), usize::from(resumed), "{job:?}");
    }
    let out =
        std::env::var("FLEET_REPORT").map_or_else(|_| stand.cluster.path("report"), PathBuf::from);
    let merged = Command::new(sibling("reports")).args(["merge", path, "--out"]).arg(&out).output();
    assert!(merged.unwrap().status.success());
    let text = Command::new(sibling("reports")).args(["merge", path]).output().unwrap();
    eprintln!("{}", stdout(&text));
    assert!(stdout(&text).contains("long: resumed 1×"), "{}", stdout(&text));
}
