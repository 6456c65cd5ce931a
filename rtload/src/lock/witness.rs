//! Whether a lock does what it is for: looked at on every acquisition.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What only one thread at a time may touch.
#[derive(Debug, Default)]
pub struct Witness {
    occupied: AtomicBool,
    /// Acquisitions, counted as a variable without a lock of its own would be: read, then written.
    count: AtomicU64,
    met: AtomicU64,
}

impl Witness {
    /// Acquisitions until now.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts who is inside now.
    pub fn enter(&self) {
        if self.occupied.swap(true, Ordering::Relaxed) {
            self.met.fetch_add(1, Ordering::Relaxed);
        }
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Relaxed);
    }

    /// Before the lock is released.
    pub fn leave(&self) {
        self.occupied.store(false, Ordering::Relaxed);
    }

    /// How often mutual exclusion was broken, of `acquisitions`: somebody met somebody inside, or a
    /// count was lost.
    #[must_use]
    pub fn violations(&self, acquisitions: u64) -> u64 {
        self.met.load(Ordering::Relaxed) + acquisitions.abs_diff(self.count())
    }
}
