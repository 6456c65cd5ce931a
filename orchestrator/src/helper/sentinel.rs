//! The sentinel: sees when the measured CPU ran nobody.
//!
//! A SCHED_DEADLINE thread with a short deadline is first in the queue whenever it wakes, whatever
//! reservation or real-time priority the others have. So when it wakes late, nobody ran: the
//! hypervisor took the CPU, or firmware did. What the kernel's fair server or RT throttling takes
//! from SCHED_FIFO threads does not delay it, and is thus no stall.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use kernel::{affinity::SELF, clock, memory, process, sched};
use model::sample::{Stall, write_csv};

/// How often it wakes.
const INTERVAL: Duration = Duration::from_millis(1);
/// Its reservation's budget; a wake-up takes a few microseconds.
pub const BUDGET: Duration = Duration::from_micros(25);
/// Its reservation's period, and so its relative deadline: shorter than any VM's, so that it goes
/// first under EDF, and shorter than `INTERVAL`, so that each wake-up begins a period of its own
/// (a deadline below the period would have the kernel hold it back between the two).
pub const PERIOD: Duration = Duration::from_micros(500);
/// A wake-up later than this is a stall; leaving idle takes less.
const THRESHOLD_NS: u64 = 200_000;
/// Room for stalls, taken before it starts; 16 MiB.
const CAPACITY: usize = 1 << 20;

/// Watches until SIGTERM, then writes `stalls.csv` to `out`.
///
/// # Errors
/// Where SCHED_DEADLINE is refused or the file cannot be written.
pub fn run(out: &Path) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop))?;
    // Without the lock a page fault could look like a stall; with too small a limit, so be it.
    let _ = memory::lock_all();
    process::set_name("rtvm-sentinel")?;
    let mut stalls = Vec::with_capacity(CAPACITY);
    sched::set(SELF, sched::Policy::deadline(BUDGET, PERIOD))?;
    watch(&stop, &mut stalls);
    sched::set(SELF, sched::Policy::Other { nice: 0 })?;
    Ok(write_csv(out, &stalls)?)
}

fn watch(stop: &AtomicBool, stalls: &mut Vec<Stall>) {
    let interval = INTERVAL.as_nanos() as u64;
    let mut due = clock::monotonic_ns() + interval;
    let mut used = clock::thread_cpu_ns();
    while !stop.load(Ordering::Relaxed) && stalls.len() < CAPACITY {
        if clock::sleep_until(due).is_err() {
            continue; // A signal; the flag says whether it is ours.
        }
        let (now, used_now) = (clock::monotonic_ns(), clock::thread_cpu_ns());
        let (late, ran) = (now - due, used_now - used);
        // A stall that hit the sentinel itself was billed to it, and then the kernel held it back
        // for the overrun: the bill is the stall, and being late is not.
        let length_ns = if ran > THRESHOLD_NS { ran } else { late };
        if length_ns > THRESHOLD_NS {
            let start_ns = if ran > THRESHOLD_NS { due - interval } else { due };
            stalls.push(Stall { start_ns, length_ns });
        }
        used = used_now;
        due += interval * (late / interval + 1);
    }
}
