//! Where the threads of a virtual machine are while they are under a reservation.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Which CPUs and groups the vCPU threads have under a reservation. `docs/mechanisms.md` says which
/// mechanism works in which placement, and which one is chosen where none is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// On all CPUs of their root domain: nothing is moved or pinned.
    Global,
    /// Where they are; the group that holds them becomes a cpuset partition.
    Slice,
    /// On one CPU, moved into a cpuset partition of the bench's own.
    #[default]
    Partition,
    /// In groups of the VM's own, which get a quota or a weight.
    InPlace,
    /// Where they are, with the admission control of SCHED_DEADLINE switched off for the host.
    AdmissionOff,
}

impl Placement {
    /// All placements, in the order in which tables show them.
    pub const ALL: [Self; 5] =
        [Self::Global, Self::Slice, Self::Partition, Self::InPlace, Self::AdmissionOff];

    /// The name used in suites and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Slice => "slice",
            Self::Partition => "partition",
            Self::InPlace => "in-place",
            Self::AdmissionOff => "admission-off",
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|placement| placement.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|placement| placement.name()).collect();
            format!("`{text}` is not a placement; choose one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_suites_and_read_back() {
        for placement in Placement::ALL {
            assert_eq!(placement.name().parse(), Ok(placement));
            let json = serde_json::to_string(&placement).unwrap();
            assert_eq!(json, format!("\"{placement}\""));
        }
        assert!("moon".parse::<Placement>().unwrap_err().contains("in-place"));
    }
}
