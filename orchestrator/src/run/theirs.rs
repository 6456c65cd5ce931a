//! A virtual machine that runs already: found, looked after, and left as it was.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use model::{
    Mechanism,
    suite::{self, Experiment, Found, Server},
};

use super::{
    admission::{self, stays},
    plan::Plan,
    served::Served,
};
use crate::{
    enter::{self, Entered},
    error::Refusal,
    guests::{Usage, kvm},
    host::{Roots, Stage, Stop, deadline_bandwidth_limit},
    mechanism::{
        self, Attached, Request, Vm,
        placement::{self, Asked, Chosen, Seats},
    },
    reserve::{self, Target},
    service,
};

/// A VM of somebody else's, as it was found.
#[derive(Debug, Clone)]
pub(super) struct Theirs {
    found: Found,
    /// Its process and vCPU threads.
    pub vm: Vm,
    /// When its process was started: another may have its number later.
    started: u64,
    kvm: bool,
}

impl Theirs {
    /// Finds it as `orchestrator reserve` does.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where there is none, or it is under a reservation already.
    pub fn find(found: &Found, roots: &Roots, stop: &Stop) -> Result<Self> {
        let vm = Target::of(found).find(roots, stop).map_err(as_keys)?;
        reserve::unreserved(&vm).map_err(|error| Refusal::Usage(format!("{error:#}")))?;
        let started = roots.proc.start_time(vm.pid).with_context(|| found.to_string())?;
        let accelerator = reserve::record::accelerator(roots, vm.pid);
        let kvm = accelerator.is_some_and(|own| own.name == "kvm");
        Ok(Self { found: found.clone(), vm, started, kvm })
    }

    /// Fails once it has ended.
    ///
    /// # Errors
    /// Which VM that is.
    pub fn still_there(&self, roots: &Roots) -> Result<()> {
        let pid = self.vm.pid;
        let same = roots.proc.start_time(pid).is_ok_and(|started| started == self.started);
        // One that was not waited for is still listed, and has no memory any more.
        let line = roots.proc.text(&format!("{pid}/cmdline")).unwrap_or_default();
        if same && !line.is_empty() {
            return Ok(());
        }
        bail!("the virtual machine ({}) has ended: process {pid} is gone", self.found)
    }

    /// What its threads have used until now, and what was stolen of it as its kernel sees it.
    pub fn usage(&self, roots: &Roots, guest_steal_ns: Option<u64>) -> Option<Usage> {
        let mut others = roots.proc.threads(self.vm.pid).ok()?;
        others.retain(|thread| !self.vm.vcpus.contains(thread));
        Some(Usage::of(roots, &self.vm, others, self.kvm)?.with_guest(guest_steal_ns))
    }

    /// Brings the bench's programs in, where something is to run in it.
    ///
    /// # Errors
    /// What did not work; nothing is left in it then.
    pub fn enter(&self, vm: &suite::Vm, logs: &Path, stop: &Stop) -> Result<Option<Entered>> {
        let Some(way) = &vm.way_in else { return Ok(None) };
        Entered::enter(&self.found, way, logs, stop).map(Some)
    }

    /// The steal time as its kernel sees it, where KVM tells it and there is a way in.
    pub fn guest_steal_ns(&self, entered: Option<&Entered>) -> Option<u64> {
        entered.filter(|_| self.kvm).and_then(|inside| kvm::guest_steal_ns(inside))
    }

    /// Puts its vCPU threads where an unreserved VM is measured: beside the host's load, in the
    /// partition of the measured CPU; without a partition it stays where it is.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn place(&self, stage: &mut Stage) -> Result<()> {
        mechanism::attach(stage, Mechanism::None, &self.vm, &Request::default()).map(drop)
    }

    /// Puts it under the reservation that `vm` says.
    ///
    /// # Errors
    /// What host or kernel refused.
    pub fn reserve(&self, stage: &mut Stage, vm: &suite::Vm) -> Result<Option<Attached>> {
        let Some(settings) = vm.reservation() else { return Ok(None) };
        let mut request = Request::from(settings);
        if stays(vm) {
            // That of another VM of the experiment is none of this one's.
            stage.forget_domain();
            let chosen = self.choose(vm, &stage.roots, stage.cpus.measured)?;
            placement::prepare(stage, &chosen)?;
            request.placement = chosen.placement;
        }
        mechanism::attach(stage, settings.mechanism, &self.vm, &request).map(Some)
    }

    /// The placement, by the rules that `orchestrator reserve` has.
    fn choose(&self, vm: &suite::Vm, roots: &Roots, measured: u32) -> Result<Chosen> {
        let settings = vm.reservation();
        let mechanism = settings.map_or(Mechanism::None, |own| own.mechanism);
        let placement = settings.and_then(|own| own.placement).unwrap_or_default();
        let cpu = (!stays(vm)).then_some(measured);
        let asked = Asked { mechanism, placement: Some(placement), cpu };
        let seats = Seats::look(roots, &self.vm)?;
        Ok(placement::choose(&asked, measured, &seats)?)
    }

    /// Whether its reservation has room, as far as looking tells.
    fn fits(&self, vm: &suite::Vm, roots: &Roots, measured: u32) -> Result<()> {
        let Some(settings) = vm.reservation().filter(|own| own.mechanism.is_deadline()) else {
            return Ok(());
        };
        let vcpus = &self.vm.vcpus;
        if stays(vm) {
            return Ok(());
        }
        let reservation = settings.reservation();
        mechanism::room::check(reservation, vcpus, &[measured], roots)?;
        admission::beside_the_sentinel(reservation, vcpus.len(), deadline_bandwidth_limit(roots))
            .map_err(|text| Refusal::Usage(text).into())
    }
}

