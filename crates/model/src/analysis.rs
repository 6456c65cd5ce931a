//! What schedulability analysis says of an experiment, as a manifest keeps it.
//!
//! `rtplan` fills it in; the models are those of `docs/analysis.md`.

use serde::{Deserialize, Serialize};

/// The analysis of one experiment under rate-monotonic priorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExperimentAnalysis {
    /// Its name.
    pub experiment: String,
    /// One for each model of the CPU time that its tasks get; first the one that measurements are
    /// held against. Empty where nothing is promised: beside a load, without a reservation.
    pub supplies: Vec<SupplyAnalysis>,
    /// The least budgets for the period of its reservation, in the same order.
    pub budgets: Vec<LeastBudget>,
}

/// The verdict under one supply model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupplyAnalysis {
    /// `dedicated`, `aligned`, `one-gap` or `two-gap`.
    pub supply: String,
    /// Whether every deadline holds; unknown where the analysis was given up.
    pub schedulable: Option<bool>,
    /// In the order of the tasks.
    pub tasks: Vec<TaskBound>,
}

/// The worst case of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskBound {
    /// `tau1`, `tau2`, …
    pub task: String,
    /// Worst-case response time; none where it is unbounded or was not found.
    pub wcrt_ns: Option<u64>,
}

/// The least budget that is enough under one supply model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeastBudget {
    /// `aligned`, `one-gap` or `two-gap`.
    pub supply: String,
    /// In whole nanoseconds; none where no budget is enough or the analysis was given up.
    pub budget_ns: Option<u64>,
    /// As a fraction, for example `80/3 ms`, where it is known.
    pub budget_exact: Option<String>,
}

impl ExperimentAnalysis {
    /// The model that measurements are held against.
    #[must_use]
    pub fn expected(&self) -> Option<&SupplyAnalysis> {
        self.supplies.first()
    }

    /// Whether [`Self::expected`] promises every task a worst case.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.expected().is_some_and(|own| own.tasks.iter().all(|task| task.wcrt_ns.is_some()))
    }
}

impl LeastBudget {
    /// `80/3 ms`, or `32 ms`; none where there is no budget.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let fraction = self.budget_exact.clone().filter(|exact| exact.contains('/'));
        fraction.or_else(|| self.budget_ns.map(crate::duration::in_ms))
    }
}
