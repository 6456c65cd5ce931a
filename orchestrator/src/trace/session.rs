//! A trace from the side of the run: set up, started, stopped, held against the CPU clocks.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use kernel::tracefs::Tracefs;
use model::manifest::{ThreadFacts, TraceFacts};

use super::{
    Recorded,
    recorder::{FACTS, READY},
};
use crate::{
    host::{Background, Roots, Stage, state_dir},
    mechanism::Vm,
};

/// Trace and clock may differ by this share of the clock's time …
const TOLERANCE: f64 = 0.01;
/// … or by this: a running thread's clock is read as of the last tick.
const CLOCK_STEP_NS: u64 = 8_000_000;

/// A trace that is being recorded.
#[derive(Debug)]
pub struct Tracer {
    recorder: Background,
    facts: PathBuf,
}

/// Whether this host can be traced; what it lacks, where it cannot.
///
/// # Errors
/// What is missing, in one clause.
pub fn available(roots: &Roots) -> Result<(), String> {
    let kinds = roots.proc.text("filesystems").unwrap_or_default();
    if !kinds.lines().any(|line| line.trim_start_matches("nodev").trim() == "tracefs") {
        return Err("the kernel has no tracefs".to_owned());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("tracefs needs root".to_owned());
    }
    Ok(())
}

impl Tracer {
    /// Starts recording the threads of `vms`, each with its name, and all that runs on the measured
    /// CPUs, into `folder`; with `network` also the network's softirqs.
    ///
    /// # Errors
    /// What this host refused; then nothing of it is left.
    pub fn start(
        stage: &mut Stage,
        vms: &[(&str, &Vm)],
        network: bool,
        folder: &Path,
    ) -> Result<Self> {
        let mark = stage.guard.mark();
        let started = Self::begin(stage, vms, network, folder);
        if started.is_err() {
            stage.guard.undo_to(mark)?;
        }
        started
    }

    fn begin(stage: &mut Stage, vms: &[(&str, &Vm)], network: bool, folder: &Path) -> Result<Self> {
        available(&stage.roots).map_err(anyhow::Error::msg)?;
        let tracefs = match Tracefs::find(&stage.roots.proc.text("mounts")?) {
            Some(mounted) => mounted,
            None => Tracefs::at(&stage.guard.mount_tracefs(&state_dir())?),
        };
        let instance = stage.guard.make_instance(&tracefs)?;
        let mut command = Command::new(env::current_exe()?);
        command.args(["helper", "record", "--tracefs"]).arg(tracefs.root());
        command.arg("--instance").arg(instance.root()).arg("--folder").arg(folder);
        for cpu in &stage.cpus.measured {
            command.args(["--measured", &cpu.to_string()]);
        }
        for (name, vm) in vms {
            let vm = Recorded { name: (*name).to_owned(), pid: vm.pid, vcpus: vm.vcpus.clone() };
            command.args(["--vm", &vm.to_string()]);
        }
        if network {
            command.arg("--network");
        }
        let log = folder.join("trace.log");
        let mut recorder =
            Background::start(&stage.guard, "the trace's recorder", &mut command, &log)?;
        recorder.wait_for_line(READY, Duration::from_secs(10), &stage.stop)?;
        Ok(Self { recorder, facts: folder.join(FACTS) })
    }

    /// Ends the recording. The instance goes when the guard undoes what the attempt changed.
    ///
    /// # Errors
    /// Where the recorder failed.
    pub fn stop(self) -> Result<TraceFacts> {
        self.recorder.stop()?;
        let text = fs::read(&self.facts).with_context(|| self.facts.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| self.facts.display().to_string())
    }
}

/// What a reader of the trace must know: lost events, and vCPUs whose trace and clock differ.
///
/// Of the other threads nothing is said: many run too briefly, and on CPUs that go idle, for a kernel
/// that records no switch out of idle. `facts.trace.threads` has both figures, and the report shows
/// them.
#[must_use]
pub fn warnings(facts: &TraceFacts) -> Vec<String> {
    let mut warnings = Vec::new();
    if facts.lost_events > 0 {
        warnings.push(format!(
            "the trace lost {} events, which came faster than they could be read; \
             supply.csv has gaps there",
            facts.lost_events
        ));
    }
    warnings.extend(facts.threads.iter().filter(is_vcpu).filter_map(difference));
    warnings
}

fn is_vcpu(thread: &&ThreadFacts) -> bool {
    thread.thread.starts_with("vcpu")
}

fn difference(thread: &ThreadFacts) -> Option<String> {
    let clock_ns = thread.clock_ns?;
    let apart_ns = clock_ns.abs_diff(thread.traced_ns);
    let allowed_ns = CLOCK_STEP_NS.max((clock_ns as f64 * TOLERANCE) as u64);
    (apart_ns > allowed_ns).then(|| {
        let vm = match thread.vm.as_deref() {
            Some(vm) if vm != model::suite::Vm::NAME => format!(" of `{vm}`"),
            _ => String::new(),
        };
        format!(
            "thread {}{vm} ran {:.3} s by the trace, but {:.3} s by its CPU clock",
            thread.thread,
            thread.traced_ns as f64 / 1e9,
            clock_ns as f64 / 1e9
        )
    })
}

#[cfg(test)]
mod tests {
    use kernel::procfs::Proc;

    use super::*;

    fn facts(traced_ns: u64, clock_ns: Option<u64>, lost_events: u64) -> TraceFacts {
        let thread = "vcpu0".to_owned();
        TraceFacts {
            from_ns: 0,
            to_ns: 1,
            workload_from_ns: None,
            workload_to_ns: None,
            lost_events,
            unpaired: 0,
            threads: vec![ThreadFacts {
                vm: None,
                thread,
                tid: 7,
                traced_ns,
                measured_cpu_ns: 0,
                clock_ns,
            }],
        }
    }

    #[test]
    fn a_trace_that_differs_from_the_clock_is_said() {
        let second = 1_000_000_000;
        let said = warnings(&facts(11 * second, Some(12 * second), 0));
        assert_eq!(said, ["thread vcpu0 ran 11.000 s by the trace, but 12.000 s by its CPU clock"]);
        assert!(warnings(&facts(11_990_000_000, Some(12 * second), 0)).is_empty());
        assert!(warnings(&facts(3_000_000, Some(9_000_000), 0)).is_empty(), "below two ticks");
        assert!(warnings(&facts(0, None, 0)).is_empty(), "no clock, no comparison");
        let mut other = facts(11 * second, Some(12 * second), 0);
        other.threads[0].thread = "main-loop".to_owned();
        assert!(warnings(&other).is_empty(), "of a vCPU alone");
        assert!(warnings(&facts(0, None, 5))[0].contains("5 events"));
    }

    #[test]
    fn a_kernel_without_tracefs_is_said() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("filesystems"), "nodev\tproc\n\text4\n").unwrap();
        let roots = Roots { proc: Proc::at(root.path()), ..Roots::default() };
        assert!(available(&roots).unwrap_err().contains("no tracefs"));
    }
}
