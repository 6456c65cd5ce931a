//! The manifest of a run: begun, and one record for each attempt.

use std::time::Duration;

use model::{
    Manifest, duration,
    manifest::{KeepAwake, RepetitionRecord, SCHEMA_VERSION, Status, Versions},
};

use super::{bench::Attempted, plan::Plan};
use crate::{folder::now_utc, guests::Guests, host::Roots};

/// The manifest at the start of a run.
#[must_use]
pub fn begin(plan: &Plan, guests: Option<&Guests>) -> Manifest {
    Manifest {
        schema_version: SCHEMA_VERSION,
        suite: plan.suite.clone(),
        started_utc: now_utc(),
        finished_utc: None,
        host: Roots::default().host_facts(&plan.cpus),
        versions: Versions {
            bench: env!("CARGO_PKG_VERSION").to_owned(),
            qemu: guests.map(Guests::qemu_version),
            guest_kernel: guests.and_then(Guests::kernels_in_use),
        },
        seed: plan.seed,
        accelerator: guests.map(Guests::accelerator),
        disks: guests.map(Guests::disks).unwrap_or_default(),
        keep_awake: KeepAwake {
            on: false,
            reason: "the host was not looked at yet".to_owned(),
            idle_cost: None,
        },
        cleared: None,
        analyses: rtplan::experiment::analyses(&plan.suite),
        impossible: plan.impossible.clone(),
        resumed: Vec::new(),
        repetitions: Vec::new(),
    }
}

/// The record of an attempt that has ended; whether it counts is decided later.
#[must_use]
pub fn of_attempt(
    experiment: &str,
    (attempt, repetition): (u32, u32),
    (started_utc, elapsed): (String, Duration),
    attempted: &Attempted,
    max_stalled: f64,
) -> RepetitionRecord {
    RepetitionRecord {
        experiment: experiment.to_owned(),
        attempt,
        repetition,
        status: if attempted.error.is_some() { Status::Failed } else { Status::Done },
        error: attempted.error.as_ref().map(|error| format!("{error:#}")),
        started_utc,
        elapsed_ns: duration::as_ns(elapsed),
        stalled_share: attempted.stalled_share,
        noisy: attempted.stalled_share.is_some_and(|share| share > max_stalled),
        counts: false,
        facts: attempted.facts.clone(),
    }
}
