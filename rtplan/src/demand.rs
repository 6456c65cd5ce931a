//! The least budget for a measured demand: real-time calculus.
//!
//! *Latency* is by how much the VM's work may be delayed beyond what it would take with the CPU to
//! itself: all that the VM would have done by an instant t, it has done by t + latency. The bound on
//! it is the largest horizontal distance from the demand bound function α ([`model::demand`]) to the
//! supply bound function β, sup over Δ of inf { d : β(Δ + d) ≥ α(Δ) } (Thiele, Chakraborty and
//! Naedele, ISCAS 2000; Le Boudec and Thiran, *Network Calculus*, 2001, theorem 1.4.2). It holds if
//! the supply is delivered, and for as long as the demand of every window stays within α.
//!
//! α counts what the VM does with the CPU to itself, at rate 1, not what arrives at once; so the
//! distance is what is added, and a CPU of one's own adds nothing.

use std::time::Duration;

use model::demand::Demand;

use crate::{
    grid::Cell,
    ns::{FOREVER, Ns, duration},
    question::{BudgetError, Question},
    supply::{Bound, Costs, Model, Supply},
    workload::Scheduler,
};

/// What is asked of a reservation for a measured demand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// How much later than with the CPU to itself the VM's work may be done.
    pub latency: Duration,
    /// The model of what the reservation supplies: any but dedicated and aligned.
    pub model: Model,
    /// Its costs.
    pub costs: Costs,
    /// The most of a CPU that can be reserved.
    pub most: f64,
}

/// What the kernel lets SCHED_DEADLINE have of a CPU unless told otherwise.
pub const USUAL_MOST: f64 = 0.95;

/// The periods of the trade-off, in ms.
const PERIODS_MS: [u64; 17] = [1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500];

/// Of the periods whose share is at most this much above the least, the longest is recommended: it
/// switches least often.
const NEARLY: f64 = 0.02;

/// The periods of the trade-off.
pub fn periods() -> impl Iterator<Item = Duration> {
    PERIODS_MS.into_iter().map(Duration::from_millis)
}

impl Wish {
    /// Refuses what has no answer.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn check(&self, period: Duration) -> Result<(), BudgetError> {
        if self.latency.is_zero() {
            return Err(BudgetError::ZeroLatency);
        }
        if self.model == Model::Aligned {
            return Err(BudgetError::AlignedDemand);
        }
        let question = self.question(period);
        question.supply(question.greatest()).map(drop)
    }

    fn question(&self, period: Duration) -> Question {
        let Self { model, costs, .. } = *self;
        // Nobody knows the scheduler inside, and the bound does not ask.
        Question { scheduler: Scheduler::default(), model, costs, period }
    }

    /// On what conditions the supply is surely delivered.
    #[must_use]
    pub fn holds_if(&self, period: Duration) -> String {
        self.question(period).holds_if()
    }

    /// The least budget in whole nanoseconds with which every one of `demands` has its latency;
    /// `None` where none is enough that can be reserved. At least its share of the period.
    ///
    /// All supplies grow with the budget at every instant, so bisection finds it.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn least_budget<'a>(
        &self,
        demands: impl IntoIterator<Item = &'a Demand>,
        period: Duration,
    ) -> Result<Option<Duration>, BudgetError> {
        self.check(period)?;
        let mut most = Duration::ZERO;
        for demand in demands {
            match self.of_one(demand, period)? {
                Some(budget) => most = most.max(budget),
                None => return Ok(None),
            }
        }
        Ok(Some(most.max(Duration::from_nanos(1))))
    }

    fn of_one(&self, demand: &Demand, period: Duration) -> Result<Option<Duration>, BudgetError> {
        let question = self.question(period);
        let enough = |budget: Ns| -> Result<bool, BudgetError> {
            let supply = question.supply(duration(budget))?;
            Ok(added_delay(demand, &supply).is_some_and(|delay| delay <= self.latency))
        };
        let (mut below, mut above) = (0, self.greatest(&question));
        if above == 0 || !enough(above)? {
            return Ok(None);
        }
        while above - below > 1 {
            let middle = below + (above - below) / 2;
            if enough(middle)? { above = middle } else { below = middle }
        }
        Ok(Some(duration(above)))
    }

    fn greatest(&self, question: &Question) -> Ns {
        let most = (question.period.as_nanos() as f64 * self.most).floor() as Ns;
        most.min(question.greatest().as_nanos())
    }

    /// The budget for each of `periods`.
    ///
    /// # Errors
    /// [`BudgetError`] of any.
    pub fn trade_off(
        &self,
        demands: &[&Demand],
        periods: impl IntoIterator<Item = Duration>,
    ) -> Result<Vec<Cell>, BudgetError> {
        let cell = |period| {
            let budget = self.least_budget(demands.iter().copied(), period)?;
            Ok(Cell { period, budget })
        };
        periods.into_iter().map(cell).collect()
    }
}

/// The largest horizontal distance from demand to supply: by how much the VM's work may be delayed
/// beyond what it would take with the CPU to itself. `None` where it is unbounded, or nothing in the
/// observation shows that it is not.
#[must_use]
pub fn added_delay(demand: &Demand, supply: &Supply) -> Option<Duration> {
    let bound = supply.bound(&[]);
    let supplied = |length_ns: u64| narrow(bound.provided(length_ns.into()));
    if !keeps_up(demand, &bound) || !demand.settles(supplied) {
        return None;
    }
    // However little was asked for, some work would be: of one that asked for nothing, too.
    let mut most = bound.time_for(1).saturating_sub(1);
    if most >= FOREVER - 1 {
        return None;
    }
    for corner in demand.corners() {
        let served = bound.time_for(corner.work_ns.into());
        if served >= FOREVER {
            return None;
        }
        most = most.max(served.saturating_sub(corner.length_ns().into()));
    }
    let early = if demand.corners().is_empty() { 0 } else { demand.advanced_ns() };
    Some(duration(most + Ns::from(early)))
}

/// Whether the share supplied is at least the share asked for.
fn keeps_up(demand: &Demand, bound: &Bound) -> bool {
    let (supplied, period) = bound.rate();
    supplied * Ns::from(demand.span_ns()) >= Ns::from(demand.work_ns()) * period
}

fn narrow(ns: Ns) -> u64 {
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Of a trade-off the cell to choose: the longest period whose share of the CPU is at most 0.02
/// above the least. `None` where no budget is enough.
#[must_use]
pub fn recommended(cells: &[Cell]) -> Option<Cell> {
    let least = cells.iter().filter_map(Cell::bandwidth).min_by(f64::total_cmp)?;
    let near = |cell: &&Cell| cell.bandwidth().is_some_and(|share| share <= least + NEARLY);
    cells.iter().filter(near).max_by_key(|cell| cell.period).copied()
}
