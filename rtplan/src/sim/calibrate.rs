//! Conditions of a simulation from a measured result folder.
//!
//! What is taken from where is explained in `docs/simulation.md`. Nothing that was not measured is
//! made up: where the folder has no answer, the suite's own values stay, and a note says so.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use model::{
    Manifest, Reservation, Task,
    judged::Count,
    manifest::RepetitionRecord,
    sample::{Job, SampleError, Stall, read_csv},
    stats::percentile,
    suite::{Experiment, Workload},
};
use results::Folder;
use thiserror::Error;

use super::{
    chance::{Stalls, Times},
    experiment::{Conditions, SENTINEL_INTERVAL_NS, SENTINEL_WORK_NS, TaskTimes, played},
    setup::Entry,
    traced::{self, LEAST, Traced},
};

/// Why a folder cannot be calibrated from.
#[derive(Debug, Error)]
pub enum CalibrateError {
    /// No result folder, or a row that cannot be read.
    #[error(transparent)]
    Folder(#[from] results::Error),
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
    folder: Folder,
    traced: Vec<Traced>,
}

/// The jobs of a measured experiment that no stall disturbed.
struct Quiet<'a> {
    workload: Workload<'a>,
    jobs: Vec<Job>,
}

impl Measured {
    /// Reads the manifest of `folder`, and what was traced.
    ///
    /// # Errors
    /// [`CalibrateError`].
    pub fn read(folder: &Path) -> Result<Self, CalibrateError> {
        let folder = Folder::open(folder)?;
        let manifest = &folder.manifest;
        if manifest.accelerator.as_ref().is_some_and(|own| own.name == super::ACCELERATOR) {
            return Err(CalibrateError::Simulated(folder.path));
        }
        let mut traced = Vec::new();
        let only =
            |name: &str| manifest.suite.experiment(name).and_then(Experiment::only).is_some();
        let counted = manifest.repetitions.iter().filter(|record| record.counts);
        for record in counted.filter(|record| only(&record.experiment)) {
            traced.extend(Traced::read(&folder.place(record), record)?);
        }
        Ok(Self { folder, traced })
    }

    fn manifest(&self) -> &Manifest {
        &self.folder.manifest
    }

    /// What became of the jobs of each task of `workload`: of the undisturbed ones, where those
    /// decide.
    ///
    /// # Errors
    /// A row that cannot be read.
    pub fn counts(&self, workload: Workload) -> Result<Vec<Count>, CalibrateError> {
        let analysis = crate::experiment::analyse(workload);
        let selection = model::judged::Selection::by(analysis.as_ref());
        let samples = self.folder.samples(workload)?;
        Ok(samples.series.iter().map(|own| own.count(selection)).collect())
    }

    /// The tick at which that host enforced budgets; none where it was sharper, or is not known.
    #[must_use]
    pub fn tick_ns(&self) -> Option<u64> {
        let host = &self.manifest().host;
        let hz = host.tick_hz.filter(|&hz| hz > 0 && host.hrtick_dl != Some(true))?;
        Some(1_000_000_000 / u64::from(hz))
    }

    /// What the folder tells of `experiment`, of each traced attempt or else once, and notes on
    /// where it comes from.
    ///
    /// # Errors
    /// A row that cannot be read.
    pub fn conditions(
        &self,
        experiment: &Experiment,
    ) -> Result<(Vec<Conditions>, Vec<String>), CalibrateError> {
        let played = played(experiment);
        let references: Vec<Vec<Quiet>> =
            played.iter().map(|own| self.references(*own)).collect::<Result<_, _>>()?;
        let mut notes = Vec::new();
        let stalls = self.stalls(experiment, &mut notes)?;
        let named = |own: &&Traced| own.experiment == experiment.name;
        let mut attempts: Vec<Option<&Traced>> =
            self.traced.iter().filter(named).map(Some).collect();
        if attempts.is_empty() {
            attempts.push(None);
        }
        let reservation = played.first().and_then(|own| own.reservation());
        let mut of = |traced: Option<&Traced>| Conditions {
            tasks: played
                .iter()
                .zip(&references)
                .flat_map(|(own, known)| (0..own.tasks().len()).map(move |at| (*own, at, known)))
                .map(|(own, index, known)| self.times(own, index, traced, known, &mut notes))
                .collect(),
            stalls: stalls.clone(),
            tick: self.tick_ns(),
            sentinel_reservation: self.sentinel(&experiment.name),
            look: traced.and_then(Traced::look),
            timer_latency: traced.map_or(0, |own| own.timer_latency(reservation)),
            phases: traced.map(|own| own.phases(self.host_tick())).unwrap_or_default(),
            ..Conditions::default()
        };
        let conditions = attempts.into_iter().map(&mut of).collect();
        Ok((conditions, notes))
    }

