//! What `/sys` says of the CPUs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kernel::affinity;
use model::manifest::CoreType;

use super::line_of;
use crate::error::Refusal;

/// The CPUs below a `/sys`. What it does not tell is none.
#[derive(Debug, Clone)]
pub struct Topology {
    sys: PathBuf,
}

impl Topology {
    /// That below `sys` (`/sys`).
    #[must_use]
    pub fn at(sys: &Path) -> Self {
        Self { sys: sys.to_owned() }
    }

    fn cpus(&self, below: &str) -> PathBuf {
        self.sys.join("devices/system/cpu").join(below)
    }

    /// The CPUs online, ascending.
    ///
    /// # Errors
    /// [`Refusal::Lacking`] where `/sys` has no such list.
    pub fn online(&self) -> Result<Vec<u32>, Refusal> {
        let path = self.cpus("online");
        let text = fs::read_to_string(&path)
            .map_err(|error| Refusal::Lacking(format!("{}: {error}", path.display())))?;
        affinity::parse_list(&text).filter(|cpus| !cpus.is_empty()).ok_or_else(|| {
            Refusal::Lacking(format!("{}: `{}` is not a list of CPUs", path.display(), text.trim()))
        })
    }

    /// The CPUs of the same core, `cpu` included.
    #[must_use]
    pub fn siblings(&self, cpu: u32) -> Option<Vec<u32>> {
        list(&self.cpus(&format!("cpu{cpu}/topology/thread_siblings_list")))
    }

    /// CPUs that no balancing reaches: `isolcpus=domain,…`, or an isolated partition.
    #[must_use]
    pub fn isolated(&self) -> Option<Vec<u32>> {
        list(&self.cpus("isolated"))
    }

    /// CPUs whose tick stops while one thread runs.
    #[must_use]
    pub fn nohz_full(&self) -> Option<Vec<u32>> {
        list(&self.cpus("nohz_full"))
    }

    /// The NUMA node of a CPU.
    #[must_use]
    pub fn node(&self, cpu: u32) -> Option<u32> {
        let entries = fs::read_dir(self.cpus(&format!("cpu{cpu}"))).ok()?;
        entries
            .filter_map(|entry| {
                entry.ok()?.file_name().to_str()?.strip_prefix("node")?.parse().ok()
            })
            .next()
    }

    /// The frequency governor of a CPU.
    #[must_use]
    pub fn governor(&self, cpu: u32) -> Option<String> {
        line_of(&self.cpus(&format!("cpu{cpu}/cpufreq/scaling_governor")))
    }

    /// The kind of a CPU's core, where there are two: as the processor's counters are divided
    /// (Intel), or by capacity.
    #[must_use]
    pub fn core_type(&self, cpu: u32) -> Option<CoreType> {
        let counted = |kind: &str| list(&self.sys.join(format!("devices/{kind}/cpus")));
        if let (Some(fast), Some(slow)) = (counted("cpu_core"), counted("cpu_atom")) {
            return match (fast.contains(&cpu), slow.contains(&cpu)) {
                (true, _) => Some(CoreType::Performance),
                (_, true) => Some(CoreType::Efficiency),
                _ => None,
            };
        }
        let capacity = |cpu: u32| -> Option<u32> {
            line_of(&self.cpus(&format!("cpu{cpu}/cpu_capacity")))?.parse().ok()
        };
        let all: Vec<u32> = self.online().ok()?.into_iter().filter_map(capacity).collect();
        let (least, most) = (*all.iter().min()?, *all.iter().max()?);
        let own = capacity(cpu)?;
        (least < most).then_some(if own == most {
            CoreType::Performance
        } else {
            CoreType::Efficiency
        })
    }
}

/// A list of CPUs in a file; an empty file is an empty list.
fn list(path: &Path) -> Option<Vec<u32>> {
    affinity::parse_list(&fs::read_to_string(path).ok()?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A `/sys` with these files.
    pub(crate) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_hybrid_processor_has_two_kinds_of_cores() {
        let sys = tree(&[("devices/cpu_core/cpus", "0-3\n"), ("devices/cpu_atom/cpus", "4-7\n")]);
        let topology = Topology::at(sys.path());
        assert_eq!(topology.core_type(3), Some(CoreType::Performance));
        assert_eq!(topology.core_type(4), Some(CoreType::Efficiency));
    }

    #[test]
    fn capacities_tell_kinds_only_where_they_differ() {
        let capacity = |second| {
            tree(&[
                ("devices/system/cpu/online", "0-1\n"),
                ("devices/system/cpu/cpu0/cpu_capacity", "1024\n"),
                ("devices/system/cpu/cpu1/cpu_capacity", second),
            ])
        };
        let (same, other) = (capacity("1024\n"), capacity("446\n"));
        assert_eq!(Topology::at(same.path()).core_type(1), None);
        assert_eq!(Topology::at(other.path()).core_type(1), Some(CoreType::Efficiency));
        assert_eq!(Topology::at(other.path()).core_type(0), Some(CoreType::Performance));
    }

    #[test]
    fn what_is_empty_is_known_and_what_is_missing_is_not() {
        let sys = tree(&[
            ("devices/system/cpu/isolated", "\n"),
            ("devices/system/cpu/cpu2/node1/cpulist", "2\n"),
        ]);
        let topology = Topology::at(sys.path());
        assert_eq!((topology.isolated(), topology.nohz_full()), (Some(vec![]), None));
        assert_eq!((topology.node(2), topology.node(0)), (Some(1), None));
        assert_eq!((topology.siblings(0), topology.governor(0)), (None, None));
    }
}
