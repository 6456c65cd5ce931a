//! How much work an execution time is.
//!
//! A calibration holds two costs of one iteration of [`crate::work::burn`]. The *typical* one is
//! what a job is made of: the median over pieces as long as jobs, in CPU time of the thread, so that
//! preemption does not count, while what the machine takes behind the kernel's back (interrupts, the
//! hypervisor) counts as it will in the jobs. The *undisturbed* one is the 1st percentile over
//! pieces of 20 us: the processor's own speed, which hardly depends on the neighbours. Together
//! they tell a change of clock frequency from a change of noise.
//!
//! The typical cost is taken with pieces of two lengths, in turn; they must agree within
//! [`TOLERANCE`], and a stored calibration must agree with a fresh [`Look`].

mod check;
mod measure;
mod obtain;
mod store;

use std::time::Duration;

use model::duration::as_ns;
use serde::{Deserialize, Serialize};

use crate::work::{Work, WorkKind};

pub use check::compare;
pub(crate) use measure::cpu_model;
pub use measure::measure;
pub use obtain::{Options, obtain, renew};
pub use store::{cache_path, load, save, save_to};

/// The relative difference up to which two calibrations count as the same: 0.5 %.
pub const TOLERANCE: f64 = 0.005;

/// How long a calibration measures.
pub const LENGTH: Duration = Duration::from_secs(3);

/// A look at a stored calibration, to see whether it still holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// How long it measures.
    pub length: Duration,
    /// The relative difference that it accepts.
    pub tolerance: f64,
}

impl Look {
    /// For work whose execution time is that of the calibration.
    pub const STRICT: Self = Self { length: Duration::from_millis(1_200), tolerance: TOLERANCE };
    /// For work that watches its own time, and needs to know roughly what a piece takes.
    pub const ROUGH: Self = Self { length: Duration::from_millis(200), tolerance: 0.1 };
}

/// The version of the stored form.
pub const SCHEMA_VERSION: u32 = 1;

/// The cost of one iteration, and where and how well it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Typical CPU time of an iteration in a job, in nanoseconds.
    pub ns_per_iteration: f64,
    /// The same where nothing disturbs, in nanoseconds.
    pub undisturbed_ns_per_iteration: f64,
    /// Interquartile range of the long pieces, relative to their median.
    pub spread: f64,
    /// Typical cost from the long pieces against the short ones, relative.
    pub length_difference: f64,
    /// Long pieces measured.
    pub pieces: u32,
    /// The CPU that it was measured on.
    pub cpu: u32,
    /// The processor's name, where /proc/cpuinfo tells.
    pub cpu_model: Option<String>,
}

impl Calibration {
    /// The iterations that make up `execution`; at least one.
    #[must_use]
    pub fn iterations(&self, execution: Duration) -> u64 {
        (execution.as_nanos() as f64 / self.ns_per_iteration).round().max(1.0) as u64
    }

    /// The work of a job that takes `execution`.
    #[must_use]
    pub fn work(&self, kind: WorkKind, execution: Duration) -> Work {
        match kind {
            WorkKind::Fixed => Work::Fixed { iterations: self.iterations(execution) },
            WorkKind::Paced => Work::Paced {
                execution_ns: as_ns(execution),
                ns_per_iteration: self.ns_per_iteration,
            },
        }
    }

    /// Whether all numbers make sense.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.schema_version == SCHEMA_VERSION
            && [self.ns_per_iteration, self.undisturbed_ns_per_iteration]
                .iter()
                .all(|cost| cost.is_finite() && (1e-3..1e6).contains(cost))
    }
}

#[cfg(test)]
pub(crate) fn example() -> Calibration {
    Calibration {
        schema_version: SCHEMA_VERSION,
        ns_per_iteration: 1.5,
        undisturbed_ns_per_iteration: 1.25,
        spread: 0.01,
        length_difference: 0.001,
        pieces: 60,
        cpu: 1,
        cpu_model: Some("An Example".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_time_becomes_work() {
        assert_eq!(example().iterations(Duration::from_millis(30)), 20_000_000);
        assert_eq!(example().iterations(Duration::from_nanos(1)), 1);
    }

    #[test]
    fn nonsense_is_not_sound() {
        assert!(example().is_sound());
        assert!(!Calibration { ns_per_iteration: f64::NAN, ..example() }.is_sound());
        assert!(!Calibration { ns_per_iteration: 0.0, ..example() }.is_sound());
        assert!(!Calibration { schema_version: 99, ..example() }.is_sound());
    }
}
