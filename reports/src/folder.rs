//! A result folder, read once into plain data.
//!
//! Only attempts whose record says `counts` enter it; the others are counted, so that a report can
//! say how many there were. A file that should be there and is not becomes a line in
//! [`Results::gaps`]: what was not measured is never filled in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use model::{
    Manifest, TaskSet,
    manifest::{RepetitionRecord, SCHEMA_VERSION, Status},
    sample,
    suite::{Experiment, Sweep},
    sweep::{self, Outcome, Point},
};

use crate::{
    error::ReportError,
    predict::Bounds,
    series::{Selection, Series},
    supply::Traced,
};

/// Everything a report needs of a result folder.
#[derive(Debug)]
pub struct Results {
    /// The folder.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// One per experiment of the suite, in its order, measured or not.
    pub cases: Vec<Case>,
    /// What the suite's sweeps came to.
    pub sweeps: Vec<Outcome>,
    /// What should have been there and is not, a sentence each.
    pub gaps: Vec<String>,
    /// The same suite simulated, where the report shows both ([`Results::join`]).
    pub simulation: Option<Box<Results>>,
}

/// An experiment and what was measured in it.
#[derive(Debug)]
pub struct Case {
    /// As the suite says.
    pub experiment: Experiment,
    /// One per task (or one for the service), in the order of the tasks; empty where nothing
    /// that counts was measured.
    pub series: Vec<Series>,
    /// The host's own tasks, in their order, where the load recorded its jobs.
    pub load: Vec<Series>,
    /// What the analysis promises each task, where it applies.
    pub bounds: Option<Bounds>,
    /// Whether the budget of its reservation is enough; none without tasks or reservation.
    pub point: Option<Point>,
    /// When the VM's threads ran in the attempts that count, where that was traced.
    pub traced: Vec<Traced>,
    /// The attempts that count.
    pub counted: Vec<RepetitionRecord>,
    /// How many attempts there were.
    pub attempts: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many of the complete ones were noisy.
    pub noisy: usize,
}

impl Results {
    /// Reads `folder`: the manifest, and the samples of each attempt that counts.
    ///
    /// # Errors
    /// A folder without a readable manifest of a known version, or a malformed CSV row.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let manifest = read_manifest(folder)?;
        let suite = &manifest.suite;
        // Calculated, not read from the manifest: an old folder has none, and a better analysis
        // is seen when a report is made again.
        let analyses: Vec<_> =
            suite.experiments.iter().filter_map(rtplan::experiment::analyse).collect();
        let mut gaps = Vec::new();
        let mut cases = Vec::new();
        for experiment in &suite.experiments {
            let mut case = Case::read(folder, experiment, &manifest.repetitions, &mut gaps)?;
            if experiment.reservation.is_some() && !experiment.tasks.is_empty() {
                let records = &manifest.repetitions;
                case.point = Some(sweep::point(folder, experiment, records, &analyses)?);
            }
            case.bounds =
                analyses.iter().find(|own| own.experiment == experiment.name).and_then(Bounds::of);
            cases.push(case);
        }
        let outcome = |own: &Sweep| {
            let mine = |case: &&Case| own.members(suite).any(|one| one.name == case.name());
            let points = cases.iter().filter(mine).filter_map(|case| case.point.clone());
            sweep::outcome(suite, own, points.collect(), &analyses)
        };
        let sweeps = suite.sweeps.iter().map(outcome).collect();
        Ok(Self { path: folder.to_owned(), manifest, cases, sweeps, gaps, simulation: None })
    }

    /// The case of this name, where something that counts was measured in it.
    #[must_use]
    pub fn measured(&self, name: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name() == name && case.is_measured())
    }

    /// Whether `rtplan simulate` made these results, so that nothing was measured.
    #[must_use]
    pub fn simulated(&self) -> bool {
        self.accelerator() == Some(rtplan::sim::suite::ACCELERATOR)
    }

    /// Whether the case is drawn with a sweep that it belongs to.
    #[must_use]
    pub fn is_swept(&self, case: &Case) -> bool {
        let members = |own: &Outcome| own.points.iter().any(|one| one.experiment == case.name());
        self.sweeps.iter().any(members)
    }

    /// The case of this name, measured or not.
    ///
    /// # Errors
    /// Where the suite has none, with those that it has.
    pub fn case(&self, name: &str) -> Result<&Case, ReportError> {
        self.cases.iter().find(|case| case.name() == name).ok_or_else(|| {
            let names: Vec<_> = self.cases.iter().map(Case::name).collect();
            ReportError::Nothing(format!(
                "--experiment: the suite has no experiment `{name}`; it has {}",
                names.join(", ")
            ))
        })
    }

    /// `kvm`, `tcg` or `simulation`; none where no guest ran.
    #[must_use]
    pub fn accelerator(&self) -> Option<&str> {
        self.manifest.accelerator.as_ref().map(|facts| facts.name.as_str())
    }
}

