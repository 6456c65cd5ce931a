//! What the theory says of supplies and budgets, on random ones.

use std::time::Duration;

use crate::support::{Small, ns, reservation, small_sets, utilisation_at_most_one, workload};
use proptest::prelude::*;
use rtplan::{
    Costs, Fraction, Model, Question, Response, Scheduler, Supply, Witness, Workload, analyse,
    least_budget, responses, schedulable,
};

/// Any reservation of up to 60 ns with any costs; Δ between Q and P.
fn supplies() -> impl Strategy<Value = [Supply; 5]> {
    (1..=60_u64, 1..=60_u64, 0..=60_u64, 0..10_u64, 0..3_u64, 0..3_usize).prop_map(
        |(a, b, c, tick, overhead, slow_down)| {
            let (q, p) = (a.min(b), a.max(b));
            let slow_down = ["1", "1.07", "2.5"][slow_down].parse().unwrap();
            let costs =
                Costs { overhead: ns(overhead), tick: ns(tick), slow_down, ..Costs::default() };
            let deadline = ns(q + c % (p - q + 1));
            [
                Model::TwoGap,
                Model::ExplicitDeadline(deadline),
                Model::OneGap,
                Model::Aligned,
                Model::Dedicated,
            ]
            .map(|model| Supply::new(model, Some(reservation(q, p))).unwrap().with_costs(costs))
        },
    )
}

fn question(scheduler: Scheduler, model: Model, period: u64) -> Question {
    Question { scheduler, model, costs: Costs::default(), period: ns(period) }
}

const MODELS: [Model; 3] = [Model::TwoGap, Model::OneGap, Model::Aligned];
const SCHEDULERS: [Scheduler; 2] = [Scheduler::RateMonotonic, Scheduler::Edf];

fn least(set: &Workload, question: Question) -> Option<(Duration, Option<Fraction>)> {
    least_budget(set, &question).unwrap().map(|budget| (budget.least, budget.exact))
}

