//! Budgets that adapt, simulated by the laws that run on the host.

use std::time::Duration;

use model::{
    Reservation, TaskSet,
    control::{Bounds, FOLLOWS, Law, MARGIN, Why, interval},
};
use rtplan::{
    Scheduler, Workload,
    sim::{Adapted, Control, Cpu, Done, Observer, Server, Thread, simulate},
};

const MS: Duration = Duration::from_millis(1);
const S: u64 = 1_000_000_000;

#[derive(Default)]
struct Seen {
    missed_ns: Vec<u64>,
    adapted: Vec<Adapted>,
}

impl Observer for Seen {
    fn done(&mut self, done: &Done) {
        if done.response_ns() > done.deadline_ns {
            self.missed_ns.push(done.release_ns);
        }
    }

    fn adapted(&mut self, adapted: &Adapted) {
        self.adapted.push(*adapted);
    }
}

/// The paper's tasks with half of their work, which doubles from 10 s to 20 s.
fn played(law: Law, min: u32, max: u32) -> Seen {
    let tasks: TaskSet =
        ["15ms/150ms", "25ms/200ms"].map(|task| task.parse().unwrap()).into_iter().collect();
    let period = MS * 50;
    let server = Server::HardCbs(Reservation::new(MS * max, period).unwrap());
    let workload = Workload::of(&tasks).unwrap();
    let mut thread = Thread::new(server, &workload, Scheduler::RateMonotonic).unwrap();
    thread.control =
        Some(Control { law, bounds: Bounds::new(MS * min, MS * max, period).unwrap(), weight: 1 });
    let surge = "10s..20s*2".parse().unwrap();
    thread.tasks.iter_mut().for_each(|task| task.surge = Some(surge));
    let mut seen = Seen::default();
    simulate(&Cpu::new(vec![thread], Duration::from_secs(30)), 1, &mut seen).unwrap();
    seen
}

/// Whether the law still follows a change, or the begin, at this instant.
fn follows(at_ns: u64) -> bool {
    let window = u64::from(FOLLOWS) * interval(MS * 50).as_nanos() as u64;
    [0, 10 * S, 20 * S].iter().any(|change| (*change..change + window).contains(&at_ns))
}

#[test]
fn the_grant_follows_the_demand_and_misses_stay_within_the_window() {
    for law in Law::ALL {
        let seen = played(law, 5, 35);
        let first = seen.adapted[0];
        assert_eq!((first.why, first.budget_ns, first.seen), (Why::Start, 35_000_000, None));
        for one in seen.adapted.iter().filter(|one| one.time_ns < 30 * S && !follows(one.time_ns)) {
            let demand = if (10 * S..20 * S).contains(&one.time_ns) { 0.45 } else { 0.225 };
            let share = one.budget_ns as f64 / 50e6 / demand;
            // 1 s is no whole number of hyperperiods of 600 ms: demand varies from second to second.
            assert!((share / (1.0 + MARGIN) - 1.0).abs() < 0.08, "{law}: {one:?}");
        }
        let late: Vec<_> = seen.missed_ns.iter().filter(|at| !follows(**at)).collect();
        assert!(late.is_empty(), "{law}: {late:?}");
        assert!(seen.adapted.iter().any(|one| one.why == Why::Exhausted), "{law}");
    }
}

#[test]
fn a_law_that_may_not_raise_misses_outside_of_it() {
    for law in Law::ALL {
        let late = |min, max| played(law, min, max).missed_ns.into_iter().any(|at| !follows(at));
        assert!(late(5, 15) && !late(5, 35), "{law}");
    }
}
