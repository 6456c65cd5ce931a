//! What was run, and the command that runs it again.

use model::{
    duration,
    suite::{self, Emulator, EmulatorPlace, Workload},
};

use crate::{
    folder::{Case, Results},
    grid::Grid,
    units::{UNKNOWN, count},
};

/// A row for each experiment.
#[must_use]
pub fn protocol(results: &Results) -> Grid {
    let row = |case: &Case| {
        let own = case.workload();
        let requests = own.web().and_then(suite::Web::total);
        vec![
            case.name().to_owned(),
            if own.vm.is_some() { "guest" } else { "host" }.to_owned(),
            workload(own),
            load(own),
            reservation(own),
            emulator(own),
            case.experiment.repetitions.to_string(),
            match requests {
                Some(requests) => count(requests as usize, "request"),
                None => duration::format(case.experiment.duration),
            },
        ]
    };
    let header = [
        "experiment",
        "where",
        "workload",
        "host load",
        "reservation",
        "emulator",
        "times",
        "each",
    ];
    Grid::plain(&header, 6, results.cases.iter().map(row).collect())
}

fn workload(own: Workload) -> String {
    match own.web() {
        Some(web) => format!("{} clients; {}", web.clients, web.server.asked()),
        None => match own.service.and_then(suite::Service::wild) {
            Some(wild) => format!("goes wild ({})", wild.name()),
            None => tasks(own.tasks()),
        },
    }
}

fn tasks(tasks: &model::TaskSet) -> String {
    if tasks.is_empty() {
        return UNKNOWN.to_owned();
    }
    tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn load(own: Workload) -> String {
    own.load().map_or_else(
        || "none".to_owned(),
        |load| format!("{} (backlog: {})", tasks(&load.tasks), load.backlog.name()),
    )
}

fn reservation(own: Workload) -> String {
    own.reservation()
        .map_or_else(|| "none".to_owned(), |own| format!("{} by {}", own.text(), own.mechanism))
}

fn emulator(own: Workload) -> String {
    match (own.vm, own.emulator()) {
        (None, _) => UNKNOWN.to_owned(),
        // It runs already, and its other threads are not placed.
        (Some(vm), _) if vm.found.is_some() => "as it was".to_owned(),
        (_, Emulator::Place(EmulatorPlace::Housekeeping)) => "housekeeping CPUs".to_owned(),
        (_, Emulator::Place(EmulatorPlace::Shared)) => "measured CPU".to_owned(),
        (_, Emulator::Reserved(own)) => format!(
            "measured CPU, {}/{}",
            duration::format(own.budget),
            duration::format(own.period)
        ),
    }
}

/// The command that runs the same again, where the folder has its suite.
#[must_use]
pub fn command(results: &Results) -> Option<String> {
    let file = results.path.join("suite.toml");
    let text = std::fs::read_to_string(&file).ok()?;
    let folder = results.path.canonicalize().ok()?;
    let place = format!("{}/suite.toml", folder.file_name()?.to_string_lossy());
    if results.simulated() {
        return Some(format!("rtplan simulate --suite {place} --seed {}", results.manifest.seed));
    }
    let whole = suite::parse(&text, "suite.toml").ok()?;
    let run = &results.manifest.suite.experiments;
    let left_out = whole.experiments.iter().any(|own| run.iter().all(|one| one.name != own.name));
    let names: Vec<&str> = run.iter().map(|own| own.name.as_str()).collect();
    let only = if left_out { format!(" --only {}", names.join(",")) } else { String::new() };
    Some(format!("orchestrator run {place}{only}"))
}
