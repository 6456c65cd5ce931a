//! The controlling thread of `timer-server`: wakes when a SCHED_DEADLINE budget is used up.
//!
//! It runs in SCHED_DEADLINE on the same CPU with a deadline shorter than that of the threads that
//! it serves, so it preempts them; the kernel then accounts for what they used and throttles the one
//! whose budget is gone. A thread cannot use its budget faster than time passes: with `left` to go,
//! the earliest end is `left` from now. That instant is looked at, and again from there until the
//! budget is gone, each time from what the kernel says is left. After the end the next budget cannot
//! be used up before a whole one has passed.

use std::{
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use kernel::{
    affinity::{SELF, Tid},
    clock,
    deadline_state::DeadlineState,
    memory, sched,
};
use model::{Reservation, duration::as_ns};
use serde::{Deserialize, Serialize};

use super::super::READY;

/// Its own reservation. Its deadline has to come before the deadlines of those it serves as their
/// budgets end, P − Q before: half of that is its period. A look takes 20 to 75 µs, and there may be
/// several in a row: 150 µs in every millisecond.
#[must_use]
pub fn own_reservation(served: Reservation) -> (Duration, Duration) {
    let slack = (served.period() - served.budget()) / 2;
    let period = slack.clamp(Duration::from_micros(500), Duration::from_millis(2));
    (period * 3 / 20, period)
}

/// Between two looks at the least, so that it keeps within its own budget.
const SHORTEST_NS: u64 = 50_000;
/// From a look to the thread's running on, and a little: come just after the end of a budget rather
/// than just before it.
const MARGIN_NS: u64 = 5_000;
/// A thread that does not run may begin to at any moment: with little left it is looked at this
/// often at the least, which is what its budget may be overrun by then.
const LONGEST_ASLEEP_NS: u64 = 150_000;
/// An end or a wake-up that is later than this is counted as late.
const LATE_NS: u64 = 200_000;

/// What it counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How often it looked.
    pub looks: u64,
    /// Budgets seen to have ended.
    pub ends: u64,
    /// Of those, how many had been overrun by more than 200 µs.
    pub late_ends: u64,
    /// The largest overrun.
    pub worst_overrun_ns: u64,
    /// Its own wake-ups that came more than 200 µs late: a budget may have ended at the tick then.
    pub late_looks: u64,
    /// The latest of them.
    pub worst_look_ns: u64,
    /// CPU time that it used itself.
    pub cpu_ns: u64,
    /// How long it watched.
    pub elapsed_ns: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |ns: u64| ns as f64 / 1e3;
        write!(
            f,
            "timer-server: {} budgets ended, {} of them more than 200 us late, the worst by {:.0} \
             us; {} of {} wake-ups were late, the worst by {:.0} us; it took {:.2} % of the CPU",
            self.ends,
            self.late_ends,
            us(self.worst_overrun_ns),
            self.late_looks,
            self.looks,
            us(self.worst_look_ns),
            100.0 * self.cpu_ns as f64 / self.elapsed_ns.max(1) as f64
        )
    }
}

/// One thread that is served.
#[derive(Debug)]
struct Served {
    budget_ns: u64,
    period_ns: u64,
    /// As last seen.
    left_ns: i64,
    /// How long it has been like that.
    unchanged_ns: u64,
    wait_ns: u64,
}

impl Served {
    fn new(reservation: Reservation) -> Self {
        let (budget_ns, period_ns) = (as_ns(reservation.budget()), as_ns(reservation.period()));
        Self { budget_ns, period_ns, left_ns: i64::MAX, unchanged_ns: 0, wait_ns: 0 }
    }

    /// Takes note of what is left; returns how long from now the budget cannot end.
    fn seen(&mut self, left_ns: i64, report: &mut Report) -> u64 {
        let earliest = match u64::try_from(left_ns) {
            Ok(left) if left > 0 => left,
            // The kernel adds whole budgets until some is left.
            _ => match left_ns.rem_euclid(self.budget_ns as i64) {
                0 => self.budget_ns,
                left => left as u64,
            },
        };
        if left_ns == self.left_ns {
            self.unchanged_ns += self.wait_ns;
            let patience = (2 * self.wait_ns).clamp(SHORTEST_NS, LONGEST_ASLEEP_NS).max(earliest);
            // Its deadline has passed: it will wake with a whole budget.
            let over = self.unchanged_ns > self.period_ns;
            self.wait_ns = if over { self.budget_ns } else { patience };
            return self.wait_ns;
        }
        if left_ns <= 0 {
            let overrun = left_ns.unsigned_abs();
            report.ends += 1;
            report.late_ends += u64::from(overrun > LATE_NS);
            report.worst_overrun_ns = report.worst_overrun_ns.max(overrun);
        }
        self.left_ns = left_ns;
        self.unchanged_ns = 0;
        self.wait_ns = (earliest + MARGIN_NS).max(SHORTEST_NS);
        self.wait_ns
    }
}

