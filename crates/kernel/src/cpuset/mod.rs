//! Exclusive cpuset partitions: a root domain of its own for each measured CPU.
//!
//! SCHED_DEADLINE refuses (EPERM) a thread whose affinity is narrower than its root domain. A
//! partition of one CPU makes the root domain as narrow as the affinity has to be. Both cgroup
//! versions can do it, in different words. A measured CPU that also does everything else is what is
//! left of the host, which is a root domain as well.
//!
//! Nothing is changed here: functions return [`Step`]s, for the caller to journal and then take.

mod partition;
mod v1;
mod v2;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{affinity, cgroup::Hierarchy};

pub use self::partition::{Kind, Partition, Plan};
pub use crate::cgroup::Version;

/// What the names of groups that hold a measured CPU begin with.
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
    /// The CPU was isolated at boot, and others with it.
    #[error(
        "CPU {cpu} was isolated at boot together with {}: the kernel keeps CPUs isolated at boot in \
         one root domain, where SCHED_DEADLINE on one of them alone is EPERM; choose a CPU that was \
         not isolated at boot, or leave `domain` out of `isolcpus=`",
        affinity::format_list(others)
    )]
    Together {
        /// The CPU.
        cpu: u32,
        /// The others.
        others: Vec<u32>,
    },
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
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// The group that [`Cpusets::isolate`] makes for a CPU.
    #[must_use]
    pub fn measured(&self, cpu: u32) -> PathBuf {
        self.root.join(format!("{MEASURED}-{cpu}"))
    }

    /// The plan that gives each of `cpus` a root domain of its own, in a new group for threads of any
    /// process. `shared` is the CPU, if any, that is all that is left of `online` and is measured as
    /// well: its home is where everybody else is. `isolated` are the CPUs online that were isolated at
    /// boot (`isolcpus=domain,…`).
    ///
    /// # Errors
    /// [`CpusetError::OnlyCpu`], [`CpusetError::Together`], or a file that cannot be read.
    pub fn isolate(
        &self,
        cpus: &[u32],
        shared: Option<u32>,
        (online, isolated): (&[u32], &[u32]),
    ) -> Result<Plan, CpusetError> {
        let rest = rest(cpus, online)?;
        cpus.iter().try_for_each(|&cpu| apart(cpu, isolated))?;
        match self.version {
            Version::V1 => v1::isolate(self, cpus, &rest, shared),
            Version::V2 => v2::isolate(self, cpus, shared, isolated),
        }
    }

    /// The plan that makes `group`, right below the root of a v2 hierarchy, a partition with `cpu`;
    /// with `home` there is a group inside for processes of ours.
    ///
    /// # Errors
    /// As [`Cpusets::isolate`].
    pub fn enclose(
        &self,
        group: &Path,
        cpu: u32,
        (online, isolated): (&[u32], &[u32]),
        home: bool,
    ) -> Result<Plan, CpusetError> {
        rest(&[cpu], online)?;
        apart(cpu, isolated)?;
        let kind = v2::kind(&self.root, cpu, isolated);
        v2::below_root(&self.root, group, cpu, kind, home)
    }

    /// The plan that makes each of `groups`, anywhere in a v2 hierarchy, a partition with its CPU.
    ///
    /// # Errors
    /// As [`Cpusets::isolate`].
    pub fn enclose_each(
        &self,
        groups: &[(PathBuf, u32)],
        (online, isolated): (&[u32], &[u32]),
    ) -> Result<Plan, CpusetError> {
        let cpus: Vec<u32> = groups.iter().map(|(_, cpu)| *cpu).collect();
        for &cpu in &cpus {
            apart(cpu, isolated)?;
        }
        rest(&cpus, online)?;
        let first = cpus.first().copied().unwrap_or_default();
        v2::remote(&self.root, groups, v2::kind(&self.root, first, isolated))
    }

    /// Whether groups anywhere in the tree can be partitions (v2, Linux 6.8).
    #[must_use]
    pub fn has_remote(&self) -> bool {
        self.version == Version::V2 && v2::has_isolated(&self.root)
    }

    /// The file of a group that lists its threads, and takes new ones.
    #[must_use]
    pub fn threads_file(group: &Path) -> PathBuf {
        let v1 = group.join("tasks");
        if v1.exists() { v1 } else { group.join("cgroup.threads") }
    }
}

/// The CPUs that are left for everything else.
fn rest(cpus: &[u32], online: &[u32]) -> Result<Vec<u32>, CpusetError> {
    let rest: Vec<u32> = online.iter().copied().filter(|cpu| !cpus.contains(cpu)).collect();
    match cpus.first() {
        Some(&cpu) if rest.is_empty() => Err(CpusetError::OnlyCpu(cpu)),
        _ => Ok(rest),
    }
}

/// CPUs isolated at boot are in no scheduling domain, and those all share the kernel's default root
/// domain, in a partition or not.
fn apart(cpu: u32, isolated: &[u32]) -> Result<(), CpusetError> {
    let others: Vec<u32> = isolated.iter().copied().filter(|other| *other != cpu).collect();
    if isolated.contains(&cpu) && !others.is_empty() {
        return Err(CpusetError::Together { cpu, others });
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, CpusetError> {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| CpusetError::File { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests;
