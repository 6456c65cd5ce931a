//! When a thread asked for the CPU, and where the machine was not itself.
//!
//! A reservation is a promise to a thread that asks: one that sleeps does not take its supply. Judged
//! are therefore *busy intervals*, in which the thread ran or was runnable all the time. A busy
//! interval begins when the thread is woken (or, where it was never seen asleep, with its first run)
//! and ends when it goes to sleep by itself.

use model::{
    manifest::TraceFacts,
    sample::{Ended, Stall, Supply},
};

use super::segment::Segment;

/// The busy intervals of one thread, from its rows in the order of time, within the workload's time.
#[must_use]
pub fn busy(rows: &[&Supply], facts: &TraceFacts) -> Vec<Segment> {
    let mut intervals: Vec<Segment> = Vec::new();
    let mut goes_on = false;
    for row in rows {
        match intervals.last_mut().filter(|_| goes_on) {
            Some(current) => {
                current.to_ns = row.end_ns;
                current.runs.push((row.start_ns, row.end_ns));
            }
            None => intervals.push(Segment {
                from_ns: row.woken_ns.unwrap_or(row.start_ns).min(row.start_ns),
                to_ns: row.end_ns,
                runs: vec![(row.start_ns, row.end_ns)],
            }),
        }
        goes_on = row.ended == Some(Ended::Runnable);
    }
    let from_ns = facts.workload_from_ns.unwrap_or(facts.from_ns);
    let to_ns = facts.workload_to_ns.unwrap_or(facts.to_ns);
    intervals.iter().filter_map(|interval| interval.part(from_ns, to_ns)).collect()
}

/// The times in which the machine may have run nobody, and `after_ns` more: what a stall delays goes
/// on being late. The sentinel looks every `interval_ns`, so a stall may have begun that much before
/// it was seen.
#[must_use]
pub fn holes(stalls: &[Stall], interval_ns: u64, after_ns: u64) -> Vec<(u64, u64)> {
    stalls
        .iter()
        .map(|stall| {
            let end = stall.start_ns.saturating_add(stall.length_ns);
            (stall.start_ns.saturating_sub(interval_ns), end + after_ns)
        })
        .collect()
}

/// The parts of busy intervals without these holes.
#[must_use]
pub fn undisturbed(busy: &[Segment], holes: &[(u64, u64)]) -> Vec<Segment> {
    busy.iter()
        .flat_map(|one| {
            let first = holes.partition_point(|(_, end)| *end <= one.from_ns);
            one.without(&holes[first..])
        })
        .collect()
}

/// Busy intervals without their first `head_ns`.
#[must_use]
pub fn headless(busy: &[Segment], head_ns: u64) -> Vec<Segment> {
    busy.iter().filter_map(|one| one.part(one.from_ns.saturating_add(head_ns), one.to_ns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(start_ns: u64, end_ns: u64, woken_ns: Option<u64>, ended: Option<Ended>) -> Supply {
        Supply { start_ns, end_ns, thread: "vcpu0".into(), cpu: Some(1), woken_ns, ended }
    }

    fn facts(from: u64, to: u64) -> TraceFacts {
        TraceFacts {
            from_ns: 0,
            to_ns: 1000,
            workload_from_ns: Some(from),
            workload_to_ns: Some(to),
            lost_events: 0,
            unpaired: 0,
            threads: vec![],
        }
    }

    #[test]
    fn a_busy_interval_lasts_from_the_wake_up_to_the_sleep() {
        let rows = [
            row(10, 20, None, Some(Ended::Runnable)),
            row(30, 35, Some(25), Some(Ended::Slept)),
            row(60, 70, Some(55), Some(Ended::Runnable)),
            row(90, 99, None, None),
            row(120, 130, None, None),
        ];
        let rows: Vec<_> = rows.iter().collect();
        let busy = busy(&rows, &facts(0, 125));
        let spans: Vec<_> = busy.iter().map(|one| (one.from_ns, one.to_ns)).collect();
        // A wake-up of a thread that was runnable is none; the last one is cut at the end.
        assert_eq!(spans, [(10, 35), (55, 99), (120, 125)]);
        assert_eq!(busy[0].runs, [(10, 20), (30, 35)]);
    }

    #[test]
    fn stalls_are_cut_out_with_what_nobody_saw_of_them() {
        let stalls = [Stall { start_ns: 5_000_000, length_ns: 2_000_000 }];
        let holes = holes(&stalls, 1_000_000, 50);
        assert_eq!(holes, [(4_000_000, 7_000_050)]);
        let whole = Segment { from_ns: 0, to_ns: 9_000_000, runs: vec![(0, 9_000_000)] };
        let spans: Vec<_> = undisturbed(std::slice::from_ref(&whole), &holes)
            .iter()
            .map(|one| (one.from_ns, one.to_ns))
            .collect();
        assert_eq!(spans, [(0, 4_000_000), (7_000_050, 9_000_000)]);
        assert_eq!(headless(&[whole], 8_000_000)[0].length_ns(), 1_000_000);
    }
}