/// Watches the threads, each with this reservation, until SIGTERM or until all are gone; then
/// writes its [`Report`] to `out`.
///
/// # Errors
/// Where the kernel refuses SCHED_DEADLINE or does not show a thread's budget.
pub fn run(tids: &[Tid], reservation: Reservation, out: &Path) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop))?;
    let open = |&tid: &Tid| -> Result<(DeadlineState, Served)> {
        let state = DeadlineState::open(Path::new("/proc"), tid)
            .with_context(|| format!("the budget of thread {tid}"))?;
        Ok((state, Served::new(reservation)))
    };
    let mut served = tids.iter().map(open).collect::<Result<Vec<_>>>()?;
    // Without the lock a page fault could make it late; with too small a limit, so be it.
    let _ = memory::lock_all();
    let (budget, period) = own_reservation(reservation);
    sched::set(SELF, sched::Policy::deadline(budget, period))?;
    model::answer!("{READY}")?;
    // It ends in SCHED_DEADLINE: as an ordinary thread it might starve here before it has written.
    let report = watch(&mut served, &stop);
    fs::write(out, serde_json::to_vec(&report)?).with_context(|| out.display().to_string())
}

fn watch(served: &mut Vec<(DeadlineState, Served)>, stop: &AtomicBool) -> Report {
    let mut report = Report::default();
    let mut due = vec![0; served.len()];
    let (begin, used) = (clock::monotonic_ns(), clock::thread_cpu_ns());
    while !stop.load(Ordering::Relaxed) && !served.is_empty() {
        let now = clock::monotonic_ns();
        let mut gone = None;
        for (index, (state, served)) in served.iter_mut().enumerate() {
            if due[index] > now {
                continue;
            }
            report.looks += 1;
            match state.budget_left_ns() {
                // From the end of the look: the thread did not run meanwhile.
                Ok(Some(left_ns)) => {
                    due[index] = clock::monotonic_ns() + served.seen(left_ns, &mut report);
                }
                Ok(None) | Err(_) => gone = Some(index),
            }
        }
        if let Some(index) = gone {
            served.remove(index);
            due.remove(index);
            continue;
        }
        let next = due.iter().copied().min().unwrap_or(now);
        if clock::sleep_until(next).is_ok() {
            let late = clock::monotonic_ns().saturating_sub(next);
            report.late_looks += u64::from(late > LATE_NS);
            report.worst_look_ns = report.worst_look_ns.max(late);
        }
    }
    report.cpu_ns = clock::thread_cpu_ns() - used;
    report.elapsed_ns = clock::monotonic_ns() - begin;
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn served() -> Served {
        Served::new("3ms/5ms".parse().unwrap())
    }

    #[test]
    fn its_own_deadline_comes_before_those_it_serves() {
        let own = |served: &str| own_reservation(served.parse().unwrap());
        let us = Duration::from_micros;
        assert_eq!(own("3ms/5ms"), (us(150), us(1000)));
        assert_eq!(own("28ms/50ms"), (us(300), us(2000)));
        assert_eq!(own("9ms/10ms"), (us(75), us(500)));
    }

    #[test]
    fn it_looks_when_a_budget_can_end_at_the_earliest() {
        let (mut served, mut report) = (served(), Report::default());
        assert_eq!(served.seen(3 * MS as i64, &mut report), 3 * MS + MARGIN_NS);
        assert_eq!(served.seen(2 * MS as i64, &mut report), 2 * MS + MARGIN_NS);
        // Gone, with a little overrun: the next one is shorter by that.
        assert_eq!(served.seen(-10_000, &mut report), 3 * MS - 10_000 + MARGIN_NS);
        assert_eq!((report.ends, report.late_ends, report.worst_overrun_ns), (1, 0, 10_000));
        // Two whole budgets behind: the kernel adds as many as it takes.
        assert_eq!(served.seen(-7 * MS as i64, &mut report), 2 * MS + MARGIN_NS);
        assert_eq!((report.ends, report.late_ends), (2, 1));
    }

    #[test]
    fn a_thread_that_does_not_run_is_looked_at_less_often_and_after_its_period_hardly() {
        let (mut served, mut report) = (served(), Report::default());
        let waits: Vec<u64> = (0..5).map(|_| served.seen(10_000, &mut report)).collect();
        assert_eq!(waits, [50_000, 100_000, 150_000, 150_000, 150_000]);
        let passed: u64 = waits.iter().sum();
        let more = (0..100).map(|_| served.seen(10_000, &mut report));
        let within = more.take_while(|&wait| wait == LONGEST_ASLEEP_NS).count() as u64;
        assert!((0..=2 * LONGEST_ASLEEP_NS).contains(&(passed + within * 150_000 - 5 * MS)));
        assert_eq!(served.seen(10_000, &mut report), 3 * MS);
        // It woke, and is watched again.
        assert_eq!(served.seen(2 * MS as i64, &mut report), 2 * MS + MARGIN_NS);
        assert_eq!(report.ends, 0);
    }

    #[test]
    fn much_that_is_left_is_waited_for() {
        let (mut served, mut report) = (served(), Report::default());
        let waits: Vec<u64> = (0..4).map(|_| served.seen(2 * MS as i64, &mut report)).collect();
        assert_eq!(waits, [2 * MS + MARGIN_NS, 2 * MS, 2 * MS, 3 * MS]);
    }
}
