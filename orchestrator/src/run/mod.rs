//! Runs a suite: plan, prepare, measure, collect, restore.

mod admission;
mod attempt;
pub mod folder;
mod guests;
mod kvm;
mod noise;
pub mod plan;
mod progress;
pub(crate) mod record;
pub mod stalls;
mod tasks;
mod warm;
mod web;
mod work;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use model::{
    Manifest,
    manifest::{KeepAwake, Status},
};

pub use guests::Guests;

use self::{
    attempt::Bench,
    folder::Folder,
    plan::{Plan, Planned},
    progress::Progress,
};
use crate::{
    check::COSTLY_IDLE,
    error::Refusal,
    host::{Roots, Stage, Stop},
    sentinel, service, trace,
};

/// CPU time of the calibration at the start of a run, which paced work and the load go by.
const CALIBRATION: Duration = Duration::from_secs(3);

/// What a run left behind.
#[derive(Debug)]
pub struct Finished {
    /// The result folder.
    pub folder: PathBuf,
    /// Attempts that failed.
    pub failed: usize,
}

/// Carries out a plan in a new folder below `out`, or goes on in the folder `resume`.
///
/// # Errors
/// What kept the run from starting or going on; failed repetitions are no errors, but counted.
pub fn execute(plan: &Plan, out: &Path, resume: Option<&Path>, stop: &Stop) -> Result<Finished> {
    let mut wanted = plan.suite.experiments.iter().map(|one| one.trace.or(plan.suite.host.trace));
    if wanted.any(|wanted| wanted == Some(true)) {
        trace::available(&Roots::default()).map_err(|why| {
            Refusal::Lacking(format!("key `trace`: {why}; leave the key out to go without"))
        })?;
    }
    let earlier = resume.map(Folder::open).transpose()?;
    let guests = if plan.has_guest() {
        Some(Guests::prepare(plan.suite.guest.accelerator, stop)?)
    } else {
        None
    };
    if let Some(advice) = guests.as_ref().and_then(Guests::advice) {
        model::say!("note: {advice}");
    }
    let apache = plan.has_service().then(service::find).transpose()?;
    let (folder, earlier) = match earlier {
        Some((folder, manifest)) => (folder, Some(manifest)),
        None => (Folder::create(out, &plan.suite.name, &plan.text)?, None),
    };
    let mut stage = Stage::prepare(plan.cpus.clone(), stop.clone())?;
    if plan.suite.host.quiet {
        stage.make_quiet()?;
    }
    let keep_awake = keep_awake(plan, &mut stage)?;
    let mut manifest = record::begin(plan, keep_awake, guests.as_ref());
    if let Some(earlier) = earlier {
        record::same_run(&earlier, &manifest)
            .map_err(|why| Refusal::Usage(format!("{}: {why}", folder.path().display())))?;
        manifest = earlier;
    }
    manifest.cleared = stage.cleared();
    folder.save(&manifest)?;
    let calibration = folder.path().join("calibration.json");
    let log = folder.path().join("calibration.log");
    tasks::calibrate_host(&stage, CALIBRATION, &calibration, &log)?;
    let bench = Bench {
        stage,
        guests,
        apache,
        warm: None,
        guest_settings: plan.suite.guest.clone(),
        calibration,
        sentinel: plan.suite.host.sentinel,
        trace: plan.suite.host.trace,
    };
    run_all(plan, bench, &folder, &mut manifest, stop)?;
    let failed = manifest.repetitions.iter().filter(|one| one.status == Status::Failed).count();
    Ok(Finished { folder: folder.path().to_owned(), failed })
}

