//! Conditions of a simulation from a measured result folder.
//!
//! What is taken from where is explained in `docs/simulation.md`. Nothing that was not measured is
//! made up: where the folder has no answer, the suite's own values stay, and a note says so.

use std::{
    fs,
    path::{Path, PathBuf},
};

use model::{
    Manifest, Task,
    manifest::SCHEMA_VERSION,
    sample::{Job, SampleError, Stall, read_csv},
    stats::percentile,
    suite::Experiment,
};
use thiserror::Error;

use super::{
    chance::{Stalls, Times},
    experiment::{Conditions, SENTINEL_INTERVAL_NS, SENTINEL_WORK_NS},
    setup::Tick,
    traced::{self, Traced},
};

/// A job is disturbed where a longer stall is in its busy period (`docs/method.md`).
const DISTURBED_NS: u64 = 500_000;

/// Fewer jobs than this make no distribution.
const LEAST_JOBS: usize = 10;

/// A start that comes later than this after its release, under a reservation, waited for budget.
pub(super) const MOST_LATENCY_NS: u64 = 3_000_000;

/// Why a folder cannot be calibrated from.
#[derive(Debug, Error)]
pub enum CalibrateError {
    /// No manifest, or none of ours.
    #[error("{}: {why}; is this a result folder?", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What the system or the parser says.
        why: String,
    },
    /// It was simulated itself.
    #[error("{}: these results were simulated; calibrate from measured ones", .0.display())]
    Simulated(PathBuf),
    /// A row that cannot be read.
    #[error(transparent)]
    Samples(#[from] SampleError),
}

/// A measured result folder.
#[derive(Debug)]
pub struct Measured {
    folder: PathBuf,
    manifest: Manifest,
}

/// The jobs of a measured experiment that no stall disturbed.
struct Quiet<'a> {
    experiment: &'a Experiment,
    jobs: Vec<Job>,
}

