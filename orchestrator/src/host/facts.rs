//! What the host is, for the manifest, and what it counted, before and after each repetition.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kernel::{
    cpuset::Cpusets,
    procfs::{CpuTimes, Proc},
};
use model::manifest::HostFacts;
use serde::Serialize;

use super::Cpus;

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

impl Roots {
    /// The facts that go into the manifest.
    #[must_use]
    pub fn host_facts(&self, cpus: &Cpus) -> HostFacts {
        let sysctl = |name: &str| line_of(&self.proc.path(&format!("sys/kernel/{name}")));
        let clock = self.sys.join("devices/system/clocksource/clocksource0/current_clocksource");
        let mounts = self.proc.text("mounts").unwrap_or_default();
        HostFacts {
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
            measured_cpu: cpus.measured,
            housekeeping_cpus: cpus.housekeeping.clone(),
            boot_id: sysctl("random/boot_id"),
        }
    }

    fn cpuinfo(&self, key: &str) -> Option<String> {
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
    /// Idle, steal and interrupt time of the measured CPU.
    pub cpu: Option<CpuTimes>,
    /// Interrupts of the machine.
    pub interrupts: Option<u64>,
    /// Context switches of the machine.
    pub context_switches: Option<u64>,
    /// Clock frequency of the measured CPU, where cpufreq shows it.
    pub frequency_khz: Option<u64>,
    /// How often the measured CPU was throttled for heat, where the processor counts it.
    pub throttle_count: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_a_kernel_and_a_clock() {
        let cpus = Cpus { measured: 0, housekeeping: vec![] };
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
        let facts = roots.host_facts(&Cpus { measured: 0, housekeeping: vec![] });
        assert_eq!((facts.cpu_model, facts.memory_bytes, facts.tick_hz), (None, None, None));
        assert_eq!(roots.counters(0).cpu, None);
    }
}
