//! Reserves CPU for a virtual machine that somebody else started.

mod kept;
mod target;
mod watch;

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use model::{Exit, Mechanism, Reservation, print::Reader};

pub use kept::release;
pub use target::Target;

use crate::{
    error::Refusal,
    host::{Cpus, Roots, Stage, Stop, pause},
    mechanism::{self, Attached, Request, Vm},
};
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
    /// How much of an unused quota may be saved up (cfs-quota, cfs-quota-weight)
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = model::duration::parse)]
    burst: Duration,
    /// The CPU to reserve on; the last by default
    #[arg(long)]
    cpu: Option<u32>,
    /// Show every second what was delivered of what was promised
    #[arg(long)]
    watch: bool,
    /// Leave the reservation when this ends; `orchestrator release` undoes it
    #[arg(long)]
    keep: bool,
}

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
    let request = Request { reservation, burst };
    mechanism::admit(mechanism, &request, &roots)?;
    if options.keep && mechanism == Mechanism::TimerServer {
        return Err(Refusal::Usage(
            "--keep: `timer-server` needs a process that stays; leave out --keep, or use \
             `deadline`"
                .to_owned(),
        )
        .into());
    }
    let vm = options.target.find(&roots, &stop)?;
    let cpus = Cpus::divide(&roots.sys, options.cpu)?;
    let mut stage = Stage::prepare(cpus, stop.clone())?;
    let attached = mechanism::attach(&mut stage, mechanism, &vm, &request)?;
    let asked = reservation.map(|asked| format!(" {asked}")).unwrap_or_default();
    model::say!("{mechanism}{asked} on CPU {}", stage.cpus.measured);
    attached.facts.iter().for_each(|fact| model::say!("note: {fact}"));
    list(&roots, &vm)?;
    if options.keep && !options.watch {
        return keep(stage, &vm);
    }
    model::say!("held until Ctrl-C");
    let promised = reservation.filter(|_| mechanism.has_budget()).map(Reservation::bandwidth);
    let ended = watched(options, &roots, &vm, promised, attached, &stop)?;
    if options.keep && !ended {
        return keep(stage, &vm);
    }
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
        model::say!("thread {tid} ({name}): {role}, {}, CPUs {cpus}", now.policy);
    }
    Ok(())
}

/// Looks at the machine until a signal comes, or until it has ended: then true.
fn watched(
    options: &Options,
    roots: &Roots,
    vm: &Vm,
    promised: Option<f64>,
    mut attached: Attached,
    stop: &Stop,
) -> Result<bool> {
    let mut watch = Watch::start(roots.proc.clone(), vm, promised)?;
    let mut enforced = true;
    let ended = loop {
        if pause(INTERVAL, stop).is_err() {
            break false;
        }
        let Ok(seen) = watch.look() else { break true };
        for thread in &seen.appeared {
            model::say!("{thread}");
        }
        // Whoever closed the pipe has seen enough.
        if options.watch && model::answer!("{seen}")? == Reader::Gone {
            break false;
        }
        if enforced && let Err(error) = attached.check() {
            if !watch.is_alive() {
                break true;
            }
            enforced = false;
            model::say!("warning: {error:#}");
        }
    };
    if options.watch {
        model::answer!("{}", watch.summary())?;
    }
    if ended {
        model::say!("the virtual machine has ended");
    }
    if enforced {
        let known = attached.facts.len();
        attached.finish()?.iter().skip(known).for_each(|fact| model::say!("{fact}"));
    }
    Ok(ended)
}

fn keep(stage: Stage, vm: &Vm) -> Result<Exit> {
    stage.keep(vm.pid)?;
    model::say!("kept; `orchestrator release --pid {}` undoes it", vm.pid);
    Ok(Exit::Done)
}
