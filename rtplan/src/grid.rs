//! The trade-off: the least budget over a range of server periods.

use std::time::Duration;

use rayon::prelude::*;

use crate::{
    analysis::AnalysisError,
    budget::bisect,
    ns::duration,
    problem::Problem,
    question::{BudgetError, Question},
    workload::Workload,
};

/// The answer for one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// P.
    pub period: Duration,
    /// The least sufficient budget, overhead included; `None` where none is enough.
    pub budget: Option<Duration>,
}

impl Cell {
    /// Q / P, overhead included; for display and axes.
    #[must_use]
    pub fn bandwidth(&self) -> Option<f64> {
        self.budget.map(|budget| budget.as_nanos() as f64 / self.period.as_nanos() as f64)
    }

    /// Whether this cell has a smaller bandwidth than `other`, by exact comparison.
    fn is_cheaper(&self, other: &Self) -> bool {
        match (self.budget, other.budget) {
            (Some(a), Some(b)) => {
                a.as_nanos() * other.period.as_nanos() < b.as_nanos() * self.period.as_nanos()
            }
            (budget, _) => budget.is_some(),
        }
    }
}

/// The least budget for each of `periods`, on all CPUs of this machine; `question.period` is not
/// used.
///
/// # Errors
/// [`BudgetError`] of any cell.
pub fn grid(
    workload: &Workload,
    question: &Question,
    periods: &[Duration],
) -> Result<Vec<Cell>, BudgetError> {
    let first = periods.first().copied().unwrap_or(question.period);
    let first = Question { period: first, ..*question };
    let problem = || {
        let supply = first.supply(first.greatest())?;
        let problem = Problem::new(workload, &supply, question.scheduler);
        problem.map_err(|error| BudgetError::from(AnalysisError::from(error)))
    };
    periods
        .par_iter()
        .map_init(problem, |problem, &period| match problem {
            Ok(problem) => {
                let question = Question { period, ..*question };
                let budget = bisect(problem, &question)?;
                Ok(Cell { period, budget: budget.map(duration) })
            }
            Err(error) => Err(error.clone()),
        })
        .collect()
}

/// The cell with the smallest bandwidth; among equals the one with the longest period, which
/// switches least. `None` where no cell has a budget.
#[must_use]
pub fn cheapest(cells: &[Cell]) -> Option<Cell> {
    let feasible = cells.iter().filter(|cell| cell.budget.is_some());
    feasible.copied().reduce(|best, cell| {
        let better =
            cell.is_cheaper(&best) || (!best.is_cheaper(&cell) && cell.period > best.period);
        if better { cell } else { best }
    })
}

#[cfg(test)]
mod tests {
    use model::TaskSet;

    use super::*;
    use crate::{Costs, Model, Scheduler};

    fn of_paper(costs: Costs) -> Vec<Cell> {
        let ms = Duration::from_millis;
        let question = Question {
            scheduler: Scheduler::RateMonotonic,
            model: Model::TwoGap,
            costs,
            period: ms(1),
        };
        let periods: Vec<Duration> = (1..=100).map(ms).collect();
        grid(&Workload::of(&TaskSet::paper()).unwrap(), &question, &periods).unwrap()
    }

    #[test]
    fn without_overhead_the_shortest_period_is_the_cheapest() {
        let cells = of_paper(Costs::default());
        assert_eq!(cells[49].budget, Some(Duration::from_millis(32)));
        assert_eq!(cheapest(&cells).unwrap().period, Duration::from_millis(1));
    }

    #[test]
    fn with_overhead_the_minimum_lies_inside() {
        let overhead = Duration::from_micros(200);
        let best = cheapest(&of_paper(Costs { overhead, ..Costs::default() })).unwrap();
        assert!((2..50).contains(&best.period.as_millis()), "{best:?}");
    }
}
