//! What the analysis (`rtplan`) promises the tasks of an experiment.

use model::analysis::{ExperimentAnalysis, SupplyAnalysis};

/// Worst-case response times of an experiment's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The assumption about the CPU that the tasks get, in words.
    pub supply: &'static str,
    /// Under that assumption.
    own: SupplyAnalysis,
}

impl Bounds {
    /// Under the model that measurements are held against, where there is one.
    #[must_use]
    pub fn of(analysis: &ExperimentAnalysis) -> Option<Self> {
        let own = analysis.expected()?.clone();
        let supply = match own.supply.as_str() {
            "aligned" => "releases aligned with the reservation",
            "one-gap" => "nothing delays the reservation, releases at any time",
            "two-gap" => "the reservation beside others",
            _ => "the CPU to itself",
        };
        Some(Self { supply, own })
    }

    /// The bound of `task` (`tau1`, …) in nanoseconds.
    #[must_use]
    pub fn wcrt_ns(&self, task: &str) -> Option<u64> {
        self.own.tasks.iter().find(|own| own.task == task)?.wcrt_ns
    }
}
