//! Figures 1 and 2: the tasks on the host, and in a guest that has the CPU to itself.

use super::{
    Claim, Finding, Judged, Statement, Values,
    case::{self, FIG1, FIG2, percentile},
};
use crate::{
    folder::Results,
    series::Selection,
    units::{count, percent, short, signed_percent},
};

/// How far below the analytic worst case the observed one may lie.
const BELOW: f64 = 0.05;
/// How far above: "a little over".
const ABOVE: f64 = 0.10;
/// How far apart figures 1 and 2 may lie: "marginally".
const MARGINAL: f64 = 0.15;

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let worst = |id, says, paper, task: &str| {
        let rule = format!(
            "p99 of the undisturbed jobs is from {} below to {} above the analytic worst case",
            percent(BELOW),
            percent(ABOVE)
        );
        Statement { id, figure: "1", says, paper, rule }.judged(worst_case(results, task))
    };
    let marginal = |id, says, task: &str| {
        let rule = format!(
            "p90 of the undisturbed jobs differs from that of fig1 by at most {}",
            percent(MARGINAL)
        );
        Statement { id, figure: "2", says, paper: "only marginally different", rule }
            .judged(difference(results, task))
    };
    vec![
        worst(
            "fig1-tau1-worst",
            "On the host the worst case of τ1 is a little over its execution time.",
            "a little over 30 ms",
            "tau1",
        ),
        worst(
            "fig1-tau2-worst",
            "On the host the worst case of τ2 is what response-time analysis says.",
            "a little over 80 ms",
            "tau2",
        ),
        marginal("fig2-tau1-marginal", "In an unloaded guest τ1 is hardly slower.", "tau1"),
        marginal("fig2-tau2-marginal", "In an unloaded guest τ2 is hardly slower.", "tau2"),
    ]
}

fn worst_case(results: &Results, task: &str) -> Finding {
    let fig1 = FIG1.find(results)?;
    let jobs = case::judged(fig1, task, Selection::Undisturbed)?;
    let bound = case::bound(fig1, task)?;
    let p99 = percentile(&jobs, 99.0);
    Ok(Judged {
        holds: ((1.0 - BELOW) * bound..=(1.0 + ABOVE) * bound).contains(&p99),
        measured: format!(
            "p99 {} of {}, analytic {}",
            short(p99),
            count(jobs.len(), "job"),
            short(bound)
        ),
        values: Values::from([
            ("p99_ns", p99),
            ("analytic_ns", bound),
            ("jobs", jobs.len() as f64),
        ]),
    })
}

fn difference(results: &Results, task: &str) -> Finding {
    let (fig1, fig2) = (FIG1.find(results)?, FIG2.find(results)?);
    let host = percentile(&case::judged(fig1, task, Selection::Undisturbed)?, 90.0);
    let guest = percentile(&case::judged(fig2, task, Selection::Undisturbed)?, 90.0);
    let change = guest / host - 1.0;
    Ok(Judged {
        holds: change.abs() <= MARGINAL,
        measured: format!(
            "p90 {} on the host, {} in the guest ({})",
            short(host),
            short(guest),
            signed_percent(change)
        ),
        values: Values::from([
            ("host_p90_ns", host),
            ("guest_p90_ns", guest),
            ("relative_difference", change),
        ]),
    })
}
