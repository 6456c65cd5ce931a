//! Timers: instants at a distance from each other, for one thread or shared by several.

use std::sync::atomic::{AtomicU64, Ordering};

use super::workload::TimerMode;

/// Of a timer that nobody has used.
const UNUSED: u64 = u64::MAX;

/// A timer.
#[derive(Debug)]
pub struct Timer {
    last_ns: AtomicU64,
    mode: TimerMode,
}

impl Timer {
    /// One that counts from its first user's start.
    #[must_use]
    pub fn new(mode: TimerMode) -> Self {
        Self { last_ns: AtomicU64::new(UNUSED), mode }
    }

    /// Its next instant, `period_ns` after the last one, or after `begin_ns` where there was none.
    #[must_use]
    pub fn next(&self, begin_ns: u64, period_ns: u64) -> u64 {
        let _in_use =
            self.last_ns.compare_exchange(UNUSED, begin_ns, Ordering::Relaxed, Ordering::Relaxed);
        self.last_ns.fetch_add(period_ns, Ordering::Relaxed).saturating_add(period_ns)
    }

    /// From when on it is due where `instant_ns` had passed at `now_ns` already.
    #[must_use]
    pub fn late(&self, instant_ns: u64, now_ns: u64) -> u64 {
        match self.mode {
            TimerMode::Absolute => instant_ns,
            TimerMode::Relative => {
                self.last_ns.store(now_ns, Ordering::Relaxed);
                now_ns
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_timer_keeps_its_grid_and_a_relative_one_begins_anew() {
        for (mode, after) in [(TimerMode::Absolute, 140), (TimerMode::Relative, 155)] {
            let timer = Timer::new(mode);
            assert_eq!(timer.next(100, 20), 120);
            // Looked at when 120 has passed: late.
            let due = timer.late(120, 135);
            assert_eq!(due, if mode == TimerMode::Absolute { 120 } else { 135 });
            assert_eq!(timer.next(100, 20), after);
        }
    }
}
