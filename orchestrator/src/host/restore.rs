//! Undoes what a killed run left changed, or what was kept on purpose.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Actions, Journal};

/// What [`restore`] or [`release`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Restored {
    /// Runs that had left something; one run can have several journals.
    pub runs: usize,
    /// Changes undone.
    pub changes: usize,
}

/// Undoes everything in the journals of runs that are no longer there; what was kept on purpose
/// stays.
///
/// # Errors
/// The first change that could not be undone; its journal stays.
pub fn restore(host: &dyn Actions, state_dir: &Path) -> Result<Restored> {
    undo_all(host, &Journal::abandoned(state_dir)?)
}

/// Undoes what was kept on purpose: for process `pid`, or all of it.
///
/// # Errors
/// The first change that could not be undone; its journal stays.
pub fn release(host: &dyn Actions, state_dir: &Path, pid: Option<i32>) -> Result<Restored> {
    undo_all(host, &Journal::kept(state_dir, pid)?)
}

fn undo_all(host: &dyn Actions, journals: &[PathBuf]) -> Result<Restored> {
    let mut restored = Restored { runs: 0, changes: 0 };
    let runs: BTreeSet<_> = journals.iter().map(|path| Journal::run_of(path)).collect();
    restored.runs = runs.len();
    // What came last is undone first, as within a journal.
    for path in journals.iter().rev() {
        let undos = Journal::pending(path)?;
        // The first entry of a journal kills the run's processes: see `Guard::drop`.
        for undo in undos.iter().take(1).chain(undos.iter().rev()) {
            undo.apply(host).with_context(|| format!("{}: undoing {undo:?}", path.display()))?;
        }
        fs::remove_file(path).with_context(|| path.display().to_string())?;
        restored.changes += undos.len();
    }
    Ok(restored)
}
