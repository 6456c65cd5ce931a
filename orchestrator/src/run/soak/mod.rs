//! `orchestrator soak`: rounds of a suite's experiments for hours, and whether every job kept the
//! limit, in constant memory and on constant disk.
//!
//! A round is an ordinary attempt. What it measured is counted (`account`) and its folder removed,
//! save that of the first job above the limit and those of the first rounds that failed.

mod account;
mod print;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use model::{
    Exit, Manifest, duration,
    manifest::Facts,
    sample::{Job, read_csv},
    suite::Experiment,
};

use self::account::{Account, Over};
use super::{
    bench::{Attempted, Bench},
    noise,
    plan::Plan,
    progress::Progress,
    record,
};
use crate::{
    error::Refusal,
    folder::{Folder, now_utc, write_json},
    host::Stop,
};

pub use print::text;

/// So many rounds that failed are kept, and told one by one.
const FAILED_KEPT: usize = 3;

/// So many rounds may fail one after the other; then the host is at fault, and the rest of the time
/// would tell nothing.
const FAILED_IN_A_ROW: usize = 5;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// Measured time in all.
    pub length: Duration,
    /// The response time that no job may exceed; none for each task's deadline.
    pub limit: Option<Duration>,
    /// The length of a round.
    pub round: Duration,
    /// Whether the first job above the limit ends it.
    pub stop_on_miss: bool,
}

impl Soak {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// [`Refusal::Usage`] with the option.
    pub fn check(&self) -> Result<(), Refusal> {
        let lengths = [
            ("--for", self.length),
            ("--round", self.round),
            ("--limit", self.limit.unwrap_or(Duration::MAX)),
        ];
        let zero = lengths.iter().find(|(_, length)| length.is_zero());
        zero.map_or(Ok(()), |(option, _)| {
            Err(Refusal::Usage(format!(
                "{option} 0: must be above zero, for example `{option} 2ms`"
            )))
        })
    }

    /// Divides the time among the plan's experiments and into rounds of the same length, at most
    /// as long as asked for, and gives each experiment that length.
    ///
    /// # Errors
    /// [`Refusal::Usage`] for an experiment without tasks, or with a period longer than a round.
    pub fn shape(&mut self, plan: &mut Plan) -> Result<(), Refusal> {
        self.check()?;
        let experiments = u32::try_from(runnable(plan).len()).unwrap_or(u32::MAX).max(1);
        let each = self.length / experiments;
        let rounds = each.as_nanos().div_ceil(self.round.as_nanos()).max(1);
        self.round = each / u32::try_from(rounds).unwrap_or(u32::MAX);
        for experiment in &mut plan.suite.experiments {
            let name = &experiment.name;
            let Some(workload) = experiment.only() else {
                return Err(Refusal::Usage(format!(
                    "experiment `{name}` measures several services, and a soak counts those of \
                     one; leave it out with --only"
                )));
            };
            if workload.web().is_some() {
                return Err(Refusal::Usage(format!(
                    "experiment `{name}` measures a service, which has no response times of jobs; \
                     leave it out with --only"
                )));
            }
            if workload.probe().is_some() {
                return Err(Refusal::Usage(format!(
                    "experiment `{name}` is a probe, which has no response times of jobs; leave it \
                     out with --only"
                )));
            }
            let longest = workload.tasks().iter().map(|task| task.period()).max();
            if longest.is_some_and(|longest| longest > self.round) {
                return Err(Refusal::Usage(format!(
                    "experiment `{name}` has a task with a period longer than a round of {}; give \
                     a longer --round and --for",
                    duration::format(self.round)
                )));
            }
            (experiment.duration, experiment.repetitions) = (self.round, 1);
        }
        plan.suite.sweeps.clear();
        Ok(())
    }
}

/// The experiments that this host can run.
fn runnable(plan: &Plan) -> Vec<&Experiment> {
    let possible =
        |one: &&Experiment| plan.repetitions.iter().any(|planned| planned.experiment == one.name);
    plan.suite.experiments.iter().filter(possible).collect()
}

/// What became of it.
#[derive(Debug)]
pub struct Soaked {
    /// The result folder.
    pub folder: PathBuf,
    /// What was measured.
    pub account: Account,
    /// Whether a signal ended it.
    pub interrupted: bool,
}

impl Soaked {
    /// 4 where a job exceeded the limit; else 130 after a signal, 1 where rounds failed.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match () {
            () if !self.account.holds() => Exit::NotHeld,
            () if self.interrupted => Exit::Interrupted,
            () if self.account.failed > 0 => Exit::Failed,
            () => Exit::Done,
        }
    }
}

/// The folder and its manifest, and what is counted.
struct Run<'a> {
    soak: Soak,
    folder: &'a Folder,
    manifest: &'a mut Manifest,
    account: Account,
    failed_in_a_row: usize,
}

