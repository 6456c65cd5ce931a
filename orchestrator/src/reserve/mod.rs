//! Reserves CPU for a virtual machine that somebody else started.

mod adapted;
mod kept;
mod owner;
mod parts;
pub(crate) mod record;
mod target;
mod wanted;
mod watch;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;
use kernel::{affinity::Tid, sched::Policy};
use model::{
    Exit, Mechanism, Placement, Reservation, answer, print::Reader, reservations::Reserved, say,
    suite::ReservationSettings,
};

pub use kept::release;
pub(crate) use kept::tell;
pub use target::Target;

use crate::{
    adapt::Adapting,
    error::Refusal,
    host::{
        Actions, Cpus, Journal, Linux, Rehearsal, Roots, Stage, Stop, by_others, pause, state_dir,
    },
    mechanism::{
        self, Attached, Request, Vm,
        placement::{self, Asked, Chosen, Seats},
    },
};
use adapted::Adapted;
use parts::Part;
use record::{Purpose, Record};
use watch::Watch;

/// What `orchestrator reserve` is told.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Reserve what the file of configured domains says of the domain, and wait for it where it is
    /// just being started; what `orchestrator hook` makes libvirt start
    #[arg(long, requires = "domain", conflicts_with_all = ["reservation", "mechanism", "placement", "burst", "cpu", "vcpu", "keep"])]
    configured: bool,
    /// The file of configured domains [default: /etc/rt-vm-bench/reservations.toml]
    #[arg(long, value_name = "FILE", requires = "configured")]
    file: Option<PathBuf>,
    /// Budget/period of each vCPU, for example 28ms/50ms
    #[arg(long, value_name = "Q/P")]
    reservation: Option<Reservation>,
    /// How it is enforced; docs/mechanisms.md compares the mechanisms
    #[arg(long, default_value = "deadline")]
    mechanism: Mechanism,
    /// Where the vCPU threads are meanwhile: global, slice, partition, in-place or admission-off
    /// [default: the first that host and machine allow, never admission-off]
    #[arg(long)]
    placement: Option<Placement>,
    /// How much of an unused quota may be saved up (cfs-quota, cfs-quota-weight)
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = model::duration::parse)]
    burst: Duration,
    /// The CPU to reserve on [default: the one that the vCPUs are pinned to, else the last]
    #[arg(long)]
    cpu: Option<u32>,
    /// Show every second what was delivered of what was promised
    #[arg(long)]
    watch: bool,
    /// Leave the reservation when this ends; `orchestrator release` undoes it
    #[arg(long)]
    keep: bool,
    /// Trace what the vCPUs are supplied with, into this new folder, for `reports supply DIR`
    #[arg(long, value_name = "DIR", conflicts_with_all = ["keep", "dry_run"])]
    out: Option<PathBuf>,
    /// Print what would be done to the host, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// End after this time [default: at Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = model::duration::parse,
          conflicts_with_all = ["keep", "dry_run"])]
    length: Option<Duration>,
    #[command(flatten)]
    adapt: adapted::Adapt,
}

/// What `--out` records.
const RESERVED: Purpose = Purpose {
    name: "reserve",
    what: "reservation",
    cpus: "a reservation leaves the host's CPUs as they are",
};

/// What is to be done with which machine.
struct Planned {
    /// The machine, with the vCPUs that are reserved for.
    vm: Vm,
    parts: Vec<Part>,
    chosen: Chosen,
    cpus: Cpus,
}

/// How often the machine is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a configured domain may take to start, and how often it is looked for meanwhile.
const START_LIMIT: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(200);

/// [`hold`], and what is to be read afterwards.
///
/// # Errors
/// Those of [`hold`].
pub fn run(options: &Options) -> Result<Exit> {
    let exit = hold(options)?;
    // A domain that is not configured has nothing traced.
    if let Some(out) = options.out.as_deref().filter(|out| out.join("manifest.json").exists()) {
        say!("traced: reports supply {}", out.display());
    }
    Ok(exit)
}

