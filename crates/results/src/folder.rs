//! The layout of a result folder (`docs/formats.md`), and the samples in it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use model::{
    Manifest, TaskSet,
    manifest::{RepetitionRecord, SCHEMA_VERSION},
    sample::{self, Request},
    suite::Workload,
};

use crate::{
    error::Error,
    jobs::{self, Owner, TaskJobs},
    series::Series,
};

/// A result folder and its manifest.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// What was run.
    pub manifest: Manifest,
}

/// The samples of a workload, of the attempts that count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// One for each task, or one for its service; empty where nothing was measured.
    pub series: Vec<Series>,
    /// The same of the host's own tasks, where the load recorded its jobs.
    pub load: Vec<Series>,
    /// Files that should be there and are not, a sentence each.
    pub gaps: Vec<String>,
}

impl Folder {
    /// Reads the manifest of `path`.
    ///
    /// # Errors
    /// Where there is none of a known version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = path.join("manifest.json");
        let name = || file.display().to_string();
        let text = fs::read_to_string(&file)
            .map_err(|error| Error::NoManifest { folder: path.display().to_string(), error })?;
        // The version first: a newer layout need not parse as this one.
        let json = |error| Error::Manifest { file: name(), error };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(json)?;
        let version = value["schema_version"].as_u64().and_then(|own| u32::try_from(own).ok());
        if let Some(found) = version.filter(|found| *found > SCHEMA_VERSION) {
            return Err(Error::Schema { file: name(), found });
        }
        let manifest = serde_json::from_str(&text).map_err(json)?;
        Ok(Self { path: path.to_owned(), manifest })
    }

    /// The folder of an attempt.
    #[must_use]
    pub fn place(&self, record: &RepetitionRecord) -> PathBuf {
        place_of(&self.path, record)
    }

    /// Every attempt at an experiment, in the order in which they ran.
    pub fn attempts(&self, experiment: &str) -> impl Iterator<Item = &RepetitionRecord> {
        self.manifest.repetitions.iter().filter(move |record| record.experiment == experiment)
    }

    /// Those that count.
    pub fn counted(&self, experiment: &str) -> impl Iterator<Item = &RepetitionRecord> {
        self.attempts(experiment).filter(|record| record.counts)
    }

    /// The samples of a workload: of each task in each run, also where it has no row at all.
    ///
    /// # Errors
    /// A malformed row.
    pub fn samples(&self, workload: Workload) -> Result<Samples, Error> {
        let mut found = Samples::default();
        let (experiment, tasks) = (workload.experiment, workload.tasks());
        let owner = Owner {
            vm: workload.vm.map_or("", |vm| &vm.name),
            service: workload.service.map_or("", |service| &service.name),
        };
        for record in self.counted(&experiment.name) {
            let file =
                |name: &str| Some(self.place(record).join(name)).filter(|path| path.exists());
            let (jobs, requests) = (file("jobs.csv"), file("requests.csv"));
            // An experiment without a workload of its own (`reserve --out`) has no samples.
            if workload.measures() && jobs.is_none() && requests.is_none() {
                found.gaps.push(format!(
                    "{}/rep-{:03} counts, but has neither jobs.csv nor requests.csv",
                    record.experiment, record.attempt
                ));
            }
            // Nothing was released once the first miss had ended it.
            let stopped = record.facts.stopped.as_ref();
            let length = stopped
                .map_or(experiment.duration, |stopped| Duration::from_nanos(stopped.after_ns));
            let attempt = record.attempt;
            if let Some(jobs) = jobs {
                let rows = read_jobs(&jobs, owner, tasks, length)?;
                Series::add_jobs(&mut found.series, tasks, length, attempt, rows);
            }
            if let (Some(requests), Some(_)) = (requests, workload.web()) {
                let mut rows: Vec<Request> = sample::read_csv(&requests)?;
                let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
                rows.retain(|row| owner.has(&text(&row.vm), &text(&row.service)));
                Series::add_requests(&mut found.series, attempt, rows);
            }
            let load = workload.load();
            let of_load = load.and_then(|load| file(&load.file(experiment, "jobs.csv")));
            if let (Some(jobs), Some(load)) = (of_load, load) {
                let rows = read_jobs(&jobs, Owner::default(), &load.tasks, length)?;
                Series::add_jobs(&mut found.load, &load.tasks, length, attempt, rows);
            }
        }
        Ok(found)
    }
}

/// As many jobs of a task are expected as are released.
fn read_jobs(
    file: &Path,
    owner: Owner,
    tasks: &TaskSet,
    length: Duration,
) -> Result<Vec<TaskJobs>, Error> {
    let released = |name: &str| {
        let named = tasks.iter().enumerate().find(|(at, _)| TaskSet::name(*at) == name);
        named.map_or(0, |(_, task)| task.released(length) as usize)
    };
    Ok(jobs::read(file, owner, released)?)
}

/// The folder of an attempt, in the result folder at `path`.
#[must_use]
pub fn place_of(path: &Path, record: &RepetitionRecord) -> PathBuf {
    path.join(&record.experiment).join(format!("rep-{:03}", record.attempt))
}
