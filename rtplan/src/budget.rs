//! The least budget with which a task set is schedulable.

use std::time::Duration;

use crate::{
    analysis::{AnalysisError, holds},
    exact::{self, Fraction},
    ns::{Ns, duration as of_ns},
    problem::Problem,
    question::{BudgetError, Question},
    workload::Workload,
};

/// The least sufficient budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// In whole nanoseconds: with this much it holds, with one less it does not.
    pub least: Duration,
    /// The least real number of nanoseconds, where it was determined: not above `least`, and less
    /// than 1 below.
    pub exact: Option<Fraction>,
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
