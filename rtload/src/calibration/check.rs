//! Does a calibration still hold?

use super::{Calibration, TOLERANCE};
use crate::warning::Warning;

/// What differs between a stored calibration and a fresh look by more than `tolerance`.
#[must_use]
pub fn compare(stored: &Calibration, fresh: &Calibration, tolerance: f64) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let (Some(then), Some(now)) = (&stored.cpu_model, &fresh.cpu_model)
        && then != now
    {
        warnings.push(Warning::OtherProcessor { then: then.clone(), now: now.clone() });
    }
    let difference = |cost: fn(&Calibration) -> f64| cost(fresh) / cost(stored) - 1.0;
    let speed = difference(|calibration| calibration.undisturbed_ns_per_iteration);
    let cost = difference(|calibration| calibration.ns_per_iteration);
    if speed.abs() > tolerance {
        warnings.push(Warning::SpeedChanged { difference: speed });
    } else if cost.abs() > tolerance {
        warnings.push(Warning::CostChanged { difference: cost });
    }
    warnings
}

/// What a fresh calibration says against itself.
pub(super) fn doubts(fresh: &Calibration) -> Option<Warning> {
    let difference = fresh.length_difference;
    (difference.abs() > TOLERANCE).then_some(Warning::LengthsDisagree { difference })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::example;

    #[test]
    fn half_a_percent_is_the_limit() {
        let slower = |factor: f64| {
            let mut other = example();
            other.ns_per_iteration *= factor;
            other
        };
        assert_eq!(compare(&example(), &slower(1.004), TOLERANCE), []);
        assert!(matches!(
            compare(&example(), &slower(1.006), TOLERANCE)[..],
            [Warning::CostChanged { difference }] if (difference - 0.006).abs() < 1e-9
        ));
    }

    #[test]
    fn a_change_of_speed_is_told_from_noise() {
        let mut fresh = example();
        fresh.ns_per_iteration *= 1.02;
        fresh.undisturbed_ns_per_iteration *= 1.02;
        assert!(matches!(
            compare(&example(), &fresh, TOLERANCE)[..],
            [Warning::SpeedChanged { .. }]
        ));
    }

    #[test]
    fn lengths_that_disagree_raise_a_doubt() {
        assert_eq!(doubts(&example()), None);
        assert!(doubts(&Calibration { length_difference: -0.01, ..example() }).is_some());
    }
}
