//! The sentinel's own process.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use kernel::{affinity::SELF, clock, memory, process, sched};
use model::{
    duration::as_ns,
    manifest::SentinelFacts,
    sample::{Stall, write_csv},
    stats::percentile,
};
use nix::errno::Errno;

use super::{
    LEAST, PERIOD,
    judge::{Judge, Look, Seen, next_ns},
    pace::Pace,
};

/// Room for stalls, taken before it starts; 16 MiB.
const CAPACITY: usize = 1 << 20;

/// Looks by which it measures what one costs: a tenth of a second.
const TRIALS: usize = 100;

/// What it says once it watches.
pub(super) const READY: &str = "watching";

/// What the sentinel is told.
#[derive(Debug, Clone, Args)]
pub struct Orders {
    /// The CPU that it was started on, for its rows.
    #[arg(long)]
    pub cpu: u32,
    /// Where to write stalls.csv.
    #[arg(long)]
    pub out: PathBuf,
    /// Where to write how it watched.
    #[arg(long)]
    pub report: PathBuf,
    /// Its budget at the most.
    #[arg(long, value_name = "DURATION", value_parser = model::duration::parse)]
    pub most: Duration,
}

/// Watches until SIGTERM, then writes what it saw and how it watched.
///
/// # Errors
/// Where SCHED_DEADLINE is refused or a file cannot be written.
pub fn run(orders: &Orders) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop))?;
    // Without the lock a page fault could look like a stall; with too small a limit, so be it.
    let _ = memory::lock_all();
    process::set_name("rtvm-sentinel")?;
    let mut stalls = Vec::with_capacity(CAPACITY);
    let most = enter(orders.most)?;
    let look = cost(most, &stop);
    let pace = Pace::of(look, most);
    let [budget, period] = [pace.budget_ns, pace.period_ns].map(Duration::from_nanos);
    sched::set(SELF, sched::Policy::deadline(budget, period))?;
    model::answer!("{READY}")?;
    let facts = watch(look, pace, &stop, &mut stalls);
    let facts = SentinelFacts { cpu: Some(orders.cpu), ..facts };
    sched::set(SELF, sched::Policy::Other { nice: 0 })?;
    stalls.iter_mut().for_each(|stall| stall.cpu = Some(orders.cpu));
    write_csv(&orders.out, &stalls)?;
    let text = serde_json::to_vec(&facts)?;
    fs::write(&orders.report, text).with_context(|| orders.report.display().to_string())
}

/// Enters SCHED_DEADLINE with the budget `most`, or with the least where that much is not to be had;
/// returns the budget.
fn enter(most: Duration) -> Result<Duration> {
    match sched::set(SELF, sched::Policy::deadline(most, PERIOD)) {
        Ok(()) => Ok(most),
        Err(refused) if refused.errno == Errno::EBUSY && most > LEAST => {
            sched::set(SELF, sched::Policy::deadline(LEAST, PERIOD))?;
            Ok(LEAST)
        }
        Err(refused) => Err(refused.into()),
    }
}

/// CPU time of a look, the median: on a host that is itself a virtual machine the longest are those
/// in which the machine stalled, which was billed to them.
fn cost(most: Duration, stop: &AtomicBool) -> Duration {
    let mut looks = Looks::begin(Pace::of(Duration::ZERO, most));
    let mut ran: Vec<u64> = Vec::with_capacity(TRIALS);
    while !stop.load(Ordering::Relaxed) && ran.len() < TRIALS {
        let Some(look) = looks.next() else { continue };
        ran.push(look.ran_ns);
    }
    ran.sort_unstable();
    Duration::from_nanos(percentile(&ran, 50.0).unwrap_or(0))
}

fn watch(look: Duration, pace: Pace, stop: &AtomicBool, stalls: &mut Vec<Stall>) -> SentinelFacts {
    let look_ns = as_ns(look);
    let Pace { interval_ns, period_ns, budget_ns } = pace;
    let mut facts =
        SentinelFacts { budget_ns, period_ns, interval_ns, look_ns, ..SentinelFacts::default() };
    let mut judge = Judge::new(look_ns, pace);
    let mut looks = Looks::begin(pace);
    let begin = clock::monotonic_ns();
    while !stop.load(Ordering::Relaxed) && stalls.len() < CAPACITY {
        let Some(look) = looks.next() else { continue };
        facts.looks += 1;
        let Seen { stall, held_back_ns } = judge.judge(look);
        stalls.extend(stall);
        facts.held_back_ns += held_back_ns;
    }
    facts.watched_ns = clock::monotonic_ns() - begin;
    facts
}

/// Looks, one after the other.
struct Looks {
    pace: Pace,
    due_ns: u64,
    used_ns: u64,
}

impl Looks {
    fn begin(pace: Pace) -> Self {
        let due_ns = clock::monotonic_ns() + pace.interval_ns;
        Self { pace, due_ns, used_ns: clock::thread_cpu_ns() }
    }

    /// Sleeps until the next; none where a signal came first.
    fn next(&mut self) -> Option<Look> {
        clock::sleep_until(self.due_ns).ok()?;
        let (now_ns, used_ns) = (clock::monotonic_ns(), clock::thread_cpu_ns());
        let look = Look { due_ns: self.due_ns, now_ns, ran_ns: used_ns - self.used_ns };
        self.used_ns = used_ns;
        self.due_ns = next_ns(look, self.pace);
        Some(look)
    }
}
