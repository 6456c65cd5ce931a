//! Measuring the cost of an iteration.

use std::{sync::atomic::AtomicBool, thread, time::Duration};

use kernel::{
    affinity::{self, SELF},
    clock::{monotonic_ns, thread_cpu_ns},
    memory,
    procfs::Proc,
    sched::{self, Policy},
};
use model::{duration::as_ns, stats::percentile};

use super::{Calibration, SCHEMA_VERSION};
use crate::{Error, work::burn};

/// Pieces that show the processor's own speed: many fit between two disturbances.
const TINY_NS: u64 = 20_000;
/// The two lengths whose costs are compared.
const SHORT_NS: u64 = 10_000_000;
const LONG_NS: u64 = 30_000_000;
/// The share of the time for the tiny pieces.
const TINY_SHARE: f64 = 0.15;
/// The priority while measuring, where the kernel grants it; elsewhere preemption only takes longer.
const PRIORITY: u8 = 80;

/// Costs of pieces of one length.
struct Pieces {
    iterations: u64,
    /// In nanoseconds, ascending once sorted.
    costs: Vec<u64>,
}

impl Pieces {
    fn new(length_ns: u64, ns_per_iteration: f64) -> Self {
        Self { iterations: (length_ns as f64 / ns_per_iteration) as u64, costs: Vec::new() }
    }

    fn add(&mut self, clock: impl Fn() -> u64) {
        let start = clock();
        burn(self.iterations, &AtomicBool::new(false));
        self.costs.push(clock() - start);
    }

    /// The `p`-th percentile of the cost of an iteration; the pieces are sorted.
    fn cost(&self, p: f64) -> f64 {
        percentile(&self.costs, p).map_or(f64::NAN, |ns| ns as f64 / self.iterations as f64)
    }
}

/// Measures on `cpu` for about `length` of its time, as long as `keep_going` says so.
///
/// # Errors
/// [`Error::Usage`] where `cpu` cannot be used, [`Error::Interrupted`] where `keep_going` said no.
pub fn measure(
    cpu: u32,
    length: Duration,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Result<Calibration, Error> {
    thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            affinity::set(SELF, &[cpu])
                .map_err(|error| Error::pin(&format!("--cpu {cpu}"), &error))?;
            let _as_ordinary_task_otherwise = sched::set(SELF, Policy::Fifo { priority: PRIORITY });
            memory::touch_stack();
            pieces(cpu, length, keep_going)
        });
        measuring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn pieces(cpu: u32, length: Duration, keep_going: &dyn Fn() -> bool) -> Result<Calibration, Error> {
    let guess = guess();
    let [mut tiny, mut short, mut long] =
        [TINY_NS, SHORT_NS, LONG_NS].map(|ns| Pieces::new(ns, guess));
    let budget = as_ns(length) as f64;
    let rounds = (budget * (1.0 - TINY_SHARE) / (SHORT_NS + LONG_NS) as f64).ceil().max(3.0) as u32;
    let tiny_in_round = (budget * TINY_SHARE / TINY_NS as f64 / f64::from(rounds)).ceil() as u32;
    for _ in 0..rounds {
        // The wall clock is cheap to read, and preemption cannot move a low percentile.
        (0..tiny_in_round).for_each(|_| tiny.add(monotonic_ns));
        short.add(thread_cpu_ns);
        long.add(thread_cpu_ns);
        if !keep_going() {
            return Err(Error::Interrupted);
        }
    }
    for pieces in [&mut tiny, &mut short, &mut long] {
        pieces.costs.sort_unstable();
    }
    let (of_short, of_long) = (short.cost(50.0), long.cost(50.0));
    Ok(Calibration {
        schema_version: SCHEMA_VERSION,
        ns_per_iteration: f64::midpoint(of_short, of_long),
        undisturbed_ns_per_iteration: tiny.cost(1.0),
        spread: (long.cost(75.0) - long.cost(25.0)) / of_long,
        length_difference: of_long / of_short - 1.0,
        pieces: rounds,
        cpu,
        cpu_model: cpu_model(),
    })
}

/// Nanoseconds per iteration, roughly; it also brings a processor just out of idle up to speed.
fn guess() -> f64 {
    let mut warm = Pieces { iterations: 1_000_000, costs: Vec::new() };
    (0..20).for_each(|_| warm.add(thread_cpu_ns));
    warm.costs.sort_unstable();
    warm.cost(10.0)
}

/// The processor's name, where /proc/cpuinfo tells.
pub(crate) fn cpu_model() -> Option<String> {
    let text = Proc::default().text("cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}
