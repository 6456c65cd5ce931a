//! `orchestrator lab`: a host of its own inside QEMU, with the bench's programs in it.
//!
//! The lab host is a guest that is a host: the same kernels, initramfs, agent and QMP as for guests,
//! and an emulated processor with AMD's virtualisation (SVM, nested paging), so that KVM works in it
//! wherever QEMU runs. What is real there is the code path and the scheduling; the speed is that of
//! an emulator.

mod collect;
mod contents;
mod debian;
mod emulator;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use model::host::Platform;
use nix::sys::signal::Signal;

use self::contents::Kernels;
use crate::{
    error::Refusal,
    guest::{
        Accelerator, Contents, Disk, Guest, GuestSpec, KernelChoice, Network, Plain, Running,
        Status, Stream, default_cache, ensure_kernel, ensure_kind,
    },
    host::Stop,
};

/// What `orchestrator lab` is told.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    machine: Machine,
    /// Where what the command writes below $OUT is put
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// A lab host to boot.
#[derive(Debug, Clone, Args)]
pub struct Machine {
    /// Root file system: `minimal`, made of this host's own programs, or `debian`, with systemd and
    /// libvirt
    #[arg(long, default_value = "minimal")]
    pub root: Root,
    /// Kernel: the distribution's for virtual machines (`cloud`), with PREEMPT_RT (`rt`), the newer
    /// one of its backports (`backports`), or a file vmlinuz-RELEASE
    #[arg(long, default_value = "cloud", value_name = "cloud|rt|backports|FILE")]
    pub kernel: KernelChoice,
    /// Number of CPUs
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,
    /// Size of memory, for example 4G or 3072M
    #[arg(long, default_value = "4G", value_parser = memory_mib, value_name = "SIZE")]
    pub memory: u32,
    /// Words for the kernel's command line, for example "isolcpus=domain,1"
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// Disk that keeps what is written to it, made if it is not there: the root of `debian`, or
    /// `/disk` of `minimal`
    #[arg(long, value_name = "FILE")]
    pub disk: Option<PathBuf>,
    /// File or folder to copy into the command's working folder; may be given several times
    #[arg(long, value_name = "PATH")]
    pub with: Vec<PathBuf>,
    /// The folder of the bench's programs; none: that of this program.
    #[arg(skip)]
    pub programs: Option<PathBuf>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            root: Root::Minimal,
            kernel: KernelChoice::Cloud,
            cpus: 2,
            memory: 4096,
            append: String::new(),
            disk: None,
            with: Vec::new(),
            programs: None,
        }
    }
}

/// What the lab host's root file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Root {
    /// An initramfs with this host's own programs.
    Minimal,
    /// A Debian system.
    Debian,
}

/// The processor of the lab host: of a family for which kernels have no mitigations, which cost an
/// emulator a third of its speed, and without the large registers of AVX, which every exit of a
/// virtual machine saves and restores. Its time-stamp counter is declared reliable, or the clock
/// source would be the HPET, every read of which leaves the virtual machine.
const CPU: &str = "qemu64,+svm,+npt,+cx16,+lahf-lm,+popcnt,+sse4.1,+sse4.2,+ssse3,+rdtscp,+x2apic,\
                   +tsc-deadline,+invtsc";

/// What is left of the mitigations.
const KERNEL_ARGUMENTS: &str = "mitigations=off";

/// KVM for its guests, and what networks of virtual machines are made of.
const MODULES: [&str; 4] = ["kvm_amd", "tun", "vhost_net", "bridge"];

/// The folder whose contents come back.
const OUT: &str = "/out";

/// The command's working folder.
const WORK: &str = "/work";

/// How long the boot to the agent's hello may take: many times what it needs.
const BOOT_LIMIT: Duration = Duration::from_secs(180);

/// How long a distribution may go on starting its services after that.
const SERVICES_LIMIT: Duration = Duration::from_secs(180);

/// The command may take as long as it likes; the user ends it with Ctrl-C.
const NO_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the command may take to end after Ctrl-C: a run undoes what it did to the lab host.
const GRACE: Duration = Duration::from_secs(60);

/// Boots the lab host, runs the command in it, and returns the command's exit code (128 and the
/// signal's number where a signal ended it). Ctrl-C is the command's first, and what it left below
/// `$OUT` comes back; a second one ends the lab host at once.
///
/// # Errors
/// What kept the lab host from doing its part; the command's own failure is no error.
pub fn run(options: &Options) -> Result<u8> {
    let stop = Stop::on_signals()?;
    if let Some(out) = &options.out {
        collect::prepare(out)?;
    }
    let logs = tempfile::tempdir()?;
    let guest = options.machine.boot(logs.path(), &stop)?;
    let seconds = guest.boot.as_secs_f64();
    model::say!(
        "lab host: Linux {} with {} CPUs, up in {seconds:.1} s. {}",
        guest.hello.kernel,
        guest.hello.cpus,
        Platform::Emulated.what_is_real()
    );
    guest.hello.warnings.iter().for_each(|warning| model::say!("lab host: warning: {warning}"));
    let served = options.serve(&guest, &stop);
    if let (Err(_), Some(out)) = (&served, &options.out) {
        // What its kernel said, for whoever wants to know why; the error itself has the last lines.
        let _ = fs::copy(logs.path().join("console.log"), out.join("lab-console.log"));
    }
    let status = served.context("the lab host failed")?;
    guest.shutdown().context("the lab host failed")?;
    Ok(match status {
        Status::Code(code) => code as u8,
        Status::Signal(signal) => 128 + signal as u8,
    })
}

