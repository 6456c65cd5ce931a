//! Small task sets, and a simulator that is too simple to be wrong: it walks time unit by unit.

use std::time::Duration;

use fastrand::Rng;
use model::{Reservation, Task};
use proptest::prelude::*;
use rtplan::{TaskSpec, Workload};

/// C, T, D and the first release, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Small {
    pub execution: u64,
    pub period: u64,
    pub deadline: u64,
    pub offset: u64,
}

/// All periods divide this.
pub const HYPERPERIOD: u64 = 120;

pub fn ns(value: u64) -> Duration {
    Duration::from_nanos(value)
}

pub fn reservation(budget: u64, period: u64) -> Reservation {
    Reservation::new(ns(budget), ns(period)).unwrap()
}

/// UUniFast (Bini and Buttazzo 2005): shares of `total`, evenly spread over all that add up to it.
pub fn uunifast(rng: &mut Rng, count: usize, total: f64) -> Vec<f64> {
    let mut left = total;
    let mut shares: Vec<f64> = (1..count)
        .rev()
        .map(|others| {
            let next = left * rng.f64().powf(1.0 / others as f64);
            let share = left - next;
            left = next;
            share
        })
        .collect();
    shares.push(left);
    shares
}

/// Tasks whose periods divide [`HYPERPERIOD`]; deadlines up to twice the period, offsets below it.
pub fn small_sets() -> impl Strategy<Value = Vec<Small>> {
    let period = prop::sample::select(vec![6, 8, 10, 12, 15, 20, 24, 30, 40, 60]);
    let task = period.prop_flat_map(|period: u64| {
        (1..=(period / 3).max(1)).prop_flat_map(move |execution| {
            (execution..=2 * period, 0..period).prop_map(move |(deadline, offset)| Small {
                execution,
                period,
                deadline,
                offset,
            })
        })
    });
    prop::collection::vec(task, 1..=4)
}

pub fn utilisation_at_most_one(set: &[Small]) -> bool {
    set.iter().map(|task| task.execution * HYPERPERIOD / task.period).sum::<u64>() <= HYPERPERIOD
}

pub fn workload(set: &[Small], offsets: bool) -> Workload {
    let spec = |small: &Small| {
        let task = Task::new(ns(small.execution), ns(small.period), ns(small.deadline)).unwrap();
        TaskSpec { offset: offsets.then(|| ns(small.offset)), ..TaskSpec::from(task) }
    };
    Workload::new(set.iter().map(spec).collect()).unwrap()
}

/// The greatest response time of each task in the first `horizon` units, where one unit is served
/// in each instant that `serves` says; `urgency` orders the jobs (task, release), least first.
pub fn simulate(
    set: &[Small],
    serves: impl Fn(u64) -> bool,
    urgency: impl Fn(usize, u64) -> u64,
    horizon: u64,
) -> Vec<u64> {
    let mut jobs: Vec<(usize, u64, u64)> = Vec::new();
    let mut worst = vec![0; set.len()];
    for now in 0..horizon {
        for (task, small) in set.iter().enumerate() {
            if now >= small.offset && (now - small.offset).is_multiple_of(small.period) {
                jobs.push((task, now, small.execution));
            }
        }
        if !serves(now) || jobs.is_empty() {
            continue;
        }
        let next = (0..jobs.len()).min_by_key(|&job| (urgency(jobs[job].0, jobs[job].1), job));
        let next = next.unwrap();
        jobs[next].2 -= 1;
        if jobs[next].2 == 0 {
            let (task, release, _) = jobs.remove(next);
            worst[task] = worst[task].max(now + 1 - release);
        }
    }
    // A job that is not done yet has taken so long at least.
    for (task, release, _) in jobs {
        worst[task] = worst[task].max(horizon - release);
    }
    worst
}
