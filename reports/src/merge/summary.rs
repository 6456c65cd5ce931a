//! What a merged report keeps of one result folder; the samples go again before the next is read.

use std::path::Path;

use model::{stats, suite::Experiment};

use super::{Statistic, input::Source};
use crate::{
    claims::{self, Verdict},
    compare::circumstances,
    error::ReportError,
    folder::{Case, Results},
    series::{Run, Selection, Series},
};

/// One result folder, or a job without one.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The folder as given; none where it never came back.
    pub folder: Option<String>,
    /// The host's name: in the fleet, in the manifest, or where neither says it the folder's path.
    pub host: String,
    /// The suite's name.
    pub suite: String,
    /// When the run began; empty where nothing came back.
    pub started_utc: String,
    /// Whether `rtplan simulate` made it.
    pub simulated: bool,
    /// What became of it, where that is not just a complete folder.
    pub state: Option<String>,
    /// Its experiments, measured or not.
    pub experiments: Vec<Experiment>,
    /// What was measured of each task.
    pub cells: Vec<Cell>,
    /// Each claim's verdict.
    pub claims: Vec<(String, Verdict)>,
    /// What the manifest says of the host and the programs.
    pub facts: Vec<(String, String)>,
}

/// One task of one experiment on one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The experiment.
    pub experiment: String,
    /// `tau1`, … or `service`.
    pub task: String,
    /// The statistic of each repetition in nanoseconds; infinite where it is that of a job that never
    /// ended.
    pub values: Vec<f64>,
    /// Jobs that are judged.
    pub judged: u64,
    /// Those of them that missed their deadline; for a service, requests that failed.
    pub missed: u64,
}

impl Summary {
    /// Reads the folder of a source and forgets all but this.
    ///
    /// # Errors
    /// Those of [`Results::read`].
    pub fn of(source: &Source, statistic: Statistic) -> Result<Self, ReportError> {
        match &source.folder {
            Some(folder) => Self::read(folder, source, statistic),
            None => Ok(Self::missing(source)),
        }
    }

    fn read(folder: &Path, source: &Source, statistic: Statistic) -> Result<Self, ReportError> {
        let results = Results::read(folder)?;
        let claims = claims::all(&results);
        let manifest = &results.manifest;
        let in_fleet = source.job.as_ref().map(|job| job.host.clone());
        let host = in_fleet.or_else(|| manifest.host.name.clone());
        let mut facts = circumstances::of_host(manifest);
        // A reason is a sentence about a fact that stands beside it.
        facts.retain(|(key, _)| key != "host.name" && !key.ends_with(".reason"));
        facts.push(("layout version".to_owned(), manifest.schema_version.to_string()));
        Ok(Self {
            folder: Some(folder.display().to_string()),
            host: host.unwrap_or_else(|| folder.display().to_string()),
            suite: manifest.suite.name.clone(),
            started_utc: manifest.started_utc.clone(),
            simulated: results.simulated(),
            state: state(&results, source),
            experiments: manifest.suite.experiments.clone(),
            cells: results.cases.iter().flat_map(|case| cells(case, statistic)).collect(),
            claims: claims.iter().map(|own| (own.id.to_string(), own.verdict)).collect(),
            facts,
        })
    }

    fn missing(source: &Source) -> Self {
        let job = source.job.as_ref();
        let state = job.map(|job| {
            let detail = job.detail.as_ref().map_or_else(String::new, |own| format!(": {own}"));
            format!("{} never came back ({}{detail})", job.name, job.state.name())
        });
        Self {
            folder: None,
            host: job.map_or_else(String::new, |job| job.host.clone()),
            suite: job.map_or_else(String::new, |job| job.name.clone()),
            started_utc: String::new(),
            simulated: false,
            state,
            experiments: Vec::new(),
            cells: Vec::new(),
            claims: Vec::new(),
            facts: Vec::new(),
        }
    }
}

/// What is not whole about a folder that came back.
fn state(results: &Results, source: &Source) -> Option<String> {
    let suite = &results.manifest.suite.name;
    let open = results.cases.iter().filter(|case| !case.is_measured()).count();
    let mut said = Vec::new();
    if let Some(job) = source.job.as_ref().filter(|job| job.state != model::fleet::State::Done) {
        said.push(format!("its job is {}", job.state.name()));
    }
    if open > 0 {
        said.push(format!("{open} of {} experiments not measured", results.cases.len()));
    }
    let times = results.manifest.resumed.len();
    if times > 0 {
        said.push(format!("resumed {times}×"));
    }
    (!said.is_empty()).then(|| format!("{suite}: {}", said.join(", ")))
}

fn cells(case: &Case, statistic: Statistic) -> Vec<Cell> {
    let judged = case.judged();
    let measured = case.series.iter().filter(|series| !series.is_empty());
    measured.map(|series| cell(case.name(), series, judged, statistic)).collect()
}

fn cell(experiment: &str, series: &Series, judged: Selection, statistic: Statistic) -> Cell {
    let count = series.count(judged);
    Cell {
        experiment: experiment.to_owned(),
        task: series.task.clone(),
        values: series.runs.iter().filter_map(|run| value(run, judged, statistic)).collect(),
        judged: count.judged(),
        missed: count.missed() + series.failures,
    }
}

/// The statistic of one run; none where it has no judged job.
fn value(run: &Run, judged: Selection, statistic: Statistic) -> Option<f64> {
    let mut times: Vec<u64> = run.selected(judged).map(|sample| sample.response_ns).collect();
    let unfinished = run.unfinished();
    if times.is_empty() && unfinished == 0 {
        return None;
    }
    times.sort_unstable();
    let found = stats::percentile_beyond(&times, unfinished, statistic.percentile());
    Some(found.map_or(f64::INFINITY, |ns| ns as f64))
}
