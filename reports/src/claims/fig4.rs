//! Figure 4: the guest under the (28 ms, 50 ms) reservation, without and with load on the host.

use std::time::Duration;

use model::{Reservation, TaskSet};
use rtplan::{Scheduler, Supply};

use super::{
    Claim, Finding, Judged, Statement,
    case::{self, FIG4_LOADED, FIG4_UNLOADED, Setup, time, values},
};
use crate::{
    cluster,
    folder::{Case, Results},
    series::Selection,
    stats::{bootstrap, two_sample},
    units::{self, count, percent, short},
};

/// How far from the analytic worst case p90 may lie.
const NEAR: f64 = 0.15;
/// Two CDFs are identical in practice where they are closer than what so much budget changes: the
/// step by which the paper tells 27 from 28 ms.
pub(super) const STEP: Duration = Duration::from_millis(1);

const FIGURE: &str = "4";

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let near = |id, says, setup: &Setup, task: &'static str| {
        let rule = format!(
            "p90 of the undisturbed jobs is within {} of the analytic worst case (aligned supply)",
            percent(NEAR)
        );
        Statement { id, figure: FIGURE, says, paper: "predictable", rule }
            .judged_by(|selection| predictable(results, setup, task, selection))
    };
    let no_miss = |id, says, setup: &Setup| {
        let rule =
            "no undisturbed job of either task misses its deadline, and none is left unfinished"
                .to_owned();
        Statement { id, figure: FIGURE, says, paper: "none", rule }
            .judged_by(|selection| misses(setup.find(results)?, selection))
    };
    let identical = |id, says, task: &'static str| {
        let rule = format!(
            "the two CDFs of the undisturbed jobs are closer than what {} of budget changes in \
             the analytic worst case (Wasserstein distance, 90 % confidence interval, bootstrap \
             over runs)",
            short(STEP.as_nanos() as f64)
        );
        Statement { id, figure: FIGURE, says, paper: "identical", rule }.judged_by(|selection| {
            same(FIG4_UNLOADED.find(results)?, FIG4_LOADED.find(results)?, task, selection)
        })
    };
    let (unloaded, loaded) = (&FIG4_UNLOADED, &FIG4_LOADED);
    vec![
        near("fig4-unloaded-tau1", "Reserved, unloaded: τ1 is predictable.", unloaded, "tau1"),
        near("fig4-unloaded-tau2", "Reserved, unloaded: τ2 is predictable.", unloaded, "tau2"),
        near("fig4-loaded-tau1", "Reserved, loaded: τ1 is predictable.", loaded, "tau1"),
        near("fig4-loaded-tau2", "Reserved, loaded: τ2 is predictable.", loaded, "tau2"),
        no_miss("fig4-unloaded-misses", "Reserved, unloaded: no deadline is missed.", unloaded),
        no_miss("fig4-loaded-misses", "Reserved, loaded: no deadline is missed.", loaded),
        identical("fig4-tau1-identical", "The load does not change the CDF of τ1.", "tau1"),
        identical("fig4-tau2-identical", "The load does not change the CDF of τ2.", "tau2"),
    ]
}

fn predictable(results: &Results, setup: &Setup, task: &str, selection: Selection) -> Finding {
    let case = setup.find(results)?;
    let jobs = case::judged(case, task, selection)?;
    let bound = case::bound(case, task)?;
    let p90 = jobs.percentile(90.0);
    Ok(Judged {
        holds: (p90 / bound - 1.0).abs() <= NEAR,
        measured: format!(
            "p90 {} of {}, analytic {}",
            time(p90),
            count(jobs.len(), "job"),
            short(bound)
        ),
        values: values([
            ("p90_ns", p90),
            ("p99_ns", jobs.percentile(99.0)),
            ("analytic_ns", bound),
            ("jobs", jobs.len() as f64),
        ]),
    })
}

