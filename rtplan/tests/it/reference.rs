//! The published reference values, and the paper's.

use std::time::Duration;

use model::{Reservation, TaskSet};
use rtplan::{Costs, Model, Question, Scheduler, Supply, Workload, least_budget, wcrt};

fn reservation(text: &str) -> Reservation {
    text.parse().unwrap()
}

fn ms(values: &[u64]) -> Vec<Option<Duration>> {
    values.iter().map(|&value| Some(Duration::from_millis(value))).collect()
}

#[test]
fn supply_of_3_in_5() {
    let ns = Duration::from_nanos;
    let supply = Supply::two_gap(Reservation::new(ns(3), ns(5)).unwrap());
    let provided: Vec<u128> = (0..=15).map(|t| supply.provided(ns(t)).as_nanos()).collect();
    assert_eq!(provided, [0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 6, 6, 7]);
    let times: Vec<u128> = (1..=6).map(|w| supply.time_for(ns(w)).unwrap().as_nanos()).collect();
    assert_eq!(times, [5, 6, 7, 10, 11, 12]);
}

#[test]
fn response_times_of_the_paper() {
    let paper = TaskSet::paper();
    let rm = Scheduler::RateMonotonic;
    assert_eq!(wcrt(&paper, &Supply::dedicated(), rm), ms(&[30, 80]));
    assert_eq!(wcrt(&paper, &Supply::aligned(reservation("28ms/50ms")), rm), ms(&[52, 124]));
    assert_eq!(wcrt(&paper, &Supply::two_gap(reservation("28ms/50ms")), rm), ms(&[96, 220]));
    assert_eq!(wcrt(&paper, &Supply::dedicated(), Scheduler::Edf), ms(&[30, 80]));
}

#[test]
fn too_little_supply_has_no_bound() {
    let supply = Supply::aligned(reservation("22ms/50ms"));
    let worst = wcrt(&TaskSet::paper(), &supply, Scheduler::RateMonotonic);
    assert!(worst[0].is_some());
    assert_eq!(worst[1], None);
    assert_eq!(wcrt(&TaskSet::paper(), &supply, Scheduler::Edf), [None, None]);
}

fn least(scheduler: Scheduler, model: Model, period_ms: u64) -> (u64, String) {
    let question = Question {
        scheduler,
        model,
        costs: Costs::default(),
        period: Duration::from_millis(period_ms),
    };
    let workload = Workload::of(&TaskSet::paper()).unwrap();
    let budget = least_budget(&workload, &question).unwrap().unwrap();
    (budget.least.as_nanos() as u64, budget.exact.unwrap().to_string())
}

#[test]
fn budgets_of_the_paper() {
    let (rm, edf) = (Scheduler::RateMonotonic, Scheduler::Edf);
    let expected = [
        (rm, Model::TwoGap, 50, 32_000_000, "32ms"),
        (rm, Model::OneGap, 50, 26_666_667, "80/3 ms"),
        (rm, Model::Aligned, 50, 26_666_667, "80/3 ms"),
        (edf, Model::TwoGap, 50, 26_000_000, "26ms"),
        // The reference value 4.577 is this, rounded up.
        (edf, Model::TwoGap, 10, 4_576_272, "270/59 ms"),
        (rm, Model::TwoGap, 10, 5_625_000, "5.625ms"),
        (rm, Model::OneGap, 10, 5_333_334, "16/3 ms"),
        (rm, Model::Aligned, 10, 5_333_334, "16/3 ms"),
    ];
    for (scheduler, model, period, ns, exact) in expected {
        let (least, fraction) = least(scheduler, model, period);
        assert_eq!((least, fraction.as_str()), (ns, exact), "{scheduler:?} {model} {period}");
    }
}
