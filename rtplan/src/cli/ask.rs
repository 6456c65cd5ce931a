//! From arguments to answers.

use std::time::Duration;

use model::Exit;

use super::{
    CliError,
    args::{Analyse, Budget, Platform, Range, Tasks},
    write,
};
use crate::{
    grid,
    output::{Curve, csv, json, plot, text},
    partition::{Fit, MOST_TASKS},
    question::{BudgetError, Question},
    study::{Answer, Study, Vcpus, answer, models, study, supplies},
    supply::{Model, Supply},
    workload::{Scheduler, TaskSpec, Workload},
};

/// The tasks of the command line, then those of the file.
pub(super) fn workload(tasks: &Tasks) -> Result<Workload, CliError> {
    let mut specs = tasks.tasks.clone();
    if let Some(path) = &tasks.file {
        let text = std::fs::read_to_string(path)
            .map_err(|source| CliError::File { path: path.clone(), source })?;
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            specs.push(line.parse::<TaskSpec>().map_err(|source| CliError::Line {
                path: path.clone(),
                line: number + 1,
                source: Box::new(source),
            })?);
        }
    }
    Ok(Workload::new(specs)?)
}

pub(super) fn scheduler(tasks: &Tasks) -> Scheduler {
    tasks.scheduler.map_or_else(Scheduler::default, Scheduler::from)
}

pub(super) fn usage(message: impl ToString) -> CliError {
    CliError::Usage(message.to_string())
}

pub(super) fn analyse(args: &Analyse) -> Result<Exit, CliError> {
    let workload = workload(&args.tasks)?;
    let scheduler = scheduler(&args.tasks);
    let costs = args.platform.costs();
    let supplies = match (args.platform.model().map_err(usage)?, args.reservation) {
        (Some(model), reservation) => vec![Supply::new(model, reservation)?.with_costs(costs)],
        (None, Some(reservation)) => supplies(reservation, costs),
        (None, None) => vec![Supply::dedicated().with_costs(costs)],
    };
    for supply in &supplies {
        supply.beside(args.platform.neighbours())?;
    }
    let vcpus = vcpus(&args.platform, &workload)?;
    let files = write::reserve(&args.output)?;
    let studies: Vec<Study> = supplies
        .iter()
        .map(|supply| study(&workload, supply, scheduler, vcpus))
        .collect::<Result<_, _>>()?;
    write::table(files.table, |file| csv::analysed(file, &workload, &studies))?;
    write::picture(files.picture, || plot::demand_and_supply(&workload, scheduler, &studies))?;
    write::answer(
        &args.output,
        || json::Analysed::new(&workload, scheduler, &studies),
        || text::analysed(&workload, scheduler, &studies),
    )?;
    Ok(if studies[0].analysis.schedulable { Exit::Done } else { Exit::NotHeld })
}

/// The vCPUs, where the tasks are few enough to be dealt out.
fn vcpus(platform: &Platform, workload: &Workload) -> Result<Vcpus, CliError> {
    let (vcpus, tasks) = (platform.vcpus(), workload.tasks().len());
    if vcpus.count > 1 && tasks > MOST_TASKS {
        return Err(usage(format!(
            "{tasks} tasks are too many to be dealt out among vCPUs; at most {MOST_TASKS}"
        )));
    }
    Ok(vcpus)
}

/// What was asked for first; then, where no model was named, the others.
fn questions(args: &Budget, period: Duration) -> Result<Vec<Question>, CliError> {
    let costs = args.platform.costs();
    let model = args.platform.model().map_err(usage)?;
    let asked = scheduler(&args.tasks);
    let question = |scheduler, model| Question { scheduler, model, costs, period };
    let Some(model) = model else {
        let mut schedulers = vec![asked];
        if args.tasks.scheduler.is_none() {
            schedulers.push(Scheduler::Edf);
        }
        let all = |scheduler| models(costs).map(move |model| question(scheduler, model));
        return Ok(schedulers.into_iter().flat_map(all).collect());
    };
    Ok(vec![question(asked, model)])
}

