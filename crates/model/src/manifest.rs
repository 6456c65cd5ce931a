//! `manifest.json`: what was run, where, with what, and how each repetition ended.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::host::{
    Cleared, CoreType, HostFacts, KvmFacts, KvmRun, Platform, Quiet, VhostThread,
};
use crate::{Suite, analysis::ExperimentAnalysis, clock::ClockMap};

/// The version of the result folder's layout that this code writes.
pub const SCHEMA_VERSION: u32 = 2;

/// The manifest of a result folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// The suite as run, defaults filled in.
    pub suite: Suite,
    /// When the run began, RFC 3339 in UTC.
    pub started_utc: String,
    /// When the last repetition was written; empty while it runs.
    pub finished_utc: Option<String>,
    /// The machine.
    pub host: HostFacts,
    /// Programs and their versions.
    pub versions: Versions,
    /// Seed of every random choice: of the order within a round, and in a simulation.
    pub seed: u64,
    /// How guests were executed; none where no experiment had one.
    pub accelerator: Option<AcceleratorFacts>,
    /// The disks of the user's from which VMs were booted, as they were when the run began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskFacts>,
    /// How the measured CPU was kept awake.
    pub keep_awake: KeepAwake,
    /// Who was kept away from the measured CPU; none in folders of earlier versions.
    #[serde(default)]
    pub cleared: Option<Cleared>,
    /// What the analysis says of each experiment with tasks; none in folders of earlier versions.
    #[serde(default)]
    pub analyses: Vec<ExperimentAnalysis>,
    /// Experiments that this host cannot run; there is no attempt at them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub impossible: Vec<Impossible>,
    /// When the run was gone on with, the earliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<Resumption>,
    /// Every attempt at every repetition, in the order in which they ran.
    pub repetitions: Vec<RepetitionRecord>,
}

/// A run that was gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumption {
    /// When, RFC 3339 in UTC.
    pub utc: String,
    /// Which boot of the host; none where it does not say.
    pub boot_id: Option<String>,
    /// Whether the host had been rebooted since the run, or the last time.
    pub after_reboot: bool,
}

/// An experiment that a host cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impossible {
    /// Its name.
    pub experiment: String,
    /// What the host lacks, and the remedy.
    pub reason: String,
}

/// What produced the results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// This project.
    pub bench: String,
    /// QEMU, where guests ran.
    pub qemu: Option<String>,
    /// The built-in guest's kernel, where such guests ran; several with `, ` between them.
    pub guest_kernel: Option<String>,
}

/// A disk image of the user's. Two with the same path, size and time of change are taken for the
/// same: to read all of an image takes longer than most repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// The file.
    pub image: PathBuf,
    /// `qcow2` or `raw`.
    pub format: String,
    /// The file's size.
    pub bytes: u64,
    /// The size of the disk that is in it.
    pub virtual_bytes: u64,
    /// When the file was last changed, RFC 3339 in UTC.
    pub modified_utc: String,
}

/// KVM or TCG, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceleratorFacts {
    /// `kvm` or `tcg`.
    pub name: String,
    /// Why this one.
    pub reason: String,
}

/// Whether the measured CPU was kept out of idle, and what leaving idle costs there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeepAwake {
    /// Whether it was.
    pub on: bool,
    /// Where the decision comes from: the suite or the measurement.
    pub reason: String,
    /// How much longer a burst takes after idle than without, measured: 0.35 is 35 %.
    pub idle_cost: Option<f64>,
}

/// How an attempt at a repetition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Complete.
    Done,
    /// Failed; what was measured until then is kept.
    Failed,
}

/// One attempt at a repetition. Its folder is `<experiment>/rep-<attempt, three digits>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepetitionRecord {
    /// The experiment.
    pub experiment: String,
    /// Numbers the experiment's attempts from 0; the `repetition` column of its CSV files.
    pub attempt: u32,
    /// The repetition (from 0) that this is an attempt at.
    pub repetition: u32,
    /// How it ended.
    pub status: Status,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began, RFC 3339 in UTC.
    pub started_utc: String,
    /// How long it took, with preparation and teardown.
    pub elapsed_ns: u64,
    /// The share of the measured time in which the measured CPU ran no thread; none where no sentinel
    /// watched.
    pub stalled_share: Option<f64>,
    /// `stalled_share` is above `noise.max_stalled`.
    pub noisy: bool,
    /// This attempt is the one that counts for its repetition: the quietest that is done.
    pub counts: bool,
    /// What this attempt was run with that the suite does not say.
    #[serde(default)]
    pub facts: Facts,
}

