//! The sentences that a reader takes away, computed from the results.

use std::time::Duration;

use model::{judged::Selection::All, suite::Workload};

use crate::{
    figure::build::plain,
    folder::{Case, Results},
    mechanisms,
    series::Series,
    table1,
    units::{count, short},
};

/// No more sentences than a reader remembers.
const MOST: usize = 3;

/// What is found first stands first: isolation, the service, the least budget, the mechanisms; for
/// other suites the slowest responses.
#[must_use]
pub fn sentences(results: &Results) -> Vec<String> {
    let found = [isolation(results), service(results), budget(results), ranking(results)];
    let mut said: Vec<String> = found.into_iter().flatten().take(MOST).collect();
    if said.is_empty() {
        said.extend(results.cases.iter().filter_map(tail).take(MOST));
    }
    if said.is_empty() {
        said.push("Nothing was measured yet.".to_owned());
    }
    said
}

/// The same tasks beside the same load, with a reservation and without.
fn isolation(results: &Results) -> Option<String> {
    let free = results.cases.iter().filter(|case| {
        let own = case.workload();
        case.is_measured() && own.load().is_some() && own.reservation().is_none()
    });
    free.filter(|case| !case.tasks().is_empty()).find_map(|free| {
        let twin = |case: &&Case| {
            case.is_measured()
                && !results.is_swept(case)
                && same_work(case.workload(), free.workload())
                && case.reservation().is_some_and(|own| own.mechanism.is_hard())
        };
        contrast(results.cases.iter().find(twin)?, free)
    })
}

fn same_work(a: Workload, b: Workload) -> bool {
    a.tasks() == b.tasks() && a.load() == b.load() && a.place() == b.place()
}

/// Of the task that suffers most without the reservation.
fn contrast(reserved: &Case, free: &Case) -> Option<String> {
    let worst = free.series.iter().max_by_key(|own| own.unfinished() + missed(free, own))?;
    let own = reserved.reservation()?;
    Some(format!(
        "Beside the same load on the host, 99 % of the responses of {} come within {} under a ({}, \
         {}) reservation ({}), and within {} without one ({}).",
        name(&worst.task),
        p99(reserved, reserved.task(&worst.task)?),
        ms(own.budget),
        ms(own.period),
        late(reserved, reserved.task(&worst.task)?),
        p99(free, worst),
        late(free, worst)
    ))
}

fn missed(case: &Case, series: &Series) -> u64 {
    series.count(case.judged()).misses
}

fn late(case: &Case, series: &Series) -> String {
    let own = series.count(case.judged());
    match own.missed() {
        0 => format!("no deadline missed in {}", count(own.judged() as usize, "job")),
        n => format!("{n} of {} missed their deadline", count(own.judged() as usize, "job")),
    }
}

/// With the unit; jobs that never finished are the longest.
fn p99(case: &Case, series: &Series) -> String {
    series
        .percentile(case.judged(), 99.0)
        .map_or_else(|| "no known time".to_owned(), |ns| short(ns as f64))
}

fn name(task: &str) -> String {
    task.strip_prefix("tau").map_or_else(|| task.to_owned(), |index| format!("τ{index}"))
}

fn ms(duration: Duration) -> String {
    plain(duration.as_nanos() as f64)
}

/// Table 1 in a sentence.
fn service(results: &Results) -> Option<String> {
    let mean = |name: &str| {
        let responses = results.measured(name)?.series.first()?.responses(All);
        model::stats::mean(&responses)
    };
    let (alone, loaded) = (mean(table1::GUEST)?, mean(table1::LOADED)?);
    let mut said = format!(
        "The web service in the guest answers in {} on average, and in {} ({:.1} times) beside load \
         on the host",
        short(alone),
        short(loaded),
        loaded / alone
    );
    let case = results.measured(table1::RESERVED);
    if let (Some(reserved), Some(own)) = (mean(table1::RESERVED), case.and_then(Case::reservation))
    {
        said += &format!(
            "; a ({}, {}) reservation brings that to {} ({:.1} times)",
            ms(own.budget),
            ms(own.period),
            short(reserved),
            reserved / alone
        );
    }
    Some(said + ".")
}

fn budget(results: &Results) -> Option<String> {
    let one =
        results.sweeps.iter().find(|one| one.points.iter().any(|own| !own.tasks.is_empty()))?;
    let every = plain(one.period_ns as f64);
    Some(format!("Budgets every {every} for {}: {}", one.experiment, lower(&one.sentence())))
}

fn lower(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn ranking(results: &Results) -> Option<String> {
    let groups = mechanisms::groups(results);
    let group = groups.iter().find(|own| own.members.iter().any(|(rank, _)| rank.is_some()))?;
    let measured = group.members.iter().filter(|(rank, _)| rank.is_some());
    let first: Vec<&str> = measured
        .clone()
        .filter(|(rank, _)| *rank == Some(1))
        .map(|(_, member)| member.mechanism.name())
        .collect();
    Some(format!(
        "Of {} with {}, {} isolate{} best.",
        count(measured.count(), "mechanism"),
        group.reservation,
        first.join(" and "),
        if first.len() == 1 { "s" } else { "" }
    ))
}

fn tail(case: &Case) -> Option<String> {
    let worst = case
        .series
        .iter()
        .filter(|own| !own.sorted(All).is_empty())
        .max_by_key(|own| own.percentile(case.judged(), 99.0).unwrap_or(u64::MAX))?;
    let late = worst.deadline_ns.map_or_else(String::new, |_| format!(", {}", late(case, worst)));
    Some(format!(
        "{}: 99 % of the responses of {} come within {}{late}.",
        case.name(),
        name(&worst.task),
        p99(case, worst)
    ))
}
