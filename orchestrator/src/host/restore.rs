//! Undoes what a killed run left changed, or what was kept on purpose.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{Actions, Journal, Undo, lock::Lock, state};

/// What [`restore`] or [`release`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Runs that had left something; one run can have several journals.
    pub runs: usize,
    /// Changes undone.
    pub changes: usize,
    /// What could not be undone, a sentence each; it stays in its journal for the next time.
    pub left: Vec<String>,
}

/// Undoes everything in the journals of runs that are no longer there; what was kept on purpose
/// stays. What fails stops nothing else.
///
/// # Errors
/// Where the state folder cannot be read, or is not ours alone.
pub fn restore(host: &dyn Actions, state_dir: &Path) -> Result<Restored> {
    alone(state_dir, || Ok(undo_all(host, &Journal::abandoned(state_dir)?)))
}

/// Undoes what was kept on purpose: for process `pid`, or all of it. What fails stops nothing else.
///
/// # Errors
/// Where the state folder cannot be read, or is not ours alone.
pub fn release(host: &dyn Actions, state_dir: &Path, pid: Option<i32>) -> Result<Restored> {
    alone(state_dir, || Ok(undo_all(host, &Journal::kept(state_dir, pid)?)))
}

/// Two that undo the same journal would be in each other's way.
fn alone(state_dir: &Path, undo: impl FnOnce() -> Result<Restored>) -> Result<Restored> {
    const LIMIT: Duration = Duration::from_secs(60);
    state::trusted(state_dir)?;
    if !state_dir.exists() {
        return Ok(Restored::default());
    }
    let _lock = Lock::folder(state_dir, LIMIT)?;
    undo()
}

fn undo_all(host: &dyn Actions, journals: &[PathBuf]) -> Restored {
    let runs: BTreeSet<_> = journals.iter().map(|path| Journal::run_of(path)).collect();
    let mut restored = Restored { runs: runs.len(), ..Restored::default() };
    // What came last is undone first, as within a journal.
    for path in journals.iter().rev() {
        if let Err(error) = undo_journal(host, path, &mut restored) {
            restored.left.push(format!("{error:#}"));
        }
    }
    restored
}

fn undo_journal(host: &dyn Actions, path: &Path, restored: &mut Restored) -> Result<()> {
    let pending = Journal::pending(path)?;
    let before = restored.left.len();
    // The run's processes first, so that no group has members and no thread a policy of ours; it is
    // done again in its turn, and counts then.
    let is_first = |(_, undo): &&(_, Undo)| matches!(undo, Undo::Processes { .. });
    if let Some((_, processes)) = pending.changes.iter().find(is_first) {
        let _ = processes.apply(host);
    }
    let mut undone = Vec::new();
    for (id, undo) in pending.changes.iter().rev() {
        match undo.apply(host) {
            Ok(()) => undone.push(*id),
            Err(error) => restored.left.push(format!("{undo}: {error}")),
        }
    }
    restored.changes += undone.len();
    if pending.unknown > 0 {
        restored.left.push(format!(
            "{}: {} entries are of another version of this program, which can undo them; remove \
             the file once they are",
            path.display(),
            pending.unknown
        ));
    }
    if restored.left.len() > before {
        return Ok(Journal::reopen(path)?.undone(undone)?);
    }
    fs::remove_file(path).with_context(|| path.display().to_string())
}