impl Measured {
    /// Reads the manifest of `folder`.
    ///
    /// # Errors
    /// [`CalibrateError`].
    pub fn read(folder: &Path) -> Result<Self, CalibrateError> {
        let path = folder.join("manifest.json");
        let refuse = |why: String| CalibrateError::Manifest { path: path.clone(), why };
        let text = fs::read_to_string(&path).map_err(|error| refuse(error.to_string()))?;
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        if manifest.schema_version > SCHEMA_VERSION {
            return Err(refuse(format!("layout version {} is newer", manifest.schema_version)));
        }
        if manifest.accelerator.as_ref().is_some_and(|own| own.name == super::suite::ACCELERATOR) {
            return Err(CalibrateError::Simulated(folder.to_owned()));
        }
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// The tick at which that host enforced budgets; none where it was sharper, or is not known.
    #[must_use]
    pub fn tick_ns(&self) -> Option<u64> {
        let host = &self.manifest.host;
        let hz = host.tick_hz.filter(|&hz| hz > 0 && host.hrtick_dl != Some(true))?;
        Some(1_000_000_000 / u64::from(hz))
    }

    /// What the folder tells of `experiment`, and notes on where it comes from.
    ///
    /// # Errors
    /// A row that cannot be read.
    pub fn conditions(
        &self,
        experiment: &Experiment,
    ) -> Result<(Conditions, Vec<String>), CalibrateError> {
        let mut notes = Vec::new();
        let references = self.references(experiment)?;
        let own = self.quiet(experiment)?;
        let traced = self.traced(experiment)?;
        let speed = traced::speed(&traced, experiment);
        let look = traced::look(&traced);
        let look_ns = match &look {
            _ if !self.manifest.suite.host.sentinel => 0,
            Some(Times::Constant(ns)) => *ns,
            _ => SENTINEL_WORK_NS,
        };
        let mut execution = Vec::new();
        let mut silent = Vec::new();
        for (index, task) in experiment.tasks.iter().enumerate() {
            let found =
                references.iter().find_map(|quiet| Some((quiet.execution(task, look_ns)?, quiet)));
            match &found {
                Some((_, quiet)) => notes.push(format!(
                    "execution times of {} as measured in {}",
                    model::TaskSet::name(index),
                    quiet.experiment.name
                )),
                None => silent.push(model::TaskSet::name(index)),
            }
            let asked = u128::from(model::duration::as_ns(task.execution()));
            let constant = |speed: u64| asked * u128::from(speed) / 1_000_000;
            let by_trace = || Some(Times::Constant(u64::try_from(constant(speed?)).ok()?));
            execution.push(found.map(|(times, _)| times).or_else(by_trace));
        }
        if !silent.is_empty() {
            notes.push(format!(
                "{}: no undisturbed jobs without load and reservation; constant execution times{}",
                silent.join(", "),
                speed.map_or_else(String::new, |speed| {
                    let factor = speed as f64 / 1e6;
                    format!(", {factor:.3} of those asked for, from the vCPU's traced CPU time")
                })
            ));
        }
        let entry = match references.iter().find_map(|quiet| Some((quiet.latency()?, quiet))) {
            None => own.latency().map(|times| (times, &own)),
            found => found,
        };
        if let Some((_, quiet)) = &entry {
            notes.push(format!("wake-up as measured in {}", quiet.experiment.name));
        }
        let entry = entry.map(|(times, _)| times);
        let looks_at = traced::looks_at(&traced);
        if !looks_at.is_empty() {
            notes.push("length and phase of the sentinel's looks as traced".to_owned());
        }
        let tick = self.tick_ns().map(|period| Tick { period, phase: 0 });
        let stalls = self.stalls(experiment, &mut notes)?;
        let conditions =
            Conditions { execution, entry, stalls, tick, look, looks_at, ..Conditions::default() };
        Ok((conditions, notes))
    }

    /// Experiments without load and reservation in the same place: there, and only there, a
    /// task's CPU time is its own (a guest counts what the host takes as its own).
    fn references(&self, experiment: &Experiment) -> Result<Vec<Quiet<'_>>, CalibrateError> {
        let quiet = |other: &&Experiment| {
            other.place == experiment.place && other.load.is_none() && other.reservation.is_none()
        };
        let mut found: Vec<&Experiment> =
            self.manifest.suite.experiments.iter().filter(quiet).collect();
        found.sort_by_key(|other| other.name != experiment.name);
        found.into_iter().map(|experiment| self.quiet(experiment)).collect()
    }

    fn quiet<'a>(&self, experiment: &'a Experiment) -> Result<Quiet<'a>, CalibrateError> {
        let mut jobs: Vec<Job> = Vec::new();
        for place in self.counted(&experiment.name) {
            let file = place.join("jobs.csv");
            if file.exists() {
                jobs.extend(read_csv::<Job>(&file)?);
            }
        }
        jobs.retain(|job| job.stalled_ns.is_none_or(|stalled| stalled <= DISTURBED_NS));
        Ok(Quiet { experiment, jobs })
    }

    /// The traced attempts that count, where the experiment has a reservation: only there it
    /// matters when its budget is looked at.
    fn traced(&self, experiment: &Experiment) -> Result<Vec<Traced>, CalibrateError> {
        if experiment.reservation.is_none() {
            return Ok(Vec::new());
        }
        let own = |record: &&model::manifest::RepetitionRecord| {
            record.counts && record.experiment == experiment.name
        };
        let mut traced = Vec::new();
        for record in self.manifest.repetitions.iter().filter(own) {
            let place = self.folder.join(&record.experiment);
            let place = place.join(format!("rep-{:03}", record.attempt));
            traced.extend(Traced::read(&place, record)?);
        }
        Ok(traced)
    }

    fn counted<'a>(&'a self, experiment: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        let own = move |record: &&model::manifest::RepetitionRecord| {
            record.counts && record.experiment == experiment
        };
        self.manifest.repetitions.iter().filter(own).map(move |record| {
            self.folder.join(experiment).join(format!("rep-{:03}", record.attempt))
        })
    }

    /// Gaps and lengths of the stalls while the experiment was measured.
    fn stalls(
        &self,
        experiment: &Experiment,
        notes: &mut Vec<String>,
    ) -> Result<Stalls, CalibrateError> {
        let (mut gaps, mut lengths) = (Vec::new(), Vec::new());
        for place in self.counted(&experiment.name) {
            let file = place.join("stalls.csv");
            if !file.exists() {
                continue;
            }
            let mut stalls: Vec<Stall> = read_csv(&file)?;
            stalls.sort_by_key(|stall| stall.start_ns);
            lengths.extend(stalls.iter().map(|stall| stall.length_ns));
            let gap = |pair: &[Stall]| {
                pair[1].start_ns.saturating_sub(pair[0].start_ns + pair[0].length_ns)
            };
            gaps.extend(stalls.windows(2).map(gap));
        }
        if lengths.is_empty() {
            return Ok(Stalls::None);
        }
        notes.push(format!("gaps and lengths of {} stalls as measured", lengths.len()));
        let whole = model::duration::as_ns(experiment.duration);
        let gaps =
            if gaps.is_empty() { Times::Constant(whole) } else { Times::Samples(gaps.into()) };
        Ok(Stalls::Drawn { gaps, lengths: Times::Samples(lengths.into()) })
    }
}

