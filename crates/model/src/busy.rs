//! When a thread asked for the CPU: busy intervals, from the rows of `supply.csv`.
//!
//! A reservation is a promise to a thread that asks: one that sleeps does not take its supply. A
//! *busy interval*, in which the thread ran or was runnable all the time, begins when the thread is
//! woken (or, where it was never seen asleep, with its first run) and ends when it goes to sleep by
//! itself.

use crate::{
    manifest::TraceFacts,
    sample::{Ended, Supply},
    segment::Segment,
};

/// Whether a thread's name is that of a vCPU.
#[must_use]
pub fn is_vcpu(name: &str) -> bool {
    name.strip_prefix("vcpu").is_some_and(|number| number.parse::<u32>().is_ok())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(start_ns: u64, end_ns: u64, woken_ns: Option<u64>, ended: Option<Ended>) -> Supply {
        let (thread, cpu) = ("vcpu0".into(), Some(1));
        Supply { start_ns, end_ns, thread, cpu, woken_ns, ended, vm: None }
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
}
