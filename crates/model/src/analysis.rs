//! What schedulability analysis says of an experiment, as a manifest keeps it.
//!
//! `rtplan` fills it in; the models are those of `docs/analysis.md`.

use serde::{Deserialize, Serialize};

use crate::suite::Workload;

/// The analysis of one service of tasks under rate-monotonic priorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExperimentAnalysis {
    /// Its experiment.
    pub experiment: String,
    /// Its VM; none on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// Its name.
    #[serde(default)]
    pub service: String,
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
    /// Whether it is that of `workload`.
    #[must_use]
    pub fn is_of(&self, workload: Workload) -> bool {
        self.experiment == workload.experiment.name
            && self.vm.as_deref() == workload.vm.map(|vm| vm.name.as_str())
            && workload.service.is_some_and(|service| service.name == self.service)
    }

    /// Whether both are of the same service.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        (&self.experiment, &self.vm, &self.service)
            == (&other.experiment, &other.vm, &other.service)
    }

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
