//! What `reports merge` is given: result folders, and fleet folders whose jobs have some.

use std::{
    fs,
    path::{Path, PathBuf},
};

use model::fleet::{self, Job};

use crate::error::ReportError;

/// A result folder to read, or a job that has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The result folder; none where the job's never came back.
    pub folder: Option<PathBuf>,
    /// The job that it is of, in a fleet.
    pub job: Option<Job>,
}

/// Looks into each folder: a fleet's is its jobs, another is a result folder.
///
/// # Errors
/// A `fleet.json` that cannot be read, or one without a job.
pub fn sources(dirs: &[PathBuf]) -> Result<Vec<Source>, ReportError> {
    let mut found = Vec::new();
    for dir in dirs {
        if dir.join(fleet::FILE).exists() {
            found.extend(of_fleet(dir)?);
        } else {
            found.push(Source { folder: Some(dir.clone()), job: None });
        }
    }
    Ok(found)
}

fn of_fleet(dir: &Path) -> Result<Vec<Source>, ReportError> {
    let file = dir.join(fleet::FILE);
    let bad = |error: String| ReportError::Nothing(format!("{}: {error}", file.display()));
    let text = fs::read_to_string(&file).map_err(|error| bad(error.to_string()))?;
    let fleet = fleet::parse(&text).map_err(bad)?;
    if fleet.jobs.is_empty() {
        return Err(
            bad("it has no job; `orchestrator submit` writes one for each host".to_owned()),
        );
    }
    let source = |job: Job| {
        // A folder that a killed run left without a manifest holds nothing to read.
        let folder = job.folder.as_ref().map(|own| dir.join(own));
        Source { folder: folder.filter(|own| own.join("manifest.json").exists()), job: Some(job) }
    };
    Ok(fleet.jobs.into_iter().map(source).collect())
}
