//! QEMU's command line.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use guest_agent::message::PORT_NAME;

use super::{Accelerator, GuestSpec, Network};
use crate::{
    error::Refusal,
    host::{Stop, output, program},
};

/// Warnings and worse go to the console; a panic ends QEMU at once (`-no-reboot`).
///
/// `tsc=reliable`: else a watchdog compares the TSC with another clock twice a second and, in a
/// guest that is starved of CPU as in figure 3, takes it for unstable and changes the clock source
/// in the middle of a measurement. The rest saves boot time: no self-tests of cryptography, no
/// security modules, no audit, no check of the timer's wiring; and no look at the 255 PCI buses that
/// this machine has not, which is 16,000 reads of ports, each a VM exit.
const KERNEL_COMMAND_LINE: &str = "console=ttyS0 loglevel=4 panic=-1 tsc=reliable \
    cryptomgr.notests lsm= audit=0 no_timer_check pci=lastbus=0";

/// The QEMU of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub program: PathBuf,
    /// Its version, for example `7.2.22`.
    pub version: String,
    /// Where its firmware is, if not where it looks by itself.
    pub data: Vec<PathBuf>,
    /// Whether it can deny itself system calls (seccomp).
    pub sandbox: bool,
}

impl Qemu {
    /// Whether it emulates a host of several CPUs soundly, with KVM in it. Version 10 does not:
    /// of seven hosts emulated by 10.0.2, five panicked, or their guests did, within three minutes
    /// (an interrupt taken in the host's kernel with the guest's GS register; time stamps of the
    /// guest in the host's log); so did one of one by 10.0.13, and none of two by 11.1. Version 7.2
    /// breaks where a kernel patches its own text while another CPU runs it ("Oops: int3").
    #[must_use]
    pub fn emulates_a_host(&self) -> bool {
        let major = self.version.split('.').next().and_then(|text| text.parse::<u32>().ok());
        major.is_some_and(|major| major >= 11)
    }

    /// What may happen to a guest of several vCPUs that this version emulates, each in a thread of its
    /// own; none from version 10 on, with which none of four guests broke in 1,200 trials.
    #[must_use]
    pub fn breaks_guests_of_several_vcpus(&self) -> Option<String> {
        let major = self.version.split('.').next().and_then(|text| text.parse::<u32>().ok());
        major.is_none_or(|major| major < 10).then(|| {
            format!(
                "QEMU {} emulates several vCPUs unsafely: a guest's kernel that patches its own text may \
                 crash; version 10 or later does not do that",
                self.version
            )
        })
    }

    /// The one that is `program`.
    ///
    /// # Errors
    /// It does not run, or says no version.
    pub fn at(program: PathBuf, data: Vec<PathBuf>) -> anyhow::Result<Self> {
        const LIMIT: Duration = Duration::from_secs(10);
        let output = output(Command::new(&program).arg("--version"), LIMIT, &Stop::default())
            .with_context(|| program.display().to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        match version(&text) {
            Some(version) => {
                let sandbox = has_sandbox(&program);
                Ok(Self { program, version, data, sandbox })
            }
            None => {
                let said = String::from_utf8_lossy(&output.stderr);
                bail!("{} --version says {:?} {}", program.display(), text.trim(), said.trim())
            }
        }
    }
}

/// A QEMU that was built without seccomp refuses the option where it stands.
fn has_sandbox(program: &Path) -> bool {
    const LIMIT: Duration = Duration::from_secs(10);
    let mut command = Command::new(program);
    let said = output(command.args(["-sandbox", "on", "--version"]), LIMIT, &Stop::default());
    said.is_ok_and(|said| said.status.success())
}

/// Finds QEMU and asks for its version.
///
/// # Errors
/// [`Refusal::Lacking`] where it is not installed.
pub fn find() -> anyhow::Result<Qemu> {
    let program = ["qemu-system-x86_64", "qemu-kvm"]
        .into_iter()
        .find_map(|name| program(name).ok())
        .or_else(|| Some(PathBuf::from("/usr/libexec/qemu-kvm")).filter(|path| path.exists()))
        .ok_or_else(|| {
            Refusal::Lacking(
                "QEMU is not installed: install qemu-system-x86 (Debian, Ubuntu) or qemu-kvm"
                    .to_owned(),
            )
        })?;
    Qemu::at(program, Vec::new())
}

fn version(text: &str) -> Option<String> {
    let rest = text.lines().next()?.split_once("version ")?.1;
    rest.split_whitespace().next().map(str::to_owned)
}

/// The sockets that QEMU connects to, and one on which it listens for others.
#[derive(Debug, Clone)]
pub(super) struct Sockets {
    pub agent: PathBuf,
    pub qmp: PathBuf,
    /// For `orchestrator reserve --qmp`.
    pub public_qmp: PathBuf,
}

impl Sockets {
    pub fn below(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name);
        Self { agent: path("agent"), qmp: path("qmp"), public_qmp: path("monitor") }
    }
}

