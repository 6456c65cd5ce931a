//! Whether a reservation kept its promise: delays, from the trace, against the latency.
//!
//! A vCPU that is reserved begins a busy interval with a wake-up. By an instant t in it, it has waited
//! for W(t) and run for S(t). How much of that waiting a CPU of its own would have spared it, the
//! trace alone does not tell: work that arrived late in the interval would not have been there. But
//! alone, S(t) of work takes at least the shortest window in which so much was ever asked for. So the
//! added delay is at most t − wake-up − α⁻¹(S(t)), for as long as the demand stays within α; where it
//! does not, that is seen and said.

use model::{
    Reservation,
    busy::{busy, is_vcpu},
    demand::Demand,
    duration::as_ns,
    sample::Supply as Row,
    segment::Segment,
};
use rtplan::{
    Supply,
    demand::{Wish, added_delay},
};
use serde::Serialize;

use super::watch::Seen;
use crate::reserve::record::Recorded;

/// Delays are judged with this much to spare: switches, and the reading of clocks.
const TOLERANCE_NS: u64 = 200_000;

/// What the trace of a reservation shows.
#[derive(Debug, Serialize)]
pub struct Proof {
    /// Whether no work was delayed by more than the latency; an idle machine's never is.
    pub held: bool,
    /// Busy intervals.
    pub intervals: usize,
    /// Those with a delay above the latency.
    pub late: usize,
    /// Those that asked for more than the observation had ever shown.
    pub beyond_demand: usize,
    /// The most that work was delayed.
    pub worst_added_delay_ns: u64,
    /// The longest time that one was runnable and not running.
    pub longest_wait_ns: u64,
    /// What the calculus says of this reservation; null where it is unbounded.
    pub bound_ns: Option<u64>,
    /// Why the trace proves nothing.
    pub flaw: Option<String>,
}

impl Proof {
    pub(super) fn of(
        recorded: &Recorded,
        seen: &Seen,
        wish: &Wish,
        reservation: Reservation,
    ) -> Self {
        let supply = Supply::two_gap(reservation).with_costs(wish.costs);
        let bounds = seen.demands().into_iter().map(|demand| added_delay(demand, &supply));
        let bound = bounds.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
        let lost = recorded.facts.lost_events;
        let mut proof = Self {
            held: false,
            intervals: 0,
            late: 0,
            beyond_demand: 0,
            worst_added_delay_ns: 0,
            longest_wait_ns: 0,
            bound_ns: bound.map(as_ns),
            flaw: (lost > 0).then(|| format!("the trace lost {lost} events")),
        };
        for vcpu in &seen.vcpus {
            let is_own = |row: &&Row| is_vcpu(&row.thread) && row.thread == vcpu.name;
            let mut rows: Vec<&Row> = recorded.rows.iter().filter(is_own).collect();
            rows.sort_by_key(|row| row.start_ns);
            for interval in busy(&rows, &recorded.facts) {
                // Nobody knows since when one that was there before had been busy.
                if interval.from_ns > recorded.facts.from_ns {
                    proof.add(&interval, &vcpu.demand, as_ns(wish.latency));
                }
            }
        }
        proof.judge(seen.vcpus.iter().any(|vcpu| vcpu.demand.work_ns() > 0));
        proof
    }

    /// Where there had been `work` while it was watched and none is seen now, nothing was proven.
    fn judge(&mut self, work: bool) {
        if self.flaw.is_none() && work && self.intervals == 0 {
            self.flaw = Some("no busy interval began while it was traced".to_owned());
        }
        self.held = self.late == 0 && self.flaw.is_none();
    }

    fn add(&mut self, interval: &Segment, demand: &Demand, latency_ns: u64) {
        let delay_ns = added_ns(interval, demand);
        let supplied_ns = interval.supplied_ns();
        self.intervals += 1;
        self.late += usize::from(delay_ns > latency_ns + TOLERANCE_NS);
        let within = demand.length_for(supplied_ns).is_some_and(|length_ns| {
            length_ns <= interval.length_ns() + demand.advanced_ns() + TOLERANCE_NS
        });
        self.beyond_demand += usize::from(!within);
        self.worst_added_delay_ns = self.worst_added_delay_ns.max(delay_ns);
        self.longest_wait_ns = self.longest_wait_ns.max(interval.length_ns() - supplied_ns);
    }
}

