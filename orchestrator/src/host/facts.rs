//! What the host is, for the manifest, and what it counted, before and after each repetition.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kernel::{
    cpuset::Cpusets,
    procfs::{CpuTimes, Proc},
};
use model::manifest::{HostFacts, KvmFacts};
use serde::Serialize;

use super::{Cpus, Topology, platform};

/// Where a host's facts are read.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/proc`
    pub proc: Proc,
    /// `/sys`
    pub sys: PathBuf,
    /// `/etc` and `/boot` below this.
    pub root: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: Proc::default(), sys: "/sys".into(), root: "/".into() }
    }
}

/// The first line of a file; none where there is no such file or it is empty.
#[must_use]
pub fn line_of(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// The name that a cluster's job gives its host, in `RTVM_HOST_NAME`; else the kernel's.
fn host_name(kernel: Option<String>) -> Option<String> {
    std::env::var("RTVM_HOST_NAME").ok().filter(|name| !name.is_empty()).or(kernel)
}

/// CAP_SYS_NICE: real-time policies, and those of other users' threads.
const SYS_NICE: u64 = 1 << 23;

impl Roots {
    /// Whether this process may give threads real-time policies: as root, or by its capability.
    #[must_use]
    pub fn may_schedule(&self) -> bool {
        self.proc.status_mask("CapEff").unwrap_or(0) & SYS_NICE != 0
    }

    /// The facts that go into the manifest.
    #[must_use]
    pub fn host_facts(&self, cpus: &Cpus) -> HostFacts {
        let sysctl = |name: &str| line_of(&self.proc.path(&format!("sys/kernel/{name}")));
        let clock = self.sys.join("devices/system/clocksource/clocksource0/current_clocksource");
        let mounts = self.proc.text("mounts").unwrap_or_default();
        let (topology, cpu) = (Topology::at(&self.sys), cpus.first());
        HostFacts {
            name: host_name(sysctl("hostname")),
            cpu_model: self.cpuinfo("model name"),
            cpus: cpus.all().len() as u32,
            memory_bytes: self.memory_bytes(),
            kernel: sysctl("osrelease").unwrap_or_else(|| "unknown".to_owned()),
            os: self.os(),
            tick_hz: self.kernel_config("CONFIG_HZ").and_then(|hz| hz.parse().ok()),
            hrtick_dl: self.hrtick_dl(),
            clock_source: line_of(&clock),
            hypervisor: self.hypervisor(),
            rt_runtime_us: sysctl("sched_rt_runtime_us").and_then(|text| text.parse().ok()),
            rt_period_us: sysctl("sched_rt_period_us").and_then(|text| text.parse().ok()),
            cpuset_version: Cpusets::find(&mounts).ok().map(|found| found.version.number()),
            measured_cpu: cpus.first(),
            measured_cpus: match cpus.measured.len() {
                1 => Vec::new(),
                _ => cpus.measured.clone(),
            },
            housekeeping_cpus: cpus.housekeeping.clone(),
            boot_id: sysctl("random/boot_id"),
            platform: platform(self, kernel::cpuid::hypervisor().as_deref()),
            measured_cpu_reason: Some(cpus.reason.clone()),
            idle_cpus: cpus.idle.clone(),
            smt_siblings: topology.siblings(cpu),
            numa_node: topology.node(cpu),
            core_type: topology.core_type(cpu),
            governor: topology.governor(cpu),
            preempt_rt: self.preempt_rt(),
            kernel_command_line: line_of(&self.proc.path("cmdline")),
            isolated_cpus: topology.isolated(),
            nohz_full_cpus: topology.nohz_full(),
            kvm: self.kvm(),
        }
    }

    pub(super) fn cpuinfo(&self, key: &str) -> Option<String> {
        let text = self.proc.text("cpuinfo").ok()?;
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        })
    }

    fn memory_bytes(&self) -> Option<u64> {
        let text = self.proc.text("meminfo").ok()?;
        let kib: u64 = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?
            .trim()
            .split(' ')
            .next()?
            .parse()
            .ok()?;
        Some(kib * 1024)
    }

    fn os(&self) -> Option<String> {
        let text = fs::read_to_string(self.root.join("etc/os-release")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(line.trim_matches('"').to_owned())
    }

    /// A value of the running kernel's configuration, where /boot keeps it or a module tells.
    #[must_use]
    pub fn kernel_config(&self, key: &str) -> Option<String> {
        let release = line_of(&self.proc.path("sys/kernel/osrelease"))?;
        let text = fs::read_to_string(self.root.join(format!("boot/config-{release}")))
            .ok()
            .or_else(|| gunzip(&self.proc.path("config.gz")))?;
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    }

    /// Whether SCHED_DEADLINE budgets are enforced to better than a tick; none where debugfs does
    /// not say.
    #[must_use]
    pub fn hrtick_dl(&self) -> Option<bool> {
        let features = fs::read_to_string(self.sys.join("kernel/debug/sched/features")).ok()?;
        features.split_whitespace().find_map(|feature| match feature {
            "HRTICK_DL" => Some(true),
            "NO_HRTICK_DL" => Some(false),
            _ => None,
        })
    }

    /// Whether the kernel is PREEMPT_RT: it has a file that says so, or its version does.
    #[must_use]
    pub fn preempt_rt(&self) -> Option<bool> {
        if let Some(flag) = line_of(&self.sys.join("kernel/realtime")) {
            return Some(flag == "1");
        }
        let version = line_of(&self.proc.path("sys/kernel/version"))?;
        Some(version.split_whitespace().any(|word| word == "PREEMPT_RT"))
    }

    /// How KVM is set; none where it is not loaded.
    #[must_use]
    pub fn kvm(&self) -> Option<KvmFacts> {
        let parameter = |path: &str| line_of(&self.sys.join("module").join(path));
        let modules = self.sys.join("module");
        modules.join("kvm").exists().then(|| KvmFacts {
            halt_poll_ns: parameter("kvm/parameters/halt_poll_ns")
                .and_then(|text| text.parse().ok()),
            nested_paging: ["kvm_amd/parameters/npt", "kvm_intel/parameters/ept"]
                .into_iter()
                .find_map(parameter)
                .map(|text| matches!(&*text, "Y" | "1")),
        })
    }

    fn hypervisor(&self) -> Option<String> {
        let flags = self.cpuinfo("flags")?;
        let virtual_machine = flags.split_whitespace().any(|flag| flag == "hypervisor");
        let product = line_of(&self.sys.join("class/dmi/id/sys_vendor"));
        virtual_machine.then(|| product.unwrap_or_else(|| "unnamed".to_owned()))
    }

    /// Counters at this moment; what cannot be read is none.
    #[must_use]
    pub fn counters(&self, cpu: u32) -> Counters {
        let switches = self.proc.interrupts_and_switches().ok();
        let frequency = format!("devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq");
        let throttle = format!("devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count");
        Counters {
            at_ns: kernel::clock::monotonic_ns(),
            cpu: self.proc.cpu_times(cpu).ok(),
            interrupts: switches.map(|(interrupts, _)| interrupts),
            context_switches: switches.map(|(_, switches)| switches),
            frequency_khz: line_of(&self.sys.join(frequency)).and_then(|text| text.parse().ok()),
            throttle_count: line_of(&self.sys.join(throttle)).and_then(|text| text.parse().ok()),
        }
    }
}

