//! Demand and supply as points to be joined by lines, in milliseconds.
//!
//! The only floating point of this crate that is not a label: pictures, never verdicts.

use crate::{
    item::due,
    ns::Ns,
    problem::Problem,
    supply::Supply,
    workload::{Scheduler, Workload, WorkloadError},
};

/// Enough for a picture.
const SAMPLES: u32 = 2000;

/// So many tasks get a line of their own.
const MOST_TASKS: usize = 4;

/// A named line.
#[derive(Debug, Clone)]
pub struct Line {
    /// For the legend.
    pub name: String,
    /// (time, work), both in milliseconds.
    pub points: Vec<(f64, f64)>,
}

fn ms(ns: Ns) -> f64 {
    ns as f64 / 1e6
}

/// The end of the picture: a quarter beyond what is to be seen, and at least one server period.
pub(crate) fn horizon(workload: &Workload, supplies: &[Supply], scheduler: Scheduler) -> Ns {
    let deadline = workload.tasks().iter().map(|spec| spec.task.deadline().as_nanos()).max();
    let periods = supplies.iter().filter_map(|s| s.reservation()).map(|r| r.period().as_nanos());
    let factor = if scheduler == Scheduler::Edf { 8 } else { 5 };
    (deadline.unwrap_or(0) * factor / 4).max(periods.max().unwrap_or(0) * 2)
}

/// The supply up to `horizon`, in whichever window of `problem` is supplied least.
pub(crate) fn supply(name: String, problem: &Problem, horizon: Ns) -> Line {
    let at = |sample: u32| horizon * Ns::from(sample) / Ns::from(SAMPLES);
    let least = |t: Ns| {
        let supplied = problem.scenarios.iter().map(|scenario| scenario.bound.provided(t));
        supplied.min().unwrap_or(0)
    };
    let points = (0..=SAMPLES).map(|s| (ms(at(s)), ms(least(at(s))))).collect();
    Line { name, points }
}

/// The request bound functions of the least urgent tasks, or the demand bound function.
pub(crate) fn demands(
    workload: &Workload,
    scheduler: Scheduler,
    horizon: Ns,
) -> Result<Vec<Line>, WorkloadError> {
    let problem = Problem::new(workload, &Supply::dedicated(), scheduler)?;
    let at = |sample: u32| horizon * Ns::from(sample) / Ns::from(SAMPLES);
    let steps = |demand: &dyn Fn(Ns) -> Ns| {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for sample in 0..=SAMPLES {
            let (time, work) = (ms(at(sample)), ms(demand(at(sample).max(1))));
            // A jump is drawn upright.
            if let Some(&(_, before)) = points.last().filter(|&&(_, before)| before != work) {
                points.push((time, before));
            }
            points.push((time, work));
        }
        points
    };
    if scheduler == Scheduler::Edf {
        let points = steps(&|t| due(&problem.items, t));
        return Ok(vec![Line { name: "demand (EDF)".to_owned(), points }]);
    }
    let ranks = problem.items.len().saturating_sub(MOST_TASKS)..problem.items.len();
    let line = |rank: usize| {
        let item = &problem.items[rank];
        let own = item.blocking + item.execution;
        let demand = |t: Ns| {
            let above = problem.items[..rank].iter();
            own + above.map(|item| item.releases(t, 0) * item.execution).sum::<Ns>()
        };
        let name = format!("demand of {}", model::TaskSet::name(item.index));
        Line { name, points: steps(&demand) }
    };
    Ok(ranks.map(line).collect())
}
