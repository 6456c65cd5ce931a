//! Which laws there are, and what a suite says of one.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Bounds, BoundsError};

/// A feedback law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// LFS++: (1 + x) times a quantile of what was consumed, raised while it is exhausted.
    Lfs,
    /// A PI law on the scheduling error.
    Pi,
}

impl Law {
    /// Every law.
    pub const ALL: [Self; 2] = [Self::Lfs, Self::Pi];

    /// The name in suites, on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lfs => "lfs",
            Self::Pi => "pi",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Law {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|law| law.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|law| law.name()).collect();
            format!("`{text}` is not a law of control; choose one of {}", names.join(", "))
        })
    }
}

/// A reservation whose budget a law chooses; the greatest is the reservation's own Q.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Control {
    /// The law.
    pub law: Law,
    /// The least budget.
    pub min: Duration,
    /// Its part beside other VMs that adapt on the CPU ([`super::Pool`]).
    pub weight: u32,
}

impl Control {
    /// The bounds, of a reservation of `max` in every `period`.
    ///
    /// # Errors
    /// Those of [`Bounds::new`].
    pub fn bounds(self, max: Duration, period: Duration) -> Result<Bounds, BoundsError> {
        Bounds::new(self.min, max, period)
    }
}
