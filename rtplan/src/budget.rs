//! The least budget with which a task set is schedulable.

use std::time::Duration;

use model::{Reservation, duration};
use thiserror::Error;

use crate::{
    analysis::{AnalysisError, holds},
    exact::{self, Fraction},
    ns::{Ns, duration as of_ns},
    problem::Problem,
    supply::{Costs, Model, Supply},
    workload::{Scheduler, Workload},
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

/// The least sufficient budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// In whole nanoseconds: with this much it holds, with one less it does not.
    pub least: Duration,
    /// The least real number of nanoseconds, where it was determined: not above `least`, and less
    /// than 1 below.
    pub exact: Option<Fraction>,
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

/// The least budget for `workload`, or `None` where none is enough.
///
/// All supplies grow with the budget at every instant, so bisection finds it.
///
/// # Errors
/// [`BudgetError`].
pub fn least_budget(
    workload: &Workload,
    question: &Question,
) -> Result<Option<Budget>, BudgetError> {
    let greatest = question.greatest();
    let mut problem = Problem::new(workload, &question.supply(greatest)?, question.scheduler)
        .map_err(AnalysisError::from)?;
    let Some(least) = bisect(&mut problem, question)? else { return Ok(None) };
    let exact = if least > 1 {
        // The deadline that decides lies in the busy window of a budget that is not quite enough.
        problem.resupply(&question.supply(of_ns(least - 1))?);
        exact::infimum(&problem, question, least)
    } else {
        None
    };
    Ok(Some(Budget { least: of_ns(least), exact }))
}

/// The same without the exact fraction.
pub(crate) fn bisect(
    problem: &mut Problem,
    question: &Question,
) -> Result<Option<Ns>, BudgetError> {
    let mut enough = |budget: Ns| -> Result<bool, BudgetError> {
        problem.resupply(&question.supply(of_ns(budget))?);
        Ok(holds(problem).map_err(AnalysisError::from)?)
    };
    let (mut below, mut above) = (0, question.greatest().as_nanos());
    if !enough(above)? {
        return Ok(None);
    }
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if enough(middle)? { above = middle } else { below = middle }
    }
    Ok(Some(above))
}
