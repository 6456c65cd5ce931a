//! What stands on the page, as tables and sentences.

use super::{
    absent::{self, Absent},
    brief::{Brief, brief},
    circumstances, headline, protocol, warnings,
};
use crate::{
    claims::Claim,
    clock,
    compare::Pair,
    folder::Results,
    grid::{Format, Grid},
    joined, mechanisms, network,
    series::Selection,
    supply, sweep, table, table1,
    units::count,
};

/// The page's parts, in the order in which they stand there.
pub struct Content<'a> {
    /// The suite's name and when it ran.
    pub title: String,
    /// What was run, on what, and what a reader must know before the numbers.
    pub lead: Vec<String>,
    /// What a reader takes away, computed from the results.
    pub headline: Vec<String>,
    /// The scorecard's heading.
    pub scorecard: &'static str,
    /// The scorecard.
    pub claims: &'a [Claim],
    /// Experiments without a result, and why.
    pub absent: Vec<Absent>,
    /// Table 1 beside the paper's; none where the suite has none of its experiments, or nothing of
    /// them was measured.
    pub table1: Option<Grid>,
    /// Each sweep: the experiment that was varied, and a row for each budget and task.
    pub sweeps: Vec<(String, Grid)>,
    /// Measured, simulated and analytic response times; no row where nothing was joined.
    pub joined: Grid,
    /// Each set of experiments that differ in nothing but the mechanism, ranked.
    pub mechanisms: Vec<(String, Grid)>,
    /// Statistics of all jobs, and of the undisturbed ones where some were disturbed.
    pub statistics: Vec<(&'static str, Grid)>,
    /// The experiments as run.
    pub protocol: Grid,
    /// The command that runs them again.
    pub command: Option<String>,
    /// Asked against measured execution times; no row where they say nothing.
    pub execution: Grid,
    /// What the VM was supplied with; no row where nothing was traced.
    pub supplied: Grid,
    /// What its threads used, and on whose budget.
    pub threads: Grid,
    /// What requests to web services in VMs took of the CPU, and who pays; no row where nothing was
    /// traced.
    pub network: Grid,
    /// What probes of the clock saw: gaps, and timers; empty where there was none.
    pub clocks: Vec<(String, Grid)>,
    /// Attempts, failures and stalls.
    pub noise: Grid,
    /// Machine, programs, settings.
    pub provenance: Grid,
    /// Warnings of the run and things that are missing.
    pub warnings: Vec<Brief>,
}

impl<'a> Content<'a> {
    /// Gathers it.
    #[must_use]
    pub fn of(results: &Results, claims: &'a [Claim], pairs: &[Pair]) -> Self {
        let manifest = &results.manifest;
        Self {
            title: format!(
                "{}, {}{}",
                manifest.suite.name,
                manifest.started_utc,
                if results.simulated() { ", simulated" } else { "" }
            ),
            scorecard: if results.simulated() {
                "What the paper says, and what the simulation says"
            } else {
                "What the paper says, and what was measured here"
            },
            lead: lead(results),
            headline: headline::sentences(results),
            absent: absent::absent(results),
            table1: table1::grid(results, &[], true, Format::Text).ok(),
            claims,
            sweeps: sweeps(results),
            joined: joined::grid(results, pairs),
            mechanisms: ranked(results),
            statistics: statistics(results),
            protocol: protocol::protocol(results),
            command: protocol::command(results),
            execution: circumstances::execution(results),
            supplied: supply::table::supplied(results),
            threads: supply::table::threads(results),
            network: network::table::grid(results, &network::all(results)),
            clocks: clocks(results),
            noise: circumstances::noise(results),
            provenance: circumstances::provenance(results),
            warnings: warnings::warnings(results),
        }
    }
}

fn clocks(results: &Results) -> Vec<(String, Grid)> {
    let seen = clock::all(results);
    if seen.is_empty() {
        return Vec::new();
    }
    vec![
        ("Gaps between reads of the clock".to_owned(), clock::table::gaps(&seen)),
        ("Timers, steal time, drift".to_owned(), clock::table::timers(&seen)),
    ]
}

fn lead(results: &Results) -> Vec<String> {
    let manifest = &results.manifest;
    let mut lead = Vec::new();
    if !manifest.suite.description.is_empty() {
        lead.push(manifest.suite.description.clone());
    }
    lead.push(place(results));
    if let Some(facts) = &manifest.accelerator {
        let why = brief(&facts.reason).sentence;
        lead.push(match facts.name.as_str() {
            rtplan::sim::ACCELERATOR => format!(
                "Nothing here was measured: these results were {why}. Where the text says \
                 measured, read simulated."
            ),
            "tcg" => format!("Guests were emulated (TCG), not virtualised: {why}."),
            name => format!("Guests ran under {}: {why}.", name.to_uppercase()),
        });
    }
    lead.extend(results.unreal_speed().map(str::to_owned));
    if manifest.finished_utc.is_none() {
        lead.push("The run is not finished: this is what there is so far.".to_owned());
    }
    lead.extend(circumstances::shared(&results.manifest.host));
    lead.extend(table::attempts_note(results));
    lead
}

/// What was run, on what, and when, in a sentence.
fn place(results: &Results) -> String {
    let (manifest, host) = (&results.manifest, &results.manifest.host);
    let cpu = host.cpu_model.as_deref().unwrap_or("an unknown processor");
    let finished = manifest.finished_utc.as_deref();
    let until = finished.map_or_else(String::new, |end| format!(" until {end}"));
    let experiments = count(results.cases.len(), "experiment");
    if results.simulated() {
        return format!("{experiments}, simulated on {}.", manifest.started_utc);
    }
    let plural = if host.measured().len() > 1 { "s" } else { "" };
    format!(
        "{experiments} on CPU{plural} {} of {} ({cpu}), Linux {}, from {}{until}.",
        circumstances::listed(host),
        count(host.cpus as usize, "CPU"),
        host.kernel,
        manifest.started_utc
    )
}

fn sweeps(results: &Results) -> Vec<(String, Grid)> {
    results.sweeps.iter().map(|one| (one.experiment.clone(), sweep::grid(one))).collect()
}

fn ranked(results: &Results) -> Vec<(String, Grid)> {
    let groups = mechanisms::groups(results);
    let one = |own| (mechanisms::table::title(own), mechanisms::table::grid(own));
    groups.iter().map(one).collect()
}

fn statistics(results: &Results) -> Vec<(&'static str, Grid)> {
    let grid = |selection| table::grid(results, selection, Format::Text);
    let mut grids = vec![("All jobs", grid(Selection::All))];
    let disturbed =
        results.cases.iter().flat_map(|case| &case.series).filter_map(|one| one.disturbed());
    if disturbed.sum::<usize>() > 0 {
        grids.push(("Jobs that no stall disturbed", grid(Selection::Undisturbed)));
    }
    grids
}
