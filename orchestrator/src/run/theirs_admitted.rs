//! The VMs of a plan that run already, found and looked at before anything is touched.

use anyhow::{Result, anyhow};
use model::suite::{self, Experiment, Found};

use super::{
    plan::Plan,
    shares::stays,
    theirs::{Theirs, as_keys, named},
};
use crate::{
    enter,
    error::Refusal,
    host::{Roots, Stop},
    mechanism::placement::Chosen,
};

/// The VMs of a plan that run already, in its experiments.
fn all(plan: &Plan) -> impl Iterator<Item = (&Experiment, &suite::Vm, &Found)> {
    plan.possible().flat_map(|experiment| {
        experiment.vms.iter().filter_map(move |vm| Some((experiment, vm, vm.found.as_ref()?)))
    })
}

/// Where the reservation is on one CPU, that is the one which is measured.
fn on_measured(chosen: &Chosen, measured: u32) -> Result<(), Refusal> {
    match chosen.cpu.filter(|cpu| *cpu != measured) {
        None => Ok(()),
        Some(cpu) => Err(Refusal::Usage(format!(
            "its reservation would be on CPU {cpu}, and CPU {measured} is measured; give \
             `host.measured_cpus = [{cpu}]`"
        ))),
    }
}

/// Finds all the VMs of a plan that run already, before anything is touched; the first of them.
/// `parted`: the measured CPU will be a partition.
///
/// # Errors
/// [`Refusal`] for one that is not there, or cannot be measured as the suite says.
pub(super) fn admit(
    plan: &Plan,
    parted: bool,
    roots: &Roots,
    stop: &Stop,
) -> Result<Option<Theirs>> {
    let (mut first, mut knocked) = (None, Vec::new());
    for (experiment, vm, found) in all(plan) {
        let mut looked = || -> Result<Theirs> {
            let theirs = Theirs::find(found, roots, stop)?;
            let measured = plan.cpus.of(named(vm));
            // Without a partition an ordinary VM stays as it is.
            if parted || vm.reservation().is_some() {
                let chosen = theirs.choose(vm, roots, measured);
                on_measured(&chosen.map_err(|error| as_keys(otherwise(error, vm)))?, measured)?;
            }
            theirs.fits(vm, roots, measured)?;
            if let Some(way) = vm.way_in.as_ref().filter(|way| !knocked.contains(&(found, *way))) {
                enter::knock(found, way, stop)?;
                knocked.push((found, way));
            }
            Ok(theirs)
        };
        let whose = |text| format!("experiment `{}`: vm `{}`: {text}", experiment.name, vm.name);
        let looked = looked().map_err(|error| match error.downcast::<Refusal>() {
            Ok(Refusal::Usage(text)) => anyhow!(Refusal::Usage(whose(text))),
            Ok(Refusal::Lacking(text)) => anyhow!(Refusal::Lacking(whose(text))),
            Ok(other) => other.into(),
            // A socket or a process that is not there, for example.
            Err(error) => anyhow!(Refusal::Usage(whose(format!("{error:#}")))),
        })?;
        first.get_or_insert(looked);
    }
    Ok(first)
}

/// Why a plan is carried out without a partition of the measured CPU, if it is: its VMs stay where
/// they are.
///
/// # Errors
/// [`Refusal::Usage`] where others need that partition.
pub(super) fn without_partition(plan: &Plan) -> Result<Option<String>, Refusal> {
    let Some((experiment, vm, _)) = all(plan).find(|(_, vm, _)| stays(vm)) else {
        return Ok(None);
    };
    let placement = vm.reservation().and_then(|own| own.placement).unwrap_or_default();
    let others = plan.possible().find(|one| {
        let moved =
            |vm: &suite::Vm| vm.found.is_none() || (vm.reservation().is_some() && !stays(vm));
        one.vms.iter().any(moved)
    });
    if let Some(other) = others {
        let remedy = match other.name == experiment.name {
            true => "measure its VMs in experiments of suites of their own",
            false => "put the two into suites of their own, or choose one with --only",
        };
        return Err(Refusal::Usage(format!(
            "experiment `{}`: vm `{}`: key `placement` is `{placement}`, which leaves the VM where it \
             is, without a partition of the measured CPU, and experiment `{}` needs that; {remedy}",
            experiment.name, vm.name, other.name
        )));
    }
    Ok(Some(format!(
        "measured without a partition of {} (placement `{placement}`): others may run there, and no \
         sentinel tells when it was stalled",
        plan.cpus.names()
    )))
}

/// In a suite the way out of a partition that is not possible is another placement of its own.
fn otherwise(error: anyhow::Error, vm: &suite::Vm) -> anyhow::Error {
    match error.downcast::<Refusal>() {
        Ok(Refusal::Lacking(text)) if !stays(vm) => {
            let why = text.split(';').next().unwrap_or(&text);
            Refusal::Lacking(format!(
                "{why}; give it a reservation with `placement = \"global\"` or another of \
                 docs/mechanisms.md that leaves the VM where it is"
            ))
            .into()
        }
        Ok(other) => other.into(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::plan::tests::made_up;

    fn suite(first: &str, second: &str) -> String {
        let one = |name: &str, vm: &str| {
            format!(
                "[[experiment]]\nname = \"{name}\"\n[[experiment.vm]]\nname = \"a\"\n{vm}\n\
                 service = [{{ web = {{ url = \"http://127.0.0.1/\" }} }}]\n"
            )
        };
        format!("name = \"s\"\n{}{}", one("x", first), one("y", second))
    }

    const RESERVED: &str = "pid = 7\nvcpus = [{ budget = \"3ms\", period = \"20ms\" }]";

    #[test]
    fn a_vm_that_stays_where_it_is_leaves_the_others_no_partition() {
        let stays = format!("{RESERVED}\nplacement = \"global\"");
        let free = "pid = 7\nvcpus = [{}]";
        let alone = without_partition(&made_up(&suite(&stays, free), &[])).unwrap().unwrap();
        assert!(alone.contains("placement `global`"), "{alone}");
        let refused = without_partition(&made_up(&suite(&stays, RESERVED), &[])).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("`placement` is `global`") && said.contains("`y` needs"), "{said}");
        assert_eq!(without_partition(&made_up(&suite(RESERVED, free), &[])).unwrap(), None);
    }

    #[test]
    fn a_vm_that_is_not_there_is_named_with_its_key() {
        let (roots, stop) = (Roots::default(), Stop::default());
        let plan = made_up(&suite("pid = 2147483647\nvcpus = [{}]", RESERVED), &[]);
        let error = admit(&plan, true, &roots, &stop).unwrap_err().to_string();
        let begin = "experiment `x`: vm `a`: key `pid`: there is no process 2147483647";
        assert!(error.starts_with(begin), "{error}");
        let socket = made_up(&suite("qmp = \"/no/such/socket\"\nvcpus = [{}]", RESERVED), &[]);
        let error = admit(&socket, true, &roots, &stop).unwrap_err();
        assert!(error.to_string().contains("/no/such/socket"), "{error}");
        assert_eq!(crate::error::exit_of(&error), model::Exit::Usage);
    }
}