    /// Times of the task at `index`: as `traced`, or else from the references.
    fn times(
        &self,
        workload: Workload,
        index: usize,
        traced: Option<&Traced>,
        references: &[Quiet],
        notes: &mut Vec<String>,
    ) -> TaskTimes {
        let name = model::TaskSet::name(index);
        let mut note = |text: String| {
            if !notes.contains(&text) {
                notes.push(text);
            }
        };
        if workload.experiment.surge.is_some() {
            note(format!(
                "{name}: what a job takes changes with time (`surge`); execution times as in the \
                 suite"
            ));
            return TaskTimes::default();
        }
        if let Some(times) = traced.and_then(|traced| traced.times(workload.tasks(), index)) {
            note(format!("execution and wake-up of {name} as traced"));
            return times;
        }
        let look_ns = if self.manifest().suite.host.sentinel { SENTINEL_WORK_NS } else { 0 };
        let task = &workload.tasks()[index];
        let of = |quiet: &Quiet| {
            Some((quiet.times(task, look_ns)?, quiet.workload.experiment.name.clone()))
        };
        match references.iter().find_map(of) {
            Some((times, reference)) => {
                note(format!("execution and wake-up of {name} as measured in {reference}"));
                times
            }
            None => {
                note(format!(
                    "{name}: not traced, and no undisturbed jobs without load and reservation; \
                     constant execution times"
                ));
                TaskTimes::default()
            }
        }
    }

    /// Period and phase of the host's tick, where budgets ended at it.
    fn host_tick(&self) -> Option<(u64, u64)> {
        let by_deadline = |traced: &&Traced| {
            let own = self.manifest().suite.experiment(&traced.experiment)?.only()?;
            own.reservation().filter(|own| own.mechanism.is_deadline())
        };
        let period = self.tick_ns()?;
        let reserved = self.traced.iter().filter(|traced| by_deadline(traced).is_some());
        Some((period, traced::tick_phase(reserved, period)?))
    }

    /// Workloads alone in the same kind of place, always with the same execution times: there, and only there, a task's CPU time is its own
    /// (a guest counts what the host takes as its own).
    fn references(&self, workload: Workload) -> Result<Vec<Quiet<'_>>, CalibrateError> {
        let all = self.manifest().suite.experiments.iter().filter_map(Experiment::only);
        let mut found: Vec<Workload> =
            all.filter(|other| other.place() == workload.place() && is_reference(*other)).collect();
        found.sort_by_key(|other| other.experiment.name != workload.experiment.name);
        found.into_iter().map(|other| self.quiet(other)).collect()
    }

    fn quiet<'a>(&self, workload: Workload<'a>) -> Result<Quiet<'a>, CalibrateError> {
        let mut jobs: Vec<Job> = Vec::new();
        for place in self.counted(&workload.experiment.name) {
            let file = place.join("jobs.csv");
            if file.exists() {
                jobs.extend(read_csv::<Job>(&file)?);
            }
        }
        jobs.retain(|job| !job.disturbed());
        Ok(Quiet { workload, jobs })
    }

    fn counted<'a>(&'a self, experiment: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        self.folder.counted(experiment).map(|record| self.folder.place(record))
    }

    /// The sentinel's reservation in an attempt that counts.
    fn sentinel(&self, experiment: &str) -> Option<Reservation> {
        let mut records = self.folder.counted(experiment);
        let facts = records.find_map(|record| record.facts.sentinel.as_ref())?;
        let (budget, period) = (facts.budget_ns, facts.period_ns);
        Reservation::new(Duration::from_nanos(budget), Duration::from_nanos(period)).ok()
    }

    /// Gaps and lengths of the stalls while the experiment was measured.
    fn stalls(
        &self,
        experiment: &Experiment,
        notes: &mut Vec<String>,
    ) -> Result<Stalls, CalibrateError> {
        let mut runs = Vec::new();
        for record in self.folder.counted(&experiment.name) {
            let file = self.folder.place(record).join("stalls.csv");
            if file.exists() {
                let stalls: Vec<Stall> = read_csv(&file)?;
                runs.extend(by_cpu(record, &stalls));
            }
        }
        let (gaps, lengths) = gaps_and_lengths(runs);
        if lengths.is_empty() {
            return Ok(Stalls::None);
        }
        notes.push(format!("gaps and lengths of {} stalls as measured", lengths.len()));
        let [gaps, lengths] = [gaps, lengths].map(|own| Times::Samples(own.into()));
        Ok(Stalls::Drawn { gaps, lengths })
    }
}

