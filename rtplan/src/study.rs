//! The questions that the programs asks: one set on one or several vCPUs, under several models.

use model::Reservation;

use crate::{
    analysis::{Analysis, AnalysisError, TaskVerdict, analyse},
    budget::{Budget, least_budget},
    partition::{Fit, Partition, partition},
    question::{BudgetError, Question},
    response::Response,
    supply::{Costs, Model, Supply},
    witness::Point,
    workload::{Scheduler, Workload},
};

/// How many vCPUs there are, and how tasks are dealt out among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vcpus {
    /// At least 1.
    pub count: usize,
    /// Which vCPU gets a task.
    pub fit: Fit,
}

/// An analysis and what it is of.
#[derive(Debug, Clone)]
pub struct Study {
    /// The supply of each vCPU.
    pub supply: Supply,
    /// The verdict on all tasks.
    pub analysis: Analysis,
    /// Which vCPU has which tasks, where there are several.
    pub partition: Option<Partition>,
}

/// Analyses `workload` on `vcpus` vCPUs of `supply` each.
///
/// # Errors
/// [`AnalysisError`].
pub fn study(
    workload: &Workload,
    supply: &Supply,
    scheduler: Scheduler,
    vcpus: Vcpus,
) -> Result<Study, AnalysisError> {
    let supply = *supply;
    if vcpus.count == 1 {
        let analysis = analyse(workload, &supply, scheduler)?;
        return Ok(Study { supply, analysis, partition: None });
    }
    let dealt = partition(workload, &supply, scheduler, vcpus.count, vcpus.fit)?;
    let nowhere = TaskVerdict { schedulable: false, response: Response::Unbounded, witness: None };
    let mut tasks = vec![nowhere; workload.tasks().len()];
    for members in dealt.vcpus.iter().filter(|members| !members.is_empty()) {
        let verdicts = analyse(&part(workload, members), &supply, scheduler)?.tasks;
        for (&index, verdict) in members.iter().zip(verdicts) {
            tasks[index] = verdict;
        }
    }
    let schedulable = dealt.left_over.is_empty();
    let analysis = Analysis { schedulable, tasks, first_failure: None };
    Ok(Study { supply, analysis, partition: Some(dealt) })
}

fn part(workload: &Workload, members: &[usize]) -> Workload {
    let tasks = members.iter().map(|&index| workload.tasks()[index]).collect();
    Workload::new(tasks).expect("at least one member")
}

/// The models that share a reservation's notation, the safest first.
pub const MODELS: [Model; 3] = [Model::TwoGap, Model::OneGap, Model::Aligned];

/// Those of [`MODELS`] that hold beside as many other reservations as `costs` says.
pub fn models(costs: Costs) -> impl Iterator<Item = Model> {
    MODELS.into_iter().filter(move |model| costs.neighbours == 0 || model.allows_neighbours())
}

/// The supplies of `reservation` under each of [`models`].
#[must_use]
pub fn supplies(reservation: Reservation, costs: Costs) -> Vec<Supply> {
    let of = |model| Supply::new(model, Some(reservation)).expect("there is a reservation");
    models(costs).map(|model| of(model).with_costs(costs)).collect()
}

/// The least budget and what it was asked for.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// The least budget that is enough on every vCPU; `None` where none is.
    pub budget: Option<Budget>,
    /// Each vCPU's tasks and its own least budget, where there are several vCPUs.
    pub vcpus: Vec<(Vec<usize>, Option<Budget>)>,
    /// Where no budget is enough: the first instant that fails even with the greatest one.
    pub failure: Option<Point>,
}

impl Answer {
    /// Q / P of the least budget.
    #[must_use]
    pub fn bandwidth(&self) -> Option<f64> {
        let period = self.question.period.as_nanos() as f64;
        self.budget.map(|budget| budget.least.as_nanos() as f64 / period)
    }
}

/// The least budget for each of `vcpus` vCPUs; the tasks are dealt out as if each were a CPU of
/// one's own.
///
/// # Errors
/// [`BudgetError`].
pub fn answer(
    workload: &Workload,
    question: Question,
    vcpus: Vcpus,
) -> Result<Answer, BudgetError> {
    let mut answer = Answer { question, budget: None, vcpus: Vec::new(), failure: None };
    if vcpus.count == 1 {
        answer.budget = least_budget(workload, &question)?;
        if answer.budget.is_none() {
            let greatest = question.supply(question.greatest())?;
            answer.failure = analyse(workload, &greatest, question.scheduler)?.first_failure;
        }
        return Ok(answer);
    }
    let cpu = Supply::dedicated().with_costs(question.costs);
    let dealt = partition(workload, &cpu, question.scheduler, vcpus.count, vcpus.fit)?;
    for members in dealt.vcpus {
        let budget = if members.is_empty() {
            None
        } else {
            least_budget(&part(workload, &members), &question)?
        };
        answer.vcpus.push((members, budget));
    }
    let used = || answer.vcpus.iter().filter(|(members, _)| !members.is_empty());
    if dealt.left_over.is_empty() && used().all(|(_, budget)| budget.is_some()) {
        answer.budget = used().filter_map(|(_, budget)| *budget).max_by_key(|budget| budget.least);
    }
    Ok(answer)
}
