//! The repetitions of a plan, one after the other, each attempted until it is quiet.

use std::time::Instant;

use anyhow::{Context, Result};
use model::{
    Manifest,
    manifest::{RepetitionRecord, Status},
};

use super::{
    bench::{Attempted, Bench},
    noise,
    plan::{Plan, Planned},
    progress::Progress,
    record,
};
use crate::{
    error::Refusal,
    folder::{Folder, now_utc},
    guest::NoWayIn,
    host::Stop,
    sentinel,
};

/// Makes what is missing in the folder. Returns what was told of the first miss, where that ended it.
///
/// # Errors
/// A signal, or the file system's; a failed repetition is none, unless every one after it would fail
/// like it: [`Refusal::Usage`] for a disk that lets no programs in.
pub(super) fn run_all(
    plan: &Plan,
    bench: &mut dyn Bench,
    folder: &Folder,
    manifest: &mut Manifest,
    stop: &Stop,
) -> Result<Option<String>> {
    let is_missing = |planned: &&Planned| {
        let Planned { experiment, repetition, .. } = planned;
        let retries = plan.suite.noise.retries;
        !is_done(manifest, planned)
            || noise::wants_another(&manifest.repetitions, experiment, *repetition, retries)
    };
    let missing: Vec<&Planned> = plan.repetitions.iter().filter(is_missing).collect();
    let estimate = missing.iter().map(|planned| planned.estimate).sum();
    let mut progress = Progress::new(missing.len(), estimate, plan.quiet);
    bench.watch(progress.listener())?;
    for own in &plan.impossible {
        progress.note(&format!("{} is not possible here: {}", own.experiment, own.reason));
    }
    let mut stopped = None;
    for planned in missing {
        stopped = repetition(plan, planned, bench, folder, manifest, &mut progress, stop)?;
        progress.end();
        stop.check()?;
        if stopped.is_some() {
            break;
        }
    }
    progress.finish();
    manifest.finished_utc = Some(now_utc());
    folder.save(manifest)?;
    Ok(stopped)
}

/// The planned repetitions of which no attempt is complete.
pub(super) fn failed(plan: &Plan, manifest: &Manifest) -> usize {
    plan.repetitions.iter().filter(|planned| !is_done(manifest, planned)).count()
}

fn is_done(manifest: &Manifest, planned: &Planned) -> bool {
    manifest.repetitions.iter().any(|record| {
        record.experiment == planned.experiment
            && record.repetition == planned.repetition
            && record.status == Status::Done
    })
}

/// Attempts a repetition until it is quiet, or the retries are used up. A miss that ends the attempt
/// ends it all.
fn repetition(
    plan: &Plan,
    planned: &Planned,
    bench: &mut dyn Bench,
    folder: &Folder,
    manifest: &mut Manifest,
    progress: &mut Progress,
    stop: &Stop,
) -> Result<Option<String>> {
    let experiment = plan.experiment(planned);
    let noise = &plan.suite.noise;
    let Planned { experiment: name, repetition, estimate } = planned;
    // Attempts of an earlier run count where one is complete; failed ones are made up for.
    let done = is_done(manifest, planned);
    let before = if done { 0 } else { manifest.repetitions.len() };
    let begun = manifest.repetitions.len();
    loop {
        let attempt =
            noise::next_attempt(&manifest.repetitions, name).max(folder.next_attempt(name)?);
        let again = manifest.repetitions.len() > begun;
        let label = format!("{name} repetition {repetition}{}", if again { " again" } else { "" });
        progress.begin(&label, *estimate, again);
        let (started_utc, start) = (now_utc(), Instant::now());
        let partial = folder.begin(name, attempt)?;
        let attempted = bench.attempt(experiment, attempt, &partial);
        if attempted.error.is_some() {
            // An interrupted attempt is no result; its folder stays aside and is made again.
            stop.check()?;
        }
        let timing = (started_utc, start.elapsed());
        let record =
            record::of_attempt(name, (attempt, *repetition), timing, &attempted, noise.max_stalled);
        folder.commit(&partial, &record)?;
        if let Some(note) = note(&record, noise.max_stalled) {
            progress.note(&note);
        }
        let stopped = stopped(&record);
        manifest.repetitions.push(record);
        manifest.cleared = bench.cleared();
        noise::choose(&mut manifest.repetitions, name, *repetition);
        folder.save(manifest).context("after a repetition")?;
        hopeless(&attempted)?;
        if stopped.is_some()
            || !noise::wants_another(
                &manifest.repetitions[before..],
                name,
                *repetition,
                noise.retries,
            )
        {
            return Ok(stopped);
        }
    }
}

/// Fails where each further attempt would take as long as this one, and fail like it.
fn hopeless(attempted: &Attempted) -> Result<(), Refusal> {
    let error = attempted.error.as_ref();
    match error.filter(|error| error.downcast_ref::<NoWayIn>().is_some()) {
        Some(error) => Err(Refusal::Usage(format!("{error:#}"))),
        None => Ok(()),
    }
}

/// What is told of an attempt that its first miss ended.
fn stopped(record: &RepetitionRecord) -> Option<String> {
    let stopped = record.facts.stopped.as_ref()?;
    Some(format!(
        "{} rep-{:03}: {} missed its deadline {:.3} s after the first release, and the run ended \
         there",
        record.experiment,
        record.attempt,
        stopped.task,
        stopped.after_ns as f64 / 1e9
    ))
}

/// What the user should know of an attempt at once.
fn note(record: &RepetitionRecord, max_stalled: f64) -> Option<String> {
    let name = format!("{} rep-{:03}", record.experiment, record.attempt);
    if let Some(error) = &record.error {
        return Some(format!("{name} failed: {error}"));
    }
    if let Some(why) = record.facts.all_sentinels().find_map(sentinel::blind) {
        return Some(format!("{name}: {why}"));
    }
    let share = record.stalled_share.filter(|_| record.noisy)?;
    let which = if record.facts.sentinels.is_empty() { "the" } else { "a" };
    Some(format!(
        "{name} is noisy: {which} measured CPU was stalled for {:.2} % of the time (limit {:.2} %)",
        share * 100.0,
        max_stalled * 100.0
    ))
}

#[cfg(test)]
mod tests;
