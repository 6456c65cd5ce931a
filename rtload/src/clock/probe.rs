//! The threads of the probe: one reads and waits for timers in turn, one keeps the CPU busy meanwhile.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use kernel::{
    affinity::{self, SELF},
    clock::monotonic_ns,
    memory,
    sched::{self, Policy},
};
use model::{
    duration::as_ns,
    hist::Distribution,
    sample::{ClockName, ClockWhat},
};

use super::{
    phases::{self, Part},
    watch::{Event, Look, Watch},
};
use crate::{
    Error,
    engine::{
        Feed,
        crew::{Member, sleep_until},
    },
    policy::refused,
    work::burn,
};

/// The cells of a record: what, clock, start, length; [`record`] and [`told`] know how.
pub type EventFeed = Feed<4>;

/// Iterations between two looks at the clock of the thread that keeps the CPU busy.
const BURN: u64 = 1_000;

/// What the threads do, and how.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Where all run.
    pub cpu: u32,
    /// The policy of the thread that probes.
    pub policy: Policy,
    /// For how long.
    pub length: Duration,
    /// Gaps and steps above this are told.
    pub threshold_ns: u64,
    /// From timer to timer.
    pub period_ns: u64,
}

/// What the probe came to.
#[derive(Debug)]
pub struct Tally {
    /// From read to read.
    pub distance: Distribution,
    /// Time in which it read.
    pub read_ns: u64,
    /// Gaps above the threshold.
    pub gaps: Distribution,
    /// The sum of their lengths.
    pub gaps_ns: u64,
    /// Steps back of each clock, in the order of [`ClockName::ALL`].
    pub backward: [Distribution; 3],
    /// Steps of each clock against CLOCK_MONOTONIC.
    pub steps: [Distribution; 3],
    /// Wake-up minus due, on an idle and on a busy CPU.
    pub timers: [Distribution; 2],
    /// Rows that were lost: the writer could not keep up.
    pub lost: u64,
}

impl Tally {
    fn new(longest_ns: u64) -> Self {
        let distribution = |_| Distribution::up_to(longest_ns);
        Self {
            distance: distribution(0),
            read_ns: 0,
            gaps: distribution(0),
            gaps_ns: 0,
            backward: [0; 3].map(distribution),
            steps: [0; 3].map(distribution),
            timers: [0; 2].map(distribution),
            lost: 0,
        }
    }

    fn count(&mut self, event: &Event) {
        let clock = event.clock as usize;
        match event.what {
            ClockWhat::Backward => self.backward[clock].add(event.length_ns),
            ClockWhat::Step => self.steps[clock].add(event.length_ns),
            _ => {
                self.gaps.add(event.length_ns);
                self.gaps_ns += event.length_ns;
            }
        }
    }
}

/// The two threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads, and waits for timers.
    Probe,
    /// Keeps the CPU busy while timers are waited for on a busy CPU.
    Busy,
}

/// A thread that is about to begin.
pub struct Hand<'a> {
    pub role: Role,
    pub plan: Plan,
    pub feed: Option<&'a EventFeed>,
    pub stop: &'a AtomicBool,
}

impl Member for Hand<'_> {
    type Kit = Option<Tally>;
    type Done = Option<Tally>;

    fn name(&self) -> &str {
        match self.role {
            Role::Probe => "clock",
            Role::Busy => "clock-busy",
        }
    }

    fn set_up(&self) -> Result<Option<Tally>, Error> {
        let Plan { cpu, policy, length, .. } = self.plan;
        affinity::set(SELF, &[cpu]).map_err(|error| Error::pin(&format!("--cpu {cpu}"), &error))?;
        let policy = match self.role {
            Role::Probe => policy,
            Role::Busy => Policy::Idle,
        };
        // Before it is a real-time thread: its pages are touched here.
        let tally = (self.role == Role::Probe).then(|| Tally::new(as_ns(length)));
        sched::set(SELF, policy).map_err(|error| refused(self.name(), error))?;
        memory::touch_stack();
        burn(BURN, self.stop);
        let _warm = Look::now();
        Ok(tally)
    }

    fn run(self, tally: Option<Tally>, first_ns: u64) -> Option<Tally> {
        match tally {
            Some(mut tally) => {
                self.probe(first_ns, &mut tally);
                Some(tally)
            }
            None => {
                self.keep_busy(first_ns);
                None
            }
        }
    }
}

