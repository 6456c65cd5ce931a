//! A running guest.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use anyhow::Context;
use kernel::procfs::Proc;
use tempfile::TempDir;

use super::{
    Accelerator, Agent, ClockOffset, Closed, GuestSpec, Hello, Launch, Output, Programs, Qemu, Qmp,
    Running, Status, Stream,
    launch::{self, Launched},
    process::Process,
};

/// Answers that take no work.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How long a guest may take to power off before it is ended by force.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(5);

/// The exchanges that a clock offset rests on.
const CLOCK_EXCHANGES: u32 = 50;

/// A guest whose agent answers. Dropping it kills QEMU.
#[derive(Debug)]
pub struct Guest {
    agent: Agent,
    process: Mutex<Process>,
    qmp: Mutex<Qmp>,
    vcpus: Vec<i32>,
    pid: i32,
    /// What the agent said when it came up.
    pub hello: Hello,
    /// From QEMU's start to the agent's hello.
    pub boot: Duration,
    /// Where the bench's programs are in it.
    pub programs: Programs,
    sockets: TempDir,
}

impl Guest {
    /// Launches a guest and waits for its hello, at most `limit`.
    ///
    /// # Errors
    /// What did not happen in time, with QEMU's and the console's last lines.
    pub fn launch(
        host: &dyn Launch,
        qemu: &Qemu,
        spec: &GuestSpec,
        accelerator: Accelerator,
        limit: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let launched = launch::launch(host, qemu, spec, accelerator, limit, stop)?;
        let Launched { mut process, mut qmp, agent, hello, sockets, boot } = launched;
        let vcpus = qmp.vcpu_threads(stop).map_err(|error| process.explain(error))?;
        let pid = process.pid();
        let (process, qmp) = (Mutex::new(process), Mutex::new(qmp));
        let programs = Programs::of(spec.own_disk.is_some());
        Ok(Self { agent, process, qmp, vcpus, pid, hello, boot, programs, sockets })
    }

    /// QEMU's process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The vCPUs' threads on the host, in the order of the vCPUs.
    #[must_use]
    pub fn vcpu_threads(&self) -> Vec<i32> {
        self.vcpus.clone()
    }

    /// QEMU's other threads as of now; some come and go.
    ///
    /// # Errors
    /// QEMU is gone.
    pub fn other_threads(&self) -> anyhow::Result<Vec<i32>> {
        let mut threads =
            Proc::default().threads(self.pid).map_err(|error| self.explain(error.into()))?;
        threads.retain(|thread| !self.vcpus.contains(thread));
        Ok(threads)
    }

    /// A QMP socket for others, for example `orchestrator reserve --qmp`.
    #[must_use]
    pub fn qmp_socket(&self) -> PathBuf {
        super::qemu::Sockets::below(self.sockets.path()).public_qmp
    }

