//! The prepared host: a partition for each measured CPU, and processes placed there.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{Read, Seek},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use kernel::{
    affinity::{self, Tid},
    cpuset::{Cpusets, Partition},
    dma_latency::DmaLatency,
};
use model::manifest::{Cleared, Quiet};

use super::{
    Actions, Background, Clearing, Cpus, Guard, Linux, Listener, Lock, Roots, Stop, Topology,
    finish, members::Members, quiet::quiet, state_dir, watcher::Watcher,
};
use crate::error::Refusal;

/// A burst that takes this much longer after idle makes the quiet case the slower one.
pub const COSTLY_IDLE: f64 = 0.05;

/// What measuring the cost of idle may take; a second is usual.
const IDLE_COST_LIMIT: Duration = Duration::from_secs(30);

/// The host while a run goes on. Dropping it undoes everything.
pub struct Stage {
    /// Ended first: what is undone is not watched.
    watcher: Option<Watcher>,
    // Dropped in this order: whoever was put on the measured CPU leaves it, then the others come
    // back, then the partition goes.
    /// Journals and undoes.
    pub guard: Guard,
    clearing: Option<Clearing>,
    partition: Option<Guard>,
    /// One partition at a time; released after it is gone.
    lock: Option<Lock>,
    /// How the CPUs are divided.
    pub cpus: Cpus,
    /// Where facts are read.
    pub roots: Roots,
    /// Set by a signal.
    pub stop: Stop,
    /// The hierarchy in which the measured CPUs have partitions.
    pub cpusets: Cpusets,
    /// The partition that was made; none where a reservation does without.
    pub domain: Option<Partition>,
    /// Without a partition, threads are pinned to the CPU on which they are measured.
    pub pins: bool,
    /// What keeps the measured CPUs awake.
    awake: Option<(Vec<Background>, Option<DmaLatency>)>,
    quiet: Option<Quiet>,
}

impl Stage {
    /// Gives each measured CPU a root domain of its own, and keeps this process off them.
    ///
    /// # Errors
    /// [`Refusal::Lacking`] in the chain without privilege or a cpuset controller.
    pub fn prepare(cpus: Cpus, stop: Stop) -> Result<Self> {
        let mut stage = Self::bare(cpus, stop, Box::<Linux>::default(), &state_dir())?;
        stage.partition()?;
        Ok(stage)
    }

    /// The host without a partition, which takes privileges: threads are only pinned.
    ///
    /// # Errors
    /// As [`Stage::bare`].
    pub fn unprivileged(cpus: Cpus, stop: Stop) -> Result<Self> {
        affinity::set(affinity::SELF, &cpus.housekeeping)
            .context("keeping orchestrator on the housekeeping CPUs")?;
        let stage = Self::bare(cpus, stop, Box::<Linux>::default(), &state_dir())?;
        Ok(Self { pins: true, ..stage })
    }

    /// The host without a partition, with this process off the measured CPUs: virtual machines that
    /// somebody else started stay where they are.
    ///
    /// # Errors
    /// As [`Stage::bare`].
    pub fn beside(cpus: Cpus, stop: Stop) -> Result<Self> {
        Ok(Self { pins: false, ..Self::unprivileged(cpus, stop)? })
    }

    /// Forgets a partition that was made of a machine's own groups and is undone by now.
    pub fn forget_domain(&mut self) {
        self.domain.take_if(|_| self.partition.is_none());
    }

    /// As [`Stage::prepare`], on a bare host to which nothing was done yet.
    ///
    /// # Errors
    /// As [`Stage::prepare`].
    pub fn partition(&mut self) -> Result<()> {
        let Self { cpus, cpusets, roots, .. } = self;
        let plan = cpusets
            .isolate(&cpus.apart(), cpus.shared(), (&cpus.in_use(), &isolated(roots)))
            .map_err(|error| Refusal::Lacking(error.to_string()))?;
        self.domain = Some(plan.partition.clone());
        if !self.guard.host().is_real() {
            return self.guard.take(&plan.steps);
        }
        affinity::set(affinity::SELF, &cpus.housekeeping)
            .context("keeping orchestrator on the housekeeping CPUs")?;
        let lock = Lock::take(&state_dir(), "partition").map_err(|error| {
            anyhow::anyhow!(
                "the partition of the measured CPU: {error}: one run, check or reservation in a \
                 partition at a time; wait for it to end"
            )
        })?;
        let mut partition = Guard::new(Box::<Linux>::default(), &state_dir())?;
        partition.save_affinities(&pinned(roots))?;
        partition.take(&plan.steps).map_err(|error| privilege(error, cpusets))?;
        plan.partition.verify()?;
        let clearing = Clearing::start(roots.clone(), cpusets.clone(), cpus.apart())?;
        self.partition = Some(partition);
        self.lock = Some(lock);
        // What comes is undone first, so its journal is the newest.
        self.guard = Guard::new(Box::<Linux>::default(), &state_dir())?;
        clearing.leave_alone(self.guard.settings());
        self.clearing = Some(clearing);
        Ok(())
    }

