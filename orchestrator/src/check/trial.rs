//! A mechanism tried on a thread that asks for everything, against the rival that it is for.

use std::{
    env, fmt, fs,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::ValueEnum;
use kernel::{
    affinity,
    clock::monotonic_ns,
    sched::{self, Policy},
};
use model::{Mechanism, Reservation, answer, duration, stats::percentile};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    host::{Cpus, Roots, Stage, Stop, pause},
    mechanism::{self, Request, Vm},
};

/// Who else wants the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// Nobody.
    Nobody,
    /// An ordinary thread that asks for everything.
    Ordinary,
    /// A SCHED_FIFO thread that asks for everything, of middling priority.
    Fifo,
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "with nobody beside it",
            Self::Ordinary => "beside an ordinary hog",
            Self::Fifo => "beside a SCHED_FIFO hog",
        })
    }
}

const MIDDLING: u8 = 50;

/// What has happened to SCHED_DEADLINE on the measured CPU before a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Past {
    /// Sleeping threads left it, and their bandwidth leaked: a reservation is refused although no
    /// thread has any.
    Leaked,
    /// The thread was throttled and left it with a tiny reservation, so that its debt lasts.
    Indebted,
    /// The thread was reserved as it will be, and released.
    Reserved,
}

/// Time to be throttled in, and for that to end.
const THROTTLED: Duration = Duration::from_millis(330);

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// Share of the CPU that the thread got, by the kernel's account.
    pub share: f64,
    /// When the thread ran, as it saw it itself: (start, end) of each run in nanoseconds; empty
    /// where it had no chance to tell.
    pub runs: Vec<(u64, u64)>,
    /// What the mechanism had to say.
    pub facts: Vec<String>,
}

impl Tried {
    /// The lengths of the runs, ascending; the first and the last were cut off and do not count.
    #[must_use]
    pub fn bursts(&self) -> Vec<u64> {
        let whole = self.runs.get(1..self.runs.len().saturating_sub(1)).unwrap_or_default();
        let mut lengths: Vec<u64> = whole.iter().map(|(start, end)| end - start).collect();
        lengths.sort_unstable();
        lengths
    }
}

/// The rival that shows what a mechanism is good for, and the share that (Q, P) promises against it;
/// none where it promises nothing definite.
#[must_use]
pub fn promise(mechanism: Mechanism, reservation: Reservation) -> (Rival, Option<f64>) {
    let bandwidth = Some(reservation.bandwidth());
    match mechanism {
        Mechanism::None => (Rival::Ordinary, Some(0.5)),
        // All but what the kernel keeps for ordinary threads, and none but that.
        Mechanism::FifoAbove => (Rival::Fifo, Some(1.0)),
        Mechanism::FifoBelow => (Rival::Fifo, Some(0.0)),
        Mechanism::Deadline | Mechanism::RtGroup | Mechanism::TimerServer => {
            (Rival::Fifo, bandwidth)
        }
        // At least its bandwidth; how much more is the kernel's affair.
        Mechanism::DeadlineReclaim => (Rival::Fifo, None),
        // A cap shows where nobody else wants the CPU.
        Mechanism::CfsQuota => (Rival::Nobody, bandwidth),
        Mechanism::CfsWeight | Mechanism::CfsQuotaWeight => (Rival::Ordinary, bandwidth),
    }
}

/// Before and after what is watched.
const MARGIN: Duration = Duration::from_millis(100);

/// The processes of a trial; dropping it kills them. Those under a reservation die in it: a thread
/// that leaves one asleep can leak its bandwidth.
#[derive(Default)]
struct Hogs(Vec<Child>);

impl Hogs {
    fn start(&mut self, stage: &Stage, fifo: Option<u8>, arguments: &[&str]) -> Result<i32> {
        let exe = env::current_exe()?;
        let arguments = ["helper"].iter().chain(arguments);
        self.spawn(stage, stage.on_measured_at(stage.cpus.first(), fifo, &exe, arguments)?)
    }

