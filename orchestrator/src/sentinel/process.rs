//! The sentinel's process, as a run has it beside it.

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use model::{
    duration,
    manifest::SentinelFacts,
    sample::{Stall, read_csv},
};
use tempfile::TempDir;

use super::body::READY;
use crate::host::{Background, Stage};

/// How long it may take until it watches.
const READY_LIMIT: Duration = Duration::from_secs(10);
const REPORT: &str = "report.json";
const STALLS: &str = "stalls.csv";

/// A sentinel that watches.
#[derive(Debug)]
pub struct Sentinel {
    process: Background,
    folder: TempDir,
}

/// What a sentinel saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Ascending.
    pub stalls: Vec<Stall>,
    /// How it watched.
    pub facts: SentinelFacts,
}

impl Watched {
    /// All stalls together.
    #[must_use]
    pub fn stalled_ns(&self) -> u64 {
        self.stalls.iter().map(|stall| stall.length_ns).sum()
    }
}

impl Sentinel {
    /// Starts one on a measured CPU with a budget of at most `most`, and waits until it watches.
    ///
    /// # Errors
    /// Where it cannot be started or SCHED_DEADLINE is refused.
    pub fn start(stage: &Stage, cpu: u32, most: Duration, log: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let exe = env::current_exe()?;
        let mut command = stage.on_measured(cpu, &exe, ["helper", "sentinel"])?;
        command.args(["--cpu", &cpu.to_string()]);
        command.arg("--out").arg(folder.path().join(STALLS));
        command.arg("--report").arg(folder.path().join(REPORT));
        command.arg("--most").arg(duration::format(most));
        let mut process = Background::start(&stage.guard, "the stall sentinel", &mut command, log)?;
        process.wait_for_line(READY, READY_LIMIT, &stage.stop)?;
        Ok(Self { process, folder })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Ends it; what it saw.
    ///
    /// # Errors
    /// Where it had ended by itself, or did not say.
    pub fn stop(self) -> Result<Watched> {
        self.process.stop()?;
        let text = fs::read(self.folder.path().join(REPORT)).context("the sentinel's report")?;
        let facts = serde_json::from_slice(&text).context("the sentinel's report")?;
        Ok(Watched { stalls: read_csv(&self.folder.path().join(STALLS))?, facts })
    }
}
