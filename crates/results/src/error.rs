//! Why a result folder cannot be read.

use std::io;

use model::{manifest::SCHEMA_VERSION, sample::SampleError};
use thiserror::Error;

/// Bad input: nothing was touched.
#[derive(Debug, Error)]
pub enum Error {
    /// The folder holds no manifest.
    #[error(
        "{folder}: {error}; a result folder has a `manifest.json`, as `orchestrator run` writes it"
    )]
    NoManifest {
        /// The folder.
        folder: String,
        /// Why `manifest.json` cannot be read.
        error: io::Error,
    },
    /// The manifest is not one.
    #[error("{file}: {error}")]
    Manifest {
        /// The file.
        file: String,
        /// Where and why.
        error: serde_json::Error,
    },
    /// The folder was written by a newer version.
    #[error("{file}: key `schema_version` is {found}; this program reads up to {SCHEMA_VERSION}")]
    Schema {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
    },
    /// A CSV file is malformed.
    #[error(transparent)]
    Sample(#[from] SampleError),
}