/// The command that runs a guest of `spec`.
///
/// QEMU connects to our sockets, rather than we to its: there is no moment at which they do not
/// exist yet, and the guest sees at once that its host is gone.
///
/// From what it boots is not in it yet.
pub(super) fn command(
    qemu: &Qemu,
    spec: &GuestSpec,
    accelerator: Accelerator,
    sockets: &Sockets,
) -> Command {
    let mut command = bare(qemu, accelerator, spec);
    command.args(["-m", &spec.memory_mib.to_string(), "-smp", &spec.vcpus.to_string()]);
    if let Some(cpu) = &spec.cpu {
        command.args(["-cpu", cpu]);
    }
    for (number, disk) in spec.disks.iter().enumerate() {
        let snapshot = if disk.persistent { "off" } else { "on" };
        let after = format!(",format=raw,if=none,id=disk{number},snapshot={snapshot}");
        command.arg("-drive").arg(option("file=", &disk.image, &after));
        command.args(["-device", &format!("virtio-blk-pci,drive=disk{number}")]);
    }
    command.args(["-device", "virtio-serial-pci"]);
    command.arg("-chardev").arg(option("socket,id=agent,path=", &sockets.agent, ""));
    command.args(["-device", &format!("virtserialport,chardev=agent,name={PORT_NAME}")]);
    command.arg("-chardev").arg(option("socket,id=qmp,path=", &sockets.qmp, ""));
    command.args(["-mon", "chardev=qmp,mode=control"]);
    command.arg("-qmp").arg(option("unix:", &sockets.public_qmp, ",server=on,wait=off"));
    network(&mut command, &spec.network);
    if qemu.sandbox {
        command.args(["-sandbox", sandbox(&spec.network)]);
    }
    if spec.lock_memory {
        command.args(["-overcommit", "mem-lock=on"]);
    }
    command
}

/// The command line of the built-in guest's kernel.
pub(super) fn kernel_arguments(spec: &GuestSpec) -> String {
    format!("{KERNEL_COMMAND_LINE} {}", spec.append).trim_end().to_owned()
}

/// What every machine here has: no devices but those named, the console on standard output.
fn bare(qemu: &Qemu, accelerator: Accelerator, spec: &GuestSpec) -> Command {
    let mut command = Command::new(&qemu.program);
    for folder in &qemu.data {
        command.arg("-L").arg(folder);
    }
    command
        .args(["-name", &format!("rtvm-{},debug-threads=on", spec.name)])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-M", "q35"])
        .args(accelerator.arguments(spec.translation_mib));
    // Its standard output is a file that we have opened.
    command.args(["-chardev", "stdio,id=console,signal=off"]);
    command.args(["-serial", "chardev:console"]);
    command
}

fn network(command: &mut Command, network: &Network) {
    match network {
        Network::None => {}
        Network::User { forwards } => {
            // The guest reaches nobody; the host reaches it through the forwarded ports.
            let mut user = "user,id=net,restrict=on".to_owned();
            for (host, guest) in forwards {
                user += &format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
            }
            command.args(["-netdev", &user, "-device", "virtio-net-pci,netdev=net,romfile="]);
        }
        Network::Tap { bridge } => {
            let tap = format!("bridge,id=net,br={bridge}");
            command.args(["-netdev", &tap, "-device", "virtio-net-pci,netdev=net,romfile="]);
        }
    }
}

/// What QEMU denies itself, as libvirt has it do: a guest that breaks out of it finds no way to start
/// programs, change its user or schedule. The helper of a bridge is a program that it starts.
fn sandbox(network: &Network) -> &'static str {
    match network {
        Network::Tap { .. } => "on,obsolete=deny,resourcecontrol=deny",
        _ => "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    }
}

/// A path inside an option, where QEMU wants commas doubled.
fn option(before: &str, path: &Path, after: &str) -> OsString {
    let mut text = OsString::from(before);
    match path.to_str() {
        Some(path) => text.push(path.replace(',', ",,")),
        None => text.push(path),
    }
    text.push(after);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        let words: Vec<_> =
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    fn line(accelerator: Accelerator, network: Network) -> String {
        let qemu = Qemu {
            program: "qemu".into(),
            version: "7.2.22".into(),
            data: Vec::new(),
            sandbox: true,
        };
        let spec = GuestSpec { network, ..GuestSpec::default() };
        let sockets = Sockets::below(Path::new("/run/x,1"));
        words(&command(&qemu, &spec, accelerator, &sockets))
    }

    #[test]
    fn the_command_line() {
        let line = line(Accelerator::Tcg, Network::None);
        for part in [
            "-name rtvm-guest,debug-threads=on",
            "-accel tcg,thread=multi,tb-size=1024",
            "-m 256 -smp 1",
            "-chardev stdio,id=console,signal=off",
            "-chardev socket,id=agent,path=/run/x,,1/agent",
            "-qmp unix:/run/x,,1/monitor,server=on,wait=off",
            "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("net"), "{line}");
    }

    #[test]
    fn forwarded_ports_listen_on_loopback_only() {
        let network = Network::User { forwards: vec![(8001, 80), (8002, 80)] };
        let line = line(Accelerator::Kvm, network);
        assert!(line.contains("hostfwd=tcp:127.0.0.1:8001-:80,hostfwd=tcp:127.0.0.1:8002-:80"));
        assert!(line.contains("-netdev user,id=net,restrict=on,"), "{line}");
        assert!(line.contains("-accel kvm -cpu host"));
    }

    #[test]
    fn versions_of_all_kinds() {
        let text = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright";
        assert_eq!(version(text), Some("7.2.22".into()));
        assert_eq!(version("QEMU emulator version 10.0.2\n"), Some("10.0.2".into()));
        assert_eq!(version("nonsense"), None);
    }
}
