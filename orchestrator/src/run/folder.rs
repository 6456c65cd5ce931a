//! The result folder: repetitions appear in it whole, the manifest after each.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use model::Manifest;

use crate::error::Refusal;

/// A result folder on disk.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes `<out>/<suite>-<UTC time>` with a copy of the suite's file.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where it cannot be made.
    pub fn create(out: &Path, suite: &str, text: &str) -> Result<Self, Refusal> {
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let path = out.join(format!("{suite}-{stamp}"));
        let refuse = |error: std::io::Error| {
            Refusal::Usage(format!(
                "cannot write results to {}: {error}; choose another folder with --out",
                path.display()
            ))
        };
        fs::create_dir_all(out).map_err(refuse)?;
        fs::create_dir(&path).map_err(refuse)?;
        fs::write(path.join("suite.toml"), text).map_err(refuse)?;
        Ok(Self { path })
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
        Ok(Self { path: path.to_owned() })
    }

    /// Opens a folder of an earlier run.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where there is no readable manifest.
    pub fn open(path: &Path) -> Result<(Self, Manifest), Refusal> {
        let found = results::Folder::open(path);
        let results::Folder { path, manifest } =
            found.map_err(|error| Refusal::Usage(error.to_string()))?;
        Ok((Self { path }, manifest))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the manifest in one step.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn save(&self, manifest: &Manifest) -> Result<()> {
        let file = self.path.join("manifest.json");
        let aside = self.path.join(".manifest.json.new");
        let mut text = serde_json::to_string_pretty(manifest)?;
        text.push('\n');
        fs::write(&aside, text)
            .and_then(|()| fs::rename(&aside, &file))
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

    /// Lets the attempt's folder appear.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn commit(&self, partial: &Path, experiment: &str, attempt: u32) -> Result<()> {
        let path = self.path.join(experiment).join(format!("rep-{attempt:03}"));
        fs::rename(partial, &path).with_context(|| path.display().to_string())
    }
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
        folder.commit(&partial, "fig1", 0).unwrap();
        assert!(whole.join("jobs.csv").exists() && !partial.exists());
    }

    #[test]
    fn what_is_no_folder_for_results_is_refused_with_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Folder::create(file.path(), "quick", "").unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()) && error.contains("--out"));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(Folder::open(empty.path()), Err(Refusal::Usage(_))));
    }
}
