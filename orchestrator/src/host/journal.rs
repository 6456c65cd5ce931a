//! The write-ahead journal: what would undo each change, on disk before the change is made.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use kernel::procfs::Proc;
use serde::{Deserialize, Serialize};

use super::Undo;

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    /// About to be done; this undoes it.
    Change(Undo),
    /// Everything after the first so many changes has been undone.
    UndoneDownTo(usize),
}

/// Journals of what is kept on purpose begin with this; the others with a process id.
const KEPT: &str = "kept";

/// The journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// The folder of the journals: `$RTVM_STATE_DIR`, else `/run/rt-vm-bench` for root and
/// `$XDG_RUNTIME_DIR/rt-vm-bench` (or the temporary folder) for others.
#[must_use]
pub fn state_dir() -> PathBuf {
    if let Some(dir) = env::var_os("RTVM_STATE_DIR") {
        return dir.into();
    }
    let base = if nix::unistd::geteuid().is_root() {
        PathBuf::from("/run")
    } else {
        env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, PathBuf::from)
    };
    base.join("rt-vm-bench")
}

impl Journal {
    /// Starts the journal of this process in `dir`.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn create(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir).map_err(|error| at(dir, &error))?;
        let pid = std::process::id();
        let start_time = Proc::default().start_time(pid as i32)?;
        // A run can have several journals; the numbers say in which order they were begun.
        for serial in 0u32.. {
            let path = dir.join(format!("{pid}-{start_time}-{serial}.jsonl"));
            match OpenOptions::new().create_new(true).append(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at(&path, &error)),
                Ok(file) => return Ok(Self { path, file }),
            }
        }
        unreachable!("there are more numbers than files")
    }

    /// Writes down what would undo the change that is about to be made.
    ///
    /// # Errors
    /// The file system's, with the path; then the change must not be made.
    pub fn before(&mut self, undo: &Undo) -> io::Result<()> {
        self.append(&Entry::Change(undo.clone()))
    }

    /// Writes down that only the first `left` changes are still to be undone.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn undone_down_to(&mut self, left: usize) -> io::Result<()> {
        self.append(&Entry::UndoneDownTo(left))
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        // One write, so that a kill leaves a whole line or none.
        self.file.write_all(&line).map_err(|error| at(&self.path, &error))
    }

    /// Removes the file: there is nothing left to undo.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn close(&mut self) -> io::Result<()> {
        fs::remove_file(&self.path).map_err(|error| at(&self.path, &error))
    }

    /// Marks the journal as one of changes that are kept on purpose, for process `pid`.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn keep(&mut self, pid: i32) -> io::Result<()> {
        let own = self.path.file_name().unwrap_or_default().to_string_lossy();
        let kept = self.path.with_file_name(format!("{KEPT}-{pid}-{own}"));
        fs::rename(&self.path, &kept).map_err(|error| at(&self.path, &error))?;
        self.path = kept;
        Ok(())
    }

    /// The journals in `dir` of what is kept on purpose: for process `pid`, or all.
    ///
    /// # Errors
    /// The file system's; a folder that is not there holds none.
    pub fn kept(dir: &Path, pid: Option<i32>) -> io::Result<Vec<PathBuf>> {
        let begin = pid.map_or_else(|| format!("{KEPT}-"), |pid| format!("{KEPT}-{pid}-"));
        let named = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begin))
        };
        Ok(Self::files(dir)?.into_iter().filter(named).collect())
    }

    /// The files in `dir`, sorted.
    fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| at(dir, &error))?,
        };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        Ok(paths)
    }

    /// What the names of all journals of a run begin with.
    pub fn run_of(path: &Path) -> String {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        name.rsplit_once('-').map_or(name.clone(), |(run, _serial)| run.to_owned())
    }

    /// The journals in `dir` whose process is no longer there.
    ///
    /// # Errors
    /// The file system's; a folder that is not there holds none.
    pub fn abandoned(dir: &Path) -> io::Result<Vec<PathBuf>> {
        let proc = Proc::default();
        let gone = |path: &Path| -> Option<bool> {
            let mut parts = path.file_stem()?.to_str()?.split('-');
            let pid: i32 = parts.next()?.parse().ok()?;
            let start_time: u64 = parts.next()?.parse().ok()?;
            Some(proc.start_time(pid).ok() != Some(start_time))
        };
        Ok(Self::files(dir)?.into_iter().filter(|path| gone(path) == Some(true)).collect())
    }

    /// What is still to be undone according to a journal, in the order in which it was changed.
    ///
    /// # Errors
    /// The file system's; a line cut off by a crash ends the list, since its change was not made.
    pub fn pending(path: &Path) -> io::Result<Vec<Undo>> {
        let text = fs::read_to_string(path).map_err(|error| at(path, &error))?;
        let mut undos = Vec::new();
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(Entry::Change(undo)) => undos.push(undo),
                Ok(Entry::UndoneDownTo(left)) => undos.truncate(left),
                Err(_cut_off) => break,
            }
        }
        Ok(undos)
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undo(name: &str) -> Undo {
        Undo::RemoveGroup { path: name.into() }
    }

    #[test]
    fn what_was_not_undone_is_pending() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        for name in ["a", "b", "c"] {
            journal.before(&undo(name)).unwrap();
        }
        journal.undone_down_to(1).unwrap();
        journal.before(&undo("d")).unwrap();
        assert_eq!(Journal::pending(&journal.path).unwrap(), [undo("a"), undo("d")]);
    }

    #[test]
    fn a_line_cut_off_by_a_crash_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        journal.before(&undo("a")).unwrap();
        journal.file.write_all(b"{\"change\":{\"remo").unwrap();
        assert_eq!(Journal::pending(&journal.path).unwrap(), [undo("a")]);
    }

    #[test]
    fn what_is_kept_is_not_abandoned_and_is_found_by_its_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        journal.before(&undo("a")).unwrap();
        journal.keep(42).unwrap();
        assert!(Journal::abandoned(dir.path()).unwrap().is_empty());
        assert_eq!(Journal::kept(dir.path(), Some(42)).unwrap(), [journal.path.clone()]);
        assert_eq!(Journal::kept(dir.path(), None).unwrap().len(), 1);
        assert!(Journal::kept(dir.path(), Some(4)).unwrap().is_empty());
        assert_eq!(Journal::pending(&journal.path).unwrap(), [undo("a")]);
    }

    #[test]
    fn only_the_journals_of_the_dead_are_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        assert!(Journal::abandoned(dir.path()).unwrap().is_empty());
        let dead = dir.path().join("1-999999999999-0.jsonl");
        fs::write(&dead, "").unwrap();
        assert_eq!(Journal::abandoned(dir.path()).unwrap(), [dead]);
        drop(journal);
        assert!(Journal::abandoned(Path::new("/no/such/dir")).unwrap().is_empty());
    }
}
