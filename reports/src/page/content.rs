//! What stands on the page, as tables and sentences.

use model::{
    duration,
    stats::Summary,
    suite::{Emulator, EmulatorPlace, Experiment, Place},
};

use crate::{
    claims::Claim,
    compare::Pair,
    folder::{Case, Results},
    grid::{Format, Grid},
    joined, mechanisms,
    series::Selection,
    supply, sweep, table, table1,
    units::{UNKNOWN, count, ms, percent, short, signed_percent},
};

/// The page's parts, in the order in which they stand there.
pub struct Content<'a> {
    /// The suite's name and when it ran.
    pub title: String,
    /// Which protocol this is, and what a reader must know before the numbers.
    pub lead: Vec<String>,
    /// The scorecard's heading.
    pub scorecard: &'static str,
    /// The scorecard.
    pub claims: &'a [Claim],
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
    /// Asked against measured execution times; no row where they say nothing.
    pub execution: Grid,
    /// What the VM was supplied with; no row where nothing was traced.
    pub supplied: Grid,
    /// What its threads used, and on whose budget.
    pub threads: Grid,
    /// Attempts, failures and stalls.
    pub noise: Grid,
    /// Machine, programs, settings.
    pub provenance: Grid,
    /// Warnings of the run and things that are missing.
    pub warnings: Vec<String>,
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
            claims,
            sweeps: sweeps(results),
            joined: joined::grid(results, pairs),
            mechanisms: ranked(results),
            statistics: statistics(results),
            protocol: protocol(results),
            execution: execution(results),
            supplied: supply::table::supplied(results),
            threads: supply::table::threads(results),
            noise: noise(results),
            provenance: provenance(results),
            warnings: warnings(results),
        }
    }
}

fn lead(results: &Results) -> Vec<String> {
    let manifest = &results.manifest;
    let mut lead = Vec::new();
    if !manifest.suite.description.is_empty() {
        lead.push(manifest.suite.description.clone());
    }
    if let Some(facts) = &manifest.accelerator {
        lead.push(match facts.name.as_str() {
            rtplan::sim::suite::ACCELERATOR => format!(
                "Nothing here was measured: these results were {}. Where the text says measured, \
                 read simulated.",
                facts.reason
            ),
            "tcg" => format!("Guests were emulated (TCG), not virtualised: {}.", facts.reason),
            name => format!("Guests ran under {}: {}.", name.to_uppercase(), facts.reason),
        });
    }
    lead.extend(results.unreal_speed().map(str::to_owned));
    if manifest.finished_utc.is_none() {
        lead.push("The run is not finished: this is what there is so far.".to_owned());
    }
    lead.extend(table::attempts_note(results));
    lead
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
    // An error says that the suite has none of its experiments.
    if let Ok(grid) = table1::grid(results, &[], true, Format::Text) {
        grids.push(("Table 1", grid));
    }
    grids
}

fn grid(header: &[&str], texts: usize, rows: Vec<Vec<String>>) -> Grid {
    let header = header.iter().map(|title| (*title).to_owned()).collect();
    Grid { header, rows, texts, notes: Vec::new() }
}

