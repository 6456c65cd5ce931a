//! Groups of the cpu controller: a quota, a weight, real-time bandwidth, in the words of both cgroup
//! versions.
//!
//! Nothing is changed here: [`steps`] returns what the caller journals and then takes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    cgroup::{Hierarchy, Version},
    cpuset::Step,
};

/// The group that holds the vCPU threads.
pub const NAME: &str = "rtvm-vm";

/// What a group may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Ordinary threads get at most `budget` in every `period`, and what they saved, up to `burst`.
    Quota {
        /// Q; at least 1 ms.
        budget: Duration,
        /// P; 1 ms to 1 s.
        period: Duration,
        /// At most `budget`.
        burst: Duration,
    },
    /// A share in 0..1 against one rival of ordinary weight.
    Weight {
        /// The share.
        share: f64,
    },
    /// Real-time threads get `budget` in every `period`, on each CPU.
    RealTime {
        /// Q.
        budget: Duration,
        /// P.
        period: Duration,
    },
}

/// `cpu.shares` of an ordinary group or thread on v1, and `cpu.weight` on v2.
const ORDINARY_SHARES: f64 = 1024.0;
const ORDINARY_WEIGHT: f64 = 100.0;

/// A weight w against an ordinary w₀ gets w / (w + w₀) of the CPU, so w = w₀ · share / (1 - share).
fn weight(share: f64, ordinary: f64, most: f64) -> String {
    let weight = ordinary * share / (1.0 - share).max(f64::EPSILON);
    weight.round().clamp(2.0, most).to_string()
}

/// Where group `NAME` is made: below `inside`, the group of the measured CPU, on v2, where there is
/// one tree; below the root of the controller's own tree on v1.
#[must_use]
pub fn path(hierarchy: &Hierarchy, inside: &Path) -> PathBuf {
    match hierarchy.version {
        Version::V1 => hierarchy.root.join(NAME),
        Version::V2 => inside.join(NAME),
    }
}

/// The steps that make `group` with these limits, in order. Undo them in reverse.
///
/// # Errors
/// A file that cannot be read, with its path.
pub fn steps(hierarchy: &Hierarchy, group: &Path, limits: &[Limit]) -> io::Result<Vec<Step>> {
    let mut steps = Vec::new();
    if hierarchy.version == Version::V2 {
        steps.extend(delegate(&hierarchy.root, group)?);
    }
    steps.push(Step::MakeGroup(group.to_owned()));
    if hierarchy.version == Version::V2 {
        steps.push(Step::inside(group, "cgroup.type", "threaded"));
    }
    for limit in limits {
        steps.extend(
            limit
                .values(hierarchy.version)
                .into_iter()
                .map(|(file, value)| Step::inside(group, file, value)),
        );
    }
    Ok(steps)
}

