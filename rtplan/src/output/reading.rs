//! What it means where the models differ, in words.

use std::time::Duration;

use model::{Reservation, TaskSet};

use super::words;
use crate::{
    analysis::{Analysis, analyse},
    study::{Answer, Study, supplies},
    supply::Model,
    workload::Workload,
};

/// The reading of one reservation under several models; `None` where there is one model only.
#[must_use]
pub fn of_studies(studies: &[Study]) -> Option<String> {
    let reservation = studies.first()?.supply.reservation()?;
    let of = |model: Model| {
        studies.iter().find(|study| study.supply.model() == model).map(|study| &study.analysis)
    };
    let (two, one, aligned) = (of(Model::TwoGap)?, of(Model::OneGap)?, of(Model::Aligned)?);
    Some(words_for(reservation, two, one, aligned))
}

fn words_for(
    reservation: Reservation,
    two: &Analysis,
    one: &Analysis,
    aligned: &Analysis,
) -> String {
    let [budget, period] = [reservation.budget(), reservation.period()].map(words::span);
    let name = format!("({budget}, {period})");
    match (two.schedulable, one.schedulable, aligned.schedulable) {
        (true, ..) => format!("What that means: {name} is enough under every model."),
        (false, true, _) => format!(
            "What that means: {name} is enough where the server gets its budget as soon as each \
             period starts, that is, where no other reservation and no more urgent host task \
             delays it. It is not enough in the worst case that a reservation as such allows (the \
             budget once early, once late in its period): {}",
            first_miss(two)
        ),
        (false, false, true) => format!(
            "What that means: {name} is enough only where nothing delays the server and the tasks \
             are released as its periods start. Released as a budget ends, they can fail: {}",
            first_miss(one)
        ),
        (false, false, false) => {
            format!(
                "What that means: {name} is too little under every model: {}",
                first_miss(aligned)
            )
        }
    }
}

fn first_miss(analysis: &Analysis) -> String {
    let missed = analysis.tasks.iter().enumerate().find(|(_, verdict)| !verdict.schedulable);
    missed.map_or_else(String::new, |(index, verdict)| words::why(&TaskSet::name(index), verdict))
}

/// The reading of the least budgets: an example between the greatest and the smallest.
#[must_use]
pub fn of_answers(workload: &Workload, answers: &[Answer]) -> Option<String> {
    let first = answers.first()?;
    if first.budget.is_none() {
        return Some(hopeless(workload, first));
    }
    let alike = answers.iter().filter(|a| a.question.scheduler == first.question.scheduler);
    let least: Vec<Duration> = alike.filter_map(|a| Some(a.budget?.least)).collect();
    if least.len() < 2 || !first.vcpus.is_empty() {
        return None;
    }
    let (low, high) = (*least.iter().min()?, *least.iter().max()?);
    if low == high {
        return Some("What that means: all models agree.".to_owned());
    }
    let reservation = Reservation::new(example(low, high), first.question.period).ok()?;
    let analyses: Vec<Analysis> = supplies(reservation, first.question.costs)
        .iter()
        .map(|supply| analyse(workload, supply, first.question.scheduler).ok())
        .collect::<Option<_>>()?;
    let [two, one, aligned] = &analyses[..] else { return None };
    Some(words_for(reservation, two, one, aligned))
}

/// A budget as one would choose it who trusts the smaller figure: 5 % above it, in whole
/// milliseconds where there is room.
fn example(low: Duration, high: Duration) -> Duration {
    let ms = Duration::from_millis((low * 21 / 20).as_millis() as u64);
    if low <= ms && ms < high { ms } else { low }
}

fn hopeless(workload: &Workload, answer: &Answer) -> String {
    let utilisation: f64 = workload.tasks().iter().map(|spec| spec.task.utilisation()).sum();
    let mut text = format!("No budget is enough under the {} model", answer.question.model);
    if utilisation > 1.0 {
        text += &format!(": the tasks ask for {utilisation:.4} of a CPU");
    }
    match answer.failure {
        Some(point) => {
            let greatest = words::span(answer.question.greatest());
            format!("{text}; even with {greatest}, {}.", words::overrun(point))
        }
        None => text + ".",
    }
}
