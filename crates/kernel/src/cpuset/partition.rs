//! What a partition is: groups whose CPUs are a root domain of their own, in the state in which they
//! were asked for.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{CpusetError, Step, v2};
use crate::cgroup::Version;

/// What a group of cgroup v2 is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A root domain with load balancing inside.
    Root,
    /// Without: what kernels since 6.7 demand for CPUs that were isolated at boot.
    Isolated,
}

impl Kind {
    /// As the kernel writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Isolated => "isolated",
        }
    }
}

/// A partition that is to be made, or is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The dialect.
    pub version: Version,
    /// Where the hierarchy is mounted.
    pub root: PathBuf,
    /// The groups that are partition roots, one for each set of CPUs, and what they were made.
    pub groups: Vec<(PathBuf, Kind)>,
    /// The groups that take processes of ours, by CPU; none where only the VM's threads are inside.
    pub homes: BTreeMap<u32, PathBuf>,
}

/// The steps to a partition, and what it is then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In order. Undo them in reverse.
    pub steps: Vec<Step>,
    /// What they come to.
    pub partition: Partition,
}

impl Partition {
    /// The group that takes processes of ours on a CPU.
    #[must_use]
    pub fn home(&self, cpu: u32) -> Option<&Path> {
        self.homes.get(&cpu).map(PathBuf::as_path)
    }

    /// Whether it is (still) what was asked for.
    ///
    /// # Errors
    /// [`CpusetError::Invalid`] with what the kernel says, [`CpusetError::File`] where the cpuset
    /// controller was taken away.
    pub fn verify(&self) -> Result<(), CpusetError> {
        match self.version {
            Version::V1 => Ok(()),
            Version::V2 => {
                self.groups.iter().try_for_each(|(group, kind)| v2::verify(group, *kind))
            }
        }
    }

    /// The writes that have the kernel build the root domains anew, in order: what they were before
    /// they are after, but bandwidth that belongs to no thread any more is free again.
    #[must_use]
    pub fn rebuild(&self) -> Vec<(PathBuf, String)> {
        let both =
            |path: PathBuf, values: [&str; 2]| values.map(|value| (path.clone(), value.to_owned()));
        match self.version {
            Version::V1 => both(self.root.join("cpuset.sched_load_balance"), ["1", "0"]).into(),
            Version::V2 => {
                let writes = |(group, kind): &(PathBuf, Kind)| {
                    both(group.join(v2::PARTITION), ["member", kind.name()])
                };
                self.groups.iter().flat_map(writes).collect()
            }
        }
    }
}
