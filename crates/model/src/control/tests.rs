use std::{
    convert::{Infallible, identity},
    time::Duration,
};

use proptest::prelude::*;

use super::{pi::Pi, *};

const MS: Duration = Duration::from_millis(1);

fn bounds(min: u32, max: u32, period: u32) -> Bounds {
    Bounds::new(MS * min, MS * max, MS * period).unwrap()
}

/// A vCPU whose demand arrives evenly: what it does not get at once it asks for later.
#[derive(Default)]
struct Plant {
    backlog: f64,
}

impl Plant {
    /// One interval of a second.
    fn run(&mut self, demand: f64, granted: f64) -> Seen {
        let asked = demand + self.backlog;
        let consumed = asked.min(granted);
        self.backlog = asked - consumed;
        let waited = if self.backlog > 0.0 { 1.0 - consumed } else { 0.0 };
        let of = Duration::from_secs_f64;
        Seen { elapsed: of(1.0), consumed: of(consumed), waited: Some(of(waited)) }
    }
}

fn always(_: Duration) -> Result<bool, Infallible> {
    Ok(true)
}

/// The shares granted interval by interval under these demands.
fn played(law: Law, bounds: Bounds, demands: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut controller = Controller::new(law, bounds, bounds.max());
    let mut plant = Plant::default();
    let share = |budget: Duration| budget.as_secs_f64() / bounds.period().as_secs_f64();
    let step = |demand| {
        let granted = share(controller.held());
        let seen = plant.run(demand, granted);
        let Ok(step) = controller.step(&seen, identity, always);
        share(step.budget)
    };
    demands.into_iter().map(step).collect()
}

#[test]
fn an_interval_is_whole_periods_a_second_and_twenty_of_them_at_least() {
    assert_eq!(interval(MS * 50), MS * 1000);
    assert_eq!(interval(MS * 3), MS * 1002);
    assert_eq!(interval(MS * 100), MS * 2000);
}

#[test]
fn bounds_say_what_is_wrong_with_them() {
    let error =
        |min, max, period| Bounds::new(MS * min, MS * max, MS * period).unwrap_err().to_string();
    assert!(error(0, 20, 50).contains("above zero"));
    assert!(error(30, 20, 50).contains("`min` is 30ms and `max` is 20ms: the bounds are crossed"));
    assert!(error(10, 60, 50).contains("greater than the period, 50ms"));
}

#[test]
fn laws_are_known_by_their_names() {
    for law in Law::ALL {
        assert_eq!(law.name().parse(), Ok(law));
        assert_eq!(serde_json::to_string(&law).unwrap(), format!("\"{law}\""));
    }
    assert!("bang-bang".parse::<Law>().unwrap_err().contains("lfs, pi"));
    for why in [Why::Start, Why::Demand, Why::Exhausted, Why::Steady, Why::Refused] {
        assert_eq!(serde_json::to_string(&why).unwrap(), format!("\"{why}\""));
    }
}

#[test]
fn a_demand_that_doubles_is_followed_and_given_back() {
    for law in Law::ALL {
        let demand = |second: usize| if (10..20).contains(&second) { 0.45 } else { 0.225 };
        let grants = played(law, bounds(5, 40, 50), (0..30).map(demand));
        let near = |at: usize, wanted: f64| {
            let grant = grants[at] / (1.0 + MARGIN);
            assert!((grant / wanted - 1.0).abs() < 0.03, "{law} at {at}: {grants:?}");
        };
        near(FOLLOWS as usize - 1, 0.225);
        near(9, 0.225);
        // Enough at once; what was not done before is done by then.
        assert!(grants[11] > 0.45, "{law}: {grants:?}");
        near(19, 0.45);
        near(19 + FOLLOWS as usize, 0.225);
    }
}

#[test]
fn what_waited_for_nothing_is_not_raised() {
    for law in Law::ALL {
        let mut controller = Controller::new(law, bounds(5, 40, 50), MS * 20);
        let seen = |waited| Seen { elapsed: MS * 1000, consumed: MS * 400, waited };
        let Ok(step) = controller.clone().step(&seen(Some(Duration::ZERO)), identity, always);
        assert_eq!((step.why, step.budget), (Why::Demand, step.wish), "{law}");
        let Ok(step) = controller.clone().step(&seen(Some(MS * 600)), identity, always);
        assert_eq!(step.why, Why::Exhausted, "{law}");
        assert!(step.budget > MS * 28, "{law}: {step:?}");
        // Where nobody knows, it may have waited.
        let Ok(step) = controller.step(&seen(None), identity, always);
        assert_eq!(step.why, Why::Exhausted, "{law}");
    }
}

