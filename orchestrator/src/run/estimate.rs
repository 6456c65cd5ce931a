//! What a repetition will probably take.

use std::time::Duration;

use model::suite::{self, Experiment, Work, Workload};

use super::warm;

/// What booting or entering, calibrating and collecting take beside the workload itself.
const GUEST_OVERHEAD: Duration = Duration::from_secs(6);
/// What a distribution on a disk of the user's takes to boot, emulated, with all its services.
const DISK_BOOT: Duration = Duration::from_secs(150);
const HOST_OVERHEAD: Duration = Duration::from_secs(1);
/// The calibrations on both sides of a repetition of fixed work.
const FIXED_WORK_OVERHEAD: Duration = Duration::from_secs(3);

/// How long jobs released in time may still run after the end of the releases.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Repetitions of these experiments, in this order, with preparation and teardown, each once.
pub(super) fn estimates<'a>(order: impl IntoIterator<Item = &'a Experiment>) -> Vec<Duration> {
    let mut kept: Option<&Experiment> = None;
    let mut of = |own: &'a Experiment| {
        let is_kept = warm::is_kept(own);
        let is_warm = is_kept && kept.is_some_and(|kept| warm::do_for(kept, own));
        kept = if is_kept { Some(own) } else { kept };
        estimate(own, is_warm)
    };
    order.into_iter().map(&mut of).collect()
}

/// `is_warm`: its machines run already.
fn estimate(experiment: &Experiment, is_warm: bool) -> Duration {
    let disks = experiment.vms.iter().filter(|vm| vm.system.disk().is_some()).count();
    let boots = if is_warm { 0 } else { u32::try_from(disks).unwrap_or(u32::MAX) };
    workload_time(experiment) + overhead(experiment) + DISK_BOOT * boots
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
    let prepared = |vm: &&suite::Vm| vm.found.is_none() || vm.way_in.is_some();
    let prepared = experiment.vms.iter().filter(prepared).count();
    let guests = u32::try_from(prepared).unwrap_or(u32::MAX);
    let places = if guests == 0 { HOST_OVERHEAD } else { GUEST_OVERHEAD * guests };
    let drain = if drains { DRAIN } else { Duration::ZERO };
    drain + calibrations + places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_booted_once_for_all_that_follows_in_it() {
        let one = |name: &str, keys: &str| {
            format!(
                "[[experiment]]\nname = \"{name}\"\nwhere = \"guest\"\n\
                 tasks = [\"1ms/9ms\"]\nduration = \"30s\"\n{keys}\n"
            )
        };
        let reserved = "disk = \"a\"\nreservation = { budget = \"3ms\", period = \"9ms\" }";
        let text = [
            one("free", "disk = \"a\""),
            one("built-in", ""),
            one("reserved", reserved),
            one("other", "disk = \"b\""),
            one("again", "disk = \"a\""),
        ];
        let suite = suite::parse(&format!("name = \"s\"\n{}", text.concat()), "s.toml").unwrap();
        let seconds: Vec<u64> =
            estimates(&suite.experiments).into_iter().map(|own| own.as_secs()).collect();
        assert_eq!(seconds, [186, 36, 36, 186, 186]);
    }
}
