//! The measured supply bound function against the promised ones.
//!
//! It is enough to look at few lengths. A promised function p (two-gap, one-gap) is made of flat
//! pieces and of pieces of slope 1; the measured one, f, never falls, and never rises faster than 1.
//! Suppose f(L) < p(L). On a flat piece of p, go back to its left end b ≤ L: f(b) ≤ f(L) < p(L) =
//! p(b). On a rising piece, go on to its right end b ≥ L: f(b) ≤ f(L) + (b − L) < p(b). Either way b
//! is a *corner*, where a rising piece ends and a flat one begins, or, where the busy interval ends
//! before that, its whole length. So in each busy interval f is below p somewhere exactly where it is
//! at a corner or for the whole. The corners of (Q, P) are P apart. What a tick may take is subtracted
//! from all of p (and p kept above 0), which moves no corner; what neighbours overrun delays every
//! budget, and the corners with it.

use std::time::Duration;

use model::{Reservation, duration::as_ns};
use rtplan::supply::{Costs, Supply};

use super::segment::{Segment, Window};

/// Corners looked at: windows of up to so many periods.
pub const MOST_CORNERS: u64 = 1000;

/// Windows are judged with this much to spare: switches, the sentinel and the reading of clocks.
pub const TOLERANCE_NS: u64 = 200_000;

/// What is promised to a thread that asks for all it can get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// (Q, P).
    pub reservation: Reservation,
    /// The tick, where budgets are enforced only there; else zero.
    pub tick_ns: u64,
    /// Budgets come by the clock, so that two whole ones may follow each other.
    pub by_clock: bool,
    /// Other reservations with deadlines, which may go first: a budget may be served late, and the next
    /// early; and each may overrun its own by a tick.
    pub neighbours: u32,
}

/// The kernel leaves interrupts out of a thread's bill, the trace does not: so much longer than its
/// budget it may be seen on the CPU. Measured are 0.3 to 0.7 %; no trace tells it of itself, or it
/// would excuse what it shows.
const INTERRUPTS: f64 = 0.01;

/// A window that got less (or more) than was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// The window.
    pub window: Window,
    /// What it should have had at least (or at most), tick and tolerance already allowed for.
    pub promised_ns: u64,
}

impl Promise {
    /// Q in ns.
    #[must_use]
    pub fn budget_ns(&self) -> u64 {
        as_ns(self.reservation.budget())
    }

    /// P in ns.
    #[must_use]
    pub fn period_ns(&self) -> u64 {
        as_ns(self.reservation.period())
    }

    /// The two-gap supply bound function (Shin and Lee 2003) at a length, without the tick.
    #[must_use]
    pub fn two_gap_ns(&self, length_ns: u64) -> u64 {
        as_ns(Supply::two_gap(self.reservation).provided(Duration::from_nanos(length_ns)))
    }

    /// The one-gap function at a length, without the tick.
    #[must_use]
    pub fn one_gap_ns(&self, length_ns: u64) -> u64 {
        as_ns(Supply::one_gap(self.reservation).provided(Duration::from_nanos(length_ns)))
    }

    /// The least that a window may get: what is sure, with the tolerance taken off.
    #[must_use]
    pub fn least_ns(&self, length_ns: u64) -> u64 {
        self.sure_ns(length_ns).saturating_sub(TOLERANCE_NS)
    }

    /// The two-gap function less what the tick may take, the server's own and its neighbours'.
    fn sure_ns(&self, length_ns: u64) -> u64 {
        let (tick, neighbours) = (Duration::from_nanos(self.tick_ns), self.neighbours);
        let costs = Costs { tick, neighbours, ..Costs::default() };
        let supply = Supply::two_gap(self.reservation).with_costs(costs);
        as_ns(supply.provided(Duration::from_nanos(length_ns)))
    }

    /// The most that a window of `periods` P may get where periods follow each other evenly: as many
    /// budgets, the interrupts in them, and once what the tick may add, since an overrun is paid back.
    /// Beside neighbours once more min(Q, P − Q): of a budget served at the end of its period.
    #[must_use]
    pub fn most_ns(&self, periods: u64) -> u64 {
        let (q, p) = (self.budget_ns(), self.period_ns());
        let late = if self.neighbours > 0 { q.min(p - q) } else { 0 };
        billed((periods * q + late) as f64) + self.ahead_ns()
    }

    /// The most that a busy interval may get in its first `length_ns`. With U = Q/P: a server that
    /// wakes before its old deadline, at d from now, has at most U d left, then whole budgets, of
    /// which the last may be served at once: U L + Q (1 − U). Where budgets come by the clock two
    /// whole ones may follow each other, and the second term is doubled.
    #[must_use]
    pub fn most_from_begin_ns(&self, length_ns: u64) -> u64 {
        let q = self.budget_ns() as f64;
        let share = q / self.period_ns() as f64;
        let begins = if self.by_clock { 2.0 } else { 1.0 };
        billed(share * length_ns as f64 + begins * q * (1.0 - share)) + self.ahead_ns()
    }

