//! The verdict on a task set, with evidence that a person can check.

use crate::{
    edf,
    effort::TooHard,
    fixed_priority::{self, Worst},
    ns::Ns,
    problem::Problem,
    response::Response,
    supply::Supply,
    witness::{self, Point, Witness},
    workload::{Scheduler, Workload, WorkloadError},
};

/// Evidence is gathered for each task of sets up to this size.
const MOST_WITNESSES: usize = 5000;

/// A task's verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskVerdict {
    /// Whether every job meets its deadline.
    pub schedulable: bool,
    /// The worst-case response time, from a job's arrival.
    pub response: Response,
    /// Demand against supply, where it decides.
    pub witness: Option<Witness>,
}

/// The verdict on a task set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    /// Whether every job of every task meets its deadline.
    pub schedulable: bool,
    /// In the order given.
    pub tasks: Vec<TaskVerdict>,
    /// The first instant of a busy window at which a deadline is missed, demand against supply;
    /// `None` where none is, or none was found within the steps that an analysis may take.
    pub first_failure: Option<Point>,
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnalysisError {
    /// The tasks cannot be analysed.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The search was given up.
    #[error(transparent)]
    TooHard(#[from] TooHard),
}

/// Analyses `workload` under `scheduler` on `supply`.
///
/// # Errors
/// [`AnalysisError`].
pub fn analyse(
    workload: &Workload,
    supply: &Supply,
    scheduler: Scheduler,
) -> Result<Analysis, AnalysisError> {
    let problem = Problem::new(workload, supply, scheduler)?;
    let (by_rank, first_failure) = match scheduler {
        Scheduler::Edf => by_deadlines(&problem)?,
        _ => by_priorities(&problem)?,
    };
    let mut tasks: Vec<(usize, TaskVerdict)> =
        problem.items.iter().map(|item| item.index).zip(by_rank).collect();
    tasks.sort_by_key(|(index, _)| *index);
    let tasks: Vec<TaskVerdict> = tasks.into_iter().map(|(_, verdict)| verdict).collect();
    let schedulable = tasks.iter().all(|task| task.schedulable);
    Ok(Analysis { schedulable, tasks, first_failure })
}

/// Whether every deadline holds; quicker than [`analyse`], which says more.
///
/// # Errors
/// [`AnalysisError`].
pub fn schedulable(
    workload: &Workload,
    supply: &Supply,
    scheduler: Scheduler,
) -> Result<bool, AnalysisError> {
    Ok(holds(&Problem::new(workload, supply, scheduler)?)?)
}

pub(crate) fn holds(problem: &Problem) -> Result<bool, TooHard> {
    match problem.scheduler {
        Scheduler::Edf => edf::schedulable(problem),
        _ => fixed_priority::schedulable(problem),
    }
}

type Verdicts = (Vec<TaskVerdict>, Option<Point>);

fn by_priorities(problem: &Problem) -> Result<Verdicts, TooHard> {
    let misses = fixed_priority::misses(problem)?;
    let worst = fixed_priority::worst_cases(problem);
    // Evidence takes a sum over all tasks for each: quadratic, so of large sets only the failure's.
    let all = problem.items.len() <= MOST_WITNESSES;
    let verdict = |(rank, (&worst, &miss)): (usize, (&Worst, &Option<Ns>))| TaskVerdict {
        schedulable: miss.is_none(),
        response: worst.response,
        witness: if all { witness::of_rank(problem, rank, worst, miss) } else { None },
    };
    let verdicts: Vec<TaskVerdict> = worst.iter().zip(&misses).enumerate().map(verdict).collect();
    let missed = misses.iter().enumerate().filter_map(|(rank, job)| Some((rank, (*job)?)));
    let first = missed.min_by_key(|&(rank, job)| problem.items[rank].deadline_of(job));
    let failure = first.and_then(|(rank, job)| witness::at_deadline(problem, rank, job));
    Ok((verdicts, failure))
}

fn by_deadlines(problem: &Problem) -> Result<Verdicts, TooHard> {
    let schedulable = edf::schedulable(problem)?;
    // The verdict stands; only the instant may be too hard to find.
    let failure = if schedulable { None } else { edf::first_violation(problem).ok().flatten() };
    let all = problem.items.len() <= MOST_WITNESSES;
    let verdict = |(rank, response): (usize, Response)| {
        let within = response.within(problem.items[rank].deadline).unwrap_or(false);
        let witness = match failure {
            _ if schedulable && all => witness::tightest_deadline(problem, rank),
            Some(point) if !within => Some(Witness::Overrun { point }),
            _ => None,
        };
        TaskVerdict { schedulable: schedulable || within, response, witness }
    };
    let verdicts = edf::responses(problem).into_iter().enumerate().map(verdict).collect();
    Ok((verdicts, failure))
}
