//! The same answers as the crate response-time-analysis, whose analyses are instances of proofs
//! checked by machine (Prosa).

use std::time::Duration;

use model::{Reservation, Task, TaskSet};
use proptest::prelude::*;
use response_time_analysis as rta;
use rta::{
    arrival::Periodic,
    demand::RBF,
    supply::SupplyBound,
    time::{Duration as Time, Service},
    wcet::Scalar,
};
use rtplan::{Model, Scheduler, Supply, wcrt};

const LIMIT: u64 = 1_000_000;

fn sets() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    // Deadlines up to twice the period.
    let task = (1..30_u64, 1..200_u64, 0..300_u64).prop_map(|(c, extra, early)| {
        let period = c + extra;
        (c, period, (2 * period).saturating_sub(early).max(c))
    });
    prop::collection::vec(task, 1..6)
}

fn rbf(&(c, t, _): &(u64, u64, u64)) -> RBF<Periodic, Scalar> {
    RBF::new(Periodic { period: Time::from(t) }, Scalar::from(Service::from(c)))
}

fn task_set(set: &[(u64, u64, u64)]) -> TaskSet {
    let ns = Duration::from_nanos;
    set.iter().map(|&(c, t, d)| Task::new(ns(c), ns(t), ns(d)).unwrap()).collect()
}

fn value(found: rta::fixed_point::SearchResult) -> Option<Duration> {
    found.ok().map(|time| Duration::from_nanos(u64::from(time)))
}

fn sums_below_one(set: &[(u64, u64, u64)]) -> bool {
    set.iter().map(|&(c, t, _)| c as f64 / t as f64).sum::<f64>() < 0.99
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn fixed_priorities(mut set in sets()) {
        prop_assume!(sums_below_one(&set));
        set.sort_by_key(|&(_, t, _)| t);
        let ours = wcrt(&task_set(&set), &Supply::dedicated(), Scheduler::RateMonotonic);
        let rbfs: Vec<_> = set.iter().map(rbf).collect();
        for (rank, own) in rbfs.iter().enumerate() {
            let theirs = rta::fixed_priority::fully_preemptive::dedicated_uniproc_rta(
                own, &rbfs[..rank], Time::from(LIMIT),
            );
            prop_assert_eq!(ours[rank], value(theirs));
        }
    }

    #[test]
    fn earliest_deadline_first(set in sets()) {
        prop_assume!(sums_below_one(&set));
        let ours = wcrt(&task_set(&set), &Supply::dedicated(), Scheduler::Edf);
        let rbfs: Vec<_> = set.iter().map(rbf).collect();
        let task = |index: usize| rta::edf::fully_preemptive::Task {
            rbf: &rbfs[index],
            deadline: Time::from(set[index].2),
        };
        for (own, ours) in ours.into_iter().enumerate() {
            let others: Vec<_> = (0..set.len()).filter(|&i| i != own).map(task).collect();
            let theirs = rta::edf::fully_preemptive::dedicated_uniproc_rta(
                &task(own), &others, Time::from(LIMIT),
            );
            prop_assert_eq!(ours, value(theirs));
        }
    }

    /// Fixed priorities in a reservation: their fixed-point search on their supply.
    #[test]
    fn reservations(mut set in sets(), a in 1..60_u64, b in 1..60_u64, c in 0..60_u64) {
        let (q, p) = (a.min(b), a.max(b));
        let deadline = q + c % (p - q + 1);
        let ns = Duration::from_nanos;
        let reservation = Reservation::new(ns(q), ns(p)).unwrap();
        let two_gap = rta::supply::Periodic::new(Service::from(q), Time::from(p));
        let early = rta::supply::Constrained::new(
            Service::from(q), Time::from(deadline), Time::from(p),
        );
        let explicit = Model::ExplicitDeadline(ns(deadline));
        let explicit = Supply::new(explicit, Some(reservation)).unwrap();
        set.sort_by_key(|&(_, t, _)| t);
        compare(&set, &Supply::two_gap(reservation), &two_gap)?;
        compare(&set, &explicit, &early)?;
    }
}

fn compare(
    set: &[(u64, u64, u64)],
    ours: &Supply,
    theirs: &impl SupplyBound,
) -> Result<(), TestCaseError> {
    for t in 0..200 {
        let provided = ours.provided(Duration::from_nanos(t)).as_nanos();
        let oracle = u64::from(theirs.provided_service(Time::from(t)));
        prop_assert_eq!(provided, u128::from(oracle), "sbf({})", t);
    }
    let worst = wcrt(&task_set(set), ours, Scheduler::RateMonotonic);
    for rank in 0..set.len() {
        let (c, period, _) = set[rank];
        let demand = |t: Time| -> Service {
            let above = set[..rank].iter();
            let above: u64 = above.map(|&(c, p, _)| u64::from(t).div_ceil(p) * c).sum();
            Service::from(c + above)
        };
        let first = rta::fixed_point::search(theirs, Time::from(10 * period), demand);
        // Later jobs matter only where the first is not done before the second comes.
        match value(first).filter(|first| *first <= Duration::from_nanos(period)) {
            Some(first) => prop_assert_eq!(worst[rank], Some(first)),
            None => prop_assert!(
                worst[rank] != Some(Duration::ZERO)
                    && worst[rank].is_none_or(|worst| worst > Duration::from_nanos(period))
            ),
        }
    }
    Ok(())
}