    /// What a server may be ahead by: a tick, or two where its budget is no longer than one.
    fn ahead_ns(&self) -> u64 {
        let ticks = if self.budget_ns() > self.tick_ns { 1 } else { 2 };
        ticks * self.tick_ns + TOLERANCE_NS
    }

    /// The lengths at which the promised function has its corners, up to `longest_ns`: those of the
    /// two-gap function, later by what neighbours may overrun; where that leaves no room for a tick in
    /// a period, periods are longer by it (`docs/analysis.md`).
    pub fn corners(&self, longest_ns: u64) -> impl Iterator<Item = u64> + use<> {
        let (q, p) = (self.budget_ns(), self.period_ns());
        let late = self.tick_ns * u64::from(self.neighbours);
        let (first, step) = match late + self.tick_ns > p && late > 0 {
            true => (2 * (p + late) - q, p + late),
            false => (2 * p - q + late, p),
        };
        (0..MOST_CORNERS).map(move |k| first + k * step).take_while(move |one| *one <= longest_ns)
    }

    /// The shortest window that got less than promised, the earliest of its length.
    #[must_use]
    pub fn first_below(&self, segments: &[Segment]) -> Option<Broken> {
        let at_corner = self
            .corners(longest(segments))
            .find_map(|length_ns| self.broken_by(least(segments, length_ns)?));
        let wholes = segments.iter().filter_map(|one| self.broken_by(one.least(one.length_ns())?));
        wholes.chain(at_corner).min_by_key(|one| (one.window.length_ns, one.window.start_ns))
    }

    fn broken_by(&self, window: Window) -> Option<Broken> {
        let promised_ns = self.least_ns(window.length_ns);
        (window.supplied_ns < promised_ns).then_some(Broken { window, promised_ns })
    }

    /// The window of length P that got the most.
    #[must_use]
    pub fn most_in_period(&self, segments: &[Segment]) -> Option<Window> {
        greatest(segments, self.period_ns())
    }

    /// Of the windows of a whole number of periods, which a server could overfill, the one that got
    /// the most beyond what is allowed, or came nearest to it.
    #[must_use]
    pub fn fullest(&self, steady: &[Segment]) -> Option<Broken> {
        let (p, longest_ns) = (self.period_ns(), longest(steady));
        let lengths = (1..=MOST_CORNERS).take_while(|k| k * p <= longest_ns);
        let tells = lengths.filter(|k| self.most_ns(*k) < k * p);
        let windows = tells.filter_map(|k| {
            Some(Broken { window: greatest(steady, k * p)?, promised_ns: self.most_ns(k) })
        });
        windows.max_by_key(Broken::excess_ns)
    }

    /// The same of the first part of a busy interval, up to the end of any of its runs.
    #[must_use]
    pub fn fullest_begin(&self, from_begin: &[Segment]) -> Option<Broken> {
        let of = |one: &Segment| {
            let mut supplied_ns = 0;
            let begins = one.runs.iter().filter_map(|(start, end)| {
                supplied_ns += end - start;
                let length_ns = end - one.from_ns;
                let promised_ns = self.most_from_begin_ns(length_ns);
                let window = Window { start_ns: one.from_ns, length_ns, supplied_ns };
                (promised_ns < length_ns).then_some(Broken { window, promised_ns })
            });
            begins.max_by_key(Broken::excess_ns)
        };
        from_begin.iter().filter_map(of).max_by_key(Broken::excess_ns)
    }
}

/// CPU time as a trace shows it where the kernel billed so much.
fn billed(ns: f64) -> u64 {
    (ns * (1.0 + INTERRUPTS)) as u64
}

impl Broken {
    /// What it got beyond what is allowed at most; negative where it is not broken.
    #[must_use]
    pub fn excess_ns(&self) -> i128 {
        i128::from(self.window.supplied_ns) - i128::from(self.promised_ns)
    }
}

/// The longest segment's length.
#[must_use]
pub fn longest(segments: &[Segment]) -> u64 {
    segments.iter().map(Segment::length_ns).max().unwrap_or(0)
}

/// The least supply in any window of this length inside a segment.
#[must_use]
pub fn least(segments: &[Segment], length_ns: u64) -> Option<Window> {
    let windows = segments.iter().filter_map(|one| one.least(length_ns));
    windows.min_by_key(|window| (window.supplied_ns, window.start_ns))
}

