//! The budget that theory asks for, and the one that practice does.

use std::time::Duration;

use model::{
    Mechanism, Reservation, TaskSet,
    duration::{as_ns, in_ms},
    suite::Place,
    sweep::Outcome,
};
use rtplan::{Scheduler, Supply};

use super::{Claim, Finding, Judged, Statement, Values};
use crate::folder::{Case, Results};

pub(super) fn claims(results: &Results) -> Vec<Claim> {
    vec![
        Statement {
            id: "theory-27",
            figure: "4",
            says: "In theory a budget of 27 ms every 50 ms is enough.",
            paper: "27 ms",
            rule: "the least whole-millisecond budget that is schedulable under rate monotonic \
                   with aligned supply is 27 ms"
                .to_owned(),
        }
        .judged(theory()),
        Statement {
            id: "practice-28",
            figure: "4",
            says: "In practice 28 ms are needed, since the emulator takes some.",
            paper: "28 ms",
            rule: "of the budgets measured on a loaded host, every 50 ms, the smallest that holds \
                   together with all larger ones is above 27 ms and at most 28 ms, and the largest \
                   that fails is at least 27 ms and below 28 ms"
                .to_owned(),
        }
        .judged(practice(results)),
    ]
}

fn of_fifty(budget_ms: u64) -> Reservation {
    format!("{budget_ms}ms/50ms").parse().expect("from 1 to 50 of 50 ms")
}

fn theory() -> Finding {
    let tasks = TaskSet::paper();
    let enough = |budget: &u64| {
        let worst =
            rtplan::wcrt(&tasks, &Supply::aligned(of_fifty(*budget)), Scheduler::RateMonotonic);
        tasks.iter().zip(worst).all(|(task, wcrt)| wcrt.is_some_and(|wcrt| wcrt <= task.deadline()))
    };
    let least = (1..=50).find(enough).ok_or("no budget up to the whole CPU is enough")?;
    Ok(Judged {
        holds: least == 27,
        measured: format!("{least} ms (calculated)"),
        values: Values::from([("budget_ms", least as f64)]),
    })
}

/// The budget that theory leaves and practice needs, by the paper.
const THEORY: Duration = Duration::from_millis(27);
const PRACTICE: Duration = Duration::from_millis(28);

/// What was measured brackets the budget that is needed: above the largest that fails, at most the
/// smallest that holds together with all above it.
fn practice(results: &Results) -> Finding {
    let period = Duration::from_millis(50);
    let points = results.cases.iter().filter(|case| is_papers(case, period));
    let points = points.filter_map(|case| case.point.clone()).collect();
    let outcome = Outcome::of(String::new(), period, points, Vec::new());
    let (theory, practice) = (as_ns(THEORY), as_ns(PRACTICE));
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

const NO_SWEEP: &str =
    "no budget of 50 ms was measured on the loaded host; `orchestrator sweep` does";

/// A case of the paper's tasks beside its load, whatever its budget and name.
fn is_papers(case: &Case, period: Duration) -> bool {
    let experiment = &case.experiment;
    let reserved = experiment.reservation.as_ref();
    case.is_measured()
        && experiment.place == Place::Guest
        && experiment.tasks == TaskSet::paper()
        && experiment.load.as_ref().is_some_and(|load| load.tasks == TaskSet::paper_load())
        && reserved.is_some_and(|own| own.period == period && own.mechanism == Mechanism::Deadline)
}