/// Makes rounds until the time is measured, the limit is exceeded where that ends it, or a signal
/// comes.
///
/// # Errors
/// The file system's; failed rounds are counted.
pub(super) fn run_all(
    plan: &Plan,
    soak: Soak,
    bench: &mut dyn Bench,
    folder: &Folder,
    manifest: &mut Manifest,
    stop: &Stop,
) -> Result<Soaked> {
    let experiments = runnable(plan);
    let account = Account::new(soak, &experiments);
    let mut run = Run { soak, folder, manifest, account, failed_in_a_row: 0 };
    let rounds = (soak.length.as_nanos() / soak.round.as_nanos().max(1)) as usize;
    let mut progress = Progress::new(rounds, soak.length, plan.quiet);
    bench.watch(progress.listener())?;
    let mut interrupted = false;
    for (number, experiment) in (0..).zip(experiments.iter().cycle()).take(rounds) {
        progress.begin(&run.label(experiment, number), soak.round, false);
        let measured = run.round(experiment, number, bench, &progress, stop);
        if stop.check().is_err() {
            interrupted = true;
            break;
        }
        measured?;
        progress.end();
        let over = soak.stop_on_miss && !run.account.holds();
        if over || run.failed_in_a_row >= FAILED_IN_A_ROW {
            break;
        }
    }
    progress.finish();
    run.manifest.finished_utc = Some(now_utc());
    folder.save(run.manifest)?;
    run.account.finished = !interrupted && run.failed_in_a_row < FAILED_IN_A_ROW;
    run.save()?;
    Ok(Soaked { folder: folder.path().to_owned(), account: run.account, interrupted })
}

impl Run<'_> {
    /// What is said of the round to come, and of all before.
    fn label(&self, experiment: &Experiment, number: u32) -> String {
        let worst = self
            .account
            .worst_ns()
            .map_or_else(String::new, |worst| format!(", worst {}", print::short(worst)));
        format!(
            "{} round {number}, {} above the limit{worst}",
            experiment.name,
            self.account.over()
        )
    }

    /// Makes a round, counts it, and keeps its folder where that tells something.
    fn round(
        &mut self,
        experiment: &Experiment,
        number: u32,
        bench: &mut dyn Bench,
        progress: &Progress,
        stop: &Stop,
    ) -> Result<()> {
        let name = &experiment.name;
        let partial = self.folder.begin(name, number)?;
        let (started_utc, start) = (now_utc(), Instant::now());
        let attempted = bench.attempt(experiment, number, &partial);
        let remove = || fs::remove_dir_all(&partial).with_context(|| partial.display().to_string());
        if attempted.error.is_some() && stop.check().is_err() {
            // A round that a signal cuts off is no failure.
            return remove();
        }
        let first_over = self.account.first_over().is_none();
        let counted = match &attempted.error {
            None => self.count(experiment, number, &partial, &attempted.facts)?,
            Some(_) => None,
        };
        let failed = attempted.error.is_some();
        self.failed_in_a_row = if failed { self.failed_in_a_row + 1 } else { 0 };
        self.account.failed += usize::from(failed);
        let keep = match failed {
            true => self.account.failed <= FAILED_KEPT,
            false => first_over && counted.is_some(),
        };
        if let (Some(over), true) = (&counted, first_over) {
            progress.note(&print::over(over, self.soak.limit));
        }
        if let (Some(error), true) = (&attempted.error, keep) {
            progress.note(&format!("{name} round {number} failed: {error:#}"));
        }
        match keep {
            true => {
                self.keep((name, number), (started_utc, start.elapsed()), &attempted, &partial)?
            }
            false => remove()?,
        }
        self.save()
    }

    /// Adds what the round measured; returns its first job above the limit.
    fn count(
        &mut self,
        experiment: &Experiment,
        number: u32,
        partial: &Path,
        facts: &Facts,
    ) -> Result<Option<Over>> {
        let jobs = jobs(partial)?;
        Ok(self.account.add(experiment, number, &jobs, facts))
    }

    /// Lets the round's folder stay, as an attempt that `reports` can read.
    fn keep(
        &mut self,
        (name, number): (&str, u32),
        timing: (String, Duration),
        attempted: &Attempted,
        partial: &Path,
    ) -> Result<()> {
        let limit = self.manifest.suite.noise.max_stalled;
        let record = record::of_attempt(name, (number, number), timing, attempted, limit);
        self.folder.commit(partial, &record)?;
        self.manifest.repetitions.push(record);
        noise::choose(&mut self.manifest.repetitions, name, number);
        self.folder.save(self.manifest)
    }

    /// Writes what was counted until now, in one step.
    fn save(&self) -> Result<()> {
        let file = self.folder.path().join("soak.json");
        let aside = self.folder.path().join(".soak.json.new");
        write_json(&aside, &self.account.summary())
            .and_then(|()| Ok(fs::rename(&aside, &file)?))
            .with_context(|| file.display().to_string())
    }
}

/// The rows in a folder; none where there is no file.
fn jobs(folder: &Path) -> Result<Vec<Job>> {
    let path = folder.join("jobs.csv");
    if path.exists() { Ok(read_csv(&path)?) } else { Ok(Vec::new()) }
}

#[cfg(test)]
mod tests;
