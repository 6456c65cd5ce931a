//! The guard: owns the changes made to the host (`changes`) and undoes them on every way out.

mod adjust;
mod changes;

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::{Context, Result};

pub use adjust::Adjuster;

use super::{
    Actions, Journal, Undo, journal::Id, quoted, settings::Shared as Settings, unrestored,
};

/// The environment variable that marks every process of a run.
const MARK: &str = "RTVM_RUN";

/// Owns all changes made to the host; undoes them when it is dropped.
pub struct Guard {
    host: Box<dyn Actions>,
    journal: Journal,
    undos: Vec<(Id, Undo)>,
    /// What could not be undone when it should have been; tried again in the end.
    left: Vec<(Id, Undo)>,
    run_id: String,
    state_dir: PathBuf,
    /// What was set, to see whether it lasts.
    settings: Settings,
    /// Nothing is to be undone any more.
    ended: bool,
}

/// A point to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(usize);

impl Guard {
    /// A guard with a new journal in `state_dir`.
    ///
    /// # Errors
    /// Where the journal cannot be made: then nothing may be changed.
    pub fn new(host: Box<dyn Actions>, state_dir: &Path) -> Result<Self> {
        let journal = Journal::create(state_dir).context("the journal of changes to this host")?;
        let pid = std::process::id();
        let run_id = format!("{pid}-{}", kernel::clock::monotonic_ns());
        let (undos, left, settings) = (Vec::new(), Vec::new(), Settings::default());
        let state_dir = state_dir.to_owned();
        let mut guard =
            Self { host, journal, undos, left, run_id, state_dir, settings, ended: false };
        let mark = format!("{MARK}={}", guard.run_id);
        guard.before(Undo::Processes { mark })?;
        Ok(guard)
    }

    /// The host, for looking at it.
    #[must_use]
    pub fn host(&self) -> &dyn Actions {
        &*self.host
    }

    fn before(&mut self, undo: Undo) -> Result<()> {
        let id = self.journal.before(&undo)?;
        model::detail!("change {id}, to be undone by {undo}");
        self.undos.push((id, undo));
        Ok(())
    }

    /// Starts a process that ends with this one, with the calling thread at the latest.
    ///
    /// # Errors
    /// Where it cannot be started, with its name.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let child = kernel::process::spawn_bound(command.env(MARK, &self.run_id))?;
        model::detail!("process {}: {}", child.id(), command_line(command));
        Ok(child)
    }

    /// What was set, for whoever watches whether it lasts.
    pub(super) fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// The state to which [`Guard::undo_to`] goes back.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.undos.len())
    }

    /// Leaves all changes as they are, with the journal for [`super::release`], for process `pid`.
    ///
    /// # Errors
    /// Where the journal cannot be kept; then everything is undone.
    pub fn keep(mut self, pid: i32) -> Result<()> {
        self.journal.keep(pid)?;
        self.ended = true;
        Ok(())
    }

    /// Forgets what was journalled since `mark`: those changes were refused, and none was made.
    ///
    /// # Errors
    /// Where the journal cannot be written.
    pub fn forget_to(&mut self, mark: Mark) -> Result<()> {
        let refused = self.undos.split_off(mark.0.min(self.undos.len()));
        self.settings.lock().forget_after(mark.0);
        Ok(self.journal.undone(refused.into_iter().map(|(id, _)| id).collect())?)
    }

    /// Undoes all changes since `mark`, the last one first. All are tried.
    ///
    /// # Errors
    /// What could not be undone; it is tried again in the end, and stays in the journal until then.
    pub fn undo_to(&mut self, mark: Mark) -> Result<()> {
        self.settings.lock().forget_after(mark.0);
        let changes = self.undos.split_off(mark.0.min(self.undos.len()));
        let failures = self.undo(changes);
        anyhow::ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }

    /// Undoes `changes`, the last one first, and writes down which are undone; what failed, a
    /// sentence each.
    fn undo(&mut self, changes: Vec<(Id, Undo)>) -> Vec<String> {
        let (mut undone, mut failures) = (Vec::new(), Vec::new());
        for (id, undo) in changes.into_iter().rev() {
            match undo.apply(&*self.host) {
                Ok(()) => undone.push(id),
                Err(error) => {
                    failures.push(format!("{undo}: {error}"));
                    self.left.push((id, undo));
                }
            }
        }
        failures.extend(self.journal.undone(undone).err().map(|error| error.to_string()));
        failures
    }

    /// Undoes everything, and what could not be undone before.
    ///
    /// # Errors
    /// What could not be undone; it stays in the journal, for `orchestrator restore`.
    pub fn finish(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.settings.lock().forget_all();
        // Processes first, so that no group has members and no thread a policy of ours. Where that
        // fails, it fails again in its turn, and is said then.
        if let Some((_, processes)) = self.undos.first() {
            let _ = processes.apply(&*self.host);
        }
        let changes = std::mem::take(&mut self.undos);
        let mut failures = self.undo(changes);
        if !self.left.is_empty() {
            let mut left = std::mem::take(&mut self.left);
            left.reverse();
            failures = self.undo(left);
        }
        if self.left.is_empty() && failures.is_empty() {
            failures.extend(self.journal.close().err().map(|error| error.to_string()));
        }
        anyhow::ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }
}

/// The program and its arguments, as a shell would take them.
fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            unrestored::note(format!("{error:#}"));
        }
    }
}

#[cfg(test)]
mod tests;
