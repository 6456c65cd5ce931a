//! `reports merge`: one report of many hosts.
//!
//! Folders are read one after the other, two at a time; of each only a [`summary::Summary`] stays, so
//! that memory grows by a few KiB a folder. [`merged`] puts them together, [`table`] and [`page`]
//! write it down.

pub mod facts;
pub mod input;
pub mod merged;
pub mod page;
pub mod summary;
pub mod table;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use rayon::prelude::*;

use self::{input::Source, merged::Merged, summary::Summary};
use crate::{error::ReportError, grid::Format, render};

/// The arguments of `reports merge`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Result folders, and fleet folders that `orchestrator fetch` has filled
    #[arg(required = true)]
    dirs: Vec<PathBuf>,
    /// Write the page (index.html) and the tables (CSV) into this folder, and print the page's path
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How to print the tables; CSV is one row for each host, experiment and task, in nanoseconds
    #[arg(long, value_enum, default_value_t, conflicts_with = "out")]
    format: Format,
    /// Which response time of a repetition stands for it
    #[arg(long, value_enum, default_value_t)]
    statistic: Statistic,
}

/// Which response time of a repetition stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Statistic {
    /// The median.
    P50,
    /// The 99th percentile.
    #[default]
    P99,
    /// The longest.
    Max,
}

impl Statistic {
    /// The word used in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Max => "max",
        }
    }

    fn percentile(self) -> f64 {
        match self {
            Self::P50 => 50.0,
            Self::P99 => 99.0,
            Self::Max => 100.0,
        }
    }
}

/// How many folders are open at once: memory is bounded by the largest two.
const READERS: usize = 2;

/// Reads, and prints or writes the report.
///
/// # Errors
/// A folder that cannot be read, one host's experiment twice, or a file that cannot be written.
pub fn run(arguments: &Arguments) -> Result<String, ReportError> {
    let sources = input::sources(&arguments.dirs)?;
    let merged = Merged::of(summaries(&sources, arguments.statistic)?, arguments.statistic)?;
    match &arguments.out {
        Some(folder) => write(&merged, folder),
        None => Ok(table::text(&merged, arguments.format)),
    }
}

/// In the order of the sources.
///
/// # Errors
/// The first folder that cannot be read.
pub fn summaries(sources: &[Source], statistic: Statistic) -> Result<Vec<Summary>, ReportError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(READERS).build();
    let pool = pool.map_err(|error| ReportError::Nothing(format!("no threads: {error}")))?;
    pool.install(|| sources.par_iter().map(|own| Summary::of(own, statistic)).collect())
}

fn write(merged: &Merged, folder: &Path) -> Result<String, ReportError> {
    std::fs::create_dir_all(folder).map_err(|error| ReportError::write(folder, error))?;
    let mut files = Vec::new();
    let mut put = |name: &str, text: String| {
        render::write(folder, name.to_owned(), text.as_bytes(), &mut files)
    };
    put("cells.csv", table::cells(merged).write(Format::Csv))?;
    put("claims.csv", table::verdicts(merged).write(Format::Csv))?;
    put("differences.csv", table::differences(merged, true).write(Format::Csv))?;
    // The page last, so that it never speaks of a file that is not there.
    put("index.html", page::write(merged))?;
    Ok(format!("{}\n", folder.join("index.html").display()))
}
