//! What `rtplan budget --demand` answers.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use model::{demand::Demand, duration};
use serde::Serialize;

use super::words;
use crate::{
    demand::{Wish, recommended},
    grid::Cell,
    question::BudgetError,
};

/// The answer; serialised it is the JSON.
#[derive(Debug, Serialize)]
pub struct Answer {
    supply: &'static str,
    holds_if: String,
    latency_ns: u64,
    /// Of the period that was asked for, or of the recommended one.
    period_ns: Option<u64>,
    budget_ns: Option<u64>,
    bandwidth: Option<f64>,
    /// Of the vCPU that asks for most.
    demand_share: f64,
    points: Vec<Point>,
    threads: Vec<Thread>,
    #[serde(skip)]
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Point {
    period_ns: u64,
    budget_ns: Option<u64>,
    bandwidth: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Thread {
    thread: String,
    demand_share: f64,
    observed_ns: u64,
    /// By how much work was counted before it arrived, at most.
    advanced_ns: u64,
    /// With the period of the answer; null where none is enough.
    budget_ns: Option<u64>,
}

impl Answer {
    /// For these vCPUs, which all get the same reservation, and these periods.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn find(
        wish: &Wish,
        threads: &BTreeMap<String, Demand>,
        periods: &[Duration],
    ) -> Result<Self, BudgetError> {
        let demands: Vec<&Demand> = threads.values().collect();
        let cells = wish.trade_off(&demands, periods.iter().copied())?;
        let first = periods.first().copied().unwrap_or(wish.latency);
        let chosen = recommended(&cells);
        let period = chosen.map_or(first, |cell| cell.period);
        let mut rows = Vec::new();
        for (thread, demand) in threads {
            rows.push(Thread {
                thread: thread.clone(),
                demand_share: demand.share(),
                observed_ns: demand.span_ns(),
                advanced_ns: demand.advanced_ns(),
                budget_ns: wish.least_budget([demand], period)?.map(duration::as_ns),
            });
        }
        Ok(Self {
            supply: wish.model.name(),
            holds_if: wish.holds_if(first),
            latency_ns: duration::as_ns(wish.latency),
            period_ns: chosen.map(|cell| duration::as_ns(cell.period)),
            budget_ns: chosen.and_then(|cell| cell.budget).map(duration::as_ns),
            bandwidth: chosen.and_then(|cell| cell.bandwidth()),
            demand_share: rows.iter().map(|row| row.demand_share).fold(0.0, f64::max),
            points: cells.iter().map(Point::of).collect(),
            threads: rows,
            cells,
        })
    }

    /// Whether a budget is enough.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.budget_ns.is_some()
    }

    /// On what conditions the supply is surely delivered.
    #[must_use]
    pub fn holds_if(&self) -> &str {
        &self.holds_if
    }

    /// One for each period.
    #[must_use]
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The same for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "least budget with which work is at most {} later than with the CPU to itself\n",
            words::time(self.latency_ns.into())
        );
        for row in &self.threads {
            let _ = writeln!(
                text,
                "{}: asked for {:.4} of a CPU over {:.1} s",
                row.thread,
                row.demand_share,
                row.observed_ns as f64 / 1e9
            );
            if row.advanced_ns > 0 {
                let early = words::time(row.advanced_ns.into());
                let _ = writeln!(text, "  very many wake-ups: work is counted up to {early} early");
            }
        }
        let _ = writeln!(text, "\n{:>12}{:>18}{:>12}", "period", "budget", "bandwidth");
        for cell in &self.cells {
            let _ = writeln!(
                text,
                "{:>12}{:>18}{:>12}",
                words::span(cell.period),
                cell.budget.map_or("none is enough".to_owned(), words::span),
                cell.bandwidth().map_or("-".to_owned(), |share| format!("{share:.4}")),
            );
        }
        let _ = writeln!(text, "  {} holds if {}", self.supply, self.holds_if);
        if let (Some(budget), Some(period), true) =
            (self.budget_ns, self.period_ns, self.cells.len() > 1)
        {
            let [budget, period] = [budget, period].map(|ns| words::time(ns.into()));
            let _ = writeln!(
                text,
                "\n{budget} in every {period}: the longest period that costs at most 0.02 of a CPU \
                 more than the cheapest"
            );
        }
        text
    }
}

impl Point {
    fn of(cell: &Cell) -> Self {
        Self {
            period_ns: duration::as_ns(cell.period),
            budget_ns: cell.budget.map(duration::as_ns),
            bandwidth: cell.bandwidth(),
        }
    }
}
