//! Which CPU is measured and which do everything else.

use std::{fs, path::Path};

use kernel::affinity;

use crate::error::Refusal;

/// The host's CPUs, divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus {
    /// The one on which everything is measured.
    pub measured: u32,
    /// All others that are online.
    pub housekeeping: Vec<u32>,
}

impl Cpus {
    /// Divides the CPUs that are online below `sys` (`/sys`): `wanted`, or the last, is measured.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where `wanted` does not exist or is the only one; [`Refusal::Lacking`]
    /// where the host has but one.
    pub fn divide(sys: &Path, wanted: Option<u32>) -> Result<Self, Refusal> {
        let online = online(sys)?;
        let measured = wanted.or(online.last().copied()).unwrap_or_default();
        if !online.contains(&measured) {
            return Err(Refusal::Usage(format!(
                "measured_cpu is {measured}, but the CPUs online are {}",
                affinity::format_list(&online)
            )));
        }
        let housekeeping: Vec<u32> = online.into_iter().filter(|cpu| *cpu != measured).collect();
        if housekeeping.is_empty() {
            let text = format!(
                "CPU {measured} is the only one of this host; measuring needs one, and everything \
                 else another"
            );
            return Err(if wanted.is_some() {
                Refusal::Usage(text)
            } else {
                Refusal::Lacking(text)
            });
        }
        Ok(Self { measured, housekeeping })
    }

    /// All CPUs, ascending.
    #[must_use]
    pub fn all(&self) -> Vec<u32> {
        let mut all = self.housekeeping.clone();
        all.push(self.measured);
        all.sort_unstable();
        all
    }
}

fn online(sys: &Path) -> Result<Vec<u32>, Refusal> {
    let path = sys.join("devices/system/cpu/online");
    let text = fs::read_to_string(&path)
        .map_err(|error| Refusal::Lacking(format!("{}: {error}", path.display())))?;
    affinity::parse_list(&text).filter(|cpus| !cpus.is_empty()).ok_or_else(|| {
        Refusal::Lacking(format!("{}: `{}` is not a list of CPUs", path.display(), text.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sys(online: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let cpu = root.path().join("devices/system/cpu");
        fs::create_dir_all(&cpu).unwrap();
        fs::write(cpu.join("online"), online).unwrap();
        root
    }

    #[test]
    fn the_last_cpu_is_measured_unless_another_is_wanted() {
        let root = sys("0-3\n");
        let cpus = Cpus::divide(root.path(), None).unwrap();
        assert_eq!((cpus.measured, cpus.housekeeping), (3, vec![0, 1, 2]));
        assert_eq!(Cpus::divide(root.path(), Some(1)).unwrap().housekeeping, [0, 2, 3]);
    }

    #[test]
    fn a_cpu_that_is_not_there_and_the_only_one_are_refused() {
        let error = Cpus::divide(sys("0-1\n").path(), Some(7)).unwrap_err();
        assert!(matches!(&error, Refusal::Usage(text) if text.contains("online are 0,1")));
        assert!(matches!(Cpus::divide(sys("0\n").path(), Some(0)), Err(Refusal::Usage(_))));
        assert!(matches!(Cpus::divide(sys("0\n").path(), None), Err(Refusal::Lacking(_))));
    }
}
