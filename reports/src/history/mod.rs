//! `reports history`: one experiment over many results.

mod chart;
mod table;

use std::path::{Path, PathBuf};

use clap::Args;
use model::{judged::Count, outfile::OutFile};

use crate::{
    compare::{Circumstance, circumstances, tolerance::Tolerance},
    error::ReportError,
    figure::export,
    folder::Results,
    grid::Format,
    series::Selection,
};

/// The arguments of `reports history`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Result folders, in any order: they are put in the order of time
    #[arg(required = true, num_args = 2..)]
    dirs: Vec<PathBuf>,
    /// The experiment; needed where they have several in common
    #[arg(long)]
    experiment: Option<String>,
    /// How to write the table: milliseconds for people, nanoseconds in CSV
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// By how much a 99th percentile may differ from the first result's before that matters
    #[arg(long, value_name = "5%", default_value = "5%")]
    tolerance: Tolerance,
    /// Draw the 99th percentiles into this SVG file
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
}

/// One task in one result.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// `tau1`, …
    pub task: String,
    /// What became of the judged jobs.
    pub count: Count,
    /// Median, p99, p99.9 and p99.99, unfinished jobs being the longest.
    pub percentiles_ns: [Option<u64>; 4],
    /// Relative deadline, where there is one.
    pub deadline_ns: Option<u64>,
}

/// The experiment in one result.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The folder's name.
    pub folder: String,
    /// When it was begun.
    pub started_utc: String,
    /// Each task.
    pub entries: Vec<Entry>,
    /// What differs from the result before, and the work where that differs from the first.
    pub changed: Vec<Circumstance>,
}

/// The experiment over all results.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Its name.
    pub experiment: String,
    /// In the order of time.
    pub points: Vec<Point>,
    /// The first result that differs from the first one by what matters, and why.
    pub first_change: Option<(usize, String)>,
}

/// Reads, draws where asked, and returns the table.
///
/// # Errors
/// A folder that cannot be read, or results that do not have the experiment.
pub fn run(arguments: &Arguments) -> Result<String, ReportError> {
    let chart = arguments.chart.as_deref().map(open_chart).transpose()?;
    let results = arguments.dirs.iter().map(|dir| Results::read(dir));
    let results = results.collect::<Result<Vec<_>, _>>()?;
    let history = of(results, arguments.experiment.as_deref(), arguments.tolerance)?;
    if let Some(file) = chart {
        let svg = export::svg(&chart::figure(&history))?;
        let path = file.path().to_owned();
        file.fill(|out| out.write_all(svg.as_bytes()))
            .map_err(|error| ReportError::write(&path, error))?;
    }
    Ok(table::grid(&history, arguments.format).write(arguments.format))
}

fn open_chart(path: &Path) -> Result<OutFile, ReportError> {
    let refused = |error| {
        ReportError::Nothing(format!("--chart {}: cannot be written: {error}", path.display()))
    };
    OutFile::open(path).map_err(refused)
}

fn of(
    mut results: Vec<Results>,
    experiment: Option<&str>,
    tolerance: Tolerance,
) -> Result<History, ReportError> {
    results.sort_by(|a, b| a.manifest.started_utc.cmp(&b.manifest.started_utc));
    let experiment = chosen(&results, experiment)?;
    for own in &results[1..] {
        let (first, other) = (results[0].case(&experiment)?, own.case(&experiment)?);
        if let Some(what) = circumstances::other_work(first.workload(), other.workload()) {
            return Err(ReportError::Nothing(format!(
                "{}: `{experiment}` did other work than in {}: {what}; results of the same work \
                 make a history",
                own.path.display(),
                results[0].path.display()
            )));
        }
    }
    let before = |at: usize| at.checked_sub(1).map(|at| &results[at]);
    let points: Vec<Point> =
        results.iter().enumerate().map(|(at, own)| point(own, &experiment, before(at))).collect();
    let change = |at: usize| Some((at, table::change(&points[0], &points[at], tolerance)?));
    let first_change = (1..points.len()).find_map(change);
    Ok(History { experiment, points, first_change })
}

/// The experiment asked for, or the only one that all have.
fn chosen(results: &[Results], experiment: Option<&str>) -> Result<String, ReportError> {
    let has = |own: &Results, name: &str| own.cases.iter().any(|case| case.name() == name);
    if let Some(name) = experiment {
        for own in results {
            own.case(name)?;
        }
        return Ok(name.to_owned());
    }
    let first = results[0].cases.iter().map(|case| case.name());
    let common: Vec<&str> = first.filter(|name| results.iter().all(|own| has(own, name))).collect();
    match common[..] {
        [one] => Ok(one.to_owned()),
        [] => Err(ReportError::Nothing("these results have no experiment in common".to_owned())),
        _ => Err(ReportError::Nothing(format!(
            "--experiment is missing: these results have {} in common",
            common.join(", ")
        ))),
    }
}

fn point(results: &Results, experiment: &str, before: Option<&Results>) -> Point {
    let case = results.cases.iter().find(|case| case.name() == experiment);
    let entry = |series: &crate::series::Series| {
        let judged = case.map_or(Selection::All, crate::folder::Case::judged);
        Entry {
            task: series.task.clone(),
            count: series.count(judged),
            percentiles_ns: [50.0, 99.0, 99.9, 99.99].map(|p| series.percentile(judged, p)),
            deadline_ns: series.deadline_ns,
        }
    };
    let folder = results.path.file_name().map(|own| own.to_string_lossy().into_owned());
    Point {
        folder: folder.unwrap_or_else(|| results.path.display().to_string()),
        started_utc: results.manifest.started_utc.clone(),
        entries: case.map_or_else(Vec::new, |case| case.series.iter().map(entry).collect()),
        changed: before.map_or_else(Vec::new, |before| {
            let all = circumstances::differences(&before.manifest, &results.manifest);
            let foreign = |what: &str| {
                results.cases.iter().any(|own| {
                    own.name() != experiment && what.starts_with(&format!("{}.", own.name()))
                })
            };
            all.into_iter().filter(|own| !foreign(&own.what)).collect()
        }),
    }
}
