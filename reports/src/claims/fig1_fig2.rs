//! Figures 1 and 2: the tasks on the host, and in a guest that has the CPU to itself.

use model::{
    stats::{P99_LEAST, percentile, percentile_beyond},
    suite::Work,
};

use super::{
    Claim, Finding, Judged, Statement,
    case::{self, FIG1, FIG2, time, values},
};
use crate::{
    folder::{Case, Results},
    series::{Run, Selection},
    stats::interval::{self, Ratio},
    units::{count, percent, short, signed_percent},
};

/// How far below the analytic worst case the observed one may lie.
const BELOW: f64 = 0.05;
/// How far above, "a little over": the sentinel's looks take 2 %, a stall that does not yet count as
/// one 1.7 % of 30 ms, and the calibration may be wrong by 2 %.
const ABOVE: f64 = 0.06;
/// How far apart figures 1 and 2 may lie, "marginally": what the paper says that virtualisation costs
/// on the average (Table 1).
const MARGINAL: f64 = 0.07;

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let worst = |id, says, paper, task: &'static str| {
        let rule = format!(
            "p99 of at least {P99_LEAST} undisturbed jobs is from {} below to {} above the \
             analytic worst case",
            percent(BELOW),
            percent(ABOVE)
        );
        Statement { id, figure: "1", says, paper, rule }
            .judged_by(|selection| worst_case(results, task, selection))
    };
    let marginal = |id, says, what: &str, finding: &dyn Fn(Selection) -> Finding| {
        let rule = format!(
            "where the work is fixed: {what} of the undisturbed jobs differs from that of fig1 by \
             at most {} (90 % confidence interval over runs, and the processor's drift)",
            percent(MARGINAL)
        );
        Statement { id, figure: "2", says, paper: "only marginally different", rule }
            .judged_by(finding)
    };
    vec![
        worst(
            "fig1-tau1-bound",
            "On the host the worst case of τ1 is a little over its execution time.",
            "a little over 30 ms",
            "tau1",
        ),
        worst(
            "fig1-tau2-bound",
            "On the host the worst case of τ2 is what response-time analysis says.",
            "a little over 80 ms",
            "tau2",
        ),
        marginal(
            "fig2-work",
            "The same work takes hardly longer in the guest.",
            "the median of τ1, whom nothing interrupts,",
            &|selection| slow_down(results, selection),
        ),
        marginal(
            "fig2-tau1-same-work",
            "In an unloaded guest τ1 is hardly slower.",
            "p90",
            &|selection| difference(results, "tau1", 90.0, selection),
        ),
        marginal(
            "fig2-tau2-same-work",
            "In an unloaded guest τ2 is hardly slower.",
            "p90",
            &|selection| difference(results, "tau2", 90.0, selection),
        ),
    ]
}

fn worst_case(results: &Results, task: &str, selection: Selection) -> Finding {
    let fig1 = FIG1.find(results)?;
    let jobs = case::judged(fig1, task, selection)?;
    if (jobs.len() as u64) < P99_LEAST {
        return Err(format!(
            "`fig1` has only {} of {task}: their p99 is the largest of them",
            count(jobs.len(), "judged job")
        ));
    }
    let bound = case::bound(fig1, task)?;
    let p99 = jobs.percentile(99.0);
    Ok(Judged {
        holds: ((1.0 - BELOW) * bound..=(1.0 + ABOVE) * bound).contains(&p99),
        measured: format!(
            "p99 {} of {}, analytic {}",
            time(p99),
            count(jobs.len(), "job"),
            short(bound)
        ),
        values: values([("p99_ns", p99), ("analytic_ns", bound), ("jobs", jobs.len() as f64)]),
    })
}

/// What the guest costs: the row names how it was executed.
fn slow_down(results: &Results, selection: Selection) -> Finding {
    let judged = difference(results, "tau1", 50.0, selection)?;
    let share = judged.values["relative_difference"];
    let (low, high) = (judged.values["low"], judged.values["high"]);
    Ok(Judged {
        measured: format!(
            "the same work takes {} longer in the guest ({} to {}; {})",
            signed_percent(share),
            signed_percent(low),
            signed_percent(high),
            results.accelerator().unwrap_or("no guest").to_uppercase()
        ),
        ..judged
    })
}

fn difference(results: &Results, task: &str, p: f64, selection: Selection) -> Finding {
    let (fig1, fig2) = (FIG1.find(results)?, FIG2.find(results)?);
    if let Some(paced) = [fig1, fig2].into_iter().find(|case| case.experiment.work == Work::Paced) {
        return Err(format!(
            "the work of `{}` was paced: a job takes the same CPU time however slow the guest is{}",
            paced.name(),
            calibrations(fig1, fig2)
        ));
    }
    let of = |case: &Case| -> Result<Vec<f64>, String> {
        case::judged(case, task, selection)?;
        let runs = &case::series(case, task)?.runs;
        Ok(runs.iter().map(|run| of_run(run, p, selection)).collect())
    };
    let (host, guest) = (of(fig1)?, of(fig2)?);
    if let Some(starved) = host.iter().chain(&guest).find(|ns| !ns.is_finite()) {
        let measured = format!("p{p} of a repetition {}", time(*starved));
        return Ok(Judged { holds: false, measured, values: values([]) });
    }
    let ratio = interval::ratio(&host, &guest)
        .ok_or("a single repetition tells nothing of another; two on either side do")?;
    within(widened(ratio, case::drift([fig1, fig2])), p)
}

/// The interval, wider by what the processor's speed drifted while it was measured.
fn widened(Ratio { ratio, low, high }: Ratio, drift: f64) -> Ratio {
    Ratio { ratio, low: low * (1.0 - drift), high: high * (1.0 + drift) }
}

/// Decided where all of the interval is on one side of the margin.
fn within(Ratio { ratio, low, high }: Ratio, p: f64) -> Finding {
    let [change, low, high] = [ratio, low, high].map(|own| own - 1.0);
    let measured = format!(
        "p{p} {} in the guest ({} to {})",
        signed_percent(change),
        signed_percent(low),
        signed_percent(high)
    );
    let holds = low >= -MARGINAL && high <= MARGINAL;
    if !holds && low <= MARGINAL && high >= -MARGINAL {
        return Err(format!("the repetitions differ too much to tell: {measured}"));
    }
    let values = values([("relative_difference", change), ("low", low), ("high", high)]);
    Ok(Judged { holds, measured, values })
}

/// Infinite where it is that of an unfinished job, or of none.
fn of_run(run: &Run, p: f64, selection: Selection) -> f64 {
    let mut responses: Vec<u64> = run.selected(selection).map(|job| job.response_ns).collect();
    responses.sort_unstable();
    percentile_beyond(&responses, run.unfinished(), p).map_or(f64::INFINITY, |ns| ns as f64)
}

/// What the calibrations of both say, for the reader: they were made once each, so that nobody knows
/// what of it is drift.
fn calibrations(host: &Case, guest: &Case) -> String {
    let median = |case: &Case| {
        let all = case.counted.iter().filter_map(|record| record.facts.ns_per_iteration);
        let mut all: Vec<f64> = all.collect();
        all.sort_by(f64::total_cmp);
        percentile(&all, 50.0)
    };
    let change = median(host).zip(median(guest)).map(|(host, guest)| guest / host - 1.0);
    change.map_or_else(String::new, |change| {
        format!("; by the calibrations the same work takes {} longer there", signed_percent(change))
    })
}
