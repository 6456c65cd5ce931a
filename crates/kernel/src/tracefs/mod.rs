//! The kernel's own trace of who ran when: tracefs (`Documentation/trace/ftrace.rst`).
//!
//! A trace is taken in a *tracing instance*: a folder below `instances/` with ring buffers, events,
//! filters and a clock of its own, so that whatever else is traced on the host goes on undisturbed.
//! Making and removing it is the caller's; here stands what is written into it ([`Instance::set_up`])
//! and how its buffers are read ([`Stream`]).

mod event;
mod layout;
mod page;
mod stream;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use event::{Decoder, Event, Name};
pub use layout::{Field, Layout, LayoutError};
pub use page::{Page, Record, Records};
pub use stream::Stream;

use crate::affinity::Tid;

/// A mounted tracefs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracefs {
    root: PathBuf,
}

impl Tracefs {
    /// The tracefs at `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The first tracefs in the text of `/proc/mounts`.
    #[must_use]
    pub fn find(mounts: &str) -> Option<Self> {
        mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (path, kind) = (fields.next()?, fields.next()?);
            (kind == "tracefs").then(|| Self::at(Path::new(path)))
        })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The instance of this name, which need not be there yet.
    #[must_use]
    pub fn instance(&self, name: &str) -> Instance {
        Instance { root: self.root.join("instances").join(name) }
    }

    /// How this kernel lays out what [`Stream`] reads.
    ///
    /// # Errors
    /// Where a file is not readable or not understood.
    pub fn decoder(&self) -> Result<Decoder, LayoutError> {
        Decoder::read(&self.root.join("events"))
    }
}

/// Which switches and wake-ups are recorded: all on some CPUs, and those of some threads anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The CPUs, at least one.
    pub cpus: &'a [u32],
    /// The threads.
    pub threads: &'a [Tid],
    /// Softirqs of the network too, on every CPU.
    pub network: bool,
}

/// Ring-buffer sizes in KiB for each CPU: those on which everything is recorded, and the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffers {
    /// Of each CPU of the [`Scope`].
    pub measured_kib: u32,
    /// Of every other.
    pub other_kib: u32,
}

const SWITCH: &str = "events/sched/sched_switch";
const WAKEUP: &str = "events/sched/sched_wakeup";
const CHARGE: &str = "events/sched/sched_stat_runtime";
const SOFTIRQ: [&str; 2] = ["events/irq/softirq_entry", "events/irq/softirq_exit"];

/// A tracing instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    root: PathBuf,
}

