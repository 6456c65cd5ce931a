//! What was not measured, and why: so that a missing experiment has its place on the page.

use model::manifest::{RepetitionRecord, Status};

use super::brief::{Brief, brief};
use crate::{folder::Results, units::count};

/// The paper's figures and the experiments behind each.
const FIGURES: [(&str, &[&str]); 4] = [
    ("Figure 1", &["fig1"]),
    ("Figure 2", &["fig2"]),
    ("Figure 3", &["fig3"]),
    ("Figure 4", &["fig4-unloaded", "fig4-loaded"]),
];

/// An experiment without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// What would stand in its place: `Figure 2`, or the experiment's name.
    pub place: String,
    /// The experiment.
    pub experiment: String,
    /// Why it is not there.
    pub reason: Brief,
}

/// In the order of the page: those behind figures 1 to 4, where the suite has one of them, then the
/// other experiments of the suite.
#[must_use]
pub fn absent(results: &Results) -> Vec<Absent> {
    let suite = &results.manifest.suite;
    let in_suite = |name: &str| suite.experiments.iter().any(|own| own.name == name);
    let of_paper = || FIGURES.iter().flat_map(|(_, names)| names.iter().copied());
    let mut found = Vec::new();
    if of_paper().any(in_suite) {
        for (place, names) in FIGURES {
            let missing = names.iter().filter(|name| results.measured(name).is_none());
            found.extend(missing.map(|name| entry(results, place, name)));
        }
    }
    let rest = results.cases.iter().filter(|case| !case.is_measured());
    let has_samples = |name: &str| {
        let own = results.cases.iter().find(|case| case.name() == name);
        own.is_some_and(|case| case.workload().measures())
    };
    let rest = rest.map(|case| case.name()).filter(|name| has_samples(name));
    found.extend(
        rest.filter(|name| of_paper().all(|own| own != *name))
            .map(|name| entry(results, name, name)),
    );
    found
}

fn entry(results: &Results, place: &str, experiment: &str) -> Absent {
    let (place, reason) = (place.to_owned(), reason(results, experiment));
    Absent { place, experiment: experiment.to_owned(), reason }
}

fn reason(results: &Results, name: &str) -> Brief {
    let manifest = &results.manifest;
    // The experiment of a service of several.
    let name = name.split('.').next().unwrap_or(name);
    if manifest.suite.experiments.iter().all(|own| own.name != name) {
        return Brief::from("The suite that was run does not have this experiment.");
    }
    if let Some(own) = manifest.impossible.iter().find(|own| own.experiment == name) {
        return brief(&format!("This host cannot run it: {}", own.reason));
    }
    let attempts: Vec<&RepetitionRecord> =
        manifest.repetitions.iter().filter(|own| own.experiment == name).collect();
    let failed = attempts.iter().filter(|own| own.status == Status::Failed).count();
    if let Some(last) = attempts.iter().rev().find_map(|own| own.error.as_deref()) {
        return brief(&format!("{} failed: {last}", count(failed, "attempt")));
    }
    if let Some(gap) = results.gaps.iter().find(|gap| gap.starts_with(&format!("{name}/"))) {
        return brief(gap);
    }
    Brief::from(match (attempts.is_empty(), manifest.finished_utc.is_none()) {
        (true, true) => "It was not run yet: the run is not finished.",
        (true, false) => "It was never run.",
        (false, _) => "No attempt at it counts.",
    })
}
