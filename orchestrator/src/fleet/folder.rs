//! A fleet's folder: `fleet.json`, the job script, the suites, and what jobs left in it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use model::fleet::{self, Fleet, Job};

use super::matrix::Variant;
use crate::error::Refusal;

/// Folders that jobs write into, below the fleet's.
const PARTS: [&str; 4] = ["suites", "state", "log", "results"];

/// The last word that a job left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It runs, or it was killed.
    Started,
    /// It ended with this exit code.
    Ended(i32),
}

/// A fleet's folder and its file.
#[derive(Debug)]
pub struct Folder {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// What `fleet.json` says.
    pub fleet: Fleet,
}

impl Folder {
    /// Makes `<out>/<name>` with the suites in it; the script is not yet there.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where it cannot be made.
    pub fn create(out: &Path, mut fleet: Fleet, suites: &[Variant]) -> Result<Self> {
        let refuse = |error: std::io::Error| {
            Refusal::Usage(format!(
                "cannot write the fleet's folder to {}: {error}; choose another folder with --out",
                out.display()
            ))
        };
        fs::create_dir_all(out).map_err(refuse)?;
        let path = out.canonicalize().map_err(refuse)?.join(&fleet.name);
        fs::create_dir(&path).map_err(refuse)?;
        for part in PARTS {
            fs::create_dir(path.join(part)).map_err(refuse)?;
        }
        for (index, own) in suites.iter().enumerate() {
            let name = format!("suites/{index}.toml");
            fs::write(path.join(&name), &own.text).map_err(refuse)?;
            fleet.suites.push(name);
        }
        let own = Self { path, fleet };
        own.save()?;
        Ok(own)
    }

    /// Opens one that was made earlier.
    ///
    /// # Errors
    /// [`Refusal::Usage`] where it is none.
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        let file = path.join(fleet::FILE);
        let refuse = |error: String| {
            Refusal::Usage(format!(
                "{}: {error}; `orchestrator submit` prints the folder that it makes",
                file.display()
            ))
        };
        let text = fs::read_to_string(&file).map_err(|error| refuse(error.to_string()))?;
        let fleet = fleet::parse(&text).map_err(refuse)?;
        let path = path.canonicalize().map_err(|error| refuse(error.to_string()))?;
        Ok(Self { path, fleet })
    }

    /// Writes `fleet.json`, beside and renamed.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self) -> Result<()> {
        let file = self.path.join(fleet::FILE);
        let text = serde_json::to_string_pretty(&self.fleet)?;
        let mut beside = tempfile::NamedTempFile::new_in(&self.path)
            .with_context(|| self.path.display().to_string())?;
        beside.write_all(text.as_bytes())?;
        beside.persist(&file).with_context(|| file.display().to_string())?;
        Ok(())
    }

    /// The job script.
    #[must_use]
    pub fn script(&self) -> PathBuf {
        self.path.join("job.sh")
    }

    /// The last word of a job's array task; none where it left none.
    #[must_use]
    pub fn event(&self, job: &Job) -> Option<Event> {
        let file = self.path.join("state").join(format!("{}-{}", job.host, job.suite));
        let text = fs::read_to_string(file).ok()?;
        text.lines().filter_map(|line| event(line, job.array)).next_back()
    }

    /// The newest result folder of a job that came back, below the fleet's folder.
    #[must_use]
    pub fn result(&self, job: &Job) -> Option<String> {
        let place = format!("results/{}/{}", job.host, job.suite);
        let entries = fs::read_dir(self.path.join(&place)).ok()?;
        let names = entries.filter_map(|own| own.ok()?.file_name().into_string().ok());
        let newest = names.filter(|name| !name.starts_with('.')).max()?;
        Some(format!("{place}/{newest}"))
    }
}

/// `2026-11-26T10:00:00Z 7 ended 0`; of a script submitted by hand any array's word counts.
fn event(line: &str, array: Option<u64>) -> Option<Event> {
    let mut words = line.split(' ').skip(1);
    let own: u64 = words.next()?.parse().ok()?;
    if array.is_some_and(|array| array != own) {
        return None;
    }
    match (words.next()?, words.next()) {
        ("started", None) => Some(Event::Started),
        ("ended", Some(code)) => Some(Event::Ended(code.parse().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_other_arrays_and_broken_lines_are_passed_over() {
        assert_eq!(event("t 7 started", Some(7)), Some(Event::Started));
        assert_eq!(event("t 7 ended 137", Some(7)), Some(Event::Ended(137)));
        assert_eq!(event("t 7 ended 137", None), Some(Event::Ended(137)));
        for line in ["t 8 started", "t 7 delivered", "t 7 ended", "t 7 ended x", "", "t"] {
            assert_eq!(event(line, Some(7)), None, "{line}");
        }
    }
}