fn protocol(results: &Results) -> Grid {
    let row = |case: &Case| {
        let experiment = &case.experiment;
        vec![
            experiment.name.clone(),
            match experiment.place {
                Place::Host => "host",
                Place::Guest => "guest",
            }
            .to_owned(),
            workload(experiment),
            load(experiment),
            reservation(experiment),
            emulator(experiment),
            experiment.repetitions.to_string(),
            match &experiment.web {
                Some(web) => count(web.total() as usize, "request"),
                None => duration::format(experiment.duration),
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
    grid(&header, 6, results.cases.iter().map(row).collect())
}

fn workload(experiment: &Experiment) -> String {
    match &experiment.web {
        Some(web) => format!("{} clients; {}", web.clients, web.query),
        None => tasks(&experiment.tasks),
    }
}

fn tasks(tasks: &model::TaskSet) -> String {
    if tasks.is_empty() {
        return UNKNOWN.to_owned();
    }
    tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn load(experiment: &Experiment) -> String {
    experiment.load.as_ref().map_or_else(
        || "none".to_owned(),
        |load| format!("{} (backlog: {})", tasks(&load.tasks), load.backlog.name()),
    )
}

fn reservation(experiment: &Experiment) -> String {
    experiment.reservation.as_ref().map_or_else(
        || "none".to_owned(),
        |own| format!("{} by {}", own.reservation(), own.mechanism),
    )
}

fn emulator(experiment: &Experiment) -> String {
    match (experiment.place, experiment.emulator) {
        (Place::Host, _) => UNKNOWN.to_owned(),
        (_, Emulator::Place(EmulatorPlace::Housekeeping)) => "housekeeping CPUs".to_owned(),
        (_, Emulator::Place(EmulatorPlace::Shared)) => "measured CPU".to_owned(),
        (_, Emulator::Reserved(own)) => format!(
            "measured CPU, {}/{}",
            duration::format(own.budget),
            duration::format(own.period)
        ),
    }
}

/// CPU times of the undisturbed jobs, where nothing but the tasks had the CPU: elsewhere a guest
/// counts the time that was taken from it as its own.
fn execution(results: &Results) -> Grid {
    let mut rows = Vec::new();
    for case in &results.cases {
        let experiment = &case.experiment;
        if experiment.load.is_some() || experiment.reservation.is_some() {
            continue;
        }
        let tasks = experiment.tasks.iter().enumerate();
        rows.extend(tasks.filter_map(|(at, task)| {
            let series = case.task(&model::TaskSet::name(at))?;
            let asked = task.execution().as_nanos() as f64;
            let selected = series.selected(Selection::Undisturbed);
            let mut cpu: Vec<u64> = selected.filter_map(|job| job.cpu_ns).collect();
            let summary = Summary::of(&mut cpu)?;
            let error = |ns: u64| signed_percent(ns as f64 / asked - 1.0);
            let mut row = vec![case.name().to_owned(), series.task.clone(), ms(asked)];
            row.extend([summary.min, summary.p50, summary.p99].map(|ns| ms(ns as f64)));
            row.extend([error(summary.p50), error(summary.p99)]);
            Some(row)
        }));
    }
    let header = ["experiment", "task", "asked ms", "min", "p50", "p99", "p50 off", "p99 off"];
    grid(&header, 2, rows)
}

fn noise(results: &Results) -> Grid {
    let row = |case: &Case| {
        let shares: Vec<String> = case
            .counted
            .iter()
            .map(|record| record.stalled_share.map_or_else(|| UNKNOWN.to_owned(), percent))
            .collect();
        vec![
            case.name().to_owned(),
            case.attempts.to_string(),
            case.failed.to_string(),
            case.noisy.to_string(),
            case.counted.len().to_string(),
            if shares.is_empty() { "not measured".to_owned() } else { shares.join(", ") },
        ]
    };
    let header =
        ["experiment", "attempts", "failed", "noisy", "counted", "stalled, of the counted"];
    let mut noise = grid(&header, 1, results.cases.iter().map(row).collect());
    let settings = &results.manifest.suite.noise;
    noise.notes.push(format!(
        "A repetition is noisy where the measured CPU ran nobody for more than {} of the time; it \
         is tried again up to {}, and the quietest attempt counts.",
        percent(settings.max_stalled),
        count(settings.retries as usize, "time")
    ));
    noise
}

fn provenance(results: &Results) -> Grid {
    let (manifest, host) = (&results.manifest, &results.manifest.host);
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let guests = manifest.accelerator.is_some();
    let mut rows = vec![
        ("processor", known(host.cpu_model.clone())),
        ("CPUs online", host.cpus.to_string()),
        ("measured CPU", host.measured_cpu.to_string()),
        (
            "memory",
            known(host.memory_bytes.map(|b| format!("{:.1} GiB", b as f64 / f64::from(1 << 30)))),
        ),
        ("hypervisor below", host.hypervisor.clone().unwrap_or_else(|| "none seen".to_owned())),
        ("system", known(host.os.clone())),
        ("kernel", host.kernel.clone()),
        ("tick", known(host.tick_hz.map(|hz| format!("{hz} Hz")))),
        ("budgets enforced finer than a tick (HRTICK_DL)", known(host.hrtick_dl.map(yes_no))),
        ("clock source", known(host.clock_source.clone())),
        ("real-time throttling", throttling(results)),
        ("cpuset controller", known(host.cpuset_version.map(|v| format!("cgroup v{v}")))),
        ("measured CPU kept awake", awake(results)),
        ("this project", manifest.versions.bench.clone()),
    ];
    if guests {
        rows.push(("QEMU", known(manifest.versions.qemu.clone())));
        rows.push(("guest kernel", known(manifest.versions.guest_kernel.clone())));
    }
    rows.push(("seed", manifest.seed.to_string()));
    rows.push(("started", manifest.started_utc.clone()));
    let finished = manifest.finished_utc.clone();
    rows.push(("finished", finished.unwrap_or_else(|| "not yet".to_owned())));
    let cells = rows.into_iter().map(|(what, value)| vec![what.to_owned(), value]).collect();
    grid(&["", ""], 2, cells)
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn throttling(results: &Results) -> String {
    let host = &results.manifest.host;
    match (host.rt_runtime_us, host.rt_period_us) {
        (Some(runtime), _) if runtime < 0 => "off".to_owned(),
        (Some(runtime), Some(period)) => format!("{runtime} of {period} µs"),
        _ => "unknown".to_owned(),
    }
}

fn awake(results: &Results) -> String {
    let keep = &results.manifest.keep_awake;
    let cost = keep.idle_cost.map_or_else(
        || "what leaving idle costs was not measured".to_owned(),
        |cost| match cost {
            cost if cost <= 0.0 => "leaving idle costs nothing here".to_owned(),
            cost => format!("leaving idle costs {}", percent(cost)),
        },
    );
    format!("{} ({}; {cost})", yes_no(keep.on), keep.reason)
}

fn warnings(results: &Results) -> Vec<String> {
    let mut warnings = results.gaps.clone();
    let impossible = &results.manifest.impossible;
    warnings.extend(
        impossible
            .iter()
            .map(|own| format!("{} is not possible on this host: {}", own.experiment, own.reason)),
    );
    for record in &results.manifest.repetitions {
        let place = format!("{}/rep-{:03}", record.experiment, record.attempt);
        if let Some(error) = &record.error {
            warnings.push(format!("{place} failed: {error}"));
        }
        if record.counts && record.noisy {
            let share = record.stalled_share.map_or_else(|| "an unknown share".to_owned(), percent);
            warnings.push(format!("{place} counts although it is noisy: {share} of it stalled"));
        }
        warnings.extend(record.facts.warnings.iter().map(|warning| format!("{place}: {warning}")));
    }
    let boots: Vec<u64> =
        results.manifest.repetitions.iter().filter_map(|record| record.facts.boot_ns).collect();
    if let Some(slowest) = boots.iter().max() {
        let limit = 3_000_000_000;
        if *slowest > limit {
            warnings.push(format!("the slowest guest took {} to start", short(*slowest as f64)));
        }
    }
    warnings
}
