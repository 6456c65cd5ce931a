//! Reserves CPU for a virtual machine that somebody else started.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use model::{Exit, Mechanism, Reservation};

use crate::{
    error::Refusal,
    guest::Qmp,
    host::{Cpus, Roots, Stage, Stop, pause},
    mechanism::{self, Vm},
};

/// Which virtual machine.
#[derive(Debug, Clone)]
pub enum Target {
    /// By QEMU's process.
    Pid(i32),
    /// By QEMU's monitor.
    Qmp(PathBuf),
}

/// Applies the reservation and holds it until a signal or the end of the machine; then everything
/// is as it was.
///
/// # Errors
/// What the kernel or QEMU refused.
pub fn until_stopped(
    target: &Target,
    reservation: Reservation,
    mechanism: Mechanism,
    cpu: Option<u32>,
) -> Result<Exit> {
    let stop = Stop::on_signals()?;
    let roots = Roots::default();
    let vm = threads(target, &roots, &stop)?;
    let cpus = Cpus::divide(&roots.sys, cpu)?;
    let mut stage = Stage::prepare(cpus, stop.clone())?;
    let _attached = mechanism::attach(&mut stage, mechanism, &vm, &reservation.into())?;
    for tid in &vm.vcpus {
        let name = roots.proc.name(*tid).unwrap_or_default();
        eprintln!(
            "thread {tid} ({name}): {mechanism} {reservation} on CPU {}",
            stage.cpus.measured
        );
    }
    eprintln!("held until Ctrl-C");
    while roots.proc.start_time(vm.pid).is_ok() {
        if pause(Duration::from_millis(200), &stop).is_err() {
            return Ok(Exit::Done);
        }
    }
    eprintln!("the virtual machine has ended");
    Ok(Exit::Done)
}

fn threads(target: &Target, roots: &Roots, stop: &Stop) -> Result<Vm> {
    match target {
        Target::Pid(pid) => by_name(*pid, roots),
        Target::Qmp(socket) => {
            let mut qmp = Qmp::connect(socket, Duration::from_secs(5), stop.flag())?;
            let vcpus = qmp.vcpu_threads(stop.flag())?;
            let first = vcpus.first().context("QEMU has no vCPU threads")?;
            let pid = roots
                .proc
                .text(&format!("{first}/status"))?
                .lines()
                .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
                .context("the vCPU threads have no process")?;
            Ok(Vm { pid, vcpus })
        }
    }
}

/// vCPU threads are named `CPU n/KVM`, `CPU n/TCG` or `ALL CPUs/TCG`, where QEMU names its threads.
fn by_name(pid: i32, roots: &Roots) -> Result<Vm> {
    let threads = roots
        .proc
        .threads(pid)
        .map_err(|error| Refusal::Usage(format!("--pid: there is no process {pid} ({error})")))?;
    let vcpus: Vec<_> = threads
        .into_iter()
        .filter(|&tid| {
            roots.proc.name(tid).is_ok_and(|name| name.ends_with("/KVM") || name.ends_with("/TCG"))
        })
        .collect();
    if vcpus.is_empty() {
        bail!(Refusal::Usage(format!(
            "--pid: process {pid} has no thread that is named as a vCPU; start QEMU with \
             `-name …,debug-threads=on`, or give its QMP socket with --qmp"
        )));
    }
    Ok(Vm { pid, vcpus })
}
