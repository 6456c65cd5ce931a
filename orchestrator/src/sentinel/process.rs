//! The sentinel's process, as a run has it beside it.

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use model::{duration, manifest::SentinelFacts};
use tempfile::TempDir;

use super::body::READY;
use crate::host::{Background, Stage};

/// How long it may take until it watches.
const READY_LIMIT: Duration = Duration::from_secs(10);
const REPORT: &str = "report.json";

/// A sentinel that watches.
#[derive(Debug)]
pub struct Sentinel {
    process: Background,
    folder: TempDir,
}

impl Sentinel {
    /// Starts one with a budget of at most `most`, which writes `out` when it is stopped, and waits
    /// until it watches.
    ///
    /// # Errors
    /// Where it cannot be started or SCHED_DEADLINE is refused.
    pub fn start(stage: &Stage, most: Duration, out: &Path, log: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let exe = env::current_exe()?;
        let mut command = stage.on_measured(&exe, ["helper", "sentinel"])?;
        command.arg("--out").arg(out).arg("--report").arg(folder.path().join(REPORT));
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

    /// Ends it; how it watched.
    ///
    /// # Errors
    /// Where it had ended by itself, or did not say.
    pub fn stop(self) -> Result<SentinelFacts> {
        self.process.stop()?;
        let text = fs::read(self.folder.path().join(REPORT)).context("the sentinel's report")?;
        serde_json::from_slice(&text).context("the sentinel's report")
    }
}
