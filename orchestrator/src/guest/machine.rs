//! A running guest.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use kernel::procfs::Proc;
use tempfile::TempDir;

use super::{
    Accelerator, Closed, GuestSpec, Inside, Launch, Programs, Qemu, Qmp,
    inside::Explain,
    launch::{self, Launched},
    process::Process,
};

/// How long a guest may take to power off before it is ended by force.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(5);

/// A guest whose agent answers. Dropping it kills QEMU.
#[derive(Debug)]
pub struct Guest {
    inside: Inside,
    qemu: OwnQemu,
    qmp: Mutex<Qmp>,
    vcpus: Vec<i32>,
    pid: i32,
    /// From QEMU's start to the agent's hello.
    pub boot: Duration,
    sockets: TempDir,
}

/// Its process, by which errors are explained.
#[derive(Debug, Clone)]
struct OwnQemu(Arc<Mutex<Process>>);

impl OwnQemu {
    fn process(&self) -> MutexGuard<'_, Process> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Explain for OwnQemu {
    /// Adds QEMU's end to an error that it explains.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let explains = error.is::<Closed>() || self.process().is_stopped();
        if explains { self.process().explain(error) } else { error }
    }
}

impl Deref for Guest {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        &self.inside
    }
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
        let qemu = OwnQemu(Arc::new(Mutex::new(process)));
        let programs = Programs::of(spec.own_disk.is_some());
        let inside = Inside::new(agent, hello, programs, Box::new(qemu.clone()));
        Ok(Self { inside, qemu, qmp: Mutex::new(qmp), vcpus, pid, boot, sockets })
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
        self.qemu.process().ended().is_none()
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

    /// Ends the guest: asks the agent, then QEMU, then kills. No process is left, whatever is
    /// returned.
    ///
    /// # Errors
    /// QEMU had ended before it was asked to.
    pub fn shutdown(self) -> anyhow::Result<()> {
        let stop = AtomicBool::new(false);
        let asked = self.inside.end(POWER_OFF_LIMIT);
        let mut process = self.qemu.process();
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

    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        self.qemu.process().explain(error)
    }
}
