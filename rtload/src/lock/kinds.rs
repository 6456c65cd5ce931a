//! Locks that threads share. Each waits in its own way, and gives up where the thread shall stop.

use std::{
    hint::spin_loop,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use crate::options::LockKind;

impl LockKind {
    /// A free lock of this kind.
    #[must_use]
    pub fn lock(self) -> Box<dyn Lock> {
        match self {
            Self::Raw => Box::new(Raw::default()),
            Self::Ticket => Box::new(Ticket::default()),
            Self::Futex => Box::new(Futex::default()),
        }
    }
}

/// Mutual exclusion.
pub trait Lock: Sync {
    /// Has `inside` run while nobody else's does; `false` where `stop` was set before it got there.
    fn with(&self, stop: &AtomicBool, inside: &mut dyn FnMut()) -> bool;
}

/// Test, and test and set (Rudolph and Segall 1984).
#[derive(Debug, Default)]
struct Raw {
    taken: AtomicBool,
}

impl Lock for Raw {
    fn with(&self, stop: &AtomicBool, inside: &mut dyn FnMut()) -> bool {
        while self.taken.swap(true, Ordering::Acquire) {
            while self.taken.load(Ordering::Relaxed) {
                if stop.load(Ordering::Relaxed) {
                    return false;
                }
                spin_loop();
            }
        }
        inside();
        self.taken.store(false, Ordering::Release);
        true
    }
}

/// A ticket lock (Mellor-Crummey and Scott 1991, section 2.2).
#[derive(Debug, Default)]
struct Ticket {
    next: AtomicU32,
    served: AtomicU32,
}

impl Lock for Ticket {
    fn with(&self, stop: &AtomicBool, inside: &mut dyn FnMut()) -> bool {
        let own = self.next.fetch_add(1, Ordering::Relaxed);
        while self.served.load(Ordering::Acquire) != own {
            // Nobody gets past a ticket that is given up: all threads stop at once.
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            spin_loop();
        }
        inside();
        self.served.store(own.wrapping_add(1), Ordering::Release);
        true
    }
}

#[derive(Debug, Default)]
struct Futex(Mutex<()>);

impl Lock for Futex {
    fn with(&self, stop: &AtomicBool, inside: &mut dyn FnMut()) -> bool {
        let _held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        inside();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread, time::Duration};

    use super::*;
    use crate::lock::witness::Witness;

    /// Looks, and then takes it: two may have looked before either takes it.
    #[derive(Debug, Default)]
    struct Broken {
        taken: AtomicBool,
    }

    impl Lock for Broken {
        fn with(&self, stop: &AtomicBool, inside: &mut dyn FnMut()) -> bool {
            while self.taken.load(Ordering::Acquire) {
                if stop.load(Ordering::Relaxed) {
                    return false;
                }
                spin_loop();
            }
            thread::yield_now();
            self.taken.store(true, Ordering::Relaxed);
            inside();
            self.taken.store(false, Ordering::Release);
            true
        }
    }

    /// How often somebody was inside with somebody else, of 2 threads, so many times each and for so
    /// long each time. With more threads than CPUs a ticket lock hands over once a time slice.
    fn violations(lock: &dyn Lock, times: u64, hold: Duration) -> u64 {
        let (witness, stop) = (Witness::default(), AtomicBool::new(false));
        let start = Barrier::new(2);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..times {
                        assert!(lock.with(&stop, &mut || {
                            witness.enter();
                            if !hold.is_zero() {
                                thread::sleep(hold);
                            }
                            witness.leave();
                        }));
                    }
                });
            }
        });
        witness.violations(2 * times)
    }

    #[test]
    fn locks_exclude_each_other_and_a_broken_one_is_seen() {
        for kind in [LockKind::Raw, LockKind::Ticket, LockKind::Futex] {
            assert_eq!(violations(&*kind.lock(), 2_000, Duration::ZERO), 0, "{kind:?}");
        }
        // Whoever waits takes it together with whoever just gave it back.
        assert!(violations(&Broken::default(), 20, Duration::from_millis(2)) > 0);
    }

    #[test]
    fn who_waits_for_a_lock_gives_up_where_it_shall_stop() {
        for kind in [LockKind::Raw, LockKind::Ticket] {
            let (lock, stop) = (kind.lock(), AtomicBool::new(false));
            let mut inner = None;
            let outer = lock.with(&stop, &mut || {
                stop.store(true, Ordering::Relaxed);
                inner = Some(lock.with(&stop, &mut || ()));
            });
            assert_eq!((outer, inner), (true, Some(false)), "{kind:?}");
        }
    }
}
