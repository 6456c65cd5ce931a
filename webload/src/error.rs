//! Why a run cannot take place, and why its files cannot be written.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::config::ConfigError;

/// Why a run could not take place; failed requests are no such reason.
#[derive(Debug, Error)]
pub enum RunError {
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The clients cannot be put on the CPU.
    #[error("cannot run the clients on CPU {cpu}: {error}")]
    Cpu {
        /// The CPU asked for.
        cpu: u32,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// More clients than the process may have connections.
    #[error(
        "{clients} clients need {needed} open files, and `ulimit -n` allows {limit}: raise it, or \
         use fewer clients"
    )]
    Descriptors {
        /// As configured.
        clients: u32,
        /// Their connections, and what the process has open beside them.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// No event loop, timer or thread.
    #[error("cannot set up the clients: {0}")]
    Setup(#[source] io::Error),
}

/// A file that cannot be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// It cannot be opened, as tried before the run.
    #[error("{option} {}: cannot be written: {error}", path.display())]
    Open {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What the file system says.
        #[source]
        error: io::Error,
    },
    /// Two options name the same file.
    #[error("{0}")]
    Same(String),
    /// It could not be written in the end.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        #[source]
        error: io::Error,
    },
    /// Rows that found no room: the writer was too far behind.
    #[error(
        "{rows} of {requests} requests have no row in --out: it is written more slowly than the \
         requests end (the summary counts all of them)"
    )]
    Lost {
        /// Requests without a row.
        rows: u64,
        /// All of them.
        requests: u64,
    },
    /// The histogram log could not be written; the text has its path.
    #[error("{0}")]
    Histogram(String),
}
