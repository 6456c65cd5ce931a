//! What enters: the agent and the load generator, without shared libraries.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    error::Refusal,
    guest::{static_programs, stripped},
};

/// Their contents.
pub(super) struct Files {
    pub agent: Vec<u8>,
    pub rtload: Vec<u8>,
}

/// Where they are on this host.
///
/// # Errors
/// [`Refusal::Lacking`] where they were not built.
pub(super) fn paths() -> Result<[PathBuf; 2], Refusal> {
    static_programs()
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    /// [`Refusal::Lacking`], or that of the file system.
    pub fn read() -> Result<Self> {
        let [agent, rtload] = paths()?;
        let read = |path: PathBuf| {
            fs::read(&path).map(stripped).with_context(|| path.display().to_string())
        };
        Ok(Self { agent: read(agent)?, rtload: read(rtload)? })
    }
}