/// Facts of an attempt, each where it is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// QEMU's start to the agent's hello.
    pub boot_ns: Option<u64>,
    /// The kernel that the guest booted, as its `uname -r` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// How programs entered a VM that ran already: `guest agent` or `ssh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_in: Option<String>,
    /// The clock source that its kernel used as it came up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_source: Option<String>,
    /// Guest CLOCK_MONOTONIC minus host CLOCK_MONOTONIC, at the start of the workload.
    pub guest_clock_offset_ns: Option<i64>,
    /// Half the round trip of that measurement: the offset is known to within this.
    pub guest_clock_uncertainty_ns: Option<u64>,
    /// Growth of the offset over the repetition, as a share of the time: 1e-6 is 1 µs a second.
    pub guest_clock_drift: Option<f64>,
    /// Share of the measured CPU that the vCPU threads used while the workload ran.
    pub vcpu_share: Option<f64>,
    /// Share of a CPU that QEMU's other threads used meanwhile.
    pub emulator_share: Option<f64>,
    /// Nanoseconds of work per loop iteration that rtload was calibrated to, where the tasks ran.
    pub ns_per_iteration: Option<f64>,
    /// What fixed work was measured by; none where the work was paced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_work: Option<FixedWork>,
    /// The clients of a service, where one was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<WebFacts>,
    /// What the kernel's trace saw of the VM's threads; none where nothing was traced.
    #[serde(default)]
    pub trace: Option<TraceFacts>,
    /// What KVM counted; none where the guest did not run under KVM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kvm: Option<KvmRun>,
    /// How the stall sentinel watched; none where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<SentinelFacts>,
    /// How each watched, where several CPUs are measured; what stands above is of the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentinels: Vec<SentinelFacts>,
    /// Where the first miss ended the workload early; none where it ran its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Each VM, where there are several; what stands above is of the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vms: Vec<VmFacts>,
    /// What probes of the clock said beside their rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clocks: Vec<ClockFacts>,
    /// What the reservation's mechanism said of itself: how finely it enforces, what it counted.
    #[serde(default)]
    pub mechanism: Vec<String>,
    /// rtload's warnings and others', for the report.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What a probe of the clock said beside its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockFacts {
    /// The VM that it was in; none on the host.
    pub vm: Option<String>,
    /// Its name.
    pub service: String,
    /// The clock source in use there.
    pub clock_source: Option<String>,
    /// All that could be used there.
    pub clock_sources: Option<Vec<String>>,
    /// Reads of the clocks.
    pub reads: u64,
    /// Time in which it read.
    pub read_ns: u64,
    /// Distances between reads above this are gaps.
    pub threshold_ns: u64,
    /// From timer to timer.
    pub timer_period_ns: u64,
    /// Steal time meanwhile, to 10 ms, as it is seen there.
    pub steal_ns: Option<u64>,
}

/// Facts of one of several VMs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VmFacts {
    /// The VM.
    pub vm: String,
    /// As [`Facts::boot_ns`].
    pub boot_ns: Option<u64>,
    /// As [`Facts::kernel`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// As [`Facts::way_in`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_in: Option<String>,
    /// As [`Facts::clock_source`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_source: Option<String>,
    /// As [`Facts::guest_clock_offset_ns`].
    pub guest_clock_offset_ns: Option<i64>,
    /// As [`Facts::guest_clock_uncertainty_ns`].
    pub guest_clock_uncertainty_ns: Option<u64>,
    /// As [`Facts::guest_clock_drift`].
    pub guest_clock_drift: Option<f64>,
    /// As [`Facts::vcpu_share`].
    pub vcpu_share: Option<f64>,
    /// As [`Facts::emulator_share`].
    pub emulator_share: Option<f64>,
    /// As [`Facts::ns_per_iteration`].
    pub ns_per_iteration: Option<f64>,
    /// As [`Facts::kvm`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kvm: Option<KvmRun>,
    /// As [`Facts::mechanism`].
    #[serde(default)]
    pub mechanism: Vec<String>,
}

impl VmFacts {
    /// As the attempt's, of which these are the only VM's, or the first one's.
    pub fn put_into(self, facts: &mut Facts) {
        facts.boot_ns = self.boot_ns;
        facts.kernel = self.kernel;
        facts.way_in = self.way_in;
        facts.clock_source = self.clock_source;
        facts.guest_clock_offset_ns = self.guest_clock_offset_ns;
        facts.guest_clock_uncertainty_ns = self.guest_clock_uncertainty_ns;
        facts.guest_clock_drift = self.guest_clock_drift;
        facts.vcpu_share = self.vcpu_share;
        facts.emulator_share = self.emulator_share;
        facts.ns_per_iteration = self.ns_per_iteration;
        facts.kvm = self.kvm;
        facts.mechanism = self.mechanism;
    }
}