/// The writes of these limits into a group that is there, in order; what is there now is undone to.
///
/// # Errors
/// A file that cannot be read, with its path: a feature that the kernel was built without.
pub fn limit(hierarchy: &Hierarchy, group: &Path, limits: &[Limit]) -> io::Result<Vec<Step>> {
    let step = |(file, value): (&str, String)| {
        let path = group.join(file);
        let now = fs::read_to_string(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        Ok(Step::Write { path, value, undo: Some(now.trim().to_owned()) })
    };
    limits.iter().flat_map(|limit| limit.values(hierarchy.version)).map(step).collect()
}

/// Gives the cpu controller to every group between the root and `group`.
fn delegate(root: &Path, group: &Path) -> io::Result<Vec<Step>> {
    let mut parents: Vec<_> =
        group.ancestors().skip(1).take_while(|parent| parent.starts_with(root)).collect();
    parents.reverse();
    let mut steps = Vec::new();
    for parent in parents {
        let path = parent.join("cgroup.subtree_control");
        let now = fs::read_to_string(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        if !now.split_whitespace().any(|name| name == "cpu") {
            let (value, undo) = ("+cpu".to_owned(), Some("-cpu".to_owned()));
            steps.push(Step::Write { path, value, undo });
        }
    }
    Ok(steps)
}

impl Limit {
    /// The files of a group and what is written into them, in order.
    fn values(self, version: Version) -> Vec<(&'static str, String)> {
        let us = |time: Duration| time.as_micros().to_string();
        match (self, version) {
            (Self::Quota { budget, period, burst }, Version::V1) => {
                let mut values =
                    vec![("cpu.cfs_period_us", us(period)), ("cpu.cfs_quota_us", us(budget))];
                if !burst.is_zero() {
                    values.push(("cpu.cfs_burst_us", us(burst)));
                }
                values
            }
            (Self::Quota { budget, period, burst }, Version::V2) => {
                let mut values = vec![("cpu.max", format!("{} {}", us(budget), us(period)))];
                if !burst.is_zero() {
                    values.push(("cpu.max.burst", us(burst)));
                }
                values
            }
            (Self::Weight { share }, Version::V1) => {
                vec![("cpu.shares", weight(share, ORDINARY_SHARES, 262_144.0))]
            }
            (Self::Weight { share }, Version::V2) => {
                vec![("cpu.weight", weight(share, ORDINARY_WEIGHT, 10_000.0))]
            }
            (Self::RealTime { budget, period }, Version::V1) => {
                vec![("cpu.rt_period_us", us(period)), ("cpu.rt_runtime_us", us(budget))]
            }
            (Self::RealTime { budget, period }, Version::V2) => {
                vec![("cpu.rt.max", format!("{} {}", us(budget), us(period)))]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn hierarchy(version: Version, root: &Path) -> Hierarchy {
        Hierarchy { version, root: root.to_owned(), controller: "cpu".to_owned() }
    }

    fn written(steps: &[Step], root: &Path) -> Vec<String> {
        let below = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        steps
            .iter()
            .map(|step| match step {
                Step::MakeGroup(path) => format!("mkdir {}", below(path)),
                Step::Write { path, value, undo } => {
                    format!("{} = {value}{}", below(path), undo.as_deref().unwrap_or_default())
                }
            })
            .collect()
    }

    #[test]
    fn v1_has_a_tree_of_its_own() {
        let root = Path::new("/c/cpu");
        let cpu = hierarchy(Version::V1, root);
        let limits = [
            Limit::Quota { budget: MS(28), period: MS(50), burst: MS(5) },
            Limit::Weight { share: 0.56 },
        ];
        let group = path(&cpu, Path::new("/c/cpuset/rtvm-measured"));
        assert_eq!(
            written(&steps(&cpu, &group, &limits).unwrap(), root),
            [
                "mkdir rtvm-vm",
                "rtvm-vm/cpu.cfs_period_us = 50000",
                "rtvm-vm/cpu.cfs_quota_us = 28000",
                "rtvm-vm/cpu.cfs_burst_us = 5000",
                "rtvm-vm/cpu.shares = 1303",
            ]
        );
        let real_time = [Limit::RealTime { budget: MS(28), period: MS(50) }];
        assert_eq!(
            written(&steps(&cpu, &group, &real_time).unwrap(), root)[1..],
            ["rtvm-vm/cpu.rt_period_us = 50000", "rtvm-vm/cpu.rt_runtime_us = 28000"]
        );
    }

    #[test]
    fn v2_hands_the_controller_down_to_a_threaded_group() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let measured = root.join("rtvm-measured");
        fs::create_dir(&measured).unwrap();
        fs::write(root.join("cgroup.subtree_control"), "cpuset cpu\n").unwrap();
        fs::write(measured.join("cgroup.subtree_control"), "\n").unwrap();
        let cpu = hierarchy(Version::V2, root);
        let limits = [
            Limit::Quota { budget: MS(28), period: MS(50), burst: Duration::ZERO },
            Limit::Weight { share: 0.5 },
            Limit::RealTime { budget: MS(3), period: MS(5) },
        ];
        assert_eq!(
            written(&steps(&cpu, &path(&cpu, &measured), &limits).unwrap(), root),
            [
                "rtvm-measured/cgroup.subtree_control = +cpu-cpu",
                "mkdir rtvm-measured/rtvm-vm",
                "rtvm-measured/rtvm-vm/cgroup.type = threaded",
                "rtvm-measured/rtvm-vm/cpu.max = 28000 50000",
                "rtvm-measured/rtvm-vm/cpu.weight = 100",
                "rtvm-measured/rtvm-vm/cpu.rt.max = 3000 5000",
            ]
        );
    }

    #[test]
    fn weights_stay_in_the_kernels_range() {
        assert_eq!(weight(1.0, ORDINARY_WEIGHT, 10_000.0), "10000");
        assert_eq!(weight(0.001, ORDINARY_SHARES, 262_144.0), "2");
    }
}
