//! The budget that theory asks for, and the one that practice does.

use std::time::Duration;

use model::{
    Mechanism, Reservation, TaskSet,
    duration::{as_ns, in_ms},
    suite::{Place, Work},
    sweep::Outcome,
};
use rtplan::{Scheduler, Supply};
use serde::Serialize;

use super::{Claim, Finding, Judged, Statement, case};
use crate::{
    folder::{Case, Results},
    units::percent,
};

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    vec![
        Statement {
            id: "practice-28",
            figure: "4",
            says: "In practice 28 ms are needed, since the emulator takes some.",
            paper: "28 ms",
            rule: "of the budgets measured with fixed work on a loaded host, every 50 ms, the \
                   smallest that holds together with all larger ones is above 27 ms and at most \
                   28 ms, and the largest that fails is at least 27 ms and below 28 ms"
                .to_owned(),
        }
        .judged(practice(results)),
    ]
}

/// What the paper says that no measurement can refute: shown beside the claims, and counted nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Calculated {
    /// Never changes once published.
    pub id: &'static str,
    /// What the paper says, in one sentence.
    pub says: &'static str,
    /// The paper's value.
    pub paper: &'static str,
    /// Ours.
    pub ours: String,
    /// How it was calculated.
    pub rule: &'static str,
}

impl Calculated {
    /// For the page.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "Calculated, and counted nowhere: {} Ours is {}: {}.",
            self.says, self.ours, self.rule
        )
    }
}

/// The budget that theory asks for.
#[must_use]
pub fn calculated(claims: &[Claim]) -> Option<Calculated> {
    claims.iter().find(|claim| claim.id == "practice-28")?;
    let ours = least().map_or_else(|| "none is enough".to_owned(), |ms| format!("{ms} ms"));
    Some(Calculated {
        id: "theory-27",
        says: "In theory a budget of 27 ms every 50 ms is enough.",
        paper: "27 ms",
        ours,
        rule: "the least whole-millisecond budget that is schedulable under rate monotonic with \
               aligned supply",
    })
}

fn of_fifty(budget_ms: u64) -> Reservation {
    format!("{budget_ms}ms/50ms").parse().expect("from 1 to 50 of 50 ms")
}

fn least() -> Option<u64> {
    let tasks = TaskSet::paper();
    let enough = |budget: &u64| {
        let worst =
            rtplan::wcrt(&tasks, &Supply::aligned(of_fifty(*budget)), Scheduler::RateMonotonic);
        tasks.iter().zip(worst).all(|(task, wcrt)| wcrt.is_some_and(|wcrt| wcrt <= task.deadline()))
    };
    (1..=50).find(enough)
}

/// The budget that theory leaves and practice needs, by the paper.
const THEORY: Duration = Duration::from_millis(27);
const PRACTICE: Duration = Duration::from_millis(28);

/// From the one to the other.
const EFFECT: f64 = 1.0 / 27.0;

/// What was measured brackets the budget that is needed: above the largest that fails, at most the
/// smallest that holds together with all above it.
fn practice(results: &Results) -> Finding {
    let period = Duration::from_millis(50);
    let of = |work| {
        let own = results.cases.iter().filter(|case| is_papers(case, period));
        let own = own.filter(|case| case.experiment.work == work);
        let points = own.filter_map(|case| case.point.clone()).collect();
        Outcome::of(String::new(), period, points, Vec::new())
    };
    let outcome = of(Work::Fixed);
    if outcome.points.is_empty() && !of(Work::Paced).points.is_empty() {
        let of = of(Work::Paced);
        let found = undecided(of.smallest_ns, of.largest_failing_ns);
        return Err(format!("{PACED} ({found})"));
    }
    let (theory, practice) = (as_ns(THEORY), as_ns(PRACTICE));
    let drift = case::drift(
        results
            .cases
            .iter()
            .filter(|case| is_papers(case, period) && case.experiment.work == Work::Fixed),
    );
    if drift > EFFECT {
        return Err(format!(
            "the processor's speed drifted by {} within a repetition, and 27 ms and 28 ms are {} \
             apart",
            percent(drift),
            percent(EFFECT)
        ));
    }
    let (smallest, failing) = (outcome.smallest_ns, outcome.largest_failing_ns);
    let holds = match (smallest, failing) {
        (Some(smallest), _) if smallest <= theory => false,
        (_, Some(failing)) if failing >= practice => false,
        (Some(smallest), Some(failing)) if smallest <= practice && failing >= theory => true,
        _ => return Err(undecided(smallest, failing)),
    };
    let text = |ns: Option<u64>| ns.map_or_else(|| "none".to_owned(), in_ms);
    let values = [("smallest_ns", smallest), ("largest_failing_ns", failing)];
    Ok(Judged {
        holds,
        measured: format!(
            "smallest budget that holds: {}; largest that fails: {}",
            text(smallest),
            text(failing)
        ),
        values: values.into_iter().filter_map(|(name, ns)| Some((name, ns? as f64))).collect(),
    })
}

/// What the budgets measured say, where they do not say whether it is 28.
fn undecided(smallest: Option<u64>, failing: Option<u64>) -> String {
    let found = match (smallest, failing) {
        (None, None) => return NO_SWEEP.to_owned(),
        (Some(smallest), Some(failing)) => format!(
            "{} fails and {} holds, so what is needed lies between them",
            in_ms(failing),
            in_ms(smallest)
        ),
        (Some(smallest), None) => {
            format!("{} holds, and no budget was seen to fail", in_ms(smallest))
        }
        (None, Some(failing)) => format!("{} fails, and no larger one holds", in_ms(failing)),
    };
    format!("{found}; 27 ms and 28 ms would tell, which `orchestrator sweep` measures")
}

const PACED: &str = "the work was paced, so that a job takes the same CPU time whatever the emulator \
                     takes: `work = \"fixed\"` would tell";

const NO_SWEEP: &str =
    "no budget of 50 ms was measured on the loaded host; `orchestrator sweep` does";

/// A case of the paper's tasks beside its load, whatever its budget and name.
fn is_papers(case: &Case, period: Duration) -> bool {
    let own = case.workload();
    let reserved = own.reservation();
    case.is_measured()
        && own.place() == Place::Guest
        && *own.tasks() == TaskSet::paper()
        && own.neighbours().next().is_none()
        && own.load().is_some_and(|load| load.tasks == TaskSet::paper_load())
        && reserved.is_some_and(|own| own.period == period && own.mechanism == Mechanism::Deadline)
}
