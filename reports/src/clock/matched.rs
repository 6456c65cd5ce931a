//! Why nobody read a guest's clock for a while: a gap between two reads, matched with the traced supply.

use model::segment::Segment;
use serde::Serialize;

/// What a gap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// At least half of it the virtual CPU did not run.
    Scheduling,
    /// More than half of it the virtual CPU ran: the guest did something else (its interrupts), the
    /// emulator did, or the clock jumped.
    Discontinuity,
    /// It was not traced, events were lost, or the clocks are not known well enough to tell.
    Unknown,
}

/// A gap on the host's clock, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The read before it.
    pub start_ns: u64,
    /// To the read after it.
    pub length_ns: u64,
    /// Where it is on the host's clock is known to within this.
    pub uncertainty_ns: u64,
}

/// When a virtual CPU ran.
#[derive(Debug)]
pub struct Ran {
    /// The traced time, and the runs in it.
    whole: Segment,
    /// Whether events were lost: a hole may then be none.
    lossy: bool,
}

impl Ran {
    /// Of the runs in a trace from `from_ns` to `to_ns`, ascending and disjoint.
    #[must_use]
    pub fn of((from_ns, to_ns): (u64, u64), runs: Vec<(u64, u64)>, lossy: bool) -> Self {
        Self { whole: Segment { from_ns, to_ns, runs }, lossy }
    }

    /// The cause of a gap. Nobody knows the gap's place better than to within its uncertainty: the
    /// rule is looked at in every place where it may be, and what holds in all of them is told.
    #[must_use]
    pub fn cause(&self, gap: Gap) -> Cause {
        let Gap { start_ns, length_ns, uncertainty_ns } = gap;
        let from_ns = start_ns.saturating_sub(uncertainty_ns);
        let to_ns = start_ns.saturating_add(length_ns).saturating_add(uncertainty_ns);
        let traced = self.whole.from_ns <= from_ns && to_ns <= self.whole.to_ns;
        let around = self.whole.part(from_ns, to_ns).filter(|_| traced);
        let extremes = around.and_then(|own| own.least(length_ns).zip(own.greatest(length_ns)));
        let Some((least, greatest)) = extremes else { return Cause::Unknown };
        let half_missing = |supplied_ns: u64| 2 * (length_ns - supplied_ns) >= length_ns;
        match (half_missing(least.supplied_ns), half_missing(greatest.supplied_ns)) {
            (false, false) => Cause::Discontinuity,
            (true, true) if !self.lossy => Cause::Scheduling,
            _ => Cause::Unknown,
        }
    }
}

/// The cause of a gap in a guest that may not have been traced.
#[must_use]
pub fn cause(ran: Option<&Ran>, gap: Gap) -> Cause {
    ran.map_or(Cause::Unknown, |ran| ran.cause(gap))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FROM_NS: u64 = 1_000_000;

    /// A trace of runs and holes in turn, which begins and ends with a long run, and its holes.
    fn system() -> impl Strategy<Value = (Ran, Vec<(u64, u64)>)> {
        let pairs = prop::collection::vec((2_000..50_000_u64, 500..30_000_u64), 1..30);
        pairs.prop_map(|pairs| {
            let (mut at, mut runs, mut holes) = (FROM_NS, Vec::new(), Vec::new());
            for (run, hole) in pairs {
                runs.push((at, at + run));
                holes.push((at + run, at + run + hole));
                at += run + hole;
            }
            runs.push((at, at + 100_000));
            (Ran::of((FROM_NS, at + 100_000), runs, false), holes)
        })
    }

    fn gap(start_ns: u64, length_ns: u64, uncertainty_ns: u64) -> Gap {
        Gap { start_ns, length_ns, uncertainty_ns }
    }

    proptest! {
        #[test]
        fn what_a_hole_made_is_scheduling_wherever_the_clock_puts_it(
            (ran, holes) in system(),
            read in 0..400_u64,
            error in -100_i64..=100,
        ) {
            for (start, end) in holes {
                // The reads around it; the guest's clock is off by `error`, and known to within 100.
                let start_ns = (start - read / 2).saturating_add_signed(error);
                let told = ran.cause(gap(start_ns, end - start + read, 100));
                prop_assert_eq!(told, Cause::Scheduling);
            }
        }

        #[test]
        fn what_happened_while_the_vcpu_ran_is_no_scheduling(
            (ran, _) in system(),
            length in 100..1_000_u64,
            error in -100_i64..=100,
        ) {
            for &(start, end) in &ran.whole.runs {
                let middle = start.midpoint(end) - length / 2;
                let told = ran.cause(gap(middle.saturating_add_signed(error), length, 100));
                prop_assert_eq!(told, Cause::Discontinuity);
            }
        }

        #[test]
        fn what_is_told_holds_in_every_place_where_the_gap_may_be(
            (ran, _) in system(),
            at in 0..200_000_u64,
            length in 1..20_000_u64,
            uncertainty in 0..5_000_u64,
            shift in -1.0..=1.0_f64,
        ) {
            let wide = gap(FROM_NS + at, length, uncertainty);
            let moved = (uncertainty as f64 * shift) as i64;
            let exact = gap(wide.start_ns.saturating_add_signed(moved), length, 0);
            let told = ran.cause(wide);
            prop_assert!(told == Cause::Unknown || told == ran.cause(exact), "{wide:?} {exact:?}");
        }

        #[test]
        fn lost_events_and_the_trace_s_ends_make_nothing_certain_that_is_not(
            (ran, holes) in system(),
        ) {
            let Segment { from_ns, to_ns, runs } = ran.whole;
            let lossy = Ran::of((from_ns, to_ns), runs, true);
            for (start, end) in holes {
                prop_assert_eq!(lossy.cause(gap(start, end - start, 0)), Cause::Unknown);
            }
            prop_assert_eq!(lossy.cause(gap(from_ns - 5, 10, 0)), Cause::Unknown);
            prop_assert_eq!(lossy.cause(gap(to_ns - 5, 10, 0)), Cause::Unknown);
            prop_assert_eq!(lossy.cause(gap(to_ns - 50, 10, 0)), Cause::Discontinuity);
        }
    }

    #[test]
    fn without_a_trace_nothing_is_known() {
        assert_eq!(cause(None, gap(0, 1, 0)), Cause::Unknown);
    }

    #[test]
    fn half_of_a_gap_decides() {
        let ran = Ran::of((0, 1_000), vec![(0, 100), (200, 1_000)], false);
        assert_eq!(ran.cause(gap(0, 200, 0)), Cause::Scheduling);
        assert_eq!(ran.cause(gap(0, 201, 0)), Cause::Discontinuity);
        // Moved by one, it is one or the other.
        assert_eq!(ran.cause(gap(0, 199, 0)), Cause::Discontinuity);
        assert_eq!(ran.cause(gap(1, 199, 1)), Cause::Unknown);
    }
}