/// Applies the reservation and holds it until a signal or the end of the machine; then everything
/// is as it was, unless it is to be kept.
///
/// # Errors
/// What the kernel, QEMU or libvirt refused.
pub fn hold(options: &Options) -> Result<Exit> {
    let stop = Stop::on_signals()?;
    let roots = Roots::default();
    let Some(wanted) = wanted::of(options)? else { return Ok(Exit::Done) };
    let base = Request { burst: options.burst, ..Request::default() };
    for share in &wanted.shares {
        let request = Request { reservation: share.reservation, ..base };
        mechanism::admit(wanted.mechanism, &request, &roots)?;
    }
    let adapted = options.adapt.adapted(&wanted, &roots)?;
    if options.keep && wanted.mechanism == Mechanism::TimerServer {
        return Err(Refusal::Usage(
            "--keep: `timer-server` needs a process that stays; leave out --keep, or use \
             `deadline`"
                .to_owned(),
        )
        .into());
    }
    if !options.dry_run && !roots.may_schedule() {
        let text = "reserving takes CAP_SYS_NICE, which this process has not; run as root, or look \
                    with --dry-run at what would be done";
        return Err(Refusal::Lacking(text.to_owned()).into());
    }
    let Planned { vm, parts, chosen, cpus } = options.look(&wanted, &base, &roots, &stop)?;
    if options.dry_run {
        if let Some(adapted) = &adapted {
            answer!("{}", adapted.sentence())?;
        }
        return rehearse(wanted.mechanism, &parts, &chosen, cpus, stop);
    }
    let folder = options.out.as_deref().map(|out| Record::prepare(out, &roots)).transpose()?;
    let host = Box::<Linux>::default();
    let mut stage = Stage::bare(cpus, stop.clone(), host, &state_dir())?;
    set_up(&mut stage, &chosen)?;
    let attached = parts::attach(&mut stage, wanted.mechanism, &parts)?;
    parts.iter().for_each(|part| say!("{}", part.sentence(wanted.mechanism, chosen.cpu)));
    say!("placement {}: {}", chosen.placement, chosen.why);
    parts::facts(&attached).iter().for_each(|fact| say!("note: {fact}"));
    list(&roots, &vm)?;
    if options.keep && !options.watch {
        return keep(stage, &vm);
    }
    let settings = settings(&wanted, options.burst, chosen.placement, adapted.as_ref());
    let record = folder
        .map(|folder| Record::start(folder, &mut stage, &vm, RESERVED, settings))
        .transpose()?;
    stage.watch(Box::new(|change| say!("warning: {}", by_others(change))))?;
    let adapting = adapted.map(|adapted| {
        say!("{}", adapted.sentence());
        adapted.start(&stage, &vm, record.as_ref().map(Record::repetition))
    });
    let adapting = adapting.transpose()?;
    match options.length {
        Some(length) => say!("held for {}", model::duration::format(length)),
        None if options.configured => say!("held until the domain ends"),
        None => say!("held until Ctrl-C"),
    }
    // What adapts is not promised.
    let promised = match &adapting {
        None => parts::promised(wanted.mechanism, &parts),
        Some(_) => BTreeMap::new(),
    };
    let (ended, facts) = watched(options, &stage, &vm, &promised, attached)?;
    let adapting = adapting.map_or(Ok(()), Adapting::finish);
    if let Some(record) = record {
        record.finish(facts)?;
    }
    if options.keep && !ended {
        return keep(stage, &vm);
    }
    stage.finish()?;
    adapting?;
    Ok(Exit::Done)
}

impl Options {
    /// For a reservation whose `(Q, P)` is not known yet.
    pub(crate) fn of(target: Target, mechanism: Mechanism, cpu: Option<u32>) -> Self {
        Self {
            target,
            configured: false,
            file: None,
            reservation: None,
            mechanism,
            placement: None,
            burst: Duration::ZERO,
            cpu,
            watch: false,
            keep: false,
            out: None,
            dry_run: false,
            length: None,
            adapt: adapted::Adapt::default(),
        }
    }

    /// Held and traced for `length`, into this new folder.
    pub(crate) fn traced(self, reservation: Reservation, length: Duration, out: PathBuf) -> Self {
        let reservation = Some(reservation);
        Self { reservation, length: Some(length), out: Some(out), ..self }
    }

