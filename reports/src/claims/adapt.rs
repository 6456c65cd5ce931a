//! Budgets that adapt: does the grant follow the demand, and are deadlines missed only while it does?
//!
//! The rules go by what an experiment is, not by its name: tasks under a reservation with a law of
//! control.

use std::{borrow::Cow, time::Duration};

use model::{
    control::{FOLLOWS, MARGIN, interval},
    duration::as_ns,
    suite::ReservationSettings,
};
use results::budget::Interval;

use super::{Claim, Finding, Judged, Statement, case::values};
use crate::{
    folder::{Case, Results},
    series::{Sample, Selection},
    units::{percent, short},
};

const FIGURE: &str = "adapt";
const PAPER: &str = "left open (AQuoSA, LFS++)";

/// By how much of it the grant may exceed (1 + x) times the demand: what periodic tasks ask for varies
/// from one control interval to the next, and a change below 2 % of a budget is not made.
const SPARE: f64 = 0.1;

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let adapts = |case: &&Case| !case.tasks().is_empty() && law(case).is_some();
    // Where several share a CPU by weight, nobody is promised that its wishes are granted.
    let alone = |case: &&Case| {
        !case
            .workload()
            .neighbours()
            .any(|vm| vm.reservation().is_some_and(|own| own.control.is_some()))
    };
    let both = |case: &Case| [misses(case), grant(results, case)];
    results.cases.iter().filter(adapts).filter(alone).flat_map(both).collect()
}

fn law(case: &Case) -> Option<&ReservationSettings> {
    case.reservation().filter(|own| own.control.is_some())
}

/// How long the grant follows a change.
fn window(case: &Case) -> Duration {
    law(case).map_or(Duration::ZERO, |own| interval(own.period) * FOLLOWS)
}

/// Whether the grant follows a change, or the begin, at this instant from the first release.
fn follows(case: &Case, at_ns: i64) -> bool {
    let surge = case.experiment.surge;
    let changes = surge.map(|own| [own.from(), own.to()]).into_iter().flatten();
    let window = as_ns(window(case)) as i64;
    let within = |change: Duration| {
        let change = as_ns(change) as i64;
        (change..change + window).contains(&at_ns)
    };
    at_ns < 0 || changes.chain([Duration::ZERO]).any(within)
}

fn claim(
    case: &Case,
    which: &str,
    says: &'static str,
    rule: String,
    judge: impl Fn(Selection) -> Finding,
) -> Claim {
    let claim = Statement { id: "adapt", figure: FIGURE, says, paper: PAPER, rule };
    let id = Cow::Owned(format!("adapt-{}-{which}", case.name()));
    Claim { id, ..claim.judged_by(judge) }
}

fn misses(case: &Case) -> Claim {
    let rule = format!(
        "no undisturbed job misses its deadline but those released within {} after a change of the \
         demand ({FOLLOWS} control intervals) or the begin, and none is left unfinished",
        short(window(case).as_nanos() as f64)
    );
    let says = "Under a budget that adapts, deadlines are missed only while the budget follows a \
                change.";
    claim(case, "misses", says, rule, |selection| judge_misses(case, selection))
}

fn judge_misses(case: &Case, selection: Selection) -> Finding {
    measured(case)?;
    let selected = case.series.iter().flat_map(|own| own.selected(selection));
    let missed = selected.filter(|sample| sample.missed());
    let (within, outside): (Vec<&Sample>, Vec<&Sample>) =
        missed.partition(|sample| follows(case, sample.at_ns as i64));
    let unfinished: u64 = case.series.iter().map(|own| own.unfinished()).sum();
    Ok(Judged {
        holds: outside.is_empty() && unfinished == 0,
        measured: format!(
            "{} missed outside of the window, {} in it, {unfinished} unfinished",
            outside.len(),
            within.len()
        ),
        values: values([
            ("missed_outside", outside.len() as f64),
            ("missed_within", within.len() as f64),
            ("unfinished", unfinished as f64),
        ]),
    })
}