    /// Watches from now on whether what was set lasts, and tells the listener of each change.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn watch(&mut self, listener: Listener) -> Result<()> {
        let guards = self.partition.iter().chain([&self.guard]);
        let settings = guards.map(Guard::settings).collect();
        // Where everybody else is, those of ours are not told apart.
        let members = self.cpus.apart().into_iter().filter_map(|cpu| {
            let home = self.measured_group(cpu)?.to_owned();
            Some(Members::of(self.cpusets.hierarchy(), home, cpu))
        });
        self.watcher = Some(Watcher::start(settings, members.collect(), listener)?);
        Ok(())
    }

    /// Looks once more at what is watched, before it ends.
    pub fn look_at_changes(&self) {
        self.watcher.iter().for_each(Watcher::look);
    }

    /// What somebody else changed since this was asked last, as warnings.
    #[must_use]
    pub fn changes_by_others(&self) -> Vec<String> {
        let seen = self.watcher.as_ref().map(Watcher::take).unwrap_or_default();
        seen.into_iter().map(|change| by_others(&change)).collect()
    }

    /// Has every process of this host that is pinned get its CPUs back in the end: a partition that
    /// comes and goes may take them.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub fn save_pinned(&mut self) -> Result<()> {
        self.guard.save_affinities(&pinned(&self.roots))
    }

    /// The host without a partition, for a reservation that needs none or makes one of somebody
    /// else's group; `host` is the real one, or one that only says what would be done.
    ///
    /// # Errors
    /// [`Refusal::Lacking`] in the chain without a cpuset controller.
    pub fn bare(cpus: Cpus, stop: Stop, host: Box<dyn Actions>, state: &Path) -> Result<Self> {
        let roots = Roots::default();
        let mounts = roots.proc.text("mounts")?;
        let cpusets =
            Cpusets::find(&mounts).map_err(|error| Refusal::Lacking(error.to_string()))?;
        Ok(Self::of(Guard::new(host, state)?, cpus, roots, stop, cpusets))
    }

    /// Nothing done yet.
    fn of(guard: Guard, cpus: Cpus, roots: Roots, stop: Stop, cpusets: Cpusets) -> Self {
        Self {
            watcher: None,
            guard,
            clearing: None,
            partition: None,
            lock: None,
            cpus,
            roots,
            stop,
            cpusets,
            domain: None,
            pins: false,
            awake: None,
            quiet: None,
        }
    }

    /// A stage on a made-up host.
    #[cfg(test)]
    pub(crate) fn made_up(guard: Guard, roots: Roots, cpusets: Cpusets) -> Self {
        use kernel::cpuset::Kind;
        let cpus = Cpus::made_up(&[1], &[0]);
        let group = cpusets.measured(1);
        let domain = Some(Partition {
            version: cpusets.version,
            root: cpusets.root.clone(),
            groups: vec![(group.clone(), Kind::Root)],
            homes: [(1, group)].into(),
        });
        Self { domain, ..Self::of(guard, cpus, roots, Stop::default(), cpusets) }
    }

    /// Leaves everything as it is, for process `pid`, until `orchestrator release`.
    ///
    /// # Errors
    /// Where the journal cannot be kept; then everything is undone.
    pub fn keep(mut self, pid: i32) -> Result<()> {
        self.watcher = None;
        // The outermost first: where one fails, what lies inside it is undone.
        self.partition.map_or(Ok(()), |partition| partition.keep(pid))?;
        self.clearing.map_or(Ok(()), |clearing| clearing.keep(pid))?;
        self.guard.keep(pid)
    }

    /// Undoes everything.
    ///
    /// # Errors
    /// What could not be undone; it stays in the journals, for `orchestrator restore`.
    pub fn finish(self) -> Result<()> {
        let Self { watcher, guard, clearing, partition, lock: _lock, awake, .. } = self;
        drop((watcher, awake));
        // All are tried, from the inside out.
        let results = [
            guard.finish(),
            clearing.map_or(Ok(()), Clearing::finish),
            partition.map_or(Ok(()), Guard::finish),
        ];
        let failures: Vec<_> =
            results.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
        anyhow::ensure!(
            failures.is_empty(),
            "the host is not as it was before: {}; `orchestrator restore` tries again",
            failures.join("; ")
        );
        Ok(())
    }

    /// Who was kept away from the measured CPUs, and who could not be.
    #[must_use]
    pub fn cleared(&self) -> Option<Cleared> {
        let cleared = self.clearing.as_ref().map(Clearing::cleared)?;
        Some(Cleared { quiet: self.quiet.clone(), ..cleared })
    }

    /// Moves interrupts away from the measured CPUs and fixes their frequency, as far as the host
    /// lets.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub fn make_quiet(&mut self) -> Result<()> {
        self.quiet = Some(quiet(&mut self.guard, &self.roots, &self.cpus)?);
        Ok(())
    }

    /// The cpuset group that takes processes of ours on a measured CPU; none without a partition.
    #[must_use]
    pub fn measured_group(&self, cpu: u32) -> Option<&Path> {
        self.domain.as_ref()?.home(cpu)
    }

    /// A command that runs on a measured CPU from its first instruction.
    ///
    /// # Errors
    /// Where this program cannot find itself.
    pub fn on_measured<I, S>(&self, cpu: u32, program: &Path, arguments: I) -> Result<Command>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.on_measured_at(cpu, None, program, arguments)
    }

    /// Like [`Stage::on_measured`], in SCHED_FIFO with priority `fifo` from before it is moved
    /// there, so that no hog of that CPU keeps it from starting.
    ///
    /// # Errors
    /// Where this program cannot find itself.
    pub fn on_measured_at<I, S>(
        &self,
        cpu: u32,
        fifo: Option<u8>,
        program: &Path,
        arguments: I,
    ) -> Result<Command>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(env::current_exe()?);
        command.args(["helper", "join", "--cpu", &cpu.to_string()]);
        if let Some(group) = self.measured_group(cpu) {
            command.arg("--group").arg(group);
        }
        if let Some(priority) = fifo {
            command.args(["--fifo", &priority.to_string()]);
        }
        command.arg("--").arg(program).args(arguments);
        Ok(command)
    }

    /// Measures what leaving idle costs on the first measured CPU, as a share of a burst's length.
    ///
    /// # Errors
    /// Where the measurement cannot be started or says nothing.
    pub fn idle_cost(&self) -> Result<f64> {
        let cpu = self.cpus.first();
        let mut command = self.on_measured(cpu, &env::current_exe()?, ["helper", "idle-cost"])?;
        let mut printed = tempfile::tempfile()?;
        let child = self.guard.spawn(command.stdin(Stdio::null()).stdout(printed.try_clone()?))?;
        finish(child, "measuring idle", IDLE_COST_LIMIT, &self.stop)?;
        let mut text = String::new();
        printed.rewind()?;
        printed.read_to_string(&mut text)?;
        text.trim().parse().with_context(|| format!("measuring idle: `{}`", text.trim()))
    }

    /// Keeps the measured CPUs out of idle until the stage is dropped: a SCHED_IDLE spinner on each,
    /// and no deep sleep states where the kernel takes the wish.
    ///
    /// # Errors
    /// Where a spinner cannot be started.
    pub fn keep_awake(&mut self) -> Result<()> {
        let exe = env::current_exe()?;
        let spinner = |&cpu: &u32| {
            let mut command = self.on_measured(cpu, &exe, ["helper", "spin"])?;
            let log = Path::new("/dev/null");
            Background::start(&self.guard, "the idle spinner", &mut command, log)
        };
        let spinners = self.cpus.measured.iter().map(spinner).collect::<Result<Vec<_>>>()?;
        let latency = DmaLatency::hold(Path::new("/dev/cpu_dma_latency")).ok();
        self.awake = Some((spinners, latency));
        Ok(())
    }
}

