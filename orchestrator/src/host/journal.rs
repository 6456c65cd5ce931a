//! The write-ahead journal: what would undo each change, on disk before the change is made.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use kernel::procfs::Proc;
use serde::{Deserialize, Serialize};

use super::{Undo, state};

/// Names an entry within its journal.
pub type Id = u64;

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    /// About to be done; `undo` undoes it.
    Change { id: Id, undo: Undo },
    /// These changes have been undone.
    Undone(Vec<Id>),
}

/// Journals of what is kept on purpose begin with this; the others with a process id.
const KEPT: &str = "kept";

/// The journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    next: Id,
    /// The last write may have left a piece of a line.
    torn: bool,
}

impl Journal {
    /// Starts the journal of this process in `dir`.
    ///
    /// # Errors
    /// The file system's, with the path; a folder that somebody else may write into.
    pub fn create(dir: &Path) -> io::Result<Self> {
        state::make(dir)?;
        let pid = std::process::id();
        let start_time = Proc::default().start_time(pid as i32)?;
        // A run can have several journals; the numbers say in which order they were begun.
        for serial in 0u32.. {
            let path = dir.join(format!("{pid}-{start_time}-{serial:03}.jsonl"));
            let mut options = OpenOptions::new();
            match options.create_new(true).append(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at(&path, &error)),
                Ok(file) => return Ok(Self { path, file, next: 0, torn: false }),
            }
        }
        unreachable!("there are more numbers than files")
    }

    /// Opens a journal that a run has left, to write down what of it is undone.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn reopen(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path).map_err(|error| at(path, &error))?;
        Ok(Self { path: path.to_owned(), file, next: Id::MAX, torn: true })
    }

    /// Writes down what would undo the change that is about to be made.
    ///
    /// # Errors
    /// The file system's, with the path; then the change must not be made.
    pub fn before(&mut self, undo: &Undo) -> io::Result<Id> {
        let id = self.next;
        self.append(&Entry::Change { id, undo: undo.clone() })?;
        self.next += 1;
        Ok(id)
    }

    /// Writes down that these changes are undone, or were not made.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub fn undone(&mut self, ids: Vec<Id>) -> io::Result<()> {
        if ids.is_empty() { Ok(()) } else { self.append(&Entry::Undone(ids)) }
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if self.torn {
            // So that the piece of a line that may be there hides nothing.
            line.insert(0, b'\n');
        }
        // One write, so that a kill leaves a whole line or none; a full disk may leave a piece.
        let written = self.file.write_all(&line);
        self.torn = written.is_err();
        written.map_err(|error| at(&self.path, &error))
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
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
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

    /// What is still to be undone according to a journal, in the order in which it was changed. A
    /// torn line is left out, since its change was not made.
    ///
    /// # Errors
    /// The file system's.
    pub fn pending(path: &Path) -> io::Result<Pending> {
        let bytes = fs::read(path).map_err(|error| at(path, &error))?;
        let mut pending = Pending::default();
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Entry::Change { id, undo }) => pending.changes.push((id, undo)),
                Ok(Entry::Undone(ids)) => pending.changes.retain(|(id, _)| !ids.contains(id)),
                // Whole, but of another version of this program: something is to be undone.
                Err(_) if serde_json::from_slice::<serde_json::Value>(line).is_ok() => {
                    pending.unknown += 1;
                }
                Err(_torn) => {}
            }
        }
        Ok(pending)
    }
}

/// What a journal lists and nobody has undone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// In the order in which they were made.
    pub changes: Vec<(Id, Undo)>,
    /// Entries that this version of the program does not know.
    pub unknown: usize,
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

    fn pending(journal: &Journal) -> Vec<(Id, Undo)> {
        Journal::pending(&journal.path).unwrap().changes
    }

    #[test]
    fn what_was_not_undone_is_pending() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        for name in ["a", "b", "c"] {
            journal.before(&undo(name)).unwrap();
        }
        journal.undone(vec![2, 0]).unwrap();
        journal.before(&undo("d")).unwrap();
        assert_eq!(pending(&journal), [(1, undo("b")), (3, undo("d"))]);
    }

    #[test]
    fn a_torn_line_is_left_out_and_hides_nothing_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        journal.before(&undo("a")).unwrap();
        journal.file.write_all(b"{\"change\":{\"id\":1,\"remo").unwrap();
        journal.torn = true;
        assert_eq!(pending(&journal), [(0, undo("a"))]);
        journal.before(&undo("b")).unwrap();
        assert_eq!(pending(&journal), [(0, undo("a")), (1, undo("b"))]);
        journal.file.write_all(b"\xff{\"undo").unwrap();
        Journal::reopen(&journal.path).unwrap().undone(vec![0]).unwrap();
        assert_eq!(pending(&journal), [(1, undo("b"))]);
    }

    #[test]
    fn an_entry_of_another_version_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        journal.file.write_all(b"{\"change\":{\"file\":{}}}\n").unwrap();
        journal.before(&undo("a")).unwrap();
        let expected = Pending { changes: vec![(0, undo("a"))], unknown: 1 };
        assert_eq!(Journal::pending(&journal.path).unwrap(), expected);
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
        assert_eq!(pending(&journal), [(0, undo("a"))]);
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

    #[test]
    fn mutated_journals_are_read_or_refused_and_hide_no_whole_line_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        for name in ["a", "b", "c"] {
            journal.before(&undo(name)).unwrap();
        }
        journal.before(&Undo::File { path: "/f".into(), value: "1".into() }).unwrap();
        journal.undone(vec![1]).unwrap();
        let good = fs::read(&journal.path).unwrap();
        let file = dir.path().join("spoiled");
        mutate::inputs(&[good], |bytes| {
            let (mut text, whole) = (bytes.to_vec(), Entry::Change { id: 77, undo: undo("z") });
            text.push(b'\n');
            text.extend(serde_json::to_vec(&whole).unwrap());
            fs::write(&file, &text).unwrap();
            let pending = Journal::pending(&file).unwrap();
            assert_eq!(pending.changes.last(), Some(&(77, undo("z"))));
        });
    }
}