    /// Finds the machine. A configured domain may be just being started: libvirt tells nothing of it
    /// until its hook has ended.
    fn find(&self, roots: &Roots, stop: &Stop) -> Result<Vm> {
        let give_up = Instant::now() + START_LIMIT;
        loop {
            match self.target.find(roots, stop) {
                Err(_) if self.configured && Instant::now() < give_up => pause(AGAIN, stop)?,
                found => return found,
            }
        }
    }

    /// Finds the machine and chooses what is done with it; nothing is touched.
    fn look(
        &self,
        wanted: &Reserved,
        base: &Request,
        roots: &Roots,
        stop: &Stop,
    ) -> Result<Planned> {
        let vm = self.find(roots, stop)?;
        let domain = self.target.domain().map(|name| format!("domain `{name}`"));
        let mut parts = parts::of(wanted, &vm, base, domain.as_deref().unwrap_or("--vcpu"))?;
        let vcpus = parts.iter().flat_map(|part| part.vm.vcpus.clone()).collect();
        let vm = Vm { vcpus, ..vm };
        unreserved(&vm)?;
        let (chosen, cpus) = self.place_for(wanted.mechanism, wanted.placement, roots, &vm)?;
        parts.iter_mut().for_each(|part| part.request.placement = chosen.placement);
        parts.iter().try_for_each(|part| part.fits(wanted.mechanism, roots, &chosen))?;
        Ok(Planned { vm, parts, chosen, cpus })
    }

    /// Where a machine would be, were it reserved for as the command line says.
    pub(crate) fn place(&self, roots: &Roots, vm: &Vm) -> Result<(Chosen, Cpus)> {
        self.place_for(self.mechanism, self.placement, roots, vm)
    }

    /// Chooses the placement, and with it the CPU.
    fn place_for(
        &self,
        mechanism: Mechanism,
        placement: Option<Placement>,
        roots: &Roots,
        vm: &Vm,
    ) -> Result<(Chosen, Cpus)> {
        let cpu = self.cpu;
        let cpus = Cpus::divide(&roots.sys, cpu.as_slice())?;
        let seats = Seats::look(roots, vm)?;
        let chosen = placement::choose(&Asked { mechanism, placement, cpu }, cpus.first(), &seats)?;
        let cpus = match chosen.cpu {
            Some(cpu) => Cpus::divide(&roots.sys, &[cpu])?,
            None => cpus,
        };
        Ok((chosen, cpus))
    }
}

/// As a suite would say it; none where nothing is promised, or not the same to all.
fn settings(
    wanted: &Reserved,
    burst: Duration,
    placement: Placement,
    adapted: Option<&Adapted>,
) -> Option<ReservationSettings> {
    let [share] = &wanted.shares[..] else { return None };
    let reservation = share.reservation.filter(|_| wanted.mechanism.has_budget())?;
    let (greatest, control) = adapted.map(Adapted::settings).unzip();
    Some(ReservationSettings {
        budget: greatest.unwrap_or_else(|| reservation.budget()),
        period: reservation.period(),
        mechanism: wanted.mechanism,
        burst,
        placement: Some(placement),
        control,
    })
}

/// Refuses a machine that is under a reservation already: the second would undo to the first.
pub(crate) fn unreserved(vm: &Vm) -> Result<()> {
    let kept = !Journal::kept(&state_dir(), Some(vm.pid))?.is_empty();
    let reserved = |&&tid: &&i32| {
        kernel::sched::get(tid).is_ok_and(|now| matches!(now.policy, Policy::Deadline { .. }))
    };
    // One whose policy cannot be put back is refused before anything is touched.
    vm.vcpus.iter().try_for_each(|&tid| kernel::sched::get(tid).map(drop))?;
    match vm.vcpus.iter().find(reserved) {
        Some(tid) => bail!(
            "vCPU thread {tid} is under SCHED_DEADLINE already: another program reserves for it, a \
             reservation is kept (`orchestrator release` ends it), or a run was killed (`orchestrator \
             restore` undoes what it left)"
        ),
        None if kept => {
            bail!("a reservation of process {} is kept; `orchestrator release` ends it", vm.pid)
        }
        None => Ok(()),
    }
}

