//! Finding the paper's cases in a result folder, and what a rule asks of them.

use model::{TaskSet, stats, suite::Place};

use crate::{
    folder::{Case, Results},
    series::{Selection, Series},
    units::count,
};

/// A statistic of fewer undisturbed jobs than this decides nothing.
pub(super) const LEAST_JOBS: usize = 20;

/// The paper's experiment behind one of its figures.
pub(super) struct Setup {
    pub name: &'static str,
    pub place: Place,
    pub loaded: bool,
    pub reservation: Option<&'static str>,
}

pub(super) const FIG1: Setup =
    Setup { name: "fig1", place: Place::Host, loaded: false, reservation: None };
pub(super) const FIG2: Setup =
    Setup { name: "fig2", place: Place::Guest, loaded: false, reservation: None };
pub(super) const FIG3: Setup =
    Setup { name: "fig3", place: Place::Guest, loaded: true, reservation: None };
pub(super) const FIG4_UNLOADED: Setup = Setup {
    name: "fig4-unloaded",
    place: Place::Guest,
    loaded: false,
    reservation: Some("28ms/50ms"),
};
pub(super) const FIG4_LOADED: Setup = Setup {
    name: "fig4-loaded",
    place: Place::Guest,
    loaded: true,
    reservation: Some("28ms/50ms"),
};

impl Setup {
    /// The measured case, or why there is none: a case of this name under other conditions than
    /// the paper's is not it.
    pub fn find<'a>(&self, results: &'a Results) -> Result<&'a Case, String> {
        let name = self.name;
        if results.manifest.suite.experiment(name).is_none() {
            return Err(format!("the suite has no experiment `{name}`"));
        }
        let case = results
            .measured(name)
            .ok_or_else(|| format!("`{name}` was not measured: no complete repetition"))?;
        match self.difference(case) {
            Some(what) => Err(format!("`{name}` was run with {what} than the paper's")),
            None => Ok(case),
        }
    }

    fn difference(&self, case: &Case) -> Option<&'static str> {
        let experiment = &case.experiment;
        let load = experiment.load.as_ref().map(|load| &load.tasks);
        let paper_load = TaskSet::paper_load();
        let reservation = experiment.reservation.as_ref().map(|own| own.reservation().to_string());
        if experiment.place != self.place {
            Some("another place")
        } else if experiment.tasks != TaskSet::paper() {
            Some("other tasks")
        } else if load != self.loaded.then_some(&paper_load) {
            Some("another load")
        } else if reservation.as_deref() != self.reservation {
            Some("another reservation")
        } else {
            None
        }
    }
}

/// The series of a task, or the reason why there is none.
pub(super) fn series<'a>(case: &'a Case, task: &str) -> Result<&'a Series, String> {
    case.task(task).ok_or_else(|| format!("`{}` has no job of {task}", case.name()))
}

/// Response times by which the task is judged, ascending, in nanoseconds; at least [`LEAST_JOBS`].
pub(super) fn judged(case: &Case, task: &str, selection: Selection) -> Result<Vec<u64>, String> {
    let mut responses = series(case, task)?.responses(selection);
    if responses.len() < LEAST_JOBS {
        let which = match selection {
            Selection::All => "",
            Selection::Undisturbed => " that no stall disturbed",
        };
        return Err(format!(
            "`{}` has only {} of {task}{which}; the rule needs {LEAST_JOBS}",
            case.name(),
            count(responses.len(), "job")
        ));
    }
    responses.sort_unstable();
    Ok(responses)
}

/// A percentile of samples that are not empty.
pub(super) fn percentile(sorted: &[u64], p: f64) -> f64 {
    stats::percentile(sorted, p).expect("`judged` returns no empty samples") as f64
}

/// The analytic worst case of the task, in nanoseconds.
pub(super) fn bound(case: &Case, task: &str) -> Result<f64, String> {
    case.bound_ns(task)
        .map(|ns| ns as f64)
        .ok_or_else(|| format!("the analysis promises {task} no bound in `{}`", case.name()))
}
