//! The rules of a suite that its types cannot say; each is broken with one sentence.

use std::{collections::HashSet, time::Duration};

use super::{
    Emulator, Experiment, Network, Probe, ReservationSettings, Service, ServiceKind, Suite, Vm,
    Workload, guest_clock,
    serving::{self, Where},
    vcpus,
};
use crate::{Mechanism, Placement, Reservation};

pub(super) fn suite(suite: &Suite) -> Result<(), String> {
    name("name", &suite.name)?;
    if suite.experiments.is_empty() {
        return Err("there is no [[experiment]]; a suite has at least one".to_owned());
    }
    if !(0.0..=1.0).contains(&suite.noise.max_stalled) {
        return Err(format!(
            "key `noise.max_stalled` is {}; it is a share between 0 and 1",
            suite.noise.max_stalled
        ));
    }
    memory("guest.memory_mib", suite.guest.memory_mib)?;
    if !(32..=2047).contains(&suite.guest.translation_mib) {
        return Err(format!(
            "key `guest.translation_mib` is {}; it is from 32 to 2047, and 1024 where absent",
            suite.guest.translation_mib
        ));
    }
    if let Network::Tap(tap) = &suite.guest.network {
        tap.interface().map_err(|message| format!("key `guest.network`: {message}"))?;
    }
    let mut seen = HashSet::new();
    for one in &suite.experiments {
        if !seen.insert(&one.name) {
            return Err(format!("experiment `{}` is there twice; names are unique", one.name));
        }
        experiment(one)
            .and_then(|()| serving::reachable(one, &suite.guest.network))
            .map_err(|message| format!("experiment `{}`: {message}", one.name))?;
    }
    Ok(())
}

fn memory(key: &str, mib: u32) -> Result<(), String> {
    if (64..=1 << 20).contains(&mib) {
        return Ok(());
    }
    Err(format!("key `{key}` is {mib}; a guest needs at least 64 MiB"))
}

/// Names become folders, so they hold nothing that a path could mistake.
fn name(key: &str, name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) || name.starts_with('-') {
        return Err(format!(
            "key `{key}` is `{name}`; use 1 to 64 letters, digits, `-` and `_`, not starting with `-`"
        ));
    }
    Ok(())
}

/// What the host is called in the names of files beside those of VMs.
const HOST: &str = "host";

pub(super) fn experiment(experiment: &Experiment) -> Result<(), String> {
    name("name", &experiment.name)?;
    if experiment.repetitions == 0 {
        return Err("key `repetitions` is 0; it is at least 1".to_owned());
    }
    loads(experiment)?;
    surge(experiment)?;
    if !experiment.workloads().iter().any(|own| own.measures() || own.probe().is_some()) {
        return Err("key `tasks` is missing or empty; give at least one task, for example \
                    `tasks = [\"30ms/150ms\"]`, or a service, `web = {}`, or `probe = \"clock\"`"
            .to_owned());
    }
    if let Some(wild) = experiment.services.iter().find(|service| service.wild().is_some()) {
        return Err(format!(
            "service `{}`: `wild` is for a VM; on the host it would be everybody's",
            wild.name
        ));
    }
    vcpus::none(&experiment.services)?;
    services(&experiment.services, experiment, Where::Host)?;
    let mut seen = HashSet::new();
    for one in &experiment.vms {
        if one.name == HOST {
            return Err(format!(
                "vm `{HOST}`: the name stands for the host itself in the names of files; give the VM \
                 another"
            ));
        }
        if !seen.insert(&one.name) {
            return Err(format!("vm `{}` is there twice; names are unique", one.name));
        }
        let same = |other: &&Vm| other.found.is_some() && other.found == one.found;
        if let Some(first) = experiment.vms.iter().find(same).filter(|vm| vm.name != one.name) {
            return Err(format!(
                "vms `{}` and `{}` name the same running VM; keep one of them",
                first.name, one.name
            ));
        }
        // The only one of a short form is not named to its writer.
        let named = |message| match one.name == Vm::NAME && experiment.vms.len() == 1 {
            true => message,
            false => format!("vm `{}`: {message}", one.name),
        };
        vm(one, experiment).map_err(named)?;
        if experiment.services.iter().any(|service| service.name == one.name) {
            return Err(format!(
                "`{}` names a VM and a service of the host; give one of them another name",
                one.name
            ));
        }
    }
    Ok(())
}

/// Only tasks have execution times.
fn surge(experiment: &Experiment) -> Result<(), String> {
    let Some(surge) = experiment.surge else { return Ok(()) };
    let workloads = experiment.workloads();
    let mut with_tasks = workloads.iter().filter(|own| !own.tasks().is_empty()).peekable();
    if with_tasks.peek().is_none() {
        return Err("key `surge`: there are no tasks; it is for services of tasks".to_owned());
    }
    if surge.from() >= experiment.duration {
        return Err(format!(
            "key `surge` is `{surge}`, and the tasks are released for {} only; let it begin before, \
             or give a longer `duration`",
            crate::duration::format(experiment.duration)
        ));
    }
    let greatest = |own: &Workload| surge.greatest(own.tasks()).map(drop);
    with_tasks.try_for_each(greatest).map_err(|error| format!("key `surge`: {error}"))
}