/// The most that work of a busy interval was delayed beyond what it would take with the CPU to
/// itself. Delay grows only while the thread waits, so the first work of each run tells.
fn added_ns(interval: &Segment, demand: &Demand) -> u64 {
    let mut supplied_ns = 0;
    let mut most = 0;
    for (start, end) in &interval.runs {
        let elapsed_ns = start - interval.from_ns;
        // The first nanosecond of this run: whatever came before it, alone it was not done earlier.
        let next_ns = supplied_ns + 1;
        let alone_ns = demand.length_for(next_ns).unwrap_or(next_ns).max(next_ns) - 1;
        most = most.max(elapsed_ns.saturating_sub(alone_ns));
        supplied_ns += end - start;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Proof {
        Proof {
            held: false,
            intervals: 0,
            late: 0,
            beyond_demand: 0,
            worst_added_delay_ns: 0,
            longest_wait_ns: 0,
            bound_ns: None,
            flaw: None,
        }
    }

    fn interval(runs: &[(u64, u64)]) -> Segment {
        let to_ns = runs.last().map_or(0, |last| last.1);
        Segment { from_ns: 0, to_ns, runs: runs.to_vec() }
    }

    #[test]
    fn delay_is_what_waiting_adds_to_the_shortest_time_alone() {
        // 40 at a time, every 100.
        let demand = Demand::of((0..9).map(|k| (k * 100, 40)));
        assert_eq!(added_ns(&interval(&[(0, 40)]), &demand), 0);
        assert_eq!(added_ns(&interval(&[(7, 47)]), &demand), 7);
        assert_eq!(added_ns(&interval(&[(0, 20), (35, 55)]), &demand), 15);
        // The second 40 cannot have come before 100, so most of the waiting until 105 delayed nothing.
        let merged = interval(&[(0, 20), (75, 95), (105, 145)]);
        assert_eq!(added_ns(&merged, &demand), 55);
        let late = interval(&[(0, 20), (75, 105), (125, 155)]);
        assert_eq!(added_ns(&late, &demand), 55);
        assert_eq!(added_ns(&interval(&[(0, 40), (200, 240)]), &demand), 100);
    }

    #[test]
    fn late_work_and_work_beyond_the_demand_are_counted() {
        let ms = 1_000_000;
        let demand = Demand::of((0..9).map(|k| (k * 100 * ms, 40 * ms)));
        let mut proof = empty();
        for runs in [&[(0, 40 * ms)][..], &[(0, 20 * ms), (45 * ms, 65 * ms)], &[(0, 60 * ms)]] {
            proof.add(&interval(runs), &demand, 20 * ms);
        }
        assert_eq!((proof.intervals, proof.late, proof.beyond_demand), (3, 1, 1));
        assert_eq!((proof.worst_added_delay_ns, proof.longest_wait_ns), (25 * ms, 25 * ms));
        proof.judge(true);
        assert!(!proof.held && proof.flaw.is_none());
    }

    #[test]
    fn without_a_busy_interval_only_an_idle_machine_holds() {
        let demand = Demand::of([(0, 40), (100, 0)]);
        for (work, intervals, flaw) in [
            (true, 0, Some("no busy interval began while it was traced")),
            (true, 1, None),
            (false, 0, None),
        ] {
            let mut proof = empty();
            (0..intervals).for_each(|_| proof.add(&interval(&[(0, 40)]), &demand, 20));
            proof.judge(work);
            assert_eq!((proof.flaw.as_deref(), proof.held), (flaw, flaw.is_none()), "{work}");
        }
        let mut lost = Proof { flaw: Some("the trace lost 3 events".to_owned()), ..empty() };
        lost.judge(true);
        assert_eq!(lost.flaw.as_deref(), Some("the trace lost 3 events"), "the cause stays");
    }
}