impl Instance {
    /// The instance at `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The CPUs that have a buffer here, ascending.
    ///
    /// # Errors
    /// Where the instance is not there.
    pub fn cpus(&self) -> io::Result<Vec<u32>> {
        let path = self.root.join("per_cpu");
        let entries = fs::read_dir(&path).map_err(|error| at(&path, &error))?;
        let mut cpus: Vec<u32> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("cpu")?.parse().ok())
            .collect();
        cpus.sort_unstable();
        Ok(cpus)
    }

    /// Prepares everything but starts nothing: CLOCK_MONOTONIC, bounded buffers that drop the oldest
    /// events when they are full, and the events with their filters.
    ///
    /// # Errors
    /// What the kernel refused, with path and value.
    pub fn set_up(&self, scope: Scope, buffers: Buffers) -> io::Result<()> {
        self.write("tracing_on", "0")?;
        self.write("trace_clock", "mono")?;
        self.write("options/overwrite", "1")?;
        for cpu in self.cpus()? {
            let all = scope.cpus.contains(&cpu);
            let kib = if all { buffers.measured_kib } else { buffers.other_kib };
            self.write(&format!("per_cpu/cpu{cpu}/buffer_size_kb"), &kib.to_string())?;
        }
        self.restrict(scope)?;
        for event in [SWITCH, WAKEUP, CHARGE].into_iter().filter(|event| self.has(event)) {
            self.write(&format!("{event}/enable"), "1")?;
        }
        if scope.network {
            self.record_softirqs()?;
        }
        Ok(())
    }

    fn record_softirqs(&self) -> io::Result<()> {
        let wanted = event::VECTORS.map(|(number, _)| format!("vec=={number}")).join("||");
        for event in SOFTIRQ {
            self.write(&format!("{event}/filter"), &wanted)?;
            self.write(&format!("{event}/enable"), "1")?;
        }
        Ok(())
    }

    /// Not every kernel says for what it charges a thread.
    fn has(&self, event: &str) -> bool {
        event != CHARGE || self.root.join(event).exists()
    }

    /// Writes the filters, which may be done while it records.
    ///
    /// # Errors
    /// What the kernel refused, with path and value.
    pub fn restrict(&self, scope: Scope) -> io::Result<()> {
        let Scope { cpus, threads, .. } = scope;
        let on = |field: &str| {
            let each: Vec<_> = cpus.iter().map(|cpu| format!("{field}=={cpu}")).collect();
            each.join("||")
        };
        let either = |first: String, of: &dyn Fn(&Tid) -> String| {
            threads.iter().map(of).fold(first, |all, one| format!("{all}||{one}"))
        };
        let switch = either(on("CPU"), &|tid| format!("prev_pid=={tid}||next_pid=={tid}"));
        let wakeup = either(on("target_cpu"), &|tid| format!("pid=={tid}"));
        self.write(&format!("{SWITCH}/filter"), &switch)?;
        self.write(&format!("{WAKEUP}/filter"), &wakeup)?;
        // Of the threads alone: of the whole CPU there would be as many again as there are switches.
        if !self.has(CHARGE) {
            return Ok(());
        }
        // No thread has this number: without a filter every thread would be recorded.
        let charged = either("pid==-1".to_owned(), &|tid| format!("pid=={tid}"));
        self.write(&format!("{CHARGE}/filter"), &charged)
    }

    /// Starts or stops recording.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn record(&self, on: bool) -> io::Result<()> {
        self.write("tracing_on", if on { "1" } else { "0" })
    }

    /// Events lost since the buffers were made: overwritten before they were read, or dropped.
    ///
    /// # Errors
    /// Where the counters cannot be read.
    pub fn lost(&self) -> io::Result<u64> {
        let mut lost = 0;
        for cpu in self.cpus()? {
            let path = self.root.join(format!("per_cpu/cpu{cpu}/stats"));
            let text = fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
            lost += lost_in(&text);
        }
        Ok(lost)
    }

    fn write(&self, below: &str, value: &str) -> io::Result<()> {
        let path = self.root.join(below);
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
            .map_err(|error| {
                let text = format!("writing `{value}` to {}: {error}", path.display());
                io::Error::new(error.kind(), text)
            })
    }
}

