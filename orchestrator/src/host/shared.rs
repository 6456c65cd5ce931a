//! Settings of the whole host that several programs of the bench want at once: each has a file in a
//! folder of users, and the last to leave puts the setting back.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{lock::Lock, state};

/// How long another program may take to join or leave.
const LIMIT: Duration = Duration::from_secs(10);

/// The users of a setting, locked.
#[derive(Debug)]
pub(super) struct Users {
    folder: PathBuf,
    _lock: Lock,
}

impl Users {
    /// The folder of the users of setting `name`.
    pub fn folder(state_dir: &Path, name: &str) -> PathBuf {
        state_dir.join("shared").join(name)
    }

    /// Locks a folder, which is made where it is not there.
    pub fn lock(folder: PathBuf) -> io::Result<Self> {
        state::make(&folder)?;
        let lock = Lock::folder(&folder, LIMIT)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(fs::read_dir(&self.folder)?.next().is_none())
    }

    /// Adds one.
    pub fn join(&self, user: &str) -> io::Result<()> {
        fs::write(self.folder.join(user), "")
    }

    /// Takes one away; where it was the last, `put_back` is called. Where it was away already,
    /// nothing is done.
    pub fn leave(&self, user: &str, put_back: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match fs::remove_file(self.folder.join(user)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed?,
        }
        if !self.is_empty()? {
            return Ok(());
        }
        // Until it is put back, somebody has it: the next try begins here again.
        put_back().or_else(|error| self.join(user).and(Err(error)))
    }
}