/// Keeps the measured CPU awake where the suite says so, or where it says nothing and leaving idle
/// costs much.
fn keep_awake(plan: &Plan, stage: &mut Stage) -> Result<KeepAwake> {
    let idle_cost = stage.idle_cost().ok();
    let (on, reason) = match plan.suite.host.keep_awake {
        Some(on) => (on, "the suite says so".to_owned()),
        None => match idle_cost {
            Some(cost) if cost > COSTLY_IDLE => (true, format!("leaving idle costs {cost:.2}")),
            Some(cost) => (false, format!("leaving idle costs only {cost:.2}")),
            None => (true, "what leaving idle costs could not be measured".to_owned()),
        },
    };
    if on {
        stage.keep_awake()?;
    }
    Ok(KeepAwake { on, reason, idle_cost })
}

fn run_all(
    plan: &Plan,
    mut bench: Bench,
    folder: &Folder,
    manifest: &mut Manifest,
    stop: &Stop,
) -> Result<()> {
    let missing: Vec<&Planned> =
        plan.repetitions.iter().filter(|planned| !is_done(manifest, planned)).collect();
    let estimate = missing.iter().map(|planned| planned.estimate).sum();
    let mut progress = Progress::new(missing.len(), estimate);
    for own in &plan.impossible {
        progress.note(&format!("{} is not possible here: {}", own.experiment, own.reason));
    }
    for planned in missing {
        repetition(plan, planned, &mut bench, folder, manifest, &mut progress)?;
        progress.end();
        stop.check()?;
    }
    progress.finish();
    bench.end_guest()?;
    manifest.finished_utc = Some(record::now_utc());
    folder.save(manifest)
}

fn is_done(manifest: &Manifest, planned: &Planned) -> bool {
    manifest.repetitions.iter().any(|record| {
        record.experiment == planned.experiment
            && record.repetition == planned.repetition
            && record.status == Status::Done
    })
}

/// Attempts a repetition until it is quiet, or the retries are used up.
fn repetition(
    plan: &Plan,
    planned: &Planned,
    bench: &mut Bench,
    folder: &Folder,
    manifest: &mut Manifest,
    progress: &mut Progress,
) -> Result<()> {
    let experiment = plan.experiment(planned);
    let noise = &plan.suite.noise;
    let Planned { experiment: name, repetition, estimate } = planned;
    let before = manifest.repetitions.len();
    loop {
        let attempt = noise::next_attempt(&manifest.repetitions, name);
        let again = manifest.repetitions.len() > before;
        let label = format!("{name} repetition {repetition}{}", if again { " again" } else { "" });
        progress.begin(&label, *estimate, again);
        let (started_utc, start) = (record::now_utc(), Instant::now());
        let partial = folder.begin(name, attempt)?;
        let attempted = bench.attempt(experiment, attempt, &partial);
        if attempted.error.is_some() {
            // An interrupted attempt is no result; its folder stays aside and is made again.
            bench.stage.stop.check()?;
        }
        folder.commit(&partial, name, attempt)?;
        let timing = (started_utc, start.elapsed());
        let record =
            record::of_attempt(name, (attempt, *repetition), timing, &attempted, noise.max_stalled);
        if let Some(note) = note(&record, noise.max_stalled) {
            progress.note(&note);
        }
        manifest.repetitions.push(record);
        manifest.cleared = bench.stage.cleared();
        noise::choose(&mut manifest.repetitions, name, *repetition);
        folder.save(manifest).context("after a repetition")?;
        if !noise::wants_another(&manifest.repetitions[before..], name, *repetition, noise.retries)
        {
            return Ok(());
        }
    }
}

/// What the user should know of an attempt at once.
fn note(record: &model::manifest::RepetitionRecord, max_stalled: f64) -> Option<String> {
    let name = format!("{} rep-{:03}", record.experiment, record.attempt);
    if let Some(error) = &record.error {
        return Some(format!("{name} failed: {error}"));
    }
    if let Some(why) = record.facts.sentinel.as_ref().and_then(sentinel::blind) {
        return Some(format!("{name}: {why}"));
    }
    let share = record.stalled_share.filter(|_| record.noisy)?;
    Some(format!(
        "{name} is noisy: the CPU ran nobody for {:.2} % of the time (at most {:.2} %)",
        share * 100.0,
        max_stalled * 100.0
    ))
}
