//! The work of a job: an integer loop in which every step waits for the one before.
//!
//! Latency decides its speed, so neither caches nor a wider processor change it, and an emulator
//! translates it one to one (0.98 of host speed under QEMU's TCG, where floats are 30 times slower).
//! A step is Marsaglia's xorshift64 (2003): three shifts, three exclusive ors, no closed form that a
//! compiler could find.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
};

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
    use kernel::clock::thread_cpu_ns;

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

    #[test]
    fn a_stopped_job_is_not_a_finished_one() {
        assert!(!burn(100 * SLICE, &AtomicBool::new(true)));
        assert!(burn(1, &AtomicBool::new(true)));
    }
}
