//! Exclusive cpuset partitions: a root domain of its own for the measured CPU.
//!
//! SCHED_DEADLINE refuses (EPERM) a thread whose affinity is narrower than its root domain. A
//! partition of one CPU makes the root domain as narrow as the affinity has to be. Both cgroup
//! versions can do it, in different words.
//!
//! Nothing is changed here: functions return [`Step`]s, for the caller to journal and then take.

mod v1;
mod v2;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{affinity, cgroup::Hierarchy};

pub use crate::cgroup::Version;

/// The group that holds the measured CPU.
pub const MEASURED: &str = "rtvm-measured";
/// The group that holds all other CPUs (cgroup v1 only; on v2 they stay with the root).
pub const HOUSEKEEPING: &str = "rtvm-housekeeping";

const CONTROLLER: &str = "cpuset";

/// One change to the cgroup tree, with what undoes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a group; undone by removing it.
    MakeGroup(PathBuf),
    /// Write a value into a file.
    Write {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// What to write to undo it; none where removing the group does.
        undo: Option<String>,
    },
}

impl Step {
    pub(crate) fn inside(group: &Path, file: &str, value: impl Into<String>) -> Self {
        Self::Write { path: group.join(file), value: value.into(), undo: None }
    }
}

/// Why CPUs cannot be partitioned.
#[derive(Debug, Error)]
pub enum CpusetError {
    /// No cgroup hierarchy with a cpuset controller is mounted.
    #[error(
        "no cpuset controller is mounted (neither cgroup v1 nor v2); mount cgroup2 on /sys/fs/cgroup"
    )]
    NotMounted,
    /// The measured CPU is the only one.
    #[error("CPU {0} is the only one of this host; one more is needed for everything else")]
    OnlyCpu(u32),
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// The kernel took the writes, but made no partition of it (cgroup v2).
    #[error(
        "{path} says `{state}`: the kernel made no partition; \
         another partition or an exclusive cpuset holds the CPU"
    )]
    Invalid {
        /// `cpuset.cpus.partition` of the group.
        path: PathBuf,
        /// Its contents.
        state: String,
    },
}

/// A mounted hierarchy that has the cpuset controller.
#[derive(Debug, Clone)]
pub struct Cpusets {
    /// Which dialect it speaks.
    pub version: Version,
    /// Where it is mounted.
    pub root: PathBuf,
}

impl Cpusets {
    /// Finds the hierarchy in the text of `/proc/mounts`.
    ///
    /// # Errors
    /// [`CpusetError::NotMounted`].
    pub fn find(mounts: &str) -> Result<Self, CpusetError> {
        let found = Hierarchy::find(mounts, CONTROLLER).ok_or(CpusetError::NotMounted)?;
        Ok(Self { version: found.version, root: found.root })
    }

    /// The hierarchy, for moving threads in it.
    #[must_use]
    pub fn hierarchy(&self) -> Hierarchy {
        Hierarchy {
            version: self.version,
            root: self.root.clone(),
            controller: CONTROLLER.to_owned(),
        }
    }

    /// The group of the measured CPU.
    #[must_use]
    pub fn measured(&self) -> PathBuf {
        self.root.join(MEASURED)
    }

    /// The steps that give `cpu` a root domain of its own, in order. Undo them in reverse.
    ///
    /// # Errors
    /// [`CpusetError::OnlyCpu`], or a file that cannot be read.
    pub fn isolate(&self, cpu: u32, online: &[u32]) -> Result<Vec<Step>, CpusetError> {
        let rest: Vec<u32> = online.iter().copied().filter(|&other| other != cpu).collect();
        if rest.is_empty() {
            return Err(CpusetError::OnlyCpu(cpu));
        }
        match self.version {
            Version::V1 => v1::isolate(&self.root, cpu, &affinity::format_list(&rest)),
            Version::V2 => v2::isolate(&self.root, cpu),
        }
    }

    /// Whether the steps of [`Cpusets::isolate`] had the effect that they should.
    ///
    /// # Errors
    /// [`CpusetError::Invalid`] with what the kernel says.
    pub fn verify(&self) -> Result<(), CpusetError> {
        match self.version {
            Version::V1 => Ok(()),
            Version::V2 => v2::verify(&self.measured()),
        }
    }

    /// The writes that have the kernel build the root domains anew, in order: what they were before
    /// they are after, but bandwidth that belongs to no thread any more is free again.
    #[must_use]
    pub fn rebuild(&self) -> Vec<(PathBuf, String)> {
        let (path, values) = match self.version {
            Version::V1 => (self.root.join("cpuset.sched_load_balance"), ["1", "0"]),
            Version::V2 => (self.measured().join("cpuset.cpus.partition"), ["member", "root"]),
        };
        values.map(|value| (path.clone(), value.to_owned())).into()
    }

    /// The file of a group that lists its threads, and takes new ones.
    #[must_use]
    pub fn threads_file(group: &Path) -> PathBuf {
        let v1 = group.join("tasks");
        if v1.exists() { v1 } else { group.join("cgroup.threads") }
    }
}

