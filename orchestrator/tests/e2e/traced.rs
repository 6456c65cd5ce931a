//! The kernel's trace for real: a reserved guest whose supply adds up, somebody else's tracing left
//! alone, and more switches than anybody needs.

use std::{
    fs,
    io::{Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use kernel::{affinity, procfs::Proc};
use model::{
    Manifest,
    manifest::TraceFacts,
    sample::{Occupied, Supply, read_csv},
};
use nix::{
    mount::{MsFlags, mount, umount},
    sys::signal::{Signal, kill},
    unistd::{Pid, pipe},
};

use crate::support::{HostState, orchestrator, sibling, stderr, stdout, turn};

const SUITE: &str = r#"
name = "traced"
[host]
keep_awake = true
trace = true
[guest]
accelerator = "tcg"
[noise]
retries = 0
[[experiment]]
name = "reserved"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"], backlog = "drop" }
reservation = { budget = "28ms", period = "50ms" }
duration = "6s"
"#;

/// A tracefs of the test's own, with an instance in which it traces for itself.
struct Somebody {
    mounted: PathBuf,
    instance: PathBuf,
}

impl Somebody {
    fn tracing(dir: &Path) -> Self {
        let mounted = dir.join("somebody");
        fs::create_dir(&mounted).unwrap();
        mount(Some("tracefs"), &mounted, Some("tracefs"), MsFlags::empty(), None::<&str>).unwrap();
        let instance = mounted.join(format!("instances/somebody-{}", std::process::id()));
        fs::create_dir(&instance).unwrap();
        let somebody = Self { mounted, instance };
        somebody.write("trace_clock", "boot");
        somebody.write("events/sched/sched_switch/filter", "prev_pid==1");
        somebody.write("events/sched/sched_switch/enable", "1");
        somebody
    }

    fn write(&self, file: &str, value: &str) {
        fs::write(self.instance.join(file), value).unwrap();
    }

    fn state(&self) -> Vec<String> {
        ["tracing_on", "trace_clock", "buffer_size_kb", "events/sched/sched_switch/filter"]
            .into_iter()
            .chain(["events/sched/sched_switch/enable", "events/sched/sched_wakeup/enable"])
            .map(|file| fs::read_to_string(self.instance.join(file)).unwrap())
            .collect()
    }

    /// The instances that are not the test's.
    fn others(&self) -> Vec<PathBuf> {
        fs::read_dir(self.mounted.join("instances"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| *path != self.instance)
            .collect()
    }
}

impl Drop for Somebody {
    fn drop(&mut self) {
        // A test that fails must not fail here once more, and hide why.
        let _ = fs::remove_dir(&self.instance);
        let _ = umount(&self.mounted);
    }
}

fn lacks_tracefs(test: &str) -> bool {
    let lacking = orchestrator::trace::available(&orchestrator::host::Roots::default()).err();
    if let Some(why) = &lacking {
        eprintln!("SKIPPED: {test}: {why}");
    }
    lacking.is_some()
}

#[test]
fn a_reserved_guest_is_traced_while_somebody_else_traces_too() {
    const TEST: &str = "a_reserved_guest_is_traced_while_somebody_else_traces_too";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_tracefs(TEST) || orchestrator::guest::find_qemu().is_err() {
        eprintln!("SKIPPED: {TEST}: without tracefs or QEMU");
        return;
    }
    for program in ["rtload", "guest-agent"] {
        sibling(program);
    }
    let dir = tempfile::tempdir().unwrap();
    let suite = dir.path().join("suite.toml");
    fs::write(&suite, SUITE).unwrap();
    let somebody = Somebody::tracing(dir.path());
    let (before, traced, others) = (HostState::now(), somebody.state(), somebody.others());
    let output = orchestrator(&dir.path().join("state"))
        .arg("run")
        .arg(&suite)
        .arg("--out")
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    before.is_back();
    assert_eq!((somebody.state(), somebody.others()), (traced, others));
    drop(somebody);
    let folder = PathBuf::from(stdout(&output).trim());
    adds_up(&folder);
    is_judged(&folder);
}

/// The rows of each thread add up to its CPU clock, and lie where they should.
fn adds_up(folder: &Path) {
    let manifest: Manifest =
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let facts = manifest.repetitions[0].facts.trace.as_ref().expect("it was traced");
    assert_eq!(facts.lost_events, 0);
    let place = folder.join("reserved/rep-000");
    let rows: Vec<Supply> = read_csv(&place.join("supply.csv")).unwrap();
    let vcpu = &facts.threads[0];
    assert_eq!(vcpu.thread, "vcpu0");
    let own: Vec<_> = rows.iter().filter(|row| row.thread == "vcpu0").collect();
    let sum: u64 = own.iter().map(|row| row.end_ns - row.start_ns).sum();
    assert_eq!(sum, vcpu.traced_ns);
    let clock = vcpu.clock_ns.unwrap() as f64;
    // Interrupts and what a hypervisor takes are part of a run, but not of the CPU time.
    assert!((sum as f64 - clock).abs() < 0.05 * clock, "{sum} traced of {clock}");
    assert!(own.iter().all(|row| row.cpu == Some(manifest.host.measured_cpu)));
    assert!(own.iter().all(|row| facts.from_ns <= row.start_ns && row.end_ns <= facts.to_ns));
    let share = sum as f64 / (facts.to_ns - facts.from_ns) as f64;
    assert!((0.3..0.65).contains(&share), "{share} of the CPU under (28, 50)");
    assert!(facts.threads.iter().any(|one| one.thread == "main-loop" && one.traced_ns > 0));
    let others: Vec<Occupied> = read_csv(&place.join("cpu.csv")).unwrap();
    for name in ["tau1", "tau2", "rtvm-sentinel"] {
        assert!(others.iter().any(|row| row.thread == name), "{name} was not seen");
    }
    // One CPU runs one thread at a time.
    let mut all: Vec<(u64, u64)> = others.iter().map(|row| (row.start_ns, row.end_ns)).collect();
    let measured = Some(manifest.host.measured_cpu);
    let there = rows.iter().filter(|row| row.cpu == measured);
    all.extend(there.map(|row| (row.start_ns, row.end_ns)));
    all.sort_unstable();
    let two = all.windows(2).find(|pair| pair[0].1 > pair[1].0);
    assert_eq!(two, None, "two at once");
}

/// `reports claims` has both claims, each with a verdict and what was measured.
fn is_judged(folder: &Path) {
    let reports = sibling("reports");
    let arguments = ["claims".as_ref(), folder.as_os_str()];
    let output = std::process::Command::new(reports)
        .args(arguments)
        .args(["--summary", "json"])
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let claims = said["claims"].as_array().unwrap();
    for id in ["supply-reserved-capped", "supply-reserved-at-least"] {
        let claim = claims.iter().find(|claim| claim["id"] == id).expect(id);
        let known = claim["measured"].is_string() || claim["reason"].is_string();
        assert!(known, "{claim}");
        eprintln!("{id}: {} ({} {})", claim["verdict"], claim["measured"], claim["reason"]);
    }
}

/// A recorder on an instance of the test's own.
struct Recording {
    child: Child,
    folder: PathBuf,
    /// Dropped after the child has ended.
    _somebody: Somebody,
}

impl Recording {
    fn start(dir: &Path, measured: u32) -> Self {
        let somebody = Somebody::tracing(dir);
        let folder = dir.join("trace");
        fs::create_dir(&folder).unwrap();
        let mut child = orchestrator(&dir.join("state"))
            .args(["helper", "record", "--measured", &measured.to_string()])
            .args(["--vm", &format!("vm:{}:", std::process::id()), "--folder"])
            .arg(&folder)
            .arg("--tracefs")
            .arg(&somebody.mounted)
            .arg("--instance")
            .arg(&somebody.instance)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 10];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert_eq!(&line, b"recording\n");
        Self { child, folder, _somebody: somebody }
    }

    /// Ends it; what it wrote, and the most memory it had, in KiB.
    fn stop(mut self) -> (TraceFacts, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let most = most.trim().trim_end_matches("kB").trim().parse().unwrap();
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        let facts = fs::read(self.folder.join("trace.json")).unwrap();
        (serde_json::from_slice(&facts).unwrap(), most)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // After `stop` it has ended, and both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two threads on one CPU that wake each other over pipes; returns the number of switches.
fn ping_pong(cpu: u32, length: Duration) -> u64 {
    static STOP: AtomicBool = AtomicBool::new(false);
    let ((mut here, to_here), (mut there, to_there)) = (ends(), ends());
    let mut to_there: fs::File = to_there;
    let other = thread::spawn(move || {
        affinity::set(affinity::SELF, &[cpu]).unwrap();
        let mut to_here: fs::File = to_here;
        let mut byte = [0];
        while there.read(&mut byte).is_ok_and(|n| n == 1) && to_here.write_all(&byte).is_ok() {}
    });
    let one = thread::spawn(move || {
        affinity::set(affinity::SELF, &[cpu]).unwrap();
        let (mut byte, mut rounds) = ([7], 0);
        while !STOP.load(Ordering::Relaxed) {
            to_there.write_all(&byte).unwrap();
            here.read_exact(&mut byte).unwrap();
            rounds += 1;
        }
        rounds
    });
    sleep(length);
    STOP.store(true, Ordering::Relaxed);
    let rounds: u64 = one.join().unwrap();
    other.join().unwrap();
    2 * rounds
}

fn ends() -> (fs::File, fs::File) {
    let (read, write): (OwnedFd, OwnedFd) = pipe().unwrap();
    (read.into(), write.into())
}

#[test]
fn a_hundred_thousand_switches_a_second_fit_into_bounded_memory() {
    const TEST: &str = "a_hundred_thousand_switches_a_second_fit_into_bounded_memory";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_tracefs(TEST) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cpus = Proc::default().text("self/status").unwrap();
    let allowed = cpus.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let cpus = affinity::parse_list(allowed.trim()).unwrap();
    let (&first, &measured) = (cpus.first().unwrap(), cpus.last().unwrap());
    let recording = Recording::start(dir.path(), measured);
    // The recorder stays off the measured CPU, as in a run.
    affinity::set(recording.child.id() as i32, &[first]).unwrap();
    let start = Instant::now();
    let switches = ping_pong(measured, Duration::from_secs(2));
    let rate = switches as f64 / start.elapsed().as_secs_f64();
    let folder = recording.folder.clone();
    let (facts, kib) = recording.stop();
    // Until the recorder has found the two threads, they are strangers to it.
    let rows: Vec<Supply> = read_csv(&folder.join("supply.csv")).unwrap();
    let strangers: Vec<Occupied> = read_csv(&folder.join("cpu.csv")).unwrap();
    let (seen, lost) = ((rows.len() + strangers.len()) as u64, facts.lost_events);
    eprintln!(
        "{rate:.0} switches/s: {seen} rows of {switches} switches, {lost} events lost, \
         {kib} KiB at most"
    );
    assert!(kib < 64 * 1024, "{kib} KiB");
    // A switch and a wake-up each: what has no row was counted as lost.
    assert!(seen + lost + switches / 50 >= switches, "{seen} rows, {lost} lost of {switches}");
}
