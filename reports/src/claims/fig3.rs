//! Figure 3: an ordinary guest beside a real-time load.
//!
//! What the load does must not be taken for what stalls do. Of τ1, the most urgent task, those jobs
//! are judged of whose own response time stalls are at most a sixtieth (or 0.5 ms): the backlog of τ2
//! never ends, but does not hold τ1 up. To ask for none would leave the short ones, which fewer stalls
//! meet.
//! Of τ2, from each response time the stalls since its busy period began are taken off.

use super::{
    Claim, Finding, Judged, Statement,
    case::{self, FIG1, FIG3, time, values},
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
/// Fewer jobs that finish while the overload lasts show no growth.
const LEAST_FINISHED: usize = 10;

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    let figure = "3";
    vec![
        Statement {
            id: "fig3-tau1-slowed",
            figure,
            says: "In a loaded, unreserved guest the worst case of τ1 is several times longer.",
            paper: "about 180 ms",
            rule: format!(
                "p90 of the jobs that no stall in their own time disturbed is at least {SLOWER} \
                 times that of fig1"
            ),
        }
        .judged_by(|selection| slower(results, selection)),
        Statement {
            id: "fig3-tau1-many-missed",
            figure,
            says: "τ1 misses many deadlines there.",
            paper: "many",
            rule: format!(
                "at least {} of the jobs that no stall in their own time disturbed miss their \
                 deadline or are never finished",
                percent(MANY)
            ),
        }
        .judged_by(|selection| misses(results, selection)),
        Statement {
            id: "fig3-tau2-grows",
            figure,
            says: "The response time of τ2 has no upper bound there.",
            paper: "no upper bound",
            rule: format!(
                "in every repetition, of the jobs that finish while tasks are still released, \
                 response times less the stalls grow (Mann–Kendall, p below {SIGNIFICANCE}; \
                 Theil–Sen slope above 0), and their median over the last quarter is at least \
                 {GROWTH} times that over the first and beyond the deadline; or fewer than \
                 {LEAST_FINISHED} of twice as many finish"
            ),
        }
        .judged(unbounded(results)),
    ]
}

fn slower(results: &Results, selection: Selection) -> Finding {
    let (fig1, fig3) = (FIG1.find(results)?, FIG3.find(results)?);
    let host = case::judged(fig1, "tau1", selection)?.percentile(90.0);
    let jobs = case::judged_itself(fig3, "tau1", selection)?;
    let (p90, max) = (jobs.percentile(90.0), jobs.percentile(100.0));
    let times = p90 / host;
    Ok(Judged {
        holds: times >= SLOWER,
        measured: format!("max {}, p90 {} ({times:.1} times fig1's)", time(max), time(p90)),
        values: values([("max_ns", max), ("p90_ns", p90), ("times_fig1", times)]),
    })
}

fn misses(results: &Results, selection: Selection) -> Finding {
    let fig3 = FIG3.find(results)?;
    let jobs = case::judged_itself(fig3, "tau1", selection)?;
    let tau1 = case::series(fig3, "tau1")?;
    let finished = tau1.runs.iter().flat_map(|run| &run.samples);
    let judged = finished.filter(|sample| selection.takes(sample.disturbed_itself()));
    let late = judged.filter(|sample| sample.missed()).count();
    let misses = late + tau1.unfinished() as usize;
    let share = misses as f64 / jobs.len() as f64;
    Ok(Judged {
        holds: share >= MANY,
        measured: format!("{misses} of {} jobs ({})", jobs.len(), percent(share)),
        values: values([("misses", misses as f64), ("jobs", jobs.len() as f64), ("share", share)]),
    })
}

/// How the responses within one repetition grow.
enum Growth {
    /// Hardly a job finishes.
    Starved,
    /// Those that finish tell.
    Seen { trend: Trend, first_quarter: f64, last_quarter: f64 },
}

impl Growth {
    fn is_unbounded(&self, deadline: f64) -> bool {
        match self {
            Self::Starved => true,
            Self::Seen { trend, first_quarter, last_quarter } => {
                trend.p_value < SIGNIFICANCE
                    && trend.slope > 0.0
                    && *last_quarter >= GROWTH * first_quarter
                    && *last_quarter > deadline
            }
        }
    }

    fn slope(&self) -> f64 {
        match self {
            Self::Starved => f64::INFINITY,
            Self::Seen { trend, .. } => trend.slope,
        }
    }
}

fn unbounded(results: &Results) -> Finding {
    let fig3 = FIG3.find(results)?;
    let tau2 = case::series(fig3, "tau2")?;
    let deadline = tau2.deadline_ns.unwrap_or(0) as f64;
    let growths: Vec<Growth> =
        tau2.runs.iter().map(growth).collect::<Option<_>>().ok_or_else(|| {
            format!("a repetition of `fig3` releases fewer than {} jobs", 2 * LEAST_FINISHED)
        })?;
    let holds = growths.iter().all(|one| one.is_unbounded(deadline));
    // The repetition that speaks least for the claim is the one shown.
    let weakest = growths
        .iter()
        .min_by(|a, b| a.slope().total_cmp(&b.slope()))
        .ok_or("`fig3` has no repetition")?;
    let Growth::Seen { trend, first_quarter, last_quarter } = weakest else {
        let measured = format!("hardly a job finishes; {} never do", tau2.unfinished());
        return Ok(Judged { holds, measured, values: values([]) });
    };
    Ok(Judged {
        holds,
        measured: format!(
            "grows by {} a second, from {} to {} (first and last quarter)",
            short(trend.slope * 1e9),
            short(*first_quarter),
            short(*last_quarter)
        ),
        values: values([
            ("slope_ns_per_ns", trend.slope),
            ("p_value", trend.p_value),
            ("first_quarter_p50_ns", *first_quarter),
            ("last_quarter_p50_ns", *last_quarter),
        ]),
    })
}

/// While tasks are released: once they are not, a backlog drains and responses shrink. None where
/// the run is too short to tell.
fn growth(run: &Run) -> Option<Growth> {
    let meanwhile =
        run.samples.iter().filter(|job| job.at_ns.saturating_add(job.response_ns) <= run.length_ns);
    let points: Vec<(u64, u64)> = meanwhile
        .map(|job| (job.at_ns, job.response_ns.saturating_sub(job.stalled_ns().unwrap_or(0))))
        .collect();
    if run.released.unwrap_or(0) < 2 * LEAST_FINISHED as u64 {
        return None;
    }
    if points.len() < LEAST_FINISHED {
        return Some(Growth::Starved);
    }
    let quarter = points.len() / 4;
    let median = |part: &[(u64, u64)]| {
        let mut responses: Vec<u64> = part.iter().map(|point| point.1).collect();
        responses.sort_unstable();
        model::stats::percentile(&responses, 50.0).map(|ns| ns as f64)
    };
    Some(Growth::Seen {
        trend: trend::trend(&points)?,
        first_quarter: median(&points[..quarter])?,
        last_quarter: median(&points[points.len() - quarter..])?,
    })
}