fn gunzip(path: &Path) -> Option<String> {
    let output = std::process::Command::new("gzip").arg("-dc").arg(path).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the host counted since boot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Counters {
    /// When it was read, CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Idle, steal and interrupt time of the first measured CPU.
    pub cpu: Option<CpuTimes>,
    /// Interrupts of the machine.
    pub interrupts: Option<u64>,
    /// Context switches of the machine.
    pub context_switches: Option<u64>,
    /// Clock frequency of the first measured CPU, where cpufreq shows it.
    pub frequency_khz: Option<u64>,
    /// How often the first measured CPU was throttled for heat, where the processor counts it.
    pub throttle_count: Option<u64>,
}

#[cfg(test)]
mod tests {
    use model::manifest::CoreType;

    use super::*;
    use crate::host::topology::tests::tree;

    #[test]
    fn this_host_has_a_kernel_and_a_clock() {
        let cpus = Cpus::made_up(&[0], &[]);
        let facts = Roots::default().host_facts(&cpus);
        assert_ne!(facts.kernel, "unknown");
        assert!(facts.memory_bytes.unwrap() > 1 << 20);
    }

    #[test]
    fn what_an_empty_tree_does_not_say_is_unknown_and_not_zero() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots {
            proc: Proc::at(root.path()),
            sys: root.path().to_owned(),
            root: root.path().to_owned(),
        };
        let facts = roots.host_facts(&Cpus::made_up(&[0], &[]));
        assert_eq!((facts.cpu_model, facts.memory_bytes, facts.tick_hz), (None, None, None));
        assert_eq!((facts.kvm, facts.preempt_rt, facts.smt_siblings), (None, None, None));
        assert_eq!((facts.isolated_cpus, facts.governor, facts.numa_node), (None, None, None));
        assert_eq!(roots.counters(0).cpu, None);
    }

    /// Facts of a made-up host, CPU 1 measured.
    fn made_up(files: &[(&str, &str)]) -> HostFacts {
        let root = tree(files);
        let proc = Proc::at(&root.path().join("proc"));
        let roots = Roots { proc, sys: root.path().join("sys"), root: root.path().to_owned() };
        roots.host_facts(&Cpus::made_up(&[1], &[0]))
    }

    #[test]
    fn a_made_up_host_is_read() {
        let facts = made_up(&[
            ("sys/kernel/realtime", "1\n"),
            ("proc/cmdline", "quiet isolcpus=domain,1 nohz_full=1\n"),
            ("sys/devices/system/cpu/isolated", "1\n"),
            ("sys/devices/system/cpu/nohz_full", "1\n"),
            ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1,3\n"),
            ("sys/devices/system/cpu/cpu1/node0/cpulist", "0-3\n"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "schedutil\n"),
            ("sys/devices/cpu_core/cpus", "0-1\n"),
            ("sys/devices/cpu_atom/cpus", "2-3\n"),
            ("sys/module/kvm/parameters/halt_poll_ns", "200000\n"),
            ("sys/module/kvm_amd/parameters/npt", "Y\n"),
        ]);
        assert_eq!(facts.preempt_rt, Some(true));
        let line = facts.kernel_command_line.unwrap();
        assert_eq!(line, "quiet isolcpus=domain,1 nohz_full=1");
        assert_eq!((facts.isolated_cpus, facts.nohz_full_cpus), (Some(vec![1]), Some(vec![1])));
        assert_eq!((facts.smt_siblings, facts.numa_node), (Some(vec![1, 3]), Some(0)));
        assert_eq!(facts.governor.as_deref(), Some("schedutil"));
        assert_eq!(facts.core_type, Some(CoreType::Performance));
        let kvm = KvmFacts { halt_poll_ns: Some(200_000), nested_paging: Some(true) };
        assert_eq!(facts.kvm, Some(kvm));
    }

    #[test]
    fn a_kernel_names_its_preemption_where_it_has_no_file_for_it() {
        let version = |text| made_up(&[("proc/sys/kernel/version", text)]).preempt_rt;
        assert_eq!(version("#1 SMP PREEMPT_RT Debian 6.1.115-1\n"), Some(true));
        assert_eq!(version("#1 SMP PREEMPT_DYNAMIC Debian 6.1.115-1\n"), Some(false));
        let off = [("sys/module/kvm/x", ""), ("sys/module/kvm_intel/parameters/ept", "N\n")];
        let kvm = KvmFacts { halt_poll_ns: None, nested_paging: Some(false) };
        assert_eq!(made_up(&off).kvm, Some(kvm));
    }
}
