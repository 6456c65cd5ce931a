//! The manifest of a run: begun, and one record for each attempt.

use std::time::Duration;

use model::{
    Manifest, duration,
    manifest::{KeepAwake, RepetitionRecord, SCHEMA_VERSION, Status, Versions},
};

use super::{attempt::Attempted, guests::Guests, plan::Plan};
use crate::host::Roots;

/// The time now, RFC 3339 in UTC, whole seconds.
#[must_use]
pub fn now_utc() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The manifest at the start of a run.
#[must_use]
pub fn begin(plan: &Plan, keep_awake: KeepAwake, guests: Option<&Guests>) -> Manifest {
    Manifest {
        schema_version: SCHEMA_VERSION,
        suite: plan.suite.clone(),
        started_utc: now_utc(),
        finished_utc: None,
        host: Roots::default().host_facts(&plan.cpus),
        versions: Versions {
            bench: env!("CARGO_PKG_VERSION").to_owned(),
            qemu: guests.map(Guests::qemu_version),
            guest_kernel: guests.map(Guests::kernel_version),
        },
        seed: 0,
        accelerator: guests.map(Guests::accelerator),
        keep_awake,
        cleared: None,
        analyses: plan.suite.experiments.iter().filter_map(rtplan::experiment::analyse).collect(),
        impossible: plan.impossible.clone(),
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

/// Why a run cannot go on in this folder: the first thing that differs.
///
/// # Errors
/// What differs, with both values.
pub fn same_run(before: &Manifest, now: &Manifest) -> Result<(), String> {
    if before.schema_version != now.schema_version {
        return Err(format!(
            "the folder has layout version {}, this program writes {}",
            before.schema_version, now.schema_version
        ));
    }
    if before.suite != now.suite {
        return Err("the suite (or --only) differs from the one the folder was begun with".into());
    }
    let host = |manifest: &Manifest| {
        let facts = &manifest.host;
        [
            ("processor", format!("{:?}", facts.cpu_model)),
            ("number of CPUs", facts.cpus.to_string()),
            ("memory", format!("{:?}", facts.memory_bytes)),
            ("kernel", facts.kernel.clone()),
            ("measured CPU", facts.measured_cpu.to_string()),
            ("QEMU", format!("{:?}", manifest.versions.qemu)),
            ("guest kernel", format!("{:?}", manifest.versions.guest_kernel)),
            ("accelerator", format!("{:?}", manifest.accelerator.as_ref().map(|a| &a.name))),
        ]
    };
    for ((what, was), (_, is)) in host(before).into_iter().zip(host(now)) {
        if was != is {
            return Err(format!("the host differs: {what} was {was} and is {is}"));
        }
    }
    Ok(())
}