    fn spawn(&mut self, stage: &Stage, mut command: Command) -> Result<i32> {
        let child = stage.guard.spawn(&mut command)?;
        let pid = child.id() as i32;
        self.0.push(child);
        Ok(pid)
    }

    /// Kills all but the first, and asks that one to end, which it may not.
    fn end(&mut self) {
        self.kill_from(1);
        if let Some(first) = self.0.first() {
            // It fails only where it is gone already.
            let _ = kill(Pid::from_raw(first.id() as i32), Signal::SIGTERM);
        }
        let give_up = Instant::now() + Duration::from_secs(2);
        while Instant::now() < give_up
            && self.0.first_mut().is_some_and(|first| matches!(first.try_wait(), Ok(None)))
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill_from(&mut self, first: usize) {
        for mut child in self.0.drain(first.min(self.0.len())..) {
            // It fails only where it is gone already.
            let _ = kernel::process::kill_group(&mut child);
        }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.kill_from(0);
    }
}

/// Waits until a process has moved to the measured CPU, and then for it to become what it will be:
/// one that moves by itself must not be moved meanwhile.
fn arrived(stage: &Stage, pid: i32) -> Result<()> {
    let give_up = Instant::now() + Duration::from_secs(10);
    while affinity::get(pid)? != stage.cpus.measured {
        anyhow::ensure!(Instant::now() < give_up, "process {pid} did not reach its CPU");
        pause(Duration::from_millis(5), &stage.stop)?;
    }
    Ok(pause(MARGIN, &stage.stop)?)
}

/// Puts a thread that asks for everything under `mechanism` and watches it for `length`. The host
/// is as before afterwards.
///
/// # Errors
/// What the host refused.
pub fn attempt(
    stage: &mut Stage,
    mechanism: Mechanism,
    request: &Request,
    rival: Rival,
    length: Duration,
) -> Result<Tried> {
    after(stage, None, mechanism, request, rival, length)
}

/// As [`attempt`], after what `past` says.
fn after(
    stage: &mut Stage,
    past: Option<Past>,
    mechanism: Mechanism,
    request: &Request,
    rival: Rival,
    length: Duration,
) -> Result<Tried> {
    let mark = stage.guard.mark();
    let tried = watched(stage, past, mechanism, request, rival, length);
    let undone = stage.guard.undo_to(mark);
    tried.and_then(|tried| undone.map(|()| tried))
}

fn watched(
    stage: &mut Stage,
    past: Option<Past>,
    mechanism: Mechanism,
    request: &Request,
    rival: Rival,
    length: Duration,
) -> Result<Tried> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("runs.csv");
    let mut hogs = Hogs::default();
    // It is asked to end long before; the limit is for when nobody can ask any more.
    let lasts = duration::format(length + Duration::from_secs(20));
    let out_argument = out.display().to_string();
    let greedy = ["greedy", "--duration", &lasts, "--out", &out_argument];
    let pid = hogs.start(stage, None, &greedy)?;
    arrived(stage, pid)?;
    let vm = Vm { pid, vcpus: vec![pid] };
    match past {
        Some(Past::Indebted) => indebt(pid, &stage.stop)?,
        Some(Past::Reserved) => {
            let mark = stage.guard.mark();
            let attached = mechanism::attach(stage, mechanism, &vm, request)?;
            pause(THROTTLED, &stage.stop)?;
            attached.finish()?;
            stage.guard.undo_to(mark)?;
            pause(THROTTLED, &stage.stop)?;
        }
        Some(Past::Leaked) | None => {}
    }
    let attached = mechanism::attach(stage, mechanism, &vm, request)?;
    match rival {
        Rival::Nobody => {}
        Rival::Ordinary => drop(hogs.start(stage, None, &["hog"])?),
        Rival::Fifo => drop(hogs.start(stage, Some(MIDDLING), &["hog"])?),
    }
    pause(MARGIN, &stage.stop)?;
    let used = || stage.roots.proc.thread_times(pid).map(|times| times.cpu_ns);
    let (begin, before) = (monotonic_ns(), used()?);
    pause(length, &stage.stop)?;
    let (end, after) = (monotonic_ns(), used()?);
    let facts = attached.finish()?;
    hogs.end();
    let share = (after - before) as f64 / (end - begin) as f64;
    Ok(Tried { share, runs: runs(&out, begin, end), facts })
}

