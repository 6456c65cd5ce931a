//! The tests' picture of the host: everything that the program changes, on other people's threads, in
//! cgroups, in the kernel's settings. Every test compares it before and after its turn.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use kernel::{affinity, cgroup::Hierarchy, cpuset::Cpusets, procfs::Proc, sched};
use nix::mount::{MsFlags, mount, umount};

/// A name for each thing that can change, and how it is.
type Things = BTreeMap<String, String>;

/// The host at one moment.
#[derive(Debug)]
pub struct HostState {
    /// What is there in every moment: compared as a whole.
    things: Things,
    /// Threads that are not ours, by id and start time: those that are there in both moments are
    /// compared, since others begin and end by themselves.
    threads: BTreeMap<(i32, u64), Things>,
}

impl HostState {
    pub fn now() -> Self {
        let proc = Proc::default();
        // First, since it mounts something for a moment.
        let mut things = tracing(&proc);
        let mounts = proc.text("mounts").unwrap();
        things.extend(numbered("mount", mounts.lines()));
        for root in hierarchies(&mounts) {
            groups(&root, &mut things);
        }
        files(&proc.path("sys/kernel"), |name| name.starts_with("sched_"), &mut things);
        for name in ["sched/features", "sched_features"] {
            insert(&Path::new("/sys/kernel/debug").join(name), &mut things);
        }
        insert(Path::new("/sys/devices/virtual/workqueue/cpumask"), &mut things);
        things.extend(interrupts(&proc));
        let (ours, others): (Vec<i32>, Vec<i32>) =
            proc.processes().unwrap().into_iter().partition(|pid| is_ours(&proc, *pid));
        let name = |pid: &i32| proc.name(*pid).unwrap_or_default();
        things.extend(ours.iter().map(|pid| (format!("process {pid} of a run"), name(pid))));
        things.extend(real_time(&proc, &others));
        things.extend(sockets(&proc));
        let threads = others.iter().flat_map(|pid| proc.threads(*pid).unwrap_or_default());
        let threads = threads.filter_map(|tid| thread(&proc, tid)).collect();
        Self { things, threads }
    }

    /// What has changed since, a line each.
    pub fn changes(&self) -> Vec<String> {
        let now = Self::now();
        let mut changes = differences("", &self.things, &now.things);
        for (thread, before) in &self.threads {
            if let Some(now) = now.threads.get(thread) {
                changes.extend(differences(&format!("thread {}: ", thread.0), before, now));
            }
        }
        changes
    }

    /// Nothing has changed since.
    #[track_caller]
    pub fn is_back(&self) {
        let changes = self.changes();
        assert!(changes.is_empty(), "the host is not as before:\n{}", changes.join("\n"));
    }
}

fn differences(of: &str, before: &Things, now: &Things) -> Vec<String> {
    let missing = "nothing".to_owned();
    let names: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let pair = |name| (before.get(name).unwrap_or(&missing), now.get(name).unwrap_or(&missing));
    let changed =
        names.into_iter().map(|name| (name, pair(name))).filter(|(_, (was, is))| was != is);
    changed.map(|(name, (was, is))| format!("{of}{name}: was `{was}`, is `{is}`")).collect()
}

fn insert(path: &Path, things: &mut Things) {
    if let Ok(text) = fs::read_to_string(path) {
        things.insert(path.display().to_string(), text.trim_end().to_owned());
    }
}

fn numbered<'a>(what: &str, lines: impl Iterator<Item = &'a str>) -> Things {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    lines.for_each(|line| *counts.entry(line).or_default() += 1);
    counts.iter().map(|(line, count)| (format!("{what} {line}"), count.to_string())).collect()
}

/// Where groups of CPU time and of CPUs are.
fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let cpu = Hierarchy::find(mounts, "cpu").map(|found| found.root);
    let mut roots: Vec<PathBuf> =
        cpu.into_iter().chain([Cpusets::find(mounts).unwrap().root]).collect();
    roots.dedup();
    roots
}

/// Every group below `root`, with the settings that a run changes.
fn groups(root: &Path, things: &mut Things) {
    things.insert(format!("group {}", root.display()), "there".to_owned());
    let is_setting = |name: &str| {
        const COUNTERS: [&str; 7] =
            ["stat", "pressure", "usage", "effective", "events", "effective_cpus", "idle"];
        let counts = COUNTERS.iter().any(|counter| name.contains(counter));
        (name.starts_with("cpuset.") || name.starts_with("cpu.") || is_control(name)) && !counts
    };
    files(root, is_setting, things);
    let folders = fs::read_dir(root).into_iter().flatten().filter_map(|one| Some(one.ok()?.path()));
    folders.filter(|path| path.is_dir()).for_each(|group| groups(&group, things));
}

fn is_control(name: &str) -> bool {
    matches!(name, "cgroup.subtree_control" | "cgroup.type" | "cgroup.clone_children")
}

