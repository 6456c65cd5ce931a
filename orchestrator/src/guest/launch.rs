//! From a description to a running guest: initramfs, sockets, QEMU, QMP, the agent's hello.

use std::{
    fs, io,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use tempfile::TempDir;
use thiserror::Error;

use super::{
    Accelerator, Agent, Contents, Hello, KernelImage, Launch, NoWayIn, OwnDisk, Qemu, Qmp,
    identity::{Identity, closed},
    initramfs,
    medium::Medium,
    modules,
    process::{End, Process, check},
    qemu,
};
use crate::host::program;

/// QEMU opens its sockets before it starts the guest.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

const QMP_LIMIT: Duration = Duration::from_secs(10);

/// Longer paths do not fit into a socket's address.
const LONGEST_FOLDER: usize = 80;

/// A guest to launch.
#[derive(Debug, Clone)]
pub struct GuestSpec {
    /// A word for the process list.
    pub name: String,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The buffer for translated code in MiB, at the most; of an emulated guest.
    pub translation_mib: u32,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// QEMU locks the guest's memory.
    pub lock_memory: bool,
    /// Programs and files in the guest.
    pub contents: Contents,
    /// Modules beside those that every guest needs.
    pub modules: Vec<String>,
    /// How the guest reaches others.
    pub network: Network,
    /// A disk of the user's that it boots, in place of kernel and contents.
    pub own_disk: Option<OwnDisk>,
    /// Its disks: the first is `/dev/vda`.
    pub disks: Vec<Disk>,
    /// QEMU's model of the CPU; none: the accelerator's own.
    pub cpu: Option<String>,
    /// Words behind the kernel's command line.
    pub append: String,
    /// The folder for console.log, qemu.log and agent.log; made if needed.
    pub logs: PathBuf,
    /// The kernel.
    pub kernel: KernelImage,
    /// Where initramfs archives are kept.
    pub cache: PathBuf,
    /// The program guest-agent; if none, the one beside this program or in PATH.
    pub agent: Option<PathBuf>,
}

/// A raw disk image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The file.
    pub image: PathBuf,
    /// Whether what the guest writes stays in the file; else it is lost when QEMU ends.
    pub persistent: bool,
}

/// A guest's network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// None at all.
    None,
    /// QEMU's user-mode network. (Port on the host's loopback, port in the guest.)
    User {
        /// Each listens with a backlog of 1: give each client its own.
        forwards: Vec<(u16, u16)>,
    },
    /// A bridge of the host.
    Tap {
        /// Its name.
        bridge: String,
    },
}

impl Default for GuestSpec {
    fn default() -> Self {
        Self {
            name: "guest".to_owned(),
            memory_mib: 256,
            translation_mib: 1024,
            vcpus: 1,
            lock_memory: false,
            contents: Contents::default(),
            modules: Vec::new(),
            network: Network::None,
            own_disk: None,
            disks: Vec::new(),
            cpu: None,
            append: String::new(),
            logs: PathBuf::from("."),
            kernel: KernelImage::default(),
            cache: PathBuf::from("."),
            agent: None,
        }
    }
}

impl GuestSpec {
    fn modules(&self) -> Vec<&str> {
        let mut names = vec!["virtio_pci", "virtio_console"];
        if self.network != Network::None {
            names.push("virtio_net");
        }
        if !self.disks.is_empty() {
            names.extend(["virtio_blk", "ext4"]);
        }
        names.extend(self.modules.iter().map(String::as_str));
        names
    }

    /// The initramfs, built or found.
    pub(super) fn initramfs(&self) -> anyhow::Result<PathBuf> {
        let agent = self.agent.clone().map_or_else(|| program("guest-agent"), Ok)?;
        let modules = modules::collect(&self.kernel.modules, &self.modules())?;
        initramfs::build(&self.cache, &agent, &modules, &self.contents)
    }
}

/// A guest that said hello.
#[derive(Debug)]
pub(super) struct Launched {
    pub process: Process,
    pub qmp: Qmp,
    pub agent: Agent,
    pub hello: Hello,
    pub sockets: TempDir,
    /// From QEMU's start to the hello.
    pub boot: Duration,
}

/// A guest that was started and did not say hello. It stands in the error chain above what was
/// waited for and what QEMU and the console said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the guest `{guest}` did not boot under {accelerator}")]
pub(super) struct NotBooted {
    pub guest: String,
    pub accelerator: Accelerator,
    pub end: End,
}

