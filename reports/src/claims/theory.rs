//! The budget that theory asks for, and the one that practice does.

use model::{Reservation, TaskSet, suite::Place};
use rtplan::{Scheduler, Supply};

use super::{Claim, Finding, Judged, Statement, Values};
use crate::{
    folder::{Case, Results},
    series::Selection,
    units::count,
};

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
            rule: "on a loaded host undisturbed jobs miss deadlines under (27 ms, 50 ms), and \
                   none does under (28 ms, 50 ms)"
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

fn practice(results: &Results) -> Finding {
    let (less, enough) = (under(results, 27)?, under(results, 28)?);
    let counted = |case: &Case| -> (usize, usize) {
        let chosen = Selection::Undisturbed;
        let misses = case.series.iter().map(|own| own.misses(chosen)).sum();
        (misses, case.series.iter().map(|own| own.responses(chosen).len()).sum())
    };
    let ((misses27, jobs27), (misses28, jobs28)) = (counted(less), counted(enough));
    Ok(Judged {
        holds: misses27 > 0 && misses28 == 0,
        measured: format!(
            "under 27 ms {} of {jobs27} missed, under 28 ms {misses28} of {jobs28}",
            count(misses27, "job")
        ),
        values: Values::from([("misses_27", misses27 as f64), ("misses_28", misses28 as f64)]),
    })
}

/// The measured case with the paper's tasks and load under this budget, whatever its name.
fn under(results: &Results, budget_ms: u64) -> Result<&Case, String> {
    let fits = |case: &&Case| {
        let experiment = &case.experiment;
        let own = experiment.reservation.as_ref().map(|own| own.reservation());
        case.is_measured()
            && experiment.place == Place::Guest
            && experiment.tasks == TaskSet::paper()
            && experiment.load.as_ref().is_some_and(|load| load.tasks == TaskSet::paper_load())
            && own == Some(of_fifty(budget_ms))
    };
    results.cases.iter().find(fits).ok_or_else(|| {
        format!("no experiment ran under ({budget_ms} ms, 50 ms); `orchestrator sweep` does")
    })
}