fn read_manifest(folder: &Path) -> Result<Manifest, ReportError> {
    let path = folder.join("manifest.json");
    let file = path.display().to_string();
    let text = fs::read_to_string(&path)
        .map_err(|error| ReportError::NoManifest { folder: folder.display().to_string(), error })?;
    // The version first: a newer layout need not parse as this one.
    let json = |error| ReportError::Manifest { file: file.clone(), error };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(json)?;
    let version = value["schema_version"].as_u64().and_then(|version| u32::try_from(version).ok());
    if let Some(found) = version.filter(|found| *found > SCHEMA_VERSION) {
        return Err(ReportError::Schema { file, found });
    }
    serde_json::from_str(&text).map_err(json)
}

impl Case {
    fn read(
        folder: &Path,
        experiment: &Experiment,
        records: &[RepetitionRecord],
        gaps: &mut Vec<String>,
    ) -> Result<Self, ReportError> {
        let own: Vec<_> =
            records.iter().filter(|record| record.experiment == experiment.name).collect();
        let counted: Vec<_> =
            own.iter().filter(|record| record.counts).map(|record| (*record).clone()).collect();
        let (mut series, mut load, mut traced) = (Vec::new(), Vec::new(), Vec::new());
        for record in &counted {
            let load_jobs = place_of(folder, record).join("load-jobs.csv");
            if load_jobs.exists() {
                Series::add_jobs(&mut load, record.attempt, sample::read_csv(&load_jobs)?);
            }
            traced.extend(Traced::read(&place_of(folder, record), record)?);
            let measures = !experiment.tasks.is_empty() || experiment.web.is_some();
            if !read_attempt(folder, record, &mut series)? && measures {
                gaps.push(format!(
                    "{}/rep-{:03} counts, but has neither jobs.csv nor requests.csv",
                    record.experiment, record.attempt
                ));
            }
        }
        for side in [&mut series, &mut load] {
            side.sort_by(|a, b| (a.task.len(), &a.task).cmp(&(b.task.len(), &b.task)));
        }
        for own in &mut series {
            let index = (0..experiment.tasks.len()).find(|at| TaskSet::name(*at) == own.task);
            if let Some(task) = index.map(|index| experiment.tasks[index]) {
                own.count_unfinished(task, experiment.duration);
            }
        }
        let failed = |record: &&&RepetitionRecord| record.status == Status::Failed;
        Ok(Self {
            experiment: experiment.clone(),
            bounds: None,
            series,
            load,
            point: None,
            traced,
            attempts: own.len(),
            failed: own.iter().filter(failed).count(),
            noisy: own.iter().filter(|record| record.noisy && !failed(record)).count(),
            counted,
        })
    }

    /// The experiment's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.experiment.name
    }

    /// Whether any sample that counts was taken.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.series.iter().any(|series| !series.is_empty())
    }

    /// The series of this task.
    #[must_use]
    pub fn task(&self, task: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.task == task && !series.is_empty())
    }

    /// The analytic worst case of this task in nanoseconds.
    #[must_use]
    pub fn bound_ns(&self, task: &str) -> Option<u64> {
        self.bounds.as_ref()?.wcrt_ns(task)
    }

    /// The samples by which this case is judged.
    ///
    /// Without stalls the undisturbed jobs, where the analysis promises every task a bound. Where
    /// it does not, a backlog may never end, and every job after the first stall would count as
    /// disturbed: there all jobs.
    #[must_use]
    pub fn judged(&self) -> Selection {
        let bounded = self.series.iter().all(|series| self.bound_ns(&series.task).is_some());
        if bounded { Selection::Undisturbed } else { Selection::All }
    }
}

/// The attempt's folder.
#[must_use]
pub fn place_of(folder: &Path, record: &RepetitionRecord) -> PathBuf {
    folder.join(&record.experiment).join(format!("rep-{:03}", record.attempt))
}

/// Whether the attempt's folder holds samples; they are added to `series`.
fn read_attempt(
    folder: &Path,
    record: &RepetitionRecord,
    series: &mut Vec<Series>,
) -> Result<bool, ReportError> {
    let place = place_of(folder, record);
    let (jobs, requests) = (place.join("jobs.csv"), place.join("requests.csv"));
    if jobs.exists() {
        Series::add_jobs(series, record.attempt, sample::read_csv(&jobs)?);
    }
    if requests.exists() {
        Series::add_requests(series, record.attempt, sample::read_csv(&requests)?);
    }
    Ok(jobs.exists() || requests.exists())
}
