//! Figure 3: an ordinary guest beside a real-time load.
//!
//! Every job counts here, stalled or not: the backlog of τ2 never ends, so that after the first
//! stall no job would be left.

use super::{
    Claim, Finding, Judged, Statement, Values,
    case::{self, FIG1, FIG3, percentile},
};
use crate::{
    folder::Results,
    series::{Run, Selection},
    stats::trend::{self, Trend},
    units::{percent, short},
};

/// "Several times slower."
const SLOWER: f64 = 2.0;
/// "Many" deadline misses.
const MANY: f64 = 0.05;
/// How often a sequence without growth would pass for one with.
const SIGNIFICANCE: f64 = 0.01;
/// How much longer responses are at the end of a repetition than at its start.
const GROWTH: f64 = 2.0;

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let figure = "3";
    vec![
        Statement {
            id: "fig3-tau1-worst",
            figure,
            says: "In a loaded, unreserved guest the worst case of τ1 is several times longer.",
            paper: "about 180 ms",
            rule: format!("p90 of all jobs is at least {SLOWER} times that of fig1"),
        }
        .judged(slower(results)),
        Statement {
            id: "fig3-tau1-misses",
            figure,
            says: "τ1 misses many deadlines there.",
            paper: "many",
            rule: format!("at least {} of all jobs miss their deadline", percent(MANY)),
        }
        .judged(misses(results)),
        Statement {
            id: "fig3-tau2-unbounded",
            figure,
            says: "The response time of τ2 has no upper bound there.",
            paper: "no upper bound",
            rule: format!(
                "in every repetition response times grow (Mann–Kendall, p below {SIGNIFICANCE}; \
                 Theil–Sen slope above 0), and their median over the last quarter is at least \
                 {GROWTH} times that over the first and beyond the deadline"
            ),
        }
        .judged(unbounded(results)),
    ]
}

fn slower(results: &Results) -> Finding {
    let (fig1, fig3) = (FIG1.find(results)?, FIG3.find(results)?);
    let host = percentile(&case::judged(fig1, "tau1", Selection::Undisturbed)?, 90.0);
    let jobs = case::judged(fig3, "tau1", Selection::All)?;
    let (p90, max) = (percentile(&jobs, 90.0), percentile(&jobs, 100.0));
    let times = p90 / host;
    Ok(Judged {
        holds: times >= SLOWER,
        measured: format!("max {}, p90 {} ({times:.1} times fig1's)", short(max), short(p90)),
        values: Values::from([("max_ns", max), ("p90_ns", p90), ("times_fig1", times)]),
    })
}

fn misses(results: &Results) -> Finding {
    let fig3 = FIG3.find(results)?;
    let tau1 = case::series(fig3, "tau1")?;
    let (misses, jobs) = (tau1.misses(Selection::All), tau1.len());
    let share = misses as f64 / jobs as f64;
    Ok(Judged {
        holds: share >= MANY,
        measured: format!("{misses} of {jobs} jobs ({})", percent(share)),
        values: Values::from([("misses", misses as f64), ("jobs", jobs as f64), ("share", share)]),
    })
}

/// The growth within one repetition.
struct Growth {
    trend: Trend,
    first_quarter: f64,
    last_quarter: f64,
}

fn unbounded(results: &Results) -> Finding {
    let fig3 = FIG3.find(results)?;
    let tau2 = case::series(fig3, "tau2")?;
    let deadline = tau2.deadline_ns.unwrap_or(0) as f64;
    let growths =
        tau2.runs.iter().map(growth).collect::<Option<Vec<_>>>().ok_or_else(|| {
            format!("a repetition has fewer than {} jobs of tau2", case::LEAST_JOBS)
        })?;
    let grows = |one: &Growth| {
        one.trend.p_value < SIGNIFICANCE
            && one.trend.slope > 0.0
            && one.last_quarter >= GROWTH * one.first_quarter
            && one.last_quarter > deadline
    };
    // The repetition that speaks least for the claim is the one shown.
    let weakest = growths
        .iter()
        .min_by(|a, b| a.trend.slope.total_cmp(&b.trend.slope))
        .ok_or("`fig3` has no repetition")?;
    Ok(Judged {
        holds: growths.iter().all(grows),
        measured: format!(
            "grows by {} a second, from {} to {} (first and last quarter)",
            short(weakest.trend.slope * 1e9),
            short(weakest.first_quarter),
            short(weakest.last_quarter)
        ),
        values: Values::from([
            ("slope_ns_per_ns", weakest.trend.slope),
            ("p_value", weakest.trend.p_value),
            ("first_quarter_p50_ns", weakest.first_quarter),
            ("last_quarter_p50_ns", weakest.last_quarter),
        ]),
    })
}

fn growth(run: &Run) -> Option<Growth> {
    if run.samples.len() < case::LEAST_JOBS {
        return None;
    }
    let points: Vec<_> = run.samples.iter().map(|job| (job.at_ns, job.response_ns)).collect();
    let quarter = points.len() / 4;
    let median = |part: &[(u64, u64)]| {
        let mut responses: Vec<u64> = part.iter().map(|point| point.1).collect();
        responses.sort_unstable();
        percentile(&responses, 50.0)
    };
    Some(Growth {
        trend: trend::trend(&points)?,
        first_quarter: median(&points[..quarter]),
        last_quarter: median(&points[points.len() - quarter..]),
    })
}
