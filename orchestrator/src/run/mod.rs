//! Runs a suite: plan, prepare, measure, collect, restore.

mod adapting;
mod admission;
mod attempt;
mod bench;
mod describe;
mod estimate;
mod files;
mod guest_clock;
mod host_bench;
mod kept;
mod machines;
mod measure;
mod names;
pub(crate) mod noise;
pub mod plan;
mod privilege;
mod probe;
mod progress;
pub(crate) mod record;
mod repetitions;
mod resume;
mod served;
mod services;
mod shares;
pub mod soak;
pub mod stalls;
mod tasks;
mod theirs;
mod theirs_admitted;
mod warm;
mod watched;
mod web;
mod work;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use model::{Manifest, manifest::KeepAwake, suite};

pub use resume::Resume;
pub use soak::{Soak, Soaked};

use self::{host_bench::HostBench, plan::Plan, resume::Begun};
use crate::{
    error::Refusal,
    folder::Folder,
    guests::Guests,
    host::{COSTLY_IDLE, Roots, Stage, Stop},
    reserve, service, trace,
};

/// CPU time of the calibration at the start of a run, which paced work and the load go by.
const CALIBRATION: Duration = Duration::from_secs(3);

/// What a run left behind.
#[derive(Debug)]
pub struct Finished {
    /// The result folder.
    pub folder: PathBuf,
    /// Repetitions without a complete attempt.
    pub failed: usize,
    /// What ended it before its time: the first miss.
    pub stopped: Option<String>,
}

/// A host that is prepared, and a folder for what is measured on it.
struct Ready {
    bench: HostBench,
    folder: Folder,
    manifest: Manifest,
}

/// Carries out a plan in a new folder below `out`, or goes on in an earlier one.
///
/// # Errors
/// What kept the run from starting or going on; failed repetitions are no errors, but counted.
pub fn execute(plan: &Plan, out: &Path, resume: Option<&Resume>, stop: &Stop) -> Result<Finished> {
    let Ready { mut bench, folder, mut manifest } = prepare(plan, out, resume, stop)?;
    let stopped = repetitions::run_all(plan, &mut bench, &folder, &mut manifest, stop)?;
    bench.end()?;
    let failed = repetitions::failed(plan, &manifest);
    Ok(Finished { folder: folder.path().to_owned(), failed, stopped })
}

/// Carries out a soak in a new folder below `out`.
///
/// # Errors
/// What keeps it from starting or going on; failed rounds are no errors, but counted.
pub fn soak(plan: &Plan, wanted: Soak, out: &Path, stop: &Stop) -> Result<Soaked> {
    let Ready { mut bench, folder, mut manifest } = prepare(plan, out, None, stop)?;
    let soaked = soak::run_all(plan, wanted, &mut bench, &folder, &mut manifest, stop)?;
    bench.end()?;
    Ok(soaked)
}

fn prepare(plan: &Plan, out: &Path, resume: Option<&Resume>, stop: &Stop) -> Result<Ready> {
    let roots = Roots::default();
    let without = privilege::admit(plan)?;
    if let Some(without) = &without {
        model::say!("note: {without}");
    }
    let mut wanted = plan.suite.experiments.iter().map(|one| one.trace.or(plan.suite.host.trace));
    if wanted.any(|wanted| wanted == Some(true)) {
        trace::available(&roots).map_err(|why| {
            Refusal::Lacking(format!("key `trace`: {why}; leave the key out to go without"))
        })?;
    }
    if plan.cpus.shared().is_some() {
        model::say!("note: {}", plan.cpus.reason);
    }
    let unparted = theirs_admitted::without_partition(plan)?;
    let theirs = theirs_admitted::admit(plan, unparted.is_none(), &roots, stop)?;
    if let Some(why) = &unparted {
        model::say!("note: {why}");
    }
    for experiment in plan.possible() {
        service::answers(experiment, stop)?;
    }
    let guests = if plan.has_guest() {
        Some(Guests::prepare(plan.suite.guest.accelerator, &systems(plan), stop)?)
    } else {
        None
    };
    if let Some(advice) = guests.as_ref().and_then(Guests::advice) {
        model::say!("note: {advice}");
    }
    let apache = plan.needs_apache().then(service::find).transpose()?;
    let mut now = record::begin(plan, guests.as_ref());
    if let Some(theirs) = theirs.filter(|_| now.accelerator.is_none()) {
        now.accelerator = reserve::record::accelerator(&roots, theirs.vm.pid);
    }
    let Begun { folder, mut manifest, resumed } = match resume {
        Some(resume) => resume::go_on(plan, resume, now)?,
        None => Begun::new(Folder::create(out, &plan.suite.name, &plan.text)?, now),
    };
    let without = without.or(unparted.clone());
    let mut stage = match &without {
        Some(_) if unparted.is_some() => Stage::beside(plan.cpus.clone(), stop.clone())?,
        Some(_) => Stage::unprivileged(plan.cpus.clone(), stop.clone())?,
        None => Stage::prepare(plan.cpus.clone(), stop.clone())?,
    };
    if plan.suite.host.quiet {
        stage.make_quiet()?;
    }
    match resumed {
        true if manifest.keep_awake.on => stage.keep_awake()?,
        true => {}
        false => manifest.keep_awake = keep_awake(plan, &mut stage)?,
    }
    manifest.cleared = stage.cleared();
    let calibration = folder.path().join("calibration.json");
    if !resumed || !calibration.exists() {
        let log = folder.path().join("calibration.log");
        tasks::calibrate_host(&stage, CALIBRATION, &calibration, &log)?;
    }
    folder.save(&manifest)?;
    let bench = HostBench {
        stage,
        guests,
        apache,
        kept: None,
        guest_settings: plan.suite.guest.clone(),
        calibration,
        sentinel: plan.suite.host.sentinel && without.is_none(),
        without,
        trace: plan.suite.host.trace,
        stop_above: plan.stop_above,
    };
    Ok(Ready { bench, folder, manifest })
}

/// What the guests of a plan boot.
fn systems(plan: &Plan) -> Vec<&suite::System> {
    let vms = plan.possible().flat_map(|one| &one.vms);
    vms.filter(|vm| vm.found.is_none()).map(|vm| &vm.system).collect()
}

/// Keeps the measured CPUs awake where the suite says so, or where it says nothing and leaving idle
/// costs much.
fn keep_awake(plan: &Plan, stage: &mut Stage) -> Result<KeepAwake> {
    let idle_cost = stage.idle_cost().ok();
    stage.stop.check()?;
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
