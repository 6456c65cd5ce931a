//! What SCHED_DEADLINE can have of the measured CPU, and who gets it.

use std::time::Duration;

use model::{
    Mechanism, Placement, Reservation,
    suite::{Emulator, Experiment, ReservationSettings, Vm},
};

use crate::{mechanism::timer_server::enforcer, sentinel};

/// A sum of shares is a little off; the kernel counts in units of 2^-20.
const ROUNDING: f64 = 1e-6;

/// Shares of the measured CPU that a VM of an experiment reserves in SCHED_DEADLINE.
#[derive(Debug, Clone)]
struct Shares {
    /// The VM.
    name: String,
    /// Of its vCPUs.
    reservations: Vec<Reservation>,
    vcpus: f64,
    /// The controlling thread of `timer-server`.
    controller: f64,
    emulator: f64,
}

impl Shares {
    /// One for each VM that reserves something there.
    fn of(experiment: &Experiment) -> Vec<Self> {
        let several = share_by_weight(experiment);
        experiment.vms.iter().filter_map(|vm| Self::of_vm(vm, several)).collect()
    }

    /// Where `several` VMs share by weight, each surely has its least budget alone.
    fn of_vm(vm: &Vm, several: bool) -> Option<Self> {
        let emulator = match vm.emulator {
            Emulator::Reserved(own) => share(own.budget, own.period),
            Emulator::Place(_) => 0.0,
        };
        let admitted = |own: &&ReservationSettings| {
            own.mechanism.is_deadline()
                && own.placement != Some(Placement::AdmissionOff)
                && !stays(vm)
        };
        let Some(settings) = vm.reservation().filter(admitted) else {
            let off = vm.reservation().and_then(|own| own.placement);
            let counts = emulator > 0.0 && off != Some(Placement::AdmissionOff);
            let name = vm.name.clone();
            return counts.then_some(Self {
                name,
                reservations: Vec::new(),
                vcpus: 0.0,
                controller: 0.0,
                emulator,
            });
        };
        let reservation = settings.reservation();
        let controller = match settings.mechanism {
            Mechanism::TimerServer => enforcer::own_reservation(reservation),
            _ => (Duration::ZERO, Duration::MAX),
        };
        let controller = share(controller.0, controller.1);
        let counted = |own: &ReservationSettings| {
            let least = own.control.filter(|_| several);
            let least = least.and_then(|law| Reservation::new(law.min, own.period).ok());
            least.unwrap_or_else(|| own.reservation())
        };
        let all = vm.reservations().map(counted);
        let reservations: Vec<_> = all.collect();
        let vcpus = reservations.iter().map(|own| own.bandwidth()).sum();
        Some(Self { name: vm.name.clone(), reservations, vcpus, controller, emulator })
    }

    fn all(&self) -> f64 {
        self.vcpus + self.controller + self.emulator
    }

    /// What the parts are, for an error.
    fn parts(&self) -> String {
        let mut text = format!("vm `{}`", self.name);
        let own: Vec<_> = self.reservations.iter().map(Reservation::to_string).collect();
        if !own.is_empty() {
            text += &format!(" {} {:.3}", own.join(" and "), self.vcpus);
        }
        for (what, part) in [("controlling thread", self.controller), ("emulator", self.emulator)] {
            if part > 0.0 {
                text += &format!(", its {what} {part:.3}");
            }
        }
        text
    }
}

/// Whether several VMs have budgets that adapt: they share what there is.
fn share_by_weight(experiment: &Experiment) -> bool {
    experiment.vms.iter().filter(|vm| adapts(vm)).count() > 1
}

fn adapts(vm: &Vm) -> bool {
    vm.reservation().is_some_and(|own| own.control.is_some())
}

/// The share of the measured CPU that budgets which adapt may have together: what everything else,
/// and the sentinel with its least budget, leave of the kernel's limit.
pub(super) fn adaptable(experiment: &Experiment, limit: f64) -> f64 {
    let fixed = Experiment {
        vms: experiment.vms.iter().filter(|vm| !adapts(vm)).cloned().collect(),
        ..experiment.clone()
    };
    let emulators = Shares::of(experiment).iter().map(|own| own.emulator).sum::<f64>();
    let counted = Shares::of(&fixed).iter().map(|own| own.vcpus + own.controller).sum::<f64>();
    let left = limit - counted - emulators - share(sentinel::LEAST, sentinel::PERIOD);
    // The kernel counts in units of 2^-20, and rounds each part up.
    left - ROUNDING * (experiment.vms.len() + 1) as f64
}

fn share(budget: Duration, period: Duration) -> f64 {
    budget.as_secs_f64() / period.as_secs_f64()
}

/// All that is reserved on the measured CPU has to fit below the kernel's limit, the sentinel with
/// its least budget.
///
/// # Errors
/// What does not fit, with its parts.
pub(super) fn check(experiment: &Experiment, sentinel: bool, limit: f64) -> Result<(), String> {
    let shares = Shares::of(experiment);
    let least = if sentinel { share(sentinel::LEAST, sentinel::PERIOD) } else { 0.0 };
    let sum = shares.iter().map(Shares::all).sum::<f64>() + least;
    if shares.is_empty() || sum <= limit + ROUNDING {
        return Ok(());
    }
    let parts: Vec<String> = shares.iter().map(Shares::parts).collect();
    let watch = if sentinel { format!("stall sentinel {least:.3}; ") } else { String::new() };
    Err(format!(
        "experiment `{}`: {sum:.3} of the measured CPU is reserved, and the kernel admits {limit:.3} \
         (sched_rt_runtime_us, less the fair server's share): {watch}{}; lower the budgets by {:.3} \
         of the CPU in all",
        experiment.name,
        parts.join("; "),
        // Rounded up, so that the advice is enough.
        ((sum - limit) * 1e3).ceil() / 1e3
    ))
}

