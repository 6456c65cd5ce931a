//! The machine that results come from, as the manifest describes it.

use serde::{Deserialize, Serialize};

use crate::Mechanism;

/// What kind of machine a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// No hypervisor lies beneath it.
    BareMetal,
    /// A virtual machine on a real processor.
    VirtualMachine,
    /// Its processor is emulated by QEMU (TCG).
    Emulated,
}

/// What QEMU's emulator answers to CPUID leaf 0x4000_0000.
const TCG: &str = "TCGTCGTCGTCG";

impl Platform {
    /// The kind of a machine whose processor names the hypervisor `signature` (CPUID leaf
    /// 0x4000_0000) and which calls its processor `cpu_model`.
    #[must_use]
    pub fn under(signature: &str, cpu_model: Option<&str>) -> Self {
        if signature == TCG || cpu_model.is_some_and(Self::is_emulated_processor) {
            Self::Emulated
        } else {
            Self::VirtualMachine
        }
    }

    /// `QEMU TCG CPU version 2.5+` is the model of `-cpu max` under emulation.
    #[must_use]
    pub fn is_emulated_processor(cpu_model: &str) -> bool {
        cpu_model.contains("QEMU TCG")
    }

    /// Its name in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BareMetal => "bare-metal",
            Self::VirtualMachine => "virtual-machine",
            Self::Emulated => "emulated",
        }
    }

    /// What is real on such a host, in one sentence.
    #[must_use]
    pub fn what_is_real(self) -> &'static str {
        match self {
            Self::BareMetal => {
                "The host is bare metal: the code path, the scheduling and the speed are the \
                 hardware's."
            }
            Self::VirtualMachine => {
                "The host is a virtual machine: the code path and the scheduling are real, and so \
                 is the processor's speed, less what the hypervisor beneath takes."
            }
            Self::Emulated => {
                "The host's processor is emulated (QEMU TCG): the code path and the scheduling are \
                 real, the speed is not the hardware's."
            }
        }
    }

    /// Whether times that depend on the processor's speed are those of real hardware.
    #[must_use]
    pub fn has_real_speed(self) -> bool {
        self != Self::Emulated
    }
}

/// The kind of core on processors that have two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoreType {
    /// The faster kind.
    Performance,
    /// The slower kind.
    Efficiency,
}

impl CoreType {
    /// Its name in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Performance => "performance",
            Self::Efficiency => "efficiency",
        }
    }
}

/// How the kernel's KVM is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvmFacts {
    /// How long a vCPU that halts polls before it sleeps, at most: the module's `halt_poll_ns`. It
    /// polls on its own budget. 0 is off.
    pub halt_poll_ns: Option<u64>,
    /// Whether guests' page tables are walked by the hardware (`npt`, `ept`).
    pub nested_paging: Option<bool>,
}

/// The machine that the figures come from. What it does not tell is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// What the host is called: by the cluster that ran the job, else by itself; none in folders of
    /// earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The processor, as /proc/cpuinfo calls it.
    pub cpu_model: Option<String>,
    /// CPUs online.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Kernel release.
    pub kernel: String,
    /// Distribution, from os-release.
    pub os: Option<String>,
    /// The kernel's tick rate in Hz, where it can be told.
    pub tick_hz: Option<u32>,
    /// `true` where SCHED_DEADLINE budgets are enforced to better than a tick.
    pub hrtick_dl: Option<bool>,
    /// The clock source in use.
    pub clock_source: Option<String>,
    /// The hypervisor under this host, where it is itself a virtual machine.
    pub hypervisor: Option<String>,
    /// `kernel.sched_rt_runtime_us`.
    pub rt_runtime_us: Option<i64>,
    /// `kernel.sched_rt_period_us`.
    pub rt_period_us: Option<i64>,
    /// Cgroup version whose cpuset controller is used: 1 or 2.
    pub cpuset_version: Option<u32>,
    /// The CPU on which everything was measured; of several the first.
    pub measured_cpu: u32,
    /// All of them, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured_cpus: Vec<u32>,
    /// The CPUs for everything else.
    pub housekeeping_cpus: Vec<u32>,
    /// The machine's boot, so that `--resume` can tell it from another.
    pub boot_id: Option<String>,
    /// Bare metal, a virtual machine or an emulated one.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Why that CPU was measured, or those, in one sentence.
    #[serde(default)]
    pub measured_cpu_reason: Option<String>,
    /// CPUs that are neither measured nor used for anything else.
    #[serde(default)]
    pub idle_cpus: Vec<u32>,
    /// The CPUs of the first measured CPU's core, itself included (SMT).
    #[serde(default)]
    pub smt_siblings: Option<Vec<u32>>,
    /// The NUMA node of the first measured CPU.
    #[serde(default)]
    pub numa_node: Option<u32>,
    /// The kind of the first measured CPU's core, where the processor has two.
    #[serde(default)]
    pub core_type: Option<CoreType>,
    /// The first measured CPU's frequency governor.
    #[serde(default)]
    pub governor: Option<String>,
    /// Whether the kernel is PREEMPT_RT.
    #[serde(default)]
    pub preempt_rt: Option<bool>,
    /// The kernel's command line.
    #[serde(default)]
    pub kernel_command_line: Option<String>,
    /// CPUs that the command line's `isolcpus` (or an isolated partition) keeps out of balancing.
    #[serde(default)]
    pub isolated_cpus: Option<Vec<u32>>,
    /// CPUs whose tick stops while one thread runs (`nohz_full`).
    #[serde(default)]
    pub nohz_full_cpus: Option<Vec<u32>>,
    /// How KVM is set; none where it is not loaded.
    #[serde(default)]
    pub kvm: Option<KvmFacts>,
}

