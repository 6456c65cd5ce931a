//! The layout of a result folder (`docs/formats.md`), and the samples in it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use model::{
    Manifest, TaskSet,
    manifest::{RepetitionRecord, SCHEMA_VERSION},
    sample,
    suite::Experiment,
};

use crate::{
    error::Error,
    jobs::{self, TaskJobs},
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

/// The samples of an experiment, of the attempts that count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// One for each task of the experiment, or one for its service; empty where nothing was measured.
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

    /// The samples of an experiment: of each task in each run, also where it has no row at all.
    ///
    /// # Errors
    /// A malformed row.
    pub fn samples(&self, experiment: &Experiment) -> Result<Samples, Error> {
        let mut found = Samples::default();
        for record in self.counted(&experiment.name) {
            let file =
                |name: &str| Some(self.place(record).join(name)).filter(|path| path.exists());
            let (jobs, requests) = (file("jobs.csv"), file("requests.csv"));
            // An experiment without a workload of its own (`reserve --out`) has no samples.
            let measures = !experiment.tasks.is_empty() || experiment.web.is_some();
            if measures && jobs.is_none() && requests.is_none() {
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
                let rows = read_jobs(&jobs, &experiment.tasks, length)?;
                Series::add_jobs(&mut found.series, &experiment.tasks, length, attempt, rows);
            }
            if let Some(requests) = requests {
                Series::add_requests(&mut found.series, attempt, sample::read_csv(&requests)?);
            }
            if let (Some(jobs), Some(load)) = (file("load-jobs.csv"), &experiment.load) {
                let rows = read_jobs(&jobs, &load.tasks, length)?;
                Series::add_jobs(&mut found.load, &load.tasks, length, attempt, rows);
            }
        }
        Ok(found)
    }
}

/// As many jobs of a task are expected as are released.
fn read_jobs(file: &Path, tasks: &TaskSet, length: Duration) -> Result<Vec<TaskJobs>, Error> {
    let released = |name: &str| {
        let named = tasks.iter().enumerate().find(|(at, _)| TaskSet::name(*at) == name);
        named.map_or(0, |(_, task)| task.released(length) as usize)
    };
    Ok(jobs::read(file, released)?)
}

/// The folder of an attempt, in the result folder at `path`.
#[must_use]
pub fn place_of(path: &Path, record: &RepetitionRecord) -> PathBuf {
    path.join(&record.experiment).join(format!("rep-{:03}", record.attempt))
}
