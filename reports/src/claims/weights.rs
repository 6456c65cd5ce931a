//! Do VMs whose budgets adapt share a CPU as their weights say?

use std::borrow::Cow;

use model::{
    control::{Control, Why},
    sample::BudgetRow,
    stats,
};
use results::budget::Budgets;

use super::{Claim, Finding, Judged, Statement, case::values};
use crate::{
    folder::{Case, Results},
    units::percent,
};

/// How far the proportion of two budgets may be from that of their weights.
const APART: f64 = 0.05;

/// Instants at which both get less than they wish for, at least.
const LEAST: usize = 5;

/// One for each experiment with several VMs whose budgets adapt.
pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let suite = &results.manifest.suite;
    let of = |experiment: &model::suite::Experiment| {
        let own = |case: &&Case| case.experiment.name == experiment.name && law(case).is_some();
        let cases: Vec<&Case> = results.cases.iter().filter(own).collect();
        (cases.len() > 1).then(|| claim(&experiment.name, &cases))
    };
    suite.experiments.iter().filter_map(of).collect()
}

fn law(case: &Case) -> Option<Control> {
    case.reservation()?.control
}

fn claim(experiment: &str, cases: &[&Case]) -> Claim {
    let statement = Statement {
        id: "adapt",
        figure: "adapt",
        says: "VMs whose budgets adapt share by their weights what there is.",
        paper: "left open (AQuoSA)",
        rule: format!(
            "of two VMs that both get less than they wish for, and more than their least budgets, the \
             proportion of the shares is within {} of that of their weights: the median over all such \
             instants, of which there are at least {LEAST}",
            percent(APART)
        ),
    };
    let id = Cow::Owned(format!("adapt-{experiment}-weights"));
    Claim { id, ..statement.judged(judge(cases)) }
}

fn judge(cases: &[&Case]) -> Finding {
    let mut worst: Option<(f64, usize)> = None;
    for (at, one) in cases.iter().enumerate() {
        for other in &cases[at + 1..] {
            let mut found = proportions(one, other);
            if found.len() < LEAST {
                continue;
            }
            found.sort_by(f64::total_cmp);
            let middle = stats::percentile(&found, 50.0).ok_or("no instant")?;
            if worst.is_none_or(|(own, _)| (middle - 1.0).abs() > (own - 1.0).abs()) {
                worst = Some((middle, found.len()));
            }
        }
    }
    let (middle, instants) = worst.ok_or_else(|| {
        format!("no two VMs got less than they wished for at {LEAST} instants or more")
    })?;
    Ok(Judged {
        holds: (middle - 1.0).abs() <= APART,
        measured: format!("{middle:.3} times the proportion of the weights, {instants} instants"),
        values: values([("proportion", middle), ("instants", instants as f64)]),
    })
}

/// Shares for a unit of weight of one, divided by those of the other, as each row of the one begins.
fn proportions(one: &Case, other: &Case) -> Vec<f64> {
    let pairs = one.budgets.iter().zip(&other.budgets);
    let of = |(own, theirs): (&Budgets, &Budgets)| -> Vec<f64> {
        let at = |row: &BudgetRow| {
            let beside = theirs.rows.iter().rfind(|their| their.time_ns <= row.time_ns)?;
            Some(per_weight(one, row)? / per_weight(other, beside)?)
        };
        own.rows.iter().filter_map(at).collect()
    };
    pairs.flat_map(of).collect()
}

/// None where the budget is not what the weight makes it.
fn per_weight(case: &Case, row: &BudgetRow) -> Option<f64> {
    let (own, law) = (case.reservation()?, law(case)?);
    let held = row.why == Why::Shared && row.budget_ns > model::duration::as_ns(law.min);
    let share = row.budget_ns as f64 / own.period.as_nanos() as f64;
    held.then(|| share / f64::from(law.weight))
}
