//! Tables for other programs: integers in nanoseconds, an empty cell for what is not known.

use std::io;

use model::{TaskSet, duration};

use super::Curve;
use crate::{
    grid::cheapest,
    study::{Answer, Study},
    workload::Workload,
};

fn cell<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// One row for each task under each supply.
///
/// # Errors
/// Those of the writer.
pub fn analysed(out: impl io::Write, workload: &Workload, studies: &[Study]) -> csv::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    out.write_record([
        "supply",
        "budget_ns",
        "period_ns",
        "task",
        "execution_ns",
        "task_period_ns",
        "deadline_ns",
        "wcrt_ns",
        "schedulable",
    ])?;
    for study in studies {
        let reservation = study.supply.reservation();
        for (index, (spec, verdict)) in
            workload.tasks().iter().zip(&study.analysis.tasks).enumerate()
        {
            out.write_record([
                study.supply.model().name().to_owned(),
                cell(reservation.map(|r| duration::as_ns(r.budget()))),
                cell(reservation.map(|r| duration::as_ns(r.period()))),
                TaskSet::name(index),
                duration::as_ns(spec.task.execution()).to_string(),
                duration::as_ns(spec.task.period()).to_string(),
                duration::as_ns(spec.task.deadline()).to_string(),
                cell(verdict.response.ns()),
                u8::from(verdict.schedulable).to_string(),
            ])?;
        }
    }
    Ok(out.flush()?)
}

/// One row for each scheduler and supply.
///
/// # Errors
/// Those of the writer.
pub fn budgeted(out: impl io::Write, answers: &[Answer]) -> csv::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    out.write_record(["scheduler", "supply", "period_ns", "budget_ns", "bandwidth"])?;
    for answer in answers {
        out.write_record([
            answer.question.scheduler.name().to_owned(),
            answer.question.model.name().to_owned(),
            duration::as_ns(answer.question.period).to_string(),
            cell(answer.budget.map(|budget| duration::as_ns(budget.least))),
            cell(answer.bandwidth()),
        ])?;
    }
    Ok(out.flush()?)
}

/// One row for each supply and period; `minimum` is 1 where the bandwidth is the least.
///
/// # Errors
/// Those of the writer.
pub fn gridded(out: impl io::Write, curves: &[Curve]) -> csv::Result<()> {
    let mut out = csv::Writer::from_writer(out);
    out.write_record(["supply", "period_ns", "budget_ns", "bandwidth", "minimum"])?;
    for curve in curves {
        let minimum = cheapest(&curve.cells);
        for row in &curve.cells {
            out.write_record([
                curve.model.name().to_owned(),
                duration::as_ns(row.period).to_string(),
                cell(row.budget.map(duration::as_ns)),
                cell(row.bandwidth()),
                u8::from(minimum.as_ref() == Some(row)).to_string(),
            ])?;
        }
    }
    Ok(out.flush()?)
}
