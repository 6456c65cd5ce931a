//! Which virtual machine, and which of its threads are vCPUs.

use std::{io, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use kernel::affinity::Tid;
use model::suite::Found;
use serde_json::Value;

use super::owner;
use crate::{
    error::Refusal,
    guest::{Qmp, vcpu_threads},
    host::{Roots, Stop, output, quoted},
    mechanism::Vm,
};

/// The ways to name a virtual machine.
#[derive(Debug, Clone, Args)]
pub struct Target {
    #[command(flatten)]
    machine: Machine,
    /// Reserve for these vCPUs only, counted from 0, for example 0,2
    #[arg(long, value_name = "N,…", value_delimiter = ',', conflicts_with = "tid")]
    vcpu: Vec<usize>,
}

#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct Machine {
    /// The process id of a QEMU, Cloud Hypervisor or Firecracker
    #[arg(long)]
    pid: Option<i32>,
    /// The QMP socket of a QEMU
    #[arg(long, value_name = "SOCKET")]
    qmp: Option<PathBuf>,
    /// The name of a libvirt domain
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// Thread ids of the vCPUs, for example 4711,4712, where nothing else tells them
    #[arg(long, value_name = "TID,…", value_delimiter = ',')]
    tid: Vec<Tid>,
}

/// How long a QMP socket or libvirt may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

impl Target {
    /// The machine that a suite names.
    pub(crate) fn of(found: &Found) -> Self {
        let mut machine = Machine { pid: None, qmp: None, domain: None, tid: Vec::new() };
        match found {
            Found::Libvirt(name) => machine.domain = Some(name.clone()),
            Found::Qmp(socket) => machine.qmp = Some(socket.clone()),
            Found::Pid(pid) => machine.pid = Some(*pid),
        }
        Self { machine, vcpu: Vec::new() }
    }

    /// Finds the machine's process and vCPU threads.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where there is no such machine, or a thread is none of its own;
    /// [`Refusal::Lacking`] where libvirt is to be asked and is not installed.
    pub fn find(&self, roots: &Roots, stop: &Stop) -> Result<Vm> {
        let vm = match &self.machine {
            Machine { pid: Some(pid), .. } => by_name(*pid, roots),
            Machine { qmp: Some(socket), .. } => {
                let mut qmp = Qmp::connect(socket, ANSWER_LIMIT, stop.flag())?;
                let told = qmp.vcpu_threads(stop.flag())?;
                owner::of_peer(qmp.peer()?, &told, &roots.proc)
            }
            Machine { domain: Some(name), .. } => {
                let told = ask_libvirt(name, stop)?;
                owner::of_domain(name, &told, &roots.proc)
            }
            Machine { tid, .. } => owner::of_threads(tid, "--tid", &roots.proc),
        }?;
        Ok(Vm { vcpus: some_of(&vm.vcpus, &self.vcpu, "--vcpu")?, ..vm })
    }

    /// The libvirt domain, where one was named.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.machine.domain.as_deref()
    }

    /// As it is written on a command line.
    #[must_use]
    pub fn text(&self) -> String {
        let list = |numbers: &[String]| numbers.join(",");
        let mut text = match &self.machine {
            Machine { pid: Some(pid), .. } => format!("--pid {pid}"),
            Machine { qmp: Some(socket), .. } => {
                format!("--qmp {}", quoted(&socket.display().to_string()))
            }
            Machine { domain: Some(name), .. } => format!("--domain {}", quoted(name)),
            Machine { tid, .. } => {
                format!("--tid {}", list(&tid.iter().map(ToString::to_string).collect::<Vec<_>>()))
            }
        };
        if !self.vcpu.is_empty() {
            let numbers: Vec<String> = self.vcpu.iter().map(ToString::to_string).collect();
            text += &format!(" --vcpu {}", list(&numbers));
        }
        text
    }
}

/// The vCPUs with these numbers, which `whose` names in errors; all where there are none.
///
/// # Errors
/// [`Refusal::Usage`] where there is no such vCPU.
pub(super) fn some_of(vcpus: &[Tid], wanted: &[usize], whose: &str) -> Result<Vec<Tid>, Refusal> {
    if wanted.is_empty() {
        return Ok(vcpus.to_vec());
    }
    let mut chosen = Vec::new();
    for number in wanted {
        let tid = vcpus.get(*number).ok_or_else(|| {
            Refusal::Usage(format!(
                "{whose}: there is no vCPU {number}; the machine has 0 to {}",
                vcpus.len().saturating_sub(1)
            ))
        })?;
        if !chosen.contains(tid) {
            chosen.push(*tid);
        }
    }
    Ok(chosen)
}

/// libvirt holds QEMU's monitor itself, and passes commands on to it.
fn ask_libvirt(domain: &str, stop: &Stop) -> Result<Vec<Tid>> {
    let mut virsh = Command::new("virsh");
    virsh.args(["qemu-monitor-command", domain, r#"{"execute": "query-cpus-fast"}"#]);
    let output = output(&mut virsh, ANSWER_LIMIT, stop).map_err(|error| {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::NotFound) => Refusal::Lacking(
                "--domain: virsh is not installed; install libvirt-clients, or give --pid or --qmp"
                    .to_owned(),
            )
            .into(),
            _ => error.context("--domain: virsh"),
        }
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
/// its threads; `vcpun` in Cloud Hypervisor, `fc_vcpu n` in Firecracker.
pub(super) fn is_vcpu(name: &str) -> bool {
    let numbered = ["vcpu", "fc_vcpu"].iter().any(|begin| {
        name.strip_prefix(begin).is_some_and(|number| number.trim_start().parse::<u32>().is_ok())
    });
    numbered || name.ends_with("/KVM") || name.ends_with("/TCG")
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
             `-name …,debug-threads=on`, give its QMP socket with --qmp, or the threads with --tid"
        )));
    }
    Ok(Vm { pid, vcpus })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vcpus_are_known_by_their_names() {
        for name in ["CPU 0/KVM", "ALL CPUs/TCG", "vcpu0", "vcpu12", "fc_vcpu 0"] {
            assert!(is_vcpu(name), "{name}");
        }
        for name in ["qemu-system-x86", "vcpu", "vcpu_mgr", "fc_api", "vhost-42", "worker"] {
            assert!(!is_vcpu(name), "{name}");
        }
    }

    #[test]
    fn some_vcpus_are_taken_by_their_numbers() {
        assert_eq!(some_of(&[7, 8, 9], &[], "--vcpu").unwrap(), [7, 8, 9]);
        assert_eq!(some_of(&[7, 8, 9], &[0, 2, 2], "--vcpu").unwrap(), [7, 9]);
        let error = some_of(&[7, 8], &[2], "--vcpu").unwrap_err().to_string();
        assert!(
            error.starts_with("--vcpu: there is no vCPU 2") && error.contains("0 to 1"),
            "{error}"
        );
    }
}
