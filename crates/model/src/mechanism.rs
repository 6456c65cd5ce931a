//! How a reservation is enforced on Linux.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The ways to give a virtual machine its share of a CPU. `docs/mechanisms.md` compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// No reservation: an ordinary Linux task.
    #[default]
    None,
    /// SCHED_FIFO above every real-time task of the host; no bound on what it takes.
    FifoAbove,
    /// SCHED_FIFO below every real-time task of the host, above everything ordinary.
    FifoBelow,
    /// SCHED_DEADLINE: a hard constant bandwidth server for each thread.
    Deadline,
    /// SCHED_DEADLINE that takes bandwidth which nobody reserved (SCHED_FLAG_RECLAIM, GRUB).
    DeadlineReclaim,
    /// Real-time bandwidth of a cgroup: one server for all vCPU threads.
    RtGroup,
    /// A quota for ordinary threads: at most Q in every P, and no guarantee.
    CfsQuota,
    /// A proportional share: Q/P against one rival of ordinary weight, and no cap.
    CfsWeight,
    /// A proportional share and a cap: `cfs-weight` and `cfs-quota` in one.
    CfsQuotaWeight,
    /// SCHED_DEADLINE whose budget ends on time, where the kernel alone ends it at the next tick.
    TimerServer,
}

impl Mechanism {
    /// All mechanisms, in the order in which tables show them.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::FifoAbove,
        Self::FifoBelow,
        Self::Deadline,
        Self::DeadlineReclaim,
        Self::RtGroup,
        Self::CfsQuota,
        Self::CfsWeight,
        Self::CfsQuotaWeight,
        Self::TimerServer,
    ];

    /// The name used in suites, on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FifoAbove => "fifo-above",
            Self::FifoBelow => "fifo-below",
            Self::Deadline => "deadline",
            Self::DeadlineReclaim => "deadline-reclaim",
            Self::RtGroup => "rt-group",
            Self::CfsQuota => "cfs-quota",
            Self::CfsWeight => "cfs-weight",
            Self::CfsQuotaWeight => "cfs-quota-weight",
            Self::TimerServer => "timer-server",
        }
    }

    /// Whether the kernel admits its bandwidth as SCHED_DEADLINE's.
    #[must_use]
    pub fn is_deadline(self) -> bool {
        matches!(self, Self::Deadline | Self::DeadlineReclaim | Self::TimerServer)
    }

    /// Whether it enforces a budget and a period at all.
    #[must_use]
    pub fn has_budget(self) -> bool {
        !matches!(self, Self::None | Self::FifoAbove | Self::FifoBelow)
    }

    /// Whether a VM that asks gets Q in every P, whatever else the host runs.
    #[must_use]
    pub fn guarantees(self) -> bool {
        self.is_deadline() || self == Self::RtGroup
    }

    /// Whether a VM gets no more than Q in P even where nobody else wants the CPU.
    #[must_use]
    pub fn caps(self) -> bool {
        self.has_budget() && !matches!(self, Self::DeadlineReclaim | Self::CfsWeight)
    }

    /// Whether it guarantees and caps: a hard reservation.
    #[must_use]
    pub fn is_hard(self) -> bool {
        self.guarantees() && self.caps()
    }

    /// Whether it ends budgets by a timer of its own, whatever the kernel's tick.
    #[must_use]
    pub fn is_sharp(self) -> bool {
        self == Self::TimerServer
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As the table in `docs/mechanisms.md` has it.
    #[test]
    fn what_each_guarantees_and_caps() {
        let those = |has: fn(Mechanism) -> bool| {
            let names = Mechanism::ALL.into_iter().filter(|one| has(*one)).map(Mechanism::name);
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(those(Mechanism::guarantees), "deadline deadline-reclaim rt-group timer-server");
        assert_eq!(
            those(Mechanism::caps),
            "deadline rt-group cfs-quota cfs-quota-weight timer-server"
        );
        assert_eq!(those(Mechanism::is_hard), "deadline rt-group timer-server");
        assert_eq!(those(Mechanism::is_sharp), "timer-server");
    }

    #[test]
    fn names_are_those_of_suites_and_read_back() {
        for mechanism in Mechanism::ALL {
            assert_eq!(mechanism.name().parse(), Ok(mechanism));
            let json = serde_json::to_string(&mechanism).unwrap();
            assert_eq!(json, format!("\"{mechanism}\""));
        }
        assert!("magic".parse::<Mechanism>().unwrap_err().contains("timer-server"));
    }
}