/// Launches a guest and waits for the agent's hello, at most `limit`.
pub(super) fn launch(
    host: &dyn Launch,
    qemu: &Qemu,
    spec: &GuestSpec,
    accelerator: Accelerator,
    limit: Duration,
    stop: &AtomicBool,
) -> anyhow::Result<Launched> {
    fs::create_dir_all(&spec.logs).with_context(|| spec.logs.display().to_string())?;
    let medium = Medium::of(spec)?;
    let folder = socket_folder()?;
    let sockets = qemu::Sockets::below(folder.path());
    let (agent_listener, qmp_listener) = (listen(&sockets.agent)?, listen(&sockets.qmp)?);
    let identity = Identity::choose(qemu, spec, accelerator).ok();
    let mut command = qemu::command(qemu, spec, accelerator, &sockets);
    medium.give(&mut command, spec, identity, folder.path())?;
    if let Some(identity) = identity {
        let own = [folder.path(), &sockets.agent, &sockets.qmp];
        own.into_iter().try_for_each(|path| identity.own(path))?;
        identity.apply(&mut command);
    }
    let begin = Instant::now();
    let mut process = Process::start(host, &mut command, &spec.logs)?;
    let connected = (|| {
        let agent = accept(&agent_listener, "the agent's port", &mut process, stop)?;
        let qmp = accept(&qmp_listener, "QMP", &mut process, stop)?;
        let qmp = Qmp::new(qmp, QMP_LIMIT, stop)?;
        let left = limit.saturating_sub(begin.elapsed());
        let (agent, hello) = Agent::greet(agent, &spec.logs.join("agent.log"), left, stop)?;
        Ok((agent, hello, qmp))
    })();
    match connected {
        Ok((agent, hello, qmp)) => {
            let boot = begin.elapsed();
            Ok(Launched { process, qmp, agent, hello, sockets: folder, boot })
        }
        Err(error) => {
            let interrupted = check(stop).is_err();
            let error = process.explain(error);
            let (guest, end) = (spec.name.clone(), process.end());
            let error = error.context(NotBooted { guest, accelerator, end });
            // Of what QEMU did by itself, or somebody to it, the image is no reason.
            let by_guest = matches!(end, End::None | End::Panic | End::Code(0));
            let by_guest = by_guest && !interrupted && !process.is_stopped();
            let Some(own) = spec.own_disk.as_ref().filter(|_| by_guest) else { return Err(error) };
            let limit = (end == End::None).then_some(limit);
            Err(error.context(NoWayIn::of(&own.image.path, limit, &process.console())))
        }
    }
}

/// A folder for sockets; a long TMPDIR is of no use for them, nor one that only we may enter.
fn socket_folder() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("rtvm-");
    let folder = std::env::temp_dir();
    if folder.as_os_str().len() <= LONGEST_FOLDER && closed(&folder).is_none() {
        builder.tempdir_in(folder)
    } else {
        builder.tempdir_in("/tmp")
    }
}

fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// QEMU's connection, unless it ends before.
fn accept(
    listener: &UnixListener,
    what: &str,
    process: &mut Process,
    stop: &AtomicBool,
) -> anyhow::Result<UnixStream> {
    let give_up = Instant::now() + CONNECT_LIMIT;
    loop {
        check(stop)?;
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(anyhow!(error).context(what.to_owned())),
        }
        if process.ended().is_some() {
            bail!("QEMU ended before it opened {what}");
        }
        if Instant::now() > give_up {
            bail!("QEMU did not open {what} within {CONNECT_LIMIT:?}");
        }
        sleep(Duration::from_millis(2));
    }
}

/// Runs a command line of QEMU that has no agent.
pub(super) fn launch_bare(
    host: &dyn Launch,
    command: &mut Command,
    logs: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<(Process, Qmp, TempDir)> {
    fs::create_dir_all(logs).with_context(|| logs.display().to_string())?;
    let folder = socket_folder()?;
    let sockets = qemu::Sockets::below(folder.path());
    let listener = listen(&sockets.qmp)?;
    command.arg("-chardev").arg(format!("socket,id=qmp,path={}", sockets.qmp.display()));
    command.args(["-mon", "chardev=qmp,mode=control"]);
    let mut process = Process::start(host, command, logs)?;
    let qmp = accept(&listener, "QMP", &mut process, stop)
        .and_then(|stream| Qmp::new(stream, QMP_LIMIT, stop));
    match qmp {
        Ok(qmp) => Ok((process, qmp, folder)),
        Err(error) => Err(process.explain(error)),
    }
}