impl Facts {
    /// As they are known of one of several VMs.
    #[must_use]
    pub fn of(&self, vm: Option<&str>) -> Self {
        let mut own = self.clone();
        if let Some(facts) = self.vms.iter().find(|facts| Some(facts.vm.as_str()) == vm) {
            facts.clone().put_into(&mut own);
        }
        if let Some(trace) = &mut own.trace {
            trace.threads.retain(|thread| thread.vm.is_none() || thread.vm.as_deref() == vm);
        }
        own
    }

    /// How each sentinel watched.
    pub fn all_sentinels(&self) -> impl Iterator<Item = &SentinelFacts> {
        let only = self.sentinel.iter().filter(|_| self.sentinels.is_empty());
        self.sentinels.iter().chain(only)
    }

    /// How the sentinel of a CPU watched; that of the first where it is not known which.
    #[must_use]
    pub fn sentinel_on(&self, cpu: Option<u32>) -> Option<&SentinelFacts> {
        let own = self.sentinels.iter().find(|own| cpu.is_some() && own.cpu == cpu);
        own.or(self.sentinel.as_ref())
    }

    /// The clock of the attempt's jobs, whose offset was measured at `since_ns` of the host's: the
    /// host's own where they ran there.
    #[must_use]
    pub fn jobs_clock(&self, since_ns: u64) -> ClockMap {
        ClockMap {
            offset_ns: self.guest_clock_offset_ns.unwrap_or(0),
            since_ns,
            drift: self.guest_clock_drift.unwrap_or(0.0),
        }
    }
}

/// A workload that its first job beyond the limit ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The task of that job.
    pub task: String,
    /// From the first release to the end.
    pub after_ns: u64,
}

/// Calibrations of the measured CPU of the host beside a repetition of fixed work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FixedWork {
    /// Nanoseconds of an iteration just before: execution times became iterations by it.
    pub before_ns_per_iteration: f64,
    /// The same just after.
    pub after_ns_per_iteration: f64,
}

impl FixedWork {
    /// How far the processor's speed drifted over the repetition, as a share: above zero where the
    /// same work took longer after it.
    #[must_use]
    pub fn drift(self) -> f64 {
        self.after_ns_per_iteration / self.before_ns_per_iteration - 1.0
    }
}

/// How the stall sentinel watched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentinelFacts {
    /// The CPU that it watched; none in folders of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Budget of its reservation, by what a look takes.
    pub budget_ns: u64,
    /// Period of its reservation.
    pub period_ns: u64,
    /// From one look to the next: a stall may have begun that much before it was seen.
    #[serde(default = "SentinelFacts::usual_interval_ns")]
    pub interval_ns: u64,
    /// CPU time of a look, measured before it watched: the median.
    pub look_ns: u64,
    /// How often it looked.
    pub looks: u64,
    /// By how much it was late where its own budget may be the reason: stalls there go unseen.
    pub held_back_ns: u64,
    /// How long it watched.
    pub watched_ns: u64,
}

impl SentinelFacts {
    /// That of sentinels that did not say.
    #[must_use]
    pub const fn usual_interval_ns() -> u64 {
        1_000_000
    }
}

/// What the rows of `requests.csv` do not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebFacts {
    /// Requests between the service's start and the first measured one; with a guest that is kept
    /// from one repetition to the next, before the first of them.
    pub warm_up_requests: u64,
    /// Those of them that failed.
    pub warm_up_failures: u64,
    /// Connections opened for measured requests.
    pub connections: u64,
    /// How long opening the slowest took.
    pub slowest_connect_ns: Option<u64>,
    /// Connections that took 1 s or more: one whose request was lost and sent again is among them.
    pub connects_of_1s_or_more: u64,
}

/// How a trace came out, held against the threads' CPU clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceFacts {
    /// When recording began, CLOCK_MONOTONIC of the host.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
    /// When the workload began; what is judged lies between here and `workload_to_ns`.
    pub workload_from_ns: Option<u64>,
    /// When the workload was over.
    pub workload_to_ns: Option<u64>,
    /// Events that were overwritten before they could be read.
    pub lost_events: u64,
    /// Intervals left out because nothing tells when they began.
    pub unpaired: u64,
    /// The VM's threads: vCPUs first.
    pub threads: Vec<ThreadFacts>,
}

/// CPU time of one of the VM's threads while the trace was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadFacts {
    /// Its VM; none in folders of earlier versions, which have one.
    #[serde(default)]
    pub vm: Option<String>,
    /// Its name in `supply.csv`.
    pub thread: String,
    /// Its id.
    pub tid: i32,
    /// What its rows in `supply.csv` add up to.
    pub traced_ns: u64,
    /// The part of it on a measured CPU.
    pub measured_cpu_ns: u64,
    /// What its CPU clock advanced by; none where it ended before the trace.
    pub clock_ns: Option<u64>,
}