impl Hand<'_> {
    fn keep_busy(&self, first_ns: u64) {
        for slice in phases::slices(self.plan.length) {
            if slice.part != (Part::Timers { busy: true }) {
                continue;
            }
            if !sleep_until(first_ns + slice.from_ns, self.stop) {
                return;
            }
            let end_ns = first_ns + slice.to_ns;
            while monotonic_ns() < end_ns && !self.stop.load(Ordering::Relaxed) {
                burn(BURN, self.stop);
            }
        }
    }

    fn probe(&self, first_ns: u64, tally: &mut Tally) {
        let mut watch = Watch::new(self.plan.threshold_ns);
        for slice in phases::slices(self.plan.length) {
            if !sleep_until(first_ns + slice.from_ns, self.stop) {
                return;
            }
            let end_ns = first_ns + slice.to_ns;
            match slice.part {
                Part::Read => self.read(&mut watch, end_ns, tally),
                Part::Timers { busy } => self.timers(first_ns + slice.from_ns, end_ns, busy, tally),
            }
        }
    }

    fn read(&self, watch: &mut Watch, end_ns: u64, tally: &mut Tally) {
        watch.pause();
        loop {
            let look = Look::now();
            let mut tell = |event: Event| {
                tally.count(&event);
                tally.lost += u64::from(!self.put(record(&event)));
            };
            if let Some(distance_ns) = watch.look(look, &mut tell) {
                tally.distance.add(distance_ns);
                tally.read_ns += distance_ns;
            }
            if look.monotonic_ns >= end_ns || self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// None is skipped: those that were due while the thread was away wake it at once, late.
    fn timers(&self, from_ns: u64, end_ns: u64, busy: bool, tally: &mut Tally) {
        let what = if busy { ClockWhat::TimerBusy } else { ClockWhat::Timer };
        let mut due_ns = from_ns + self.plan.period_ns;
        while due_ns < end_ns {
            if !sleep_until(due_ns, self.stop) {
                return;
            }
            let late_ns = monotonic_ns().saturating_sub(due_ns);
            tally.timers[usize::from(busy)].add(late_ns);
            let cells = [what as u64, ClockName::Monotonic as u64, due_ns, late_ns];
            tally.lost += u64::from(!self.put(cells));
            due_ns += self.plan.period_ns;
        }
    }

    fn put(&self, cells: [u64; 4]) -> bool {
        self.feed.is_none_or(|feed| feed.put(0, cells))
    }
}

/// Set in a record's first cell where a step went forward.
const AHEAD: u64 = 1 << 32;

fn record(event: &Event) -> [u64; 4] {
    let ahead = if event.ahead { AHEAD } else { 0 };
    [event.what as u64 | ahead, event.clock as u64, event.start_ns, event.length_ns]
}

/// What a record tells.
pub fn told([what, clock, start_ns, length_ns]: [u64; 4]) -> Event {
    Event {
        what: ClockWhat::ALL[(what & !AHEAD) as usize],
        clock: ClockName::ALL[clock as usize],
        start_ns,
        length_ns,
        ahead: what & AHEAD != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_what_was_put_in() {
        for what in ClockWhat::ALL {
            for clock in ClockName::ALL {
                for ahead in [true, false] {
                    let event = Event { what, clock, start_ns: 5, length_ns: u64::MAX, ahead };
                    assert_eq!(told(record(&event)), event);
                }
            }
        }
    }
}