#[test]
fn a_refusal_lowers_the_wish_until_there_is_room_and_is_no_error() {
    for law in Law::ALL {
        let mut controller = Controller::new(law, bounds(5, 40, 50), MS * 20);
        let starved = Seen { elapsed: MS * 1000, consumed: MS * 480, waited: Some(MS * 520) };
        let room = MS * 23;
        let mut asked = 0;
        let mut grant = |budget: Duration| -> Result<bool, Infallible> {
            asked += 1;
            Ok(budget <= room)
        };
        let Ok(step) = controller.step(&starved, identity, &mut grant);
        assert_eq!(step.why, Why::Refused);
        assert!(step.wish > room && step.budget > MS * 20 && step.budget <= room, "{step:?}");
        assert_eq!(controller.held(), step.budget);
        // Where there is none at all it stays, and asks only a few times.
        let Ok(none) = controller.step(&starved, identity, |_| Ok::<_, Infallible>(false));
        assert_eq!((none.why, none.budget), (Why::Refused, step.budget));
        assert!(asked < 8, "{asked}");
        let failed = controller.step(&starved, identity, |_| Err("it has ended"));
        assert_eq!((failed, controller.held()), (Err("it has ended"), step.budget));
    }
}

#[test]
fn what_others_have_a_right_to_is_given_back_at_once() {
    let mut controller = Controller::new(Law::Lfs, bounds(5, 40, 50), MS * 20);
    let starved = Seen { elapsed: MS * 1000, consumed: MS * 400, waited: Some(MS * 600) };
    let Ok(step) = controller.step(&starved, |_| MS * 20, always);
    assert_eq!((step.why, step.budget), (Why::Shared, MS * 20));
    assert!(step.wish > MS * 20);
    let little = MS * 20 - MS / 10;
    let Ok(step) = controller.step(&starved, |_| little, always);
    assert_eq!((step.why, step.budget), (Why::Shared, little), "a dead zone would keep it");
}

/// How far from the set point the law is after many intervals, having begun 1 % away from it.
fn deviation(integral: f64, proportional: f64) -> f64 {
    let mut law = Pi::with(integral, proportional);
    let (demand, wanted) = (0.2, 0.2 * (1.0 + MARGIN));
    let mut granted = wanted * 1.01;
    for _ in 0..400 {
        let sample = Sample { consumed: demand, waited: 0.0, granted, exhausted: false };
        granted = law.wish(&sample).clamp(0.01, 1.0);
    }
    (granted / wanted - 1.0).abs()
}

#[test]
fn the_documented_gains_are_stable_and_settle_within_the_window() {
    assert!(is_stable(INTEGRAL, PROPORTIONAL));
    assert!(!is_stable(0.0, 0.1) && !is_stable(2.0, 0.0) && !is_stable(1.7, 0.2));
    assert!(!is_stable(0.5, 1.0) && !is_stable(0.5, -1.0));
    assert!(deviation(INTEGRAL, PROPORTIONAL) < 1e-9);
    assert!(deviation(2.1, 0.0) > 0.05, "{}", deviation(2.1, 0.0));
}

proptest! {
    #[test]
    fn the_grant_always_lies_within_its_bounds(
        law in prop::sample::select(Law::ALL.to_vec()),
        min in 1_u32..50,
        more in 0_u32..50,
        start in 0_u32..100,
        seen in prop::collection::vec((0_u64..2_000, 0_u64..2_000, prop::option::of(0_u64..2_000), any::<bool>()), 1..40),
    ) {
        let bounds = bounds(min, (min + more).min(50), 50);
        let mut controller = Controller::new(law, bounds, MS * start);
        let within = |budget: Duration| (bounds.min()..=bounds.max()).contains(&budget);
        prop_assert!(within(controller.held()));
        for (elapsed, consumed, waited, room) in seen {
            let ms = Duration::from_millis;
            let seen = Seen { elapsed: ms(elapsed), consumed: ms(consumed), waited: waited.map(ms) };
            let before = controller.held();
            let Ok(step) = controller.step(&seen, identity, |budget| {
                assert!(within(budget));
                Ok::<_, Infallible>(room)
            });
            prop_assert!(within(step.wish) && within(step.budget), "{:?}", step);
            prop_assert_eq!(controller.held(), step.budget);
            prop_assert!(room || step.budget == before);
        }
    }

    #[test]
    fn a_constant_demand_is_granted_with_the_margin(
        law in prop::sample::select(Law::ALL.to_vec()),
        demand in 0.02_f64..0.75,
        start in 1_u32..50,
    ) {
        let bounds = bounds(1, 49, 50);
        let mut controller = Controller::new(law, bounds, MS * start);
        let mut plant = Plant::default();
        for _ in 0..200 {
            let granted = controller.held().as_secs_f64() / 0.05;
            let Ok(_) = controller.step(&plant.run(demand, granted), identity, always);
        }
        let granted = controller.held().as_secs_f64() / 0.05;
        prop_assert!((granted / (demand * (1.0 + MARGIN)) - 1.0).abs() < 0.03, "{}", granted);
    }

    #[test]
    fn gains_are_stable_where_jury_says_so(integral in 0.05_f64..2.5, proportional in -0.9_f64..0.9) {
        let left = (2.0 * (1.0 - proportional) - integral).abs();
        // Next to the border it takes longer than anybody waits.
        prop_assume!(left > 0.1);
        let settled = deviation(integral, proportional) < 1e-3;
        prop_assert_eq!(settled, is_stable(integral, proportional));
    }
}
