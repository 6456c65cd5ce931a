//! How a reservation is enforced on Linux.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The ways to give a virtual machine its share of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// No reservation: an ordinary Linux task.
    #[default]
    None,
    /// SCHED_DEADLINE: a hard constant bandwidth server for each thread.
    Deadline,
}

impl Mechanism {
    /// All mechanisms, in the order in which tables show them.
    pub const ALL: [Self; 2] = [Self::None, Self::Deadline];

    /// The name used in suites, on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Deadline => "deadline",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|mechanism| mechanism.name()).collect();
            format!("`{text}` is not a mechanism; choose one of {}", names.join(", "))
        })
    }
}
