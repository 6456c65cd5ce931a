//! Budgets that adapt, on real threads: raised to a bound, refused by the kernel, given back after a
//! kill, and in a suite.

use std::{
    fs::{self, OpenOptions},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Barrier, atomic::AtomicBool},
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

use kernel::sched::{self, Policy};
use model::{
    control::Why,
    sample::{BudgetRow, Job, read_csv},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orchestrator::{
    guest::{Plain, find_qemu, spin},
    host::{Roots, deadline_bandwidth_limit},
};

use crate::{
    run::{built, lacks_qemu, place},
    support::{HostState, orchestrator, stderr, stdout, turn},
};

const MS: u64 = 1_000_000;

/// A process that never sleeps, which stands for a virtual machine.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        let spin = Command::new("setsid").args(["sh", "-c", "while :; do :; done"]).spawn();
        Self(spin.unwrap())
    }

    fn tid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The budget of a thread, in ms; none outside of SCHED_DEADLINE.
fn budget_ms(tid: i32) -> Option<f64> {
    match sched::get(tid).ok()?.policy {
        Policy::Deadline { runtime, .. } => Some(runtime.as_secs_f64() * 1e3),
        _ => None,
    }
}

fn rows(folder: &Path) -> Vec<BudgetRow> {
    read_csv(&folder.join("reserve/rep-000/budget.csv")).unwrap()
}

