//! Finding the paper's cases in a result folder, and what a rule asks of them.

use model::{
    TaskSet,
    judged::Count,
    stats,
    suite::{Place, ReservationSettings},
};

use super::Values;
use crate::{
    folder::{Case, Results},
    series::{Sample, Selection, Series},
    units::{count, short},
};

/// A statistic of fewer jobs than this decides nothing.
pub(super) const LEAST_JOBS: usize = 20;

/// How far the processor's speed drifted within a repetition of fixed work: the most, as a share; 0
/// where nobody measured it.
pub(super) fn drift<'a>(cases: impl IntoIterator<Item = &'a Case>) -> f64 {
    let records = cases.into_iter().flat_map(|case| &case.counted);
    let drifts = records.filter_map(|record| Some(record.facts.fixed_work?.drift().abs()));
    drifts.fold(0.0, f64::max)
}

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
        let own = case.workload();
        let load = own.load().map(|load| &load.tasks);
        let paper_load = TaskSet::paper_load();
        let reservation = own.reservation().map(ReservationSettings::text);
        if own.place() != self.place {
            Some("another place")
        } else if *own.tasks() != TaskSet::paper() {
            Some("other tasks")
        } else if case.experiment.surge.is_some() {
            Some("other execution times (`surge`)")
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

/// Response times by which a task is judged.
pub(super) struct Jobs {
    /// Of the selected jobs, ascending, in nanoseconds.
    finished: Vec<u64>,
    /// Jobs that took longer than nobody knows how much.
    unfinished: u64,
}

impl Jobs {
    pub fn len(&self) -> usize {
        self.finished.len() + self.unfinished as usize
    }

    /// In nanoseconds; infinite where it is that of a job that never finished.
    pub fn percentile(&self, p: f64) -> f64 {
        stats::percentile_beyond(&self.finished, self.unfinished, p)
            .map_or(f64::INFINITY, |ns| ns as f64)
    }
}

/// The jobs of the selection and those that never finished: at least [`LEAST_JOBS`], and at least
/// half of those that were released.
pub(super) fn judged(case: &Case, task: &str, selection: Selection) -> Result<Jobs, String> {
    let chosen = |sample: &Sample| selection.takes(sample.disturbed());
    chosen_jobs(case, task, selection, chosen)
}

/// As [`judged`], for the most urgent task: a job is disturbed only by stalls in its own time, since
/// no backlog of others holds it up.
pub(super) fn judged_itself(case: &Case, task: &str, selection: Selection) -> Result<Jobs, String> {
    let chosen = |sample: &Sample| selection.takes(sample.disturbed_itself());
    chosen_jobs(case, task, selection, chosen)
}

fn chosen_jobs(
    case: &Case,
    task: &str,
    selection: Selection,
    chosen: impl Fn(&Sample) -> bool,
) -> Result<Jobs, String> {
    let series = series(case, task)?;
    let all = series.runs.iter().flat_map(|run| &run.samples);
    let mut finished: Vec<u64> =
        all.filter(|sample| chosen(sample)).map(|sample| sample.response_ns).collect();
    finished.sort_unstable();
    let jobs = Jobs { finished, unfinished: series.unfinished() };
    let released = series.count(selection).released;
    let enough = Count { jobs: jobs.finished.len() as u64, ..series.count(selection) };
    if jobs.len() < LEAST_JOBS || !enough.is_enough() {
        let which = match selection {
            Selection::All => "",
            Selection::Undisturbed => " that no stall disturbed",
        };
        return Err(format!(
            "`{}` has only {} of {task}{which}, of {released} released; the rule needs half of \
             them, and {LEAST_JOBS}",
            case.name(),
            count(jobs.len(), "job")
        ));
    }
    Ok(jobs)
}

/// A time that may be that of a job which never finished.
pub(super) fn time(ns: f64) -> String {
    if ns.is_finite() { short(ns) } else { "never (unfinished)".to_owned() }
}

/// Named numbers, without those that are infinite.
pub(super) fn values<const N: usize>(all: [(&'static str, f64); N]) -> Values {
    all.into_iter().filter(|(_, value)| value.is_finite()).collect()
}

/// The analytic worst case of the task, in nanoseconds.
pub(super) fn bound(case: &Case, task: &str) -> Result<f64, String> {
    case.bound_ns(task)
        .map(|ns| ns as f64)
        .ok_or_else(|| format!("the analysis promises {task} no bound in `{}`", case.name()))
}
