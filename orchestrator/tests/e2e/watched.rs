//! What somebody else changes while a reservation holds or a run goes on is told while it goes on.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

use kernel::{
    affinity,
    cpuset::{Cpusets, Version},
    procfs::Proc,
    sched::{self, Policy},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    run::{built, manifest, place, short},
    support::{HostState, orchestrator, turn},
};

/// A run or a reservation, and what it says, line by line.
struct Said {
    child: Child,
    lines: Receiver<String>,
}

impl Said {
    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let errors: ChildStderr = child.stderr.take().unwrap();
        spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                eprintln!("{line}");
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that holds `text`.
    fn wait_for(&self, text: &str) -> String {
        let begin = Instant::now();
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(30));
            let line = line.unwrap_or_else(|_| panic!("it never said `{text}`"));
            if line.contains(text) {
                eprintln!("`{text}` after {:?}", begin.elapsed());
                return line;
            }
        }
    }
}

/// A process that does nothing, which stands for a virtual machine.
struct Busy(Child);

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const CHANGED: &str = "warning: somebody else changed the host: ";

#[test]
fn a_reservation_that_somebody_else_takes_away_is_told_with_watch_and_without() {
    const TEST: &str = "a_reservation_that_somebody_else_takes_away_is_told_with_watch_and_without";
    let Some(_turn) = turn(TEST) else { return };
    let state = tempfile::tempdir().unwrap();
    let before = HostState::now();
    for arguments in [&["--placement", "partition"][..], &["--watch"][..]] {
        let spin = Command::new("setsid").args(["sh", "-c", "while :; do :; done"]).spawn();
        let busy = Busy(spin.unwrap());
        let tid = busy.0.id() as i32;
        let mut command = orchestrator(state.path());
        command.args(["reserve", "--tid", &tid.to_string(), "--reservation", "5ms/50ms"]);
        let mut held = Said::of(command.args(arguments));
        held.wait_for("held until Ctrl-C");
        sched::change(tid, Policy::Other { nice: 0 }).unwrap();
        let line = held.wait_for(&format!("{CHANGED}thread {tid} is under"));
        assert!(line.contains("SCHED_OTHER") && line.contains("SCHED_DEADLINE"), "{line}");
        if arguments[0] == "--placement" {
            affinity::set(tid, &[0]).or_else(|_| moved_to_the_root(tid)).unwrap();
            held.wait_for(&format!("{CHANGED}thread {tid} is "));
        }
        kill(Pid::from_raw(held.child.id() as i32), Signal::SIGINT).unwrap();
        assert!(held.child.wait().unwrap().success());
        drop(busy);
        before.is_back();
    }
}

/// The partition has one CPU: its threads cannot be pinned to another, but be moved out of it.
fn moved_to_the_root(tid: i32) -> std::io::Result<()> {
    let mounts = Proc::default().text("mounts")?;
    let hierarchy = Cpusets::find(&mounts).unwrap().hierarchy();
    let (path, value) = hierarchy.attach_thread(&hierarchy.root, tid);
    fs::write(path, value)
}

#[test]
fn a_run_tells_of_changes_to_its_programs_and_its_partition_and_notes_them() {
    const TEST: &str = "a_run_tells_of_changes_to_its_programs_and_its_partition_and_notes_them";
    let Some(_turn) = turn(TEST) else { return };
    built();
    let place = place(&short("8s", ""));
    let before = HostState::now();
    let mut command = orchestrator(&place.state());
    let mut run = Said::of(command.arg("run").arg(&place.suite).arg("--out").arg(place.dir.path()));
    let worker = real_time_thread_of_rtload();
    sched::change(worker, Policy::Other { nice: 0 }).unwrap();
    let line = run.wait_for(&format!("{CHANGED}thread {worker} of the run is under SCHED_OTHER"));
    let mut told = vec![line.trim_start_matches("warning: ").to_owned()];
    if let Some(balance) = balance() {
        fs::write(&balance, "1").unwrap();
        let line = run.wait_for(&format!("{CHANGED}{} is `1`", balance.display()));
        told.push(line.trim_start_matches("warning: ").to_owned());
    }
    assert!(run.child.wait().unwrap().success());
    before.is_back();
    let folder = fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let folder = folder.into_iter().find(|path| path.join("manifest.json").exists()).unwrap();
    let warnings = &manifest(&folder).repetitions[0].facts.warnings;
    let mine: Vec<_> = warnings.iter().filter(|one| one.starts_with("somebody else")).collect();
    assert!(told.iter().all(|one| mine.contains(&one)), "{warnings:?} has not {told:?}");
    assert_eq!(mine.len(), told.len(), "{warnings:?}");
}

/// The file with which a v1 partition begins.
fn balance() -> Option<std::path::PathBuf> {
    let mounts = Proc::default().text("mounts").unwrap();
    let cpusets = Cpusets::find(&mounts).unwrap();
    let file = cpusets.root.join("cpuset.sched_load_balance");
    (cpusets.version == Version::V1).then_some(file)
}

/// A thread of `rtload run` that is in SCHED_FIFO.
fn real_time_thread_of_rtload() -> i32 {
    let proc = Proc::default();
    let give_up = Instant::now() + Duration::from_secs(40);
    let works = |pid: &i32| {
        let line = proc.text(&format!("{pid}/cmdline")).unwrap_or_default();
        proc.name(*pid).is_ok_and(|name| name == "rtload") && line.contains("run")
    };
    loop {
        let pids = proc.processes().unwrap().into_iter().filter(works);
        let mut tids = pids.flat_map(|pid| proc.threads(pid).unwrap_or_default());
        let fifo =
            |tid: &i32| sched::get(*tid).is_ok_and(|now| matches!(now.policy, Policy::Fifo { .. }));
        if let Some(tid) = tids.find(fifo) {
            // Seen as it is before it is changed.
            sleep(Duration::from_secs(1));
            return tid;
        }
        assert!(Instant::now() < give_up, "no rtload ran");
        sleep(Duration::from_millis(20));
    }
}
