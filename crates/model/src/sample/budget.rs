//! How the budget of a reservation adapted: rows of `budget.csv`.

use serde::{Deserialize, Serialize};

use super::Columns;
use crate::control::Why;

/// The end of a control interval: a row of `budget.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetRow {
    /// When it ended, on the host's clock.
    pub time_ns: u64,
    /// The VM.
    pub vm: String,
    /// The vCPU's number, from 0.
    pub vcpu: u32,
    /// The budget Q from now on.
    pub budget_ns: u64,
    /// CPU time of the vCPU's thread in the interval; none in the first row, before which there was
    /// none.
    pub consumed_ns: Option<u64>,
    /// For how long the thread was runnable in it and did not run; counted as each wait ends.
    pub waited_ns: Option<u64>,
    /// Why the budget is that.
    pub why: Why,
    /// What the law wished for; none in the first row.
    #[serde(default)]
    pub wish_ns: Option<u64>,
}

impl Columns for BudgetRow {
    const COLUMNS: &'static [&'static str] =
        &["time_ns", "vm", "vcpu", "budget_ns", "consumed_ns", "waited_ns", "why", "wish_ns"];
}