pub(super) fn budget(args: &Budget) -> Result<Exit, CliError> {
    let workload = workload(&args.tasks)?;
    let period = args.period.ok_or_else(|| usage("give a `--period` or a `--grid`"))?;
    let questions = questions(args, period)?;
    // Every period and every deadline is checked before a file is touched.
    for question in &questions {
        question.supply(question.greatest())?.beside(args.platform.neighbours())?;
    }
    let vcpus = vcpus(&args.platform, &workload)?;
    let files = write::reserve(&args.output)?;
    let answers: Vec<Answer> = questions
        .into_iter()
        .map(|question| answer(&workload, question, vcpus))
        .collect::<Result<_, _>>()?;
    write::table(files.table, |file| csv::budgeted(file, &answers))?;
    write::picture(files.picture, || draw_answers(&workload, &answers))?;
    write::answer(
        &args.output,
        || json::Budgeted::new(&answers),
        || text::budgeted(&workload, &answers),
    )?;
    Ok(if answers[0].budget.is_some() { Exit::Done } else { Exit::NotHeld })
}

/// Demand against the supplies of the least budgets, those of the first scheduler.
fn draw_answers(workload: &Workload, answers: &[Answer]) -> Result<String, CliError> {
    let scheduler = answers[0].question.scheduler;
    let mut studies = Vec::new();
    for answer in answers.iter().filter(|answer| answer.question.scheduler == scheduler) {
        let budget = answer.budget.map_or(answer.question.greatest(), |budget| budget.least);
        let supply = answer.question.supply(budget)?;
        let one = Vcpus { count: 1, fit: Fit::First };
        studies.push(study(workload, &supply, scheduler, one)?);
    }
    Ok(plot::demand_and_supply(workload, scheduler, &studies)?)
}

pub(super) fn grid(args: &Budget) -> Result<Exit, CliError> {
    let workload = workload(&args.tasks)?;
    let longest = workload.tasks().iter().map(|spec| spec.task.period()).max();
    let longest = longest.unwrap_or_default();
    let (from, to) = match args.grid {
        Some(Range::Between(from, to)) => (from, to),
        _ => ((longest / args.cells).max(Duration::from_nanos(1)), longest),
    };
    let periods = periods(from, to, args.cells);
    let mut questions = questions(args, from)?;
    questions.retain(|question| question.scheduler == scheduler(&args.tasks));
    if let Model::ExplicitDeadline(deadline) = questions[0].model
        && deadline > from
    {
        let range = "`--grid` must start at or above `--server-deadline`";
        return Err(usage(range));
    }
    questions[0].supply(questions[0].greatest())?.beside(args.platform.neighbours())?;
    let files = write::reserve(&args.output)?;
    let curve = |question: Question| -> Result<Curve, BudgetError> {
        let cells = grid::grid(&workload, &question, &periods)?;
        Ok(Curve { model: question.model, holds_if: question.holds_if(), cells })
    };
    let curves: Vec<Curve> = questions.into_iter().map(curve).collect::<Result<_, _>>()?;
    write::table(files.table, |file| csv::gridded(file, &curves))?;
    write::picture(files.picture, || plot::trade_off(&curves))?;
    let scheduler = scheduler(&args.tasks);
    write::answer(
        &args.output,
        || json::Gridded::new(scheduler, &curves),
        || text::gridded(&workload, scheduler, &curves),
    )?;
    let feasible = curves[0].cells.iter().any(|cell| cell.budget.is_some());
    Ok(if feasible { Exit::Done } else { Exit::NotHeld })
}

/// `cells` periods evenly from `from` to `to`, in whole nanoseconds, each once.
fn periods(from: Duration, to: Duration, cells: u32) -> Vec<Duration> {
    let (start, span) = (from.as_nanos(), (to - from).as_nanos());
    let steps = u128::from(cells.saturating_sub(1)).max(1);
    let at = |cell: u32| crate::ns::duration(start + span * u128::from(cell) / steps);
    let mut periods: Vec<Duration> = (0..cells).map(at).collect();
    periods.dedup();
    periods
}