impl HostFacts {
    /// Every CPU on which something was measured, in the order of the suite.
    #[must_use]
    pub fn measured(&self) -> Vec<u32> {
        match self.measured_cpus.is_empty() {
            true => vec![self.measured_cpu],
            false => self.measured_cpus.clone(),
        }
    }

    /// The measured CPU that did everything else as well, where none was left for that.
    #[must_use]
    pub fn shared_cpu(&self) -> Option<u32> {
        let mut all = self.measured_cpus.iter().copied();
        all.find(|cpu| self.housekeeping_cpus.contains(cpu))
    }

    /// How long the tick is at which this host ends budgets of `mechanism`; zero where it ends them
    /// on time, none where the host does not say.
    #[must_use]
    pub fn budget_tick_ns(&self, mechanism: Mechanism) -> Option<u64> {
        let timed = mechanism.is_deadline() && self.hrtick_dl == Some(true);
        match self.tick_hz {
            _ if timed || mechanism.is_sharp() => Some(0),
            Some(hz) if hz > 0 => Some(1_000_000_000 / u64::from(hz)),
            _ => None,
        }
    }
}

/// Who was kept away from the measured CPU for a run, and who could not be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// Threads that were moved away; on cgroup v2 the partition itself does it, and counts nobody.
    pub moved_threads: u64,
    /// Ordinary threads of others that may run there all the same.
    pub threads_left: u64,
    /// Kernel threads that may run there.
    pub kernel_threads_left: u64,
    /// What `host.quiet` did; none where it is off.
    #[serde(default)]
    pub quiet: Option<Quiet>,
}

/// What `host.quiet = true` moved and set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// Interrupts that were moved away from the measured CPU.
    pub interrupts_moved: u64,
    /// Interrupts that the kernel keeps there.
    pub interrupts_left: u64,
    /// Whether unbound work of the kernel was moved; none where the kernel has no mask for it.
    pub workqueues_moved: Option<bool>,
    /// The frequency that was set, in kHz; none where the host has no cpufreq.
    pub frequency_khz: Option<u64>,
    /// The governor that was set; none where the host has no cpufreq.
    pub governor: Option<String>,
}

/// What KVM brings that emulation has not, of one VM while its workload ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvmRun {
    /// Steal time as the guest counts it in its /proc/stat, in ticks of 10 ms, of all vCPUs.
    pub guest_steal_ns: Option<u64>,
    /// Time that the vCPUs' threads waited in a run queue (schedstat): what KVM tells the guest as
    /// steal. A thread that its mechanism throttles waits in none.
    pub vcpu_wait_ns: Option<u64>,
    /// Time in which the trace shows the vCPUs' threads runnable and not running, throttled or
    /// waiting; none where nothing was traced.
    pub unsupplied_ns: Option<u64>,
    /// VM exits.
    pub exits: Option<u64>,
    /// Time that the vCPUs polled when the guest halted, on their own budget.
    pub halt_poll_ns: Option<u64>,
    /// The kernel's threads that carry the VM's network traffic.
    #[serde(default)]
    pub vhost_threads: Vec<VhostThread>,
}

/// A vhost thread: it works for a VM, and is none of its process's up to Linux 6.3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VhostThread {
    /// Its id.
    pub tid: i32,
    /// The CPUs on which it may run.
    pub cpus: Vec<u32>,
    /// CPU time that it used while the workload ran.
    pub cpu_ns: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_platforms_as_people_do() {
        for platform in [Platform::BareMetal, Platform::VirtualMachine, Platform::Emulated] {
            let text = serde_json::to_string(&platform).unwrap();
            assert_eq!(text, format!("\"{}\"", platform.name()));
            assert_eq!(platform.what_is_real().matches(". ").count(), 0, "one sentence");
        }
    }

    #[test]
    fn facts_of_earlier_versions_are_read() {
        let text = r#"{"cpu_model":null,"cpus":2,"memory_bytes":null,"kernel":"6.1","os":null,
            "tick_hz":null,"hrtick_dl":null,"clock_source":null,"hypervisor":null,
            "rt_runtime_us":null,"rt_period_us":null,"cpuset_version":1,"measured_cpu":1,
            "housekeeping_cpus":[0],"boot_id":null}"#;
        let facts: HostFacts = serde_json::from_str(text).unwrap();
        assert_eq!((facts.measured(), facts.shared_cpu()), (vec![1], None));
        assert_eq!((facts.platform, facts.kvm, facts.preempt_rt), (None, None, None));
        let both = HostFacts {
            measured_cpus: vec![1, 0],
            housekeeping_cpus: vec![0],
            ..HostFacts::default()
        };
        assert_eq!((both.measured(), both.shared_cpu()), (vec![1, 0], Some(0)));
    }
}
