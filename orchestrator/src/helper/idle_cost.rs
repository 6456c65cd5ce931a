//! What leaving idle costs on the CPU that this runs on.

use std::{sync::atomic::AtomicBool, thread::sleep, time::Duration};

use anyhow::{Context, Result};
use kernel::clock::monotonic_ns;
use model::stats::percentile;
use rtload::work::burn;

const BURSTS: usize = 60;
const ITERATIONS: u64 = 2_000_000;
const PAUSE: Duration = Duration::from_millis(10);

/// Prints how much longer a burst of a few milliseconds takes after a sleep than in a row of
/// bursts, as a share: 0.35 is 35 %. Medians of 60 bursts of each kind.
///
/// # Errors
/// None in practice.
pub fn run() -> Result<()> {
    let in_a_row = median(|| ()).context("no bursts")?;
    let after_idle = median(|| sleep(PAUSE)).context("no bursts")?;
    model::answer!("{}", after_idle as f64 / in_a_row as f64 - 1.0)?;
    Ok(())
}

fn median(pause: impl Fn()) -> Option<u64> {
    let never = AtomicBool::new(false);
    burn(10 * ITERATIONS, &never);
    let mut lengths: Vec<u64> = (0..BURSTS)
        .map(|_| {
            pause();
            let start = monotonic_ns();
            burn(ITERATIONS, &never);
            monotonic_ns() - start
        })
        .collect();
    lengths.sort_unstable();
    percentile(&lengths, 50.0)
}
