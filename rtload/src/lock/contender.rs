//! A thread that works outside, waits for the lock, and holds it.

use std::sync::atomic::{AtomicBool, Ordering};

use kernel::{
    affinity::{self, SELF},
    clock::{monotonic_ns, thread_cpu_ns},
    memory,
};
use model::hist::Distribution;

use super::{kinds::Lock, witness::Witness};
use crate::{
    Error,
    engine::{
        Feed,
        crew::{Member, sleep_until},
    },
    variation::mixed,
    work::{Work, burn},
};

/// The cells of a record: number, request, acquisition, release, CPU time of the wait, acquisitions of
/// others in the meantime.
pub type AcquisitionFeed = Feed<6>;

/// What all threads share.
#[derive(Clone, Copy)]
pub struct Arena<'a> {
    pub lock: &'a dyn Lock,
    pub witness: &'a Witness,
    /// Work in the lock.
    pub inside: Work,
    /// Mean work between two locks; none goes for it again at once.
    pub outside: Option<Work>,
    pub feed: Option<&'a AcquisitionFeed>,
    pub longest_ns: u64,
    pub stop: &'a AtomicBool,
}

/// What a thread came to.
#[derive(Debug)]
pub struct Tally {
    /// From the request to the acquisition.
    pub wait: Distribution,
    /// From the acquisition to the release.
    pub hold: Distribution,
    /// CPU time spent in waiting.
    pub wait_cpu_ns: u64,
    /// CPU time from the start to the end.
    pub cpu_ns: u64,
    /// The most acquisitions of others in one wait.
    pub passed: u64,
    /// How long it had waited at the end, in vain.
    pub cut_ns: Option<u64>,
    /// Acquisitions without a row: the writer could not keep up.
    pub lost: u64,
}

/// A thread that is about to begin.
pub struct Contender<'a> {
    pub name: String,
    pub number: usize,
    pub cpu: u32,
    pub arena: Arena<'a>,
}

impl Member for Contender<'_> {
    type Kit = Tally;
    type Done = Tally;

    fn name(&self) -> &str {
        &self.name
    }

    fn set_up(&self) -> Result<Tally, Error> {
        affinity::set(SELF, &[self.cpu])
            .map_err(|error| Error::pin(&format!("--cpus {}", self.cpu), &error))?;
        let [wait, hold] = [0; 2].map(|_| Distribution::up_to(self.arena.longest_ns));
        memory::touch_stack();
        burn(1_000, self.arena.stop);
        let [wait_cpu_ns, cpu_ns, passed, lost] = [0; 4];
        Ok(Tally { wait, hold, wait_cpu_ns, cpu_ns, passed, cut_ns: None, lost })
    }

    fn run(self, mut tally: Tally, first_ns: u64) -> Tally {
        let stop = self.arena.stop;
        if !sleep_until(first_ns, stop) {
            return tally;
        }
        let begin_cpu_ns = thread_cpu_ns();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) || !self.work_outside(number) {
                break;
            }
            if !self.acquire(number, &mut tally) {
                break;
            }
        }
        tally.cpu_ns = thread_cpu_ns() - begin_cpu_ns;
        tally
    }
}

impl Contender<'_> {
    /// Half to one and a half times the mean, so that threads do not fall into step.
    fn work_outside(&self, number: u64) -> bool {
        let Some(mean) = self.arena.outside else { return true };
        let drawn = mixed(mixed(self.number as u64).wrapping_add(number));
        let uniform = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
        mean.scaled(0.5 + uniform).run(self.arena.stop)
    }

    /// One wait, and one hold; `false` where the thread was told to stop.
    fn acquire(&self, number: u64, tally: &mut Tally) -> bool {
        let Arena { lock, witness, inside, stop, .. } = self.arena;
        let before = witness.count();
        let request_ns = monotonic_ns();
        let request_cpu_ns = thread_cpu_ns();
        let mut held = None;
        let got_it = lock.with(stop, &mut || {
            let wait_cpu_ns = thread_cpu_ns() - request_cpu_ns;
            let acquired_ns = monotonic_ns();
            let passed = witness.count() - before;
            witness.enter();
            // Cut short where the thread shall stop, but released all the same.
            let _whole = inside.run(stop);
            witness.leave();
            held = Some((acquired_ns, monotonic_ns(), wait_cpu_ns, passed));
        });
        let Some((acquired_ns, released_ns, wait_cpu_ns, passed)) = held else {
            tally.cut_ns = Some(monotonic_ns() - request_ns);
            tally.wait_cpu_ns += thread_cpu_ns() - request_cpu_ns;
            return false;
        };
        tally.wait.add(acquired_ns - request_ns);
        tally.hold.add(released_ns - acquired_ns);
        tally.wait_cpu_ns += wait_cpu_ns;
        tally.passed = tally.passed.max(passed);
        if let Some(feed) = self.arena.feed {
            let cells = [number, request_ns, acquired_ns, released_ns, wait_cpu_ns, passed];
            tally.lost += u64::from(!feed.put(self.number, cells));
        }
        got_it
    }
}