proptest! {
    // Each takes thousands of times as many steps as one below.
    #![proptest_config(ProptestConfig::with_cases(50))]

    /// With all times a thousand times longer the fraction is the same thousand times longer, and
    /// there the whole nanoseconds tell it more precisely.
    #[test]
    fn the_fraction_is_the_limit(set in small_sets(), period in 2..40_u64) {
        let scale = 1_000_000;
        let longer: Vec<Small> = set.iter().map(|task| Small {
            execution: task.execution * scale,
            period: task.period * scale,
            deadline: task.deadline * scale,
            offset: 0,
        }).collect();
        for (scheduler, model) in SCHEDULERS.iter().flat_map(|&s| MODELS.map(|m| (s, m))) {
            let small = least(&workload(&set, false), question(scheduler, model, period));
            let fine = question(scheduler, model, period * scale);
            let fine = match least_budget(&workload(&longer, false), &fine) {
                Ok(found) => found.map(|budget| (budget.least, budget.exact)),
                // To give up after many steps is an answer, if no welcome one.
                Err(error) => {
                    prop_assert!(format!("{error:?}").contains("TooHard"), "{error:?}");
                    continue;
                }
            };
            if let (Some((_, Some(exact))), Some((fine, _))) = (small, fine) {
                let (numerator, denominator) = exact.parts();
                let expected = (numerator * u128::from(scale)).div_ceil(denominator);
                prop_assert_eq!(fine.as_nanos(), expected, "{:?} {} {}", scheduler, model, exact);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Two windows in a row supply at least what each does. Not so where releases are aligned: the
    /// second window would open where no release can be.
    #[test]
    fn supplies_are_superadditive(supplies in supplies(), a in 0..300_u64, b in 0..300_u64) {
        for supply in supplies.iter().filter(|supply| supply.model() != Model::Aligned) {
            let together = supply.provided(ns(a + b));
            let apart = supply.provided(ns(a)) + supply.provided(ns(b));
            // Work is rounded down to whole nanoseconds in each of the three.
            prop_assert!(together >= apart, "{:?}: {together:?} < {apart:?}", supply);
        }
    }

    #[test]
    fn supplies_grow_with_time_and_are_ordered(supplies in supplies(), t in 0..300_u64) {
        for supply in &supplies {
            prop_assert!(supply.provided(ns(t)) <= supply.provided(ns(t + 1)));
            prop_assert!(supply.provided(ns(t)) <= ns(t));
        }
        for pair in supplies.windows(2) {
            prop_assert!(pair[0].provided(ns(t)) <= pair[1].provided(ns(t)), "{pair:?} at {t}");
        }
    }

    #[test]
    fn the_inverse_is_the_least_time(supplies in supplies(), work in 1..300_u64) {
        for supply in supplies {
            if let Some(time) = supply.time_for(ns(work)) {
                prop_assert!(supply.provided(time) >= ns(work));
                prop_assert!(supply.provided(time - ns(1)) < ns(work));
            }
        }
    }

    #[test]
    fn one_less_than_the_least_budget_is_too_little(set in small_sets(), period in 1..40_u64) {
        let set = workload(&set, false);
        for (scheduler, model) in SCHEDULERS.iter().flat_map(|&s| MODELS.map(|m| (s, m))) {
            let question = question(scheduler, model, period);
            let enough = |budget: Duration| {
                schedulable(&set, &question.supply(budget).unwrap(), scheduler).unwrap()
            };
            match least(&set, question) {
                None => prop_assert!(!enough(ns(period))),
                Some((least, exact)) => {
                    let all = (1..=period).map(ns);
                    prop_assert!(all.clone().filter(|&q| q >= least).all(enough));
                    prop_assert!(!all.filter(|&q| q < least).any(enough));
                    if let Some((numerator, denominator)) = exact.map(Fraction::parts) {
                        prop_assert_eq!(numerator.div_ceil(denominator), least.as_nanos());
                    }
                }
            }
        }
    }

    #[test]
    fn budgets_grow_with_the_work_and_shrink_with_trust(set in small_sets(), period in 1..40_u64) {
        let more: Vec<Small> = set.iter()
            .map(|task| Small { execution: (task.execution + 1).min(task.deadline), ..*task })
            .collect();
        for scheduler in SCHEDULERS {
            let of = |set: &[Small], model| {
                let least = least(&workload(set, false), question(scheduler, model, period));
                least.map_or(Duration::MAX, |(least, _)| least)
            };
            for model in MODELS {
                prop_assert!(of(&set, model) <= of(&more, model));
            }
            prop_assert!(of(&set, Model::OneGap) <= of(&set, Model::TwoGap));
            prop_assert!(of(&set, Model::Aligned) <= of(&set, Model::OneGap));
            prop_assert!(of(&set, Model::TwoGap) == Duration::MAX || utilisation_at_most_one(&set));
        }
        let edf = least(&workload(&set, false), question(Scheduler::Edf, Model::TwoGap, period));
        let dm = question(Scheduler::DeadlineMonotonic, Model::TwoGap, period);
        if let Some((dm, _)) = least(&workload(&set, false), dm) {
            prop_assert!(edf.unwrap().0 <= dm, "EDF is optimal");
        }
    }

    #[test]
    fn witnesses_say_what_they_show(set in small_sets(), supplies in supplies()) {
        for (supply, scheduler) in supplies.iter().flat_map(|s| SCHEDULERS.map(|n| (s, n))) {
            let analysis = analyse(&workload(&set, false), supply, scheduler).unwrap();
            prop_assert_eq!(
                analysis.schedulable,
                schedulable(&workload(&set, false), supply, scheduler).unwrap()
            );
            for (task, verdict) in set.iter().zip(&analysis.tasks) {
                let within = verdict.response.ns().is_some_and(|ns| ns <= task.deadline.into());
                prop_assert_eq!(verdict.schedulable, within, "{:?}", &verdict);
                let Some(witness) = &verdict.witness else {
                    // EDF has no instant to show for a task that holds where another one fails.
                    prop_assert!(verdict.schedulable && !analysis.schedulable);
                    continue;
                };
                match witness {
                    Witness::Finishes { point, .. } | Witness::Tightest { point } => {
                        prop_assert!(verdict.schedulable && point.supply >= point.demand);
                    }
                    Witness::Starved { points, .. } => prop_assert!(
                        !verdict.schedulable && points.iter().all(|p| p.supply < p.demand)
                    ),
                    Witness::Overrun { point } => {
                        prop_assert!(!verdict.schedulable && point.supply < point.demand);
                        prop_assert_eq!(analysis.first_failure, Some(*point));
                    }
                }
            }
        }
    }

    /// The one-pass algorithm against the textbook's, with jitter and blocking.
    #[test]
    fn response_times_are_those_of_the_textbook(
        set in prop::collection::vec((1..20_u64, 20..400_u64, 0..30_u64, 0..3_u64), 1..40),
    ) {
        let text = |&(c, t, j, b): &(u64, u64, u64, u64)| {
            format!("{c}ns/{t}ns,jitter={j}ns,blocking={b}ns").parse().unwrap()
        };
        let workload = Workload::new(set.iter().map(text).collect()).unwrap();
        let found = responses(&workload, &Supply::dedicated(), Scheduler::RateMonotonic).unwrap();
        let order = workload.order(Scheduler::RateMonotonic).unwrap();
        for (rank, &index) in order.iter().enumerate() {
            let above: Vec<_> = order[..rank].iter().map(|&index| set[index]).collect();
            let expected = textbook(set[index], &above);
            let expected = expected.map_or(Response::Unbounded, |r| Response::Bounded(r.into()));
            if expected == Response::Unbounded && found[index] != expected {
                // The textbook gives up; so must the sum be at the brink.
                continue;
            }
            prop_assert_eq!(found[index], expected);
        }
    }
}

/// max over q of w(q) - qT + J, w(q) = B + (q+1)C + Σ ⌈(w + J)/T⌉C; gives up at 10^6.
fn textbook((c, t, j, b): (u64, u64, u64, u64), above: &[(u64, u64, u64, u64)]) -> Option<u64> {
    let mut worst = 0;
    for job in 0.. {
        let mut w = b + (job + 1) * c;
        loop {
            let interference: u64 =
                above.iter().map(|&(c, t, j, _)| (w.max(1) + j).div_ceil(t) * c).sum();
            let next = b + (job + 1) * c + interference;
            if next > 1_000_000 {
                return None;
            }
            if next == w {
                break;
            }
            w = next;
        }
        worst = worst.max(w + j - job * t);
        if w + j <= (job + 1) * t {
            return Some(worst);
        }
    }
    None
}