/// Whether a VM that runs already is not moved into the partition of the measured CPU.
pub(super) fn stays(vm: &Vm) -> bool {
    let placement = vm.reservation().and_then(|own| own.placement).unwrap_or_default();
    vm.found.is_some() && placement != Placement::Partition
}

/// Of a VM that runs already the suite does not say how many vCPUs it has; all of them have to fit
/// beside the sentinel with its least budget.
///
/// # Errors
/// What does not fit.
pub(super) fn beside_the_sentinel(
    reservation: Reservation,
    vcpus: usize,
    limit: f64,
) -> Result<(), String> {
    let (least, all) =
        (share(sentinel::LEAST, sentinel::PERIOD), reservation.bandwidth() * vcpus as f64);
    if all + least <= limit + ROUNDING {
        return Ok(());
    }
    Err(format!(
        "{vcpus} vCPUs of {reservation} each are {all:.3} of the measured CPU, and beside the stall \
         sentinel the kernel admits {:.3}; lower the budget",
        limit - least
    ))
}

/// The sentinel's budget at the most: what the experiment leaves of the kernel's limit. How many vCPUs
/// a VM has that runs already is not known here, and VMs that share by weight leave nothing.
pub(super) fn sentinel(experiment: &Experiment, limit: f64) -> Duration {
    let found = |vm: &Vm| vm.found.is_some() && Shares::of_vm(vm, false).is_some();
    if share_by_weight(experiment) || experiment.vms.iter().any(found) {
        return sentinel::LEAST;
    }
    let taken: f64 = Shares::of(experiment).iter().map(Shares::all).sum();
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
        assert!(
            error.contains("0.951 of the measured CPU")
                && error.contains("46ms/50ms 0.920")
                && error.ends_with("lower the budgets by 0.002 of the CPU in all"),
            "{error}"
        );
        assert!(check(suite.experiment("free").unwrap(), true, 0.95).is_ok());
    }

    #[test]
    fn every_vcpu_of_a_vm_that_runs_already_has_to_fit_beside_the_sentinel() {
        let text = r#"
            name = "s"
            [[experiment]]
            name = "e"
            [[experiment.vm]]
            name = "a"
            pid = 7
            vcpus = [{ budget = "8ms", period = "20ms" }]
            service = [{ web = { url = "http://127.0.0.1/", requests = 1 } }]
        "#;
        let of = |text: &str| suite::parse(text, "s.toml").unwrap().experiments.remove(0);
        assert_eq!(sentinel(&of(text), 0.95), sentinel::LEAST);
        let stays = of(&text.replace("pid = 7", "pid = 7\nplacement = \"global\""));
        assert!(Shares::of(&stays).is_empty() && sentinel(&stays, 0.95) > sentinel::LEAST);
        let reservation: Reservation = "8ms/20ms".parse().unwrap();
        assert!(beside_the_sentinel(reservation, 2, 0.95).is_ok());
        let error = beside_the_sentinel("9.4ms/20ms".parse().unwrap(), 2, 0.95).unwrap_err();
        assert!(error.contains("2 vCPUs of 9.4ms/20ms each are 0.940"), "{error}");
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
                    let watch = share(sentinel(reserved, limit), sentinel::PERIOD);
                    let all = Shares::of(reserved)[0].all() + watch;
                    assert!(all <= limit + 2.0 * ROUNDING, "{budget_us} {limit} {all}");
                }
            }
        }
        assert!(tried > 100, "{tried}");
    }

    #[test]
    fn of_several_vms_the_sum_counts_and_every_part_is_named() {
        let text = r#"
            name = "s"
            [[experiment]]
            name = "two"
            [[experiment.vm]]
            name = "control"
            vcpus = [{ budget = "32ms", period = "50ms" }]
            service = [{ tasks = ["30ms/150ms"] }]
            [[experiment.vm]]
            name = "shop"
            vcpus = [{ budget = "6ms", period = "20ms" }]
            emulator = { budget = "1ms", period = "50ms" }
            service = [{ tasks = ["1ms/100ms"] }]
        "#;
        let of =
            |text: &str| check(&suite::parse(text, "s.toml").unwrap().experiments[0], true, 0.95);
        let error = of(text).unwrap_err();
        for part in
            ["0.991", "control` 32ms/50ms 0.640", "shop` 6ms/20ms 0.300", "its emulator 0.020"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        of(&text.replace("6ms/", "3ms/").replace("\"6ms\"", "\"3ms\"")).unwrap();
        // Each alone would fit.
        let law = "control = \"lfs\", min = \"5ms\", max = \"32ms\"";
        let text =
            text.replace("budget = \"32ms\"", law).replace("budget = \"6ms\"", "budget = \"4ms\"");
        let error = of(&text.replace("\"4ms\"", "\"14ms\"")).unwrap_err();
        assert!(
            error.contains("control` 32ms/50ms 0.640"),
            "one alone counts its greatest: {error}"
        );
        let both = text.replace("budget = \"4ms\"", &law.replace("32ms", "16ms"));
        of(&both).unwrap();
        let experiment = &suite::parse(&both, "s.toml").unwrap().experiments[0];
        let left = adaptable(experiment, 0.95);
        assert!((left - (0.95 - 0.02 - 0.03125)).abs() < 1e-5, "{left}");
        assert_eq!(sentinel(experiment, 0.95), sentinel::LEAST);
        // Their least budgets have to fit.
        let error = of(&both.replace("\"5ms\"", "\"15ms\"")).unwrap_err();
        assert!(error.contains("shop` 15ms/20ms 0.750"), "{error}");
        of(&text.replace("budget = \"32ms\", period = \"50ms\"", "")).unwrap();
    }
}
