//! The measured demand bound function: the greatest CPU time that a VM asks for in any window of a
//! length. It is the mirror image of the measured supply bound function ([`crate::segment`]).
//!
//! Work arrives at wake-ups: all that a busy interval takes is counted at its begin, which is never
//! later than the VM asked for it. That is exact where the VM did not have to wait; work that it asked
//! for after a wait is missing in the windows that begin later than the interval. With the CPU to
//! itself the VM would do work as it arrives, without a pause. Let R(t) be what it has then done by t.
//! The demand bound function is the greatest R(t + Δ) − R(t) over all t observed, here α(Δ). In
//! real-time calculus it is the arrival curve of the work (Thiele, Chakraborty and Naedele, *Real-time
//! calculus for scheduling hard real-time
//! systems*, ISCAS 2000).
//!
//! A *stretch* goes from the begin of one interval of work to the end of another; it has some idle
//! time and some work in it. Every window in which much is done is a stretch, or a part of one that
//! is cut at an end, where R has slope 1. So α follows from the *corners*: the greatest work in any
//! stretch with at most so much idle time, α(Δ) = max over corners of min(work, Δ − idle).

mod rows;
mod stretches;

#[cfg(test)]
mod tests;

pub use rows::{Asked, arrivals, read};
use stretches::{Stretches, most_work};

/// So many intervals of work are told apart; where there are more, they are joined.
const MOST_INTERVALS: usize = 100_000;
/// So many stretches are looked at.
const MOST_STRETCHES: usize = 400_000_000;
/// How much earlier work may be counted at first, where intervals have to be joined.
const FIRST_ADVANCE_NS: u64 = 1_000;

/// The greatest work in any stretch with at most so much idle time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corner {
    /// Time in which the VM, with the CPU to itself, would have nothing to do.
    pub idle_ns: u64,
    /// CPU time asked for.
    pub work_ns: u64,
}

impl Corner {
    /// Of the stretch.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.idle_ns + self.work_ns
    }
}

/// The demand of one vCPU over the time of an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    span_ns: u64,
    work_ns: u64,
    horizon_ns: u64,
    advanced_ns: u64,
    /// Idle time and work ascend strictly.
    corners: Vec<Corner>,
}

impl Demand {
    /// Of arrivals: instant and CPU time, in any order. Those without work mark the begin and the end
    /// of the observation.
    ///
    /// The corners are exact for idle times below 2048 ns and where stretches with nearly the same
    /// idle time have the same work; else idle time is rounded down, by less than 0.1 %.
    #[must_use]
    pub fn of(arrivals: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut arrivals: Vec<(u64, u64)> = arrivals.into_iter().collect();
        arrivals.sort_unstable();
        let from_ns = arrivals.first().map_or(0, |first| first.0);
        let alone = joined(&alone(&arrivals), 0);
        let last_ns = arrivals.last().map_or(0, |last| last.0);
        let to_ns = alone.last().map_or(0, |last| last.1).max(last_ns);
        let mut advanced_ns = 0;
        let mut intervals = alone.clone();
        while intervals.len() > MOST_INTERVALS {
            advanced_ns = (advanced_ns * 2).max(FIRST_ADVANCE_NS);
            intervals = joined(&alone, advanced_ns);
        }
        let span_ns = to_ns - from_ns;
        let Stretches { corners, horizon_ns } = most_work(&intervals, MOST_STRETCHES);
        Self {
            span_ns,
            work_ns: alone.iter().map(|(start, end)| end - start).sum(),
            horizon_ns: horizon_ns.unwrap_or(span_ns),
            advanced_ns,
            corners,
        }
    }

    /// How long was observed.
    #[must_use]
    pub fn span_ns(&self) -> u64 {
        self.span_ns
    }

    /// CPU time asked for in all.
    #[must_use]
    pub fn work_ns(&self) -> u64 {
        self.work_ns
    }

    /// The same as a share of the observation; 0 where nothing was observed.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.span_ns == 0 { 0.0 } else { self.work_ns as f64 / self.span_ns as f64 }
    }

    /// By how much at most work is counted before it arrived: above 0 only where there were more
    /// wake-ups than can be told apart. A delay bound holds for the counted work, and with this much
    /// added for the real.
    #[must_use]
    pub fn advanced_ns(&self) -> u64 {
        self.advanced_ns
    }

    /// Windows up to this length are known: the observation, or less where there were too many
    /// wake-ups to look at all pairs of them.
    #[must_use]
    pub fn horizon_ns(&self) -> u64 {
        self.horizon_ns
    }

    /// The corners of the function.
    #[must_use]
    pub fn corners(&self) -> &[Corner] {
        &self.corners
    }

    /// α(Δ): the greatest CPU time asked for in any window of this length.
    #[must_use]
    pub fn asked_ns(&self, length_ns: u64) -> u64 {
        let cut = |one: &Corner| one.work_ns.min(length_ns.saturating_sub(one.idle_ns));
        self.corners.iter().map(cut).max().unwrap_or(0)
    }

    /// The least length of a window in which so much was asked for; none where it never was.
    #[must_use]
    pub fn length_for(&self, work_ns: u64) -> Option<u64> {
        let enough = self.corners.partition_point(|one| one.work_ns < work_ns);
        self.corners.get(enough).map(|one| one.idle_ns + work_ns)
    }

    /// Whether there is a window length, not beyond what is known, in which a supply bound function
    /// gives all that is asked for.
    ///
    /// Where there is, windows of up to that length tell everything: α is subadditive and a supply
    /// bound function superadditive, so a longer window, cut into such pieces, is served as they are.
    pub fn settles(&self, supplied_ns: impl Fn(u64) -> u64) -> bool {
        let next_idle = self.corners.iter().skip(1).map(|one| one.idle_ns);
        let ends = next_idle.map(Some).chain([None]);
        self.corners.is_empty()
            || self.corners.iter().zip(ends).any(|(corner, next)| {
                // Up to there nothing more is asked for than in the corner.
                let flat_to = next.map_or(self.horizon_ns, |idle_ns| idle_ns + corner.work_ns);
                let length_ns = flat_to.min(self.horizon_ns);
                length_ns >= corner.length_ns() && supplied_ns(length_ns) >= corner.work_ns
            })
    }
}

/// When the work of these arrivals would be done on a CPU of one's own: intervals, one an arrival.
fn alone(arrivals: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut free_ns = 0;
    let with_work = arrivals.iter().filter(|(_, work)| *work > 0);
    let run = |&(at, work): &(u64, u64)| {
        let start = free_ns.max(at);
        free_ns = start.saturating_add(work);
        (start, free_ns)
    };
    with_work.map(run).collect()
}

/// Intervals joined with those before them, where that counts their work at most so much earlier.
fn joined(intervals: &[(u64, u64)], most_ns: u64) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = Vec::new();
    for &(start, end) in intervals {
        match all.last_mut().filter(|last| start - last.1 <= most_ns) {
            Some(last) => last.1 += end - start,
            None => all.push((start, end)),
        }
    }
    all
}