/// The greatest supply in any window of this length inside a segment.
#[must_use]
pub fn greatest(segments: &[Segment], length_ns: u64) -> Option<Window> {
    let windows = segments.iter().filter_map(|one| one.greatest(length_ns));
    windows.max_by_key(|window| (window.supplied_ns, std::cmp::Reverse(window.start_ns)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn promise(reservation: &str) -> Promise {
        Promise {
            reservation: reservation.parse().unwrap(),
            tick_ns: 0,
            by_clock: false,
            neighbours: 0,
        }
    }

    /// A server of (Q, P) = (28, 50) ms that serves at these offsets into its periods.
    fn served(offsets_ms: &[u64]) -> Segment {
        let run = |(k, offset): (usize, &u64)| {
            let start = (k as u64 * 50 + offset) * MS;
            (start, start + 28 * MS)
        };
        let to_ns = offsets_ms.len() as u64 * 50 * MS;
        Segment { from_ns: 0, to_ns, runs: offsets_ms.iter().enumerate().map(run).collect() }
    }

    #[test]
    fn a_server_that_keeps_its_promise_is_not_below_it() {
        for offsets in [[0; 12], [22; 12], [0, 22, 0, 22, 11, 0, 22, 22, 0, 0, 22, 0]] {
            assert_eq!(promise("28ms/50ms").first_below(&[served(&offsets)]), None);
        }
    }

    #[test]
    fn the_first_window_below_is_named() {
        let mut broken = served(&[0; 12]);
        broken.runs.remove(5);
        let found = promise("28ms/50ms").first_below(&[broken]).unwrap();
        assert_eq!(found.window, Window { start_ns: 228 * MS, length_ns: 72 * MS, supplied_ns: 0 });
        assert_eq!(found.promised_ns, 28 * MS - TOLERANCE_NS);
    }

    #[test]
    fn the_most_in_a_period_is_the_budget_where_it_comes_first() {
        let promise = promise("28ms/50ms");
        let most = promise.most_in_period(&[served(&[0; 6])]).unwrap();
        assert_eq!(most.supplied_ns, 28 * MS);
        assert!(promise.fullest(&[served(&[22, 0])]).unwrap().excess_ns() > 0);
        assert!(promise.fullest(&[served(&[0; 6])]).unwrap().excess_ns() <= 0);
    }

    #[test]
    fn a_tick_lowers_the_promise_and_raises_the_limit() {
        let coarse = Promise { tick_ns: 4 * MS, ..promise("28ms/50ms") };
        assert_eq!(coarse.least_ns(72 * MS), 24 * MS - TOLERANCE_NS);
        assert_eq!(coarse.most_ns(1), 32 * MS + 280_000 + TOLERANCE_NS);
        assert_eq!(coarse.most_ns(3), 88 * MS + 840_000 + TOLERANCE_NS);
        assert_eq!(coarse.corners(200 * MS).collect::<Vec<_>>(), [72 * MS, 122 * MS, 172 * MS]);
    }

    /// 32 of every 50 ms under the name of 28: a tick hides it in one period, not in two, nor from the
    /// begin of a busy interval.
    #[test]
    fn too_much_in_every_period_shows_where_a_tick_does_not_hide_it() {
        let coarse = Promise { tick_ns: 4 * MS, ..promise("28ms/50ms") };
        let of = |periods: u64| {
            let runs = (0..periods).map(|k| (k * 50 * MS, (k * 50 + 32) * MS)).collect();
            [Segment { from_ns: 0, to_ns: periods * 50 * MS, runs }]
        };
        assert!(coarse.fullest(&of(1)).unwrap().excess_ns() <= 0);
        let broken = coarse.fullest(&of(4)).unwrap();
        assert!(broken.excess_ns() > 0 && broken.window.length_ns > 50 * MS, "{broken:?}");
        assert!(coarse.fullest_begin(&of(1)).is_none());
        let begin = coarse.fullest_begin(&of(2)).unwrap();
        assert_eq!((begin.window.length_ns, begin.window.supplied_ns), (82 * MS, 64 * MS));
        assert!(begin.excess_ns() > 0, "{begin:?}");
    }

    #[test]
    fn a_window_that_a_whole_cpu_could_not_overfill_judges_nothing() {
        let short = Promise { tick_ns: 4 * MS, ..promise("3ms/5ms") };
        let all = [Segment { from_ns: 0, to_ns: 100 * MS, runs: vec![(0, 100 * MS)] }];
        let broken = short.fullest(&all).unwrap();
        assert!(broken.excess_ns() > 0 && short.most_ns(1) > 5 * MS && short.most_ns(2) > 10 * MS);
    }

    proptest! {
        /// Corners and the whole miss nothing: below the promise at any length means below it there.
        #[test]
        fn corners_are_enough(
            gaps in prop::collection::vec((1_u64..9, 1_u64..9), 4..14),
            tick in 0_u64..4,
            neighbours in 0_u32..3,
        ) {
            let mut at = 0;
            let mut runs = Vec::new();
            for (gap, run) in gaps {
                runs.push((at + gap, at + gap + run));
                at += gap + run;
            }
            let segments = [Segment { from_ns: 0, to_ns: at, runs }];
            let promised = Promise { tick_ns: tick, neighbours, ..promise("3ns/5ns") };
            let below = |length: u64| {
                least(&segments, length).unwrap().supplied_ns < promised.sure_ns(length)
            };
            let found = promised.corners(at).chain([at]).any(below);
            prop_assert_eq!(found, (0..=at).any(below));
        }
    }
}
