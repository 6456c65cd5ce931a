//! Which reservations to choose from, and why there may be no answer.

use std::time::Duration;

use model::{Reservation, duration};
use thiserror::Error;

use crate::{
    analysis::AnalysisError,
    supply::{Costs, Model, Supply},
    workload::Scheduler,
};

/// Which reservations to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The scheduler inside the reservation.
    pub scheduler: Scheduler,
    /// The model of what the reservation supplies.
    pub model: Model,
    /// Its costs.
    pub costs: Costs,
    /// P.
    pub period: Duration,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BudgetError {
    /// P is zero.
    #[error("the reservation period is 0; give one above zero, for example `50ms`")]
    ZeroPeriod,
    /// A dedicated CPU has no budget.
    #[error("a dedicated CPU has no budget; choose two-gap, one-gap or aligned")]
    Dedicated,
    /// Δ above P, or zero.
    #[error("server deadline `{0}`: it must lie above zero and not above the period `{1}`")]
    ServerDeadline(String, String),
    /// The latency is zero: no reservation adds nothing.
    #[error("the latency is 0; give one above zero, for example `20ms`")]
    ZeroLatency,
    /// Nobody knows the releases inside a measured demand.
    #[error(
        "the aligned supply needs tasks with known releases; choose two-gap or one-gap for a \
         measured demand"
    )]
    AlignedDemand,
    /// No verdict on one of the budgets.
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
}

impl Question {
    /// The supply of a budget of `budget` nanoseconds.
    ///
    /// # Errors
    /// [`BudgetError`]; the budget must lie in 1..=P, or in 1..=Δ with an explicit deadline.
    pub fn supply(&self, budget: Duration) -> Result<Supply, BudgetError> {
        self.check()?;
        let reservation = Reservation::new(budget, self.period).expect("0 < budget <= period");
        let supply = Supply::new(self.model, Some(reservation)).expect("budget <= deadline");
        Ok(supply.with_costs(self.costs))
    }

    /// What must be so for the supply to hold, whatever the budget: the end of a sentence that begins
    /// "holds if".
    #[must_use]
    pub fn holds_if(&self) -> String {
        self.supply(self.greatest()).map_or_else(|_| String::new(), |supply| supply.holds_if())
    }

    fn check(&self) -> Result<(), BudgetError> {
        match self.model {
            _ if self.period.is_zero() => Err(BudgetError::ZeroPeriod),
            Model::Dedicated => Err(BudgetError::Dedicated),
            Model::ExplicitDeadline(deadline) if deadline.is_zero() || deadline > self.period => {
                let [deadline, period] = [deadline, self.period].map(duration::format);
                Err(BudgetError::ServerDeadline(deadline, period))
            }
            _ => Ok(()),
        }
    }

    /// The greatest budget that the model admits: P, or Δ.
    #[must_use]
    pub fn greatest(&self) -> Duration {
        if let Model::ExplicitDeadline(deadline) = self.model { deadline } else { self.period }
    }
}