/// The sum of the counters of loss in a CPU's `stats`.
fn lost_in(stats: &str) -> u64 {
    let counts = ["overrun", "commit overrun", "dropped events"];
    stats
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| counts.contains(&name.trim()))
        .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
        .sum()
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up instance with two CPUs, every file empty.
    fn tree() -> (tempfile::TempDir, Instance) {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            "tracing_on",
            "trace_clock",
            "options/overwrite",
            "per_cpu/cpu0/buffer_size_kb",
            "per_cpu/cpu1/buffer_size_kb",
            "events/sched/sched_switch/filter",
            "events/sched/sched_switch/enable",
            "events/sched/sched_wakeup/filter",
            "events/sched/sched_wakeup/enable",
            "events/sched/sched_stat_runtime/filter",
            "events/sched/sched_stat_runtime/enable",
            "events/irq/softirq_entry/filter",
            "events/irq/softirq_entry/enable",
            "events/irq/softirq_exit/filter",
            "events/irq/softirq_exit/enable",
        ];
        for file in files {
            let path = dir.path().join("instances/mine").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let instance = Tracefs::at(dir.path()).instance("mine");
        (dir, instance)
    }

    #[test]
    fn an_instance_is_set_up_and_not_yet_recording() {
        let (_dir, instance) = tree();
        let scope = Scope { cpus: &[1], threads: &[7, 8], network: false };
        instance.set_up(scope, Buffers { measured_kib: 4096, other_kib: 512 }).unwrap();
        let text = |file: &str| fs::read_to_string(instance.root().join(file)).unwrap();
        assert_eq!(
            text("events/sched/sched_switch/filter"),
            "CPU==1||prev_pid==7||next_pid==7||prev_pid==8||next_pid==8"
        );
        assert_eq!(text("events/sched/sched_wakeup/filter"), "target_cpu==1||pid==7||pid==8");
        assert_eq!(text("events/sched/sched_stat_runtime/filter"), "pid==-1||pid==7||pid==8");
        assert_eq!(text("events/sched/sched_stat_runtime/enable"), "1");
        // A file of the kernel takes each write as the whole; a made-up one does not.
        fs::write(instance.root().join("events/sched/sched_stat_runtime/filter"), "").unwrap();
        instance.restrict(Scope { cpus: &[1], threads: &[], network: false }).unwrap();
        assert_eq!(text("events/sched/sched_stat_runtime/filter"), "pid==-1");
        assert_eq!((text("trace_clock"), text("tracing_on")), ("mono".into(), "0".into()));
        assert_eq!(text("per_cpu/cpu0/buffer_size_kb"), "512");
        assert_eq!(text("per_cpu/cpu1/buffer_size_kb"), "4096");
        assert_eq!(text("events/irq/softirq_entry/enable"), "", "only where it is asked for");
    }

    #[test]
    fn softirqs_of_the_network_alone_are_recorded() {
        let (_dir, instance) = tree();
        let scope = Scope { cpus: &[1], threads: &[], network: true };
        instance.set_up(scope, Buffers { measured_kib: 1, other_kib: 1 }).unwrap();
        for event in SOFTIRQ {
            let text = |file| fs::read_to_string(instance.root().join(event).join(file)).unwrap();
            assert_eq!((text("filter").as_str(), text("enable").as_str()), ("vec==2||vec==3", "1"));
        }
    }

    #[test]
    fn all_of_several_cpus_is_recorded() {
        let (_dir, instance) = tree();
        let scope = Scope { cpus: &[1, 0], threads: &[7], network: false };
        instance.set_up(scope, Buffers { measured_kib: 4096, other_kib: 512 }).unwrap();
        let text = |file: &str| fs::read_to_string(instance.root().join(file)).unwrap();
        assert_eq!(
            text("events/sched/sched_switch/filter"),
            "CPU==1||CPU==0||prev_pid==7||next_pid==7"
        );
        assert_eq!(
            text("events/sched/sched_wakeup/filter"),
            "target_cpu==1||target_cpu==0||pid==7"
        );
        assert_eq!(text("per_cpu/cpu0/buffer_size_kb"), "4096");
    }

    #[test]
    fn a_kernel_that_does_not_say_what_it_charges_is_set_up_too() {
        let (_dir, instance) = tree();
        fs::remove_dir_all(instance.root().join(CHARGE)).unwrap();
        let scope = Scope { cpus: &[1], threads: &[7], network: false };
        instance.set_up(scope, Buffers { measured_kib: 1, other_kib: 1 }).unwrap();
        assert!(!instance.root().join(CHARGE).exists());
    }

    #[test]
    fn a_missing_file_is_named_with_the_value() {
        let (_dir, instance) = tree();
        fs::remove_file(instance.root().join("trace_clock")).unwrap();
        let scope = Scope { cpus: &[1], threads: &[], network: false };
        let error = instance.set_up(scope, Buffers { measured_kib: 1, other_kib: 1 }).unwrap_err();
        assert!(error.to_string().contains("`mono`") && error.to_string().contains("trace_clock"));
    }

    #[test]
    fn losses_of_every_kind_are_counted() {
        let stats = "entries: 86\noverrun: 3\ncommit overrun: 1\nbytes: 5016\n\
                     oldest event ts:   446.064091\ndropped events: 2\nread events: 9\n";
        assert_eq!(lost_in(stats), 6);
    }

    #[test]
    fn a_mounted_tracefs_is_found() {
        let mounts = "proc /proc proc rw 0 0\nnodev /sys/kernel/tracing tracefs rw 0 0\n";
        assert_eq!(Tracefs::find(mounts).unwrap().root(), Path::new("/sys/kernel/tracing"));
        assert_eq!(Tracefs::find("proc /proc proc rw 0 0\n"), None);
    }
}
