//! What SCHED_DEADLINE can have of the measured CPU, and who gets it.

use std::time::Duration;

use model::{
    Mechanism, Placement,
    suite::{Emulator, Experiment},
};

use crate::{helper::enforcer, sentinel};

/// A sum of shares is a little off; the kernel counts in units of 2^-20.
const ROUNDING: f64 = 1e-6;

/// Shares of the measured CPU that an experiment reserves in SCHED_DEADLINE.
#[derive(Debug, Clone, Copy)]
struct Shares {
    vm: f64,
    /// The controlling thread of `timer-server`.
    controller: f64,
    emulator: f64,
}

impl Shares {
    /// None where the experiment reserves nothing in SCHED_DEADLINE.
    fn of(experiment: &Experiment) -> Option<Self> {
        let settings = experiment.reservation.as_ref()?;
        let admission = settings.placement != Some(Placement::AdmissionOff);
        if !settings.mechanism.is_deadline() || !admission {
            return None;
        }
        let reservation = settings.reservation();
        let controller = match settings.mechanism {
            Mechanism::TimerServer => enforcer::own_reservation(reservation),
            _ => (Duration::ZERO, Duration::MAX),
        };
        let emulator = match experiment.emulator {
            Emulator::Reserved(own) => share(own.budget, own.period),
            Emulator::Place(_) => 0.0,
        };
        let controller = share(controller.0, controller.1);
        Some(Self { vm: reservation.bandwidth(), controller, emulator })
    }
}

fn share(budget: Duration, period: Duration) -> f64 {
    budget.as_secs_f64() / period.as_secs_f64()
}

/// All that is reserved on the measured CPU has to fit below the kernel's limit, the sentinel with
/// its least budget.
///
/// # Errors
/// What does not fit, with what would.
pub(super) fn check(experiment: &Experiment, sentinel: bool, limit: f64) -> Result<(), String> {
    let Some((shares, settings)) = Shares::of(experiment).zip(experiment.reservation.as_ref())
    else {
        return Ok(());
    };
    let least = if sentinel { share(sentinel::LEAST, sentinel::PERIOD) } else { 0.0 };
    let watch = least + shares.controller;
    let left = limit - watch - shares.emulator;
    if shares.vm <= left + ROUNDING {
        return Ok(());
    }
    Err(format!(
        "experiment `{}`: key `reservation`: {} is {:.3} of the CPU, above the admissible {left:.3} \
         (the kernel's limit {limit:.3}, less {watch:.3} for the stall sentinel and a controlling \
         thread, and {:.3} for the emulator)",
        experiment.name,
        settings.reservation(),
        shares.vm,
        shares.emulator
    ))
}

/// The sentinel's budget at the most: what the experiment leaves of the kernel's limit.
pub(super) fn sentinel(experiment: &Experiment, limit: f64) -> Duration {
    let taken = Shares::of(experiment).map_or(0.0, |own| own.vm + own.controller + own.emulator);
    // Whole microseconds, so that rounding up is no matter for the kernel.
    let left_us = ((limit - taken).max(0.0) * sentinel::PERIOD.as_secs_f64() * 1e6 + 1e-3).floor();
    Duration::from_micros(left_us as u64).clamp(sentinel::LEAST, sentinel::MOST)
}

#[cfg(test)]
mod tests {
    use model::{Suite, suite};

    use super::*;

    fn suite(mechanism: &str, budget_us: u64) -> Suite {
        let text = format!(
            r#"
            name = "s"
            [[experiment]]
            name = "free"
            where = "host"
            tasks = ["30ms/150ms"]
            [[experiment]]
            name = "reserved"
            where = "guest"
            tasks = ["30ms/150ms"]
            reservation = {{ budget = "{budget_us}us", period = "50ms", mechanism = "{mechanism}" }}
        "#
        );
        suite::parse(&text, "s.toml").unwrap()
    }

    #[test]
    fn what_does_not_fit_below_the_kernels_limit_is_refused() {
        let suite = suite("deadline", 46_000);
        let reserved = suite.experiment("reserved").unwrap();
        assert!(check(reserved, false, 0.95).is_ok());
        let error = check(reserved, true, 0.95).unwrap_err();
        assert!(error.contains("0.920") && error.contains("0.919"), "{error}");
        assert!(check(suite.experiment("free").unwrap(), true, 0.95).is_ok());
    }

    #[test]
    fn the_sentinel_gets_what_the_experiment_leaves() {
        let most = |budget_us, name: &str, limit| {
            sentinel(suite("deadline", budget_us).experiment(name).unwrap(), limit).as_micros()
        };
        assert_eq!(most(28_000, "reserved", 0.95), 200);
        assert_eq!(most(42_000, "reserved", 0.95), 88);
        assert_eq!(most(45_000, "reserved", 0.95), 40);
        assert_eq!(most(45_000, "free", 0.95), 200);
    }

    #[test]
    fn all_that_is_admitted_fits_together() {
        let mut tried = 0;
        for mechanism in ["deadline", "timer-server"] {
            for budget_us in (1_000..50_000).step_by(997) {
                for limit in [0.8, 0.9, 0.95, 1.0] {
                    let suite = suite(mechanism, budget_us);
                    let reserved = suite.experiment("reserved").unwrap();
                    if check(reserved, true, limit).is_err() {
                        continue;
                    }
                    tried += 1;
                    let shares = Shares::of(reserved).unwrap();
                    let watch = share(sentinel(reserved, limit), sentinel::PERIOD);
                    let all = shares.vm + shares.controller + watch;
                    assert!(all <= limit + 2.0 * ROUNDING, "{budget_us} {limit} {all}");
                }
            }
        }
        assert!(tried > 100, "{tried}");
    }
}
