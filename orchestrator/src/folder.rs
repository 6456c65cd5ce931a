//! The result folder: repetitions appear in it whole, the manifest after each.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use model::{Manifest, manifest::RepetitionRecord};

use crate::{error::Refusal, host::Lock};

/// The record of an attempt, in its own folder: the manifest may not have it yet when a run is
/// killed.
const RECORD: &str = "record.json";

/// The time now, RFC 3339 in UTC, whole seconds.
#[must_use]
pub fn now_utc() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A result folder on disk, in which nobody else runs.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: Lock,
}

impl Folder {
    /// Makes `<out>/<suite>-<UTC time>` with a copy of the suite's file; with a number behind it
    /// where another run began in the same second.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where it cannot be made.
    pub fn create(out: &Path, suite: &str, text: &str) -> Result<Self, Refusal> {
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let name = format!("{suite}-{stamp}");
        let refuse = |error: io::Error| {
            Refusal::Usage(format!(
                "cannot write results to {}: {error}; choose another folder with --out",
                out.join(&name).display()
            ))
        };
        fs::create_dir_all(out).map_err(refuse)?;
        // It appears whole, so that `--resume` finds the suite in it, whatever happens.
        let aside = out.join(format!(".{name}.{}", std::process::id()));
        fs::create_dir(&aside).map_err(refuse)?;
        let written = fs::write(aside.join("suite.toml"), text).and_then(|()| {
            let names = (1..100).map(|number: u32| match number {
                1 => name.clone(),
                number => format!("{name}-{number}"),
            });
            let free = names.map(|name| out.join(name)).find(|path| !path.exists());
            let path = free.ok_or(io::ErrorKind::AlreadyExists)?;
            fs::rename(&aside, &path).map(|()| path)
        });
        let path = written.map_err(|error| {
            // What is left of it says nothing.
            let _ = fs::remove_dir_all(&aside);
            refuse(error)
        })?;
        Self::lock(path)
    }

    /// Makes the folder `path` itself, which is not there or empty.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where it cannot be made, or holds something.
    pub fn make(path: &Path) -> Result<Self, Refusal> {
        let refuse = |why: &dyn std::fmt::Display| {
            Refusal::Usage(format!("--out: {}: {why}; give a new folder", path.display()))
        };
        fs::create_dir_all(path).map_err(|error| refuse(&error))?;
        let mut entries = fs::read_dir(path).map_err(|error| refuse(&error))?;
        if entries.next().is_some() {
            return Err(refuse(&"it is not empty"));
        }
        Self::lock(path.to_owned())
    }

    /// Opens a folder of an earlier run of the suite whose file has this text. There is no manifest
    /// where that run was killed before it wrote one.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where it is no such folder, or a run goes on in it.
    pub fn resume(path: &Path, text: &str) -> Result<(Self, Option<Manifest>), Refusal> {
        let usage = |why: &str| Refusal::Usage(format!("--resume: {}: {why}", path.display()));
        if !path.join("manifest.json").exists()
            && let Ok(suite) = fs::read_to_string(path.join("suite.toml"))
        {
            if suite != text {
                return Err(usage(
                    "its suite.toml differs from the suite; give the suite it is of",
                ));
            }
            return Ok((Self::lock(path.to_owned())?, None));
        }
        let found = results::Folder::open(path);
        let results::Folder { path, manifest } =
            found.map_err(|error| usage(&error.to_string()))?;
        Ok((Self::lock(path)?, Some(manifest)))
    }

    fn lock(path: PathBuf) -> Result<Self, Refusal> {
        match Lock::folder(&path, Duration::ZERO) {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(error) => Err(Refusal::Usage(format!("a run goes on in it, or: {error}"))),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the manifest in one step, which outlasts a loss of power.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn save(&self, manifest: &Manifest) -> Result<()> {
        let file = self.path.join("manifest.json");
        let aside = self.path.join(".manifest.json.new");
        write_json(&aside, manifest)
            .and_then(|()| Ok(fs::rename(&aside, &file)?))
            .and_then(|()| Ok(File::open(&self.path)?.sync_all()?))
            .with_context(|| file.display().to_string())
    }

    /// An empty folder beside the one in which the attempt will appear.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn begin(&self, experiment: &str, attempt: u32) -> Result<PathBuf> {
        let path = self.path.join(experiment).join(format!(".rep-{attempt:03}.partial"));
        // One left by a killed run holds a repetition that will be made again.
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Lets the attempt's folder appear, with the record of it.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn commit(&self, partial: &Path, record: &RepetitionRecord) -> Result<()> {
        let path = results::folder::place_of(&self.path, record);
        write_json(&partial.join(RECORD), record)
            .and_then(|()| Ok(fs::rename(partial, &path)?))
            .and_then(|()| Ok(File::open(self.path.join(&record.experiment))?.sync_all()?))
            .with_context(|| path.display().to_string())
    }

    /// The attempts at an experiment whose folders are there, with the record of each that has one,
    /// in order.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn attempts(&self, experiment: &str) -> Result<Vec<(u32, Option<RepetitionRecord>)>> {
        let folder = self.path.join(experiment);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| folder.display().to_string())?,
        };
        let attempt = |entry: io::Result<fs::DirEntry>| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.strip_prefix("rep-")?.parse().ok()?;
            let record = fs::read(path.join(RECORD)).ok();
            Some((number, record.and_then(|bytes| serde_json::from_slice(&bytes).ok())))
        };
        let mut attempts: Vec<_> = entries.filter_map(attempt).collect();
        attempts.sort_by_key(|(number, _)| *number);
        Ok(attempts)
    }

    /// The number of the next attempt at an experiment, by the folders that are there.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn next_attempt(&self, experiment: &str) -> Result<u32> {
        Ok(self.attempts(experiment)?.last().map_or(0, |(last, _)| last + 1))
    }
}

pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    let mut file = File::create(path)?;
    file.write_all(&text)?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_appears_whole() {
        let out = tempfile::tempdir().unwrap();
        let folder = Folder::create(out.path(), "quick", "name = \"quick\"").unwrap();
        let partial = folder.begin("fig1", 0).unwrap();
        fs::write(partial.join("jobs.csv"), "x").unwrap();
        let whole = folder.path().join("fig1/rep-000");
        assert!(!whole.exists());
        let record = crate::run::noise::tests::record(0, 0, model::manifest::Status::Done, None);
        folder.commit(&partial, &record).unwrap();
        assert_eq!(folder.attempts("fig1").unwrap(), [(0, Some(record))]);
        assert_eq!(folder.next_attempt("fig1").unwrap(), 1);
        assert!(whole.join("jobs.csv").exists() && !partial.exists());
    }

    #[test]
    fn what_is_no_folder_for_results_is_refused_with_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Folder::create(file.path(), "quick", "").unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()) && error.contains("--out"));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(Folder::resume(empty.path(), ""), Err(Refusal::Usage(_))));
    }

    #[test]
    fn two_runs_of_a_second_have_a_folder_each_and_nobody_else_runs_in_one() {
        let out = tempfile::tempdir().unwrap();
        let folders: Vec<_> =
            (0..3).map(|_| Folder::create(out.path(), "quick", "x").unwrap()).collect();
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 3);
        let error = Folder::resume(folders[0].path(), "x").unwrap_err().to_string();
        assert!(error.contains("a run goes on in it"), "{error}");
    }
}
