//! The published reference values, and the paper's.

use std::time::Duration;

use model::{Reservation, TaskSet};
use rtplan::{Scheduler, Supply, wcrt};

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
