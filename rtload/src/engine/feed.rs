//! Records, of `N` cells each, on their way to a file while the jobs run.
//!
//! Each thread has a ring in memory that was taken and touched before, with one thread that puts
//! records in and one that takes them out. Neither ever waits for the other: a record that finds the
//! ring full is not put in, and its thread counts it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// For how long a writer may be held up before records are lost.
const SLACK_NS: u64 = 10_000_000_000;

/// The least records of a ring, and the most of all rings: of four cells 128 KiB and 128 MiB.
const ROOM: (u64, u64) = (4_096, 4_194_304);

/// A counter that shares no cache line with another.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counter(AtomicU64);

/// A queue of records without locks.
#[derive(Debug)]
struct Ring<const N: usize> {
    slots: Box<[[AtomicU64; N]]>,
    /// How many were put in, ever.
    put: Counter,
    /// How many were taken out, ever.
    taken: Counter,
}

impl<const N: usize> Ring<N> {
    /// With room for `room` records, whose pages are touched.
    fn new(room: usize) -> Self {
        let blank = || [u64::MAX; N].map(AtomicU64::new);
        let slots = (0..room).map(|_| blank()).collect();
        Self { slots, put: Counter::default(), taken: Counter::default() }
    }

    fn slot(&self, number: u64) -> &[AtomicU64; N] {
        &self.slots[(number % self.slots.len() as u64) as usize]
    }

    /// Puts one in; `false` where there is no room. For one thread.
    fn put(&self, record: [u64; N]) -> bool {
        let put = self.put.0.load(Ordering::Relaxed);
        if put - self.taken.0.load(Ordering::Acquire) >= self.slots.len() as u64 {
            return false;
        }
        for (cell, value) in self.slot(put).iter().zip(record) {
            cell.store(value, Ordering::Relaxed);
        }
        self.put.0.store(put + 1, Ordering::Release);
        true
    }

    /// Takes the oldest out. For one thread.
    fn take(&self) -> Option<[u64; N]> {
        let taken = self.taken.0.load(Ordering::Relaxed);
        if taken == self.put.0.load(Ordering::Acquire) {
            return None;
        }
        let record = self.slot(taken).each_ref().map(|cell| cell.load(Ordering::Relaxed));
        self.taken.0.store(taken + 1, Ordering::Release);
        Some(record)
    }
}

/// Whether records are still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Yes.
    Open,
    /// No: what is in the rings now is the rest.
    Complete,
    /// No, and what came is worth nothing: the run failed.
    Abandoned,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Open, Self::Complete, Self::Abandoned];
}

/// The rings of all threads.
#[derive(Debug)]
pub struct Feed<const N: usize> {
    rings: Vec<Ring<N>>,
    first_release_ns: AtomicU64,
    phase: AtomicU8,
}

impl<const N: usize> Feed<N> {
    /// With a ring for each thread, and room for what it puts in within ten seconds, where there is a
    /// record every so many nanoseconds.
    #[must_use]
    pub fn new(every_ns: impl IntoIterator<Item = u64>) -> Self {
        let every_ns: Vec<u64> = every_ns.into_iter().collect();
        let (least, most) = ROOM;
        let most = (most / every_ns.len().max(1) as u64).max(least);
        let room = |every_ns: u64| (SLACK_NS / every_ns.max(1)).clamp(least, most) as usize;
        Self {
            rings: every_ns.into_iter().map(|every_ns| Ring::new(room(every_ns))).collect(),
            first_release_ns: AtomicU64::new(0),
            phase: AtomicU8::new(Phase::Open as u8),
        }
    }

    /// Sets the common first release, before any record comes.
    pub fn released(&self, first_release_ns: u64) {
        self.first_release_ns.store(first_release_ns, Ordering::Release);
    }

    /// Puts a record of the thread at `index` in; `false` where it is lost.
    pub fn put(&self, index: usize, record: [u64; N]) -> bool {
        self.rings[index].put(record)
    }

    /// Says that no more records come.
    pub fn end(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Whether more records come; look before the last [`Feed::take`].
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    /// The common first release; of use once a record has come.
    #[must_use]
    pub fn first_release_ns(&self) -> u64 {
        self.first_release_ns.load(Ordering::Acquire)
    }

    /// Takes a record out, with the index of its thread; none where all rings are empty.
    pub fn take(&self) -> Option<(usize, [u64; N])> {
        self.rings.iter().enumerate().find_map(|(index, ring)| Some((index, ring.take()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(job: u64) -> [u64; 4] {
        [job, job + 1, job + 2, job + 3]
    }

    #[test]
    fn a_full_ring_refuses_and_goes_on_when_there_is_room() {
        let ring = Ring::new(2);
        assert!(ring.put(record(0)) && ring.put(record(1)) && !ring.put(record(2)));
        assert_eq!(ring.take(), Some(record(0)));
        assert!(ring.put(record(3)));
        assert_eq!(
            [ring.take(), ring.take(), ring.take()],
            [Some(record(1)), Some(record(3)), None]
        );
    }

    #[test]
    fn what_one_thread_puts_in_another_takes_out_in_order_and_whole() {
        const RECORDS: u64 = 200_000;
        let ring = Ring::new(64);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for job in 0..RECORDS {
                    while !ring.put(record(job)) {
                        std::thread::yield_now();
                    }
                }
            });
            for job in 0..RECORDS {
                let taken = loop {
                    if let Some(taken) = ring.take() {
                        break taken;
                    }
                    std::thread::yield_now();
                };
                assert_eq!(taken, record(job));
            }
        });
        assert_eq!(ring.take(), None);
    }
}
