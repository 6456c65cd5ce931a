//! What a repetition will probably take.

use std::time::Duration;

use model::suite::{self, Experiment, Work, Workload};

/// What booting, calibrating and collecting take beside the workload itself.
const GUEST_OVERHEAD: Duration = Duration::from_secs(6);
const HOST_OVERHEAD: Duration = Duration::from_secs(1);
/// The calibrations on both sides of a repetition of fixed work.
const FIXED_WORK_OVERHEAD: Duration = Duration::from_secs(3);

/// How long jobs released in time may still run after the end of the releases.
pub const DRAIN: Duration = Duration::from_secs(10);

/// A repetition with preparation and teardown, once.
pub(super) fn estimate(experiment: &Experiment) -> Duration {
    workload_time(experiment) + overhead(experiment)
}

/// How long the workloads take, all at once.
fn workload_time(experiment: &Experiment) -> Duration {
    let each = experiment.workloads().into_iter().map(|own| {
        let asked = own.web().and_then(|web| asking_time(own, web));
        asked.filter(|_| experiment.only().is_some()).unwrap_or(experiment.duration)
    });
    each.max().unwrap_or_default()
}

/// That of a closed loop depends on the service: guessed from what the paper's takes here, 0.1 s of
/// CPU time on the host, twice as much emulated, of which an unreserved guest gets a tenth under load.
/// None where clients go on until the experiment's duration has passed.
fn asking_time(workload: Workload, web: &suite::Web) -> Option<Duration> {
    let total = web.total()?;
    if let Some(rate) = web.rate {
        return Some(Duration::from_nanos(rate.offset_ns(total)));
    }
    let cost = match (workload.vm, workload.load(), workload.reservation()) {
        (None, None, _) => 0.1,
        (Some(_), None, None) => 0.2,
        (_, _, Some(settings)) => 0.2 / settings.reservation().bandwidth(),
        (None, Some(_), None) => 1.0,
        (Some(_), Some(_), None) => 2.0,
    };
    Some(Duration::from_secs_f64(cost * total as f64))
}

fn overhead(experiment: &Experiment) -> Duration {
    let backlogged = |own: &Workload| {
        own.load().is_some() && own.reservation().is_none() && !own.tasks().is_empty()
    };
    let drains = experiment.workloads().iter().any(backlogged);
    let calibrations = match experiment.work {
        Work::Fixed => FIXED_WORK_OVERHEAD,
        Work::Paced => Duration::ZERO,
    };
    let booted = experiment.vms.iter().filter(|vm| vm.found.is_none()).count();
    let guests = u32::try_from(booted).unwrap_or(u32::MAX);
    let places = if guests == 0 { HOST_OVERHEAD } else { GUEST_OVERHEAD * guests };
    let drain = if drains { DRAIN } else { Duration::ZERO };
    drain + calibrations + places
}