/// Reserves, adapting for this time; what it says.
fn adapt(state: &Path, tid: i32, time: &str, out: &Path) -> String {
    let output = orchestrator(state)
        .args(["reserve", "--tid", &tid.to_string(), "--reservation", "10ms/50ms"])
        .args(["--adapt", "lfs", "--min", "5ms", "--max", "30ms", "--for", time, "--out"])
        .arg(out)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn a_vm_that_asks_for_more_gets_it_up_to_the_bound() {
    const TEST: &str = "a_vm_that_asks_for_more_gets_it_up_to_the_bound";
    let Some(_turn) = turn(TEST) else { return };
    let folder = tempfile::tempdir().unwrap();
    if OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() || lacks_qemu(TEST) {
        eprintln!("SKIPPED: {TEST}: no guest runs under KVM here");
        return;
    }
    let qemu = find_qemu().unwrap();
    let guest = spin(&Plain, &qemu, folder.path(), &AtomicBool::new(false)).unwrap();
    let before = HostState::now();
    let out = folder.path().join("out");
    let said = adapt(&folder.path().join("state"), guest.vcpu_thread(), "3500ms", &out);
    assert!(said.contains("adapting by `lfs`, between 5ms and 30ms, every 1s"), "{said}");
    assert!(said.contains("10ms → 15ms in 50ms (exhausted"), "{said}");
    // The watcher knows of every change.
    assert!(!said.contains("somebody else"), "{said}");
    let rows = rows(&out);
    let budgets: Vec<u64> = rows.iter().map(|row| row.budget_ns).collect();
    assert_eq!(budgets[..4], [10 * MS, 15 * MS, 22_500_000, 30 * MS], "{rows:?}");
    assert_eq!((rows[0].why, rows[0].consumed_ns), (Why::Start, None));
    assert_eq!(rows[1].why, Why::Exhausted);
    // It had what was granted, and waited for the rest.
    let (consumed, waited) = (rows[1].consumed_ns.unwrap(), rows[1].waited_ns.unwrap());
    let elapsed = rows[1].time_ns - rows[0].time_ns;
    assert!((0.17..0.24).contains(&(consumed as f64 / elapsed as f64)), "{rows:?}");
    assert!(waited as f64 > 0.6 * elapsed as f64, "{rows:?}");
    before.is_back();
}

/// Threads that sleep and hold bandwidth, so that `left` CPUs' worth of it is left.
struct Room {
    ended: Arc<Barrier>,
    threads: Vec<JoinHandle<()>>,
}

impl Room {
    /// None where this thread may not be in SCHED_DEADLINE.
    fn leave(left: f64) -> Option<Self> {
        let cpus = std::thread::available_parallelism().unwrap().get();
        let limit = deadline_bandwidth_limit(&Roots::default());
        let each = limit - left / cpus as f64;
        let (begun, ended) = (Arc::new(Barrier::new(cpus + 1)), Arc::new(Barrier::new(cpus + 1)));
        let hold = |_| {
            let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
            spawn(move || {
                let period = Duration::from_millis(100);
                let policy = Policy::deadline(period.mul_f64(each), period);
                let held = sched::set(kernel::affinity::SELF, policy);
                begun.wait();
                ended.wait();
                held.unwrap();
            })
        };
        let threads: Vec<_> = (0..cpus).map(hold).collect();
        begun.wait();
        let own = Self { ended, threads };
        let held = |tid: &i32| budget_ms(*tid).is_some();
        let all = kernel::procfs::Proc::default().threads(std::process::id() as i32).unwrap();
        (all.iter().filter(|tid| held(tid)).count() == cpus).then_some(own)
    }

    fn end(self) {
        self.ended.wait();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn where_there_is_no_room_the_wish_is_lowered() {
    const TEST: &str = "where_there_is_no_room_the_wish_is_lowered";
    let Some(_turn) = turn(TEST) else { return };
    let (folder, busy) = (tempfile::tempdir().unwrap(), Busy::start());
    // 0.4 of a CPU are 20 ms of 50 ms.
    let Some(room) = Room::leave(0.4) else {
        eprintln!("SKIPPED: {TEST}: this process may not be in SCHED_DEADLINE");
        return;
    };
    let out = folder.path().join("out");
    let said = adapt(&folder.path().join("state"), busy.tid(), "2500ms", &out);
    room.end();
    let rows = rows(&out);
    let refused: Vec<_> = rows.iter().filter(|row| row.why == Why::Refused).collect();
    assert!(!refused.is_empty(), "{rows:?}");
    assert!(refused.iter().all(|row| (15 * MS..=20 * MS).contains(&row.budget_ns)), "{rows:?}");
    assert!(said.contains("wished for"), "{said}");
}

#[test]
fn killed_while_it_adapts_restore_gives_all_back() {
    const TEST: &str = "killed_while_it_adapts_restore_gives_all_back";
    let Some(_turn) = turn(TEST) else { return };
    let (folder, busy) = (tempfile::tempdir().unwrap(), Busy::start());
    let state = folder.path().join("state");
    let before = HostState::now();
    let mut adapting = orchestrator(&state)
        .args(["reserve", "--tid", &busy.tid().to_string(), "--reservation", "10ms/50ms"])
        .args(["--adapt", "pi", "--min", "5ms", "--max", "30ms"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let give_up = Instant::now() + Duration::from_secs(20);
    while budget_ms(busy.tid()).is_none_or(|ms| ms < 11.0) {
        assert!(Instant::now() < give_up, "it never raised the budget");
        sleep(Duration::from_millis(20));
    }
    kill(Pid::from_raw(adapting.id() as i32), Signal::SIGKILL).unwrap();
    adapting.wait().unwrap();
    let restored = orchestrator(&state).arg("restore").output().unwrap();
    assert!(restored.status.success(), "{}{}", stdout(&restored), stderr(&restored));
    assert_eq!(budget_ms(busy.tid()), None);
    before.is_back();
}

#[test]
fn what_cannot_adapt_is_refused_before_anything_is_touched() {
    const TEST: &str = "what_cannot_adapt_is_refused_before_anything_is_touched";
    let Some(_turn) = turn(TEST) else { return };
    let state = tempfile::tempdir().unwrap();
    let tid = std::process::id().to_string();
    for (line, said) in [
        ("--reservation 10ms/50ms --adapt magic --min 5ms --max 30ms", "choose one of lfs, pi"),
        ("--reservation 10ms/50ms --adapt lfs --min 5ms", "--max"),
        ("--adapt lfs --min 5ms --max 30ms", "--reservation"),
        ("--reservation 10ms/50ms --adapt lfs --min 30ms --max 5ms", "the bounds are crossed"),
        ("--reservation 10ms/50ms --adapt lfs --min 5ms --max 60ms", "greater than the period"),
        ("--reservation 40ms/50ms --adapt lfs --min 5ms --max 30ms", "lies outside"),
        ("--reservation 10ms/50ms --adapt lfs --min 0 --max 30ms", "above zero"),
        ("--reservation 10ms/50ms --adapt lfs --min 500ns --max 30ms", "1.024us"),
        ("--reservation 10ms/50ms --min 5ms --max 30ms", "--adapt"),
        (
            "--reservation 10ms/50ms --adapt lfs --min 5ms --max 30ms --mechanism cfs-quota",
            "use --mechanism deadline",
        ),
    ] {
        let mut command = orchestrator(state.path());
        let output = command.args(["reserve", "--tid", &tid]).args(line.split(' ')).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{line}: {}", stderr(&output));
    }
}

const SUITE: &str = r#"
name = "adapts"
[host]
keep_awake = true
[guest]
accelerator = "tcg"
[noise]
retries = 0
[[experiment]]
name = "adapts"
where = "guest"
tasks = ["5ms/50ms"]
surge = "2s..5s*3"
duration = "5s"
reservation = { period = "20ms", control = "pi", min = "1ms", max = "14ms" }
"#;

#[test]
fn a_suite_adapts_the_budget_of_its_vm() {
    const TEST: &str = "a_suite_adapts_the_budget_of_its_vm";
    let Some(_turn) = turn(TEST) else { return };
    if lacks_qemu(TEST) {
        return;
    }
    built();
    let place = place(SUITE);
    let output = place.run(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let results = fs::read_dir(place.dir.path().join("results")).unwrap();
    let folder = results.map(|entry| entry.unwrap().path()).next().unwrap();
    let repetition = folder.join("adapts/rep-000");
    let rows: Vec<BudgetRow> = read_csv(&repetition.join("budget.csv")).unwrap();
    assert_eq!((rows[0].why, rows[0].budget_ns), (Why::Start, 14 * MS));
    assert!(rows.len() >= 5 && rows.iter().all(|row| row.vm == "vm" && row.vcpu == 0), "{rows:?}");
    // It gives back what is not asked for, and takes it again.
    let least = rows.iter().map(|row| row.budget_ns).min().unwrap();
    assert!(least < 9 * MS, "{rows:?}");
    let after = rows.iter().skip_while(|row| row.budget_ns > least);
    assert!(after.map(|row| row.budget_ns).max().unwrap() > least * 3 / 2, "{rows:?}");
    let jobs: Vec<Job> = read_csv(&repetition.join("jobs.csv")).unwrap();
    let first = jobs.iter().map(|job| job.release_ns).min().unwrap();
    // What a guest counts as a job's CPU time has in it what its vCPU waited for: the longer job has
    // more of that, so three times the work is at least that much.
    let least = |in_surge: bool| {
        let own = jobs.iter().filter(|job| (job.release_ns - first >= 2_000 * MS) == in_surge);
        own.filter_map(|job| job.cpu_ns).min().unwrap() as f64
    };
    let times = least(true) / least(false);
    assert!(times > 2.5, "{times}");
}