    /// Whether QEMU still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process().ended().is_none()
    }

    /// Stops the vCPUs, and the guest's clock with them: it uses no CPU until [`Guest::resume`].
    ///
    /// # Errors
    /// QEMU's refusal, a time-out, or its end.
    pub fn pause(&self, stop: &AtomicBool) -> anyhow::Result<()> {
        self.control("stop", stop)
    }

    /// Lets a paused guest go on.
    ///
    /// # Errors
    /// QEMU's refusal, a time-out, or its end.
    pub fn resume(&self, stop: &AtomicBool) -> anyhow::Result<()> {
        self.control("cont", stop)
    }

    fn control(&self, command: &str, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut qmp = self.qmp.lock().unwrap_or_else(PoisonError::into_inner);
        qmp.execute(command, stop).map(drop).map_err(|error| self.explain(error))
    }

    /// Writes a file in the guest.
    ///
    /// # Errors
    /// The guest's refusal, a time-out, or QEMU's end.
    pub fn put(
        &self,
        path: &str,
        mode: u32,
        content: &[u8],
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        self.explained(self.agent.put(path, mode, content, ANSWER_LIMIT, stop))
    }

    /// Fetches a file of the guest into a file of the host.
    ///
    /// # Errors
    /// The guest's refusal, a time-out, QEMU's end, or that of the host's file system.
    pub fn get(&self, path: &str, to: &Path, stop: &AtomicBool) -> anyhow::Result<()> {
        let content = self.read(path, stop)?;
        fs::write(to, content).with_context(|| to.display().to_string())
    }

    /// Reads a file in the guest.
    ///
    /// # Errors
    /// The guest's refusal, a time-out, or QEMU's end.
    pub fn read(&self, path: &str, stop: &AtomicBool) -> anyhow::Result<Vec<u8>> {
        self.explained(self.agent.get(path, ANSWER_LIMIT, stop))
    }

    /// Runs a command to its end, at most `limit`.
    ///
    /// # Errors
    /// It cannot be started, a time-out (the command is then killed), or QEMU's end. An exit code
    /// other than 0 is no error.
    pub fn run(
        &self,
        argv: &[impl AsRef<str>],
        limit: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<Output> {
        let running = self.start(argv, &[], stop)?;
        self.wait(&running, limit, stop, |_, _| ())
    }

    /// Starts a command, with variables set beside PATH and HOME.
    ///
    /// # Errors
    /// It cannot be started, a time-out, or QEMU's end.
    pub fn start(
        &self,
        argv: &[impl AsRef<str>],
        env: &[(&str, &str)],
        stop: &AtomicBool,
    ) -> anyhow::Result<Running<'_>> {
        self.start_in("/", argv, env, stop)
    }

    /// Like [`Guest::start`], in the folder `cwd`.
    ///
    /// # Errors
    /// Those of [`Guest::start`].
    pub fn start_in(
        &self,
        cwd: &str,
        argv: &[impl AsRef<str>],
        env: &[(&str, &str)],
        stop: &AtomicBool,
    ) -> anyhow::Result<Running<'_>> {
        let argv: Vec<&str> = argv.iter().map(AsRef::as_ref).collect();
        self.explained(self.agent.start(cwd, &argv, env, ANSWER_LIMIT, stop))
    }

    /// Waits for a command's end, at most `limit`; `on_output` sees what it writes as it comes.
    ///
    /// # Errors
    /// A time-out (the command is then killed), or QEMU's end.
    pub fn wait(
        &self,
        running: &Running<'_>,
        limit: Duration,
        stop: &AtomicBool,
        on_output: impl FnMut(Stream, &[u8]),
    ) -> anyhow::Result<Output> {
        self.explained(running.wait(limit, stop, on_output))
    }

    /// Like [`Guest::wait`], and keeps nothing of what the command writes.
    ///
    /// # Errors
    /// Those of [`Guest::wait`].
    pub fn follow(
        &self,
        running: &Running<'_>,
        limit: Duration,
        stop: &AtomicBool,
        on_output: impl FnMut(Stream, &[u8]),
    ) -> anyhow::Result<Status> {
        self.explained(running.follow(limit, stop, on_output))
    }

    /// As [`Guest::follow`], but leaves the command running where the stop flag is set.
    ///
    /// # Errors
    /// The stop flag, or QEMU's end.
    pub fn watch(
        &self,
        running: &Running<'_>,
        limit: Duration,
        stop: &AtomicBool,
        on_output: impl FnMut(Stream, &[u8]),
    ) -> anyhow::Result<Status> {
        self.explained(running.watch(limit, stop, on_output))
    }

    /// The guest's clock against the host's. Works while a command runs.
    ///
    /// # Errors
    /// A time-out, or QEMU's end.
    pub fn clock_offset(&self, stop: &AtomicBool) -> anyhow::Result<ClockOffset> {
        self.clock_offset_by(CLOCK_EXCHANGES, stop)
    }

    /// The same by so many exchanges, at least one: fewer disturb less, and tell less exactly.
    ///
    /// # Errors
    /// A time-out, or QEMU's end.
    pub fn clock_offset_by(
        &self,
        exchanges: u32,
        stop: &AtomicBool,
    ) -> anyhow::Result<ClockOffset> {
        self.explained(ClockOffset::measure(&self.agent, exchanges, ANSWER_LIMIT, stop))
    }

    /// Ends the guest: asks the agent, then QEMU, then kills. No process is left, whatever is
    /// returned.
    ///
    /// # Errors
    /// QEMU had ended before it was asked to.
    pub fn shutdown(self) -> anyhow::Result<()> {
        let stop = AtomicBool::new(false);
        let asked = self.explained(self.agent.shutdown(POWER_OFF_LIMIT, &stop));
        let mut process = self.process();
        if asked.is_err() && process.ended().is_some() {
            return asked;
        }
        if asked.is_ok() && process.wait(POWER_OFF_LIMIT).is_some() {
            return Ok(());
        }
        let mut qmp = self.qmp.lock().unwrap_or_else(PoisonError::into_inner);
        if qmp.execute("quit", &stop).is_err() || process.wait(POWER_OFF_LIMIT).is_none() {
            process.kill();
        }
        Ok(())
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds QEMU's end to an error that it explains.
    fn explained<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        result.map_err(|error| {
            let explains = error.is::<Closed>() || self.process().is_stopped();
            if explains { self.explain(error) } else { error }
        })
    }

    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        self.process().explain(error)
    }
}
