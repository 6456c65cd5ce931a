//! What SCHED_DEADLINE can have of each measured CPU, and whether it is enough.

use std::time::Duration;

use model::{
    Reservation,
    suite::{Experiment, Vm},
};

use super::shares::{Place, Shares, adapts, real_time, share, share_by_weight};
use crate::{
    host::{Cpus, SHARED_LIMIT},
    sentinel,
};

/// A sum of shares is a little off; the kernel counts in units of 2^-20.
const ROUNDING: f64 = 1e-6;

/// All that is reserved on a measured CPU has to fit below the kernel's limit, the sentinel with its
/// least budget; where no CPU is left for everything else, together with the host's real-time tasks,
/// below [`SHARED_LIMIT`].
///
/// # Errors
/// What does not fit, with its CPU and its parts.
pub(super) fn check(
    experiment: &Experiment,
    sentinel: bool,
    cpus: &Cpus,
    limit: f64,
) -> Result<(), String> {
    let on = |&cpu: &u32| on_cpu(experiment, sentinel, Place { cpus, cpu }, limit);
    cpus.measured
        .iter()
        .try_for_each(on)
        .map_err(|text| format!("experiment `{}`: {text}", experiment.name))
}

fn on_cpu(experiment: &Experiment, sentinel: bool, place: Place, limit: f64) -> Result<(), String> {
    let (cpu, shares) = (place.cpu, Shares::of(experiment, place));
    let least = if sentinel { share(sentinel::LEAST, sentinel::PERIOD) } else { 0.0 };
    let watch = sentinel.then(|| format!("stall sentinel {least:.3}"));
    let reserved = shares.iter().map(Shares::all).sum::<f64>() + least;
    let mut parts: Vec<String> = watch.into_iter().collect();
    parts.extend(shares.iter().map(Shares::parts));
    if !shares.is_empty() && reserved > limit + ROUNDING {
        return Err(format!(
            "{reserved:.3} of CPU {cpu} is reserved, and the kernel admits {limit:.3} \
             (sched_rt_runtime_us, less the fair server's share): {}; lower the budgets by {:.3} \
             of the CPU in all",
            parts.join("; "),
            more_than(reserved, limit)
        ));
    }
    let before_others = real_time(experiment, place);
    let taken = reserved + before_others.iter().map(|(_, share)| share).sum::<f64>();
    if place.cpus.shared().is_none() || taken <= SHARED_LIMIT + ROUNDING {
        return Ok(());
    }
    parts.extend(before_others.iter().map(|(what, share)| format!("{what} {share:.3}")));
    Err(format!(
        "{taken:.3} of CPU {cpu} is taken before ordinary threads, and at most {SHARED_LIMIT} may be \
         where every CPU is measured and none is left for everything else: {}; lower them by {:.3} of \
         the CPU in all, or measure fewer CPUs (`host.measured_cpus`)",
        parts.join("; "),
        more_than(taken, SHARED_LIMIT)
    ))
}

/// Rounded up, so that the advice is enough.
fn more_than(sum: f64, limit: f64) -> f64 {
    ((sum - limit) * 1e3).ceil() / 1e3
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
        "{vcpus} vCPUs of {reservation} each are {all:.3} of a CPU, and beside the stall \
         sentinel the kernel admits {:.3}; lower the budget",
        limit - least
    ))
}

/// The budget at the most of the sentinel on a measured CPU: what the experiment leaves of the limit
/// there. How many vCPUs a VM has that runs already is not known here, and VMs that share by weight
/// leave nothing.
pub(super) fn sentinel(experiment: &Experiment, cpus: &Cpus, cpu: u32, limit: f64) -> Duration {
    let place = Place { cpus, cpu };
    let found = |vm: &Vm| vm.found.is_some() && Shares::of_vm(vm, place, false).is_some();
    if share_by_weight(experiment, place) || experiment.vms.iter().any(found) {
        return sentinel::LEAST;
    }
    let reserved: f64 = Shares::of(experiment, place).iter().map(Shares::all).sum();
    let left = reservable(experiment, place, limit) - reserved;
    // Whole microseconds, so that rounding up is no matter for the kernel.
    let left_us = (left.max(0.0) * sentinel::PERIOD.as_secs_f64() * 1e6 + 1e-3).floor();
    Duration::from_micros(left_us as u64).clamp(sentinel::LEAST, sentinel::MOST)
}

/// What may be reserved on a CPU: all that the kernel admits, or what the rest of its real-time threads
/// leave where no CPU is left for everything else.
fn reservable(experiment: &Experiment, place: Place, limit: f64) -> f64 {
    let before_others = real_time(experiment, place).iter().map(|(_, share)| share).sum::<f64>();
    place.cpus.shared().map_or(limit, |_| SHARED_LIMIT - before_others)
}

/// The share of a measured CPU that budgets which adapt may have there together: what everything else,
/// and the sentinel with its least budget, leave.
pub(super) fn adaptable(experiment: &Experiment, cpus: &Cpus, cpu: u32, limit: f64) -> f64 {
    let place = Place { cpus, cpu };
    let named = |name: &str| experiment.vms.iter().find(|vm| vm.name == name);
    let fixed = |own: &Shares| own.fixed(named(own.name()).is_some_and(|vm| adapts(vm, place)));
    let fixed: f64 = Shares::of(experiment, place).iter().map(fixed).sum();
    let watch = share(sentinel::LEAST, sentinel::PERIOD);
    // The kernel counts in units of 2^-20, and rounds each part up.
    let rounding = ROUNDING * (experiment.vms.len() + 1) as f64;
    reservable(experiment, place, limit) - fixed - watch - rounding
}

#[cfg(test)]
mod tests;
