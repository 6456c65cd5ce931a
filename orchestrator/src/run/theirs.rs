//! A virtual machine that runs already: found, looked after, and left as it was.

use std::path::Path;

use anyhow::{Context, Result, bail};
use model::{
    Mechanism,
    suite::{self, Found, Server},
};

use super::{admission, served::Served, shares::stays};
use crate::{
    enter::Entered,
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
    /// partition of its measured CPU; without a partition it stays where it is.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn place(&self, stage: &mut Stage, vm: &suite::Vm) -> Result<()> {
        let request = Request { cpu: named(vm), ..Request::default() };
        mechanism::attach(stage, Mechanism::None, &self.vm, &request).map(drop)
    }

    /// Puts it under the reservation that `vm` says.
    ///
    /// # Errors
    /// What host or kernel refused.
    pub fn reserve(&self, stage: &mut Stage, vm: &suite::Vm) -> Result<Option<Attached>> {
        let Some(settings) = vm.reservation() else { return Ok(None) };
        let mut request = Request { cpu: named(vm), ..Request::from(settings) };
        if stays(vm) {
            // That of another VM of the experiment is none of this one's.
            stage.forget_domain();
            let chosen = self.choose(vm, &stage.roots, stage.cpus.of(named(vm)))?;
            placement::prepare(stage, &chosen)?;
            request.placement = chosen.placement;
        }
        mechanism::attach(stage, settings.mechanism, &self.vm, &request).map(Some)
    }

    /// The placement, by the rules that `orchestrator reserve` has.
    pub fn choose(&self, vm: &suite::Vm, roots: &Roots, measured: u32) -> Result<Chosen> {
        let settings = vm.reservation();
        let mechanism = settings.map_or(Mechanism::None, |own| own.mechanism);
        let placement = settings.and_then(|own| own.placement).unwrap_or_default();
        let cpu = (!stays(vm)).then_some(measured);
        let asked = Asked { mechanism, placement: Some(placement), cpu };
        let seats = Seats::look(roots, &self.vm)?;
        Ok(placement::choose(&asked, measured, &seats)?)
    }

    /// Whether its reservation has room, as far as looking tells.
    pub fn fits(&self, vm: &suite::Vm, roots: &Roots, measured: u32) -> Result<()> {
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

/// The CPU that the suite names for it: what it says of one vCPU it says of all.
pub(super) fn named(vm: &suite::Vm) -> Option<u32> {
    vm.vcpus.first().and_then(|own| own.cpu)
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

/// What names a machine is an option on the command line, and a key in a suite.
pub(super) fn as_keys(error: anyhow::Error) -> anyhow::Error {
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
        ("--cpu", "`host.measured_cpus`"),
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
