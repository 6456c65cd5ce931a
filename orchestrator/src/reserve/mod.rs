//! Reserves CPU for a virtual machine that somebody else started.

mod kept;
mod owner;
pub(crate) mod record;
mod target;
mod watch;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;
use kernel::sched::Policy;
use model::{
    Exit, Mechanism, Placement, Reservation, answer, print::Reader, say, suite::ReservationSettings,
};

pub use kept::release;
pub(crate) use kept::tell;
pub use target::Target;

use crate::{
    error::Refusal,
    host::{
        Actions, Cpus, Journal, Linux, Rehearsal, Roots, Stage, Stop, by_others, pause, state_dir,
    },
    mechanism::{
        self, Attached, Request, Vm,
        placement::{self, Asked, Chosen, Seats},
    },
};
use record::{Purpose, Record};
use watch::Watch;

/// What `orchestrator reserve` is told.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
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
}

/// What `--out` records.
const RESERVED: Purpose = Purpose {
    name: "reserve",
    what: "reservation",
    cpus: "a reservation leaves the host's CPUs as they are",
};

/// How often the machine is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Applies the reservation and holds it until a signal or the end of the machine; then everything
/// is as it was, unless it is to be kept.
///
/// # Errors
/// What the kernel, QEMU or libvirt refused.
pub fn hold(options: &Options) -> Result<Exit> {
    let stop = Stop::on_signals()?;
    let roots = Roots::default();
    let Options { mechanism, reservation, burst, .. } = *options;
    let request = Request { reservation, burst, ..Request::default() };
    mechanism::admit(mechanism, &request, &roots)?;
    if options.keep && mechanism == Mechanism::TimerServer {
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
    let vm = options.target.find(&roots, &stop)?;
    unreserved(&vm)?;
    let (chosen, cpus) = options.place(&roots, &vm)?;
    let request = Request { placement: chosen.placement, ..request };
    options.fits(&roots, &vm, &chosen)?;
    if options.dry_run {
        return rehearse(mechanism, &request, &chosen, cpus, &vm, stop);
    }
    let folder = options.out.as_deref().map(|out| Record::prepare(out, &roots)).transpose()?;
    let host = Box::<Linux>::default();
    let mut stage = Stage::bare(cpus, stop.clone(), host, &state_dir())?;
    set_up(&mut stage, &chosen)?;
    let attached = mechanism::attach(&mut stage, mechanism, &vm, &request)?;
    let asked = reservation.map(|asked| format!(" {asked}")).unwrap_or_default();
    let place = chosen.cpu.map(|cpu| format!(" on CPU {cpu}")).unwrap_or_default();
    say!("{mechanism}{asked}{place}");
    say!("placement {}: {}", chosen.placement, chosen.why);
    attached.facts.iter().for_each(|fact| say!("note: {fact}"));
    list(&roots, &vm)?;
    if options.keep && !options.watch {
        return keep(stage, &vm);
    }
    let settings = options.settings(chosen.placement);
    let record = folder
        .map(|folder| Record::start(folder, &mut stage, &vm, RESERVED, settings))
        .transpose()?;
    stage.watch(Box::new(|change| say!("warning: {}", by_others(change))))?;
    match options.length {
        Some(length) => say!("held for {}", model::duration::format(length)),
        None => say!("held until Ctrl-C"),
    }
    let promised = reservation.filter(|_| mechanism.has_budget()).map(Reservation::bandwidth);
    let (ended, facts) = watched(options, &stage, &vm, promised, attached)?;
    if let Some(record) = record {
        say!("traced: reports supply {}", record.finish(facts)?.folder.display());
    }
    if options.keep && !ended {
        return keep(stage, &vm);
    }
    stage.finish()?;
    Ok(Exit::Done)
}

impl Options {
    /// For a reservation whose `(Q, P)` is not known yet.
    pub(crate) fn of(target: Target, mechanism: Mechanism, cpu: Option<u32>) -> Self {
        Self {
            target,
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
        }
    }

    /// Held and traced for `length`, into this new folder.
    pub(crate) fn traced(self, reservation: Reservation, length: Duration, out: PathBuf) -> Self {
        let reservation = Some(reservation);
        Self { reservation, length: Some(length), out: Some(out), ..self }
    }

    /// Chooses the placement, and with it the CPU.
    pub(crate) fn place(&self, roots: &Roots, vm: &Vm) -> Result<(Chosen, Cpus)> {
        let Self { mechanism, placement, cpu, .. } = *self;
        let cpus = Cpus::divide(&roots.sys, cpu)?;
        let seats = Seats::look(roots, vm)?;
        let chosen =
            placement::choose(&Asked { mechanism, placement, cpu }, cpus.measured, &seats)?;
        let cpus = match chosen.cpu {
            Some(cpu) => Cpus::divide(&roots.sys, Some(cpu))?,
            None => cpus,
        };
        Ok((chosen, cpus))
    }

    /// Refuses what SCHED_DEADLINE has no room for.
    fn fits(&self, roots: &Roots, vm: &Vm, chosen: &Chosen) -> Result<(), Refusal> {
        let wanted = self.reservation.filter(|_| self.mechanism.is_deadline());
        let Some(reservation) = wanted.filter(|_| chosen.placement != Placement::AdmissionOff)
        else {
            return Ok(());
        };
        let cpus = chosen.cpu.map(|cpu| vec![cpu]);
        let span = || placement::span(roots, *vm.vcpus.first()?);
        // Partitions of several CPUs are the kernel's to count.
        match cpus.or_else(|| span().filter(|_| chosen.placement == Placement::Global)) {
            Some(cpus) => mechanism::room::check(reservation, &vm.vcpus, &cpus, roots),
            None => Ok(()),
        }
    }

    /// As a suite would say it; none where nothing is promised.
    fn settings(&self, placement: Placement) -> Option<ReservationSettings> {
        let reservation = self.reservation.filter(|_| self.mechanism.has_budget())?;
        Some(ReservationSettings {
            budget: reservation.budget(),
            period: reservation.period(),
            mechanism: self.mechanism,
            burst: self.burst,
            placement: Some(placement),
        })
    }
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
            "vCPU thread {tid} is under SCHED_DEADLINE already: another program reserves for it, or \
             a reservation is kept (`orchestrator release` ends it)"
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
    request: &Request,
    chosen: &Chosen,
    cpus: Cpus,
    vm: &Vm,
    stop: Stop,
) -> Result<Exit> {
    let state = tempfile::tempdir()?;
    let host: Box<dyn Actions> = Box::<Rehearsal>::default();
    let mut stage = Stage::bare(cpus, stop, host, state.path())?;
    let mark = stage.guard.mark();
    answer!("placement {}: {}", chosen.placement, chosen.why)?;
    let rehearsed = set_up(&mut stage, chosen)
        .and_then(|()| mechanism::attach(&mut stage, mechanism, vm, request));
    // Nothing was done, so there is nothing to undo.
    stage.guard.forget_to(mark)?;
    for fact in rehearsed?.facts {
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
    promised: Option<f64>,
    mut attached: Attached,
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
        if enforced && let Err(error) = attached.check() {
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
    if !enforced {
        return Ok((ended, attached.facts));
    }
    let known = attached.facts.len();
    let facts = attached.finish()?;
    facts.iter().skip(known).for_each(|fact| say!("{fact}"));
    Ok((ended, facts))
}

fn keep(stage: Stage, vm: &Vm) -> Result<Exit> {
    stage.keep(vm.pid)?;
    say!("kept; `orchestrator release --pid {}` undoes it", vm.pid);
    Ok(Exit::Done)
}