/// A change that somebody else made, as a warning.
#[must_use]
pub fn by_others(change: &str) -> String {
    format!("somebody else changed the host: {change}")
}

/// The CPUs online that were isolated at boot.
#[must_use]
pub fn isolated(roots: &Roots) -> Vec<u32> {
    let topology = Topology::at(&roots.sys);
    let online = topology.online().unwrap_or_default();
    let isolated = topology.isolated().unwrap_or_default();
    isolated.into_iter().filter(|cpu| online.contains(cpu)).collect()
}

/// The threads of processes that were pinned: a partition that comes and goes gives every thread the
/// CPUs of its group on kernels before 6.2. Threads of the kernel's own are left to it.
fn pinned(roots: &Roots) -> Vec<Tid> {
    let processes = fs::read_dir(roots.proc.path("")).into_iter().flatten();
    let user = |pid: &i32| fs::read_link(roots.proc.path(&format!("{pid}/exe"))).is_ok();
    let ordinary = affinity::get(1).unwrap_or_default();
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(user)
        .flat_map(|pid| roots.proc.threads(pid).unwrap_or_default())
        .filter(|tid| affinity::get(*tid).is_ok_and(|cpus| cpus != ordinary))
        .collect()
}

/// Names the privilege that is missing, where that is the cause.
fn privilege(error: anyhow::Error, cpusets: &Cpusets) -> anyhow::Error {
    let denied = error.downcast_ref::<std::io::Error>().is_some_and(|io| {
        matches!(
            io.kind(),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
        )
    });
    if !denied {
        return error.context("giving the measured CPUs cpuset partitions");
    }
    let text = format!(
        "cannot change cpusets below {} ({error}); run as root, outside of unprivileged containers",
        cpusets.root.display()
    );
    Refusal::Lacking(text).into()
}

