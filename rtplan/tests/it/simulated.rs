//! No verdict is contradicted by a simulation of what the model describes.

use crate::support::{HYPERPERIOD, Small, ns, reservation, simulate, small_sets, workload};
use proptest::prelude::*;
use rtplan::{Model, Response, Scheduler, Supply, Workload, responses, schedulable};

fn bounded(worst: &[u64], bounds: &[Response]) -> bool {
    worst.iter().zip(bounds).all(|(&worst, bound)| match bound {
        Response::Bounded(bound) => u128::from(worst) <= *bound,
        Response::Unbounded => true,
        Response::TooHard(_) => false,
    })
}

/// How urgent a job is: under fixed priorities its task's rank, under EDF its deadline.
fn urgency<'a>(set: &'a [Small], scheduler: Scheduler) -> impl Fn(usize, u64) -> u64 + 'a {
    let order = workload(set, false).order(scheduler).unwrap();
    move |task, release| match scheduler {
        Scheduler::Edf => release + set[task].deadline,
        _ => order.iter().position(|&other| other == task).unwrap() as u64,
    }
}

fn check(
    set: &[Small],
    analysed: &Workload,
    supply: &Supply,
    scheduler: Scheduler,
    serves: impl Fn(u64) -> bool,
) -> Result<(), TestCaseError> {
    let worst = simulate(set, serves, urgency(set, scheduler), 6 * HYPERPERIOD);
    let bounds = responses(analysed, supply, scheduler).unwrap();
    prop_assert!(bounded(&worst, &bounds), "{scheduler:?}: {worst:?} against {bounds:?}");
    if schedulable(analysed, supply, scheduler).unwrap() {
        let met = worst.iter().zip(set).all(|(&worst, task)| worst <= task.deadline);
        prop_assert!(met, "{scheduler:?}: {worst:?} misses");
    }
    Ok(())
}

const SCHEDULERS: [Scheduler; 3] =
    [Scheduler::RateMonotonic, Scheduler::DeadlineMonotonic, Scheduler::Edf];

/// (Q, P) whose period divides the hyperperiod, or not.
fn reservations() -> impl Strategy<Value = (u64, u64)> {
    let period = prop::sample::select(vec![3_u64, 4, 5, 6, 7, 8, 10, 12, 15, 16, 20]);
    period.prop_flat_map(|period| (1..=period, Just(period)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn dedicated(set in small_sets()) {
        let supply = Supply::dedicated();
        for scheduler in SCHEDULERS {
            check(&set, &workload(&set, false), &supply, scheduler, |_| true)?;
            check(&set, &workload(&set, true), &supply, scheduler, |_| true)?;
        }
    }

    #[test]
    fn aligned_with_and_without_offsets(set in small_sets(), (q, p) in reservations()) {
        let supply = Supply::aligned(reservation(q, p));
        let together: Vec<Small> = set.iter().map(|task| Small { offset: 0, ..*task }).collect();
        for scheduler in SCHEDULERS {
            let serves = |now: u64| now % p < q;
            check(&together, &workload(&together, false), &supply, scheduler, serves)?;
            check(&set, &workload(&set, true), &supply, scheduler, serves)?;
        }
    }

    #[test]
    fn one_gap_at_every_phase(set in small_sets(), (q, p) in reservations(), phase in 0..20_u64) {
        let supply = Supply::one_gap(reservation(q, p));
        for scheduler in SCHEDULERS {
            let serves = |now: u64| (now + phase) % p < q;
            check(&set, &workload(&set, false), &supply, scheduler, serves)?;
        }
    }

    #[test]
    fn two_gap_wherever_the_budget_lies(
        set in small_sets(), (q, p) in reservations(), phase in 0..20_u64, seed in any::<u64>(),
    ) {
        let supply = Supply::two_gap(reservation(q, p));
        // In each period the budget lies early or late, as the bits of the seed say.
        let serves = |now: u64| {
            let (period, at) = ((now + phase) / p, (now + phase) % p);
            if seed >> (period % 64) & 1 == 0 { at < q } else { at >= p - q }
        };
        for scheduler in SCHEDULERS {
            check(&set, &workload(&set, false), &supply, scheduler, serves)?;
        }
    }

    #[test]
    fn explicit_deadline_wherever_in_it_the_budget_lies(
        set in small_sets(), (q, p) in reservations(), within in 0..20_u64, phase in 0..20_u64,
        seed in any::<u64>(),
    ) {
        let deadline = q + within % (p - q + 1);
        let model = Model::ExplicitDeadline(ns(deadline));
        let supply = Supply::new(model, Some(reservation(q, p))).unwrap();
        // In each period the budget lies at the start of Δ or at its end.
        let serves = |now: u64| {
            let (period, at) = ((now + phase) / p, (now + phase) % p);
            let from = if seed >> (period % 64) & 1 == 0 { 0 } else { deadline - q };
            (from..from + q).contains(&at)
        };
        for scheduler in SCHEDULERS {
            check(&set, &workload(&set, false), &supply, scheduler, serves)?;
        }
    }

    /// Where the analysis claims to be exact, the simulation reaches its bound.
    #[test]
    fn aligned_bounds_are_reached(set in small_sets(), (q, p) in reservations()) {
        let aligned = |task: &Small| task.period.is_multiple_of(p);
        let set: Vec<Small> = set.iter().filter(|task| aligned(task))
            .map(|task| Small { offset: 0, ..*task }).collect();
        if set.is_empty() {
            return Ok(());
        }
        let supply = Supply::aligned(reservation(q, p));
        let scheduler = Scheduler::RateMonotonic;
        let bounds = responses(&workload(&set, false), &supply, scheduler).unwrap();
        let worst = simulate(&set, |now| now % p < q, urgency(&set, scheduler), 6 * HYPERPERIOD);
        for (worst, bound) in worst.iter().zip(bounds) {
            if let Response::Bounded(bound) = bound {
                prop_assert_eq!(u128::from(*worst), bound);
            }
        }
    }
}
