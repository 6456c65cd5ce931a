//! The JSON that scripts read: one object; an unknown value is null.

use model::{TaskSet, duration};
use serde::Serialize;

use crate::{
    budget::Budget,
    grid::{Cell, cheapest},
    output::words,
    response::Response,
    study::{Answer, Study},
    witness::Point,
    workload::{Scheduler, Workload},
};

/// What `rtplan analyse --summary json` prints.
#[derive(Debug, Serialize)]
pub struct Analysed {
    scheduler: &'static str,
    utilisation: f64,
    #[serde(flatten)]
    verdict: Verdict,
    /// The verdicts of the other models, where none was asked for.
    others: Vec<Verdict>,
}

#[derive(Debug, Serialize)]
struct Verdict {
    supply: &'static str,
    /// On what conditions the supply is surely delivered.
    holds_if: String,
    budget_ns: Option<u64>,
    period_ns: Option<u64>,
    schedulable: bool,
    first_failure: Option<Instant>,
    tasks: Vec<TaskRow>,
}

#[derive(Debug, Serialize)]
struct TaskRow {
    task: String,
    wcrt_ns: Option<u64>,
    deadline_ns: u64,
    schedulable: bool,
    /// `bounded`, `unbounded`, or `not-found` where the search was given up.
    wcrt: &'static str,
    /// Counted from 0; null where there is one vCPU only or the task fits on none.
    vcpu: Option<usize>,
    why: String,
}

#[derive(Debug, Serialize)]
struct Instant {
    at_ns: u64,
    demand_ns: u64,
    supply_ns: u64,
}

impl From<Point> for Instant {
    fn from(point: Point) -> Self {
        let [at_ns, demand_ns, supply_ns] = [point.at, point.demand, point.supply].map(narrow);
        Self { at_ns, demand_ns, supply_ns }
    }
}

fn narrow(ns: u128) -> u64 {
    u64::try_from(ns).unwrap_or(u64::MAX)
}

impl Analysed {
    /// `studies` of `workload`: the verdict, then those of other models.
    #[must_use]
    pub fn new(workload: &Workload, scheduler: Scheduler, studies: &[Study]) -> Self {
        let (first, others) = studies.split_first().expect("one study at least");
        Self {
            scheduler: scheduler.name(),
            utilisation: workload.tasks().iter().map(|spec| spec.task.utilisation()).sum(),
            verdict: Verdict::of(workload, first),
            others: others.iter().map(|study| Verdict::of(workload, study)).collect(),
        }
    }
}

impl Verdict {
    fn of(workload: &Workload, study: &Study) -> Self {
        let reservation = study.supply.reservation();
        let rows = workload.tasks().iter().zip(&study.analysis.tasks).enumerate();
        let row = |(index, (spec, verdict)): (usize, (&crate::TaskSpec, &crate::TaskVerdict))| {
            let dealt = study.partition.as_ref();
            TaskRow {
                task: TaskSet::name(index),
                wcrt_ns: verdict.response.ns().map(narrow),
                deadline_ns: duration::as_ns(spec.task.deadline()),
                schedulable: verdict.schedulable,
                wcrt: match verdict.response {
                    Response::Bounded(_) => "bounded",
                    Response::Unbounded => "unbounded",
                    Response::TooHard(_) => "not-found",
                },
                vcpu: dealt.and_then(|d| d.vcpus.iter().position(|v| v.contains(&index))),
                why: words::why(&TaskSet::name(index), verdict),
            }
        };
        Self {
            supply: study.supply.model().name(),
            holds_if: study.supply.holds_if(),
            budget_ns: reservation.map(|r| duration::as_ns(r.budget())),
            period_ns: reservation.map(|r| duration::as_ns(r.period())),
            schedulable: study.analysis.schedulable,
            first_failure: study.analysis.first_failure.map(Instant::from),
            tasks: rows.map(row).collect(),
        }
    }
}

/// What `rtplan budget --summary json` prints.
#[derive(Debug, Serialize)]
pub struct Budgeted {
    #[serde(flatten)]
    answer: AnswerRow,
    first_failure: Option<Instant>,
    vcpus: Vec<VcpuRow>,
    /// The answers of the other models and schedulers, where none was asked for.
    others: Vec<AnswerRow>,
}

#[derive(Debug, Serialize)]
struct AnswerRow {
    scheduler: &'static str,
    supply: &'static str,
    holds_if: String,
    period_ns: u64,
    budget_ns: Option<u64>,
    /// The least real budget, for example `80/3 ms`.
    budget_exact: Option<String>,
    bandwidth: Option<f64>,
}

#[derive(Debug, Serialize)]
struct VcpuRow {
    vcpu: usize,
    tasks: Vec<String>,
    budget_ns: Option<u64>,
}

impl Budgeted {
    /// The answer, then those of other models.
    #[must_use]
    pub fn new(answers: &[Answer]) -> Self {
        let (first, others) = answers.split_first().expect("one answer at least");
        let vcpu = |(vcpu, (tasks, budget)): (usize, &(Vec<usize>, Option<Budget>))| VcpuRow {
            vcpu,
            tasks: tasks.iter().map(|&index| TaskSet::name(index)).collect(),
            budget_ns: budget.map(|budget| duration::as_ns(budget.least)),
        };
        Self {
            answer: AnswerRow::of(first),
            first_failure: first.failure.map(Instant::from),
            vcpus: first.vcpus.iter().enumerate().map(vcpu).collect(),
            others: others.iter().map(AnswerRow::of).collect(),
        }
    }
}

impl AnswerRow {
    fn of(answer: &Answer) -> Self {
        let exact = answer.budget.and_then(|budget| budget.exact);
        Self {
            scheduler: answer.question.scheduler.name(),
            supply: answer.question.model.name(),
            holds_if: answer.question.holds_if(),
            period_ns: duration::as_ns(answer.question.period),
            budget_ns: answer.budget.map(|budget| duration::as_ns(budget.least)),
            budget_exact: exact.map(|exact| exact.to_string()),
            bandwidth: answer.bandwidth(),
        }
    }
}

/// What `rtplan budget --grid --summary json` prints.
#[derive(Debug, Serialize)]
pub struct Gridded {
    scheduler: &'static str,
    curves: Vec<Curve>,
}

#[derive(Debug, Serialize)]
struct Curve {
    supply: &'static str,
    holds_if: String,
    /// The cell with the least bandwidth, overhead included.
    minimum: Option<CellRow>,
    cells: Vec<CellRow>,
}

#[derive(Debug, Serialize)]
struct CellRow {
    period_ns: u64,
    budget_ns: Option<u64>,
    bandwidth: Option<f64>,
}

impl From<&Cell> for CellRow {
    fn from(cell: &Cell) -> Self {
        Self {
            period_ns: duration::as_ns(cell.period),
            budget_ns: cell.budget.map(duration::as_ns),
            bandwidth: cell.bandwidth(),
        }
    }
}

impl Gridded {
    /// One curve for each model.
    #[must_use]
    pub fn new(scheduler: Scheduler, curves: &[super::Curve]) -> Self {
        let curve = |curve: &super::Curve| Curve {
            supply: curve.model.name(),
            holds_if: curve.holds_if.clone(),
            minimum: cheapest(&curve.cells).as_ref().map(CellRow::from),
            cells: curve.cells.iter().map(CellRow::from).collect(),
        };
        Self { scheduler: scheduler.name(), curves: curves.iter().map(curve).collect() }
    }
}