impl Quiet<'_> {
    /// The name of the most urgent task: nothing but the machine and the emulator holds it up.
    fn top(&self) -> Option<String> {
        let tasks = self.experiment.tasks.iter().enumerate();
        tasks.min_by_key(|(_, task)| task.period()).map(|(index, _)| model::TaskSet::name(index))
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Job> {
        self.jobs.iter().filter(move |job| job.task == name)
    }

    /// The most urgent task's time from start to finish over its CPU time, in millionths: what the
    /// emulator and the guest's own work take while a job runs. The sentinel's looks, of `look_ns`
    /// each, are left out, since they are simulated. (A guest's CPU time contains them, the host's
    /// does not; the time from start to finish does in both places.)
    fn slow_down(&self, look_ns: u64) -> Option<u64> {
        let top = self.top()?;
        let ratio = |job: &Job| {
            let cpu = job.cpu_ns.filter(|&cpu| cpu > 0)?;
            let elapsed = u128::from(job.finish_ns.saturating_sub(job.start_ns));
            let left = u128::from(SENTINEL_INTERVAL_NS.saturating_sub(look_ns));
            let own = elapsed * left / u128::from(SENTINEL_INTERVAL_NS);
            u64::try_from(own * 1_000_000 / u128::from(cpu)).ok()
        };
        let mut ratios: Vec<u64> = self.of(&top).filter_map(ratio).collect();
        ratios.sort_unstable();
        percentile(&ratios, 50.0)
    }

    /// The CPU times of this task's jobs, slowed down.
    fn execution(&self, task: &Task, look_ns: u64) -> Option<Times> {
        let same = |other: &&Task| {
            other.execution() == task.execution() && other.period() == task.period()
        };
        let index = self.experiment.tasks.iter().position(|other| same(&other))?;
        let name = model::TaskSet::name(index);
        let factor = u128::from(self.slow_down(look_ns)?);
        let slow = |cpu: u64| u64::try_from(u128::from(cpu) * factor / 1_000_000).ok();
        let times: Vec<u64> =
            self.of(&name).filter_map(|job| job.cpu_ns).filter_map(slow).collect();
        (times.len() >= LEAST_JOBS).then(|| Times::Samples(times.into()))
    }

    /// From release to start of the most urgent task. Under a reservation a release that finds the
    /// budget used up waits for it, and is left out.
    fn latency(&self) -> Option<Times> {
        let top = self.top()?;
        let wait = |job: &Job| job.start_ns.saturating_sub(job.release_ns);
        let times: Vec<u64> = self
            .of(&top)
            .map(wait)
            .filter(|&ns| self.experiment.reservation.is_none() || ns < MOST_LATENCY_NS)
            .collect();
        (times.len() >= LEAST_JOBS).then(|| Times::Samples(times.into()))
    }
}
