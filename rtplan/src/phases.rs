//! At which phases of the server's period releases can fall: what the aligned supply depends on.
//!
//! A constant bandwidth server restarts its period at a wake-up that fails the wake-up test (Abeni
//! and Buttazzo 1998; Linux `kernel/sched/deadline.c`), that is, at a release of any of its tasks j;
//! afterwards budgets come every P. Seen from there, task i is released at O_i − O_j modulo
//! gcd(P, T_i, T_j). Periodic and deferrable servers keep the clock: task i is released at O_i
//! modulo gcd(P, T_i).

use std::collections::BTreeSet;

use crate::{
    item::Item,
    ns::{Ns, gcd},
    supply::Grid,
};

/// Of more kinds of releases all are taken to fall on one grid that holds them: the safe side.
const MOST_KINDS: usize = 64;

/// The phases of all tasks' releases.
#[derive(Debug)]
pub(crate) struct Phases {
    period: Ns,
    kinds: BTreeSet<Grid>,
}

impl Phases {
    /// Of `items` in a server of this `period`; at any phase where a release can come at any time.
    pub(crate) fn new(items: &[Item], period: Ns) -> Self {
        if items.iter().any(|item| !item.is_strict()) {
            return Self { period: 1, kinds: BTreeSet::from([Grid { base: 0, step: 1 }]) };
        }
        let kinds: BTreeSet<Grid> = items.iter().map(|item| kind(item, period)).collect();
        if kinds.len() <= MOST_KINDS {
            return Self { period, kinds };
        }
        let step = kinds.iter().fold(period, |step, kind| gcd(gcd(step, kind.step), kind.base));
        Self { period: step, kinds: BTreeSet::from([Grid { base: 0, step }]) }
    }

    /// Where the releases of `item` fall on a server that keeps the clock.
    pub(crate) fn kind(&self, item: &Item) -> Grid {
        kind(item, self.period)
    }

    /// Where releases of the kind `own` can fall on any server.
    pub(crate) fn of(&self, own: Grid) -> Vec<Grid> {
        let seen_from = |start: &Grid| {
            let step = gcd(own.step, start.step);
            Grid { base: (own.base % step + step - start.base % step) % step, step }
        };
        std::iter::once(own).chain(self.kinds.iter().map(seen_from)).collect()
    }
}

fn kind(item: &Item, period: Ns) -> Grid {
    let step = gcd(period, item.period);
    Grid { base: item.offset.unwrap_or(0) % step, step }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scheduler, Supply, Workload, problem::Problem};

    fn phases(tasks: &[&str], reservation: &str) -> Vec<Vec<Grid>> {
        let tasks = tasks.iter().map(|text| text.parse().unwrap()).collect();
        let supply = Supply::aligned(reservation.parse().unwrap());
        let problem =
            Problem::new(&Workload::new(tasks).unwrap(), &supply, Scheduler::RateMonotonic);
        let problem = problem.unwrap();
        let period = supply.reservation().unwrap().period().as_nanos();
        let phases = Phases::new(&problem.items, period);
        let of = |item: &Item| -> Vec<Grid> {
            let unlike: BTreeSet<Grid> = phases.of(phases.kind(item)).into_iter().collect();
            unlike.into_iter().collect()
        };
        problem.items.iter().map(of).collect()
    }

    #[test]
    fn a_server_starts_with_the_release_of_any_task() {
        let grid = |base, step| Grid { base, step };
        let both = phases(&["2ns/20ns", "9ns/45ns"], "5ns/10ns");
        assert_eq!(both, [vec![grid(0, 5), grid(0, 10)], vec![grid(0, 5)]]);
        let apart = phases(&["2ns/20ns,offset=3ns", "9ns/40ns"], "5ns/10ns");
        assert_eq!(apart, [vec![grid(0, 10), grid(3, 10)], vec![grid(0, 10), grid(7, 10)]]);
        let multiples = phases(&["2ns/20ns", "9ns/40ns"], "5ns/10ns");
        assert!(multiples.iter().all(|own| *own == [grid(0, 10)]));
    }

    #[test]
    fn a_release_at_any_time_falls_at_any_phase() {
        for loose in ["2ns/20ns,jitter=1ns", "2ns/20ns,sporadic=1ns"] {
            let own = phases(&[loose, "9ns/40ns"], "5ns/10ns");
            assert!(own.iter().all(|own| *own == [Grid { base: 0, step: 1 }]), "{own:?}");
        }
    }
}