fn loads(experiment: &Experiment) -> Result<(), String> {
    let mut seen = HashSet::new();
    for load in &experiment.loads {
        if load.tasks.is_empty() {
            return Err(
                "key `load.tasks` is empty; leave `load` out for an unloaded host".to_owned()
            );
        }
        if !seen.insert(load.cpu) {
            return Err("key `load`: a CPU has one load; put all its tasks into that".to_owned());
        }
    }
    Ok(())
}

fn vm(vm: &Vm, experiment: &Experiment) -> Result<(), String> {
    name("name", &vm.name)?;
    if let Some(mib) = vm.memory_mib {
        memory("memory_mib", mib)?;
    }
    vcpus::validate(vm)?;
    if vm.services.iter().filter(|service| service.web().is_some()).count() > 1 {
        return Err("key `service`: a VM has one web service at most; give the other a VM of its \
                    own"
        .to_owned());
    }
    vm.reservations().try_for_each(|own| reservation(own, vm.found.is_some()))?;
    if let Emulator::Reserved(own) = vm.emulator {
        Reservation::new(own.budget, own.period)
            .map_err(|error| format!("key `emulator`: {error}"))?;
    }
    guest_clock::validate(vm, experiment.duration)?;
    let place = match (&vm.found, vm.system.disk()) {
        (Some(_), _) => Where::Running,
        (None, Some(_)) => Where::Disk,
        (None, None) => Where::Guest,
    };
    enterable(vm)?;
    services(&vm.services, experiment, place)
}

/// Of a VM that runs already: what is to run in it can get there, and does no harm.
fn enterable(vm: &Vm) -> Result<(), String> {
    if vm.found.is_none() {
        return Ok(());
    }
    for service in &vm.services {
        let name = &service.name;
        match &service.kind {
            ServiceKind::Web(_) => {}
            ServiceKind::Wild(_) => {
                return Err(format!(
                    "service `{name}`: key `wild`: the VM runs already and is somebody else's; let a \
                     guest go wild that is booted for it (without `libvirt`, `qmp` and `pid`)"
                ));
            }
            ServiceKind::Tasks(_) | ServiceKind::Probe(_) if vm.way_in.is_none() => {
                return Err(format!(
                    "service `{name}`: there is no way into a VM that `qmp` or `pid` finds; give key \
                     `agent` (the socket of QEMU's guest agent) or key `ssh` (`\"root@192.168.122.10\"`)"
                ));
            }
            ServiceKind::Tasks(_) | ServiceKind::Probe(_) => {}
        }
    }
    Ok(())
}

fn reservation(settings: &ReservationSettings, runs_already: bool) -> Result<(), String> {
    Reservation::new(settings.budget, settings.period).map_err(|error| error.to_string())?;
    if settings.mechanism == Mechanism::None {
        return Err("key `reservation.mechanism` is `none`; leave `reservation` out".to_owned());
    }
    let has_quota = matches!(settings.mechanism, Mechanism::CfsQuota | Mechanism::CfsQuotaWeight);
    if !settings.burst.is_zero() && !has_quota {
        return Err(format!(
            "key `reservation.burst`: `{}` has no quota; it is for `cfs-quota` and \
             `cfs-quota-weight`",
            settings.mechanism
        ));
    }
    if settings.placement == Some(Placement::Slice) && !runs_already {
        return Err("key `reservation.placement`: `slice` is for VMs that somebody else started \
                    (`libvirt`, `qmp` or `pid`, or `orchestrator reserve`); a guest of a suite has no slice of its own, leave \
                    the key out"
            .to_owned());
    }
    Ok(())
}

/// The services of one place.
fn services(services: &[Service], experiment: &Experiment, place: Where) -> Result<(), String> {
    let mut seen = HashSet::new();
    for service in services {
        name("service.name", &service.name)?;
        if !seen.insert(&service.name) {
            return Err(format!(
                "service `{}` is there twice; give each a `name` of its own",
                service.name
            ));
        }
        match &service.kind {
            ServiceKind::Web(own) => {
                serving::web(own, place)?;
                if own.requests.is_none() && experiment.duration.is_zero() {
                    return Err(
                        "key `duration` is 0, and no `web.requests` ends the clients; give \
                                one of them, for example `duration = \"20s\"`"
                            .to_owned(),
                    );
                }
            }
            ServiceKind::Wild(_) => {}
            ServiceKind::Probe(own) => probe(*own, services, experiment)?,
            ServiceKind::Tasks(tasks) => {
                let longest = tasks.iter().map(|task| task.period()).max().unwrap_or_default();
                if experiment.duration < longest {
                    return Err(format!(
                        "key `duration` is {}, shorter than the longest period, {}",
                        crate::duration::format(experiment.duration),
                        crate::duration::format(longest)
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Two that read in a tight loop would be each other's gaps.
fn probe(probe: Probe, services: &[Service], experiment: &Experiment) -> Result<(), String> {
    if services.iter().filter(|service| service.probe() == Some(probe)).count() > 1 {
        return Err(format!(
            "key `probe`: a place has one probe of the {} at most; give the other a VM of its own",
            probe.name()
        ));
    }
    // A quarter of it is for timers, one every millisecond.
    if experiment.duration < Duration::from_millis(10) {
        return Err(format!(
            "key `duration` is {}: a probe would see nothing; give it at least 10ms, for example \
             `duration = \"10s\"`",
            crate::duration::format(experiment.duration)
        ));
    }
    Ok(())
}
