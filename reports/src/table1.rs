//! `reports table --like table1`: a column for each experiment, as in the paper's Table 1.

use std::collections::HashSet;

use model::stats::Summary;

use crate::{
    error::ReportError,
    folder::{Case, Results},
    grid::{Format, Grid},
    series::{Selection, Series},
    stats::interval::MeanInterval,
    table,
    units::{UNKNOWN, count, percent, short, signed_percent},
};

/// The experiments behind the paper's four columns, in its order.
pub const EXPERIMENTS: [&str; 4] = [HOST, GUEST, LOADED, RESERVED];
pub(crate) const HOST: &str = "table1-host";
pub(crate) const GUEST: &str = "table1-guest";
pub(crate) const LOADED: &str = "table1-guest-loaded";
pub(crate) const RESERVED: &str = "table1-guest-reserved";

/// A column: statistics of one series, ours or the paper's, in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The experiment, with the task where it has several.
    pub title: String,
    experiment: String,
    paper: bool,
    min: f64,
    avg: f64,
    max: f64,
    stddev: Option<f64>,
    /// Half the 90 % confidence interval, as a share of the average.
    ci: Option<f64>,
}

/// The table of the chosen experiments (all of [`EXPERIMENTS`] where none is named), in seconds
/// for people and in nanoseconds in CSV, with the paper's columns beside where asked.
///
/// # Errors
/// A name that the suite does not have, or nothing measured among the chosen.
pub fn grid(
    results: &Results,
    only: &[String],
    paper: bool,
    format: Format,
) -> Result<Grid, ReportError> {
    let cases = chosen(results, only)?;
    let mut columns = Vec::new();
    for case in &cases {
        columns.extend(case.series.iter().filter_map(|series| measured(case, series)));
        if paper {
            columns.extend(of_the_paper(case.name()));
        }
    }
    if columns.iter().all(|column| column.paper) {
        let names: Vec<&str> = cases.iter().map(|case| case.name()).collect();
        return Err(ReportError::Nothing(format!(
            "{}: nothing was measured in {}",
            results.path.display(),
            names.join(", ")
        )));
    }
    let write = if format == Format::Csv { Writing::MACHINE } else { Writing::HUMAN };
    let mut header = vec![write.corner.to_owned()];
    header.extend(columns.iter().map(|column| match (format, column.paper) {
        // Programs look columns up by name, so that there must not be two of the same.
        (Format::Csv, true) => format!("{}-paper", column.experiment),
        _ => column.title.clone(),
    }));
    Ok(Grid {
        header,
        rows: write.rows(&columns),
        texts: 1,
        notes: notes(results, &cases, &columns),
    })
}

fn chosen<'a>(results: &'a Results, only: &[String]) -> Result<Vec<&'a Case>, ReportError> {
    let find = |name: &str| results.cases.iter().find(|case| case.name() == name);
    if !only.is_empty() {
        let unknown = |name: &String| {
            let names: Vec<&str> = results.cases.iter().map(Case::name).collect();
            ReportError::Nothing(format!(
                "--only: the suite has no experiment `{name}`; it has {}",
                names.join(", ")
            ))
        };
        return only.iter().map(|name| find(name).ok_or_else(|| unknown(name))).collect();
    }
    let own: Vec<&Case> = EXPERIMENTS.iter().filter_map(|name| find(name)).collect();
    if own.is_empty() {
        return Err(ReportError::Nothing(format!(
            "the suite has none of {}; name the columns with --only",
            EXPERIMENTS.join(", ")
        )));
    }
    Ok(own)
}

fn measured(case: &Case, series: &Series) -> Option<Column> {
    let summary = Summary::of_sorted(series.sorted(Selection::All))?;
    let interval = interval_of(series);
    let alone = case.series.len() == 1;
    Some(Column {
        title: if alone {
            case.name().to_owned()
        } else {
            format!("{} {}", case.name(), series.task)
        },
        experiment: case.name().to_owned(),
        paper: false,
        min: summary.min as f64,
        avg: summary.mean,
        max: summary.max as f64,
        stddev: summary.stddev,
        ci: interval.map(|interval| interval.half / interval.mean),
    })
}