/// A reservation that is used up most of the time.
const SHARE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(50));

/// Has a throttled thread leave SCHED_DEADLINE behind the guard's back, with a reservation whose
/// debts last for minutes.
fn indebt(pid: i32, stop: &Stop) -> Result<()> {
    sched::set(pid, Policy::deadline(SHARE.0, SHARE.1))?;
    pause(THROTTLED, stop)?;
    sched::set(pid, Policy::deadline(Duration::from_nanos(1024), Duration::from_secs(1)))?;
    sched::set(pid, Policy::Other { nice: 0 })?;
    // The timer that would give it its budget finds it gone.
    Ok(pause(THROTTLED, stop)?)
}

/// Has a sleeping thread leave SCHED_DEADLINE, as often as it takes to leak most of a CPU.
fn leak(stage: &Stage) -> Result<()> {
    for _ in 0..4 {
        let mut sleeper = Hogs::default();
        let command = stage.on_measured_at(stage.cpus.first(), None, Path::new("sleep"), ["60"])?;
        let pid = sleeper.spawn(stage, command)?;
        arrived(stage, pid)?;
        // Behind the guard's back, who lets none leak.
        sched::set(pid, Policy::deadline(SHARE.0, SHARE.1))?;
        pause(MARGIN, &stage.stop)?;
        sched::set(pid, Policy::Other { nice: 0 })?;
    }
    Ok(())
}

/// The runs that lie between `begin` and `end`, at least in part.
fn runs(file: &Path, begin: u64, end: u64) -> Vec<(u64, u64)> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (start, end) = line.split_once(',')?;
            Some((start.parse().ok()?, end.parse().ok()?))
        })
        .filter(|&(first, last): &(u64, u64)| last > begin && first < end)
        .collect()
}

/// Tries each of `mechanisms` (all where empty) on a prepared host, each after what `past` says;
/// prints a line for each.
///
/// # Errors
/// Where the host cannot be prepared, or a signal comes; what one mechanism was refused is a line.
pub fn run(
    mechanisms: &[Mechanism],
    reservation: Reservation,
    length: Duration,
    cpu: Option<u32>,
    past: Option<Past>,
) -> Result<()> {
    let stop = Stop::on_signals()?;
    let cpus = Cpus::divide(&Roots::default().sys, cpu.as_slice())?;
    let mut stage = Stage::prepare(cpus, stop.clone())?;
    answer!("cgroup v{}", stage.cpusets.version.number())?;
    if past == Some(Past::Leaked) {
        leak(&stage)?;
    }
    let all = if mechanisms.is_empty() { &Mechanism::ALL[..] } else { mechanisms };
    for &mechanism in all {
        let (rival, _) = promise(mechanism, reservation);
        match after(&mut stage, past, mechanism, &reservation.into(), rival, length) {
            Ok(tried) => print(mechanism, &tried)?,
            Err(error) => {
                stop.check()?;
                answer!("refused {mechanism} {error:#}")?;
            }
        }
    }
    Ok(())
}

fn print(mechanism: Mechanism, tried: &Tried) -> Result<()> {
    answer!("share {mechanism} {:.4}", tried.share)?;
    let bursts = tried.bursts();
    let ms = |percent| percentile(&bursts, percent).map(|ns| ns as f64 / 1e6);
    if let (Some(p1), Some(p50), Some(p99), Some(max)) = (ms(1.0), ms(50.0), ms(99.0), ms(100.0)) {
        let count = bursts.len();
        answer!("bursts {mechanism} {count} p1 {p1:.3} p50 {p50:.3} p99 {p99:.3} max {max:.3} ms")?;
    }
    for fact in &tried.facts {
        answer!("fact {mechanism} {fact}")?;
    }
    Ok(())
}