/// How long each CPU was watched, and its stalls.
fn by_cpu(record: &RepetitionRecord, stalls: &[Stall]) -> Vec<(u64, Vec<Stall>)> {
    let watched = record.facts.all_sentinels().map(|own| own.cpu);
    let mut cpus: Vec<Option<u32>> = watched.collect();
    if cpus.len() < 2 {
        cpus = vec![None];
    }
    let on = |cpu: Option<u32>| {
        let here = stalls.iter().filter(|stall| cpu.is_none() || stall.cpu == cpu);
        (record.elapsed_ns, here.copied().collect())
    };
    cpus.into_iter().map(on).collect()
}

/// As many gaps as stalls, from runs that were watched for so long each.
///
/// A gap that a run's begin or end cuts off is seen in part only, and long ones are cut more often:
/// without them stalls would be drawn too often. What was watched before a run's first stall and
/// after its last one is therefore one gap together, with the whole of any run before it that had no
/// stall: gaps and lengths add up to the time that was watched.
fn gaps_and_lengths(runs: Vec<(u64, Vec<Stall>)>) -> (Vec<u64>, Vec<u64>) {
    let (mut gaps, mut lengths) = (Vec::new(), Vec::new());
    let mut quiet = 0;
    for (watched, mut stalls) in runs {
        stalls.sort_by_key(|stall| stall.start_ns);
        let end = |stall: &Stall| stall.start_ns + stall.length_ns;
        let (Some(first), Some(last)) = (stalls.first(), stalls.last()) else {
            quiet += watched;
            continue;
        };
        gaps.push(quiet + watched.saturating_sub(end(last) - first.start_ns));
        quiet = 0;
        gaps.extend(stalls.windows(2).map(|two| two[1].start_ns.saturating_sub(end(&two[0]))));
        lengths.extend(stalls.iter().map(|stall| stall.length_ns));
    }
    if let Some(last) = gaps.last_mut() {
        *last += quiet;
    }
    (gaps, lengths)
}

impl Quiet<'_> {
    /// The name of the most urgent task: nothing but the machine and the emulator holds it up.
    fn top(&self) -> Option<String> {
        let tasks = self.workload.tasks().iter().enumerate();
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

    /// The CPU times of this task's jobs, slowed down, and the wake-up. The whole of that counts
    /// as CPU time: without a trace nobody knows how much of it the vCPU slept.
    fn times(&self, task: &Task, look_ns: u64) -> Option<TaskTimes> {
        let same = |other: &&Task| {
            other.execution() == task.execution() && other.period() == task.period()
        };
        let index = self.workload.tasks().iter().position(|other| same(&other))?;
        let name = model::TaskSet::name(index);
        let factor = u128::from(self.slow_down(look_ns)?);
        let slow = |cpu: u64| u64::try_from(u128::from(cpu) * factor / 1_000_000).ok();
        let times: Vec<u64> =
            self.of(&name).filter_map(|job| job.cpu_ns).filter_map(slow).collect();
        let execution = (times.len() >= LEAST).then(|| Times::Samples(times.into()))?;
        // Without a trace only the most urgent task's jobs tell what a start takes.
        let entry = self.wake_up();
        let entry = entry.map(|woken| Entry { preempting: woken.clone(), woken, ..Entry::FREE });
        Some(TaskTimes { delay: None, entry, execution: Some(execution) })
    }

    /// From release to start of the most urgent task.
    fn wake_up(&self) -> Option<Times> {
        let top = self.top()?;
        let times: Vec<u64> =
            self.of(&top).map(|job| job.start_ns.saturating_sub(job.release_ns)).collect();
        (times.len() >= LEAST).then(|| Times::Samples(times.into()))
    }
}

/// Whether the CPU times of its jobs are their execution times.
fn is_reference(workload: Workload) -> bool {
    workload.is_free() && workload.experiment.surge.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_stalls_add_up_to_the_time_watched() {
        let stall = |start_ns, length_ns| Stall { start_ns, length_ns, cpu: None };
        let runs = vec![
            (1_000, vec![]),
            (1_000, vec![stall(500, 20), stall(600, 30)]),
            (1_000, vec![stall(7_900, 10)]),
            (1_000, vec![]),
        ];
        let (gaps, lengths) = gaps_and_lengths(runs);
        assert_eq!(
            (gaps.as_slice(), lengths.as_slice()),
            (&[1_870, 80, 1_990][..], &[20, 30, 10][..])
        );
        assert_eq!(gaps.iter().sum::<u64>() + lengths.iter().sum::<u64>(), 4_000);
        assert_eq!(gaps_and_lengths(vec![(9, vec![])]), (vec![], vec![]));
    }
}
