//! The work of a job: an integer loop in which every step waits for the one before.
//!
//! Latency decides its speed, so neither caches nor a wider processor change it, and an emulator
//! translates it one to one (0.98 of host speed under QEMU's TCG, where floats are 30 times slower).
//! A step is Marsaglia's xorshift64 (2003): three shifts, three exclusive ors, no closed form that a
//! compiler could find.
//!
//! How much of it makes a job is decided before ([`Work::Fixed`]) or on the way ([`Work::Paced`]).

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use clap::ValueEnum;
use kernel::clock::thread_cpu_ns;
use serde::Serialize;

/// Which kind of [`Work`], by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkKind {
    /// The same number of iterations in every job: the same work on every machine
    Fixed,
    /// The same CPU time in every job, whatever the processor's speed at the moment
    Paced,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// Always the same number of iterations: the same work on every machine, in a time that follows
    /// the processor's speed.
    Fixed {
        /// How many.
        iterations: u64,
    },
    /// The same CPU time, in pieces of a millisecond and finer ones at the end, each counted as the
    /// CPU time that it took. A piece that took far more than calibrated was not slow but stopped,
    /// by a hypervisor behind the kernel's back: it counts as calibrated. So a guest whose CPU is
    /// taken away for more than [`GAP_NS`] at a time still does all of its work.
    Paced {
        /// C, in nanoseconds.
        execution_ns: u64,
        /// What an iteration costs, roughly, in nanoseconds.
        ns_per_iteration: f64,
    },
}

/// What a piece may take above one and a half times its calibrated time before it counts as stopped.
pub const GAP_NS: f64 = 500_000.0;

/// A piece of paced work.
const PIECE_NS: f64 = 1_000_000.0;

/// Paced work is done when less than this is left: about what reading the clock takes.
const CLOSE_NS: f64 = 300.0;

impl Work {
    /// A share of it.
    #[must_use]
    pub fn scaled(self, share: f64) -> Self {
        let part = |of: u64| ((of as f64 * share).round() as u64).max(1);
        match self {
            Self::Fixed { iterations } => Self::Fixed { iterations: part(iterations) },
            Self::Paced { execution_ns, ns_per_iteration } => {
                Self::Paced { execution_ns: part(execution_ns), ns_per_iteration }
            }
        }
    }

    /// The CPU time that it takes.
    #[must_use]
    pub fn execution(self) -> Option<Duration> {
        match self {
            Self::Fixed { .. } => None,
            Self::Paced { execution_ns, .. } => Some(Duration::from_nanos(execution_ns)),
        }
    }

    /// Does it; `false` where `stop` was set before the end.
    pub fn run(self, stop: &AtomicBool) -> bool {
        match self {
            Self::Fixed { iterations } => burn(iterations, stop),
            Self::Paced { execution_ns, ns_per_iteration } => {
                pace(execution_ns as f64, ns_per_iteration, stop, thread_cpu_ns)
            }
        }
    }
}

fn pace(
    execution_ns: f64,
    ns_per_iteration: f64,
    stop: &AtomicBool,
    clock: impl Fn() -> u64,
) -> bool {
    let mut left = execution_ns;
    let mut before = clock();
    while left > CLOSE_NS {
        // The last pieces fall short, so that even one that takes half as long again as calibrated
        // (a processor just out of idle) does not overshoot.
        let piece = (left * 0.6).min(PIECE_NS);
        if !burn((piece / ns_per_iteration).max(1.0) as u64, stop) {
            return false;
        }
        let now = clock();
        left -= counted(piece, (now - before) as f64);
        before = now;
    }
    true
}

/// What a piece of `calibrated` nanoseconds that took `spent` counts as.
fn counted(calibrated: f64, spent: f64) -> f64 {
    if spent > calibrated * 1.5 + GAP_NS { calibrated } else { spent }
}

/// Iterations between two looks at the flag that stops a job: about a millisecond.
const SLICE: u64 = 500_000;

/// Does `iterations` of work; `false` where `stop` was set before the end.
#[inline(never)]
pub fn burn(iterations: u64, stop: &AtomicBool) -> bool {
    let mut state = black_box(0x9E37_79B9_7F4A_7C15_u64);
    let mut left = iterations;
    while left > 0 {
        let slice = left.min(SLICE);
        for _ in 0..slice {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        state = black_box(state);
        left -= slice;
        if stop.load(Ordering::Relaxed) {
            return left == 0;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn twice_the_iterations_take_twice_the_time() {
        let stop = AtomicBool::new(false);
        let median = |iterations| {
            let mut costs: Vec<u64> = (0..15)
                .map(|_| {
                    let start = thread_cpu_ns();
                    burn(iterations, &stop);
                    thread_cpu_ns() - start
                })
                .collect();
            costs.sort_unstable();
            costs[7] as f64
        };
        let ratio = median(2_000_000) / median(1_000_000);
        assert!((1.6..2.4).contains(&ratio), "{ratio}");
    }

    /// A clock on which every piece takes what `costs` says, the last one again and again.
    fn scripted(costs: &[u64]) -> impl Fn() -> u64 {
        let (now, read) = (Cell::new(0), Cell::new(0));
        move || {
            let cost = costs[read.get().min(costs.len() - 1)];
            read.set(read.get() + 1);
            now.set(now.get() + cost);
            now.get()
        }
    }

    #[test]
    fn paced_work_ends_when_its_time_is_spent() {
        let clock = scripted(&[0, 1_000_000, 1_200_000, 900_000]);
        assert!(pace(4_000_000.0, 1e6, &AtomicBool::new(false), &clock));
        // Four pieces make 4.0 ms: the clock is read at the start and after each.
        assert_eq!(clock(), 4_900_000);
    }

    #[test]
    fn a_slow_piece_counts_in_full_and_a_stopped_one_as_calibrated() {
        assert_eq!(counted(1e6, 1.35e6), 1.35e6);
        assert_eq!(counted(1e6, 22e6), 1e6);
        assert_eq!(counted(1e3, 0.4e6), 0.4e6);
    }

    #[test]
    fn paced_work_takes_the_cpu_time_asked_for_however_wrong_the_calibration() {
        let stop = AtomicBool::new(false);
        let cost = |_| {
            let start = thread_cpu_ns();
            burn(SLICE, &stop);
            thread_cpu_ns() - start
        };
        let mut slices: Vec<u64> = (0..15).map(cost).collect();
        slices.sort_unstable();
        let now = slices[7] as f64 / SLICE as f64;
        for wrong in [0.7, 1.0, 1.4] {
            let work = Work::Paced { execution_ns: 5_000_000, ns_per_iteration: now * wrong };
            let mut costs: Vec<u64> = (0..15)
                .map(|_| {
                    let start = thread_cpu_ns();
                    assert!(work.run(&AtomicBool::new(false)));
                    thread_cpu_ns() - start
                })
                .collect();
            costs.sort_unstable();
            assert!((4_950_000..5_100_000).contains(&costs[7]), "{costs:?}");
        }
    }

    #[test]
    fn a_stopped_job_is_not_a_finished_one() {
        assert!(!burn(100 * SLICE, &AtomicBool::new(true)));
        assert!(burn(1, &AtomicBool::new(true)));
    }
}
