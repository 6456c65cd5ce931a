//! Figure 4: the guest under the (28 ms, 50 ms) reservation, without and with load on the host.

use super::{
    Claim, Finding, Judged, Statement, Values,
    case::{self, FIG4_LOADED, FIG4_UNLOADED, Setup, percentile},
};
use crate::{
    cluster,
    folder::Results,
    series::Selection,
    stats::{bootstrap, two_sample},
    units::{self, count, percent, short},
};

/// How far from the analytic worst case p90 may lie.
const NEAR: f64 = 0.15;
/// Two CDFs are the same in practice where they are closer than this share of their common mean.
const MARGIN: f64 = 0.10;
/// The confidence with which they have to be.
const CONFIDENCE: f64 = 0.95;

const FIGURE: &str = "4";

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let near = |id, says, setup: &Setup, task| {
        let rule = format!(
            "p90 of the undisturbed jobs is within {} of the analytic worst case (aligned supply)",
            percent(NEAR)
        );
        Statement { id, figure: FIGURE, says, paper: "predictable", rule }
            .judged(predictable(results, setup, task))
    };
    let no_miss = |id, says, setup: &Setup| {
        let rule =
            "no undisturbed job of either task misses its deadline, and none is left unfinished"
                .to_owned();
        Statement { id, figure: FIGURE, says, paper: "none", rule }.judged(misses(results, setup))
    };
    let identical = |id, says, task| {
        let rule = format!(
            "with {} confidence the two CDFs are closer than {} of the common mean \
             (Wasserstein distance of the undisturbed jobs, cluster bootstrap)",
            percent(CONFIDENCE),
            percent(MARGIN)
        );
        Statement { id, figure: FIGURE, says, paper: "identical", rule }.judged(same(results, task))
    };
    let (unloaded, loaded) = (&FIG4_UNLOADED, &FIG4_LOADED);
    vec![
        near("fig4-unloaded-tau1", "Reserved, unloaded: τ1 is predictable.", unloaded, "tau1"),
        near("fig4-unloaded-tau2", "Reserved, unloaded: τ2 is predictable.", unloaded, "tau2"),
        near("fig4-loaded-tau1", "Reserved, loaded: τ1 is predictable.", loaded, "tau1"),
        near("fig4-loaded-tau2", "Reserved, loaded: τ2 is predictable.", loaded, "tau2"),
        no_miss("fig4-unloaded-misses", "Reserved, unloaded: no deadline is missed.", unloaded),
        no_miss("fig4-loaded-misses", "Reserved, loaded: no deadline is missed.", loaded),
        identical("fig4-tau1-same", "The load does not change the CDF of τ1.", "tau1"),
        identical("fig4-tau2-same", "The load does not change the CDF of τ2.", "tau2"),
    ]
}

fn predictable(results: &Results, setup: &Setup, task: &str) -> Finding {
    let case = setup.find(results)?;
    let jobs = case::judged(case, task, Selection::Undisturbed)?;
    let bound = case::bound(case, task)?;
    let p90 = percentile(&jobs, 90.0);
    Ok(Judged {
        holds: (p90 / bound - 1.0).abs() <= NEAR,
        measured: format!(
            "p90 {} of {}, analytic {}",
            short(p90),
            count(jobs.len(), "job"),
            short(bound)
        ),
        values: Values::from([
            ("p90_ns", p90),
            ("p99_ns", percentile(&jobs, 99.0)),
            ("analytic_ns", bound),
            ("jobs", jobs.len() as f64),
        ]),
    })
}

fn misses(results: &Results, setup: &Setup) -> Finding {
    let case = setup.find(results)?;
    let mut jobs = 0;
    for task in ["tau1", "tau2"] {
        jobs += case::judged(case, task, Selection::Undisturbed)?.len();
    }
    let total = |selection| case.series.iter().map(|own| own.misses(selection)).sum::<usize>();
    let (undisturbed, all) = (total(Selection::Undisturbed), total(Selection::All));
    let disturbed = all - undisturbed;
    let unfinished = case.series.iter().map(|own| own.unfinished).sum::<u64>();
    let mut measured = format!("{undisturbed} of {}", count(jobs, "job"));
    if disturbed > 0 {
        measured.push_str(&format!(" (and {disturbed} of the stalled ones)"));
    }
    if unfinished > 0 {
        measured.push_str(&format!("; {unfinished} never finished"));
    }
    Ok(Judged {
        holds: undisturbed == 0 && unfinished == 0,
        measured,
        values: Values::from([
            ("misses", undisturbed as f64),
            ("jobs", jobs as f64),
            ("misses_of_stalled", disturbed as f64),
            ("unfinished", unfinished as f64),
        ]),
    })
}

fn same(results: &Results, task: &str) -> Finding {
    let (unloaded, loaded) = (FIG4_UNLOADED.find(results)?, FIG4_LOADED.find(results)?);
    let undisturbed = Selection::Undisturbed;
    let (a, b) =
        (case::judged(unloaded, task, undisturbed)?, case::judged(loaded, task, undisturbed)?);
    let too_few = || format!("too few jobs of {task} to compare");
    let clusters = |case: &crate::folder::Case| -> Result<Vec<Vec<u64>>, String> {
        Ok(cluster::clusters(case::series(case, task)?, &case.experiment, undisturbed))
    };
    let upper = bootstrap::upper_bound(
        &clusters(unloaded)?,
        &clusters(loaded)?,
        CONFIDENCE,
        two_sample::wasserstein,
    )
    .ok_or_else(too_few)?;
    let distance = two_sample::wasserstein(&a, &b).ok_or_else(too_few)?;
    let ks = two_sample::kolmogorov_smirnov(&a, &b).ok_or_else(too_few)?;
    let delta = two_sample::cliffs_delta(&a, &b).ok_or_else(too_few)?;
    let mean = model::stats::mean(&[a, b].concat()).ok_or_else(too_few)?;
    Ok(Judged {
        holds: upper <= MARGIN * mean,
        measured: format!(
            "{} apart, at most {} ({} of the mean); KS distance {:.2}, Cliff's δ {}",
            short(distance),
            short(upper),
            percent(upper / mean),
            ks.distance,
            units::delta(delta)
        ),
        values: Values::from([
            ("wasserstein_ns", distance),
            ("wasserstein_upper_ns", upper),
            ("margin_ns", MARGIN * mean),
            ("ks_distance", ks.distance),
            ("ks_p_value", ks.p_value),
            ("cliffs_delta", delta),
        ]),
    })
}
