//! A thread that asks for all the CPU there is, and sees when it gets it.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use kernel::{clock::monotonic_ns, memory};
use model::duration::as_ns;

/// The clock standing still for this long means that somebody else ran, and more than a moment.
const GAP_NS: u64 = 100_000;
/// Room for runs, taken before it starts.
const CAPACITY: usize = 1 << 20;

/// Spins for `duration` or until SIGTERM, and then writes into `out` when it ran, a line `start_ns,end_ns` for each
/// run: the supply that a thread got, seen from the inside, exact to the length of a clock reading.
///
/// # Errors
/// Where the file cannot be written.
pub fn greedy(duration: Duration, out: &Path) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop))?;
    // With too small a limit, so be it: a page fault is no gap.
    let _ = memory::lock_all();
    let mut runs = Vec::with_capacity(CAPACITY);
    let begin = monotonic_ns();
    let (mut start, mut last) = (begin, begin);
    let goes_on = |last: u64| last - begin < as_ns(duration) && !stop.load(Ordering::Relaxed);
    while goes_on(last) && runs.len() < CAPACITY {
        let now = monotonic_ns();
        if now - last > GAP_NS {
            runs.push((start, last));
            start = now;
        }
        last = now;
    }
    runs.push((start, last));
    let mut text = String::new();
    for (start, end) in runs {
        text += &format!("{start},{end}\n");
    }
    File::create(out)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| out.display().to_string())
}