/// The files right in `folder` whose names are wanted.
fn files(folder: &Path, wanted: impl Fn(&str) -> bool, things: &mut Things) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        if wanted(&name) && entry.path().is_file() {
            insert(&entry.path(), things);
        }
    }
}

/// Where each interrupt may arrive.
fn interrupts(proc: &Proc) -> Things {
    let mut things = Things::new();
    for entry in fs::read_dir(proc.path("irq")).into_iter().flatten().flatten() {
        insert(&entry.path().join("smp_affinity_list"), &mut things);
    }
    insert(&proc.path("irq/default_smp_affinity"), &mut things);
    things
}

/// The tracing instances: tracefs is mounted for a moment, since a run takes its own mount away.
fn tracing(proc: &Proc) -> Things {
    let Ok(folder) = tempfile::tempdir() else { return Things::new() };
    let nothing: Option<&str> = None;
    let flags = MsFlags::empty();
    if mount(Some("tracefs"), folder.path(), Some("tracefs"), flags, nothing).is_err() {
        return Things::new();
    }
    let mut things = Things::new();
    for entry in fs::read_dir(folder.path().join("instances")).into_iter().flatten().flatten() {
        things.insert(format!("tracing instance {:?}", entry.file_name()), "there".to_owned());
    }
    umount(folder.path()).unwrap();
    let mounted = proc.text("mounts").unwrap_or_default();
    assert!(!mounted.contains(&folder.path().display().to_string()), "{mounted}");
    things
}

/// Whether a run started it.
fn is_ours(proc: &Proc, pid: i32) -> bool {
    fs::read(proc.path(&format!("{pid}/environ")))
        .is_ok_and(|bytes| bytes.split(|&b| b == 0).any(|v| v.starts_with(b"RTVM_RUN=")))
}

/// Threads of other processes, not the kernel's, that are not ordinary: none appears or goes.
fn real_time(proc: &Proc, others: &[i32]) -> Things {
    let user = others.iter().filter(|pid| fs::read_link(proc.path(&format!("{pid}/exe"))).is_ok());
    let tids = user.flat_map(|pid| proc.threads(*pid).unwrap_or_default());
    let policies = tids.filter_map(|tid| Some((tid, sched::get(tid).ok()?.policy.to_string())));
    policies
        .filter(|(_, policy)| !policy.starts_with("SCHED_OTHER"))
        .map(|(tid, policy)| (format!("real-time thread {tid}"), policy))
        .collect()
}

/// The programs that we start and that listen.
const LISTENERS: [&str; 6] = ["qemu", "apache", "httpd", "orchestrator", "rtload", "guest-agent"];

/// Sockets on which programs of ours listen, on ports and on paths.
fn sockets(proc: &Proc) -> Things {
    let mut things = Things::new();
    for pid in proc.processes().unwrap_or_default() {
        let name = proc.name(pid).unwrap_or_default();
        if !LISTENERS.iter().any(|listener| name.starts_with(listener)) {
            continue;
        }
        let inodes: Vec<String> = fs::read_dir(proc.path(&format!("{pid}/fd")))
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let target = fs::read_link(entry.ok()?.path()).ok()?.display().to_string();
                Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
            })
            .collect();
        let listens = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let tcp = fields.get(3) == Some(&"0A")
                && inodes.iter().any(|one| fields.get(9) == Some(&one.as_str()));
            let unix = fields.get(3) == Some(&"00010000")
                && inodes.iter().any(|one| fields.get(6) == Some(&one.as_str()));
            tcp || unix
        };
        for table in ["net/tcp", "net/tcp6", "net/unix"] {
            let text = proc.text(table).unwrap_or_default();
            let found = text.lines().filter(listens);
            things.extend(found.map(|line| (format!("{name} {pid} listens"), line.to_owned())));
        }
    }
    things
}

/// How somebody's thread is scheduled and where; none where it is gone, or not to be seen whole.
fn thread(proc: &Proc, tid: i32) -> Option<((i32, u64), Things)> {
    let kernel = proc.kind(tid).ok()?.kernel;
    let mut things = Things::new();
    things.insert("policy".to_owned(), sched::get(tid).ok()?.policy.to_string());
    // Of the controllers that we use: others are for others to change.
    let groups = proc.text(&format!("{tid}/cgroup")).ok()?;
    let ours = |line: &&str| {
        line.starts_with("0:") || line.split(':').nth(1).is_some_and(|own| own.contains("cpu"))
    };
    things.insert("groups".to_owned(), groups.lines().filter(ours).collect::<Vec<_>>().join(" "));
    // The kernel's workers are bound to other CPUs as it likes.
    if !kernel {
        things.insert("CPUs".to_owned(), affinity::format_list(&affinity::get(tid).ok()?));
    }
    Some(((tid, proc.start_time(tid).ok()?), things))
}