fn interval_of(series: &Series) -> Option<MeanInterval> {
    table::interval_of(series, Selection::All)
}

/// The paper's column for one of [`EXPERIMENTS`] (Table 1).
fn of_the_paper(experiment: &str) -> Option<Column> {
    let [min, avg, max, stddev, ci] = match experiment {
        HOST => [0.22, 1.14, 7.91, 1.26, 0.002],
        GUEST => [0.26, 1.22, 8.42, 1.07, 0.013],
        LOADED => [1.153, 11.367, 89.880, 15.449, 0.004],
        RESERVED => [0.790, 2.044, 10.832, 1.275, 0.009],
        _ => return None,
    };
    Some(Column {
        title: "paper".to_owned(),
        experiment: experiment.to_owned(),
        paper: true,
        min: min * 1e9,
        avg: avg * 1e9,
        max: max * 1e9,
        stddev: Some(stddev * 1e9),
        ci: Some(ci),
    })
}

/// How cells are written: for people or for programs.
struct Writing {
    corner: &'static str,
    labels: [&'static str; 8],
    time: fn(f64) -> String,
    share: fn(f64) -> String,
    change: fn(f64) -> String,
    times: fn(f64) -> String,
}

impl Writing {
    const HUMAN: Self = Self {
        corner: "seconds",
        labels: [
            "min",
            "avg",
            "max",
            "std. dev.",
            "90 % conf. int., of avg",
            "overhead of the guest, avg",
            "overhead of the guest, max",
            "slow-down against the guest, avg",
        ],
        time: |ns| format!("{:.3}", ns / 1e9),
        share: percent,
        change: signed_percent,
        times: |times| format!("{times:.2}×"),
    };
    const MACHINE: Self = Self {
        corner: "statistic",
        labels: [
            "min_ns",
            "avg_ns",
            "max_ns",
            "stddev_ns",
            "ci90_share",
            "overhead_avg_share",
            "overhead_max_share",
            "slow_down_avg",
        ],
        time: |ns| format!("{ns:.0}"),
        share: |share| format!("{share:.6}"),
        change: |share| format!("{share:.6}"),
        times: |times| format!("{times:.6}"),
    };

