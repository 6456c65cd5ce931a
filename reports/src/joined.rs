//! Measurement, simulation and analysis of one suite side by side.

use model::{stats::Summary, suite::Workload};

use crate::{
    compare::{self, Pair},
    error::ReportError,
    folder::{Case, Results},
    grid::Grid,
    units::{self, UNKNOWN, ms_or_unknown},
};

impl Results {
    /// Shows `simulation` beside these results.
    ///
    /// # Errors
    /// [`ReportError::Nothing`] where these results were not measured, where the others were, or
    /// where both do not tell of the same experiments.
    pub fn join(&mut self, simulation: Self) -> Result<(), ReportError> {
        let refuse = |why: String| {
            Err(ReportError::Nothing(format!("--simulated {}: {why}", simulation.path.display())))
        };
        if self.simulated() {
            return refuse(format!(
                "{} was simulated itself; `reports compare` shows two of any kind",
                self.path.display()
            ));
        }
        if !simulation.simulated() {
            return refuse(
                "these results were not simulated; give a folder that `rtplan simulate --suite` \
                 wrote"
                    .to_owned(),
            );
        }
        let mut shared = 0;
        for case in &simulation.cases {
            let Some(own) = self.cases.iter().find(|own| own.name() == case.name()) else {
                continue;
            };
            if let Some(what) = difference(own.workload(), case.workload()) {
                return refuse(format!(
                    "experiment `{}` has other {what} than the measured one; simulate the suite \
                     that was measured",
                    case.name()
                ));
            }
            shared += 1;
        }
        if shared == 0 {
            return refuse(format!("it has no experiment in common with {}", self.path.display()));
        }
        self.simulation = Some(Box::new(simulation));
        Ok(())
    }

    /// The same experiment in the joined simulation.
    #[must_use]
    pub fn simulation_of(&self, case: &Case) -> Option<&Case> {
        self.simulation.as_ref()?.measured(case.name())
    }
}

/// What makes two experiments of one name different ones; how long and how often they ran does not.
fn difference(measured: Workload, simulated: Workload) -> Option<&'static str> {
    let same_reservation = match (measured.reservation(), simulated.reservation()) {
        (Some(a), Some(b)) => a.text() == b.text() && a.mechanism == b.mechanism,
        (a, b) => a.is_none() && b.is_none(),
    };
    [
        ("tasks", measured.tasks() == simulated.tasks()),
        ("surge", measured.experiment.surge == simulated.experiment.surge),
        ("load", measured.load() == simulated.load()),
        ("reservation", same_reservation),
        ("place (`where`)", measured.place() == simulated.place()),
    ]
    .into_iter()
    .find_map(|(what, same)| (!same).then_some(what))
}

/// Measured against simulated, for each task of each experiment that both have: the samples by
/// which the case is judged ([`Case::judged`]), on both sides.
#[must_use]
pub fn pairs(results: &Results) -> Vec<Pair> {
    let both = |case| Some((case, results.simulation_of(case)?));
    let tasks = |(case, other): (_, _)| pairs_of(case, other);
    let mut pairs: Vec<Pair> = results.cases.iter().filter_map(both).flat_map(tasks).collect();
    compare::tell_apart(&mut pairs);
    pairs
}

fn pairs_of(case: &Case, other: &Case) -> Vec<Pair> {
    let of = |own: &crate::series::Series| {
        compare::pair((case, own), (other, other.task(&own.task)?), case.judged())
    };
    case.series.iter().filter_map(of).collect()
}

/// The page's table, in milliseconds.
#[must_use]
pub fn grid(results: &Results, pairs: &[Pair]) -> Grid {
    let header = [
        "experiment",
        "task",
        "p50 measured",
        "simulated",
        "p99 measured",
        "simulated",
        "p99.9 measured",
        "simulated",
        "p99.99 measured",
        "simulated",
        "analytic",
        "KS",
        "90 %",
        "distance",
        "at most",
    ];
    let notes =
        ["Response times in milliseconds, of the jobs that no stall disturbed; of all jobs where \
         the analysis promises no bound. KS: largest gap between the measured and the simulated \
         CDF, 0 to 1, with its 90 % confidence interval (bootstrap over runs). Distance: \
         Wasserstein-1 between them, at most: its upper 95 % bound."];
    Grid {
        header: header.map(str::to_owned).into(),
        rows: pairs.iter().map(|pair| cells(results, pair)).collect(),
        texts: 2,
        notes: notes.map(str::to_owned).into(),
    }
}

fn cells(results: &Results, pair: &Pair) -> Vec<String> {
    let case = results.measured(&pair.experiment);
    let bound = case.and_then(|case| case.bound_ns(&pair.task));
    let of = |side: &Option<Summary>, pick: fn(&Summary) -> u64| {
        ms_or_unknown(side.as_ref().map(|own| pick(own) as f64))
    };
    vec![
        pair.experiment.clone(),
        pair.task.clone(),
        of(&pair.first, |own| own.p50),
        of(&pair.second, |own| own.p50),
        of(&pair.first, |own| own.p99),
        of(&pair.second, |own| own.p99),
        of(&pair.first, |own| own.p999),
        of(&pair.second, |own| own.p999),
        of(&pair.first, |own| own.p9999),
        of(&pair.second, |own| own.p9999),
        ms_or_unknown(bound.map(|ns| ns as f64)),
        pair.ks.map_or_else(|| UNKNOWN.to_owned(), |ks| format!("{:.2}", ks.distance)),
        pair.ks_interval.map_or_else(|| UNKNOWN.to_owned(), units::range),
        ms_or_unknown(pair.wasserstein),
        ms_or_unknown(pair.wasserstein_interval.map(|own| own.high)),
    ]
}