fn grant(results: &Results, case: &Case) -> Claim {
    let large = large(results, case);
    let beside = large.map_or_else(String::new, |(name, _)| format!(" (`{name}`)"));
    let rule = format!(
        "outside of those windows the mean grant is at most (1 + x) times what was consumed, with x \
         = {}, and {} of that more; and over the whole run it is below the fixed budget that is \
         enough all the time{beside}",
        percent(MARGIN),
        percent(SPARE)
    );
    let says = "A budget that adapts grants what is asked for and a margin, and less than a fixed one \
                that is enough.";
    claim(case, "grant", says, rule, |_| judge_grant(case, large.map(|(_, share)| share)))
}

/// The experiment that has the same tasks under the greatest fixed budget, with its share.
fn large<'a>(results: &'a Results, case: &Case) -> Option<(&'a str, f64)> {
    let own = law(case)?;
    let same = |other: &&Case| {
        other.tasks() == case.tasks()
            && other.experiment.surge == case.experiment.surge
            && other.workload().load() == case.workload().load()
    };
    let fixed = |other: &'a Case| {
        let fixed = other.reservation().filter(|fixed| {
            fixed.control.is_none()
                && fixed.mechanism == own.mechanism
                && fixed.period == own.period
        })?;
        Some((other.name(), fixed.reservation().bandwidth()))
    };
    let all = results.cases.iter().filter(same).filter_map(fixed);
    all.max_by(|a, b| a.1.total_cmp(&b.1))
}

fn judge_grant(case: &Case, large: Option<f64>) -> Finding {
    measured(case)?;
    let own = law(case).ok_or("no law of control")?;
    let large = large.unwrap_or_else(|| own.reservation().bandwidth());
    let end_ns = as_ns(case.experiment.duration) as i64;
    let intervals: Vec<Interval> = case
        .budgets
        .iter()
        .flat_map(|budgets| budgets.intervals())
        .filter(|one| one.from_ns >= 0 && one.to_ns <= end_ns)
        .collect();
    let steady: Vec<Interval> = intervals
        .iter()
        .copied()
        .filter(|one| !follows(case, one.from_ns) && !follows(case, one.to_ns))
        .collect();
    let (granted, consumed) = shares(&steady, own.period).ok_or_else(|| {
        format!("`{}`: no control interval lies outside of the windows", case.name())
    })?;
    let (whole, _) = shares(&intervals, own.period).unwrap_or((granted, consumed));
    let most = consumed * (1.0 + MARGIN) * (1.0 + SPARE);
    Ok(Judged {
        holds: granted <= most && whole < large,
        measured: format!(
            "{granted:.3} of a CPU granted for {consumed:.3} consumed, {:.2} times as much; over the \
             whole run {whole:.3}, fixed {large:.3}",
            granted / consumed
        ),
        values: values([
            ("granted", granted),
            ("consumed", consumed),
            ("granted_over_all", whole),
            ("fixed", large),
        ]),
    })
}

/// What was granted and what was consumed in these intervals, as shares of a CPU; none where there is
/// no interval.
fn shares(intervals: &[Interval], period: Duration) -> Option<(f64, f64)> {
    let length = |one: &Interval| (one.to_ns - one.from_ns) as f64;
    let all: f64 = intervals.iter().map(length).sum();
    let share = |one: &Interval| one.budget_ns as f64 / as_ns(period) as f64;
    let granted: f64 = intervals.iter().map(|one| share(one) * length(one)).sum();
    let consumed: f64 = intervals.iter().map(|one| one.consumed_ns as f64).sum();
    (all > 0.0).then_some((granted / all, consumed / all))
}

fn measured(case: &Case) -> Result<(), String> {
    if !case.is_measured() {
        return Err(format!("`{}` was not measured: no complete repetition", case.name()));
    }
    if case.budgets.len() < case.counted.len() {
        return Err(format!("`{}` has a repetition without budget.csv", case.name()));
    }
    Ok(())
}