    fn rows(&self, columns: &[Column]) -> Vec<Vec<String>> {
        // The column of the same source (ours, or the paper's) that a derived figure refers to.
        let other = |column: &Column, name: &str| {
            columns.iter().find(|other| other.paper == column.paper && other.experiment == name)
        };
        let overhead = |column: &Column, of: fn(&Column) -> f64| {
            let host = other(column, HOST).filter(|_| column.experiment == GUEST)?;
            Some((self.change)(of(column) / of(host) - 1.0))
        };
        let slow_down = |column: &Column| {
            let derived = [LOADED, RESERVED].contains(&column.experiment.as_str());
            let guest = other(column, GUEST).filter(|_| derived)?;
            Some((self.times)(column.avg / guest.avg))
        };
        let cell = |row: usize, column: &Column| match row {
            0 => Some((self.time)(column.min)),
            1 => Some((self.time)(column.avg)),
            2 => Some((self.time)(column.max)),
            3 => column.stddev.map(self.time),
            4 => column.ci.map(self.share),
            5 => overhead(column, |column| column.avg),
            6 => overhead(column, |column| column.max),
            _ => slow_down(column),
        };
        let row = |(at, label): (usize, &&str)| {
            let cells = columns.iter().map(|column| cell(at, column));
            let mut row = vec![(*label).to_owned()];
            row.extend(cells.map(|cell| cell.unwrap_or_else(|| UNKNOWN.to_owned())));
            row
        };
        let rows = self.labels.iter().enumerate().map(row);
        // Derived figures only where one of them can be derived.
        rows.filter(|row| row[1..].iter().any(|cell| cell != UNKNOWN)).collect()
    }
}

fn notes(results: &Results, cases: &[&Case], columns: &[Column]) -> Vec<String> {
    let manifest = &results.manifest;
    let mut notes = vec![format!("Suite {}: {}", manifest.suite.name, protocol(results, cases))];
    notes.extend(services(cases));
    notes.extend(connections(cases));
    for case in cases {
        for series in case.series.iter().filter(|series| series.failures > 0) {
            notes.push(format!(
                "{}: {} failed, outside all statistics.",
                case.name(),
                count(series.failures as usize, "request")
            ));
        }
        if !case.is_measured() {
            notes.push(format!("{} was not measured.", case.name()));
        }
    }
    let intervals: Vec<MeanInterval> =
        cases.iter().flat_map(|case| &case.series).filter_map(interval_of).collect();
    let rows = cases.iter().flat_map(|case| &case.series).filter(|own| !own.is_empty()).count();
    notes.extend(table::interval_note(&intervals, rows));
    let guest = columns.iter().any(|column| !column.paper && column.experiment != HOST);
    if guest && results.accelerator() == Some("tcg") {
        notes.push(
            "Guests were emulated (TCG): their overhead is that of emulation and not comparable \
             with the paper's."
                .to_owned(),
        );
    }
    notes.extend(results.unreal_speed().map(str::to_owned));
    if manifest.keep_awake.on {
        notes.push(
            "The measured CPU was kept out of idle, without load as well: an idle CPU is a slow \
             one."
                .to_owned(),
        );
    }
    notes.extend(table::attempts_note(results));
    notes
}

/// Who asked for what, and what else ran on the CPU.
fn services(cases: &[&Case]) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for workload in cases.iter().map(|case| case.workload()) {
        let Some(web) = workload.web() else { continue };
        let pace = web.rate.map_or_else(
            || "one after the other".to_owned(),
            |rate| format!("at {rate} together, timed from the instant each was due"),
        );
        let connection = if web.keep_alive { "kept connections" } else { "a new connection each" };
        said.push(format!(
            "A simulation: {} clients, {}, {pace}, {connection}; {}",
            web.clients,
            requests(web),
            web.server.asked()
        ));
    }
    for workload in cases.iter().map(|case| case.workload()) {
        let Some(load) = workload.load() else { continue };
        let tasks: Vec<String> = load.tasks.iter().map(ToString::to_string).collect();
        said.push(format!(
            "Host load: {}, {:.2} of the CPU, backlog: {}.",
            tasks.join(" and "),
            load.tasks.utilisation(),
            load.backlog.name()
        ));
    }
    let mut seen = HashSet::new();
    said.retain(|line| seen.insert(line.clone()));
    said
}

/// How many of each client.
fn requests(web: &model::suite::Web) -> String {
    web.requests.map_or_else(
        || "as many requests as come".to_owned(),
        |requests| format!("{requests} requests each"),
    )
}

/// Whether a response time may contain the wait for a connection request that was sent again.
fn connections(cases: &[&Case]) -> Option<String> {
    let facts =
        cases.iter().flat_map(|case| &case.counted).filter_map(|one| one.facts.web.as_ref());
    let slowest = facts.clone().filter_map(|web| web.slowest_connect_ns).max()?;
    let slow: u64 = facts.map(|web| web.connects_of_1s_or_more).sum();
    Some(match slow {
        0 => format!(
            "Opening the slowest connection took {}: no response time contains a connection \
             request that was lost and sent again, which takes 1 s.",
            short(slowest as f64)
        ),
        slow => format!(
            "{} took 1 s or more to open: their requests may have been lost and sent again.",
            count(slow as usize, "connection")
        ),
    })
}

/// The suite's own words, and how much was measured.
fn protocol(results: &Results, cases: &[&Case]) -> String {
    let sizes = |case: &&&Case| {
        let sizes: Vec<String> = case.series.iter().map(size).collect();
        (!sizes.is_empty()).then(|| format!("{} {}", case.name(), sizes.join(", ")))
    };
    let sizes: Vec<String> = cases.iter().filter_map(|case| sizes(&case)).collect();
    let words = results.manifest.suite.description.trim_end_matches('.');
    let words = if words.is_empty() { "no description" } else { words };
    format!("{words}. Samples: {}.", sizes.join("; "))
}

fn size(series: &Series) -> String {
    let noun = if series.deadline_ns.is_some() { "job" } else { "request" };
    format!("{} in {}", count(series.len(), noun), count(series.runs.len(), "repetition"))
}