/// The limit of SCHED_DEADLINE bandwidth on a CPU: rt_runtime / rt_period, less what the kernel's
/// fair server holds of it; 1 where admission control is off.
#[must_use]
pub fn deadline_bandwidth_limit(roots: &Roots) -> f64 {
    let read = |name: &str| -> Option<f64> {
        fs::read_to_string(roots.proc.path(&format!("sys/kernel/{name}"))).ok()?.trim().parse().ok()
    };
    match (read("sched_rt_runtime_us"), read("sched_rt_period_us")) {
        (Some(runtime), Some(period)) if runtime >= 0.0 && period > 0.0 => {
            runtime / period - fair_server_share(roots)
        }
        _ => 1.0,
    }
}

/// The fair server is a SCHED_DEADLINE entity of the kernel's own, admitted like any other. Its
/// parameters are in debugfs, which may be locked: then the kernel's default since Linux 6.12.
fn fair_server_share(roots: &Roots) -> f64 {
    const DEFAULT: f64 = 0.05;
    let read = |name: &str| -> Option<f64> {
        let path = roots.sys.join("kernel/debug/sched/fair_server/cpu0").join(name);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    if let (Some(runtime), Some(period)) = (read("runtime"), read("period")) {
        return runtime / period;
    }
    let release = roots.proc.text("sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (6, 12) { DEFAULT } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use kernel::procfs::Proc;

    use super::*;

    fn limit(files: &[(&str, &str)]) -> f64 {
        let root = tempfile::tempdir().unwrap();
        for (name, value) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        let proc = Proc::at(&root.path().join("proc"));
        deadline_bandwidth_limit(&Roots { proc, sys: root.path().join("sys"), ..Roots::default() })
    }

    #[test]
    fn the_fair_server_has_its_part_of_the_limit() {
        let runtime = ("proc/sys/kernel/sched_rt_runtime_us", "950000\n");
        let period = ("proc/sys/kernel/sched_rt_period_us", "1000000\n");
        let release = |text| ("proc/sys/kernel/osrelease", text);
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found}");
        near(limit(&[runtime, period, release("6.1.0-56-cloud-amd64\n")]), 0.95);
        near(limit(&[runtime, period, release("6.18.44-fc-v657\n")]), 0.90);
        let own = "sys/kernel/debug/sched/fair_server/cpu0";
        let (held, every) = (format!("{own}/runtime"), format!("{own}/period"));
        let read = [(&*held, "100000000\n"), (&*every, "1000000000\n")];
        near(limit(&[runtime, period, read[0], read[1]]), 0.85);
        near(limit(&[("proc/sys/kernel/sched_rt_runtime_us", "-1\n"), period]), 1.0);
    }
}