fn read(path: &Path) -> Result<String, CpusetError> {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| CpusetError::File { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(root.path().join(file), text).unwrap();
        }
        root
    }

    fn written(steps: &[Step], root: &Path) -> Vec<String> {
        let below = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        steps
            .iter()
            .map(|step| match step {
                Step::MakeGroup(path) => format!("mkdir {}", below(path)),
                Step::Write { path, value, undo } => {
                    let undo = undo.as_ref().map(|undo| format!(" undo {undo}"));
                    format!("{} = {value}{}", below(path), undo.unwrap_or_default())
                }
            })
            .collect()
    }

    #[test]
    fn v1_makes_two_exclusive_groups_and_parts_the_root_domain() {
        let root =
            tree(&[("cpuset.mems", "0\n"), ("cpuset.sched_load_balance", "1\n"), ("tasks", "")]);
        let cpusets = Cpusets { version: Version::V1, root: root.path().to_owned() };
        assert_eq!(
            written(&cpusets.isolate(1, &[0, 1]).unwrap(), root.path()),
            [
                "mkdir rtvm-measured",
                "rtvm-measured/cpuset.cpus = 1",
                "rtvm-measured/cpuset.mems = 0",
                "rtvm-measured/cpuset.cpu_exclusive = 1",
                "mkdir rtvm-housekeeping",
                "rtvm-housekeeping/cpuset.cpus = 0",
                "rtvm-housekeeping/cpuset.mems = 0",
                "rtvm-housekeeping/cpuset.cpu_exclusive = 1",
                "cpuset.sched_load_balance = 0 undo 1",
            ]
        );
    }

    #[test]
    fn v2_makes_a_threaded_partition_below_the_root() {
        let root = tree(&[("cgroup.subtree_control", "cpu memory\n")]);
        let cpusets = Cpusets { version: Version::V2, root: root.path().to_owned() };
        assert_eq!(
            written(&cpusets.isolate(3, &[0, 1, 2, 3]).unwrap(), root.path()),
            [
                "cgroup.subtree_control = +cpuset undo -cpuset",
                "mkdir rtvm-measured",
                "rtvm-measured/cgroup.type = threaded",
                "rtvm-measured/cpuset.cpus = 3",
                "rtvm-measured/cpuset.cpus.partition = root",
            ]
        );
    }

    #[test]
    fn v2_leaves_a_controller_that_is_already_on() {
        let root = tree(&[("cgroup.subtree_control", "cpuset cpu\n")]);
        let cpusets = Cpusets { version: Version::V2, root: root.path().to_owned() };
        assert_eq!(
            written(&cpusets.isolate(1, &[0, 1]).unwrap(), root.path())[0],
            "mkdir rtvm-measured"
        );
    }

    #[test]
    fn v2_tells_an_invalid_partition_with_the_kernels_reason() {
        let root = tree(&[]);
        let group = root.path().join(MEASURED);
        fs::create_dir(&group).unwrap();
        let cpusets = Cpusets { version: Version::V2, root: root.path().to_owned() };
        fs::write(group.join("cpuset.cpus.partition"), "root invalid (Cpu list empty)\n").unwrap();
        assert!(cpusets.verify().unwrap_err().to_string().contains("Cpu list empty"));
        fs::write(group.join("cpuset.cpus.partition"), "root\n").unwrap();
        cpusets.verify().unwrap();
    }

    #[test]
    fn the_only_cpu_is_refused() {
        let cpusets = Cpusets { version: Version::V2, root: "/x".into() };
        assert!(matches!(cpusets.isolate(0, &[0]), Err(CpusetError::OnlyCpu(0))));
    }

    #[test]
    fn a_mounted_v1_controller_goes_before_v2() {
        let mounts = "cgroup /c/cpuset cgroup rw,cpuset 0 0\ncgroup2 /c/u cgroup2 rw 0 0\n";
        let found = Cpusets::find(mounts).unwrap();
        assert_eq!((found.version, found.root), (Version::V1, "/c/cpuset".into()));
        let root = tree(&[("cgroup.controllers", "cpuset cpu\n")]);
        let mounts = format!("cgroup2 {} cgroup2 rw 0 0\n", root.path().display());
        assert_eq!(Cpusets::find(&mounts).unwrap().version, Version::V2);
        assert!(matches!(Cpusets::find(""), Err(CpusetError::NotMounted)));
    }

    #[test]
    fn rebuilding_ends_where_it_began() {
        let v1 = Cpusets { version: Version::V1, root: "/c".into() };
        let balance = PathBuf::from("/c/cpuset.sched_load_balance");
        assert_eq!(v1.rebuild(), [(balance.clone(), "1".into()), (balance, "0".into())]);
        let v2 = Cpusets { version: Version::V2, root: "/u".into() };
        assert_eq!(v2.rebuild()[1].1, "root");
    }
}
