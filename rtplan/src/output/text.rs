//! Tables for people.

use std::fmt::Write;

use model::TaskSet;

use super::{Curve, reading, words};
use crate::{
    grid::cheapest,
    question::Question,
    study::{Answer, Study},
    workload::{Scheduler, Workload},
};

/// So many tasks are listed.
const MOST_ROWS: usize = 40;

/// What is analysed, in one line.
fn heading(workload: &Workload, scheduler: &str) -> String {
    let tasks = workload.tasks();
    let utilisation: f64 = tasks.iter().map(|spec| spec.task.utilisation()).sum();
    let (count, noun) = (tasks.len(), if tasks.len() == 1 { "task" } else { "tasks" });
    format!("{count} {noun}, utilisation {utilisation:.4}, {scheduler}\n")
}

/// All of `rtplan analyse`.
#[must_use]
pub fn analysed(workload: &Workload, scheduler: Scheduler, studies: &[Study]) -> String {
    let mut text = heading(workload, words::scheduler(scheduler));
    for study in studies {
        let verdict = if study.analysis.schedulable { "schedulable" } else { "NOT schedulable" };
        let _ = writeln!(text, "\n{}: {verdict}", words::supply(&study.supply));
        let _ = writeln!(text, "  holds if {}", study.supply.holds_if());
        tasks(&mut text, workload, study);
        if let (Some(point), false) = (study.analysis.first_failure, study.analysis.schedulable) {
            let _ = writeln!(text, "  first failure: {}", words::overrun(point));
        }
    }
    if let Some(reading) = reading::of_studies(studies) {
        let _ = write!(text, "\n{reading}\n");
    }
    text
}

fn tasks(text: &mut String, workload: &Workload, study: &Study) {
    let rows = workload.tasks().iter().zip(&study.analysis.tasks).enumerate();
    // Failures first where not everything is shown.
    let mut rows: Vec<_> = rows.collect();
    let hidden = rows.len().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        rows.sort_by_key(|(index, (_, verdict))| (verdict.schedulable, *index));
        rows.truncate(MOST_ROWS);
    }
    for (index, (spec, verdict)) in rows {
        let name = TaskSet::name(index);
        let vcpu = study.partition.as_ref().map(|dealt| {
            let vcpu = dealt.vcpus.iter().position(|members| members.contains(&index));
            vcpu.map_or(" on no vCPU".to_owned(), |vcpu| format!(" on vCPU {vcpu}"))
        });
        let _ = writeln!(
            text,
            "  {name} {}{}: worst response {}, deadline {}: {}\n    {}",
            spec.task,
            vcpu.unwrap_or_default(),
            words::response(verdict.response),
            words::span(spec.task.deadline()),
            if verdict.schedulable { "met" } else { "MISSED" },
            words::why(&name, verdict)
        );
    }
    if hidden > 0 {
        let _ = writeln!(text, "  and {hidden} more; --summary json lists all");
    }
}

/// All of `rtplan budget`.
#[must_use]
pub fn budgeted(workload: &Workload, answers: &[Answer]) -> String {
    let period = answers.first().map_or_else(String::new, |a| words::span(a.question.period));
    let mut text = heading(workload, &format!("least budget in every {period}"));
    let _ =
        writeln!(text, "\n{:<26}{:<12}{:<28}{:>9}", "scheduler", "supply", "budget", "bandwidth");
    for answer in answers {
        let _ = writeln!(
            text,
            "{:<26}{:<12}{:<28}{:>9}",
            words::scheduler(answer.question.scheduler),
            answer.question.model.name(),
            budget(answer),
            answer.bandwidth().map_or("-".to_owned(), |share| format!("{share:.4}")),
        );
    }
    conditions(&mut text, answers.iter().map(|answer| answer.question));
    for (vcpu, (members, budget)) in answers.iter().take(1).flat_map(|a| a.vcpus.iter().enumerate())
    {
        let names: Vec<String> = members.iter().map(|&index| TaskSet::name(index)).collect();
        let least = budget.map_or("-".to_owned(), |budget| words::span(budget.least));
        let _ = writeln!(text, "  vCPU {vcpu}: {least} for {}", names.join(", "));
    }
    if let Some(reading) = reading::of_answers(workload, answers) {
        let _ = write!(text, "\n{reading}\n");
    }
    text
}

/// When each model holds, once for each.
fn conditions(text: &mut String, questions: impl Iterator<Item = Question>) {
    let mut told = Vec::new();
    for question in questions {
        if !told.contains(&question.model) {
            told.push(question.model);
            let _ = writeln!(text, "  {} holds if {}", question.model, question.holds_if());
        }
    }
}

/// `80/3 ms (27 in whole ms)`.
fn budget(answer: &Answer) -> String {
    let Some(budget) = answer.budget else { return "none is enough".to_owned() };
    let least = words::span(budget.least);
    let exact = budget.exact.map_or(least, |exact| exact.to_string());
    let ns = budget.least.as_nanos();
    if ns.is_multiple_of(1_000_000) {
        return exact;
    }
    format!("{exact} ({} in whole ms)", ns.div_ceil(1_000_000))
}

/// All of `rtplan budget --grid`: the minimum of each curve and a few cells around it.
#[must_use]
pub fn gridded(workload: &Workload, scheduler: Scheduler, curves: &[Curve]) -> String {
    let mut text = heading(workload, words::scheduler(scheduler));
    for curve in curves {
        let _ = writeln!(text, "{} holds if {}", curve.model, curve.holds_if);
        let (model, count) = (curve.model, curve.cells.len());
        let _ = match cheapest(&curve.cells) {
            Some(best) => writeln!(
                text,
                "{model}: least bandwidth {:.4} with {} in every {}, of {count} periods",
                best.bandwidth().unwrap_or_default(),
                best.budget.map_or_else(String::new, words::span),
                words::span(best.period)
            ),
            None => writeln!(text, "{model}: no budget is enough with any of {count} periods"),
        };
        let step = count.div_ceil(10).max(1);
        for cell in curve.cells.iter().skip(step - 1).step_by(step) {
            let budget = cell.budget.map_or("none is enough".to_owned(), words::span);
            let share = cell.bandwidth().map_or("-".to_owned(), |share| format!("{share:.4}"));
            let _ = writeln!(text, "  {:>12}  {budget:>14}  {share}", words::span(cell.period));
        }
    }
    text
}
