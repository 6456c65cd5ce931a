//! Which virtual machine, and which of its threads are vCPUs.

use std::{io, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::{
    error::Refusal,
    guest::{Qmp, vcpu_threads},
    host::{Roots, Stop},
    mechanism::Vm,
};

/// The ways to name a virtual machine.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// The process id of a QEMU
    #[arg(long)]
    pid: Option<i32>,
    /// The QMP socket of a QEMU
    #[arg(long, value_name = "SOCKET")]
    qmp: Option<PathBuf>,
    /// The name of a libvirt domain
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
}

const QMP_LIMIT: Duration = Duration::from_secs(5);

impl Target {
    /// Finds the machine's process and vCPU threads.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where there is no such machine, [`Refusal::Lacking`] where libvirt is to
    /// be asked and is not installed.
    pub fn find(&self, roots: &Roots, stop: &Stop) -> Result<Vm> {
        match self {
            Self { pid: Some(pid), .. } => by_name(*pid, roots),
            Self { qmp: Some(socket), .. } => {
                let mut qmp = Qmp::connect(socket, QMP_LIMIT, stop.flag())?;
                of_threads(qmp.vcpu_threads(stop.flag())?, roots)
            }
            Self { domain: Some(name), .. } => of_threads(ask_libvirt(name)?, roots),
            _ => bail!(Refusal::Usage("give --pid, --qmp or --domain".to_owned())),
        }
    }
}

fn of_threads(vcpus: Vec<i32>, roots: &Roots) -> Result<Vm> {
    let first = vcpus.first().context("QEMU has no vCPU threads")?;
    let pid = roots
        .proc
        .text(&format!("{first}/status"))?
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
        .context("the vCPU threads have no process")?;
    Ok(Vm { pid, vcpus })
}

/// libvirt holds QEMU's monitor itself, and passes commands on to it.
fn ask_libvirt(domain: &str) -> Result<Vec<i32>> {
    let output = Command::new("virsh")
        .args(["qemu-monitor-command", domain, r#"{"execute": "query-cpus-fast"}"#])
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Refusal::Lacking(
                "--domain: virsh is not installed; install libvirt-clients, or give --pid or --qmp"
                    .to_owned(),
            ),
            _ => Refusal::Lacking(format!("--domain: virsh cannot be started: {error}")),
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(Refusal::Usage(format!("--domain: virsh says: {}", said.trim())));
    }
    let answer: Value =
        serde_json::from_slice(&output.stdout).context("virsh: the answer is not JSON")?;
    vcpu_threads(&answer["return"]).context("virsh")
}

/// Whether a thread is named as a vCPU: `CPU n/KVM`, `CPU n/TCG` or `ALL CPUs/TCG`, where QEMU names
/// its threads.
pub(super) fn is_vcpu(name: &str) -> bool {
    name.ends_with("/KVM") || name.ends_with("/TCG")
}

fn by_name(pid: i32, roots: &Roots) -> Result<Vm> {
    let threads = roots
        .proc
        .threads(pid)
        .map_err(|error| Refusal::Usage(format!("--pid: there is no process {pid} ({error})")))?;
    let named = |tid: &i32| roots.proc.name(*tid).is_ok_and(|name| is_vcpu(&name));
    let vcpus: Vec<_> = threads.into_iter().filter(named).collect();
    if vcpus.is_empty() {
        bail!(Refusal::Usage(format!(
            "--pid: process {pid} has no thread that is named as a vCPU; start QEMU with \
             `-name …,debug-threads=on`, or give its QMP socket with --qmp"
        )));
    }
    Ok(Vm { pid, vcpus })
}