/// No deadline of any task is missed, and no job is left unfinished.
pub(super) fn misses(case: &Case, selection: Selection) -> Finding {
    for at in 0..case.tasks().len() {
        case::judged(case, &TaskSet::name(at), selection)?;
    }
    let sum = |of: fn(&model::judged::Count) -> u64| -> u64 {
        case.series.iter().map(|own| of(&own.count(selection))).sum()
    };
    let (missed, jobs) = (sum(|own| own.misses), sum(|own| own.judged()));
    let (disturbed, unfinished) = (sum(|own| own.stalled_misses), sum(|own| own.unfinished));
    let mut measured = format!("{missed} of {}", count(jobs as usize, "job"));
    if disturbed > 0 {
        measured.push_str(&format!(" (and {disturbed} of the stalled ones)"));
    }
    if unfinished > 0 {
        measured.push_str(&format!("; {unfinished} never finished"));
    }
    Ok(Judged {
        holds: missed == 0 && unfinished == 0,
        measured,
        values: values([
            ("misses", missed as f64),
            ("jobs", jobs as f64),
            ("misses_of_stalled", disturbed as f64),
            ("unfinished", unfinished as f64),
        ]),
    })
}

/// The two CDFs of a task are closer than what [`STEP`] of budget changes.
pub(super) fn same(unloaded: &Case, loaded: &Case, task: &str, selection: Selection) -> Finding {
    let side = |case: &Case| {
        case::judged(case, task, selection)?;
        let series = case::series(case, task)?;
        let mut all = series.by_run(selection).concat();
        all.sort_unstable();
        Ok::<_, String>((all, cluster::clusters(series, case.tasks(), selection)))
    };
    let ((a, left), (b, right)) = (side(unloaded)?, side(loaded)?);
    let too_few = || format!("too few jobs of {task} to compare");
    let margin = margin(unloaded, task).ok_or("the analysis promises no bound to compare with")?;
    let found = bootstrap::interval(&left, &right, two_sample::wasserstein)
        .ok_or("a single repetition tells nothing of another; two on either side do")?;
    let ks = two_sample::kolmogorov_smirnov(&a, &b).ok_or_else(too_few)?;
    let delta = two_sample::cliffs_delta(&a, &b).ok_or_else(too_few)?;
    let measured = format!(
        "{} apart, {} to {} (limit {}); KS distance {:.2}, Cliff's δ {}",
        short(found.distance),
        short(found.low),
        short(found.high),
        short(margin),
        ks.distance,
        units::delta(delta)
    );
    if found.low <= margin && found.high > margin {
        return Err(format!("the repetitions differ too much to tell: {measured}"));
    }
    Ok(Judged {
        holds: found.high <= margin,
        measured,
        values: values([
            ("wasserstein_ns", found.distance),
            ("wasserstein_lower_ns", found.low),
            ("wasserstein_upper_ns", found.high),
            ("margin_ns", margin),
            ("ks_distance", ks.distance),
            ("ks_p_value", ks.p_value),
            ("cliffs_delta", delta),
        ]),
    })
}

/// What [`STEP`] less of budget changes in the task's analytic worst case, in nanoseconds: under
/// aligned supply, or under one-gap supply where other reservations are on the CPU: beside them it
/// is a measure of what a millisecond counts, not a bound.
fn margin(case: &Case, task: &str) -> Option<f64> {
    let own = case.reservation()?.reservation();
    let less = Reservation::new(own.budget().checked_sub(STEP)?, own.period()).ok()?;
    let tasks = case.tasks();
    let at = (0..tasks.len()).find(|at| TaskSet::name(*at) == task)?;
    let beside_others = case.workload().neighbours().next().is_some();
    let worst = |reservation: Reservation| {
        let model = if beside_others { Supply::one_gap } else { Supply::aligned };
        let supply = model(reservation);
        Some(rtplan::wcrt(tasks, &supply, Scheduler::RateMonotonic)[at]?.as_nanos() as f64)
    };
    Some((worst(less)? - worst(own)?).abs())
}