impl Machine {
    /// Boots it, until a command can be run in it; QEMU's and the agent's logs go into `logs`.
    ///
    /// # Errors
    /// [`Refusal`] where this host lacks what it takes; what did not happen in time.
    pub fn boot(&self, logs: &Path, stop: &Stop) -> Result<Guest> {
        let spec = self.spec(default_cache()?, logs.to_owned())?;
        let qemu = emulator::ensure(&spec.cache)?;
        let flag = stop.flag();
        let guest = Guest::launch(&Plain, &qemu, &spec, Accelerator::Tcg, BOOT_LIMIT, flag)
            .context("the lab host failed")?;
        if self.root == Root::Debian {
            debian::wait_for_services(&guest, SERVICES_LIMIT, stop)?;
        }
        guest.run(&["mkdir", "-p", OUT, WORK], Duration::from_secs(10), flag)?;
        Ok(guest)
    }

    /// The machine.
    fn spec(&self, cache: PathBuf, logs: PathBuf) -> Result<GuestSpec> {
        let own = ensure_kind(&cache, &self.kernel)?;
        let kernels = Kernels { own: own.clone(), nested: ensure_kernel(&cache)? };
        let bench = contents::bench(self.programs.as_deref())?;
        let mut contents = Contents::default();
        let mut append = format!("{KERNEL_ARGUMENTS} {}", self.append);
        let disk = match self.root {
            Root::Minimal => {
                contents = contents::minimal(&bench, &kernels, &self.with)?;
                let disk = self.disk.as_deref().map(debian::plain_disk).transpose()?;
                if disk.is_some() {
                    contents.texts.insert(guest_agent::switch::DISK.into(), "/dev/vda\n".into());
                }
                disk
            }
            Root::Debian => {
                contents::on_disk(&mut contents, &bench, &kernels, &self.with)?;
                append = format!("{} {append}", debian::KERNEL_ARGUMENTS);
                Some(debian::root_disk(&cache, self.disk.as_deref())?)
            }
        };
        Ok(GuestSpec {
            name: "lab".to_owned(),
            memory_mib: self.memory,
            vcpus: self.cpus,
            contents,
            modules: MODULES.map(str::to_owned).into(),
            network: Network::None,
            disks: disk.into_iter().collect::<Vec<Disk>>(),
            cpu: Some(CPU.to_owned()),
            append,
            logs,
            kernel: own,
            agent: Some(contents::agent(&bench)?),
            cache,
            ..GuestSpec::default()
        })
    }
}

/// Starts a command in a lab host as `orchestrator lab` does: in its working folder, with `$OUT`.
///
/// # Errors
/// Those of [`crate::guest::Inside::start`].
pub fn start<'a>(guest: &'a Guest, argv: &[impl AsRef<str>], stop: &Stop) -> Result<Running<'a>> {
    guest.start_in(WORK, argv, &contents::environment(), stop.flag())
}

impl Options {
    /// Runs the command and brings its results back, also where it failed.
    fn serve(&self, guest: &Guest, stop: &Stop) -> Result<Status> {
        let running = start(guest, &self.command, stop)
            .with_context(|| format!("starting `{}` in the lab host", self.command.join(" ")))?;
        let watched = guest.watch(&running, NO_LIMIT, stop.flag(), print);
        let interrupted = stop.check();
        let again = Stop::on_signals()?;
        let ended = match watched {
            Err(_) if interrupted.is_err() => interrupt(guest, &running, &again),
            watched => watched,
        };
        if let Some(out) = self.out.as_ref().filter(|_| ended.is_ok() || interrupted.is_err()) {
            collect::bring(guest, OUT, out, &again)?;
        }
        interrupted?;
        ended
    }
}

/// What nobody reads any more is no reason to end the command.
fn print(stream: Stream, bytes: &[u8]) {
    let _ = match stream {
        Stream::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        Stream::Stderr => io::stderr().write_all(bytes),
    };
}

/// Hands Ctrl-C on to the command, and waits for its end; it is killed after [`GRACE`].
///
/// # Errors
/// It did not end by itself, or a second Ctrl-C came.
fn interrupt(guest: &Guest, running: &Running, again: &Stop) -> Result<Status> {
    const ANSWER: Duration = Duration::from_secs(5);
    running.signal(Signal::SIGINT as i32, ANSWER, again.flag())?;
    guest.follow(running, GRACE, again.flag(), print)
}

/// A size of memory, in MiB.
fn memory_mib(text: &str) -> Result<u32> {
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let factor = match unit {
        "G" => 1024,
        "M" => 1,
        _ => bail!(Refusal::Usage(format!("`{text}`: give a size like 4G or 3072M"))),
    };
    let number: u32 = number.parse().with_context(|| format!("`{text}`: give a size like 4G"))?;
    number.checked_mul(factor).filter(|mib| *mib >= 512).context("give at least 512M")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_a_unit_and_is_enough_to_boot() {
        assert_eq!(memory_mib("4G").unwrap(), 4096);
        assert_eq!(memory_mib("512M").unwrap(), 512);
        for wrong in ["", "4", "4T", "-1G", "G", "9999999999G", "64M", "4\u{2009}"] {
            assert!(memory_mib(wrong).is_err(), "{wrong}");
        }
    }
}
