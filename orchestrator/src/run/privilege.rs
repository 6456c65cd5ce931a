//! What a run needs privileges for, and what works without.

use kernel::cpuset::Cpusets;
use model::suite::{Emulator, EmulatorPlace, Experiment};
use nix::unistd::{AccessFlags, eaccess};

use super::plan::Plan;
use crate::{error::Refusal, host::Roots};

/// Why this process cannot make a partition and real-time threads; none where it can: as root, or
/// with the capability in groups that are delegated to it.
fn lacking(roots: &Roots) -> Option<String> {
    if !roots.may_schedule() {
        return Some("this process has no CAP_SYS_NICE".to_owned());
    }
    let mounts = roots.proc.text("mounts").unwrap_or_default();
    // Where there is no controller, preparing the stage says so.
    let root = Cpusets::find(&mounts).ok()?.root;
    let refused = eaccess(&root, AccessFlags::W_OK).err();
    refused.map(|error| format!("{}: {error}", root.display()))
}

/// What of an experiment needs privileges.
fn needs(experiment: &Experiment) -> Vec<&'static str> {
    let on_host = experiment.services.iter().any(|service| !service.tasks().is_empty());
    let probed = experiment.services.iter().any(|service| service.probe().is_some());
    let reserved = experiment.vms.iter().any(|vm| vm.reservation().is_some());
    let theirs = experiment.vms.iter().any(|vm| vm.found.is_some());
    let housekeeping = Emulator::Place(EmulatorPlace::Housekeeping);
    let shared = experiment.vms.iter().any(|vm| vm.emulator != housekeeping);
    [
        (on_host, "its tasks run in SCHED_FIFO on the host"),
        (probed, "its probe runs in SCHED_FIFO on the host"),
        (!experiment.loads.is_empty(), "its load runs in SCHED_FIFO"),
        (reserved, "it has a reservation"),
        (theirs, "it places the threads of a VM that somebody else started"),
        (shared, "it places QEMU's own threads"),
    ]
    .into_iter()
    .filter_map(|(needed, why)| needed.then_some(why))
    .collect()
}

/// What a run of `plan` does without for want of privileges; nothing where it has them.
///
/// # Errors
/// [`Refusal::Lacking`] where it cannot do without: which experiments, and which can.
pub(super) fn admit(plan: &Plan) -> Result<Option<String>, Refusal> {
    let Some(why) = lacking(&Roots::default()) else { return Ok(None) };
    match refusal(plan, &why) {
        Some(refusal) => Err(refusal),
        None => Ok(Some(format!(
            "measured without privileges ({why}): others may run on the measured CPU, and no \
             sentinel tells when it was stalled"
        ))),
    }
}

fn refusal(plan: &Plan, why: &str) -> Option<Refusal> {
    let experiments = || plan.suite.experiments.iter();
    let needing = experiments().filter_map(|one| {
        let needs = needs(one);
        (!needs.is_empty()).then(|| format!("experiment `{}`: {}", one.name, needs.join(", ")))
    });
    let mut needing: Vec<String> = needing.collect();
    if plan.suite.host.quiet {
        needing.push("key `host.quiet`: interrupts are moved".to_owned());
    }
    if needing.is_empty() {
        return None;
    }
    let free: Vec<&str> =
        experiments().filter(|one| needs(one).is_empty()).map(|one| one.name.as_str()).collect();
    let remedy = match &free[..] {
        [] => "run as root".to_owned(),
        free => format!("run as root, or with --only {}", free.join(",")),
    };
    Some(Refusal::Lacking(format!("{why}; {}; {remedy}", needing.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::plan::tests::made_up;

    const SUITE: &str = r#"
name = "s"
[[experiment]]
name = "host"
where = "host"
tasks = ["30ms/150ms"]
[[experiment]]
name = "guest"
where = "guest"
tasks = ["30ms/150ms"]
[[experiment]]
name = "loaded"
where = "guest"
tasks = ["30ms/150ms"]
load = { tasks = ["50ms/120ms"], backlog = "drop" }
reservation = { budget = "28ms", period = "50ms" }
"#;

    #[test]
    fn what_needs_privileges_is_named_and_what_does_not_is_offered() {
        let text = refusal(&made_up(SUITE, &[]), "no CAP").unwrap().to_string();
        assert_eq!(
            text,
            "no CAP; experiment `host`: its tasks run in SCHED_FIFO on the host; experiment \
             `loaded`: its load runs in SCHED_FIFO, it has a reservation; run as root, or with \
             --only guest"
        );
        assert!(refusal(&made_up(SUITE, &["guest"]), "no CAP").is_none());
        let alone = refusal(&made_up(SUITE, &["host"]), "no CAP").unwrap().to_string();
        assert!(alone.ends_with("; run as root"), "{alone}");
    }
}