/// Makes of the host what the placement needs.
fn set_up(stage: &mut Stage, chosen: &Chosen) -> Result<()> {
    if chosen.placement == Placement::Partition {
        stage.partition()?;
    }
    placement::prepare(stage, chosen)
}

/// Prints what would be done, and what of the machine stays as it is.
fn rehearse(
    mechanism: Mechanism,
    parts: &[Part],
    chosen: &Chosen,
    cpus: Cpus,
    stop: Stop,
) -> Result<Exit> {
    let state = tempfile::tempdir()?;
    let host: Box<dyn Actions> = Box::<Rehearsal>::default();
    let mut stage = Stage::bare(cpus, stop, host, state.path())?;
    let mark = stage.guard.mark();
    answer!("placement {}: {}", chosen.placement, chosen.why)?;
    let rehearsed =
        set_up(&mut stage, chosen).and_then(|()| parts::attach(&mut stage, mechanism, parts));
    // Nothing was done, so there is nothing to undo.
    stage.guard.forget_to(mark)?;
    for fact in parts::facts(&rehearsed?) {
        answer!("note: {fact}")?;
    }
    answer!("dry run: nothing was changed")?;
    Ok(Exit::Done)
}

/// Shows what every thread of the machine is and how it runs.
fn list(roots: &Roots, vm: &Vm) -> Result<()> {
    for tid in roots.proc.threads(vm.pid)? {
        // One that ends in this moment is not worth an error.
        let (Ok(name), Ok(now), Ok(cpus)) =
            (roots.proc.name(tid), kernel::sched::get(tid), kernel::affinity::get(tid))
        else {
            continue;
        };
        let role = if vm.vcpus.contains(&tid) {
            "vCPU"
        } else if tid == vm.pid {
            "main loop"
        } else {
            "other"
        };
        let cpus = kernel::affinity::format_list(&cpus);
        say!("thread {tid} ({name}): {role}, {}, CPUs {cpus}", now.policy);
    }
    Ok(())
}

/// Looks at the machine until a signal comes, or until it has ended: then true. With that, what the
/// mechanism has to say in the end.
fn watched(
    options: &Options,
    stage: &Stage,
    vm: &Vm,
    promised: &BTreeMap<Tid, f64>,
    mut attached: Vec<Attached>,
) -> Result<(bool, Vec<String>)> {
    let mut watch = Watch::start(stage.roots.proc.clone(), vm, promised)?;
    let mut enforced = true;
    let until = options.length.map(|length| Instant::now() + length);
    let ended = loop {
        if until.is_some_and(|until| Instant::now() >= until) {
            break false;
        }
        if pause(INTERVAL, &stage.stop).is_err() {
            break false;
        }
        let Ok(seen) = watch.look() else { break true };
        for thread in &seen.appeared {
            say!("{thread}");
        }
        // Whoever closed the pipe has seen enough.
        if options.watch && answer!("{seen}")? == Reader::Gone {
            break false;
        }
        if enforced && let Err(error) = attached.iter_mut().try_for_each(Attached::check) {
            if !watch.is_alive() {
                break true;
            }
            enforced = false;
            say!("warning: {error:#}");
        }
    };
    if options.watch {
        answer!("{}", watch.summary())?;
    }
    if ended {
        say!("the virtual machine has ended");
    }
    let mut all = parts::facts(&attached).into_iter().cloned().collect::<Vec<_>>();
    if !enforced {
        return Ok((ended, all));
    }
    for one in attached {
        let known = one.facts.len();
        let last = one.finish()?.split_off(known);
        last.iter().for_each(|fact| say!("{fact}"));
        all.extend(last);
    }
    Ok((ended, all))
}

fn keep(stage: Stage, vm: &Vm) -> Result<Exit> {
    stage.keep(vm.pid)?;
    say!("kept; `orchestrator release --pid {}` undoes it", vm.pid);
    Ok(Exit::Done)
}
