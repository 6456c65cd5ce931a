//! Fixed work: the processor's speed beside a repetition.
//!
//! A task's execution time becomes iterations by a calibration of the measured CPU of the host, made
//! just before the repetition, while nothing else runs there; the same iterations run in a guest.
//! What the same loop costs just after tells how far the speed drifted meanwhile.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use model::{
    manifest::FixedWork,
    suite::{Experiment, Work},
};

use super::tasks;
use crate::host::Stage;

/// CPU time of a calibration beside a repetition.
const LENGTH: Duration = Duration::from_secs(1);

/// The calibration just before a repetition of fixed work.
#[derive(Debug)]
pub(super) struct Before {
    /// The file, in the repetition's folder.
    pub file: PathBuf,
    /// Nanoseconds of an iteration.
    pub ns_per_iteration: f64,
}

/// Calibrates into `folder` where the experiment's work is fixed.
///
/// # Errors
/// Where rtload fails.
pub(super) fn before(stage: &Stage, one: &Experiment, folder: &Path) -> Result<Option<Before>> {
    let has_tasks = one.workloads().iter().any(|own| !own.tasks().is_empty());
    if one.work == Work::Paced || !has_tasks {
        return Ok(None);
    }
    let file = folder.join("calibration.json");
    let log = folder.join("calibration.log");
    let ns_per_iteration = tasks::calibrate_host(stage, LENGTH, &file, &log)?;
    Ok(Some(Before { file, ns_per_iteration }))
}

impl Before {
    /// Calibrates again, once nothing runs on the measured CPU any more.
    ///
    /// # Errors
    /// Where rtload fails.
    pub fn and_after(&self, stage: &Stage, folder: &Path) -> Result<FixedWork> {
        let (file, log) = (folder.join("calibration-after.json"), folder.join("calibration.log"));
        let after_ns_per_iteration = tasks::calibrate_host(stage, LENGTH, &file, &log)?;
        Ok(FixedWork { before_ns_per_iteration: self.ns_per_iteration, after_ns_per_iteration })
    }
}
