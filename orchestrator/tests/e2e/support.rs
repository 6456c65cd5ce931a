//! What the end-to-end tests share: the program, the host as it is, and turns on it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kernel::{cgroup::Hierarchy, cpuset::Cpusets, procfs::Proc, sched};

/// Tests that change the host or measure on it do so one at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Without any other test beside: two guests at once would be measured by each other.
pub fn alone() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A turn on the host; none, and said so, where the test cannot run here.
pub fn turn(test: &str) -> Option<MutexGuard<'static, ()>> {
    let turn = alone();
    let lacks = if !nix::unistd::geteuid().is_root() {
        "it needs root"
    } else if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        "it needs two CPUs"
    } else {
        return Some(turn);
    };
    eprintln!("SKIPPED: {test}: {lacks}");
    None
}

/// The program, with its state below `state`.
pub fn orchestrator(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    command.env("RTVM_STATE_DIR", state);
    command
}

/// Another program of the project, built as this test was: now, unless RTVM_BUILT says that it is.
pub fn sibling(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_BIN_EXE_orchestrator"));
    let profile = own.parent().unwrap();
    if std::env::var_os("RTVM_BUILT").is_none() {
        let mut cargo = Command::new(env!("CARGO"));
        // All of it: one package alone would be built with other features than in the workspace.
        cargo.args(["build", "--quiet", "--workspace", "--target-dir"]);
        cargo.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "building {name}");
    }
    profile.join(name)
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Everything about the host that a run changes.
#[derive(Debug, PartialEq, Eq)]
pub struct HostState {
    cpusets: BTreeMap<PathBuf, String>,
    cpu_groups: BTreeMap<PathBuf, String>,
    sysctls: BTreeMap<String, String>,
    policies: BTreeMap<i32, String>,
    processes: Vec<String>,
    interrupts: BTreeMap<PathBuf, String>,
    workqueues: Option<String>,
    /// Where this program's main thread is, and on which CPUs it may run.
    own: (String, Vec<u32>),
}

impl HostState {
    pub fn now() -> Self {
        let proc = Proc::default();
        let mounts = proc.text("mounts").unwrap();
        let cpusets = Cpusets::find(&mounts).unwrap();
        let cpu = Hierarchy::find(&mounts, "cpu").map(|found| groups(&found.root));
        let sysctl = |name: &str| {
            (name.to_owned(), proc.text(&format!("sys/kernel/{name}")).unwrap_or_default())
        };
        Self {
            cpusets: groups(&cpusets.root),
            cpu_groups: cpu.unwrap_or_default(),
            sysctls: ["sched_rt_runtime_us", "sched_rt_period_us"].map(sysctl).into(),
            policies: real_time_threads(&proc),
            processes: ours(&proc),
            interrupts: interrupts(&proc),
            workqueues: fs::read_to_string("/sys/devices/virtual/workqueue/cpumask").ok(),
            own: placed(&proc),
        }
    }
}

/// The settings of the root group, and the names of the groups in it.
fn groups(root: &Path) -> BTreeMap<PathBuf, String> {
    let settings = ["cpuset.sched_load_balance", "cpuset.cpus", "cgroup.subtree_control"];
    fs::read_dir(root)
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| {
            if path.is_dir() {
                return Some((path, "group".to_owned()));
            }
            let name = path.file_name()?.to_str()?;
            settings.contains(&name).then(|| (path.clone(), fs::read_to_string(&path).unwrap()))
        })
        .collect()
}

/// Threads of all processes that are neither ordinary nor the kernel's own.
fn real_time_threads(proc: &Proc) -> BTreeMap<i32, String> {
    processes(proc)
        .into_iter()
        .filter(|pid| fs::read_link(proc.path(&format!("{pid}/exe"))).is_ok())
        .flat_map(|pid| proc.threads(pid).unwrap_or_default())
        .filter_map(|tid| Some((tid, sched::get(tid).ok()?.policy.to_string())))
        .filter(|(_, policy)| !policy.starts_with("SCHED_OTHER"))
        .collect()
}

/// Where each interrupt may arrive.
fn interrupts(proc: &Proc) -> BTreeMap<PathBuf, String> {
    let Ok(entries) = fs::read_dir(proc.path("irq")) else { return BTreeMap::new() };
    let lists = entries.filter_map(|entry| Some(entry.ok()?.path().join("smp_affinity_list")));
    lists
        .chain([proc.path("irq/default_smp_affinity")])
        .filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?)))
        .collect()
}

/// The groups and the CPUs of this program's main thread.
fn placed(proc: &Proc) -> (String, Vec<u32>) {
    let main = std::process::id() as i32;
    let groups = proc.text(&format!("{main}/cgroup")).unwrap_or_default();
    (groups, kernel::affinity::get(main).unwrap_or_default())
}

/// Processes that a run started.
fn ours(proc: &Proc) -> Vec<String> {
    let marked = |pid: &i32| {
        fs::read(proc.path(&format!("{pid}/environ")))
            .is_ok_and(|bytes| bytes.split(|&b| b == 0).any(|v| v.starts_with(b"RTVM_RUN=")))
    };
    processes(proc)
        .into_iter()
        .filter(marked)
        .map(|pid| format!("{pid} {}", proc.name(pid).unwrap_or_default()))
        .collect()
}

fn processes(proc: &Proc) -> Vec<i32> {
    fs::read_dir(proc.path(""))
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}