/// Its service by URL, if it has one, once that has answered.
///
/// # Errors
/// The URL that nobody answers.
pub(super) fn served(
    vm: &suite::Vm,
    theirs: &Theirs,
    roots: &Roots,
    stop: &Stop,
) -> Result<Option<Served>> {
    let Some(web) = vm.services.iter().find_map(suite::Service::web) else { return Ok(None) };
    debug_assert!(matches!(web.server, Server::Url { .. }), "checked by suite::parse");
    let (targets, warm_up) = service::asked_by_url(web, stop, || theirs.still_there(roots))?;
    Ok(Some(Served::by_url(targets, warm_up, web)))
}

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
             `host.measured_cpu = {cpu}`"
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
            // Without a partition an ordinary VM stays as it is.
            if parted || vm.reservation().is_some() {
                let chosen = theirs.choose(vm, roots, plan.cpus.measured);
                on_measured(
                    &chosen.map_err(|error| as_keys(otherwise(error, vm)))?,
                    plan.cpus.measured,
                )?;
            }
            theirs.fits(vm, roots, plan.cpus.measured)?;
            if let Some(way) = vm.way_in.as_ref().filter(|way| !knocked.contains(&(found, *way))) {
                enter::knock(found, way, stop)?;
                knocked.push((found, way));
            }
            Ok(theirs)
        };
        let named = |text| format!("experiment `{}`: vm `{}`: {text}", experiment.name, vm.name);
        let looked = looked().map_err(|error| match error.downcast::<Refusal>() {
            Ok(Refusal::Usage(text)) => anyhow!(Refusal::Usage(named(text))),
            Ok(Refusal::Lacking(text)) => anyhow!(Refusal::Lacking(named(text))),
            Ok(other) => other.into(),
            // A socket or a process that is not there, for example.
            Err(error) => anyhow!(Refusal::Usage(named(format!("{error:#}")))),
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
        "measured without a partition of CPU {} (placement `{placement}`): others may run there, and no \
         sentinel tells when it was stalled",
        plan.cpus.measured
    )))
}

/// What names a machine is an option on the command line, and a key in a suite.
fn as_keys(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Refusal>() {
        Ok(Refusal::Usage(text)) => Refusal::Usage(keys(&text)).into(),
        Ok(Refusal::Lacking(text)) => Refusal::Lacking(keys(&text)).into(),
        Ok(other) => other.into(),
        Err(error) => error,
    }
}

fn keys(text: &str) -> String {
    let pairs = [
        ("`--placement admission-off`", "`placement = \"admission-off\"`"),
        ("`--placement slice`", "`placement = \"slice\"`"),
        ("`--placement in-place`", "`placement = \"in-place\"`"),
        ("`--placement global`", "`placement = \"global\"`"),
        ("`--mechanism cfs-quota`", "`mechanism = \"cfs-quota\"`"),
        ("leave --cpu out, or use ", "use "),
        ("--cpu", "`host.measured_cpu`"),
        (", or the threads with --tid", ""),
        (" or --tid", ""),
        ("--domain:", "key `libvirt`:"),
        ("--pid:", "key `pid`:"),
        ("--qmp:", "key `qmp`:"),
        ("--domain", "`libvirt`"),
        ("--pid", "`pid`"),
        ("--qmp", "`qmp`"),
    ];
    pairs.iter().fold(text.to_owned(), |text, (option, key)| text.replace(option, key))
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
